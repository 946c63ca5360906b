//! `cargo xtask lab`.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Error, Result};
use clap::{Args, Subcommand};

use crate::{build, workspace};

/// Two database hosts to play with, in network namespaces.
///
/// `up` builds and starts them and says their names, `shell HOST` opens a shell on one, `down` removes everything.
#[derive(Args)]
pub(crate) struct Lab {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build, start both hosts with servers and agents, and leave them running
    Up,
    /// Open a shell on a host
    Shell {
        /// A name that `up` printed, such as `db1`
        host: String,
    },
    /// Stop and remove everything that `up` made
    Down,
}

impl Lab {
    pub(crate) fn run(&self) -> Result<()> {
        let arguments = match &self.verb {
            Verb::Up => {
                build::set_up_and_build()?;
                vec!["up"]
            }
            Verb::Shell { host } => vec!["shell", host],
            Verb::Down => vec!["down"],
        };
        Err(replace_process(&arguments))
    }
}

/// Becomes the binary `lab`, so that its exit code is ours; comes back only when that fails.
pub(crate) fn replace_process(arguments: &[&str]) -> Error {
    let lab = workspace::target().join("release/lab");
    let error = Command::new(&lab).args(arguments).env("VIPD_BIN", workspace::release_agent()).exec();
    Error::new(error).context(format!("cannot run {}: build it with `cargo xtask build --release`", lab.display()))
}
