//! Short intervals on hogged processors: who moves the address although nothing is wrong.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::agent::{Agent, AgentSetting, Datapath, VRID};
use crate::keepalived::{Keepalived, KeepalivedSetting};
use crate::load::{Kind, Load};
use crate::network::{Network, PREFIX, VIP};
use crate::observer::Observer;
use crate::pair::milliseconds;
use crate::run::Run;
use crate::stalls::Stalls;
use crate::wire::{Silence, What, Wire};

/// Busy loops for each processor: each gets a fifth of it at best, and so does whoever competes at normal priority.
const LOOPS: usize = 4;
/// The interval, as vipd and as keepalived write it.
const INTERVAL: (&str, &str) = ("10ms", "0.01");
/// How long the pairs may take to settle, before there is any load.
const START: Duration = Duration::from_secs(20);
/// A processor that stands still for as long can make an advertisement two intervals late, and the lease is three.
const STALL: Duration = Duration::from_millis(18);
/// Between two looks at what has happened.
const LOOK: Duration = Duration::from_secs(1);
/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(60);

/// Those who compete: the virtual router, its address, and whether keepalived has real-time priority.
const INCUMBENTS: [(&str, u8, Ipv4Addr, bool); 2] = [
    ("keepalived", 52, Ipv4Addr::new(10, 77, 0, 152), false),
    ("keepalived_realtime", 53, Ipv4Addr::new(10, 77, 0, 153), true),
];

/// What was seen in the time.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Report {
    /// vipd's pair comes first.
    pub pairs: Vec<Endurance>,
    /// How often the machine took a processor from every program, whatever its priority, for longer than 18 ms.
    pub stalls: usize,
    pub longest_stall_ms: f64,
}

/// What one pair did in the time.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Endurance {
    pub who: &'static str,
    /// How often the address came to a host while nothing was wrong.
    pub false_takeovers: usize,
    /// The longest time in which both hosts had the address.
    pub two_holders_ms: f64,
    /// The longest time between two advertisements of the same host.
    pub longest_silence_ms: f64,
    /// Advertisements on the wire.
    pub advertisements: u64,
    /// How many hosts have the address in the end; one is right.
    pub holders: usize,
}

/// One pair under watch.
struct Contestant {
    who: &'static str,
    vrid: u8,
    observer: Observer,
    silence: Silence,
    advertisements: u64,
}

impl Contestant {
    fn watch(network: &Network, who: &'static str, vrid: u8, address: Ipv4Addr) -> Result<Self> {
        let observer = Observer::start(&network.databases, address)?;
        Ok(Self { who, vrid, observer, silence: Silence::default(), advertisements: 0 })
    }

