//! What a host does with the actions of its agent.

use std::time::Duration;

use agent_core::{Action, Advert, Gate, Input, Instant, RouterId, StateName, StepFailure, Ticket};
use agent_wire::Priority;

use crate::configuration::address;
use crate::mutants::Mutant;
use crate::world::{Step, What, World};

const ADDRESS_LIFETIME: Duration = Duration::from_secs(2);
/// When the adapters give up on a server that does not answer.
const NO_ANSWER: Duration = Duration::from_millis(600);
const SLOW_ANSWER: Duration = Duration::from_millis(2500);

const RESUME: Duration = Duration::from_millis(1);

/// What a step does when it succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    AddAddress(usize),
    RemoveAddress(usize),
    StopReceiver,
    Drain,
    OpenServer,
    FenceServer,
}

impl World {
    pub(crate) fn execute(&mut self, host: usize, action: Action) {
        let now = self.now;
        match action {
            Action::SendAdvert { router, priority } => self.send(host, router, priority),
            Action::RenewLease { router, until } => self.hosts[host].kernel[router.0].lease_until = until,
            Action::SetGate { router, gate } => self.set_gate(host, router, gate),
            Action::AddAddresses { ticket, router } => self.ask_kernel(host, ticket, Effect::AddAddress(router.0)),
            Action::RenewAddresses { router } => {
                if self.hosts[host].has_address(now, router.0) {
                    self.set_address(host, router.0);
                }
            }
            Action::RestoreAddresses { ticket, router, .. } => {
                self.watch_blame(host, "restored");
                self.ask_kernel(host, ticket, Effect::AddAddress(router.0));
            }
            Action::RemoveAddresses { ticket, router } => {
                self.ask_kernel(host, ticket, Effect::RemoveAddress(router.0));
            }
            Action::RemoveStrays { ticket, router, .. } => {
                self.watch_blame(host, "removed");
                self.ask_kernel(host, ticket, Effect::RemoveAddress(router.0));
            }
            Action::Announce { ticket, .. } => {
                let now = self.now;
                if let Some(agent) = &mut self.hosts[host].agent {
                    agent.handle_input(now, Input::Done { ticket, result: Ok(()) });
                }
            }
            Action::StopReceiving { ticket, .. } => self.ask_server(host, ticket, Effect::StopReceiver, 20_000),
            Action::Drain { ticket } => self.ask_server(host, ticket, Effect::Drain, 20_000),
            Action::OpenServer { ticket } => self.ask_server(host, ticket, Effect::OpenServer, 8_000),
            Action::FenceServer { ticket } => self.ask_server(host, ticket, Effect::FenceServer, 200_000),
            Action::ResumeReceiving => {
                let at = self.hosts[host].receiver_free_at.max(now) + RESUME;
                self.hosts[host].receiver_free_at = at;
                let life = self.hosts[host].life;
                self.schedule(at.saturating_since(now), What::Resume { host, life });
            }
            Action::Report(transition) => {
                self.takeovers += u64::from(transition.to == StateName::Active);
                let (from, to) = (transition.from.as_str(), transition.to.as_str());
                let (router, reason) = (transition.router.0, transition.reason.as_str());
                self.tell(|| format!("host {host}: router {router} {from} -> {to}, {reason} {:?}", transition.detail));
            }
            Action::Finished => {
                self.watch_finished(host);
                self.end_life(host);
                self.schedule(Duration::from_millis(10), What::StartAgent(host));
            }
        }
    }

    fn send(&mut self, host: usize, router: RouterId, priority: Priority) {
        let now = self.now;
        self.watch.advertised(host, router.0, now);
        let can_send = self.hosts[host].can_send();
        let interval = self.configuration.interval(host);
        for other in (0..self.hosts.len()).filter(|&other| can_send && other != host) {
            for delay in self.lan.carry(now, host, other, &mut self.seeded) {
                let source = address(host, router.0);
                let advert = Advert { router, source, priority, interval, arrived_at: now + delay };
                self.schedule(delay, What::Deliver { from: host, to: other, advert });
            }
        }
        let told = can_send || self.mutant == Some(Mutant::LeaseWithoutAdvert);
        if told
            && !priority.is_release()
            && let Some(agent) = &mut self.hosts[host].agent
        {
            agent.handle_input(now, Input::AdvertSent { router, at: now });
        }
    }

    fn set_gate(&mut self, host: usize, router: RouterId, gate: Gate) {
        let stays_open = self.mutant == Some(Mutant::GateStaysOpen);
        if gate == Gate::Serve {
            self.watch_gate(host);
        } else if stays_open {
            return;
        }
        self.hosts[host].kernel[router.0].gate = gate;
    }

