//! What others do to the virtual addresses and to the interface under a running agent.

use std::time::{Duration, Instant};

use vipd::datapath::Mode;

use crate::adverts::{open, router_on};
use crate::agent::{Agent, neighbour, wait_for};
use crate::namespace::{Host, Pair};
use crate::xdp::set_up;

const VIP: &str = "192.0.2.150";

fn has_vip(host: &Host) -> bool {
    host.ip("address show dev v0").contains("192.0.2.150/")
}

#[test]
fn an_address_that_is_removed_by_hand_is_put_back_at_once_and_counted() {
    let Some(pair) = Pair::new() else { return };
    let mut agent = Agent::start(&pair.a, "auto", "");
    assert_eq!(agent.wait_serving()["addresses_restored"], 0);
    pair.b.ip("neigh replace 192.0.2.150 lladdr 02:00:00:00:00:99 dev v0 nud reachable");
    pair.a.ip("address del 192.0.2.150/24 dev v0");
    let away = wait_for("the address is back", || has_vip(&pair.a));
    eprintln!("an address that was removed is back after {away:?}");
    // The next renewal, which is not meant here, may come 500 ms later.
    assert!(away < Duration::from_millis(300), "{away:?}");
    wait_for("the neighbours are told", || pair.b.ip("neigh show 192.0.2.150").contains("02:00:00:00:00:01"));
    let router = agent.wait_until("counted", |router| router["addresses_restored"] == 1);
    assert_eq!((&router["state"], &router["serving"]), (&"active".into(), &true.into()));
    assert!(agent.log().contains("another program removed 192.0.2.150"), "{}", agent.log());
    agent.stop();
    assert!(!has_vip(&pair.a));
}

#[test]
fn an_address_that_is_removed_again_and_again_is_yielded() {
    let Some(pair) = Pair::new() else { return };
    let mut one = Agent::start(&pair.a, "auto", "priority = 110");
    one.wait_serving();
    let mut other = Agent::start(&pair.b, "auto", "priority = 100");
    other.wait_until("standing by", |router| router["state"] == "backup");
    let began = Instant::now();
    let mut removed = 0;
    while one.router()["state"] == "active" {
        if has_vip(&pair.a) {
            // Another program would not be stopped by an address that has just gone.
            pair.a.ip("address flush dev v0 to 192.0.2.150/32");
            removed += 1;
        }
        assert!(began.elapsed() < Duration::from_secs(9), "{removed} removals: {}", one.log());
    }
    let router = one.wait_hindered("address_contested");
    assert_eq!(router["last_transition"]["reason"], "address_contested");
    let detail = router["last_transition"]["detail"].as_str().unwrap();
    assert!(detail.starts_with("192.0.2.150 was removed 5 times within "), "{detail}");
    assert_eq!(router["addresses_restored"], 4);
    assert_eq!(other.wait_serving()["last_transition"]["reason"], "peer_resigned");
    assert!(has_vip(&pair.b) && !has_vip(&pair.a));
}

#[test]
fn an_address_that_is_added_by_hand_where_it_is_not_served_is_removed() {
    let Some(pair) = Pair::new() else { return };
    let mut one = Agent::start(&pair.a, "auto", "priority = 110");
    one.wait_serving();
    let mut other = Agent::start(&pair.b, "auto", "priority = 100");
    other.wait_until("standing by", |router| router["state"] == "backup");
    for prefix in [24, 32] {
        pair.b.ip(&format!("address add {VIP}/{prefix} dev v0"));
        let there = wait_for("the address is gone", || !has_vip(&pair.b));
        eprintln!("an address that was added by hand was there for {there:?}");
    }
    assert!(other.log().contains("another program added 192.0.2.150"), "{}", other.log());
    assert!(has_vip(&pair.a), "{}\n{}", one.log(), other.log());
    assert_eq!(one.router()["addresses_restored"], 0);
}

#[test]
fn an_agent_waits_for_its_interface_and_follows_it_to_a_new_index() {
    for (mode, expected) in [("socket", "socket"), ("native", "native"), ("generic", "generic")] {
        let Some((pair, _pins)) = set_up() else { return };
        pair.a.ip("link del v0");
        let mut agent = Agent::start(&pair.a, mode, "");
        agent.wait_hindered("interface_missing");
        assert!(agent.log().contains("waits for interface v0, which does not exist"), "{}", agent.log());

        for life in 1..=2 {
            pair.make_link();
            agent.wait_serving();
            wait_for("the neighbours find the address", || neighbour(&pair.b, VIP).contains("02:00:00:00:00:01"));
            assert_eq!(agent.status()["datapath"]["mode"], expected);
            let attached = pair.a.ip("link show dev v0").contains("prog/xdp");
            assert_eq!(attached, mode != "socket", "{mode}, life {life}");

            pair.a.ip("link del v0");
            let router = agent.wait_hindered("interface_missing");
            assert_eq!(router["last_transition"]["from"], "active");
        }
        agent.stop();
    }
}

