//! Every statement, in the words of each family and version.

use std::time::Duration;

/// The two families of servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    Mysql,
    Mariadb,
}

impl Flavour {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mysql => "mysql",
            Self::Mariadb => "mariadb",
        }
    }
}

/// Which words a server understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    pub flavour: Flavour,
    /// Major, minor, patch; compared as numbers, so that 26.7 is later than 9.7.
    pub version: (u32, u32, u32),
}

/// How long a statement waits for somebody else's lock; the server's default is a day or a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LockWait {
    OneSecond,
    /// As briefly as the server can: not at all on MariaDB, 1 s on MySQL.
    Shortest,
}

pub(super) const VARIABLES: &str = "SHOW GLOBAL VARIABLES";
pub(super) const GRANTS: &str = "SHOW GRANTS";
pub(super) const PING: &str = "SELECT 1";
pub(super) const VERSION: &str = "SELECT VERSION()";
pub(super) const SESSIONS: &str = "SHOW PROCESSLIST";
pub(super) const CREATE_SCHEMA: &str = "CREATE DATABASE IF NOT EXISTS vipd";
pub(super) const CREATE_PROBE: &str = "CREATE TABLE IF NOT EXISTS vipd.probe \
     (server_id BIGINT UNSIGNED NOT NULL PRIMARY KEY, at TIMESTAMP(6) NOT NULL) ENGINE=InnoDB";
pub(super) const DRAINED_GTID: &str = "SELECT @@GLOBAL.gtid_slave_pos";

impl Dialect {
    /// Reads what `VERSION()` says, such as `10.11.19-MariaDB-log`, `5.5.5-10.6.1-MariaDB` or `8.4.3`.
    #[must_use]
    pub fn parse(version: &str) -> Self {
        let mariadb = version.contains("MariaDB");
        let plain = if mariadb { version.strip_prefix("5.5.5-").unwrap_or(version) } else { version };
        let mut numbers = plain
            .split('-')
            .next()
            .unwrap_or_default()
            .split('.')
            .map(|part| part.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        let version = (next(), next(), next());
        Self { flavour: if mariadb { Flavour::Mariadb } else { Flavour::Mysql }, version }
    }

    /// `REPLICA` instead of `SLAVE`, in statements and in the columns of the status.
    fn says_replica(self) -> bool {
        self.flavour == Flavour::Mysql && self.version >= (8, 0, 22)
    }

    pub(super) fn replication_status(self) -> &'static str {
        match self.flavour {
            Flavour::Mariadb => "SHOW ALL SLAVES STATUS",
            Flavour::Mysql if self.says_replica() => "SHOW REPLICA STATUS",
            Flavour::Mysql => "SHOW SLAVE STATUS",
        }
    }

    pub(super) fn stop_receiver(self, channel: &str) -> String {
        self.receiver("STOP", channel)
    }

    pub(super) fn start_receiver(self, channel: &str) -> String {
        self.receiver("START", channel)
    }

    fn receiver(self, verb: &str, channel: &str) -> String {
        let channel = quote(channel);
        match self.flavour {
            Flavour::Mariadb => format!("{verb} SLAVE {channel} IO_THREAD"),
            Flavour::Mysql if self.says_replica() => format!("{verb} REPLICA IO_THREAD FOR CHANNEL {channel}"),
            Flavour::Mysql => format!("{verb} SLAVE IO_THREAD FOR CHANNEL {channel}"),
        }
    }

