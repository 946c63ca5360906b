//! The lab's own instruments, proved without an agent: the address is moved by hand.

use std::time::{Duration, Instant};

use lab::arp::ArpProbe;
use lab::network::{INTERFACE, VIP};
use lab::{Mariadb, Network, Observer, Run, Writer, turn, verify};
use nix::sys::signal::Signal;

#[test]
fn an_address_that_is_moved_by_hand_is_seen_by_client_observer_and_verdict() {
    let Some(_turn) = turn() else { return };
    let run = Run::begin("moved-by-hand").unwrap();
    let network = Network::create(&run).unwrap();
    let [one, other] = &network.databases;
    let mut servers = [Mariadb::start(&run, one, 1).unwrap(), Mariadb::start(&run, other, 2).unwrap()];
    servers[0].replicate_from(other.address).unwrap();
    servers[1].replicate_from(one.address).unwrap();
    assert!(!servers[0].writable().unwrap(), "a server starts read-only");
    let observer = Observer::start(&network.databases, VIP).unwrap();
    let address = format!("{VIP}/24");
    servers[0].execute("SET GLOBAL read_only = 0").unwrap();
    one.namespace.ip(&["address", "add", &address, "dev", INTERFACE]).unwrap();
    let writer = Writer::start(&network.client, VIP).unwrap();
    let arp = ArpProbe::start(&network.stranger, VIP).unwrap();
    writer.wait_for(200, Instant::now(), Duration::from_secs(10)).unwrap();
    assert_eq!(observer.holders(), [0]);

    let since = Instant::now();
    servers[0].signal(Signal::SIGKILL).unwrap();
    one.namespace.ip(&["address", "del", &address, "dev", INTERFACE]).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    servers[1].execute("SET GLOBAL read_only = 0").unwrap();
    other.namespace.ip(&["address", "add", &address, "dev", INTERFACE]).unwrap();
    // What an agent would announce: the client's neighbour entry is still that of the other host.
    network.client.namespace.ip(&["neigh", "flush", "all"]).unwrap();
    writer.wait_for(200, Instant::now(), Duration::from_secs(10)).unwrap();

    let gap = writer.longest_gap(since).length;
    assert!(gap >= Duration::from_millis(300) && gap < Duration::from_millis(1500), "{gap:?}");
    assert_eq!(observer.holders(), [1]);
    assert_eq!(observer.longest_overlap(since), Duration::ZERO);
    assert_eq!(arp.answers().first().unwrap().mac, one.mac().unwrap());
    assert_eq!(arp.answers().last().unwrap().mac, other.mac().unwrap());

    servers[0].wait_end(Duration::from_secs(10)).unwrap();
    servers[0].restart().unwrap();
    let acknowledged = writer.stop().unwrap();
    let verdict = verify::rows(&servers, &acknowledged, Duration::from_secs(20)).unwrap();
    assert!(verdict.acknowledged >= 400, "{verdict:?}");

    // The verdict is worth something only if it sees a row that is missing.
    servers[1].execute("SET SESSION sql_log_bin = 0; DELETE FROM shop.ledger WHERE id = 5").unwrap();
    let failure = verify::rows(&servers, &acknowledged, Duration::ZERO).unwrap_err();
    assert!(failure.to_string().contains("db2 lacks 1 of"), "{failure}");
}
