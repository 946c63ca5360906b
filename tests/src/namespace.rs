//! A network namespace by name.

use std::fs::File;
use std::process::Command;
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, setns};

use crate::run::command_output;

/// A network namespace; the [`Run`](crate::Run) that it belongs to removes it.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    pub fn create(name: String) -> Result<Self> {
        command_output(Command::new("ip").args(["netns", "add", &name]))?;
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// A command that will run inside; `nsenter` leaves /sys as it is, where `ip netns exec` hides the BPF file system.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path())).arg("--").arg(program);
        command
    }

    /// Runs a command inside to its end.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        command_output(self.command(program).args(arguments))
    }

    /// The processes inside, one number on each line.
    pub fn processes(&self) -> Result<String> {
        command_output(Command::new("ip").args(["netns", "pids", &self.name]))
    }

    /// Runs `ip` inside.
    pub fn ip(&self, arguments: &[&str]) -> Result<String> {
        command_output(Command::new("ip").args(["-n", &self.name]).args(arguments))
    }

    /// Runs `work` in a thread of its own inside.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<Result<T>>> {
        let path = self.path();
        let enter = move || -> Result<T> {
            let namespace = File::open(&path).with_context(|| format!("open {path}"))?;
            setns(namespace, CloneFlags::CLONE_NEWNET).with_context(|| format!("enter {path}"))?;
            Ok(work())
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(enter).context("start a thread")
    }

    fn path(&self) -> String {
        format!("/run/netns/{}", self.name)
    }
}
