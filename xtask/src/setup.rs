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
/// into `.tools/` of this tree, and peers for tests are unpacked there. Nothing is done, in less than a second, when nothing is missing.
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

/// A program that is not installed but unpacked into `.tools/NAME`.
struct Peer {
    name: &'static str,
    /// What has to be there.
    program: &'static str,
    /// Of Debian; `None`: this system's.
    suite: Option<&'static str>,
    /// With the libraries that it does not find here.
    packages: &'static [&'static str],
}

const PEERS: [Peer; 2] = [
    Peer {
        name: "frr",
        program: "usr/lib/frr/vrrpd",
        suite: None,
        packages: &["frr", "libyang2", "libc-ares2", "libjson-c5"],
    },
    Peer {
        name: "keepalived",
        program: "usr/sbin/keepalived",
        suite: Some("trixie"),
        packages: &[
            "base-files",
            "keepalived",
            "libatomic1",
            "libblkid1",
            "libc6",
            "libcap2",
            "libcrypt1",
            "libffi8",
            "libglib2.0-0t64",
            "libmnl0",
            "libmount1",
            "libnftnl11",
            "libnl-3-200",
            "libnl-genl-3-200",
            "libpci3",
            "libpcre2-8-0",
            "libperl5.40",
            "libselinux1",
            "libsensors5",
            "libsnmp40t64",
            "libssl3t64",
            "libsystemd0",
            "libudev1",
            "libwrap0",
            "libzstd1",
            "zlib1g",
        ],
    },
];

impl Setup {
    pub(crate) fn run(&self) -> Result<()> {
        install_packages()?;
        install_linker()?;
        unpack_peers()?;
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

/// Unpacks the peers of tests that would bring services, users or another C library as installed packages.
fn unpack_peers() -> Result<()> {
    for Peer { name, program, suite, packages } in PEERS {
        let folder = workspace::tools().join(name);
        if folder.join(program).is_file() || command::find("apt-get").is_none() {
            continue;
        }
        let from = suite.map(|suite| format!(" of Debian {suite}")).unwrap_or_default();
        println!("missing: {}{from} (a peer in tests, unpacked into {})", packages.join(" "), folder.display());
        let downloads = workspace::tools().join(format!("{name}-packages"));
        fs::create_dir_all(&downloads).with_context(|| format!("cannot make {}", downloads.display()))?;
        if let Err(error) = download(suite, packages, &downloads) {
            fs::remove_dir_all(&downloads)?;
            if suite.is_none() {
                return Err(error);
            }
            // The tests with it say that they were skipped.
            println!("not to be had here: {error}");
            continue;
        }
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let mut files: Vec<PathBuf> = fs::read_dir(&downloads)?.flatten().map(|file| file.path()).collect();
        // The links between the folders of a root stand in the first one.
        files.sort();
        for package in files {
            if package.extension().is_some_and(|extension| extension == "deb") {
                // Later Debians have /lib as a link to /usr/lib, and so has the folder.
                let script = "dpkg-deb --fsys-tarfile \"$1\" | tar -x --keep-directory-symlink -C \"$2\"";
                command::run(Command::new("sh").args(["-ec", script, "unpack"]).arg(&package).arg(&folder))?;
            }
        }
        fs::remove_dir_all(&downloads)?;
    }
    Ok(())
}

/// Fetches packages of this system's Debian, or of another suite by lists that apt keeps apart from the system's.
fn download(suite: Option<&str>, packages: &[&str], folder: &Path) -> Result<()> {
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.args(arguments).current_dir(folder);
        if suite.is_some() {
            apt.env("APT_CONFIG", folder.join("apt.conf"));
        }
        apt
    };
    if let Some(suite) = suite {
        let root = folder.display();
        for part in ["state/lists/partial", "cache/archives/partial", "etc/preferences.d"] {
            fs::create_dir_all(folder.join(part))?;
        }
        fs::write(folder.join("status"), "")?;
        fs::write(
            folder.join("etc/sources.list"),
            format!("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {} {suite} main\n", mirror()),
        )?;
        fs::write(
            folder.join("apt.conf"),
            format!(
                "Dir::State \"{root}/state\"; Dir::State::status \"{root}/status\"; Dir::Cache \"{root}/cache\";\n\
                 Dir::Etc \"{root}/etc\"; Dir::Etc::sourceparts \"-\"; Dir::Etc::parts \"-\"; Dir::Etc::main \"-\";\n"
            ),
        )?;
        command::run(&mut apt(&["update", "-q"]))?;
    }
    let fetch = [&["download", "-q"], packages].concat();
    if command::succeeds(&mut apt(&fetch))? {
        return Ok(());
    }
    // Perhaps the lists of packages are missing or old.
    command::run(&mut apt(&["update", "-q"]))?;
    command::run(&mut apt(&fetch))
}

/// Where this system gets Debian from.
fn mirror() -> String {
    let mut files: Vec<PathBuf> = vec!["/etc/apt/sources.list".into()];
    files.extend(fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|file| file.path()));
    let texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    let words: Vec<String> =
        texts.flat_map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
    let debian =
        words.into_iter().find(|word| word.starts_with("http") && word.trim_end_matches('/').ends_with("/debian"));
    debian.unwrap_or_else(|| "http://deb.debian.org/debian".to_owned())
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