    fn settle(&self) -> Result<()> {
        let deadline = Instant::now() + START;
        // The host of the higher priority is the first.
        while self.observer.holders() != [0] {
            if Instant::now() >= deadline {
                bail!("{}: the address is at {:?} after {START:?}", self.who, self.observer.holders());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn takeovers(&self, since: Instant) -> usize {
        self.observer.holdings().iter().filter(|holding| holding.from >= since).count()
    }

    fn endured(&self, since: Instant) -> Endurance {
        Endurance {
            who: self.who,
            false_takeovers: self.takeovers(since),
            two_holders_ms: milliseconds(self.observer.longest_overlap(since)),
            longest_silence_ms: milliseconds(self.silence.longest),
            advertisements: self.advertisements,
            holders: self.observer.holders().len(),
        }
    }
}

/// Runs for `length` and prints a table; an error when vipd moved its address.
pub fn run(length: Duration, json: bool) -> Result<()> {
    let mut run = Run::begin("soak")?;
    let report = endure(&run, length, !json);
    if report.is_err() {
        run.keep_logs();
    }
    let report = report?;
    if json {
        let report = serde_json::json!({"seconds": length.as_secs(), "interval": INTERVAL.0, "seen": report});
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{} s at {}, {LOOPS} busy loops for each processor", length.as_secs(), INTERVAL.0);
        println!(
            "{:<22} {:>15} {:>15} {:>19} {:>15}",
            "", "false takeovers", "two holders, ms", "longest silence, ms", "advertisements"
        );
        for pair in &report.pairs {
            println!(
                "{:<22} {:>15} {:>15} {:>19} {:>15}",
                pair.who, pair.false_takeovers, pair.two_holders_ms, pair.longest_silence_ms, pair.advertisements
            );
        }
        println!(
            "The machine took a processor from everybody for over {STALL:?} {} times; longest {} ms.",
            report.stalls, report.longest_stall_ms
        );
    }
    let false_takeovers = report.pairs.first().context("vipd comes first")?.false_takeovers;
    if false_takeovers > 0 {
        run.keep_logs();
        bail!("vipd moved its address {false_takeovers} times");
    }
    Ok(())
}

/// Lets a pair of vipd, which comes first, and the incumbents bear the load for `length`.
pub fn endure(run: &Run, length: Duration, progress: bool) -> Result<Report> {
    let network = Network::create(run)?;
    let [one, other] = &network.databases;
    let mut contestants = vec![Contestant::watch(&network, "vipd", VRID, VIP)?];
    for (name, vrid, address, _) in INCUMBENTS {
        contestants.push(Contestant::watch(&network, name, vrid, address)?);
    }
    let mut agents = Vec::new();
    for (host, peer, priority) in [(one, other, 101), (other, one, 100)] {
        let setting = AgentSetting {
            datapath: Datapath::Auto,
            advertisement_interval: INTERVAL.0.to_owned(),
            priority,
            preempt: true,
            peer: Some(peer.address),
            server_socket: None,
            more: Vec::new(),
        };
        agents.push(Agent::start(run, host, &setting)?);
    }
    let mut incumbents = Vec::new();
    for (host, priority) in [(one, 101), (other, 100)] {
        for (name, vrid, address, realtime) in INCUMBENTS {
            let addresses = vec![format!("{address}/{PREFIX}")];
            let interval = INTERVAL.1;
            let setting =
                KeepalivedSetting { name, vrid, priority, interval, addresses, realtime, ..Default::default() };
            incumbents.push(Keepalived::start(run, host, &setting)?);
        }
    }
    for contestant in &contestants {
        contestant.settle()?;
    }
    for agent in &mut agents {
        agent.status()?;
    }
    std::thread::sleep(LOOK);
    let wire = Wire::start(&network)?;
    let stalls = Stalls::watch(STALL)?;
    let since = Instant::now();
    let load = Load::start(Kind::Normal, LOOPS)?;
    let mut said = since;
    while since.elapsed() < length {
        std::thread::sleep(LOOK.min(length.saturating_sub(since.elapsed())));
        for sent in wire.take() {
            let What::Advertisement { vrid, .. } = sent.what else { continue };
            if let Some(contestant) = contestants.iter_mut().find(|contestant| contestant.vrid == vrid) {
                contestant.silence.note(sent.host, sent.at);
                contestant.advertisements += 1;
            }
        }
        if progress && said.elapsed() >= PROGRESS {
            said = Instant::now();
            let counts: Vec<String> =
                contestants.iter().map(|pair| format!("{} {}", pair.who, pair.takeovers(since))).collect();
            let stalls = stalls.seen().count;
            let counts = counts.join(", ");
            eprintln!("{:4} s, false takeovers so far: {counts}; stalls {stalls}", since.elapsed().as_secs());
        }
    }
    let pairs = contestants.iter().map(|contestant| contestant.endured(since)).collect();
    let seen = stalls.seen();
    drop(load);
    for agent in &mut agents {
        agent.status()?;
    }
    Ok(Report { pairs, stalls: seen.count, longest_stall_ms: milliseconds(seen.longest) })
}
