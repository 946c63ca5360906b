//! What a tracked interface or script does to a running agent and to what it sends.

use serde_json::json;

use crate::agent::{Agent, wait_for};
use crate::namespace::{Host, Pair};

/// A second interface of a host, with a peer beside it that holds its carrier.
fn add_interface(host: &Host) {
    host.ip("link add t0 type veth peer name t1");
    for name in ["t0", "t1"] {
        host.ip(&format!("link set {name} up"));
    }
}

fn part(source: &str, value: i32, reason: Option<&str>, fault: bool) -> serde_json::Value {
    json!({ "source": source, "value": value, "reason": reason, "fault": fault })
}

#[test]
fn a_tracked_interface_that_goes_down_lowers_the_priority_and_the_peer_preempts() {
    let Some(pair) = Pair::new() else { return };
    add_interface(&pair.a);
    let tracks = "priority = 110\ntrack_interfaces = [{ interface = \"t0\", weight = -20 }]";
    let mut one = Agent::start(&pair.a, "auto", tracks);
    let router = one.wait_serving();
    assert_eq!(
        router["priority_parts"],
        json!([part("configured", 110, None, false), part("interface t0", 0, None, false)])
    );
    let mut other = Agent::start(&pair.b, "auto", "priority = 100");
    other.wait_until("standing by", |router| router["state"] == "backup");

    // The carrier goes with the other end.
    pair.a.ip("link set t1 down");
    other.wait_serving();
    let router = one.wait_until("standing by", |router| router["state"] == "backup");
    assert_eq!((&router["priority"], &router["effective_priority"]), (&json!(110), &json!(90)));
    assert_eq!(router["priority_parts"][1], part("interface t0", -20, Some("down"), false));
    assert_eq!(router["last_transition"]["reason"], "higher_priority");

    pair.a.ip("link set t1 up");
    let router = one.wait_serving();
    assert_eq!(router["effective_priority"], 110);
    for sentence in ["tracked interface t0 is down", "tracked interface t0 can carry traffic again"] {
        assert!(one.log().contains(sentence), "{sentence} is not in\n{}", one.log());
    }
}

#[test]
fn a_plainly_tracked_interface_that_goes_down_or_vanishes_makes_the_router_resign() {
    let Some(pair) = Pair::new() else { return };
    let mut one = Agent::start(&pair.a, "auto", "priority = 110\ntrack_interfaces = [\"t0\"]");
    let router = one.wait_hindered("interface_down");
    assert_eq!(router["priority_parts"][1], part("interface t0", 0, Some("no such interface"), true));
    assert_eq!(router["effective_priority"], 0);
    let mut other = Agent::start(&pair.b, "auto", "priority = 100");
    other.wait_serving();
    for fault in ["link set t0 down", "link del t0", "link set t0 name t9"] {
        pair.a.ip("link add t0 type veth peer name t1");
        for name in ["t0", "t1"] {
            pair.a.ip(&format!("link set {name} up"));
        }
        one.wait_serving();
        other.wait_until("standing by", |router| router["state"] == "backup");
        pair.a.ip(fault);
        let router = one.wait_hindered("interface_down");
        assert_eq!(router["last_transition"]["reason"], "interface_down", "{fault}");
        assert_eq!(other.wait_serving()["last_transition"]["reason"], "peer_resigned", "{fault}");
        if !fault.contains("del") {
            pair.a.ip("link del t1");
        }
    }
}

#[test]
fn a_script_that_fails_makes_the_router_resign_and_one_that_passes_again_brings_it_back() {
    let Some(pair) = Pair::new() else { return };
    // Anybody may read it, and only root may remove it.
    let flag = std::env::temp_dir().join(format!("{}-flag", pair.a.name));
    std::fs::write(&flag, "").unwrap();
    let script = format!(
        "priority = 110\ntrack_scripts = [\"flag\", \"slow\"]\n\
         [[script]]\nname = \"flag\"\ncommand = \"/usr/bin/test -e {}\"\ninterval = \"100ms\"\n\
         [[script]]\nname = \"slow\"\ncommand = \"/bin/sleep 1000\"\ntimeout = \"50ms\"\nweight = -5\n",
        flag.display()
    );
    let mut one = Agent::start(&pair.a, "auto", &script);
    let router = one.wait_serving();
    let router = if router["effective_priority"] == 105 {
        router
    } else {
        one.wait_until("slow", |router| router["effective_priority"] == 105)
    };
    let parts = json!([
        part("configured", 110, None, false),
        part("script flag", 0, None, false),
        part("script slow", -5, Some("no result within 50ms"), false),
    ]);
    assert_eq!(router["priority_parts"], parts);
    let mut other = Agent::start(&pair.b, "auto", "priority = 100");
    other.wait_until("standing by", |router| router["state"] == "backup");

    std::fs::remove_file(&flag).unwrap();
    let router = one.wait_hindered("script_failed");
    assert_eq!(router["priority_parts"][1], part("script flag", 0, Some("exit status 1"), true));
    assert_eq!(router["last_transition"]["reason"], "script_failed");
    assert_eq!(router["last_transition"]["detail"], "script flag: exit status 1");
    assert_eq!(other.wait_serving()["last_transition"]["reason"], "peer_resigned");

    std::fs::write(&flag, "").unwrap();
    one.wait_serving();
    std::fs::remove_file(&flag).unwrap();
    let log = one.log();
    assert!(log.contains("a script has failed") && log.contains("a script passes again"), "{log}");
}

#[test]
fn the_process_of_a_script_ends_with_its_agent_whether_that_is_stopped_or_killed() {
    let Some(pair) = Pair::new() else { return };
    let file = std::env::temp_dir().join(format!("{}-pid", pair.a.name));
    for kill in [false, true] {
        std::fs::write(&file, "").unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        let script = format!(
            "track_scripts = [\"long\"]\n[[script]]\nname = \"long\"\ntimeout = \"1h\"\n\
             command = [\"/bin/sh\", \"-c\", \"trap '' TERM; echo $$ > {}; exec sleep 1000\"]\n",
            file.display()
        );
        let mut agent = Agent::start(&pair.a, "auto", &script);
        agent.wait_hindered("script_unknown");
        let mut pid = String::new();
        while !pid.ends_with('\n') {
            agent.router();
            pid = std::fs::read_to_string(&file).unwrap();
        }
        let process = std::path::PathBuf::from(format!("/proc/{}/exe", pid.trim_end()));
        assert!(process.read_link().is_ok(), "{pid}");
        if kill {
            drop(agent)
        } else {
            agent.stop()
        }
        wait_for("the script is gone", || process.read_link().is_err());
    }
    std::fs::remove_file(&file).unwrap();
}
