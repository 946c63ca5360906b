//! `cargo xtask build`.

use anyhow::Result;
use clap::Args;

use crate::{build_ebpf, command, setup, workspace};

/// Builds the BPF programs, the agent with them inside, and the lab.
///
/// The agent is `target/debug/vipd`, or `target/release/vipd` with `--release`.
#[derive(Args)]
pub(crate) struct Build {
    /// Optimise, as for a package
    #[arg(long)]
    release: bool,
}

impl Build {
    pub(crate) fn run(&self) -> Result<()> {
        build(self.release)
    }
}

/// What every command that runs the agent does first.
pub(crate) fn set_up_and_build() -> Result<()> {
    setup::Setup {}.run()?;
    build(true)
}

fn build(release: bool) -> Result<()> {
    build_ebpf::build()?;
    let mut cargo = command::cargo();
    cargo.args(["build", "--package", "vipd", "--package", "lab"]);
    if release {
        cargo.arg("--release");
    }
    command::run(cargo.env("VIPD_BPF_OBJECT", workspace::bpf_object()))
}
