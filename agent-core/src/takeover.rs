use core::net::IpAddr;
use core::time::Duration;

use agent_wire::Priority;

use crate::action::{Action, Gate};
use crate::effects::Effects;
use crate::input::{RouterId, StepFailure, Ticket};
use crate::parameters::{RouterParameters, Writers};
use crate::time::Instant;
use crate::transition::{Phases, Reason, StateName, Transition};

mod serving;

use serving::Serving;

/// A source that resigned may have sent its last rows a moment ago: the stream is given this long to fall quiet.
const STREAM_SETTLE: Duration = Duration::from_millis(25);
/// A step that is never answered must not hold a claim for ever; the adapters have tighter deadlines of their own.
const STEP_DEADLINE: Duration = Duration::from_secs(20);
const DRAIN_DEADLINE: Duration = Duration::from_secs(24 * 3600);
/// Fencing on a yield is bounded: the address must not stay because a statement hangs.
const FENCE_DEADLINE: Duration = Duration::from_secs(3);
/// By then the kernel lifetime of an address that could not be removed has ended.
const REMOVE_DEADLINE: Duration = Duration::from_secs(3);

/// Whether this host serves the addresses of one router: the fact behind the claim.
#[derive(Debug)]
pub(crate) struct Service {
    router: RouterId,
    state: State,
}

#[derive(Debug)]
enum State {
    Idle,
    TakingOver(TakingOver),
    Serving(Serving),
    Yielding(Yielding),
}

#[derive(Debug)]
struct TakingOver {
    step: TakeoverStep,
    /// When the step began.
    since: Instant,
    give_up_at: Instant,
    claim: Claim,
    phases: Phases,
}

#[derive(Debug)]
enum TakeoverStep {
    /// Nobody else may serve any more after this.
    AwaitingRivals {
        until: Instant,
        /// The claim has left the host: before that nobody else can know of it.
        advertised: bool,
    },
    StoppingReceiver(Ticket),
    Draining(Ticket),
    Opening(Ticket),
    AddingAddresses(Ticket),
}

enum NextStep {
    StopReceiver,
    Drain,
    Open,
    AddAddresses,
}

#[derive(Debug)]
struct Yielding {
    step: YieldStep,
    since: Instant,
    give_up_at: Instant,
    order: YieldOrder,
    departure: Departure,
    phases: Phases,
}

#[derive(Debug)]
enum YieldStep {
    Fencing(Ticket),
    Removing(Ticket),
}

/// A won election, to be made true.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) at: Instant,
    pub(crate) reason: Reason,
    pub(crate) evidence_at: Instant,
    /// Until then another router may still serve.
    pub(crate) rivals_until: Instant,
    /// What the server has to do; `None`: there is no server.
    pub(crate) writers: Option<Writers>,
}

/// Why the addresses are let go, and what the router is afterwards.
#[derive(Clone, Debug)]
pub(crate) struct Departure {
    pub(crate) at: Instant,
    pub(crate) evidence_at: Instant,
    pub(crate) reason: Reason,
    pub(crate) to: StateName,
    pub(crate) detail: Option<String>,
}

/// What has to happen first when the addresses are let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum YieldOrder {
    /// The server lives and nobody else serves yet: end its sessions while they can still be told.
    FenceThenRemove,
    /// Somebody else may serve at any moment.
    RemoveThenFence,
    /// There is no server to fence, or none that could answer.
    RemoveOnly,
}

/// What the node has to know of a step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Nothing,
    /// The addresses are served.
    Served,
    /// The addresses are gone, the server is fenced as far as it could be: say so to the others.
    Yielded,
    /// The takeover cannot be completed.
    Failed {
        detail: String,
    },
    /// What somebody else removed is local again.
    Restored,
    /// What somebody else removed cannot be made local.
    NotRestored {
        detail: String,
    },
}

impl Service {
    pub(crate) fn new(router: RouterId) -> Self {
        Self { router, state: State::Idle }
    }

    pub(crate) fn is_serving(&self) -> bool {
        matches!(self.state, State::Serving(_))
    }

