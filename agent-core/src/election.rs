use core::net::IpAddr;
use core::time::Duration;

use agent_wire::Priority;

use crate::election_times::{active_down_interval, lease, skew_time};
use crate::input::Advert;
use crate::parameters::RouterParameters;
use crate::time::Instant;
use crate::transition::{Reason, StateName};

/// The answer to a lower-priority Active is due at once (RFC 9568 §6.4.3), but a flood must not be echoed.
const ANSWER_GAP: Duration = Duration::from_millis(10);
/// More claimants than this are not told apart; a LAN has one, a partition leaves a few.
const HEARD_MAX: usize = 16;

/// One virtual router's state machine (RFC 9568 §6.4). It decides who speaks for the router, not who serves.
#[derive(Debug)]
pub(crate) struct Election {
    state: State,
    /// The other routers that claim to be Active, the one heard last at the end.
    heard: Vec<Heard>,
    /// The router is Active with all others of its host or not at all.
    grouped: bool,
    tie: Tie,
}

#[derive(Debug)]
enum State {
    Initialize,
    Backup(Backup),
    Active(Active),
}

#[derive(Debug)]
struct Backup {
    /// Active_Down_Timer.
    active_down_at: Instant,
    /// Active_Adver_Interval, learned from the Active Router.
    active_adver_interval: Duration,
    /// Since when only routers with a lower priority are heard.
    outranking_since: Option<Instant>,
    /// What the deadline rests on, and since when.
    evidence: (Reason, Instant),
    /// The deadline was noticed late once and has been set anew.
    woke_late: bool,
    /// The deadline has passed, and the claim waits for the other routers of the group.
    held: bool,
}

#[derive(Debug)]
struct Active {
    /// Adver_Timer.
    adver_at: Instant,
    /// Without another advertisement sent by then, a Backup may take over.
    lease_until: Instant,
    answered_at: Option<Instant>,
}

/// What is known of another router that claims to be Active.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    pub(crate) source: IpAddr,
    /// When its lease ends: it serves no longer, unless it is heard again.
    pub(crate) lease_until: Instant,
}

/// How two Active Routers with the same priority are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tie {
    /// The higher primary address stays (RFC 9568 §6.4.3).
    ByAddress,
    /// Another router of the group hears the rival too, and decides for all of them.
    DecidedElsewhere,
}

/// What an event means for the router.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Nothing,
    /// An advertisement is due.
    Advertise,
    /// The state is Active now; an advertisement is due, and the address is to be taken over.
    Claimed {
        reason: Reason,
        evidence_at: Instant,
    },
    /// The state is Backup now; the address is to be let go.
    Deposed {
        reason: Reason,
    },
    /// The router that stood in the way gave up.
    RivalResigned,
    /// A router that goes after this one claims to be Active and may still serve.
    RivalLives {
        until: Instant,
    },
}

impl Election {
    pub(crate) fn new() -> Self {
        Self { state: State::Initialize, heard: Vec::new(), grouped: false, tie: Tie::ByAddress }
    }

    /// A router that claims only together with the others of its host.
    pub(crate) fn in_group() -> Self {
        Self { grouped: true, ..Self::new() }
    }

    /// Says how the next tie is broken.
    pub(crate) fn decide_ties(&mut self, tie: Tie) {
        self.tie = tie;
    }

    pub(crate) fn state_name(&self) -> StateName {
        match self.state {
            State::Initialize => StateName::Initialize,
            State::Backup(_) => StateName::Backup,
            State::Active(_) => StateName::Active,
        }
    }

    /// The router that was last heard to be Active.
    pub(crate) fn heard(&self) -> Option<Heard> {
        self.heard.last().copied()
    }

    /// When the last lease of all that were heard ends.
    pub(crate) fn rivals_until(&self) -> Option<Instant> {
        self.heard.iter().map(|heard| heard.lease_until).max()
    }

    /// When the lease of this router ends; `None` unless Active.
    pub(crate) fn lease_until(&self) -> Option<Instant> {
        match &self.state {
            State::Active(active) => Some(active.lease_until),
            State::Initialize | State::Backup(_) => None,
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Initialize => None,
            State::Backup(backup) => (!backup.held).then_some(backup.active_down_at),
            State::Active(active) => Some(active.adver_at.min(active.lease_until)),
        }
    }

