//! The routers of a host whose server is writable on one side only: they are Active together or not at all.
//!
//! If one host held the IPv4 address and the other the IPv6 address, both servers would have to be open.

use super::{Node, Router};
use crate::election::Tie;
use crate::input::{Advert, InterfaceState};
use crate::parameters::{Parameters, Writers};
use crate::takeover::{Departure, YieldOrder};
use crate::time::Instant;
use crate::transition::{Reason, StateName};

/// Whether the routers of a host are one group.
pub(super) fn is_formed_by(parameters: &Parameters) -> bool {
    let one_writer = parameters.server.as_ref().is_some_and(|own| own.writers == Writers::Active);
    one_writer && parameters.routers.len() > 1
}

impl Node {
    pub(super) fn is_grouped(&self) -> bool {
        is_formed_by(&self.parameters)
    }

    /// Claims for all routers once none of them hears another Active any more.
    pub(super) fn claim_together(&mut self, now: Instant) {
        // One that is still letting its addresses go is Active by name only.
        let is_ready = |router: &Router| router.election.is_held_or_active() && !router.service.is_yielding();
        if !self.is_grouped() || !self.routers.iter().all(is_ready) {
            return;
        }
        for index in 0..self.routers.len() {
            let router = &mut self.routers[index];
            if router.election.state_name() == StateName::Backup {
                let outcome = router.election.claim(now, &self.parameters.routers[index]);
                self.apply(now, index, outcome);
            }
        }
    }

    /// One router was deposed: the others do not stay behind.
    pub(super) fn step_back_together(&mut self, now: Instant) {
        if !self.is_grouped() {
            return;
        }
        for index in 0..self.routers.len() {
            if self.routers[index].election.state_name() != StateName::Active {
                continue;
            }
            self.routers[index].election.step_back(now, &self.parameters.routers[index]);
            if !self.routers[index].service.is_yielding() {
                let (reason, to) = (Reason::GroupDeposed, StateName::Backup);
                let departure = Departure { at: now, evidence_at: now, reason, to, detail: None };
                self.yield_up(index, departure, YieldOrder::RemoveThenFence);
            }
        }
    }

    /// Addresses of two families may order the same two hosts differently: the first router that hears a rival decides.
    pub(super) fn tie(&self, index: usize, advert: &Advert) -> Tie {
        let hears_rival = |at: Instant| {
            let before = self.routers.iter().take(index);
            before.filter_map(|router| router.election.rivals_until()).any(|until| until > at)
        };
        if self.is_grouped() && hears_rival(advert.arrived_at) { Tie::DecidedElsewhere } else { Tie::ByAddress }
    }
}

impl Router {
    /// Whether advertisements and clients can come and go.
    pub(super) fn can_carry(&self) -> bool {
        self.link_up && matches!(self.interface, InterfaceState::Ready { .. })
    }

    /// Whether what happened lately keeps it from being a candidate.
    pub(super) fn is_kept_out(&self, now: Instant) -> bool {
        self.guard.is_contested(now) || now < self.hold_off_until
    }
}
