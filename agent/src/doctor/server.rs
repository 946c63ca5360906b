//! The settings of a server, its replication, and what the agent may do there.

use std::net::IpAddr;

use agent_core::Writers;

use super::Finding;
use crate::config::Config;
use crate::mysql::Flavour;
use crate::mysql::grants;
use crate::mysql::inspection::{Channel, Inspection};

/// Longer than this a replica believes in a dead source.
const NET_TIMEOUT_S: u64 = 10;
/// A host may be away that long and still catch up.
const KEEP_LOGS_S: u64 = 24 * 3600;

/// What is wanted of one variable.
struct Wish {
    /// The same setting under the names of each family and age.
    names: &'static [&'static str],
    good: &'static [&'static str],
    error: bool,
    why: &'static str,
}

const ON: &[&str] = &["ON", "1"];

const WISHES: [Wish; 14] = [
    Wish { names: &["log_bin"], good: ON, error: true, why: "Without a binary log the other server receives nothing." },
    Wish {
        names: &["log_replica_updates", "log_slave_updates"],
        good: ON,
        error: true,
        why: "What was received from the other server is missing in this one's binary log, for whoever replicates from it.",
    },
    Wish {
        names: &["sync_binlog"],
        good: &["1"],
        error: true,
        why: "A crash of the host loses acknowledged rows from the binary log, and the two servers differ from then on.",
    },
    Wish {
        names: &["innodb_flush_log_at_trx_commit"],
        good: &["1"],
        error: true,
        why: "A crash of the host loses acknowledged rows.",
    },
    Wish {
        names: &["innodb_doublewrite"],
        good: &["ON", "1", "DETECT_AND_RECOVER"],
        error: false,
        why: "A page that was half written at a power failure cannot be repaired.",
    },
    Wish {
        names: &["binlog_row_image"],
        good: &["FULL"],
        error: false,
        why: "Rows that differ on the two servers are found and repaired only with full images.",
    },
    Wish {
        names: &["relay_log_recovery"],
        good: ON,
        error: false,
        why: "After a crash the relay log may be torn; it is received again only with this.",
    },
    Wish {
        names: &["relay_log_purge"],
        good: ON,
        error: false,
        why: "Applied relay logs pile up until the disk is full.",
    },
    Wish {
        names: &["skip_name_resolve"],
        good: ON,
        error: false,
        why: "A slow name server looks to clients and probes like a server that hangs.",
    },
    Wish {
        names: &["replica_preserve_commit_order", "slave_preserve_commit_order"],
        good: ON,
        error: true,
        why: "Parallel appliers leave gaps: a server that takes over may have a later row and lack an earlier one.",
    },
    Wish {
        names: &["gtid_mode"],
        good: &["ON"],
        error: false,
        why: "Positions in files cannot be compared between the two servers; GTIDs can.",
    },
    Wish {
        names: &["enforce_gtid_consistency"],
        good: ON,
        error: false,
        why: "Statements that GTIDs cannot describe stop the replication.",
    },
    Wish {
        names: &["gtid_strict_mode"],
        good: ON,
        error: false,
        why: "A transaction out of order is taken without a word, and the two servers differ from then on.",
    },
    Wish {
        names: &["slave_connections_needed_for_purge"],
        good: &["0"],
        error: false,
        why: "While the other server is away no binary log is purged, until the disk is full.",
    },
];

