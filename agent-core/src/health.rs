use crate::input::{Death, Doubt, Fault, Probe, ProbeOutcome};
use crate::parameters::ServerParameters;

/// The verdict on the server, from events at once and from probes with hysteresis.
#[derive(Debug)]
pub(crate) struct Health {
    state: ServerState,
    ping: Tally,
    connect: Tally,
    write: Tally,
}

/// What a node believes of its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// Not judged yet.
    Unknown,
    Healthy,
    /// It lives, but cannot be worked with.
    Degraded(Doubt),
    Failed(Failure),
}

/// How a server failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    Died(Death),
    Probe(Fault),
}

/// What one kind of probe has said lately.
#[derive(Debug, Default)]
struct Tally {
    passed: u32,
    failed: u32,
    doubt: Option<Doubt>,
}

impl ServerState {
    /// The word of the status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Degraded(_) => "degraded",
            Self::Failed(_) => "failed",
        }
    }

    /// The stable word for what is wrong, if anything is.
    #[must_use]
    pub const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Unknown | Self::Healthy => None,
            Self::Degraded(doubt) => Some(match doubt {
                Doubt::CredentialsRefused => "credentials_refused",
                Doubt::TooManyConnections => "too_many_connections",
                Doubt::HostBlocked => "host_blocked",
                Doubt::ReadOnly => "read_only",
                Doubt::OtherError => "other_error",
            }),
            Self::Failed(Failure::Died(Death::ProcessExited)) => Some("died"),
            Self::Failed(Failure::Probe(fault)) => Some(match fault {
                Fault::Refused => "refused",
                Fault::TimedOut => "timed_out",
                Fault::ConnectionLost => "connection_lost",
                Fault::CannotCommit => "cannot_commit",
                Fault::ShuttingDown => "shutting_down",
            }),
        }
    }
}

impl Health {
    pub(crate) fn new() -> Self {
        Self { state: ServerState::Unknown, ping: Tally::default(), connect: Tally::default(), write: Tally::default() }
    }

    pub(crate) fn state(&self) -> ServerState {
        self.state
    }

    pub(crate) fn handle_death(&mut self, death: Death) {
        *self = Self { state: ServerState::Failed(Failure::Died(death)), ..Self::new() };
    }

    /// The server is read-only, so nothing is written and the write probe's past says nothing.
    pub(crate) fn forget_writes(&mut self) {
        self.write = Tally::default();
    }

    pub(crate) fn handle_probe(&mut self, probe: Probe, outcome: ProbeOutcome, own: &ServerParameters) {
        let tally = match probe {
            Probe::Ping => &mut self.ping,
            Probe::Connect => &mut self.connect,
            Probe::Write => &mut self.write,
        };
        match outcome {
            ProbeOutcome::Passed => {
                *tally = Tally { passed: tally.passed.saturating_add(1), failed: 0, doubt: None };
            }
            ProbeOutcome::Failed(fault) => {
                *tally = Tally { passed: 0, failed: tally.failed.saturating_add(1), doubt: None };
                if tally.failed >= own.fall && !matches!(self.state, ServerState::Failed(_)) {
                    self.state = ServerState::Failed(Failure::Probe(fault));
                }
                return;
            }
            // It answers, so it lives: this ends a run of failures without starting a run of passes.
            ProbeOutcome::Inconclusive(doubt) => *tally = Tally { passed: 0, failed: 0, doubt: Some(doubt) },
        }
        self.judge(own);
    }

    fn judge(&mut self, own: &ServerParameters) {
        let kinds = [&self.ping, &self.connect, &self.write];
        let risen = [&self.ping, &self.connect].iter().all(|tally| tally.passed >= own.rise);
        let failing = kinds.iter().any(|tally| tally.failed >= own.fall);
        let doubt = kinds.iter().find_map(|tally| tally.doubt);
        self.state = match (self.state, doubt) {
            (state @ ServerState::Failed(_), _) if failing || !risen => state,
            (_, Some(doubt)) => ServerState::Degraded(doubt),
            (ServerState::Unknown | ServerState::Degraded(_), None) if !risen => self.state,
            (_, None) => ServerState::Healthy,
        };
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::parameters::Writers;

    const OWN: ServerParameters = ServerParameters {
        fall: 2,
        rise: 2,
        writers: Writers::Active,
        require_replication: true,
        catch_up_lag: Duration::from_secs(1),
    };

    fn probe_all(health: &mut Health, outcome: ProbeOutcome) {
        health.handle_probe(Probe::Ping, outcome, &OWN);
        health.handle_probe(Probe::Connect, outcome, &OWN);
    }

    fn healthy() -> Health {
        let mut health = Health::new();
        probe_all(&mut health, ProbeOutcome::Passed);
        assert_eq!(health.state(), ServerState::Unknown);
        probe_all(&mut health, ProbeOutcome::Passed);
        assert_eq!(health.state(), ServerState::Healthy);
        health
    }

    #[test]
    fn one_failed_probe_is_not_a_failed_server_but_two_in_a_row_are() {
        let mut health = healthy();
        let timed_out = ProbeOutcome::Failed(Fault::TimedOut);
        health.handle_probe(Probe::Ping, timed_out, &OWN);
        assert_eq!(health.state(), ServerState::Healthy);
        health.handle_probe(Probe::Ping, ProbeOutcome::Passed, &OWN);
        health.handle_probe(Probe::Ping, timed_out, &OWN);
        assert_eq!(health.state(), ServerState::Healthy);
        health.handle_probe(Probe::Ping, timed_out, &OWN);
        assert_eq!(health.state(), ServerState::Failed(Failure::Probe(Fault::TimedOut)));
    }

    #[test]
    fn a_dead_process_fails_at_once_and_rises_only_after_passes_of_every_kind() {
        let mut health = healthy();
        health.handle_death(Death::ProcessExited);
        assert_eq!(health.state().reason(), Some("died"));
        for _ in 0..5 {
            health.handle_probe(Probe::Ping, ProbeOutcome::Passed, &OWN);
        }
        assert_eq!(health.state().reason(), Some("died"));
        health.handle_probe(Probe::Connect, ProbeOutcome::Passed, &OWN);
        health.handle_probe(Probe::Connect, ProbeOutcome::Passed, &OWN);
        assert_eq!(health.state(), ServerState::Healthy);
    }

    #[test]
    fn a_refused_password_degrades_a_healthy_server_and_does_not_fail_it() {
        let mut health = healthy();
        for _ in 0..10 {
            health.handle_probe(Probe::Connect, ProbeOutcome::Inconclusive(Doubt::CredentialsRefused), &OWN);
        }
        assert_eq!(health.state(), ServerState::Degraded(Doubt::CredentialsRefused));
        probe_all(&mut health, ProbeOutcome::Passed);
        probe_all(&mut health, ProbeOutcome::Passed);
        assert_eq!(health.state(), ServerState::Healthy);
    }

    #[test]
    fn a_server_that_cannot_commit_fails_until_it_is_read_only_again() {
        let mut health = healthy();
        health.handle_probe(Probe::Write, ProbeOutcome::Failed(Fault::CannotCommit), &OWN);
        health.handle_probe(Probe::Write, ProbeOutcome::Failed(Fault::CannotCommit), &OWN);
        probe_all(&mut health, ProbeOutcome::Passed);
        assert_eq!(health.state().reason(), Some("cannot_commit"));
        health.forget_writes();
        probe_all(&mut health, ProbeOutcome::Passed);
        assert_eq!(health.state(), ServerState::Healthy);
    }
}
