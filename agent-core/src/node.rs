use core::time::Duration;

use agent_wire::Priority;

use crate::action::{Action, Gate};
use crate::effects::Effects;
use crate::election::{Election, Outcome};
use crate::health::Health;
use crate::input::{Advert, Input, InterfaceState, Receiver, RouterId, ServerReport, Standing, StepFailure, Ticket};
use crate::parameters::{Parameters, Writers};
use crate::replication::Eligibility;
use crate::snapshot::{RouterSnapshot, Snapshot};
use crate::takeover::{Claim, Departure, Progress, Service, YieldOrder};
use crate::time::Instant;
use crate::tracking::Track;
use crate::transition::{Phases, Reason, StateName, Transition};

mod addresses;
mod group;
mod priority;

use addresses::Guard;

/// Where other routers than one known peer may claim at the same moment, a claim waits this long for theirs.
const RIVAL_SETTLE: Duration = Duration::from_millis(10);
/// How often a server that is writable without holding an address is fenced again.
const STRAY_FENCE_EVERY: Duration = Duration::from_secs(1);
/// How long a router stays out after a failed takeover; doubled with each further failure.
const HOLD_OFF: Duration = Duration::from_secs(1);
const HOLD_OFF_MAX: Duration = Duration::from_secs(30);

/// One host: its virtual routers, its server, and what is to be done next.
///
/// The driver's contract: hand in every input that waits, oldest first and adverts before anything else, then call
/// [`handle_timeout`](Self::handle_timeout), then carry out all of [`poll_action`](Self::poll_action), then sleep until
/// [`poll_timeout`](Self::poll_timeout) or the next input. `now` never goes back. A spurious call changes nothing.
#[derive(Debug)]
pub struct Node {
    /// The priorities are the effective ones.
    parameters: Parameters,
    routers: Vec<Router>,
    tracks: Vec<Track>,
    health: Health,
    eligibility: Eligibility,
    effects: Effects,
    /// Since when the present verdict on the server rests on its evidence.
    server_evidence_at: Instant,
    fence_strays_at: Instant,
    /// This agent, or the one before it, may have stopped the receiver.
    receiver_stopped: bool,
    shutting_down: bool,
    finished: bool,
}

#[derive(Debug)]
struct Router {
    configured: Priority,
    election: Election,
    service: Service,
    link_up: bool,
    interface: InterfaceState,
    guard: Guard,
    startup_until: Instant,
    hold_off: Duration,
    hold_off_until: Instant,
    /// Why the router is no candidate.
    hindrance: Option<Reason>,
}

impl Node {
    #[must_use]
    pub fn new(now: Instant, parameters: Parameters) -> Self {
        let mut effects = Effects::default();
        let grouped = group::is_formed_by(&parameters);
        let routers = parameters
            .routers
            .iter()
            .enumerate()
            .map(|(index, own)| {
                let router = RouterId(index);
                effects.push(Action::SetGate { router, gate: Gate::Refuse });
                Router {
                    configured: own.priority,
                    election: if grouped { Election::in_group() } else { Election::new() },
                    service: Service::new(router),
                    link_up: false,
                    interface: InterfaceState::Ready { source: own.source_address },
                    guard: Guard::new(now),
                    startup_until: now + own.startup_delay,
                    hold_off: Duration::ZERO,
                    hold_off_until: now,
                    hindrance: Some(Reason::LinkDown),
                }
            })
            .collect();
        Self {
            tracks: parameters.tracks.iter().map(|_| Track::default()).collect(),
            parameters,
            routers,
            health: Health::new(),
            eligibility: Eligibility::default(),
            effects,
            server_evidence_at: now,
            fence_strays_at: now,
            receiver_stopped: true,
            shutting_down: false,
            finished: false,
        }
    }

