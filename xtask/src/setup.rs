//! `cargo xtask setup`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::compiler::{self, Compiler};
use crate::{command, workspace};

const BPF_LINKER: &str = "0.13.0";

/// Installs what is missing to build, test and show vipd, and says what it installs.
///
/// Debian packages need root; without it the missing ones are named and the rest goes on. The BPF linker is built
/// into `.tools/` of this tree, and FRR is unpacked there. Nothing is done, in less than a second, when nothing is missing.
#[derive(Args)]
pub(crate) struct Setup {}

/// Debian packages and what they are for.
const PACKAGES: [(&str, &[&str]); 5] = [
    ("the BPF linker", &["llvm-22-dev", "libpolly-22-dev", "zlib1g-dev", "libzstd-dev", "build-essential"]),
    ("hosts in network namespaces", &["iproute2", "ethtool", "nftables", "procps", "util-linux"]),
    ("looking at packets and programs", &["tcpdump", "bpftool"]),
    ("hosts with systemd", &["debootstrap", "systemd-container"]),
    ("real servers and peers", &["mariadb-server", "keepalived"]),
];

/// FRR with the libraries that nothing else here brings.
const FRR: [&str; 4] = ["frr", "libyang2", "libc-ares2", "libjson-c5"];

impl Setup {
    pub(crate) fn run(&self) -> Result<()> {
        install_packages()?;
        install_linker()?;
        unpack_frr()?;
        match Compiler::find() {
            Some(found) => println!("compiler of the BPF object: {}", found.description),
            None => println!("no compiler for the BPF object: the agent will be built with the datapath `socket` only"),
        }
        Ok(())
    }
}

/// Where `setup` puts the BPF linker.
pub(crate) fn linker() -> PathBuf {
    workspace::tools().join("bin/bpf-linker")
}

fn install_packages() -> Result<()> {
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    if Compiler::find().is_none() {
        wanted.extend(compiler::PACKAGES.map(|package| ("the BPF object", package)));
    }
    wanted.extend(PACKAGES.iter().flat_map(|(purpose, names)| names.iter().map(move |name| (*purpose, *name))));

    if command::find("dpkg-query").is_none() {
        println!("not a Debian system; see that these are there: {}", names(&wanted));
        return Ok(());
    }
    let installed = installed(&wanted);
    wanted.retain(|(_, package)| !installed.iter().any(|name| name == package));
    if wanted.is_empty() {
        return Ok(());
    }
    for (purpose, package) in &wanted {
        println!("missing: {package} ({purpose})");
    }
    if !command::is_root() {
        println!("not root: run `apt-get install --no-install-recommends {}` yourself", names(&wanted));
        return Ok(());
    }
    let _quiet = ServicesStayOff::new()?;
    command::run(Command::new("apt-get").args(["update", "-q"]))?;
    command::run(
        Command::new("apt-get")
            .args(["install", "-q", "-y", "--no-install-recommends"])
            .args(wanted.iter().map(|(_, package)| package))
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

/// Builds the BPF linker unless the right one is there.
fn install_linker() -> Result<()> {
    let version = command::output(Command::new(linker()).arg("--version"));
    if version.is_some_and(|version| version.split_whitespace().any(|word| word == BPF_LINKER)) {
        return Ok(());
    }
    let llvm = format!("/usr/lib/llvm-{}", compiler::LLVM);
    if !Path::new(&llvm).join("include/llvm-c").is_dir() {
        println!("no BPF linker: {llvm} is missing");
        return Ok(());
    }
    println!("missing: bpf-linker {BPF_LINKER}");
    let feature = format!("llvm-{}", compiler::LLVM);
    command::run(
        command::cargo()
            .args(["install", "bpf-linker", "--quiet", "--force", "--version", BPF_LINKER, "--no-default-features"])
            .args(["--features", &feature, "--root"])
            .arg(workspace::tools())
            .env("LLVM_PREFIX", llvm)
            .env("CARGO_TARGET_DIR", workspace::target().join("bpf-linker")),
    )?;
    if !linker().is_file() {
        bail!("cargo install left no {}", linker().display());
    }
    Ok(())
}

/// FRR's VRRP router is a peer in tests; installed as a package it would bring services and users.
fn unpack_frr() -> Result<()> {
    let folder = workspace::tools().join("frr");
    if folder.join("usr/lib/frr/vrrpd").is_file() || command::find("apt-get").is_none() {
        return Ok(());
    }
    println!("missing: {} (a peer in tests, unpacked into {})", FRR.join(" "), folder.display());
    let packages = folder.join("packages");
    fs::create_dir_all(&packages).with_context(|| format!("cannot make {}", packages.display()))?;
    let download =
        || command::succeeds(Command::new("apt-get").args(["download", "-q"]).args(FRR).current_dir(&packages));
    if !download()? {
        // Perhaps the lists of packages are missing or old.
        command::run(Command::new("apt-get").args(["update", "-q"]))?;
        if !download()? {
            bail!("cannot download {}", FRR.join(" "));
        }
    }
    for package in fs::read_dir(&packages)? {
        command::run(Command::new("dpkg-deb").arg("--extract").arg(package?.path()).arg(&folder))?;
    }
    Ok(fs::remove_dir_all(&packages)?)
}

fn installed(wanted: &[(&str, &str)]) -> Vec<String> {
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${db:Status-Status} ${Package}\n"]).args(wanted.iter().map(|(_, package)| package));
    // It exits with 1 when any of them is unknown, and still prints the others.
    let text = query.output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().filter_map(|line| line.strip_prefix("installed ")).map(str::to_owned).collect()
}

fn names(wanted: &[(&str, &str)]) -> String {
    wanted.iter().map(|(_, package)| *package).collect::<Vec<_>>().join(" ")
}

/// While this lives, installing a package starts no service: the lab starts its own servers.
struct ServicesStayOff(Option<PathBuf>);

impl ServicesStayOff {
    fn new() -> Result<Self> {
        let policy = PathBuf::from("/usr/sbin/policy-rc.d");
        if policy.exists() {
            return Ok(Self(None));
        }
        fs::write(&policy, "#!/bin/sh\nexit 101\n").with_context(|| format!("cannot write {}", policy.display()))?;
        fs::set_permissions(&policy, fs::Permissions::from_mode(0o755))?;
        Ok(Self(Some(policy)))
    }
}

impl Drop for ServicesStayOff {
    fn drop(&mut self) {
        if let Some(policy) = &self.0
            && let Err(error) = fs::remove_file(policy)
        {
            eprintln!("cannot remove {}: {error}", policy.display());
        }
    }
}