    pub(crate) fn is_taking_over(&self) -> bool {
        matches!(self.state, State::TakingOver(_))
    }

    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    pub(crate) fn is_yielding(&self) -> bool {
        matches!(self.state, State::Yielding(_))
    }

    /// Whether the addresses may be local, or are just being removed.
    pub(crate) fn may_hold_addresses(&self) -> bool {
        match &self.state {
            State::Idle => false,
            State::TakingOver(takeover) => matches!(takeover.step, TakeoverStep::AddingAddresses(_)),
            State::Serving(_) => true,
            State::Yielding(yielding) => match yielding.step {
                YieldStep::Removing(_) => true,
                YieldStep::Fencing(_) => yielding.order == YieldOrder::FenceThenRemove,
            },
        }
    }

    /// Whether addresses that are missing were removed by somebody else, and are not being put back already.
    pub(crate) fn can_restore(&self) -> bool {
        matches!(&self.state, State::Serving(serving) if !serving.is_restoring())
    }

    pub(crate) fn restore(&mut self, addresses: Vec<IpAddr>, effects: &mut Effects) {
        if let State::Serving(serving) = &mut self.state {
            serving.restore(self.router, addresses, effects);
        }
    }

    /// Tells the neighbours anew, on the whole schedule.
    pub(crate) fn announce_anew(&mut self, now: Instant) {
        if let State::Serving(serving) = &mut self.state {
            serving.announce_anew(now);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Idle => None,
            State::TakingOver(takeover) => Some(match takeover.step {
                // The election advertises again, or gives up with its lease.
                TakeoverStep::AwaitingRivals { advertised: false, .. } => return None,
                TakeoverStep::AwaitingRivals { until, advertised: true } => until,
                TakeoverStep::StoppingReceiver(_)
                | TakeoverStep::Draining(_)
                | TakeoverStep::Opening(_)
                | TakeoverStep::AddingAddresses(_) => takeover.give_up_at,
            }),
            State::Serving(serving) => Some(serving.poll_timeout()),
            State::Yielding(yielding) => Some(yielding.give_up_at),
        }
    }

    /// Begins to make a won election true.
    pub(crate) fn take_over(&mut self, claim: Claim, effects: &mut Effects) {
        let phases = Phases { detect: claim.at.saturating_since(claim.evidence_at), ..Phases::default() };
        self.state = State::TakingOver(TakingOver {
            step: TakeoverStep::AwaitingRivals { until: claim.rivals_until, advertised: false },
            since: claim.at,
            give_up_at: claim.rivals_until,
            phases,
            claim,
        });
        effects.push(Action::SetGate { router: self.router, gate: Gate::Refuse });
    }

    /// Another router claims to be Active and may serve until then: nothing of ours becomes local before.
    ///
    /// What is served already is announced again, since the rival may have announced it as well.
    pub(crate) fn await_rival(&mut self, at: Instant, until: Instant) {
        if let State::Serving(serving) = &mut self.state {
            serving.rival_heard(at, until);
        }
        if let State::TakingOver(takeover) = &mut self.state {
            if matches!(takeover.step, TakeoverStep::AddingAddresses(_)) {
                return;
            }
            let (until, advertised) = match takeover.step {
                TakeoverStep::AwaitingRivals { until: before, advertised } => (before.max(until), advertised),
                TakeoverStep::StoppingReceiver(_)
                | TakeoverStep::Draining(_)
                | TakeoverStep::Opening(_)
                | TakeoverStep::AddingAddresses(_) => (until, true),
            };
            takeover.step = TakeoverStep::AwaitingRivals { until, advertised };
        }
    }

    /// An advertisement has left the host.
    pub(crate) fn handle_advertised(&mut self) {
        if let State::TakingOver(TakingOver { step: TakeoverStep::AwaitingRivals { advertised, .. }, .. }) =
            &mut self.state
        {
            *advertised = true;
        }
    }

    /// A rival has resigned, so it serves no longer; others may until then.
    pub(crate) fn rival_resigned(&mut self, at: Instant, others_until: Instant) {
        if let State::Serving(serving) = &mut self.state {
            serving.rival_resigned(at);
        }
        if let State::TakingOver(TakingOver { step: TakeoverStep::AwaitingRivals { until, .. }, claim, .. }) =
            &mut self.state
        {
            *until = others_until.min(*until);
            claim.reason = Reason::PeerResigned;
        }
    }