    /// Takes one piece of news; after [`Action::Finished`] none means anything any more.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        if self.finished {
            return;
        }
        self.expire_leases(now);
        match input {
            Input::Advert(advert) => self.handle_advert(now, &advert),
            Input::AdvertSent { router, at } => self.handle_advert_sent(now, router, at),
            Input::Link { router, up } => {
                if let Some(router) = self.routers.get_mut(router.0) {
                    router.link_up = up;
                }
            }
            Input::Interface { router, state } => self.handle_interface(router, state),
            Input::HardwareAddressChanged { router } => {
                if let Some(router) = self.routers.get_mut(router.0) {
                    router.service.announce_anew(now);
                }
            }
            Input::Addresses { router, local, missing } => self.handle_addresses(router, local, missing),
            Input::Track { track, outcome } => self.handle_track(now, track, outcome),
            Input::Server(report) => self.handle_server(now, report),
            Input::Done { ticket, result } => self.handle_done(now, ticket, result.as_ref().map(|&()| ())),
            Input::Shutdown => self.shutting_down = true,
        }
        self.settle(now);
    }

    /// Lets every deadline that has come fire.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.expire_leases(now);
        for index in 0..self.routers.len() {
            let own = &self.parameters.routers[index];
            let router = &mut self.routers[index];
            let outcome = router.election.handle_timeout(now, own);
            self.apply(now, index, outcome);
            let own = &self.parameters.routers[index];
            let progress = self.routers[index].service.handle_timeout(now, own, &mut self.effects);
            self.follow(now, index, progress);
        }
        self.claim_together(now);
        self.settle(now);
    }

    /// The next thing to do, in order; `None`: sleep.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        self.effects.pop()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let routers = self.routers.iter().flat_map(|router| {
            let waits = [router.startup_until, router.hold_off_until, router.guard.contested_until];
            let hindered = matches!(
                router.hindrance,
                Some(Reason::StartupDelay | Reason::TakeoverFailed | Reason::AddressContested)
            );
            let candidacy = hindered.then(|| waits.into_iter().max()).flatten();
            let guarded = !self.finished && !router.service.may_hold_addresses();
            let strays = if guarded { router.guard.poll_timeout() } else { None };
            [router.election.poll_timeout(), router.service.poll_timeout(), candidacy, strays]
        });
        routers.flatten().min()
    }

    /// What there is to see, by the same functions that decide.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let routers = self.routers.iter().zip(&self.parameters.routers).enumerate();
        let routers = routers.map(|(index, (router, own))| RouterSnapshot {
            state: router.election.state_name(),
            serving: router.service.is_serving(),
            effective_priority: own.priority,
            priority_parts: self.priority_parts(index, router.election.state_name() == StateName::Active),
            hindrance: router.hindrance,
            active_address: match router.election.state_name() {
                StateName::Active => Some(own.source_address),
                StateName::Initialize | StateName::Backup => {
                    router.election.heard().filter(|heard| heard.lease_until > now).map(|heard| heard.source)
                }
            },
            lease_remaining: router.election.lease_until().map(|until| until.saturating_since(now)),
            addresses_restored: router.guard.restored,
        });
        Snapshot {
            routers: routers.collect(),
            server: self.health.state(),
            standing: self.eligibility.standing().cloned(),
            eligible: self.parameters.server.as_ref().map(|own| self.eligibility.verdict(own)),
        }
    }

    fn handle_interface(&mut self, id: RouterId, state: InterfaceState) {
        let (Some(router), Some(own)) = (self.routers.get_mut(id.0), self.parameters.routers.get_mut(id.0)) else {
            return;
        };
        router.interface = state;
        if let InterfaceState::Ready { source } = state {
            own.source_address = source;
        }
    }

    fn handle_advert(&mut self, now: Instant, advert: &Advert) {
        let index = advert.router.0;
        let Some(own) = self.parameters.routers.get(index) else { return };
        let caught_up = match &self.parameters.server {
            None => true,
            Some(server) => self.eligibility.has_caught_up(server),
        };
        let may_preempt = own.preempt_mode && caught_up;
        let tie = self.tie(index, advert);
        let election = &mut self.routers[index].election;
        election.decide_ties(tie);
        let outcome = election.handle_advert(advert, own, may_preempt);
        self.apply(now, index, outcome);
    }

    fn handle_advert_sent(&mut self, now: Instant, id: RouterId, at: Instant) {
        let Some(own) = self.parameters.routers.get(id.0) else { return };
        let router = &mut self.routers[id.0];
        let Some(until) = router.election.handle_advert_sent(at, own) else { return };
        self.effects.push(Action::RenewLease { router: id, until });
        router.service.handle_advertised();
        let progress = router.service.handle_timeout(now, own, &mut self.effects);
        self.follow(now, id.0, progress);
    }

    fn handle_server(&mut self, now: Instant, report: ServerReport) {
        let Some(own) = &self.parameters.server else { return };
        let before = self.health.state();
        match report {
            ServerReport::Died(death) => self.health.handle_death(death),
            ServerReport::Probe { kind, outcome } => self.health.handle_probe(kind, outcome, own),
            ServerReport::Standing(standing) => self.handle_standing(now, standing),
        }
        if self.health.state() != before {
            self.server_evidence_at = now;
        }
    }

    fn handle_standing(&mut self, now: Instant, standing: Standing) {
        let active_is_heard = self.another_is_active(now);
        let idle = self.routers.iter().all(|router| router.service.is_idle());
        if !standing.writable {
            self.health.forget_writes();
        }
        let writers = self.parameters.server.as_ref().map(|own| own.writers);
        if standing.writable && idle && writers == Some(Writers::Active) && now >= self.fence_strays_at {
            self.fence_strays_at = now + STRAY_FENCE_EVERY;
            self.effects.request(|ticket| Action::FenceServer { ticket });
        }
        let stopped = standing.replication.as_ref().is_some_and(|channel| channel.receiver == Receiver::Stopped);
        // Starting a receiver whose source is dead would throw away what it had received and not applied.
        if stopped && self.receiver_stopped && idle && active_is_heard {
            self.resume_receiving();
        }
        self.eligibility.handle_standing(now, standing, active_is_heard);
    }

    fn handle_done(&mut self, now: Instant, ticket: Ticket, result: Result<(), &StepFailure>) {
        for index in 0..self.routers.len() {
            let own = &self.parameters.routers[index];
            self.routers[index].guard.handle_done(ticket);
            let progress = self.routers[index].service.handle_done(now, ticket, result, own, &mut self.effects);
            self.follow(now, index, progress);
        }
    }

    /// An Active whose lease has ended does not go on, whatever it learns next.
    fn expire_leases(&mut self, now: Instant) {
        for index in 0..self.routers.len() {
            let router = &mut self.routers[index];
            if router.election.lease_until().is_some_and(|until| until <= now) {
                let outcome = router.election.handle_timeout(now, &self.parameters.routers[index]);
                self.apply(now, index, outcome);
            }
        }
    }

    /// Turns what an election says into what the host does.
    fn apply(&mut self, now: Instant, index: usize, outcome: Outcome) {
        let id = RouterId(index);
        let own = &self.parameters.routers[index];
        match outcome {
            Outcome::Nothing => {}
            Outcome::Advertise => self.effects.push(Action::SendAdvert { router: id, priority: own.priority }),
            Outcome::Claimed { reason, evidence_at } => {
                self.effects.push(Action::SendAdvert { router: id, priority: own.priority });
                let rivals_until = self.rivals_until(now, index, reason);
                let writers = self.parameters.server.as_ref().map(|server| server.writers);
                self.receiver_stopped |= writers == Some(Writers::Active);
                let claim = Claim { at: now, reason, evidence_at, rivals_until, writers };
                self.routers[index].service.take_over(claim, &mut self.effects);
            }
            Outcome::Deposed { reason } => {
                let departure = Departure { at: now, evidence_at: now, reason, to: StateName::Backup, detail: None };
                self.yield_up(index, departure, YieldOrder::RemoveThenFence);
                self.step_back_together(now);
            }
            Outcome::RivalResigned => {
                let until = self.rivals_until(now, index, Reason::PeerResigned);
                self.routers[index].service.rival_resigned(now, until);
            }
            Outcome::RivalLives { until } => self.routers[index].service.await_rival(now, until),
        }
    }

    /// Until when another router may still serve, as far as this one can know.
    fn rivals_until(&self, now: Instant, index: usize, reason: Reason) -> Instant {
        let own = &self.parameters.routers[index];
        let election = &self.routers[index].election;
        let settle = if own.sole_peer.is_some() && (election.heard().is_some() || reason == Reason::PeerResigned) {
            now
        } else {
            now + RIVAL_SETTLE
        };
        election.rivals_until().map_or(settle, |until| settle.max(until))
    }

    /// Follows a step of the service.
    fn follow(&mut self, now: Instant, index: usize, progress: Progress) {
        let router = &mut self.routers[index];
        match progress {
            Progress::Nothing => {}
            Progress::Served => router.hold_off = Duration::ZERO,
            Progress::Restored => router.guard.handle_restored(),
            Progress::NotRestored { detail } => router.guard.give_up(now, &detail),
            Progress::Yielded => router.election.stop_if_active(),
            Progress::Failed { detail } => {
                router.hold_off = (router.hold_off * 2).clamp(HOLD_OFF, HOLD_OFF_MAX);
                router.hold_off_until = now + router.hold_off;
                let departure = Departure {
                    at: now,
                    evidence_at: now,
                    reason: Reason::TakeoverFailed,
                    to: StateName::Initialize,
                    detail: Some(detail),
                };
                self.yield_up(index, departure, YieldOrder::FenceThenRemove);
            }
        }
    }

    fn yield_up(&mut self, index: usize, departure: Departure, order: YieldOrder) {
        let order = if self.fences_on_yield(index) { order } else { YieldOrder::RemoveOnly };
        self.routers[index].service.yield_up(departure, order, &mut self.effects);
    }

    fn resume_receiving(&mut self) {
        if self.receiver_stopped && self.parameters.server.is_some() {
            self.receiver_stopped = false;
            self.effects.push(Action::ResumeReceiving);
        }
    }

    /// Brings every router in line with what the host can do now.
    fn settle(&mut self, now: Instant) {
        self.guard_addresses(now);
        for index in 0..self.routers.len() {
            let hindrance = self.hindrance(now, index);
            let own = &self.parameters.routers[index];
            let router = &mut self.routers[index];
            router.hindrance = hindrance;
            match (router.election.state_name(), hindrance) {
                (StateName::Initialize, None) if router.service.is_idle() => {
                    router.election.start(now, own);
                    self.report(now, index, StateName::Initialize, StateName::Backup, Reason::Candidate);
                }
                (StateName::Backup, Some(reason)) => {
                    router.election.stop();
                    self.report(now, index, StateName::Backup, StateName::Initialize, reason);
                }
                (StateName::Active, Some(reason)) if !router.service.is_yielding() => {
                    self.leave(now, index, reason);
                }
                (StateName::Initialize | StateName::Active, _) | (StateName::Backup, None) => {}
            }
        }
        // Not before the last takeover: each of them stops the receiver.
        let serves = self.routers.iter().any(|router| router.service.is_serving());
        if serves && !self.routers.iter().any(|router| router.service.is_taking_over()) {
            self.resume_receiving();
        }
        let done = self.routers.iter().all(|router| router.service.is_idle());
        if self.shutting_down && done && !self.finished {
            self.finished = true;
            self.effects.push(Action::Finished);
        }
    }

    /// Why the router cannot be a candidate, or, if it is Active, cannot stay so.
    fn hindrance(&self, now: Instant, index: usize) -> Option<Reason> {
        let router = &self.routers[index];
        let active = router.election.state_name() == StateName::Active;
        if self.shutting_down {
            return Some(Reason::Shutdown);
        }
        match router.interface {
            InterfaceState::Missing => return Some(Reason::InterfaceMissing),
            _ if !router.link_up => return Some(Reason::LinkDown),
            InterfaceState::NoSource => return Some(Reason::SourceAddressMissing),
            InterfaceState::Unusable => return Some(Reason::InterfaceUnusable),
            InterfaceState::Ready { .. } => {}
        }
        if let Some((reason, _)) = self.track_fault(index) {
            return Some(reason);
        }
        let hinders_group = |(index, other): (usize, &Router)| {
            !other.can_carry() || other.is_kept_out(now) || self.track_fault(index).is_some()
        };
        let alone = !self.is_grouped() || router.is_kept_out(now);
        if !alone && self.routers.iter().enumerate().any(hinders_group) {
            return Some(Reason::GroupHindered);
        }
        if let Some(reason) = self.server_fault(active) {
            return Some(reason);
        }
        if router.guard.is_contested(now) {
            return Some(Reason::AddressContested);
        }
        if active {
            return None;
        }
        if now < router.startup_until {
            return Some(Reason::StartupDelay);
        }
        (now < router.hold_off_until).then_some(Reason::TakeoverFailed)
    }

    /// Lets go of an Active router for a reason of this host's own.
    fn leave(&mut self, now: Instant, index: usize, reason: Reason) {
        let server_failed = matches!(reason, Reason::ServerDied | Reason::ServerFailed);
        let evidence_at = if server_failed { self.server_evidence_at } else { now };
        let order = if server_failed {
            YieldOrder::RemoveOnly
        } else if is_cut_off(reason) {
            YieldOrder::RemoveThenFence
        } else {
            YieldOrder::FenceThenRemove
        };
        let detail = if reason == Reason::AddressContested {
            self.routers[index].guard.take_contest()
        } else {
            self.track_fault(index).filter(|(fault, _)| *fault == reason).map(|(_, detail)| detail)
        };
        let departure = Departure { at: now, evidence_at, reason, to: StateName::Initialize, detail };
        self.yield_up(index, departure, order);
    }

    /// Whether the server is vipd's to close, and no other router of this host needs it open.
    fn fences_on_yield(&self, index: usize) -> bool {
        let owned = self.parameters.server.as_ref().is_some_and(|own| own.writers == Writers::Active);
        let needed = self.routers.iter().enumerate().any(|(other, router)| {
            other != index && router.election.state_name() == StateName::Active && !router.service.is_yielding()
        });
        owned && !needed
    }

    fn another_is_active(&self, now: Instant) -> bool {
        self.routers.iter().any(|router| router.election.heard().is_some_and(|heard| heard.lease_until > now))
    }

    fn report(&mut self, at: Instant, index: usize, from: StateName, to: StateName, reason: Reason) {
        let phases = Phases::default();
        self.effects.push(Action::Report(Transition {
            router: RouterId(index),
            at,
            from,
            to,
            reason,
            phases,
            detail: None,
        }));
    }
}

/// Whether the others can hear nothing of this host, so that one of them may serve at any moment.
fn is_cut_off(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::LinkDown | Reason::InterfaceMissing | Reason::SourceAddressMissing | Reason::InterfaceUnusable
    )
}