    /// Startup event (RFC 9568 §6.4.1): the router is never the owner, so it begins as Backup.
    pub(crate) fn start(&mut self, now: Instant, own: &RouterParameters) {
        self.become_backup(now, own, own.advertisement_interval);
    }

    /// Shutdown event (RFC 9568 §6.4.2 and §6.4.3); the priority-0 advertisement is the caller's.
    pub(crate) fn stop(&mut self) {
        self.state = State::Initialize;
    }

    /// The address is gone and the others have been told.
    pub(crate) fn stop_if_active(&mut self) {
        if matches!(self.state, State::Active(_)) {
            self.stop();
        }
    }

    /// The router steps back with the others of its group.
    pub(crate) fn step_back(&mut self, now: Instant, own: &RouterParameters) {
        self.become_backup(now, own, own.advertisement_interval);
    }

    /// Whether nothing but the other routers of the group can keep this one from being Active.
    pub(crate) fn is_held_or_active(&self) -> bool {
        match &self.state {
            State::Initialize => false,
            State::Backup(backup) => backup.held,
            State::Active(_) => true,
        }
    }

    pub(crate) fn handle_advert(&mut self, advert: &Advert, own: &RouterParameters, may_preempt: bool) -> Outcome {
        let at = advert.arrived_at;
        self.heard.retain(|heard| heard.source != advert.source && heard.lease_until > at);
        if !advert.priority.is_release() {
            if self.heard.len() == HEARD_MAX {
                self.heard.remove(0);
            }
            self.heard.push(Heard { source: advert.source, lease_until: at + lease(advert.interval) });
        }
        match &mut self.state {
            State::Initialize => Outcome::Nothing,
            // One that was deposed resigns too: it says nothing of the Active that is still heard.
            State::Backup(_) if advert.priority.is_release() && !self.heard.is_empty() => Outcome::Nothing,
            State::Backup(backup) => {
                backup.hear(advert, own, may_preempt);
                Outcome::Nothing
            }
            State::Active(active) => {
                if advert.priority.is_release() {
                    active.adver_at = at;
                    return Outcome::RivalResigned;
                }
                if outranks(advert, own, self.tie) {
                    self.become_backup(at, own, advert.interval);
                    return Outcome::Deposed { reason: Reason::HigherPriority };
                }
                active.tell_soon(at);
                Outcome::RivalLives { until: at + lease(advert.interval) }
            }
        }
    }

    /// The priority is another one now: a Backup's skew follows it, an Active tells the others soon.
    pub(crate) fn change_priority(&mut self, now: Instant, before: Priority, own: &RouterParameters) {
        match &mut self.state {
            State::Initialize => {}
            State::Backup(backup) => {
                // A resignation of the only peer is answered without skew.
                if backup.evidence.0 == Reason::PeerResigned && own.sole_peer.is_some() {
                    return;
                }
                let skew = |priority| skew_time(own.version, priority, backup.active_adver_interval);
                backup.active_down_at = backup.active_down_at + skew(own.priority) - skew(before);
                // Whoever was about to preempt may go after the Active now: that one is heard out.
                if own.priority < before
                    && let Some(until) = self.heard.iter().map(|heard| heard.lease_until).max()
                {
                    backup.active_down_at = backup.active_down_at.max(until + skew(own.priority));
                }
            }
            State::Active(active) => active.tell_soon(now),
        }
    }

    /// An advertisement of this router left the host at that moment.
    pub(crate) fn handle_advert_sent(&mut self, at: Instant, own: &RouterParameters) -> Option<Instant> {
        match &mut self.state {
            State::Active(active) => {
                active.lease_until = active.lease_until.max(at + lease(own.advertisement_interval));
                Some(active.lease_until)
            }
            State::Initialize | State::Backup(_) => None,
        }
    }

