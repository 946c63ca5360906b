//! The files in `config/` are good, and every fault of a configuration is named with its remedy.
#![expect(clippy::unwrap_used, reason = "a test panics where its premises fail")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use agent_core::Writers;
use vipd::config::{Config, Endpoint, Error, Problem};

/// The smallest good configuration; faults are put in from here.
const GOOD: &str = r#"[[virtual_router]]
interface = "eth0"
vrid = 51
addresses = ["192.0.2.10/24"]
"#;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config")
}

fn parse(text: &str) -> Result<Config, Vec<Problem>> {
    Config::parse(text, Path::new("vipd.toml"))
}

fn vipd(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vipd"));
    let command = command.args(arguments).env_remove("VIPD_CONFIG").env_remove("VIPD_SOCKET").env_remove("VIPD_LOG");
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn every_file_of_the_project_is_good() {
    for file in ["vipd.toml", "two-nodes/db1.toml", "two-nodes/db2.toml"] {
        let path = folder().join(file);
        let (code, output) = vipd(&["check-config", path.to_str().unwrap()]);
        assert_eq!(code, Some(0), "{output}");
        assert!(output.contains(": good\n"), "{output}");
    }
}

#[test]
fn the_two_nodes_belong_together() {
    let [db1, db2] = ["db1", "db2"].map(|node| Config::load(&folder().join(format!("two-nodes/{node}.toml"))).unwrap());
    let (one, two) = (&db1.virtual_routers[0], &db2.virtual_routers[0]);
    assert_eq!((one.vrid, &one.addresses, one.version), (two.vrid, &two.addresses, two.version));
    assert_eq!(one.peers, [two.source_address.unwrap()]);
    assert_eq!(two.peers, [one.source_address.unwrap()]);
}

/// The commented file with every comment that holds a key taken in.
fn everything() -> String {
    let text = std::fs::read_to_string(folder().join("vipd.toml")).unwrap();
    let key = |line: &str| {
        let bare = line.strip_prefix("# ")?;
        let name = bare.split(" = ").next().filter(|_| bare.contains(" = "))?;
        let is_key = bare.starts_with('[') || name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        is_key.then(|| bare.to_owned())
    };
    let section = |line: &str| {
        line.strip_prefix("# ").filter(|bare| bare.starts_with('[') && bare.ends_with(']')).map(str::to_owned)
    };
    let lines = text.lines().map(|line| key(line).or_else(|| section(line)).unwrap_or_else(|| line.to_owned()));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_commented_file_has_every_key() {
    let text = everything();
    let config = parse(&text).unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"));
    let router = &config.virtual_routers[0];
    assert!(router.authentication.is_some() && !router.track_interfaces.is_empty());
    assert_eq!(router.track_scripts, ["disk"]);
    assert_eq!(config.scripts.len(), 1);
    assert!(config.peer.is_some() && config.witness.is_some() && config.gateway.is_some());
    assert!(config.notify.is_some_and(|notify| notify.email.is_some() && notify.webhook.is_some()));
    assert!(config.control.metrics.is_some());
    assert!(config.mysql.is_some_and(|mysql| mysql.password_file.is_some()));
}

#[test]
fn the_values_in_the_comments_are_the_defaults() {
    let text = std::fs::read_to_string(folder().join("vipd.toml")).unwrap();
    let plain = parse(&text).unwrap();
    let full = parse(&everything()).unwrap();
    let (plain_router, mut router) = (&plain.virtual_routers[0], full.virtual_routers[0].clone());
    // What the comments call examples.
    router.peers = Vec::new();
    router.source_address = None;
    router.authentication = None;
    router.track_interfaces = Vec::new();
    router.track_scripts = Vec::new();
    assert_eq!(&router, plain_router);
    let mut mysql = full.mysql.unwrap();
    mysql.password_file = None;
    assert_eq!(mysql, plain.mysql.unwrap());
    assert_eq!(full.datapath_mode, plain.datapath_mode);
    assert_eq!((full.control.socket, full.control.pin_dir), (plain.control.socket, plain.control.pin_dir));
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let config = parse(&format!("{GOOD}[mysql]\n")).unwrap();
    let router = &config.virtual_routers[0];
    assert_eq!(router.name, "eth0-51");
    assert_eq!(router.priority.as_u8(), 100);
    assert_eq!(router.advertisement_interval, Duration::from_millis(100));
    assert!(router.preempt_mode);
    let mysql = config.mysql.as_ref().unwrap();
    assert_eq!(mysql.endpoint, Endpoint::Unix("/run/mysqld/mysqld.sock".into()));
    assert_eq!((mysql.fall, mysql.rise, mysql.writers), (2, 2, Writers::Active));
    assert_eq!(mysql.password().unwrap().expose(), "");
    assert!(config.not_in_effect().is_empty());
    let parameters = config.parameters();
    assert!(parameters.routers[0].source_address.is_unspecified(), "found when the interface is");
    assert_eq!(parameters.routers[0].sole_peer, None);
    assert!(parameters.server.unwrap().require_replication);
}

#[test]
fn one_peer_is_the_sole_peer() {
    let config = parse(&format!("{GOOD}peers = [\"192.0.2.2\"]\nsource_address = \"192.0.2.1\"\n")).unwrap();
    let parameters = config.parameters();
    assert_eq!(parameters.routers[0].source_address, "192.0.2.1".parse::<std::net::IpAddr>().unwrap());
    assert_eq!(parameters.routers[0].sole_peer, Some("192.0.2.2".parse().unwrap()));
    assert_eq!(parameters.server, None);
}

#[test]
fn ipv4_and_ipv6_may_share_a_vrid() {
    let six = GOOD.replace("192.0.2.10/24", "2001:db8::10/64");
    let config = parse(&format!("{GOOD}name = \"four\"\n{six}name = \"six\"\n")).unwrap();
    assert!(!config.virtual_routers[0].is_ipv6() && config.virtual_routers[1].is_ipv6());
}

/// Each row: what is replaced in [`GOOD`], by what, and then line, key, and words of the message.
#[test]
fn each_fault_is_named_with_its_remedy() {
    let vrid = "vrid = 51";
    let address = "\"192.0.2.10/24\"";
    let end = "";
    let cases: &[(&str, &str, usize, &str, &[&str])] = &[
        (vrid, "vrid = 0", 3, "virtual_router[0].vrid", &["= 0", "1..=255"]),
        (vrid, "vrid = 300", 3, "virtual_router[0].vrid", &["= 300", "1..=255", "no other virtual router"]),
        (vrid, "vrid = \"51\"", 3, "virtual_router[0].vrid", &["\"51\"", "whole number without quotes", "string"]),
        (vrid, "vrid = 99999999999999999999", 3, "virtual_router[0].vrid", &["1..=255"]),
        (vrid, "", 1, "virtual_router[0].vrid", &["missing", "1..=255", "add vrid"]),
        (vrid, "vrid = 51\nvird = 1", 4, "virtual_router[0].vird", &["unknown key", "did you mean vrid?"]),
        (vrid, "vrid = 51\nadress = 1", 4, "virtual_router[0].adress", &["unknown key", "did you mean addresses?"]),
        (vrid, "vrid = 51\nzebra = 1", 4, "virtual_router[0].zebra", &["unknown key", "known here: ", "preempt"]),
        (
            "interface = \"eth0\"",
            "interface = \"a-name-that-is-long\"",
            2,
            "virtual_router[0].interface",
            &["1 to 15 bytes"],
        ),
        ("interface = \"eth0\"", "interface = \"../eth0\"", 2, "virtual_router[0].interface", &["space or /"]),
        ("interface = \"eth0\"", "", 1, "virtual_router[0].interface", &["missing"]),
        (end, "priority = 255", 5, "virtual_router[0].priority", &["= 255", "1..=254"]),
        (end, "priority = 0", 5, "virtual_router[0].priority", &["1..=254"]),
        (end, "priority = -1", 5, "virtual_router[0].priority", &["= -1", "1..=254"]),
        (end, "version = 4", 5, "virtual_router[0].version", &["2..=3"]),
        (
            end,
            "advertisement_interval = \"5ms\"",
            5,
            "virtual_router[0].advertisement_interval",
            &["\"5ms\"", "10ms..=40.95s"],
        ),
        (end, "advertisement_interval = \"41s\"", 5, "virtual_router[0].advertisement_interval", &["10ms..=40.95s"]),
        (end, "advertisement_interval = \"105ms\"", 5, "virtual_router[0].advertisement_interval", &["steps of 10ms"]),
        (
            end,
            "advertisement_interval = 100",
            5,
            "virtual_router[0].advertisement_interval",
            &["with its unit", "integer"],
        ),
        (end, "advertisement_interval = \"100\"", 5, "virtual_router[0].advertisement_interval", &["us, ms, s, m, h"]),
        (
            end,
            "version = 2\nadvertisement_interval = \"100ms\"",
            6,
            "virtual_router[0].advertisement_interval",
            &["1s..=255s", "use version 3"],
        ),
        (
            end,
            "version = 2\nadvertisement_interval = \"1.5s\"",
            6,
            "virtual_router[0].advertisement_interval",
            &["steps of 1s"],
        ),
        (address, "", 4, "virtual_router[0].addresses", &["at least one"]),
        (address, "\"192.0.2.300\"", 4, "virtual_router[0].addresses[0]", &["\"192.0.2.300\"", "IPv4 or IPv6"]),
        (address, "\"192.0.2.10/33\"", 4, "virtual_router[0].addresses[0]", &["0..=32"]),
        (address, "\"192.0.2.10/+24\"", 4, "virtual_router[0].addresses[0]", &["0..=32"]),
        (address, "\"224.0.0.18/24\"", 4, "virtual_router[0].addresses[0]", &["multicast"]),
        (address, "\"127.0.0.2/8\"", 4, "virtual_router[0].addresses[0]", &["loopback"]),
        (address, "\"192.0.2.0/24\"", 4, "virtual_router[0].addresses[0]", &["network itself"]),
        (address, "\"192.0.2.255/24\"", 4, "virtual_router[0].addresses[0]", &["broadcast"]),
        (
            address,
            "\"192.0.2.10/24\", \"192.0.2.10/32\"",
            4,
            "virtual_router[0].addresses[1]",
            &["in the list already"],
        ),
        (
            address,
            "\"192.0.2.10/24\", \"2001:db8::1/64\"",
            4,
            "virtual_router[0].addresses[1]",
            &["another family", "[[virtual_router]] of its own"],
        ),
        (
            address,
            "\"2001:db8::1/64\"]\nversion = 2 #",
            4,
            "virtual_router[0].addresses[0]",
            &["IPv4 only", "version = 3"],
        ),
        (end, "peers = [\"2001:db8::2\"]", 5, "virtual_router[0].peers[0]", &["must be IPv4"]),
        (end, "peers = [\"192.0.2.2/24\"]", 5, "virtual_router[0].peers[0]", &["without prefix"]),
        (end, "peers = [\"192.0.2.10\"]", 5, "virtual_router[0].peers[0]", &["virtual addresses"]),
        (end, "peers = [\"192.0.2.2\", \"192.0.2.2\"]", 5, "virtual_router[0].peers[1]", &["already"]),
        (
            end,
            "peers = [\"192.0.2.1\"]\nsource_address = \"192.0.2.1\"",
            5,
            "virtual_router[0].peers[0]",
            &["source_address of this node"],
        ),
        (end, "peers = \"192.0.2.1\"", 5, "virtual_router[0].peers", &["a list is wanted"]),
        (
            end,
            "source_address = \"192.0.2.10\"",
            5,
            "virtual_router[0].source_address",
            &["must not be one of the virtual"],
        ),
        (end, "source_address = \"2001:db8::1\"", 5, "virtual_router[0].source_address", &["must be IPv4"]),
        (end, "preempt = \"yes\"", 5, "virtual_router[0].preempt", &["true or false"]),
        (end, "preempt_delay = \"2h\"", 5, "virtual_router[0].preempt_delay", &["0s..=1h"]),
        (end, "startup_delay = \"-1s\"", 5, "virtual_router[0].startup_delay", &["unit"]),
        (end, "checksum = \"rfc5798\"", 5, "virtual_router[0].checksum", &["\"pseudo-header\" or \"rfc9568\""]),
        (
            end,
            "peers = [\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\", \"10.0.0.4\", \"10.0.0.5\", \"10.0.0.6\", \"10.0.0.7\", \"10.0.0.8\", \"10.0.0.9\", \"10.0.0.10\", \"10.0.0.11\", \"10.0.0.12\", \"10.0.0.13\", \"10.0.0.14\", \"10.0.0.15\", \"10.0.0.16\", \"10.0.0.17\"]",
            5,
            "virtual_router[0].peers",
            &["17 peers", "at most 16"],
        ),
        (
            end,
            "authentication = { type = \"pass\", key_file = \"/k\" }",
            5,
            "virtual_router[0].authentication.type",
            &["RFC 9568", "hmac-sha256"],
        ),
        (
            end,
            "version = 2\nauthentication = { type = \"hmac-sha256\", key_file = \"/k\" }",
            6,
            "virtual_router[0].authentication.type",
            &["needs version 3"],
        ),
        (
            end,
            "authentication = { type = \"hmac-sha256\" }",
            5,
            "virtual_router[0].authentication.key_file",
            &["missing"],
        ),
        (
            end,
            "authentication = { type = \"hmac-sha256\", key_file = \"/k\", key = \"hush\" }",
            5,
            "virtual_router[0].authentication.key",
            &["unknown key"],
        ),
        (end, "announce.repeat = [\"20ms\"]", 5, "virtual_router[0].announce.repeat", &["begin with \"0ms\""]),
        (end, "announce.repeat = [\"0ms\", \"2s\", \"1s\"]", 5, "virtual_router[0].announce.repeat", &["rise"]),
        (end, "announce.repeat = []", 5, "virtual_router[0].announce.repeat", &["1 to 32"]),
        (end, "announce.refresh = \"0s\"", 5, "virtual_router[0].announce.refresh", &["1s..=1h"]),
        (end, "[mysql]\nendpoint = \"db1\"", 6, "mysql.endpoint", &["\"db1\"", "127.0.0.1:3306"]),
        (end, "[mysql]\nendpoint = \"127.0.0.1:0\"", 6, "mysql.endpoint", &["address:port"]),
        (end, "[mysql]\npassword = \"hush\"", 6, "mysql.password", &["unknown key", "password_file"]),
        (end, "[mysql]\nuser = \"\"", 6, "mysql.user", &["must not be empty"]),
        (end, "[mysql]\nfall = 0", 6, "mysql.fall", &["1..=100"]),
        (end, "[mysql]\nprobe_timeout = \"1ms\"", 6, "mysql.probe_timeout", &["10ms..=1m"]),
        (end, "[mysql.replication]\nwriters = \"one\"", 6, "mysql.replication.writers", &["\"active\" or \"both\""]),
        (
            end,
            "[mysql.replication]\ndurability = \"sync\"",
            6,
            "mysql.replication.durability",
            &["\"async\" or \"semi-sync\""],
        ),
        (end, "[mysql.replication]\nlag = \"1s\"", 6, "mysql.replication.lag", &["unknown key"]),
        (
            end,
            "[peer]\naddress = \"192.0.2.2\"\nlisten = \"192.0.2.1:1\"\nsecret_file = \"/s\"",
            6,
            "peer.address",
            &["with its port"],
        ),
        (end, "[witness]\netcd = [\"10.0.0.9:2379\"]", 6, "witness.etcd[0]", &["https://"]),
        (end, "[gateway]\naddress = \"router\"", 6, "gateway.address", &["IPv4 or IPv6"]),
        (
            end,
            "[datapath]\nmode = \"xdp\"",
            6,
            "datapath.mode",
            &["\"auto\" or \"native\" or \"generic\" or \"socket\""],
        ),
        (end, "[control]\nsocket = \"vipd.sock\"", 6, "control.socket", &["absolute path", "/run/vipd/vipd.sock"]),
        (end, "[control]\nmetrics = \"9651\"", 6, "control.metrics", &["with its port"]),
        (end, "[notify]\nwebhook = \"example\"", 6, "notify.webhook", &["https://"]),
        (
            end,
            "[notify]\nemail = { to = [], from = \"vipd@a\", smtp = \"b\" }",
            6,
            "notify.email.to",
            &["at least one"],
        ),
        (end, "[notify]\nemail = { to = [\"a@b\"], from = \"a\", smtp = \"b\" }", 6, "notify.email.from", &["no mail"]),
        (end, "[notify]\ncommand = \"notify\"", 6, "notify.command", &["absolute path"]),
        (end, "[server]", 5, "server", &["unknown key"]),
        (end, "[node]\nname = 1", 6, "node.name", &["a text in quotes"]),
        (end, "node = 1", 5, "virtual_router[0].node", &["unknown key"]),
        (end, "priority = ", 5, "", &["TOML"]),
        (end, "vrid = 52", 5, "", &["duplicate key"]),
    ];
    for &(old, new, line, key, words) in cases {
        let text = if old.is_empty() { format!("{GOOD}{new}\n") } else { GOOD.replace(old, new) };
        let problems = parse(&text).expect_err(&text);
        let found = problems.iter().find(|problem| problem.line == line && problem.key == key);
        let found =
            found.unwrap_or_else(|| panic!("no {key} at line {line} among {problems:#?} of\n{text}")).to_string();
        for word in words {
            assert!(found.contains(word), "{word} is not in: {found}");
        }
        assert_eq!(problems.len(), 1, "one fault, one problem: {problems:#?} of\n{text}");
    }
}

#[test]
fn routers_are_compared() {
    for (second, words) in [
        (GOOD.replace(".10/", ".11/"), "interface eth0 and vrid 51"),
        (GOOD.replace("= 51", "= 52"), "192.0.2.10 belongs to \"eth0-51\" too"),
        (GOOD.replace("= 51", "= 52").replace(".10/", ".11/") + "name = \"eth0-51\"\n", "named \"eth0-51\" too"),
    ] {
        let problems = parse(&format!("{GOOD}{second}")).unwrap_err();
        let found = problems.iter().find(|problem| problem.to_string().contains(words));
        let found = found.unwrap_or_else(|| panic!("{words} is not in {problems:#?}"));
        assert_eq!((found.line, found.key.as_str()), (5, "virtual_router[1]"));
    }
}

#[test]
fn all_problems_are_listed_in_the_order_of_the_file() {
    let text = "[[virtual_router]]\ninterface = \"eth0\"\nvrid = 0\npriority = 255\naddresses = [\"x\"]\n[mysql]\nfall = 0\nzebra = 1\n";
    let lines: Vec<_> = parse(text).unwrap_err().iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [3, 4, 5, 7, 8]);
    let lines: Vec<_> = parse("[[virtual_router]\nvrid = = 1\n").unwrap_err().iter().map(|it| it.line).collect();
    assert_eq!(lines.into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([1, 2]));
    assert!(parse("").unwrap_err()[0].to_string().contains("there is no [[virtual_router]]"));
}

#[test]
fn one_writer_cannot_be_behind_routers_that_prefer_different_hosts() {
    let second =
        "[[virtual_router]]\ninterface = \"eth0\"\nvrid = 52\npriority = 90\naddresses = [\"192.0.2.20/24\"]\n";
    let problems = parse(&format!("{GOOD}{second}[mysql]\n")).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].line, 5);
    let text = problems[0].to_string();
    assert!(text.contains("priority 90 here and 100 in \"eth0-51\"") && text.contains("the same priority"), "{text}");

    assert!(parse(&format!("{GOOD}{second}")).is_ok(), "without a server each router goes its own way");
    let both = "[mysql]\n[mysql.replication]\nwriters = \"both\"\n";
    assert!(parse(&format!("{GOOD}{second}{both}")).is_ok());
}