/// The settings that a failover rests on.
pub(super) fn settings(seen: &Inspection, writers: Writers) -> Vec<Finding> {
    let mut findings: Vec<Finding> = WISHES.iter().filter_map(|wish| unfulfilled(seen, wish)).collect();
    let mut judge = |names: &[&str], error: bool, bad: &dyn Fn(&str) -> bool, why: &'static str, wanted: &str| {
        if let Some((name, value)) = variable(seen, names).filter(|(_, value)| bad(value)) {
            findings.push(finding(error, name, value, why, wanted));
        }
    };
    judge(
        &["server_id"],
        true,
        &|id| id == "0",
        "A server without an id neither sends nor receives rows.",
        "another number on each server, such as 2",
    );
    judge(
        &["server_id"],
        false,
        &|id| id == "1",
        "Every server has this id until somebody sets it, and two with the same one ignore each other's rows.",
        "another number on each server, such as 2",
    );
    judge(
        &["binlog_format"],
        true,
        &|format| format == "STATEMENT",
        "Statements can mean something else on the other server.",
        "ROW",
    );
    judge(&["binlog_format"], false, &|format| format == "MIXED", "Some statements are still logged as text.", "ROW");
    judge(
        &["replica_skip_errors", "slave_skip_errors"],
        true,
        &|skipped| !matches!(skipped, "OFF" | ""),
        "Rows that differ are passed over without a word.",
        "OFF",
    );
    judge(
        &["replica_exec_mode", "slave_exec_mode"],
        true,
        &|mode| mode == "IDEMPOTENT",
        "Rows that differ are passed over without a word.",
        "STRICT",
    );
    judge(
        &["slave_parallel_mode"],
        false,
        &|mode| mode == "aggressive",
        "Appliers that conflict are rolled back, which delays a takeover.",
        "optimistic",
    );
    judge(
        &["replica_net_timeout", "slave_net_timeout"],
        false,
        &|seconds| seconds.parse::<u64>().is_ok_and(|seconds| seconds > NET_TIMEOUT_S),
        "For so many seconds this server believes that a dead source lives, and its lag is unknown.",
        "10, or 4",
    );
    judge(
        &["binlog_expire_logs_seconds"],
        false,
        &|seconds| seconds.parse::<u64>().is_ok_and(|seconds| (1..KEEP_LOGS_S).contains(&seconds)),
        "A host that was away for longer finds the rows that it missed no more.",
        "604800",
    );
    judge(
        &["event_scheduler"],
        false,
        &|state| state == "ON",
        "Events run on the server that is writable; those of both hosts run twice when both are.",
        "OFF, or see that every event may run on either host",
    );
    if writers == Writers::Both {
        judge(
            &["auto_increment_increment"],
            true,
            &|step| step == "1",
            "Both servers give out the same numbers, and the replication stops with error 1062.",
            "2, with auto_increment_offset 1 on one server and 2 on the other",
        );
    }
    findings
}

fn unfulfilled(seen: &Inspection, wish: &Wish) -> Option<Finding> {
    let (name, value) = variable(seen, wish.names)?;
    let good = wish.good.iter().any(|good| good.eq_ignore_ascii_case(value));
    // MariaDB's appliers keep the order by themselves.
    let elsewhere = name.ends_with("preserve_commit_order") && seen.dialect.flavour == Flavour::Mariadb;
    (!good && !elsewhere).then(|| finding(wish.error, name, value, wish.why, wish.good.first().unwrap_or(&"")))
}

fn variable<'a>(seen: &'a Inspection, names: &[&'a str]) -> Option<(&'a str, &'a str)> {
    names.iter().find_map(|name| seen.variables.get(*name).map(|value| (*name, value.as_str())))
}

fn finding(error: bool, name: &str, value: &str, why: &'static str, wanted: &str) -> Finding {
    let (what, fix) = (format!("{name} = {value}"), format!("{name} = {wanted}, in the server's option file"));
    if error { Finding::error(what, why, fix) } else { Finding::warning(what, why, fix) }
}

/// Whether clients of the virtual address reach the server.
pub(super) fn reachable(seen: &Inspection, config: &Config) -> Vec<Finding> {
    let why = "Clients connect to the virtual address, on which the server does not listen.";
    if variable(seen, &["skip_networking"]).is_some_and(|(_, value)| ON.contains(&value)) {
        return vec![Finding::error("skip_networking = ON", why, "skip_networking = OFF, in the server's option file")];
    }
    let Some((_, bound)) = variable(seen, &["bind_address"]) else { return Vec::new() };
    let listens = |address: IpAddr| {
        bound.is_empty()
            || bound.split(',').map(str::trim).any(|bound| match bound {
                "*" | "::" => true,
                "0.0.0.0" => address.is_ipv4(),
                bound => bound.parse() == Ok(address),
            })
    };
    let addresses = config.virtual_routers.iter().flat_map(|router| &router.addresses);
    // A link-local virtual address is for the protocol, not for clients.
    let clients = addresses.map(|address| address.address).filter(|address| match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    });
    let deaf = clients.filter(|address| !listens(*address)).map(|address| {
        let what = format!("bind_address = {bound}, and {address} is served");
        Finding::error(what, why, "bind_address = *, in the server's option file")
    });
    deaf.collect()
}

