//! The process of a script: started and waited for on a thread of its own.
#![expect(unsafe_code, reason = "signal dispositions have no safe interface")]

use std::io::{self, PipeReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal, kill, killpg, signal};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use tokio::sync::oneshot;

use super::{Account, Settings};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One run that is asked for.
#[derive(Debug)]
pub(super) struct Run {
    /// Where its output goes.
    pub(super) output: OwnedFd,
    /// How it ended, or why it was not started.
    pub(super) result: oneshot::Sender<Result<ExitStatus, String>>,
}

/// Runs one script, one run at a time.
#[derive(Debug)]
pub(super) struct Runner {
    runs: mpsc::Sender<Run>,
    group: Arc<Group>,
}

/// The processes of a run.
#[derive(Debug, Default)]
struct Group(Mutex<GroupState>);

#[derive(Debug, Default)]
struct GroupState {
    /// A run was asked for and has not ended.
    busy: bool,
    /// The first process and number of the group; it is not reaped while it stands here.
    leader: Option<Pid>,
    /// What runs, or is about to, is to be killed.
    doomed: bool,
    /// Nothing is started any more.
    closed: bool,
}

impl Runner {
    pub(super) fn start(settings: &Settings, launcher: &Path) -> io::Result<Self> {
        // Where the agent was started by somebody who ignores it, so would the agent, and no end could be waited for.
        // SAFETY: the default takes the place of the default or of being ignored; no handler is lost.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
        let group = Arc::new(Group::default());
        let (runs, todo) = mpsc::channel::<Run>();
        let launcher = launcher.to_owned();
        let (command, account) = (settings.command.clone(), settings.account.clone());
        let shared = Arc::clone(&group);
        let body = move || {
            for Run { output, result } in todo {
                let ended = shared.run(&launcher, &command, &account, output);
                shared.lock().busy = false;
                // Nobody waits any more where the agent ends.
                drop(result.send(ended));
            }
        };
        // The name of a thread has 15 bytes.
        thread::Builder::new().name("vipd-script".to_owned()).spawn(body)?;
        Ok(Self { runs, group })
    }

    /// Asks for a run; the one before it has ended.
    pub(super) fn begin(&self, run: Run) -> io::Result<()> {
        let mut state = self.group.lock();
        if state.closed {
            return Err(io::Error::other("the agent ends"));
        }
        (state.busy, state.doomed) = (true, false);
        self.runs.send(run).map_err(|_| io::Error::other("its thread has ended"))
    }

    /// Kills the run, now or as soon as it has a process; the rest is its thread's.
    pub(super) fn kill(&self) {
        self.group.lock().kill();
    }

    /// As [`Self::kill`], and nothing is started any more.
    pub(super) fn close(&self) {
        let mut state = self.group.lock();
        state.closed = true;
        state.kill();
    }

    pub(super) fn is_busy(&self) -> bool {
        self.group.lock().busy
    }

    pub(super) fn pid(&self) -> Option<Pid> {
        self.group.lock().leader
    }
}

impl Group {
    fn lock(&self) -> MutexGuard<'_, GroupState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the program and waits until it has ended, however long that takes.
    fn run(
        &self,
        launcher: &Path,
        command: &[String],
        account: &Account,
        output: OwnedFd,
    ) -> Result<ExitStatus, String> {
        let failed = |error: io::Error| format!("cannot be started: {error}");
        let (mut child, mut refusal) = spawn(launcher, command, account, output).map_err(failed)?;
        let leader = Pid::from_raw(child.id().cast_signed());
        {
            let mut state = self.lock();
            state.leader = Some(leader);
            if state.doomed {
                state.kill();
            }
        }
        // As long as it is not reaped its number belongs to nobody else.
        while waitid(Id::Pid(leader), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR) {}
        let mut state = self.lock();
        // What it has left behind ends with it.
        state.kill();
        state.leader = None;
        let status = child.wait().map_err(|error| format!("its end is not known: {error}"))?;
        drop(state);
        let mut why = String::new();
        refusal.read_to_string(&mut why).map_err(|error| format!("its end is not known: {error}"))?;
        if why.is_empty() { Ok(status) } else { Err(why) }
    }
}

impl GroupState {
    fn kill(&mut self) {
        self.doomed = true;
        if let Some(leader) = self.leader {
            // One that has ended needs no signal, and a young one has no group yet.
            killpg(leader, Signal::SIGKILL).ok();
            kill(leader, Signal::SIGKILL).ok();
        }
    }
}

/// Another life of this program, which becomes the script; and where it tells why it could not.
fn spawn(launcher: &Path, command: &[String], account: &Account, output: OwnedFd) -> io::Result<(Child, PipeReader)> {
    let groups: Vec<String> = account.groups.iter().map(ToString::to_string).collect();
    let (refusal, told) = io::pipe()?;
    let errors = output.try_clone()?;
    let mut child = Command::new(launcher);
    child.arg0("vipd").arg("run-script").args(["--name", &account.name, "--groups", &groups.join(",")]);
    child.args(["--uid", &account.uid.to_string(), "--gid", &account.gid.to_string(), "--"]).args(command);
    child.env_clear().env("PATH", PATH).current_dir("/").stdin(told).stdout(output).stderr(errors);
    Ok((child.spawn()?, refusal))
}
