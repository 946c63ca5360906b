//! The process of a script: started and waited for on a thread of its own.
#![expect(unsafe_code, reason = "what a child does before it becomes another program has no safe interface")]

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigHandler, Signal, killpg, signal};
use nix::sys::stat::Mode;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, Uid, setgid, setgroups, setsid, setuid, write};
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
    pub(super) fn start(settings: &Settings) -> io::Result<Self> {
        // Where the agent was started by somebody who ignores it, so would the agent, and no end could be waited for.
        // SAFETY: the default takes the place of the default or of being ignored; no handler is lost.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
        let group = Arc::new(Group::default());
        let (runs, todo) = mpsc::channel::<Run>();
        let (command, account) = (settings.command.clone(), settings.account.clone());
        let shared = Arc::clone(&group);
        let body = move || {
            for Run { output, result } in todo {
                let ended = shared.run(&command, &account, output);
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
    fn run(&self, command: &[String], account: &Account, output: OwnedFd) -> Result<ExitStatus, String> {
        let mut child = spawn(command, account, output)?;
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
        child.wait().map_err(|error| format!("its end is not known: {error}"))
    }
}

impl GroupState {
    fn kill(&mut self) {
        self.doomed = true;
        if let Some(leader) = self.leader {
            // A group that has ended needs no signal.
            killpg(leader, Signal::SIGKILL).ok();
        }
    }
}

fn spawn(command: &[String], account: &Account, output: OwnedFd) -> Result<Child, String> {
    let Some((name, arguments)) = command.split_first() else { return Err("there is no command".to_owned()) };
    let program = account.program(Path::new(name))?;
    let failed = |error: io::Error| format!("cannot be started as {}: {error}", account.name);
    let errors = output.try_clone().map_err(failed)?;
    let mut command = Command::new(program);
    command.arg0(name).args(arguments).env_clear().env("PATH", PATH).current_dir("/");
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    let change = (account.uid != Uid::effective()).then(|| account.clone());
    let prepare = move || {
        // Of a group and session of its own, so that all of it can be killed.
        setsid()?;
        // The agent is spared when memory runs out, a script is not.
        if let Ok(file) = open(c"/proc/self/oom_score_adj", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty()) {
            write(&file, b"0").ok();
        }
        // What the agent itself was given open is not for a script; Linux 5.11, and nothing is lost before that.
        // SAFETY: three integers, no memory is passed; the descriptors stay open until the other program runs.
        unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
        if let Some(account) = &change {
            setgroups(&account.groups)?;
            setgid(account.gid)?;
            setuid(account.uid)?;
        }
        // A change of the user takes it back. It goes with the thread that waits here, so with the agent.
        Ok(set_pdeathsig(Signal::SIGKILL)?)
    };
    // SAFETY: these are system calls on memory that was allocated before; the child allocates nothing.
    unsafe { command.pre_exec(prepare) };
    command.spawn().map_err(failed)
}
