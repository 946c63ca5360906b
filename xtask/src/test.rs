//! `cargo xtask test`.

use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;

use crate::{build, command, package, workspace};

/// Runs every test: units, simulation, the BPF program, the lab's system tests, and the package under systemd.
///
/// Sets up and builds first. As root everything runs; without root the tests that need network namespaces or BPF say
/// that they were skipped. A name is a file of system tests in `tests/tests/` (`cargo xtask test failover`) or a part
/// of test names (`cargo xtask test skew`); with names only those run.
#[derive(Args)]
pub(crate) struct Test {
    /// Files of system tests, or parts of test names
    names: Vec<String>,
}

impl Test {
    pub(crate) fn run(&self) -> Result<()> {
        build::set_up_and_build()?;
        run(&self.names)
    }
}

/// Runs the tests of a tree that is set up and built; the last line is the test runner's.
pub(crate) fn run(names: &[String]) -> Result<()> {
    let (files, filters): (Vec<&String>, Vec<&String>) = names.iter().partition(|name| is_system_test(name));
    let mut passed = true;
    if files.is_empty() {
        let mut units = cargo_test();
        units.args(["--workspace", "--exclude", "lab", "--exclude", "agent-ebpf", "--"]).args(&filters);
        passed &= command::succeeds(&mut units)?;
    }
    if (files.is_empty() || files.iter().any(|file| *file == "systemd")) && command::is_root() {
        // What the hosts with systemd install.
        package::build_package()?;
    }
    let mut system = cargo_test();
    system.args(["--package", "lab"]);
    for file in &files {
        system.args(["--test", file]);
    }
    if files.is_empty() {
        system.args(["--lib", "--bins", "--tests"]);
    }
    // Each system test has both processors and the host's BPF file system to itself.
    system.args(["--", "--test-threads=1"]).args(&filters);
    passed &= command::succeeds(&mut system)?;
    if !passed {
        bail!("tests failed");
    }
    Ok(())
}

fn is_system_test(name: &str) -> bool {
    let tests = workspace::root().join("tests/tests");
    tests.join(format!("{name}.rs")).is_file() || tests.join(name).join("main.rs").is_file()
}

fn cargo_test() -> Command {
    let mut cargo = command::cargo();
    cargo
        .args(["test", "--no-fail-fast"])
        .env("VIPD_BIN", workspace::release_agent())
        .env("VIPD_BPF_OBJECT", workspace::bpf_object());
    cargo
}
