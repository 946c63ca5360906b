//! `cargo xtask demo`.

use anyhow::Result;
use clap::Args;

use crate::{build, lab};

/// Shows a failover: two database servers, two agents, one client that loses no row.
///
/// Takes about a minute once built. Needs root: the hosts are network namespaces, and nothing outside them is touched.
#[derive(Args)]
pub(crate) struct Demo {
    /// Print one JSON object instead of the story
    #[arg(long)]
    json: bool,
}

impl Demo {
    pub(crate) fn run(&self) -> Result<()> {
        build::set_up_and_build()?;
        let mut arguments = vec!["demo"];
        if self.json {
            arguments.push("--json");
        }
        Err(lab::replace_process(&arguments))
    }
}
