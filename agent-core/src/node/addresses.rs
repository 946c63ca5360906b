//! The virtual addresses are this node's to add and to remove: what others do to them is undone.

use core::net::IpAddr;
use core::time::Duration;

use super::Node;
use crate::action::Action;
use crate::effects::Effects;
use crate::input::{RouterId, Ticket};
use crate::time::Instant;

/// Removed so often within [`CONTEST_WINDOW`], an address is contested: the router yields instead of putting it back.
const CONTEST_LIMIT: usize = 5;
const CONTEST_WINDOW: Duration = Duration::from_secs(10);
/// How long a router stays out after that; what was removed before no longer counts then.
const CONTEST_HOLD_OFF: Duration = Duration::from_secs(10);
/// An address that is put here again and again is removed no more often than this.
const STRAY_GAP: Duration = Duration::from_millis(100);

/// What others do to the addresses of one router.
#[derive(Debug)]
pub(super) struct Guard {
    /// As last told; both empty where that is not known.
    local: Vec<IpAddr>,
    missing: Vec<IpAddr>,
    /// Which address was removed when, within [`CONTEST_WINDOW`].
    removals: Vec<(IpAddr, Instant)>,
    /// How many addresses are being put back.
    restoring: u64,
    pub(super) restored: u64,
    pub(super) contested_until: Instant,
    /// Why the addresses are contested, for people.
    contest: Option<String>,
    /// The removal of addresses that should not be here, if one is under way.
    removing: Option<Ticket>,
    remove_at: Instant,
}

impl Guard {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            local: Vec::new(),
            missing: Vec::new(),
            removals: Vec::new(),
            restoring: 0,
            restored: 0,
            contested_until: now,
            contest: None,
            removing: None,
            remove_at: now,
        }
    }

    pub(super) fn is_contested(&self, now: Instant) -> bool {
        now < self.contested_until
    }

    /// Why the router yields, once.
    pub(super) fn take_contest(&mut self) -> Option<String> {
        self.contest.take()
    }

    /// When a removal is due that had to wait.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (!self.local.is_empty() && self.removing.is_none()).then_some(self.remove_at)
    }

    pub(super) fn handle_done(&mut self, done: Ticket) {
        self.removing.take_if(|ticket| *ticket == done);
    }

    pub(super) fn handle_restored(&mut self) {
        self.restored += self.restoring;
        self.restoring = 0;
    }

    /// An address that cannot be put back is lost as if it were removed for ever.
    pub(super) fn give_up(&mut self, now: Instant, failure: &str) {
        self.restoring = 0;
        self.yield_for(now, format!("what another program removed cannot be put back: {failure}"));
    }

    /// Notes that what is missing was removed; `false`: this has happened too often.
    fn note_removals(&mut self, now: Instant) -> bool {
        self.removals.retain(|&(_, at)| now.saturating_since(at) < CONTEST_WINDOW);
        self.removals.extend(self.missing.iter().map(|&address| (address, now)));
        for address in &self.missing {
            let mut times = self.removals.iter().filter(|(removed, _)| removed == address).map(|&(_, at)| at);
            let Some(first) = times.next() else { continue };
            let count = times.count() + 1;
            if count >= CONTEST_LIMIT {
                let span = now.saturating_since(first).as_millis();
                self.yield_for(now, format!("{address} was removed {count} times within {span} ms"));
                return false;
            }
        }
        true
    }

    fn yield_for(&mut self, now: Instant, contest: String) {
        self.removals.clear();
        self.contested_until = now + CONTEST_HOLD_OFF;
        self.contest = Some(contest);
    }

    fn remove_strays(&mut self, now: Instant, router: RouterId, effects: &mut Effects) {
        if self.local.is_empty() || self.removing.is_some() || now < self.remove_at {
            return;
        }
        self.remove_at = now + STRAY_GAP;
        let addresses = self.local.clone();
        self.removing = Some(effects.request(|ticket| Action::RemoveStrays { ticket, router, addresses }));
    }
}

impl Node {
    /// Learns which addresses of a router are local now.
    pub(super) fn handle_addresses(&mut self, id: RouterId, local: Vec<IpAddr>, missing: Vec<IpAddr>) {
        if let Some(router) = self.routers.get_mut(id.0) {
            (router.guard.local, router.guard.missing) = (local, missing);
        }
    }

    /// Puts back what is missing where it is served, and removes what is local where it must not be.
    pub(super) fn guard_addresses(&mut self, now: Instant) {
        if self.finished {
            return;
        }
        for (index, router) in self.routers.iter_mut().enumerate() {
            let id = RouterId(index);
            if !router.service.may_hold_addresses() {
                router.guard.remove_strays(now, id, &mut self.effects);
            } else if !router.guard.missing.is_empty()
                && router.service.can_restore()
                && router.can_carry()
                && !router.guard.is_contested(now)
                && router.guard.note_removals(now)
            {
                let addresses = router.guard.missing.clone();
                router.guard.restoring = u64::try_from(addresses.len()).unwrap_or(u64::MAX);
                router.service.restore(addresses, &mut self.effects);
            }
        }
    }
}
