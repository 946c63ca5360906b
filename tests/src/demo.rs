//! The demonstration: two failovers and a failback in about a minute, told as they happen.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::Serialize;

use crate::network::VIP;
use crate::pair::{Failover, Fault, Pair, Setting};
use crate::verify::Verdict;

/// The parts of a takeover, in the order in which they happen.
const PHASES: [&str; 6] = ["detect", "fence", "drain", "open", "vip", "announce"];

/// What the demonstration came to.
#[derive(Debug, Serialize)]
struct Report {
    ok: bool,
    datapath: String,
    gate: bool,
    failovers: Vec<Failover>,
    rows: Verdict,
    seconds: f64,
}

/// Prints what happens, with the time since the start.
struct Story {
    silent: bool,
    started: Instant,
}

impl Story {
    fn tell(&self, text: &str) {
        if !self.silent {
            println!("{:5.1} s  {text}", self.started.elapsed().as_secs_f64());
        }
    }

    fn more(&self, text: &str) {
        if !self.silent {
            println!("         {text}");
        }
    }

    fn failover(&self, failover: &Failover, gate: bool) {
        let Failover { from, to, gap_ms, takeover, two_holders_ms, .. } = failover;
        self.tell(&format!("{VIP} moved from {from} to {to}; the client waited {gap_ms} ms at most for a write"));
        let phases = PHASES.iter().filter_map(|name| Some(format!("{name} {:.1}", takeover.phases_ms.get(*name)?)));
        let phases: Vec<String> = phases.collect();
        self.more(&format!("{to} says: {}; phases in ms: {}", takeover.reason, phases.join(", ")));
        if *two_holders_ms > 0.0 {
            let meaning = if gate { "; its gate, in the kernel, had closed before" } else { "" };
            self.more(&format!("{from} had the address for {two_holders_ms} ms more{meaning}"));
        }
    }
}

/// Runs the demonstration; `json` prints one object at the end and nothing else.
pub fn run(json: bool, setting: &Setting) -> Result<()> {
    let story = Story { silent: json, started: Instant::now() };
    story.tell("two database hosts, a client and a switch, each a network namespace of this machine");
    story.more("db1    10.77.0.1    MariaDB and vipd ─┐");
    story.more("db2    10.77.0.2    MariaDB and vipd ─┼─ switch    each server replicates from the other");
    story.more("client 10.77.0.10   one INSERT / 2 ms ┘");
    story.more(&format!("The client knows only {VIP}. It never tries an id twice and notes each acknowledgement."));
    let mut pair = Pair::start("demo", setting)?;
    let told = tell(&story, &mut pair);
    if told.is_err() {
        pair.run.keep_logs();
    }
    drop(pair);
    let report = Report { seconds: story.started.elapsed().as_secs_f64(), ..told? };
    story.tell("everything is removed again. Play with it yourself: cargo xtask lab up");
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    }
    Ok(())
}

fn tell(story: &Story, pair: &mut Pair) -> Result<Report> {
    let first = pair.wait_settled(Duration::from_secs(30))?;
    let names = pair.network.databases.clone().map(|host| host.name);
    let status = pair.agents[first].status()?;
    let (datapath, gate) = (status.datapath().to_owned(), status.gate());
    story.tell(&format!("both agents agree: {} serves {VIP} (datapath {datapath}); the client starts", names[first]));
    pair.start_writer()?;
    std::thread::sleep(Duration::from_secs(2));

    let mut failovers = Vec::new();
    for fault in [Fault::ServerKilled, Fault::AgentKilled, Fault::AgentStopped] {
        let active = pair.wait_settled(Duration::from_secs(30))?;
        let part = if fault == Fault::ServerKilled { "database server" } else { "agent" };
        let how = match fault {
            Fault::AgentStopped => "SIGTERM: an orderly stop",
            Fault::ServerKilled | Fault::AgentKilled => "SIGKILL",
            Fault::ServerStopped | Fault::ServerHung | Fault::LinkDown | Fault::NodeDied => fault.as_str(),
        };
        story.tell(&format!("── {how} to the {part} on {} ──", names[active]));
        let failover = pair.fail_over(fault)?;
        story.failover(&failover, gate);
        failovers.push(failover);
        std::thread::sleep(Duration::from_secs(1));
        pair.repair(fault, active)?;
        story.tell(&format!("the {part} on {} is started again", names[active]));
        let settled = pair.wait_settled(Duration::from_secs(30))?;
        story.tell(&format!("caught up: {} serves, {} stands by", names[settled], names[1 - settled]));
        std::thread::sleep(Duration::from_secs(1));
    }

    story.tell("the client stops; its record is compared with the rows of both servers");
    let rows = pair.verify_rows()?;
    let beyond = rows.rows.saturating_sub(rows.acknowledged);
    story.tell(&format!(
        "{} acknowledged writes: each exactly once on both servers, which replicate both ways without an error",
        rows.acknowledged
    ));
    if beyond > 0 {
        story.more(&format!("(rows beyond these, written without the client hearing of it: {beyond})"));
    }
    let statuses = pair.statuses()?;
    if statuses.iter().filter(|status| status.serving()).count() != 1 {
        bail!("not exactly one host serves at the end: {statuses:?}");
    }
    Ok(Report { ok: true, datapath, gate, failovers, rows, seconds: 0.0 })
}
