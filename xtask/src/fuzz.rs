//! `cargo xtask fuzz`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{command, workspace};

const CARGO_FUZZ: &str = "0.13.2";
/// What `agent/tests/corpus.rs` lets into the tree.
const CORPUS_FILES: usize = 200;
const CORPUS_BYTES: u64 = 200 * 1024;
/// The longest input in octets: the commented configuration file fits.
const MAX_LENGTH: &str = "-max_len=8192";

/// Runs the fuzz targets, each for a while, and keeps what they learned in `fuzz/corpus/`.
///
/// Installs cargo-fuzz into `.tools/` when it is missing. With a nightly toolchain targets run under the address
/// sanitizer, otherwise on the stable one without it. A crash is left in `fuzz/artifacts/TARGET/`, and the command
/// that runs it again is printed.
#[derive(Args)]
pub(crate) struct Fuzz {
    /// Names of targets, as in `fuzz/fuzz_targets/`; all of them by default
    targets: Vec<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Use the stable toolchain, without the sanitizer, even where there is a nightly one
    #[arg(long)]
    stable: bool,
    /// Run the one target named with this file, and nothing else
    #[arg(long)]
    input: Option<PathBuf>,
}

impl Fuzz {
    pub(crate) fn run(&self) -> Result<()> {
        let known = targets()?;
        if let Some(unknown) = self.targets.iter().find(|name| !known.contains(name)) {
            bail!("there is no target {unknown}; there are {}", known.join(", "));
        }
        install_cargo_fuzz()?;
        let toolchain = Toolchain::find(self.stable);
        println!("toolchain: {}", toolchain.description());
        if let Some(input) = &self.input {
            let [target] = self.targets.as_slice() else { bail!("--input needs the name of one target") };
            return command::run(toolchain.cargo_fuzz("run").arg(target).arg(input));
        }
        let mut crashed = Vec::new();
        for target in if self.targets.is_empty() { &known } else { &self.targets } {
            if !fuzz(target, self.seconds, toolchain)? {
                crashed.push(target.as_str());
            }
        }
        if !crashed.is_empty() {
            bail!("found by {}; see fuzz/artifacts", crashed.join(", "));
        }
        Ok(())
    }
}

/// What the targets are compiled with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Toolchain {
    Nightly,
    Stable,
}

impl Toolchain {
    fn find(stable: bool) -> Self {
        let nightly = || command::output(Command::new("cargo").args(["+nightly", "--version"])).is_some();
        if !stable && nightly() { Self::Nightly } else { Self::Stable }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Nightly => "nightly, with the address sanitizer",
            Self::Stable => "stable, without a sanitizer",
        }
    }

    /// `cargo fuzz VERB` in this tree.
    fn cargo_fuzz(self, verb: &str) -> Command {
        let mut command = Command::new(cargo_fuzz());
        command.current_dir(workspace::root()).env("CARGO_TARGET_DIR", workspace::target().join("fuzz"));
        // The rustup proxies take it from here for the cargo and the compiler that cargo-fuzz starts.
        command.env_remove("CARGO").env_remove("RUSTC").env_remove("RUSTDOC");
        match self {
            Self::Nightly => command.env("RUSTUP_TOOLCHAIN", "nightly").arg(verb),
            // The options of the compiler that count coverage are unstable by name only.
            Self::Stable => command.env("RUSTC_BOOTSTRAP", "1").args([verb, "--sanitizer", "none"]),
        };
        command
    }
}

