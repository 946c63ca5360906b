use super::*;
use crate::doctor::Severity;
use crate::mysql::dialect::Dialect;

/// What matters of a server that somebody has set up well.
fn good() -> Inspection {
    let variables = [
        ("server_id", "2"),
        ("log_bin", "ON"),
        ("log_slave_updates", "ON"),
        ("sync_binlog", "1"),
        ("innodb_flush_log_at_trx_commit", "1"),
        ("binlog_format", "ROW"),
        ("binlog_row_image", "FULL"),
        ("slave_net_timeout", "4"),
        ("slave_skip_errors", "OFF"),
        ("bind_address", "*"),
        ("auto_increment_increment", "1"),
    ];
    let channel = Channel {
        source: "192.0.2.2:3306".to_owned(),
        source_server_id: "3".to_owned(),
        receiving: true,
        applying: true,
        by_gtid: true,
        ..Channel::default()
    };
    let grant = "GRANT PROCESS, BINLOG MONITOR, CONNECTION ADMIN, READ_ONLY ADMIN, REPLICATION SLAVE ADMIN, SLAVE MONITOR \
                 ON *.* TO `VIPD`@`LOCALHOST`";
    Inspection {
        dialect: Dialect::parse("10.11.6-MariaDB"),
        variables: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        channels: vec![channel],
        grants: vec![grant.to_owned()],
    }
}

fn with(name: &str, value: &str) -> Inspection {
    let mut seen = good();
    seen.variables.insert(name.to_owned(), value.to_owned());
    seen
}

fn config(address: &str) -> Config {
    let text = format!("[[virtual_router]]\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"{address}\"]\n");
    Config::parse(&text, std::path::Path::new("vipd.toml")).unwrap()
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    let seen = good();
    assert_eq!(settings(&seen, Writers::Active), []);
    assert_eq!(replication(&seen), []);
    assert_eq!(privileges(&seen, "vipd"), []);
    assert_eq!(reachable(&seen, &config("192.0.2.10/24")), []);
}

#[test]
fn each_setting_is_named_with_its_value_and_the_wanted_one() {
    for (name, value, severity, fix) in [
        ("sync_binlog", "0", Severity::Error, "sync_binlog = 1"),
        ("innodb_flush_log_at_trx_commit", "2", Severity::Error, "innodb_flush_log_at_trx_commit = 1"),
        ("log_slave_updates", "OFF", Severity::Error, "log_slave_updates = ON"),
        ("server_id", "0", Severity::Error, "server_id = another number"),
        ("server_id", "1", Severity::Warning, "server_id = another number"),
        ("binlog_format", "STATEMENT", Severity::Error, "binlog_format = ROW"),
        ("binlog_format", "MIXED", Severity::Warning, "binlog_format = ROW"),
        ("slave_skip_errors", "1062", Severity::Error, "slave_skip_errors = OFF"),
        ("slave_exec_mode", "IDEMPOTENT", Severity::Error, "slave_exec_mode = STRICT"),
        ("slave_net_timeout", "60", Severity::Warning, "slave_net_timeout = 10"),
        ("gtid_strict_mode", "OFF", Severity::Warning, "gtid_strict_mode = ON"),
        ("binlog_expire_logs_seconds", "3600", Severity::Warning, "binlog_expire_logs_seconds = 604800"),
    ] {
        let found = settings(&with(name, value), Writers::Active);
        let [finding] = found.as_slice() else { panic!("{name}: {found:?}") };
        assert_eq!((finding.severity, finding.what.as_str()), (severity, format!("{name} = {value}").as_str()));
        assert!(finding.fix.starts_with(fix), "{finding:?}");
    }
}

#[test]
fn equal_numbers_matter_only_where_both_servers_are_written_to() {
    assert_eq!(settings(&good(), Writers::Both)[0].what, "auto_increment_increment = 1");
    assert_eq!(settings(&with("auto_increment_increment", "2"), Writers::Both), []);
}

#[test]
fn the_order_of_appliers_is_a_setting_of_mysql_alone() {
    let mut seen = with("replica_preserve_commit_order", "OFF");
    assert_eq!(settings(&seen, Writers::Active), []);
    seen.dialect = Dialect::parse("8.4.3");
    assert_eq!(settings(&seen, Writers::Active)[0].what, "replica_preserve_commit_order = OFF");
}

#[test]
fn a_server_that_does_not_listen_on_the_virtual_address_is_found() {
    for (bound, address, deaf) in [
        ("127.0.0.1", "192.0.2.10/24", true),
        ("192.0.2.1,192.0.2.10", "192.0.2.10/24", false),
        ("0.0.0.0", "192.0.2.10/24", false),
        ("0.0.0.0", "2001:db8::10/64", true),
        ("::", "192.0.2.10/24", false),
        ("", "192.0.2.10/24", false),
    ] {
        assert_eq!(!reachable(&with("bind_address", bound), &config(address)).is_empty(), deaf, "{bound} {address}");
    }
    assert_eq!(reachable(&with("skip_networking", "ON"), &config("192.0.2.10/24"))[0].what, "skip_networking = ON");
}

#[test]
fn a_replication_that_stands_or_filters_is_found() {
    let mut seen = good();
    seen.channels[0].applying = false;
    seen.channels[0].error = "Duplicate entry '7' for key 'PRIMARY'".to_owned();
    seen.channels[0].filters = vec!["Replicate_Ignore_DB = logs".to_owned()];
    seen.channels[0].source_server_id = "2".to_owned();
    seen.channels[0].by_gtid = false;
    let found: Vec<String> = replication(&seen).into_iter().map(|finding| finding.what).collect();
    assert_eq!(
        found,
        [
            "replication from 192.0.2.2:3306: the applier does not run: Duplicate entry '7' for key 'PRIMARY'",
            "replication from 192.0.2.2:3306: both servers have server_id = 2",
            "replication from 192.0.2.2:3306 goes by file and position",
            "replication from 192.0.2.2:3306: Replicate_Ignore_DB = logs",
        ]
    );
    seen.channels.clear();
    assert_eq!(replication(&seen)[0].what, "this server receives from no other one");
}

#[test]
fn missing_privileges_are_named_and_all_of_them_are_enough() {
    let mut seen = good();
    seen.grants = vec!["GRANT PROCESS, BINLOG MONITOR ON *.* TO `VIPD`@`LOCALHOST`".to_owned()];
    let found = privileges(&seen, "vipd");
    assert_eq!(
        found[0].what,
        "the account vipd lacks REPLICA MONITOR, REPLICATION SLAVE ADMIN, READ_ONLY ADMIN, CONNECTION ADMIN"
    );
    seen.grants = vec!["GRANT ALL PRIVILEGES ON `SHOP`.* TO `VIPD`@`LOCALHOST`".to_owned()];
    assert_eq!(privileges(&seen, "vipd").len(), 1);
    seen.grants = vec!["GRANT ALL PRIVILEGES ON *.* TO `VIPD`@`LOCALHOST` WITH GRANT OPTION".to_owned()];
    assert_eq!(privileges(&seen, "vipd"), []);
}
