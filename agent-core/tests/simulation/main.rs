//! Whole nodes on a seeded, hostile LAN; the invariants are checked after every single event.
//!
//! A failing seed is printed: `SEED=n cargo test -p agent-core --test simulation one_seed` runs it alone.

mod faults;
mod host;
mod lan;
mod seeded;
mod world;

use std::time::Duration;

use faults::Plan;
use world::World;

/// The number of seeds of each kind; `VIPD_SIMULATION_SEEDS` sets another one.
fn seeds() -> u64 {
    std::env::var("VIPD_SIMULATION_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2_500)
}

fn run_seeds(hosts: usize, plan: fn(u64, usize) -> Plan) {
    let mut takeovers = 0;
    for seed in 0..seeds() {
        takeovers += run_seed(seed, hosts, plan(seed, hosts));
    }
    assert!(takeovers > seeds() / 2, "{takeovers} takeovers in {} seeds: the simulation tests nothing", seeds());
}

fn run_seed(seed: u64, hosts: usize, plan: Plan) -> u64 {
    let mut world = World::new(seed, hosts, plan);
    let outcome = world.run();
    if let Err(violation) = outcome {
        let story = world.story().join("\n  ");
        panic!("seed {seed}, {hosts} hosts: {violation}\n  {story}");
    }
    world.takeovers()
}

#[test]
fn two_hosts_never_both_serve_however_their_agents_and_servers_die_and_stall() {
    run_seeds(2, Plan::calm_network);
}

#[test]
fn three_hosts_never_both_serve_however_their_agents_and_servers_die_and_stall() {
    run_seeds(3, Plan::calm_network);
}

#[test]
fn two_hosts_on_a_lossy_partitioned_lan_agree_again_once_it_heals() {
    run_seeds(2, Plan::hostile_network);
}

#[test]
fn three_hosts_on_a_lossy_partitioned_lan_agree_again_once_it_heals() {
    run_seeds(3, Plan::hostile_network);
}

#[test]
fn a_healthy_active_is_not_deposed_by_whatever_befalls_its_standby() {
    for seed in 0..seeds() {
        let mut world = World::new(seed, 2, Plan::trouble_at_the_standby(seed));
        world.run().unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
        assert_eq!(world.takeovers(), 1, "seed {seed}: {:#?}", world.story());
    }
}

#[test]
fn one_seed() {
    let Some(seed) = std::env::var("SEED").ok().and_then(|text| text.parse::<u64>().ok()) else { return };
    for hosts in [2, 3] {
        run_seed(seed, hosts, Plan::calm_network(seed, hosts));
        run_seed(seed, hosts, Plan::hostile_network(seed, hosts));
    }
}

/// The interval of the simulated routers.
const ADVERTISEMENT_INTERVAL: Duration = Duration::from_millis(100);
