//! `cargo xtask build-ebpf`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::compiler::Compiler;
use crate::{command, setup, workspace};

const TARGET: &str = "bpfel-unknown-none";

/// Builds the BPF programs into `target/bpf/vipd.bpf.o`.
///
/// The next build of the agent embeds that file. Line information stays in it (BTF), so `bpftool prog dump xlated`
/// shows Rust lines and `bpftool map dump` shows typed values.
#[derive(Args)]
pub(crate) struct BuildEbpf {
    /// Check the types only, without writing the object
    #[arg(long)]
    check: bool,
    /// Let the programs write a line per packet to the agent's log at level debug (slower)
    #[arg(long)]
    log: bool,
}

impl BuildEbpf {
    pub(crate) fn run(&self) -> Result<()> {
        if self.check { compile("check", self.log) } else { write(self.log) }
    }
}

/// Writes the object that the agent embeds.
pub(crate) fn build() -> Result<()> {
    write(false)
}

fn write(log: bool) -> Result<()> {
    compile("build", log)?;
    let built = target().join(TARGET).join("release/vipd-ebpf");
    let object = workspace::bpf_object();
    let folder = object.parent().context("the object has a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let fresh = object.with_extension("o.new");
    fs::copy(&built, &fresh).with_context(|| format!("cannot copy {}", built.display()))?;
    strip(&fresh)?;
    // An unchanged object keeps its time stamp, and the agent is not built again.
    if fs::read(&fresh).ok() == fs::read(&object).ok() {
        fs::remove_file(&fresh)?;
    } else {
        fs::rename(&fresh, &object)?;
    }
    eprintln!("{} ({} bytes)", object.display(), fs::metadata(&object)?.len());
    Ok(())
}

fn target() -> PathBuf {
    workspace::target().join("ebpf")
}

fn compile(verb: &str, log: bool) -> Result<()> {
    let Some(compiler) = Compiler::find() else {
        bail!("no compiler with the sources of `core`: run `cargo xtask setup`");
    };
    let linker = setup::linker();
    if !linker.is_file() {
        bail!("{} is missing: run `cargo xtask setup`", linker.display());
    }
    // `--btf` and full debug information: without them the loader refuses the maps.
    let flags = format!("-C linker={} -C link-arg=--btf -C debuginfo=2", linker.display());
    let mut cargo = command::cargo();
    cargo.args([verb, "--quiet", "--package", "agent-ebpf", "--release"]);
    if log {
        cargo.args(["--features", "log"]);
    }
    command::run(
        cargo
            .args(["--target", TARGET, "-Z", "build-std=core", "--target-dir"])
            .arg(target())
            .env("RUSTC", &compiler.rustc)
            .env("RUSTC_BOOTSTRAP", "1")
            .env_remove("RUSTC_WRAPPER")
            .env_remove("RUSTC_WORKSPACE_WRAPPER")
            .env("RUSTFLAGS", flags)
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "2")
            .env("CARGO_PROFILE_RELEASE_LTO", "true")
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3")
            .env("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    )
}

/// Takes DWARF out (it is four fifths of the file) and leaves BTF.
fn strip(object: &Path) -> Result<()> {
    match ["llvm-strip-22", "llvm-strip"].into_iter().find_map(command::find) {
        Some(strip) => command::run(Command::new(strip).arg("-g").arg(object)),
        None => Ok(()),
    }
}