#[test]
fn a_refusal_on_the_command_line_names_file_and_line() {
    let path = std::env::temp_dir().join(format!("vipd-configuration-{}.toml", std::process::id()));
    std::fs::write(&path, GOOD.replace("51", "300") + "priority = 0\n").unwrap();
    let name = path.to_str().unwrap();
    for arguments in
        [["check-config", name].as_slice(), &["check-config", "--config", name], &["cleanup", "--config", name]]
    {
        let (code, output) = vipd(arguments);
        assert_eq!(code, Some(1), "{output}");
        assert!(output.contains(&format!("{name}:3: virtual_router[0].vrid = 300: allowed is 1..=255; ")), "{output}");
        assert!(
            output.contains(&format!("{name}:5: virtual_router[0].priority = 0: allowed is 1..=254; ")),
            "{output}"
        );
        assert!(output.ends_with("2 problems in the configuration\n"), "{output}");
    }
    std::fs::remove_file(&path).unwrap();
    let (code, output) = vipd(&["check-config", name]);
    assert!(
        code == Some(1) && output.contains("cannot read the configuration") && output.contains("No such file"),
        "{output}"
    );
}

#[test]
fn a_shared_password_file_is_warned_of_and_the_password_not_shown() {
    use std::os::unix::fs::PermissionsExt;

    let folder = std::env::temp_dir().join(format!("vipd-password-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (secret, file) = (folder.join("mysql.pass"), folder.join("vipd.toml"));
    std::fs::write(&secret, "hush-hush\n").unwrap();
    std::fs::write(&file, format!("{GOOD}[mysql]\npassword_file = \"{}\"\n", secret.display())).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, output) = vipd(&["check-config", file.to_str().unwrap()]);
    assert!(code == Some(0) && output.contains("warning") && output.contains("mode 0644"), "{output}");
    assert!(!output.contains("hush"), "{output}");
    assert!(Config::load(&file).unwrap().mysql.unwrap().password().is_err());
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (_, output) = vipd(&["check-config", file.to_str().unwrap()]);
    assert!(!output.contains("warning"), "{output}");
    assert_eq!(Config::load(&file).unwrap().mysql.unwrap().password().unwrap().expose(), "hush-hush");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_bad_key_file_is_told_by_its_line_without_the_key() {
    use std::os::unix::fs::PermissionsExt;

    let folder = std::env::temp_dir().join(format!("vipd-keys-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (keys, file) = (folder.join("vrrp.key"), folder.join("vipd.toml"));
    let setting = format!("authentication = {{ type = \"hmac-sha256\", key_file = \"{}\" }}", keys.display());
    std::fs::write(&file, format!("{GOOD}{setting}\n")).unwrap();
    let key = "3f0a".repeat(16);
    for (content, told) in [
        (format!("{key}\n2:{}\n", &key[4..]), Some("vrrp.key, line 2: a key is 64 hex digits")),
        (format!("{key}\n{key}\n"), Some("vrrp.key, line 2: another line has a key of this id")),
        (format!("{key}\n2:{key}\n"), None),
        (format!("{key}\n"), None),
        (key.clone(), None),
    ] {
        std::fs::write(&keys, &content).unwrap();
        std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o600)).unwrap();
        let (_, output) = vipd(&["check-config", file.to_str().unwrap()]);
        match told {
            Some(told) => assert!(output.contains(told), "{output}"),
            None => assert!(!output.contains("warning"), "{output}"),
        }
        assert!(!output.contains("3f0a"), "{output}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_is_not_in_effect_is_said_once_per_section() {
    let config = parse(&everything()).unwrap();
    let sentences = config.not_in_effect();
    for section in ["[peer]", "[witness]", "[gateway]"] {
        assert_eq!(sentences.iter().filter(|sentence| sentence.contains(section)).count(), 1, "{section}");
    }
}

#[test]
fn without_an_agent_status_says_what_to_check() {
    let (code, output) = vipd(&["status", "--socket", "/nonexistent/vipd.sock"]);
    assert_eq!(code, Some(1));
    assert!(output.contains("no agent answers at /nonexistent/vipd.sock"), "{output}");
}

#[test]
fn grants_are_statements_for_the_account() {
    for (dialect, privilege) in [("mariadb", "READ_ONLY ADMIN"), ("mysql", "SYSTEM_VARIABLES_ADMIN")] {
        let (code, output) = vipd(&["grants", "--dialect", dialect, "--user", "watcher"]);
        assert_eq!(code, Some(0));
        assert!(output.contains(privilege) && output.contains("'watcher'@'localhost'"), "{output}");
        assert!(output.lines().all(|line| line.ends_with(';')), "{output}");
    }
}

#[test]
fn a_read_error_is_its_own_error() {
    assert!(matches!(Config::load(Path::new("/nonexistent")), Err(Error::Read { .. })));
}
