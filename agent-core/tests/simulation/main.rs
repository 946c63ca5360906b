//! Whole nodes on a seeded, hostile LAN; the invariants are checked after every single event.
//!
//! A run that fails is shrunk and printed with the command that runs it again.

mod configuration;
mod execute;
mod faults;
mod host;
mod invariants;
mod lan;
mod mutants;
mod seeded;
mod shrink;
mod strike;
mod world;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use faults::{Case, Family};
use world::World;

/// The number of seeds of each family; `VIPD_SIMULATION_SEEDS` sets another one.
fn seeds() -> u64 {
    std::env::var("VIPD_SIMULATION_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2_500)
}

/// The first seed; `VIPD_SIMULATION_FROM` sets another one.
fn first_seed() -> u64 {
    std::env::var("VIPD_SIMULATION_FROM").ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// Runs the seeds of a family, on each processor some; reports the lowest one that fails, as far as it is known.
fn run_family(family: Family) {
    let (first, count) = (first_seed(), seeds());
    let (next, takeovers, failed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let began = Instant::now();
    let work = || {
        let mut told = Instant::now();
        loop {
            let turn = next.fetch_add(1, Ordering::Relaxed);
            if turn >= count || failed.load(Ordering::Relaxed) {
                return None;
            }
            if told.elapsed() >= PROGRESS_EVERY {
                told = Instant::now();
                eprintln!("{family:?}: {turn} of {count} seeds in {} s", began.elapsed().as_secs());
            }
            let case = Case::of_seed(first.wrapping_add(turn), family);
            let mut world = World::new(&case, None);
            let outcome = world.run();
            takeovers.fetch_add(world.takeovers(), Ordering::Relaxed);
            if outcome.is_err() {
                failed.store(true, Ordering::Relaxed);
                return Some(case);
            }
        }
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let failing = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..processors).map(|_| scope.spawn(work)).collect();
        let cases = workers.into_iter().filter_map(|worker| worker.join().expect("a run that does not panic"));
        cases.min_by_key(|case| case.seed)
    });
    if let Some(case) = failing {
        panic!("seed {} of {family:?} fails\n{}", case.seed, story(&shrink::shrink(&case, None)));
    }
    let takeovers = takeovers.into_inner();
    assert!(takeovers > count, "{takeovers} takeovers in {count} seeds: the simulation tests nothing");
    eprintln!("{family:?}: {count} seeds, {takeovers} takeovers, no violation, {} s", began.elapsed().as_secs());
}

/// What happens in a case, and how to see it again.
fn story(case: &Case) -> String {
    let mut world = World::new(case, None);
    let outcome = world.run().map_or_else(|violation| violation.to_string(), |()| "no violation".to_owned());
    let text = shrink::text(case);
    format!(
        "{:#?}\n  {}\n{outcome}\nagain: CASE='{text}' cargo test -p agent-core --test simulation one_case",
        case.plan.strikes,
        world.story().join("\n  "),
    )
}

#[test]
fn hosts_never_both_serve_and_always_recover_however_they_suffer() {
    run_family(Family::Calm);
}

#[test]
fn hosts_on_a_lossy_partitioned_lan_agree_again_once_it_heals() {
    run_family(Family::Hostile);
}

#[test]
fn hosts_that_sleep_and_wake_late_never_both_serve() {
    run_family(Family::Sleepy);
}

#[test]
fn one_fault_does_not_move_what_it_does_not_touch() {
    run_family(Family::Single);
}

#[test]
fn one_case() {
    let Ok(text) = std::env::var("CASE") else { return };
    let case: Case = serde_json::from_str(&text).expect("CASE as a failing run prints it");
    let violated = World::new(&case, None).run().is_err();
    println!("{}", story(&case));
    assert!(!violated, "an invariant is violated");
}
