//! A program of the administrator, with the news on its standard input.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::{Messenger, News};
use crate::script::Account;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The pause between two looks at a process.
const LOOK: Duration = Duration::from_millis(10);
/// How long a killed process is waited for.
const END: Duration = Duration::from_secs(1);

pub(super) struct Command {
    /// The program, by its absolute path, and its arguments.
    words: Vec<String>,
    deadline: Duration,
}

impl Command {
    pub(super) const fn new(words: Vec<String>, deadline: Duration) -> Self {
        Self { words, deadline }
    }
}

impl Messenger for Command {
    fn tell(&mut self, news: &News) -> Result<(), String> {
        let body = serde_json::to_vec(news).map_err(|error| error.to_string())?;
        let Some((name, arguments)) = self.words.split_first() else { return Ok(()) };
        let program = Account::own().program(Path::new(name))?;
        // What it prints goes where the agent's own messages go.
        let mut child = std::process::Command::new(program)
            .arg0(name)
            .args(arguments)
            .env_clear()
            .env("PATH", PATH)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| format!("{name}: {error}"))?;
        // It fits into the pipe; who does not want to know has closed it.
        let unread = child.stdin.take().and_then(|mut stdin| stdin.write_all(&body).err());
        let status = wait(&mut child, self.deadline)?;
        match (status, unread) {
            (Some(status), _) if status.success() => Ok(()),
            (Some(status), None) => Err(format!("{name}: {status}")),
            (Some(status), Some(error)) => Err(format!("{name}: {status}; its input: {error}")),
            (None, _) => {
                // With all that it has started.
                killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL).ok();
                let ended = wait(&mut child, END)?.is_some();
                let still = if ended { "" } else { ", and it does not end" };
                Err(format!("{name}: no end within {:?}, killed{still}", self.deadline))
            }
        }
    }
}

fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>, String> {
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(None) if begun.elapsed() < limit => sleep(LOOK),
            Ok(status) => return Ok(status),
            Err(error) => return Err(error.to_string()),
        }
    }
}
