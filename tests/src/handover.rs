//! The hand-over between two hosts without a server, by vipd and by keepalived: from priority 0 to the announcement.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use nix::sys::signal::Signal;

use crate::agent::{Agent, AgentSetting, Datapath, VRID};
use crate::bench::spread;
use crate::keepalived::{Keepalived, KeepalivedSetting};
use crate::network::{Network, PREFIX, VIP};
use crate::observer::Observer;
use crate::pair::milliseconds;
use crate::run::Run;
use crate::wire::{self, Wire};

/// The virtual router of keepalived, and its address.
const INCUMBENT: (u8, Ipv4Addr) = (52, Ipv4Addr::new(10, 77, 0, 152));
/// The interval as vipd and as keepalived write it.
const INTERVAL: (&str, &str) = ("10ms", "0.01");
/// How long a start or a hand-over may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a pair is left alone before the next round.
const SETTLE: Duration = Duration::from_millis(500);

/// One of the two daemons of a pair.
trait Daemon {
    /// SIGTERM, and the wait for its end.
    fn stop(&mut self) -> Result<()>;
    fn start_again(&mut self) -> Result<()>;
}

impl Daemon for Agent {
    fn stop(&mut self) -> Result<()> {
        self.signal(Signal::SIGTERM)?;
        self.wait_end(PATIENCE)?;
        Ok(())
    }

    fn start_again(&mut self) -> Result<()> {
        self.restart()?;
        let deadline = Instant::now() + PATIENCE;
        // Until it listens it gives no answer.
        while !self.status().is_ok_and(|status| status.state() == "backup") {
            if Instant::now() >= deadline {
                bail!("the agent is no Backup after {PATIENCE:?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Daemon for Keepalived {
    fn stop(&mut self) -> Result<()> {
        Self::stop(self)
    }

    fn start_again(&mut self) -> Result<()> {
        self.restart()?;
        // It answers no question; this is ten times what it needs.
        std::thread::sleep(Duration::from_secs(1));
        Ok(())
    }
}

/// Hands over `rounds` times, to and fro, and prints a table.
pub fn run(rounds: usize, json: bool) -> Result<()> {
    let run = Run::begin("handover")?;
    let network = Network::create(&run)?;
    let [one, other] = &network.databases;
    let agent = |host, peer| {
        let setting = AgentSetting {
            datapath: Datapath::Auto,
            advertisement_interval: INTERVAL.0.to_owned(),
            priority: 100,
            preempt: false,
            peer: Some(peer),
            server_socket: None,
            more: Vec::new(),
        };
        Agent::start(&run, host, &setting)
    };
    let agents = [agent(one, other.address)?, agent(other, one.address)?];
    let vipd = hand_over(&network, agents, (VRID, VIP), rounds)?;
    let (vrid, address) = INCUMBENT;
    let incumbent = |host, peer| {
        let setting = KeepalivedSetting {
            vrid,
            interval: INTERVAL.1,
            preempt: false,
            peer: Some(peer),
            addresses: vec![format!("{address}/{PREFIX}")],
            ..Default::default()
        };
        Keepalived::start(&run, host, &setting)
    };
    let incumbents = [incumbent(one, other.address)?, incumbent(other, one.address)?];
    let keepalived = hand_over(&network, incumbents, INCUMBENT, rounds)?;
    if json {
        let report = serde_json::json!({"interval": INTERVAL.0, "vipd_ms": vipd, "keepalived_ms": keepalived});
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        let title = format!("hand-over without a server at {}, {rounds} rounds", INTERVAL.0);
        println!("{title:<50} {:>8} {:>8} {:>8}", "min", "median", "max");
        for (who, lengths) in [("vipd", vipd), ("keepalived", keepalived)] {
            let name = format!("{who}: priority 0 to announcement, ms");
            println!("  {name:<48} {}", spread(lengths));
        }
    }
    Ok(())
}

/// Stops whoever holds the address, again and again; milliseconds from its resignation to the other's announcement.
fn hand_over<D: Daemon>(
    network: &Network,
    mut pair: [D; 2],
    (vrid, address): (u8, Ipv4Addr),
    rounds: usize,
) -> Result<Vec<f64>> {
    let observer = Observer::start(&network.databases, address)?;
    let wire = Wire::start(network)?;
    let mut lengths = Vec::new();
    for _ in 0..rounds {
        let from = holder(&observer, address)?;
        let to = 1 - from;
        std::thread::sleep(SETTLE);
        let since = Instant::now();
        pair[from].stop()?;
        let mut seen = wire.take();
        let announced = loop {
            if let Some(announced) = wire::first_announcement(&seen, to, address, since) {
                break announced;
            }
            if since.elapsed() > PATIENCE {
                bail!("{address} was not announced within {PATIENCE:?}");
            }
            std::thread::sleep(Duration::from_millis(10));
            seen.extend(wire.take());
        };
        let Some(resigned) = wire::first_resignation(&seen, from, vrid, since) else {
            bail!("the router {vrid} was stopped and did not resign");
        };
        lengths.push(milliseconds(announced.saturating_duration_since(resigned)));
        pair[from].start_again()?;
    }
    Ok(lengths)
}

/// The only host that holds the address.
fn holder(observer: &Observer, address: Ipv4Addr) -> Result<usize> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let [holder] = observer.holders()[..] {
            return Ok(holder);
        }
        if Instant::now() >= deadline {
            bail!("{address} is at {:?} after {PATIENCE:?}", observer.holders());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