    /// Lets the timers fire; of a group, a Backup whose time has come is held.
    pub(crate) fn handle_timeout(&mut self, now: Instant, own: &RouterParameters) -> Outcome {
        match &mut self.state {
            State::Initialize => Outcome::Nothing,
            State::Backup(backup) => {
                if now < backup.active_down_at {
                    return Outcome::Nothing;
                }
                // Whoever slept past its deadline has heard nothing because it slept: it listens once more, for as
                // long as the lease of an Active may last that was not heard in the sleep.
                let late = now.saturating_since(backup.active_down_at);
                if late > backup.active_adver_interval && !backup.woke_late && !backup.held {
                    backup.woke_late = true;
                    backup.active_down_at =
                        now + active_down_interval(own.version, own.priority, backup.active_adver_interval);
                    return Outcome::Nothing;
                }
                if self.grouped {
                    backup.held = true;
                    return Outcome::Nothing;
                }
                self.claim(now, own)
            }
            State::Active(active) => {
                if now >= active.lease_until {
                    self.become_backup(now, own, own.advertisement_interval);
                    return Outcome::Deposed { reason: Reason::LeaseExpired };
                }
                if now < active.adver_at {
                    return Outcome::Nothing;
                }
                active.adver_at = (active.adver_at + own.advertisement_interval).max(now);
                if active.adver_at == now {
                    active.adver_at = now + own.advertisement_interval;
                }
                Outcome::Advertise
            }
        }
    }

    /// A Backup becomes Active: its time has come, and that of its group.
    pub(crate) fn claim(&mut self, now: Instant, own: &RouterParameters) -> Outcome {
        let State::Backup(backup) = &self.state else { return Outcome::Nothing };
        let (reason, evidence_at) = backup.evidence;
        self.state = State::Active(Active {
            adver_at: now + own.advertisement_interval,
            lease_until: now + lease(own.advertisement_interval),
            answered_at: None,
        });
        Outcome::Claimed { reason, evidence_at }
    }

    fn become_backup(&mut self, at: Instant, own: &RouterParameters, active_adver_interval: Duration) {
        self.state = State::Backup(Backup {
            active_down_at: at + active_down_interval(own.version, own.priority, active_adver_interval),
            active_adver_interval,
            outranking_since: None,
            evidence: (Reason::ActiveDownTimer, at),
            woke_late: false,
            held: false,
        });
    }
}

impl Active {
    /// Advertises at once, but not in answer to each packet of a flood.
    fn tell_soon(&mut self, at: Instant) {
        if self.answered_at.is_none_or(|answered_at| at.saturating_since(answered_at) >= ANSWER_GAP) {
            self.answered_at = Some(at);
            self.adver_at = at;
        }
    }
}

impl Backup {
    /// RFC 9568 §6.4.2, "If an ADVERTISEMENT is received".
    fn hear(&mut self, advert: &Advert, own: &RouterParameters, may_preempt: bool) {
        let at = advert.arrived_at;
        if advert.priority.is_release() {
            let skew = if own.sole_peer == Some(advert.source) {
                Duration::ZERO
            } else {
                skew_time(own.version, own.priority, self.active_adver_interval)
            };
            if at + skew < self.active_down_at {
                self.active_down_at = at + skew;
                self.evidence = (Reason::PeerResigned, at);
                self.woke_late = false;
                self.held = false;
            }
            return;
        }
        if advert.priority >= own.priority {
            self.outranking_since = None;
        } else {
            let since = *self.outranking_since.get_or_insert(at);
            if may_preempt && at.saturating_since(since) >= own.preempt_delay {
                return;
            }
        }
        self.active_adver_interval = advert.interval;
        self.active_down_at = at + active_down_interval(own.version, own.priority, advert.interval);
        self.evidence = (Reason::ActiveDownTimer, at);
        self.woke_late = false;
        self.held = false;
    }
}

/// Whether the sender goes before this router: priority, then primary address, unsigned (RFC 9568 §6.4.3).
fn outranks(advert: &Advert, own: &RouterParameters, tie: Tie) -> bool {
    let wins_tie = || tie == Tie::ByAddress && advert.source > own.source_address;
    advert.priority > own.priority || (advert.priority == own.priority && wins_tie())
}

#[cfg(test)]
mod tests;