#[test]
fn two_agents_hear_each_other_again_on_an_interface_that_was_made_anew() {
    for mode in ["socket", "auto"] {
        let Some(pair) = Pair::new() else { return };
        let mut one = Agent::start(&pair.a, mode, "priority = 110");
        one.wait_serving();
        let mut other = Agent::start(&pair.b, mode, "priority = 100");
        other.wait_until("standing by", |router| router["state"] == "backup");
        pair.a.ip("link del v0");
        for agent in [&mut one, &mut other] {
            agent.wait_hindered("interface_missing");
        }
        pair.make_link();
        one.wait_serving();
        other
            .wait_until("standing by", |router| router["state"] == "backup" && router["active_address"] == "192.0.2.1");
        assert!(!has_vip(&pair.b));
    }
}

#[test]
fn an_interface_that_cannot_be_opened_is_tried_again() {
    let Some((pair, foreign)) = set_up() else { return };
    let mut agent = Agent::start(&pair.a, "native", "");
    agent.wait_serving();
    pair.a.ip("link del v0");
    agent.wait_hindered("interface_missing");
    // Another interface takes its name, and with it comes a program of somebody else.
    pair.a.ip(&format!("link add w0 address 02:00:00:00:00:01 type veth peer name v0 netns {}", pair.b.name));
    pair.a.ip("address add 192.0.2.1/24 dev w0");
    pair.a.run_async(async || drop(open(Mode::Native, router_on("w0", "192.0.2.1", &[]), foreign.0.clone())));
    pair.a.ip("link set w0 name v0");
    for host in [&pair.a, &pair.b] {
        host.ip("link set v0 up");
    }
    agent.wait_hindered("interface_unusable");
    wait_for("the failure is told", || agent.log().contains("tried again in 1 s"));
    drop(foreign);
    agent.wait_serving();
}

#[test]
fn a_source_address_that_goes_is_waited_for_and_another_one_is_taken() {
    let Some(pair) = Pair::new() else { return };
    let mut agent = Agent::start(&pair.a, "auto", "");
    assert_eq!(agent.wait_serving()["active_address"], "192.0.2.1");
    pair.a.ip("address add 192.0.2.3/24 dev v0");
    pair.a.ip("address del 192.0.2.1/24 dev v0");
    agent.wait_until("another source", |router| {
        router["active_address"] == "192.0.2.3" && router["serving"] == true && router["lease_remaining_ms"] != 0
    });
    pair.a.ip("address del 192.0.2.3/24 dev v0");
    agent.wait_hindered("source_address_missing");
    assert!(!has_vip(&pair.a));
    pair.a.ip("address add 192.0.2.1/24 dev v0");
    assert_eq!(agent.wait_serving()["active_address"], "192.0.2.1");
}

#[test]
fn a_new_hardware_address_is_announced_to_the_neighbours() {
    let Some(pair) = Pair::new() else { return };
    let mut agent = Agent::start(&pair.a, "auto", "");
    agent.wait_serving();
    wait_for("found", || neighbour(&pair.b, VIP).contains("02:00:00:00:00:01"));
    // What is on its way still bears the old one.
    std::thread::sleep(Duration::from_millis(1300));
    pair.a.ip("link set v0 address 02:00:00:00:00:aa");
    wait_for("the neighbours have moved", || pair.b.ip("neigh show 192.0.2.150").contains("02:00:00:00:00:aa"));
    assert_eq!(agent.router()["serving"], true);
}

#[test]
fn a_carrier_that_goes_and_comes_back_is_followed() {
    let Some(pair) = Pair::new() else { return };
    let mut agent = Agent::start(&pair.a, "auto", "");
    agent.wait_serving();
    pair.b.ip("link set v0 down");
    agent.wait_hindered("link_down");
    assert!(!has_vip(&pair.a));
    pair.b.ip("link set v0 up");
    agent.wait_serving();
}

#[test]
fn routes_and_rules_of_the_administrator_are_left_alone() {
    let Some(pair) = Pair::new() else { return };
    for command in [
        "route add 198.51.100.0/24 via 192.0.2.2 dev v0 metric 7",
        "route add 203.0.113.0/24 dev v0 src 192.0.2.1",
        "route add default via 192.0.2.2 table 77",
        "rule add from 192.0.2.150 table 77 priority 1000",
        "-6 route add 2001:db8:1::/64 via fd00::2 dev v0",
    ] {
        pair.a.ip(command);
    }
    let look = || -> Vec<String> {
        let all = ["route show table all", "-6 route show table all", "rule show", "-6 rule show"]
            .map(|what| pair.a.ip(what));
        all.iter().flat_map(|text| text.lines()).map(str::to_owned).collect()
    };
    let six = "addresses = [\"fd00::150/64\"]";
    for (router, own) in [("", "local 192.0.2.150 "), (six, "local fd00::150 ")] {
        let before = look();
        let mut agent = Agent::start(&pair.a, "auto", router);
        agent.wait_serving();
        let during = look();
        let added: Vec<&String> = during.iter().filter(|line| !before.contains(line)).collect();
        assert!(!added.is_empty() && added.iter().all(|line| line.starts_with(own)), "{added:?}");
        assert!(before.iter().all(|line| during.contains(line)), "{before:#?} became {during:#?}");
        agent.stop();
        assert_eq!(look(), before);
    }
}
