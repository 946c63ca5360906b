//! `lab`: the demonstration, measurements, and a pair of hosts to play with.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use lab::pair::{Fault, Setting};
use lab::{Datapath, bench, demo, handover, play, run, soak};
use nix::sys::signal::{SigSet, Signal};

/// Two database hosts in network namespaces, with real servers and agents.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show a failover in about a minute: a server killed, an agent killed, the client's gaps, all rows checked.
    Demo {
        /// Print one JSON object at the end instead of the story.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        pair: PairOptions,
    },
    /// Measure the client's gap and the phases of the takeover, the same fault again and again.
    Bench {
        /// How often each fault happens.
        #[arg(long, default_value_t = 10)]
        rounds: usize,
        /// Which faults; all but the slow ones when left out.
        #[arg(long, value_enum, value_delimiter = ',', default_values_t = [
            Fault::ServerKilled, Fault::AgentStopped, Fault::LinkDown,
        ])]
        fault: Vec<Fault>,
        /// Print every round as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        pair: PairOptions,
    },
    /// Measure the hand-over between two hosts without a server, of vipd and of keepalived, at an interval of 10 ms.
    Handover {
        /// How often each pair hands over.
        #[arg(long, default_value_t = 20)]
        rounds: usize,
        /// Print every round as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Count false takeovers of vipd and of keepalived beside it at short intervals on hogged processors.
    Soak {
        /// How many minutes.
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=1440))]
        minutes: u64,
        /// Print one JSON object at the end instead of the table.
        #[arg(long)]
        json: bool,
    },
    /// Bring two hosts up and leave them running.
    Up {
        #[command(flatten)]
        pair: PairOptions,
    },
    /// Open a shell on a host that `up` left running: db1, db2 or client.
    Shell { host: String },
    /// Take down what `up` left running.
    Down,
}

#[derive(Debug, Args)]
struct PairOptions {
    /// How advertisements are received.
    #[arg(long, value_enum, default_value = "auto")]
    datapath: Datapath,
    /// The time between two advertisements.
    #[arg(long, default_value = "100ms")]
    interval: String,
    /// Advertise by multicast instead of to the peer's address.
    #[arg(long)]
    multicast: bool,
}

impl PairOptions {
    fn setting(&self) -> Setting {
        Setting {
            datapath: self.datapath,
            advertisement_interval: self.interval.clone(),
            unicast: !self.multicast,
            ..Setting::default()
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match execute(&cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: &Command) -> Result<()> {
    if !run::is_root() {
        bail!("this makes network namespaces and needs root: run it with sudo");
    }
    match command {
        Command::Demo { json, pair } => {
            clean_up_when_interrupted()?;
            demo::run(*json, &pair.setting())
        }
        Command::Bench { rounds, fault, json, pair } => {
            clean_up_when_interrupted()?;
            bench::run(fault, *rounds, &pair.setting(), *json)
        }
        Command::Handover { rounds, json } => {
            clean_up_when_interrupted()?;
            handover::run(*rounds, *json)
        }
        Command::Soak { minutes, json } => {
            clean_up_when_interrupted()?;
            soak::run(Duration::from_secs(minutes * 60), *json)
        }
        Command::Up { pair } => play::up(&pair.setting()),
        Command::Shell { host } => play::shell(host),
        Command::Down => play::down(),
    }
}

/// Leaves nothing behind after Ctrl-C: a thread waits for the signal that all others block.
fn clean_up_when_interrupted() -> Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.thread_block()?;
    std::thread::spawn(move || {
        if let Ok(signal) = signals.wait() {
            eprintln!("lab: {signal}: cleaning up");
            if let Err(error) = run::sweep_own() {
                eprintln!("lab: {error:#}");
            }
            std::process::exit(130);
        }
    });
    Ok(())
}