/// Runs one target and takes what it learned into its corpus; false when it crashed.
fn fuzz(target: &str, seconds: u32, toolchain: Toolchain) -> Result<bool> {
    let corpus = workspace::root().join("fuzz/corpus").join(target);
    // What is found goes to the first folder, so that the tree changes only by what is worth it.
    let found = workspace::target().join("fuzz/found").join(target);
    make(&found)?;
    let mut run = toolchain.cargo_fuzz("run");
    run.args([target.as_ref(), found.as_os_str(), corpus.as_os_str()]);
    run.args(["--", "-timeout=10", "-print_final_stats=1", "-verbosity=1", MAX_LENGTH]);
    run.arg(format!("-max_total_time={seconds}"));
    if !command::succeeds(&mut run)? {
        println!("{target} failed; to run what it failed with again:");
        for artifact in files(&workspace::root().join("fuzz/artifacts").join(target))? {
            println!("    cargo xtask fuzz {target} --input {}", artifact.display());
        }
        return Ok(false);
    }
    keep(target, toolchain, &corpus, &found)?;
    Ok(true)
}

/// Takes into the corpus in the tree what covers more than the named files there, the smallest first, up to its limits.
fn keep(target: &str, toolchain: Toolchain, corpus: &Path, found: &Path) -> Result<()> {
    let merged = workspace::target().join("fuzz/merged").join(target);
    if merged.exists() {
        fs::remove_dir_all(&merged).with_context(|| format!("cannot remove {}", merged.display()))?;
    }
    make(&merged)?;
    let named = files(corpus)?.into_iter().filter(|file| !is_hash(file)).collect::<Vec<_>>();
    for file in &named {
        copy(file, &merged)?;
    }
    let mut merge = toolchain.cargo_fuzz("run");
    merge.args([target.as_ref(), merged.as_os_str(), corpus.as_os_str(), found.as_os_str()]);
    command::run(merge.args(["--", "-merge=1", "-verbosity=0", MAX_LENGTH]))?;

    for file in files(corpus)?.iter().filter(|file| is_hash(file)) {
        fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))?;
    }
    let mut sized = Vec::new();
    for file in files(&merged)?.into_iter().filter(|file| is_hash(file)) {
        sized.push((length(&file)?, file));
    }
    sized.sort();
    let mut bytes = named.iter().map(|file| length(file)).sum::<Result<u64>>()?;
    let mut count = named.len();
    for (length, file) in sized {
        if count == CORPUS_FILES || bytes + length > CORPUS_BYTES {
            break;
        }
        copy(&file, corpus)?;
        (count, bytes) = (count + 1, bytes + length);
    }
    println!("{target}: its corpus has {count} files, {bytes} bytes");
    Ok(())
}

fn install_cargo_fuzz() -> Result<()> {
    if command::find("c++").is_none() {
        bail!("libFuzzer needs a C++ compiler, and there is none: run `cargo xtask setup`, or install build-essential");
    }
    let version = command::output(Command::new(cargo_fuzz()).arg("--version"));
    if version.is_some_and(|version| version.split_whitespace().any(|word| word == CARGO_FUZZ)) {
        return Ok(());
    }
    println!("missing: cargo-fuzz {CARGO_FUZZ}");
    command::run(
        command::cargo()
            .args(["install", "cargo-fuzz", "--quiet", "--locked", "--force", "--version", CARGO_FUZZ, "--root"])
            .arg(workspace::tools())
            .env("CARGO_TARGET_DIR", workspace::target().join("cargo-fuzz")),
    )
}

fn cargo_fuzz() -> PathBuf {
    workspace::tools().join("bin/cargo-fuzz")
}

/// Whether libFuzzer named the file, by the SHA-1 of its content.
fn is_hash(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

fn copy(file: &Path, folder: &Path) -> Result<()> {
    let name = file.file_name().unwrap_or_default();
    fs::copy(file, folder.join(name)).with_context(|| format!("cannot copy {}", file.display()))?;
    Ok(())
}

fn length(file: &Path) -> Result<u64> {
    Ok(file.metadata().with_context(|| format!("cannot look at {}", file.display()))?.len())
}

fn targets() -> Result<Vec<String>> {
    let mut names: Vec<String> = files(&workspace::root().join("fuzz/fuzz_targets"))?
        .iter()
        .filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}