    /// Begins to let the addresses go; a takeover under way is undone the same way.
    pub(crate) fn yield_up(&mut self, departure: Departure, order: YieldOrder, effects: &mut Effects) {
        effects.push(Action::SetGate { router: self.router, gate: Gate::Refuse });
        let phases = Phases { detect: departure.at.saturating_since(departure.evidence_at), ..Phases::default() };
        let (step, deadline) =
            if order == YieldOrder::FenceThenRemove { self.fence(effects) } else { self.remove(effects) };
        let since = departure.at;
        self.state = State::Yielding(Yielding { step, since, give_up_at: since + deadline, order, departure, phases });
    }

    pub(crate) fn handle_done(
        &mut self,
        now: Instant,
        done: Ticket,
        result: Result<(), &StepFailure>,
        own: &RouterParameters,
        effects: &mut Effects,
    ) -> Progress {
        match &mut self.state {
            State::Idle => Progress::Nothing,
            State::TakingOver(takeover) => {
                if takeover.step.ticket() != Some(done) {
                    return Progress::Nothing;
                }
                match result {
                    Ok(()) => self.next_takeover_step(now, own, effects),
                    Err(failure) => Progress::Failed { detail: failure.0.clone() },
                }
            }
            State::Serving(serving) => serving.handle_done(now, done, result, effects),
            State::Yielding(yielding) => {
                if yielding.step.ticket() != done {
                    return Progress::Nothing;
                }
                if let Err(failure) = result {
                    yielding.departure.detail.get_or_insert_with(|| failure.0.clone());
                }
                self.next_yield_step(now, effects)
            }
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, own: &RouterParameters, effects: &mut Effects) -> Progress {
        match &mut self.state {
            State::Idle => Progress::Nothing,
            State::TakingOver(takeover) => match takeover.step {
                TakeoverStep::AwaitingRivals { until, advertised: true } if now >= until => {
                    self.next_takeover_step(now, own, effects)
                }
                TakeoverStep::AwaitingRivals { .. } => Progress::Nothing,
                TakeoverStep::StoppingReceiver(_)
                | TakeoverStep::Draining(_)
                | TakeoverStep::Opening(_)
                | TakeoverStep::AddingAddresses(_) => {
                    if now < takeover.give_up_at {
                        return Progress::Nothing;
                    }
                    Progress::Failed { detail: format!("{} was not answered", takeover.step.name()) }
                }
            },
            State::Serving(serving) => {
                serving.handle_timeout(now, self.router, own, effects);
                Progress::Nothing
            }
            State::Yielding(yielding) => {
                if now < yielding.give_up_at {
                    return Progress::Nothing;
                }
                let step = yielding.step.name();
                yielding.departure.detail.get_or_insert_with(|| format!("{step} was not answered"));
                self.next_yield_step(now, effects)
            }
        }
    }

    fn next_takeover_step(&mut self, now: Instant, own: &RouterParameters, effects: &mut Effects) -> Progress {
        let State::TakingOver(takeover) = &mut self.state else { return Progress::Nothing };
        let took = now.saturating_since(takeover.since);
        let router = self.router;
        let phases = &mut takeover.phases;
        let next = match takeover.step {
            TakeoverStep::AwaitingRivals { .. } => {
                phases.fence += took;
                match takeover.claim.writers {
                    None => NextStep::AddAddresses,
                    Some(Writers::Active) => NextStep::StopReceiver,
                    Some(Writers::Both) => NextStep::Drain,
                }
            }
            TakeoverStep::StoppingReceiver(_) => {
                phases.fence += took;
                NextStep::Drain
            }
            TakeoverStep::Draining(_) => {
                phases.drain = took;
                NextStep::Open
            }
            TakeoverStep::Opening(_) => {
                phases.open = took;
                NextStep::AddAddresses
            }
            TakeoverStep::AddingAddresses(_) => {
                phases.vip = took;
                let transition = Transition {
                    router,
                    at: takeover.claim.at,
                    from: StateName::Backup,
                    to: StateName::Active,
                    reason: takeover.claim.reason,
                    phases: *phases,
                    detail: None,
                };
                self.state = State::Serving(Serving::begin(now, transition, own, effects));
                return Progress::Served;
            }
        };
        takeover.since = now;
        takeover.give_up_at = now + STEP_DEADLINE;
        takeover.step = match next {
            NextStep::StopReceiver => {
                let settle = (takeover.claim.reason == Reason::PeerResigned).then_some(STREAM_SETTLE);
                TakeoverStep::StoppingReceiver(effects.request(|ticket| Action::StopReceiving { ticket, settle }))
            }
            NextStep::Drain => {
                // A drain goes on for as long as it makes progress, which its adapter watches.
                takeover.give_up_at = now + DRAIN_DEADLINE;
                TakeoverStep::Draining(effects.request(|ticket| Action::Drain { ticket }))
            }
            NextStep::Open => TakeoverStep::Opening(effects.request(|ticket| Action::OpenServer { ticket })),
            NextStep::AddAddresses => {
                effects.push(Action::SetGate { router, gate: Gate::Serve });
                TakeoverStep::AddingAddresses(effects.request(|ticket| Action::AddAddresses { ticket, router }))
            }
        };
        Progress::Nothing
    }

    fn next_yield_step(&mut self, now: Instant, effects: &mut Effects) -> Progress {
        let State::Yielding(yielding) = &self.state else { return Progress::Nothing };
        let took = now.saturating_since(yielding.since);
        let (order, mut phases) = (yielding.order, yielding.phases);
        let next = match yielding.step {
            YieldStep::Fencing(_) => {
                phases.fence = took;
                (order == YieldOrder::FenceThenRemove).then(|| self.remove(effects))
            }
            YieldStep::Removing(_) => {
                phases.vip = took;
                (order == YieldOrder::RemoveThenFence).then(|| self.fence(effects))
            }
        };
        let State::Yielding(yielding) = &mut self.state else { return Progress::Nothing };
        yielding.phases = phases;
        if let Some((step, deadline)) = next {
            yielding.step = step;
            yielding.since = now;
            yielding.give_up_at = now + deadline;
            return Progress::Nothing;
        }
        let Departure { at, reason, to, ref detail, .. } = yielding.departure;
        let detail = detail.clone();
        effects.push(Action::SendAdvert { router: self.router, priority: Priority::RELEASE });
        effects.push(Action::Report(Transition {
            router: self.router,
            at,
            from: StateName::Active,
            to,
            reason,
            phases,
            detail,
        }));
        self.state = State::Idle;
        Progress::Yielded
    }

    fn fence(&self, effects: &mut Effects) -> (YieldStep, Duration) {
        (YieldStep::Fencing(effects.request(|ticket| Action::FenceServer { ticket })), FENCE_DEADLINE)
    }

    fn remove(&self, effects: &mut Effects) -> (YieldStep, Duration) {
        let router = self.router;
        (YieldStep::Removing(effects.request(|ticket| Action::RemoveAddresses { ticket, router })), REMOVE_DEADLINE)
    }
}

impl TakeoverStep {
    fn ticket(&self) -> Option<Ticket> {
        match *self {
            Self::AwaitingRivals { .. } => None,
            Self::StoppingReceiver(ticket)
            | Self::Draining(ticket)
            | Self::Opening(ticket)
            | Self::AddingAddresses(ticket) => Some(ticket),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::AwaitingRivals { .. } => "waiting for other routers",
            Self::StoppingReceiver(_) => "stopping the receiver",
            Self::Draining(_) => "applying what was received",
            Self::Opening(_) => "opening the server",
            Self::AddingAddresses(_) => "adding the addresses",
        }
    }
}

impl YieldStep {
    fn ticket(&self) -> Ticket {
        match *self {
            Self::Fencing(ticket) | Self::Removing(ticket) => ticket,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Fencing(_) => "fencing the server",
            Self::Removing(_) => "removing the addresses",
        }
    }
}
