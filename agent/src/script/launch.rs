//! The child's side of a run: becomes the configured user, and then the program.
//!
//! It is another life of `vipd` itself, since all of this can hang on a file system, and a thread of the agent that hangs
//! there could not even be killed with the agent.
#![expect(unsafe_code, reason = "close_range has no wrapper in nix or std")]

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, dup2_stdin, setgid, setgroups, setsid, setuid};

use super::Account;

/// Others than the owner may write there.
const GROUP_WRITES: u32 = 0o020;
const ALL_WRITE: u32 = 0o002;
/// Whoever may write in the folder may still not replace what belongs to others.
const STICKY: u32 = 0o1000;

/// Says on its standard input, which is a pipe, why the program cannot be started; returns in that case only.
pub fn launch(account: &Account, command: &[OsString]) -> io::Result<()> {
    // It closes by itself when the program starts.
    let mut told = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    dup2_stdin(File::open("/dev/null")?)?;
    let Err(why) = become_program(account, command);
    told.write_all(why.as_bytes())
}

fn become_program(account: &Account, command: &[OsString]) -> Result<std::convert::Infallible, String> {
    let Some((name, arguments)) = command.split_first() else { return Err("there is no command".to_owned()) };
    isolate(account).map_err(|error| {
        format!("cannot be started as {}: {error} (the agent needs CAP_SETUID and CAP_SETGID for it)", account.name)
    })?;
    let program = account.program(Path::new(name))?;
    let error = Command::new(&program).arg0(name).args(arguments).exec();
    Err(format!("cannot be started as {}: {}: {error}", account.name, program.display()))
}

/// Of a session and group of its own, with nothing that belongs to the agent.
fn isolate(account: &Account) -> io::Result<()> {
    setsid()?;
    // The agent is spared when memory runs out; a script is not.
    if let Err(error) = fs::write("/proc/self/oom_score_adj", "0") {
        tracing::debug!(%error, "oom_score_adj stays");
    }
    // SAFETY: three integers, no memory is passed; the descriptors stay open until the program starts. Linux 5.11.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if account.uid != Uid::effective() {
        setgroups(&account.groups)?;
        setgid(account.gid)?;
        setuid(account.uid)?;
    }
    // A change of the user takes it back. It goes with the thread that waits for it, so with the agent.
    Ok(set_pdeathsig(Signal::SIGKILL)?)
}

impl Account {
    /// An account as the agent has found it.
    #[must_use]
    pub fn known(name: String, uid: u32, gid: u32, groups: &[u32]) -> Self {
        let groups = groups.iter().copied().map(Gid::from_raw).collect();
        Self { name, uid: Uid::from_raw(uid), gid: Gid::from_raw(gid), groups }
    }

    /// The one that the agent runs as.
    #[must_use]
    pub(crate) fn own() -> Self {
        Self { name: "the agent's user".to_owned(), uid: Uid::effective(), gid: Gid::effective(), groups: Vec::new() }
    }

    /// The program itself, where nobody but root and this user could have put another in its place.
    pub(crate) fn program(&self, path: &Path) -> Result<PathBuf, String> {
        let program =
            fs::canonicalize(path).map_err(|error| format!("cannot be started: {}: {error}", path.display()))?;
        for part in program.ancestors() {
            let shown = part.display();
            let metadata = fs::metadata(part).map_err(|error| format!("cannot be started: {shown}: {error}"))?;
            let (mode, owner) = (metadata.mode(), Uid::from_raw(metadata.uid()));
            if part == program && !metadata.is_file() {
                return Err(format!("refused: {shown} is no file"));
            }
            if ![Uid::from_raw(0), self.uid].contains(&owner) {
                return Err(format!("refused: {shown} belongs neither to root nor to {} (chown root)", self.name));
            }
            let group_writes = mode & GROUP_WRITES != 0 && metadata.gid() != 0;
            let kept = metadata.is_dir() && mode & STICKY != 0;
            if (mode & ALL_WRITE != 0 || group_writes) && !kept {
                return Err(format!("refused: others can write {shown} (chmod go-w)"));
            }
        }
        Ok(program)
    }
}
