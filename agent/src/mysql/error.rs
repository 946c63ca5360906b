use std::io;
use std::time::Duration;

use agent_core::{Doubt, Fault, ProbeOutcome};
use mysql_async::{DriverError, IoError};

/// Why something asked of the server was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{server}: {operation}: no answer within {limit:?}")]
    TimedOut { server: String, operation: String, limit: Duration },
    #[error("{server}: {operation}: {source}")]
    Failed {
        server: String,
        operation: String,
        #[source]
        source: mysql_async::Error,
    },
    #[error("{server}: replication {channel:?}: the applier has stopped: {error}")]
    ApplierStopped { server: String, channel: String, error: String },
    #[error("{server}: replication {channel:?}: nothing was applied for {limit:?}, {missing} is missing")]
    NoProgress { server: String, channel: String, limit: Duration, missing: String },
    #[error(
        "{server}: replication {channel:?}: both threads are stopped; starting one would throw the relay log away: {error}"
    )]
    BothStopped { server: String, channel: String, error: String },
    #[error("{server}: still read-only")]
    StillReadOnly { server: String },
    #[error("{server}: given up, since {by} was asked for")]
    Superseded { server: String, by: &'static str },
    #[error("{server}: cannot {operation} its process: {source}")]
    Process {
        server: String,
        operation: &'static str,
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// The number of the server's error answer, if it is one.
    pub(super) fn code(&self) -> Option<u16> {
        if let Self::Failed { source: mysql_async::Error::Server(answer), .. } = self {
            Some(answer.code)
        } else {
            None
        }
    }

    /// Whether the other end is still in a known state.
    pub(super) fn leaves_connection(&self) -> bool {
        // 1053: shutdown; 1927: the connection was killed. What follows is the end of the stream.
        self.code().is_some_and(|code| !matches!(code, 1053 | 1927))
    }

    /// What the error says of the server's health.
    pub(super) fn outcome(&self) -> ProbeOutcome {
        match self {
            Self::TimedOut { .. } => ProbeOutcome::Failed(Fault::TimedOut),
            Self::Failed { source, .. } => classify(source),
            Self::ApplierStopped { .. }
            | Self::NoProgress { .. }
            | Self::BothStopped { .. }
            | Self::StillReadOnly { .. }
            | Self::Superseded { .. }
            | Self::Process { .. } => ProbeOutcome::Inconclusive(Doubt::OtherError),
        }
    }
}

fn classify(error: &mysql_async::Error) -> ProbeOutcome {
    use mysql_async::Error as E;
    match error {
        E::Server(answer) => classify_answer(answer.code),
        E::Io(IoError::Io(error)) => classify_io(error),
        E::Io(IoError::Tls(_)) => ProbeOutcome::Failed(Fault::ConnectionLost),
        E::Driver(DriverError::ConnectionClosed | DriverError::PacketOutOfOrder) => {
            ProbeOutcome::Failed(Fault::ConnectionLost)
        }
        E::Driver(DriverError::UnknownAuthPlugin { .. } | DriverError::MysqlOldPasswordDisabled) => {
            ProbeOutcome::Inconclusive(Doubt::CredentialsRefused)
        }
        E::Driver(_) | E::Other(_) | E::Url(_) => ProbeOutcome::Inconclusive(Doubt::OtherError),
    }
}

fn classify_io(error: &io::Error) -> ProbeOutcome {
    if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM)) {
        // It is this process that lacks something.
        return ProbeOutcome::Inconclusive(Doubt::OtherError);
    }
    #[expect(clippy::wildcard_enum_match_arm, reason = "the kinds of std are many and not exhaustive")]
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => ProbeOutcome::Failed(Fault::Refused),
        io::ErrorKind::PermissionDenied => ProbeOutcome::Inconclusive(Doubt::CredentialsRefused),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ProbeOutcome::Failed(Fault::TimedOut),
        _ => ProbeOutcome::Failed(Fault::ConnectionLost),
    }
}

/// The numbers are the same in both families.
fn classify_answer(code: u16) -> ProbeOutcome {
    match code {
        1044 | 1045 | 1698 => ProbeOutcome::Inconclusive(Doubt::CredentialsRefused),
        1040 | 1203 => ProbeOutcome::Inconclusive(Doubt::TooManyConnections),
        1129 => ProbeOutcome::Inconclusive(Doubt::HostBlocked),
        1053 => ProbeOutcome::Failed(Fault::ShuttingDown),
        // 1205: somebody holds a lock longer than the probe waits.
        1290 | 1836 | 1205 => ProbeOutcome::Inconclusive(Doubt::ReadOnly),
        // Disk full, error on write, binary log not writable, storage engine error, table full.
        1021 | 1026 | 1598 | 1030 | 1114 => ProbeOutcome::Failed(Fault::CannotCommit),
        _ => ProbeOutcome::Inconclusive(Doubt::OtherError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_password_is_no_crash_and_a_refused_connection_is_one() {
        assert_eq!(classify_answer(1045), ProbeOutcome::Inconclusive(Doubt::CredentialsRefused));
        assert_eq!(classify_answer(1698), ProbeOutcome::Inconclusive(Doubt::CredentialsRefused));
        assert_eq!(classify_answer(1040), ProbeOutcome::Inconclusive(Doubt::TooManyConnections));
        assert_eq!(classify_answer(1129), ProbeOutcome::Inconclusive(Doubt::HostBlocked));
        assert_eq!(classify_answer(1053), ProbeOutcome::Failed(Fault::ShuttingDown));
        assert_eq!(classify_answer(1290), ProbeOutcome::Inconclusive(Doubt::ReadOnly));
        assert_eq!(classify_answer(1021), ProbeOutcome::Failed(Fault::CannotCommit));
        let refused = io::Error::from_raw_os_error(libc::ECONNREFUSED);
        assert_eq!(classify_io(&refused), ProbeOutcome::Failed(Fault::Refused));
        let no_socket = io::Error::from_raw_os_error(libc::ENOENT);
        assert_eq!(classify_io(&no_socket), ProbeOutcome::Failed(Fault::Refused));
        let own_limit = io::Error::from_raw_os_error(libc::EMFILE);
        assert_eq!(classify_io(&own_limit), ProbeOutcome::Inconclusive(Doubt::OtherError));
    }
}
