use std::time::Duration;

use agent_core::{Receiver, Replication};
use mysql_async::Row;

use super::Error;
use super::dialect::{self, Flavour};
use super::session::{Session, text};

/// One stream from another server, as the status of this one shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Channel {
    pub(super) name: String,
    pub(super) receiver: Receiver,
    pub(super) applying: bool,
    lag: Option<Duration>,
    pub(super) receiver_errno: u32,
    pub(super) error: Option<String>,
    /// File and position up to which events were received.
    received: Position,
    /// File and position up to which they were applied.
    applied: Position,
    progress: Progress,
}

type Position = (String, u64);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Progress {
    Positions,
    /// MariaDB's `Gtid_IO_Pos`.
    Mariadb(String),
    /// MySQL's `Retrieved_Gtid_Set`, if it is not empty.
    Mysql(String),
}

impl Channel {
    fn from_row(row: &Row) -> Self {
        let text_of = |names: &[&str]| text(row, names).unwrap_or_default();
        let number = |names: &[&str]| text_of(names).parse::<u64>().unwrap_or(0);
        let receiver = match text_of(&["Replica_IO_Running", "Slave_IO_Running"]).as_str() {
            "Yes" => Receiver::Connected,
            "No" => Receiver::Stopped,
            _ => Receiver::Connecting,
        };
        let lag = text(row, &["Seconds_Behind_Source", "Seconds_Behind_Master"])
            .and_then(|seconds| seconds.parse().ok())
            .filter(|_| receiver == Receiver::Connected);
        let errors = [["Last_SQL_Errno", "Last_SQL_Error"], ["Last_IO_Errno", "Last_IO_Error"]];
        let error = errors.iter().find_map(|[errno, message]| {
            let errno = number(&[*errno]);
            (errno != 0).then(|| format!("{errno}: {}", text_of(&[*message])))
        });
        let gtid_used = text(row, &["Using_Gtid"]).is_some_and(|used| used != "No");
        let retrieved = text_of(&["Retrieved_Gtid_Set"]);
        let progress = if gtid_used {
            Progress::Mariadb(text_of(&["Gtid_IO_Pos"]))
        } else if retrieved.is_empty() {
            Progress::Positions
        } else {
            Progress::Mysql(retrieved.split_whitespace().collect())
        };
        Self {
            name: text_of(&["Channel_Name", "Connection_name"]),
            receiver,
            applying: text_of(&["Replica_SQL_Running", "Slave_SQL_Running"]) == "Yes",
            lag: lag.map(Duration::from_secs),
            receiver_errno: u32::try_from(number(&["Last_IO_Errno"])).unwrap_or(u32::MAX),
            error,
            received: (
                text_of(&["Source_Log_File", "Master_Log_File"]),
                number(&["Read_Source_Log_Pos", "Read_Master_Log_Pos"]),
            ),
            applied: (
                text_of(&["Relay_Source_Log_File", "Relay_Master_Log_File"]),
                number(&["Exec_Source_Log_Pos", "Exec_Master_Log_Pos"]),
            ),
            progress,
        }
    }

    /// What changes when something is received.
    pub(super) fn received(&self) -> (&Position, Option<&str>) {
        let gtid = match &self.progress {
            Progress::Positions => None,
            Progress::Mariadb(gtid) | Progress::Mysql(gtid) => Some(gtid.as_str()),
        };
        (&self.received, gtid)
    }

    /// What was received and is not applied yet; `None`: nothing.
    ///
    /// In GTID mode whole transactions count: the source may have died in the middle of one, and the part of it that
    /// arrived can never be applied.
    pub(super) async fn missing(&self, session: &mut Session, limit: Duration) -> Result<Option<String>, Error> {
        match &self.progress {
            Progress::Positions => {
                Ok((self.received != self.applied).then(|| format!("{:?} after {:?}", self.received, self.applied)))
            }
            Progress::Mariadb(received) => {
                let applied = session.scalar(dialect::DRAINED_GTID, limit).await?.unwrap_or_default();
                Ok(missing_domains(received, &applied))
            }
            Progress::Mysql(retrieved) => {
                let statement = session.dialect(limit).await?.missing_gtids(retrieved);
                Ok(session.scalar(&statement, limit).await?.filter(|missing| !missing.trim().is_empty()))
            }
        }
    }
}

/// The streams that the server is configured to receive.
pub(super) async fn channels(session: &mut Session, limit: Duration) -> Result<Vec<Channel>, Error> {
    let dialect = session.dialect(limit).await?;
    let rows = session.query(dialect.replication_status(), limit).await?;
    let own =
        |channel: &Channel| dialect.flavour == Flavour::Mariadb || !channel.name.starts_with("group_replication_");
    Ok(rows.iter().map(Channel::from_row).filter(own).collect())
}

/// All streams as one: the worst of each.
pub(super) fn summary(channels: &[Channel]) -> Option<Replication> {
    let first = channels.first()?;
    let receiver = channels.iter().map(|channel| channel.receiver).find(|receiver| *receiver != Receiver::Connected);
    let mut lag = first.lag;
    for channel in channels {
        lag = lag.zip(channel.lag).map(|(one, other)| one.max(other));
    }
    Some(Replication {
        receiver: receiver.unwrap_or(Receiver::Connected),
        applying: channels.iter().all(|channel| channel.applying),
        lag,
        error: channels.iter().find_map(|channel| channel.error.clone()),
    })
}

/// The GTIDs of `received` whose domain is not that far in `applied`.
fn missing_domains(received: &str, applied: &str) -> Option<String> {
    let sequence_in = |domain: &str| parts(applied).find(|(of, _)| *of == domain).map_or(0, |(_, sequence)| sequence);
    let missing: Vec<_> = parts(received)
        .filter(|(domain, sequence)| *sequence > sequence_in(domain))
        .map(|(domain, sequence)| format!("domain {domain} up to {sequence}"))
        .collect();
    (!missing.is_empty()).then(|| missing.join(", "))
}

/// Domain and sequence number of each of `domain-server-sequence, ..`.
fn parts(gtids: &str) -> impl Iterator<Item = (&str, u64)> {
    gtids.split(',').filter_map(|gtid| {
        let mut parts = gtid.trim().split('-');
        let (domain, _server, sequence) = (parts.next()?, parts.next()?, parts.next()?);
        Some((domain, sequence.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_domain_has_to_be_applied() {
        assert_eq!(missing_domains("0-1-204", "0-1-204"), None);
        assert_eq!(missing_domains("0-1-204", "0-1-4"), Some("domain 0 up to 204".to_owned()));
        assert_eq!(missing_domains("1-1-7, 2-2-9", "2-2-9,1-2-8"), None);
        assert_eq!(missing_domains("1-1-7,2-2-9", "1-1-7"), Some("domain 2 up to 9".to_owned()));
        assert_eq!(missing_domains("", ""), None);
    }
}