/// Whether the other server's rows arrive.
pub(super) fn replication(seen: &Inspection) -> Vec<Finding> {
    if seen.channels.is_empty() {
        return vec![Finding::error(
            "this server receives from no other one",
            "A host that does not have the rows of the other one cannot take over from it.",
            "CHANGE MASTER TO .. (MariaDB) or CHANGE REPLICATION SOURCE TO .. (MySQL), on both servers",
        )];
    }
    seen.channels.iter().flat_map(|channel| channel_findings(seen, channel)).collect()
}

fn channel_findings(seen: &Inspection, channel: &Channel) -> Vec<Finding> {
    let Channel { name, source, source_server_id, error, .. } = channel;
    let title = if name.is_empty() { format!("replication from {source}") } else { format!("replication {name:?}") };
    let mut findings = Vec::new();
    for (runs, thread) in [(channel.receiving, "receiver"), (channel.applying, "applier")] {
        if !runs {
            let error = if error.is_empty() { "stopped without an error" } else { error };
            findings.push(Finding::error(
                format!("{title}: the {thread} does not run: {error}"),
                "Rows that are missing here are lost to clients when this host takes over, so it does not.",
                "remove the cause and START SLAVE (MariaDB) or START REPLICA (MySQL)",
            ));
        }
    }
    if variable(seen, &["server_id"]).is_some_and(|(_, own)| own == source_server_id) {
        findings.push(Finding::error(
            format!("{title}: both servers have server_id = {source_server_id}"),
            "Each takes the rows of the other one for its own and ignores them.",
            "another server_id on one of them, in the server's option file",
        ));
    }
    if !channel.by_gtid {
        findings.push(Finding::warning(
            format!("{title} goes by file and position"),
            "After a failover positions of one server mean nothing on the other.",
            "MASTER_USE_GTID = slave_pos (MariaDB) or SOURCE_AUTO_POSITION = 1 (MySQL)",
        ));
    }
    for filter in &channel.filters {
        findings.push(Finding::error(
            format!("{title}: {filter}"),
            "What is filtered away is missing when this host takes over.",
            "remove the filter, or keep such data on a server of its own",
        ));
    }
    findings
}

/// Whether the agent may do what it has to.
pub(super) fn privileges(seen: &Inspection, user: &str) -> Vec<Finding> {
    let granted = |privilege: &str| {
        seen.grants.iter().any(|grant| {
            let Some((privileges, on)) = grant.strip_prefix("GRANT ").and_then(|rest| rest.split_once(" ON ")) else {
                return false;
            };
            let everything = privileges.starts_with("ALL PRIVILEGES");
            on.starts_with("*.*") && (everything || privileges.split(',').any(|one| same(one.trim(), privilege)))
        })
    };
    let needed = grants::privileges(seen.dialect);
    let missing: Vec<&str> = needed.split(", ").filter(|privilege| !granted(privilege)).collect();
    if missing.is_empty() {
        return Vec::new();
    }
    vec![Finding::error(
        format!("the account {user} lacks {}", missing.join(", ")),
        "A step of the takeover is refused by the server, and the host gives the address back.",
        format!("GRANT {} ON *.* TO it; `vipd grants` prints the whole", missing.join(", ")),
    )]
}

/// MariaDB prints one privilege under another name than it is granted by, and by version.
fn same(printed: &str, privilege: &str) -> bool {
    let aliases = [
        ("SLAVE MONITOR", "REPLICA MONITOR"),
        ("REPLICA MONITOR", "SLAVE MONITOR"),
        ("REPLICATION REPLICA ADMIN", "REPLICATION SLAVE ADMIN"),
    ];
    printed == privilege || aliases.contains(&(printed, privilege))
}

#[cfg(test)]
mod tests;
