//! Writes the man pages and the shell completions of `vipd` into a folder: what `cargo xtask package` puts into packages.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;
use clap_complete::Shell;
use vipd::cli::Cli;

fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).context("say into which folder")?);
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    clap_mangen::generate_to(Cli::command().name("vipd"), &folder).context("cannot write the man pages")?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "vipd", &folder)
            .with_context(|| format!("cannot write the completions for {shell}"))?;
    }
    Ok(())
}
