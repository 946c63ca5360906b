use core::time::Duration;

use crate::input::{Receiver, Standing};
use crate::parameters::ServerParameters;
use crate::time::Instant;
use crate::transition::Reason;

/// How long a standby may be without its source while the Active Router lives.
const DISCONNECTED_GRACE: Duration = Duration::from_secs(3);

/// The judgement on a standby: may its server become the writer?
///
/// It is made while an Active Router is heard. Once that one is silent, a receiver without a source is no news, and
/// the last judgement stands.
#[derive(Debug, Default)]
pub(crate) struct Eligibility {
    standing: Option<Standing>,
    disconnected_since: Option<Instant>,
    disconnected: bool,
}

impl Eligibility {
    pub(crate) fn standing(&self) -> Option<&Standing> {
        self.standing.as_ref()
    }

    pub(crate) fn handle_standing(&mut self, now: Instant, standing: Standing, active_is_heard: bool) {
        match standing.replication.as_ref().map(|replication| replication.receiver) {
            Some(Receiver::Connected) => {
                self.disconnected_since = None;
                self.disconnected = false;
            }
            Some(Receiver::Connecting | Receiver::Stopped) if active_is_heard => {
                let since = *self.disconnected_since.get_or_insert(now);
                self.disconnected = now.saturating_since(since) >= DISCONNECTED_GRACE;
            }
            Some(Receiver::Connecting | Receiver::Stopped) => self.disconnected_since = None,
            None => {}
        }
        self.standing = Some(standing);
    }

    /// Whether the server may become the writer.
    pub(crate) fn verdict(&self, own: &ServerParameters) -> Result<(), Reason> {
        if !own.require_replication {
            return Ok(());
        }
        let standing = self.standing.as_ref().ok_or(Reason::ServerUnknown)?;
        let replication = standing.replication.as_ref().ok_or(Reason::NotReplicating)?;
        if !replication.applying {
            return Err(Reason::ApplierStopped);
        }
        if replication.receiver == Receiver::Connected && replication.lag.is_none() {
            return Err(Reason::LagUnknown);
        }
        if self.disconnected { Err(Reason::ReceiverDisconnected) } else { Ok(()) }
    }

    /// Whether the server is close enough behind a living Active to take the address back from it.
    pub(crate) fn has_caught_up(&self, own: &ServerParameters) -> bool {
        if !own.require_replication {
            return true;
        }
        let replication = self.standing.as_ref().and_then(|standing| standing.replication.as_ref());
        replication.is_some_and(|replication| {
            replication.applying
                && replication.receiver == Receiver::Connected
                && replication.lag.is_some_and(|lag| lag <= own.catch_up_lag)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Replication;
    use crate::parameters::Writers;

    const OWN: ServerParameters = ServerParameters {
        fall: 2,
        rise: 2,
        writers: Writers::Active,
        require_replication: true,
        catch_up_lag: Duration::from_secs(1),
    };

    fn standing(receiver: Receiver, applying: bool, lag: Option<u64>) -> Standing {
        let lag = lag.map(Duration::from_millis);
        Standing { writable: false, replication: Some(Replication { receiver, applying, lag, error: None }) }
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn a_standby_without_its_source_is_ineligible_only_while_the_active_lives() {
        let mut eligibility = Eligibility::default();
        eligibility.handle_standing(at(1), standing(Receiver::Connecting, true, None), true);
        assert_eq!(eligibility.verdict(&OWN), Ok(()));
        eligibility.handle_standing(at(4), standing(Receiver::Connecting, true, None), true);
        assert_eq!(eligibility.verdict(&OWN), Err(Reason::ReceiverDisconnected));
        eligibility.handle_standing(at(5), standing(Receiver::Connecting, true, None), false);
        assert_eq!(eligibility.verdict(&OWN), Err(Reason::ReceiverDisconnected), "the last judgement stands");
        eligibility.handle_standing(at(6), standing(Receiver::Connected, true, Some(0)), false);
        for second in 7..60 {
            eligibility.handle_standing(at(second), standing(Receiver::Connecting, true, None), false);
            assert_eq!(eligibility.verdict(&OWN), Ok(()), "its source is dead, not late");
        }
    }

    #[test]
    fn unknown_lag_is_not_zero_lag() {
        let mut eligibility = Eligibility::default();
        eligibility.handle_standing(at(1), standing(Receiver::Connected, true, None), true);
        assert_eq!(eligibility.verdict(&OWN), Err(Reason::LagUnknown));
        assert!(!eligibility.has_caught_up(&OWN));
    }

    #[test]
    fn a_stopped_applier_never_becomes_the_writer() {
        let mut eligibility = Eligibility::default();
        eligibility.handle_standing(at(1), standing(Receiver::Connected, false, Some(0)), true);
        assert_eq!(eligibility.verdict(&OWN), Err(Reason::ApplierStopped));
    }

    #[test]
    fn a_server_that_lags_two_seconds_may_take_over_but_not_take_back() {
        let mut eligibility = Eligibility::default();
        eligibility.handle_standing(at(1), standing(Receiver::Connected, true, Some(2000)), true);
        assert_eq!(eligibility.verdict(&OWN), Ok(()));
        assert!(!eligibility.has_caught_up(&OWN));
    }
}
