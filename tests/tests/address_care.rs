//! Another program removes the virtual address under a pair with real servers and load.

use std::time::{Duration, Instant};

use anyhow::Result;
use lab::network::{INTERFACE, PREFIX, VIP};
use lab::pair::{Pair, Setting};
use lab::turn;

const HEAL: Duration = Duration::from_secs(30);

fn remove(pair: &Pair, host: usize) -> Result<String> {
    pair.network.databases[host].namespace.ip(&["address", "del", &format!("{VIP}/{PREFIX}"), "dev", INTERFACE])
}

#[test]
fn an_address_that_is_removed_once_costs_the_client_a_moment_and_no_failover() {
    let Some(_turn) = turn() else { return };
    let mut pair = Pair::start("address-removed", &Setting::default()).unwrap();
    pair.start_writer().unwrap();
    let active = pair.wait_settled(HEAL).unwrap();
    let before = pair.agents[active].status().unwrap().transition();
    let since = Instant::now();
    remove(&pair, active).unwrap();
    pair.writer().unwrap().wait_for(100, since, Duration::from_secs(10)).unwrap();
    assert_eq!(pair.wait_settled(HEAL).unwrap(), active);
    let status = pair.agents[active].status().unwrap();
    assert_eq!(status.transition(), before);
    assert_eq!(status.addresses_restored(), 1);
    let gap = pair.writer().unwrap().longest_gap(since).length;
    eprintln!("the address was removed: {gap:?} without a write");
    assert!(gap < Duration::from_millis(500), "{gap:?}");
    pair.verify_rows().unwrap();
}

#[test]
fn an_address_that_is_removed_again_and_again_moves_with_the_writer() {
    let Some(_turn) = turn() else { return };
    let mut pair = Pair::start("address-contested", &Setting::default()).unwrap();
    pair.start_writer().unwrap();
    let active = pair.wait_settled(HEAL).unwrap();
    let since = Instant::now();
    while pair.agents[active].status().unwrap().state() == "active" {
        // It may just have gone.
        remove(&pair, active).ok();
        assert!(since.elapsed() < Duration::from_secs(10), "{:?}", pair.agents[active].status());
    }
    pair.wait_serving(1 - active, Duration::from_secs(10)).unwrap();
    assert_eq!(pair.agents[active].status().unwrap().transition().reason, "address_contested");
    assert_eq!(pair.wait_settled(HEAL).unwrap(), 1 - active);
    pair.writer().unwrap().wait_for(100, Instant::now(), Duration::from_secs(10)).unwrap();
    assert_eq!(pair.observer.longest_overlap(since), Duration::ZERO);
    assert!(!pair.servers[active].writable().unwrap(), "the standby must be read-only");
    pair.verify_rows().unwrap();
}
