//! `cargo xtask simulate`.

use anyhow::{Result, bail};
use clap::Args;

use crate::command;

/// The families of plans: hosts that suffer, a hostile network, sleepers, one fault alone.
const FAMILIES: u64 = 4;

/// Runs whole clusters through seeded faults, in simulated time, and checks the invariants after every event.
///
/// Each seed makes a cluster of 2 to 5 hosts (version, intervals, priorities, server, tracks) and a plan of faults. A
/// run that violates an invariant is shrunk to a short story, which is printed with the case in one line; `--case` runs
/// that line again. Needs no root. As in `cargo xtask simulate --seeds 100000`.
#[derive(Args)]
pub(crate) struct Simulate {
    /// How many runs in all
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(4..))]
    seeds: u64,
    /// The first seed, to try others than last time
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Run this one case and tell its story
    #[arg(long)]
    case: Option<String>,
}

impl Simulate {
    pub(crate) fn run(&self) -> Result<()> {
        let mut cargo = command::cargo();
        cargo.args(["test", "--release", "--package", "agent-core", "--test", "simulation", "--"]);
        cargo.args(["--nocapture", "--test-threads=1"]);
        if let Some(case) = &self.case {
            cargo.arg("one_case").env("CASE", case);
        } else {
            cargo.args(["--skip", "mutants", "--skip", "one_case"]);
            cargo.env("VIPD_SIMULATION_SEEDS", self.seeds.div_ceil(FAMILIES).to_string());
            cargo.env("VIPD_SIMULATION_FROM", self.from.to_string());
        }
        if !command::succeeds(cargo.env("RUST_BACKTRACE", "0"))? {
            bail!("an invariant is violated; the story above ends with the command that tells it again");
        }
        Ok(())
    }
}
