//! A process that ends with its value.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill};
use nix::unistd::Pid;

/// A child process with its output in a file; killed and reaped on drop unless it is released.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
    lasting: bool,
}

impl Process {
    /// Starts `command`; what it prints is appended to `log`.
    pub fn spawn(mut command: Command, log: &Path) -> Result<Self> {
        let output = File::options().create(true).append(true).open(log);
        let output = output.with_context(|| format!("open {}", log.display()))?;
        let errors = output.try_clone().context("duplicate a log file")?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        // A child inherits the mask, and one that cannot see SIGTERM cannot be stopped in order.
        let mask = SigSet::empty().thread_swap_mask(SigmaskHow::SIG_SETMASK).context("clear the signal mask")?;
        let child = command.spawn();
        mask.thread_set_mask().context("restore the signal mask")?;
        let child = child.with_context(|| format!("start {command:?}"))?;
        Ok(Self { child, log: log.to_owned(), lasting: false })
    }

    pub fn pid(&self) -> Pid {
        // A pid fits: the kernel's own type is signed.
        Pid::from_raw(self.child.id().cast_signed())
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Lets the process outlive this value.
    pub fn release(&mut self) {
        self.lasting = true;
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(self.pid(), signal).with_context(|| format!("send {signal} to {}", self.pid()))
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("wait for a child")
    }

    /// Waits for its end; `None` when it still runs at the deadline.
    pub fn wait(&mut self, timeout: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.lasting || matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("lab: end process {}: {error}", self.child.id());
        }
    }
}
