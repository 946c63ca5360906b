use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use agent_core::Writers;

use super::document::{Field, Section};
use super::{Durability, Endpoint, Mysql};

const HOUR: Duration = Duration::from_secs(3600);

/// Reads `[mysql]`; left out, there is no server.
pub(super) fn read(root: &Section<'_>) -> Option<Mysql> {
    let section = root.section("mysql")?;
    let replication = section.section_or_empty("replication");
    let default_endpoint = || Endpoint::Unix(PathBuf::from("/run/mysqld/mysqld.sock"));
    let probe = Duration::from_millis(10)..=Duration::from_secs(60);
    let mysql = Mysql {
        endpoint: section.optional("endpoint").and_then(|field| endpoint(&field)).unwrap_or_else(default_endpoint),
        user: section.text("user", "vipd"),
        password_file: section.path("password_file"),
        probe_interval: section.duration(
            "probe_interval",
            Duration::from_millis(100),
            probe.clone(),
            "\"100ms\" suits most servers",
        ),
        probe_timeout: section.duration(
            "probe_timeout",
            Duration::from_millis(500),
            probe,
            "\"500ms\" suits most servers; a shorter one raises false alarms",
        ),
        fall: section.integer("fall", 2, 1..=100, "2 forgives a single failed probe"),
        rise: section.integer("rise", 2, 1..=100, "2 asks for two good probes in a row"),
        write_probe: section.boolean("write_probe", true),
        writers: replication.choice(
            "writers",
            Writers::Active,
            &[("active", Writers::Active), ("both", Writers::Both)],
        ),
        require_replication: replication.boolean("require", true),
        catch_up_lag: replication.duration(
            "catch_up_lag",
            Duration::from_secs(1),
            Duration::ZERO..=HOUR,
            "\"1s\" suits most servers",
        ),
        drain_timeout: replication.duration(
            "drain_timeout",
            Duration::from_secs(30),
            Duration::from_millis(100)..=HOUR,
            "\"30s\" suits most servers",
        ),
        durability: replication.choice(
            "durability",
            Durability::Async,
            &[("async", Durability::Async), ("semi-sync", Durability::SemiSync)],
        ),
    };
    replication.refuse_unknown();
    section.refuse_unknown();
    Some(mysql)
}

fn endpoint(field: &Field<'_>) -> Option<Endpoint> {
    let text = field.text()?;
    if text.starts_with('/') {
        return Some(Endpoint::Unix(PathBuf::from(text)));
    }
    let address = text.replace("localhost:", "127.0.0.1:").parse::<SocketAddr>().ok().filter(|it| it.port() != 0);
    if address.is_none() {
        field.refuse(
            "a socket's path that begins with / or address:port is wanted",
            "write \"/run/mysqld/mysqld.sock\" or \"127.0.0.1:3306\"",
        );
    }
    address.map(Endpoint::Tcp)
}