    fn set_address(&mut self, host: usize, router: usize) {
        self.hosts[host].kernel[router].address_until = Some(self.now + ADDRESS_LIFETIME);
        self.schedule(ADDRESS_LIFETIME, What::Expire { host, router });
    }

    fn ask_kernel(&mut self, host: usize, ticket: Ticket, effect: Effect) {
        let took = self.seeded.micros(30, 900);
        let begins_at = self.hosts[host].addresses_free_at.max(self.now);
        self.hosts[host].addresses_free_at = begins_at + took;
        if matches!(effect, Effect::RemoveAddress(_)) {
            self.hosts[host].removing_until = begins_at + took;
        }
        let succeeds = self.hosts[host].troubles.address_steps_fail == 0;
        // What could not be removed is left for the care of addresses.
        self.hosts[host].meddled |= !succeeds;
        self.finish(host, begins_at + took, Step { ticket, effect, succeeds });
    }

    /// Asks the server for something that takes so long at most, in microseconds.
    fn ask_server(&mut self, host: usize, ticket: Ticket, effect: Effect, longest: u64) {
        let usual = self.seeded.micros(200, longest);
        let late_but_good = self.seeded.chance(500);
        let own = &mut self.hosts[host];
        if own.troubles.server_steps_lost > 0 {
            // The core waits for a drain as long as it takes: its adapter is the one that gives up.
            if effect == Effect::Drain {
                self.finish(host, self.now + NO_ANSWER, Step { ticket, effect, succeeds: false });
            }
            return;
        }
        let (took, succeeds) = if own.troubles.server_hung > 0 {
            (NO_ANSWER, false)
        } else if own.troubles.server_dead > 0 || own.troubles.server_steps_fail > 0 {
            (usual, false)
        } else if own.troubles.server_steps_slow > 0 {
            (SLOW_ANSWER, late_but_good)
        } else {
            (usual, true)
        };
        let mut ends_at = self.now + took;
        if matches!(effect, Effect::OpenServer | Effect::FenceServer) {
            ends_at = own.role_free_at.max(self.now) + took;
            own.role_free_at = ends_at;
        }
        if effect == Effect::StopReceiver {
            ends_at = own.receiver_free_at.max(self.now) + took;
            own.receiver_free_at = ends_at;
        }
        if took != usual || !succeeds {
            // The trouble lasts until the step has ended.
            self.watch.trouble(host, ends_at);
        }
        self.finish(host, ends_at, Step { ticket, effect, succeeds });
    }

    fn finish(&mut self, host: usize, at: Instant, step: Step) {
        let life = self.hosts[host].life;
        self.schedule(at.saturating_since(self.now), What::Done { host, life, step });
    }

    /// A step ends: its effect, and its result for the agent.
    pub(crate) fn complete(&mut self, host: usize, life: u64, step: Step) {
        let now = self.now;
        if self.hosts[host].life != life {
            return;
        }
        // Nothing of a paused host runs; of a sleeping agent, what is under way may be done already or not.
        if self.hosts[host].is_paused(now) || self.hosts[host].is_asleep(now) && self.seeded.chance(500) {
            let own = &self.hosts[host];
            let again_at = if own.is_paused(now) { own.paused_until } else { own.asleep_until };
            self.schedule(again_at.saturating_since(now), What::Done { host, life, step });
            return;
        }
        let own = &mut self.hosts[host];
        let possible = match step.effect {
            Effect::AddAddress(_) | Effect::RemoveAddress(_) => own.has_interface(),
            Effect::StopReceiver | Effect::Drain | Effect::OpenServer | Effect::FenceServer => own.server_runs(),
        };
        let succeeds = step.succeeds && possible;
        if succeeds {
            self.take_effect(host, step.effect);
        }
        let result = if succeeds { Ok(()) } else { Err(StepFailure(format!("{:?} failed", step.effect))) };
        let foreign = u64::from(self.mutant == Some(Mutant::ForeignTicket));
        let ticket = Ticket(step.ticket.0.saturating_sub(foreign));
        self.hosts[host].inbox.inputs.push(Input::Done { ticket, result });
        self.drive(host);
    }

    fn take_effect(&mut self, host: usize, effect: Effect) {
        let one_writer = self.configuration.is_one_writer();
        match effect {
            Effect::AddAddress(router) => {
                self.set_address(host, router);
                self.hosts[host].tell_addresses(self.now, router);
            }
            Effect::RemoveAddress(router) => {
                self.hosts[host].kernel[router].address_until = None;
                self.hosts[host].tell_addresses(self.now, router);
            }
            Effect::StopReceiver => self.hosts[host].receiver_stopped = true,
            Effect::Drain => {}
            Effect::OpenServer => self.hosts[host].writable = true,
            Effect::FenceServer => self.hosts[host].writable = !one_writer,
        }
    }
}