    /// 1 when a plain user cannot write.
    pub(super) fn is_read_only(self) -> &'static str {
        match self.flavour {
            // From 12.0 on it is an enumeration, of which only OFF (or 0) lets users write.
            Flavour::Mariadb => "SELECT @@GLOBAL.read_only NOT IN ('0', 'OFF')",
            Flavour::Mysql => "SELECT @@GLOBAL.read_only OR @@GLOBAL.super_read_only",
        }
    }

    pub(super) fn open(self) -> &'static [&'static str] {
        match self.flavour {
            Flavour::Mariadb => &["SET GLOBAL read_only = 0"],
            Flavour::Mysql => &["SET GLOBAL super_read_only = 0", "SET GLOBAL read_only = 0"],
        }
    }

    /// Bounded by the server itself: MariaDB ends it after `limit`, MySQL after its `lock_wait_timeout` of 1 s.
    pub(super) fn fence(self, limit: Duration) -> String {
        match self.flavour {
            Flavour::Mariadb => {
                format!("SET STATEMENT max_statement_time={} FOR SET GLOBAL read_only = 1", limit.as_secs_f64())
            }
            Flavour::Mysql => "SET GLOBAL super_read_only = 1".to_owned(),
        }
    }

    pub(super) fn kill(self, session: u64) -> String {
        format!("KILL CONNECTION {session}")
    }

    pub(super) fn lock_wait(self, wait: LockWait) -> &'static str {
        match (self.flavour, wait) {
            (Flavour::Mariadb, LockWait::Shortest) => "SET SESSION lock_wait_timeout = 0, innodb_lock_wait_timeout = 1",
            (Flavour::Mysql, LockWait::Shortest) | (_, LockWait::OneSecond) => {
                "SET SESSION lock_wait_timeout = 1, innodb_lock_wait_timeout = 1"
            }
        }
    }

    /// Writes nothing while the server is read-only: vipd's account would be let through.
    pub(super) fn write_probe(self) -> &'static str {
        match self.flavour {
            Flavour::Mariadb => {
                "REPLACE INTO vipd.probe (server_id, at) SELECT @@server_id, NOW(6) FROM DUAL \
                 WHERE @@GLOBAL.read_only IN ('0', 'OFF')"
            }
            Flavour::Mysql => {
                "REPLACE INTO vipd.probe (server_id, at) SELECT @@server_id, NOW(6) FROM DUAL \
                 WHERE NOT (@@GLOBAL.read_only OR @@GLOBAL.super_read_only)"
            }
        }
    }

    /// Changes with every transaction that is applied.
    pub(super) fn applied_gtids(self) -> &'static str {
        match self.flavour {
            Flavour::Mariadb => DRAINED_GTID,
            Flavour::Mysql => "SELECT @@GLOBAL.gtid_executed",
        }
    }

    /// Empty when all that was received is applied.
    pub(super) fn missing_gtids(self, retrieved: &str) -> String {
        format!("SELECT GTID_SUBTRACT({}, @@GLOBAL.gtid_executed)", quote(retrieved))
    }
}

/// As a string literal.
pub(super) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers() {
        let mariadb = Dialect::parse("10.11.19-MariaDB-0+deb12u1-log");
        assert_eq!((mariadb.flavour, mariadb.version), (Flavour::Mariadb, (10, 11, 19)));
        let prefixed = Dialect::parse("5.5.5-10.6.1-MariaDB");
        assert_eq!((prefixed.flavour, prefixed.version), (Flavour::Mariadb, (10, 6, 1)));
        let calendar = Dialect::parse("26.7.0");
        assert_eq!((calendar.flavour, calendar.version), (Flavour::Mysql, (26, 7, 0)));
        assert_eq!(calendar.replication_status(), "SHOW REPLICA STATUS");
        assert_eq!(Dialect::parse("8.0.21").replication_status(), "SHOW SLAVE STATUS");
        assert_eq!(mariadb.replication_status(), "SHOW ALL SLAVES STATUS");
    }

    #[test]
    fn each_family_has_its_words() {
        let (mysql, mariadb) = (Dialect::parse("9.7.4"), Dialect::parse("11.4.2-MariaDB"));
        assert_eq!(mysql.stop_receiver(""), "STOP REPLICA IO_THREAD FOR CHANNEL ''");
        assert_eq!(mariadb.stop_receiver("a'b"), "STOP SLAVE 'a''b' IO_THREAD");
        assert_eq!(mysql.open(), ["SET GLOBAL super_read_only = 0", "SET GLOBAL read_only = 0"]);
        assert_eq!(
            mariadb.fence(Duration::from_millis(200)),
            "SET STATEMENT max_statement_time=0.2 FOR SET GLOBAL read_only = 1"
        );
    }
}
