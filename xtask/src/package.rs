//! `cargo xtask package`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{build, command, workspace};

const CARGO_DEB: &str = "3.8.0";

/// Builds what can be installed: a Debian package in `target/debian/`, and a tarball of the same files beside it.
///
/// Both hold the agent with its BPF programs, the systemd unit, the man pages, completions for bash, zsh and fish, the
/// documents and a commented configuration. Without the BPF programs nothing is built. Installs cargo-deb into
/// `.tools/` when it is missing.
///
/// `apt install ./target/debian/vipd_*.deb` neither enables nor starts the service, and an upgrade leaves a running
/// agent alone: the address moves when somebody restarts it, not before. The tarball is for other systems:
/// `tar -C / -xzf target/debian/vipd-*.tar.gz`.
#[derive(Args)]
pub(crate) struct Package {}

impl Package {
    pub(crate) fn run(&self) -> Result<()> {
        build::set_up_and_build()?;
        let package = build_package()?;
        let tarball = build_tarball(&package)?;
        for file in [&package, &tarball] {
            println!("{} ({} bytes)", file.display(), fs::metadata(file)?.len());
        }
        Ok(())
    }
}

/// Packs the release build; the agent has its BPF programs inside, or the build before had failed.
pub(crate) fn build_package() -> Result<PathBuf> {
    install_cargo_deb()?;
    let pages = workspace::target().join("release/pages");
    if pages.is_dir() {
        // A command that was renamed leaves no page behind.
        fs::remove_dir_all(&pages).with_context(|| format!("cannot empty {}", pages.display()))?;
    }
    let object = workspace::bpf_object();
    command::run(
        command::cargo()
            .args(["run", "--quiet", "--release", "--package", "vipd", "--example", "pages"])
            .arg(&pages)
            .env("VIPD_BPF_OBJECT", &object),
    )?;
    let manuals = fs::read_dir(&pages).with_context(|| format!("cannot read {}", pages.display()))?;
    let manuals =
        manuals.flatten().map(|page| page.path()).filter(|page| page.extension().is_some_and(|end| end == "1"));
    command::run(Command::new("gzip").args(["--best", "--no-name"]).args(manuals))?;
    let folder = workspace::target().join("debian");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for old in packages(&folder)? {
        fs::remove_file(&old).with_context(|| format!("cannot remove {}", old.display()))?;
    }
    // As a program of its own: `cargo deb` would look for it in the administrator's PATH.
    command::run(
        Command::new(workspace::tools().join("bin/cargo-deb"))
            .args(["deb", "--package", "vipd", "--no-build", "--strip", "--quiet", "--output"])
            .arg(&folder)
            .current_dir(workspace::root())
            .env("VIPD_BPF_OBJECT", object),
    )?;
    match packages(&folder)?.as_slice() {
        [package] => Ok(package.clone()),
        found => bail!("cargo-deb left {} packages in {}", found.len(), folder.display()),
    }
}

/// The files of the package, for systems without dpkg.
fn build_tarball(package: &Path) -> Result<PathBuf> {
    // vipd_0.1.0-1_amd64.deb
    let name = package.file_stem().context("the package has a name")?.to_string_lossy().replace('_', "-");
    let tarball = package.with_file_name(format!("{name}.tar.gz"));
    let file = fs::File::create(&tarball).with_context(|| format!("cannot write {}", tarball.display()))?;
    let mut unpack = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .context("dpkg-deb")?;
    let files = unpack.stdout.take().context("dpkg-deb has an output")?;
    let packed =
        Command::new("gzip").args(["--best", "--no-name"]).stdin(files).stdout(file).status().context("gzip")?;
    if !(unpack.wait()?.success() && packed.success()) {
        bail!("cannot write {}", tarball.display());
    }
    Ok(tarball)
}

fn packages(folder: &Path) -> Result<Vec<PathBuf>> {
    let files = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let paths: Vec<PathBuf> = files.map(|file| Ok(file?.path())).collect::<Result<_>>()?;
    Ok(paths.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "deb")).collect())
}

fn install_cargo_deb() -> Result<()> {
    let program = workspace::tools().join("bin/cargo-deb");
    let version = command::output(Command::new(&program).arg("--version"));
    if version.is_some_and(|version| version.split_whitespace().any(|word| word == CARGO_DEB)) {
        return Ok(());
    }
    println!("missing: cargo-deb {CARGO_DEB}");
    command::run(
        command::cargo()
            .args(["install", "cargo-deb", "--quiet", "--force", "--locked", "--version", CARGO_DEB, "--root"])
            .arg(workspace::tools())
            .env("CARGO_TARGET_DIR", workspace::target().join("cargo-deb")),
    )
}
