//! Agents that wake too late: stopped and continued, or starved of the processor.

use std::time::{Duration, Instant};

use lab::arp::{Answer, ArpProbe};
use lab::load::{Kind, Load};
use lab::network::VIP;
use lab::pair::{Pair, Setting};
use lab::turn;
use nix::sys::signal::Signal;

/// How long a healed pair may take until both hosts do their part again.
const HEAL: Duration = Duration::from_secs(30);
/// The answers to one request come within this time; the next one is sent 10 ms after it.
const ONE_REQUEST: Duration = Duration::from_millis(4);

/// Whether one request was answered by two hosts.
fn two_answer(answers: &[Answer]) -> Option<[Answer; 2]> {
    answers.windows(2).find_map(|pair| match pair {
        [one, other] if one.mac != other.mac && other.at - one.at < ONE_REQUEST => Some([one.clone(), other.clone()]),
        _ => None,
    })
}

fn takeovers(pair: &Pair, since: Instant) -> usize {
    pair.observer.holdings().iter().filter(|holding| holding.from >= since).count()
}

#[test]
fn an_active_that_slept_past_its_lease_does_not_go_on() {
    let Some(_turn) = turn() else { return };
    let mut pair = Pair::start("slept-active", &Setting::default()).unwrap();
    pair.start_writer().unwrap();
    let slept = pair.wait_settled(HEAL).unwrap();
    let heir = 1 - slept;
    let gate = pair.agents[slept].status().unwrap().gate();
    let [old, new] = [slept, heir].map(|host| pair.network.databases[host].mac().unwrap());
    let probe = ArpProbe::start(&pair.network.stranger, VIP).unwrap();
    pair.agents[slept].signal(Signal::SIGSTOP).unwrap();
    let status = pair.wait_serving(heir, Duration::from_secs(15)).unwrap();
    assert_eq!(status.transition().reason, "active_down_timer");
    std::thread::sleep(Duration::from_secs(1));
    let woken = Instant::now();
    pair.agents[slept].signal(Signal::SIGCONT).unwrap();
    assert_eq!(pair.wait_settled(HEAL).unwrap(), heir, "who slept is the standby now");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(pair.observer.holders(), [heir]);
    assert_eq!(takeovers(&pair, woken), 0, "nobody took the address when the sleeper woke");
    if gate {
        let answers = probe.answers();
        let first_new = answers.iter().find(|answer| answer.mac == new).unwrap().at;
        let late: Vec<_> = answers.iter().filter(|answer| answer.at > first_new && answer.mac == old).collect();
        assert!(late.is_empty(), "the sleeper answered after its heir: {late:?}");
    }
    assert!(!pair.servers[slept].writable().unwrap(), "the server of the sleeper is read-only");
    pair.verify_rows().unwrap();
}

#[test]
fn a_backup_that_slept_does_not_take_over_from_a_healthy_active() {
    let Some(_turn) = turn() else { return };
    let setting = Setting { advertisement_interval: "10ms".to_owned(), ..Setting::default() };
    let mut pair = Pair::start("slept-backup", &setting).unwrap();
    pair.start_writer().unwrap();
    let active = pair.wait_settled(HEAL).unwrap();
    let before = pair.agents[active].status().unwrap().transition();
    let since = Instant::now();
    // From less than the down interval of 37 ms to so long that every buffer is full of advertisements.
    for sleep_ms in [30, 40, 60, 100, 300, 1000, 3000] {
        pair.agents[1 - active].signal(Signal::SIGSTOP).unwrap();
        std::thread::sleep(Duration::from_millis(sleep_ms));
        pair.agents[1 - active].signal(Signal::SIGCONT).unwrap();
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(takeovers(&pair, since), 0, "after {sleep_ms} ms of sleep");
    }
    assert_eq!(pair.wait_settled(HEAL).unwrap(), active);
    assert_eq!(pair.agents[active].status().unwrap().transition(), before);
    pair.verify_rows().unwrap();
}

#[test]
fn busy_loops_of_normal_priority_move_nothing_under_a_writing_client() {
    let Some(_turn) = turn() else { return };
    let mut pair = Pair::start("busy", &Setting::default()).unwrap();
    pair.start_writer().unwrap();
    let active = pair.wait_settled(HEAL).unwrap();
    let before = pair.agents[active].status().unwrap().transition();
    let since = Instant::now();
    let load = Load::start(Kind::Normal, 3).unwrap();
    std::thread::sleep(Duration::from_secs(15));
    drop(load);
    assert_eq!(takeovers(&pair, since), 0);
    assert_eq!(pair.wait_settled(HEAL).unwrap(), active);
    assert_eq!(pair.agents[active].status().unwrap().transition(), before);
    pair.verify_rows().unwrap();
}

#[test]
fn agents_that_real_time_loops_starve_past_their_lease_never_both_answer_and_lose_no_row() {
    let Some(_turn) = turn() else { return };
    let mut pair = Pair::start("starved", &Setting::default()).unwrap();
    pair.start_writer().unwrap();
    let active = pair.wait_settled(HEAL).unwrap();
    let gate = pair.agents[active].status().unwrap().gate();
    let probe = ArpProbe::start(&pair.network.stranger, VIP).unwrap();
    // The lease is 300 ms and a little: each burst outlasts it, on every processor.
    let (burst, pause) = (Duration::from_millis(600), Duration::from_millis(400));
    let load = Load::start(Kind::Starving { burst, pause }, 1).unwrap();
    std::thread::sleep(Duration::from_secs(12));
    drop(load);
    let serving = pair.wait_settled(HEAL).unwrap();
    eprintln!("starved: host {active} served before and host {serving} after");
    if gate {
        assert!(!probe.answers().is_empty());
        assert!(two_answer(&probe.answers()).is_none(), "{:?}", two_answer(&probe.answers()));
    }
    let writable = [0, 1].map(|host: usize| pair.servers[host].writable().unwrap());
    assert!(writable[serving] && !writable[1 - serving], "{writable:?}");
    pair.verify_rows().unwrap();
}
