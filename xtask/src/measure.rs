//! `cargo xtask bench` and `cargo xtask soak`.

use anyhow::Result;
use clap::Args;

use crate::{build, lab};

/// Measures takeovers: the same fault again and again, with the minimum, the median and the maximum of each figure.
///
/// Needs root and both processors to itself. `cargo xtask bench --help-lab` lists what can be set, as in
/// `cargo xtask bench --interval 10ms --fault node-died --rounds 20`.
#[derive(Args)]
pub(crate) struct Bench {
    /// Measure the hand-over of two hosts without a server instead, and keepalived's beside it, at an interval of 10 ms
    #[arg(long)]
    without_servers: bool,
    /// Show the options of the measurement instead
    #[arg(long)]
    help_lab: bool,
    /// Options of the measurement
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

impl Bench {
    pub(crate) fn run(&self) -> Result<()> {
        build::set_up_and_build()?;
        let mut arguments = vec![if self.without_servers { "handover" } else { "bench" }];
        arguments.extend(self.options.iter().map(String::as_str));
        if self.help_lab {
            arguments.push("--help");
        }
        Err(lab::replace_process(&arguments))
    }
}

/// Counts false takeovers at an interval of 10 ms while busy loops take every processor.
///
/// A pair of vipd and two pairs of keepalived, one of them with real-time priority, share the same two hosts. Fails
/// when vipd moved its address even once. Needs root; `cargo xtask test` runs one minute of it.
#[derive(Args)]
pub(crate) struct Soak {
    /// How many minutes
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
}

impl Soak {
    pub(crate) fn run(&self) -> Result<()> {
        build::set_up_and_build()?;
        let minutes = self.minutes.to_string();
        let mut arguments = vec!["soak", "--minutes", &minutes];
        if self.json {
            arguments.push("--json");
        }
        Err(lab::replace_process(&arguments))
    }
}
