use core::net::IpAddr;
use core::time::Duration;

use super::Progress;
use crate::action::Action;
use crate::effects::Effects;
use crate::input::{RouterId, StepFailure, Ticket};
use crate::parameters::RouterParameters;
use crate::time::Instant;
use crate::transition::Transition;

/// How often the kernel lifetime of the addresses is extended; it is 2 s.
const RENEW_EVERY: Duration = Duration::from_millis(500);
/// While another router claims the addresses too, they are announced again, but not more often than this.
const REANNOUNCE_GAP: Duration = Duration::from_secs(1);

/// The addresses are served: their lifetime is extended and they are announced, again and again.
#[derive(Debug)]
pub(super) struct Serving {
    since: Instant,
    renew_at: Instant,
    /// How many announcements of the schedule were asked for.
    announced: usize,
    announced_at: Instant,
    announce_at: Instant,
    /// Another router claims the addresses too, and may do so until then.
    rival_until: Option<Instant>,
    /// The takeover that is reported when its first announcement is out.
    report: Option<(Ticket, Transition)>,
    /// Addresses that somebody else removed are being put back.
    restoring: Option<Ticket>,
}

impl Serving {
    /// The addresses are local: they are announced for the first time, and the takeover is reported when that is done.
    pub(super) fn begin(now: Instant, takeover: Transition, own: &RouterParameters, effects: &mut Effects) -> Self {
        let router = takeover.router;
        let ticket = effects.request(|ticket| Action::Announce { ticket, router });
        let mut serving = Self {
            since: now,
            renew_at: now + RENEW_EVERY,
            announced: 0,
            announced_at: now,
            announce_at: now,
            rival_until: None,
            report: Some((ticket, takeover)),
            restoring: None,
        };
        serving.schedule_next_announcement(now, own);
        serving
    }

    pub(super) fn poll_timeout(&self) -> Instant {
        self.renew_at.min(self.announce_at)
    }

    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        router: RouterId,
        own: &RouterParameters,
        effects: &mut Effects,
    ) {
        if now >= self.renew_at {
            self.renew_at = now + RENEW_EVERY;
            effects.push(Action::RenewAddresses { router });
        }
        if now >= self.announce_at {
            effects.request(|ticket| Action::Announce { ticket, router });
            self.schedule_next_announcement(now, own);
        }
    }

    pub(super) fn handle_done(
        &mut self,
        now: Instant,
        done: Ticket,
        result: Result<(), &StepFailure>,
        effects: &mut Effects,
    ) -> Progress {
        if let Some((_, mut transition)) = self.report.take_if(|(ticket, _)| *ticket == done) {
            transition.phases.announce = now.saturating_since(self.since);
            transition.detail = result.err().map(|failure| failure.0.clone());
            effects.push(Action::Report(transition));
        }
        if self.restoring.take_if(|ticket| *ticket == done).is_none() {
            return Progress::Nothing;
        }
        match result {
            Ok(()) => {
                self.announce_anew(now);
                Progress::Restored
            }
            Err(failure) => Progress::NotRestored { detail: failure.0.clone() },
        }
    }

    pub(super) fn is_restoring(&self) -> bool {
        self.restoring.is_some()
    }

    pub(super) fn restore(&mut self, router: RouterId, addresses: Vec<IpAddr>, effects: &mut Effects) {
        self.restoring = Some(effects.request(|ticket| Action::RestoreAddresses { ticket, router, addresses }));
    }

    /// Begins the schedule of announcements again: the neighbours may know nothing of the addresses any more.
    pub(super) fn announce_anew(&mut self, now: Instant) {
        self.since = now;
        self.announced = 0;
        self.announce_at = now;
    }

    /// Another router claims the addresses and may have announced them: the neighbours are told again.
    pub(super) fn rival_heard(&mut self, at: Instant, until: Instant) {
        self.rival_until = Some(until);
        self.announce_again(at);
    }

    pub(super) fn rival_resigned(&mut self, at: Instant) {
        self.rival_until = None;
        self.announce_again(at);
    }

    fn schedule_next_announcement(&mut self, now: Instant, own: &RouterParameters) {
        self.announced += 1;
        self.announced_at = now;
        self.announce_at = match own.announce_repeat.get(self.announced) {
            Some(&after) => (self.since + after).max(now),
            None => now + own.announce_refresh,
        };
        // The rival's last word must not be the one that stays in the neighbours' caches.
        if let Some(until) = self.rival_until.take().filter(|&until| until > now) {
            self.announce_again(until);
        }
    }

    fn announce_again(&mut self, at: Instant) {
        self.announce_at = self.announce_at.min(at.max(self.announced_at + REANNOUNCE_GAP));
    }
}
