//! `cargo xtask ci`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{build, command, ledger, test, workspace};

/// Runs what a change must pass: format, lints, documentation, file length, the ledger of conformance, every test.
///
/// Warnings are errors. The BPF crate is linted as any other: it compiles for the host too.
#[derive(Args)]
pub(crate) struct Ci {}

/// A file beyond this many lines holds two things.
const LINES: usize = 500;

impl Ci {
    pub(crate) fn run(&self) -> Result<()> {
        build::set_up_and_build()?;
        command::run(command::cargo().args(["fmt", "--all", "--check"]))?;
        file_length()?;
        ledger::check()?;
        command::run(with_object(&mut command::cargo()).args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]))?;
        command::run(
            with_object(&mut command::cargo())
                .args(["doc", "--workspace", "--no-deps", "--document-private-items"])
                .env("RUSTDOCFLAGS", "-D warnings"),
        )?;
        test::run(&[])
    }
}

fn with_object(command: &mut Command) -> &mut Command {
    command.env("VIPD_BPF_OBJECT", workspace::bpf_object())
}

fn file_length() -> Result<()> {
    let mut long = Vec::new();
    for member in ["agent", "agent-core", "agent-ebpf", "agent-wire", "fuzz", "tests", "xtask"] {
        for file in sources(&workspace::root().join(member))? {
            let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let lines = text.lines().count();
            if lines > LINES {
                long.push(format!("{} has {lines} lines", file.display()));
            }
        }
    }
    if !long.is_empty() {
        bail!("files beyond {LINES} lines: {}", long.join(", "));
    }
    Ok(())
}

/// Every Rust file below a folder.
pub(crate) fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            if !path.ends_with("target") {
                found.extend(sources(&path)?);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}
