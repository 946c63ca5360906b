//! One run of the lab: its name, its folders, and what is swept when it ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Where network namespaces have their names.
const NAMESPACES: &str = "/run/netns";
/// Sockets and pid files: a socket's path may have 107 bytes at most, so it is a short one.
const RUNTIME: &str = "/run/vipd-lab";
const BPFFS: &str = "/sys/fs/bpf";
/// The name of the run that `lab up` leaves behind.
pub const PLAY: &str = "play";

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A name that nothing else on this machine has, and the folders that go with it.
#[derive(Debug)]
pub struct Run {
    name: String,
    folder: PathBuf,
    runtime: PathBuf,
    lasting: bool,
    keep: bool,
}

impl Run {
    /// Begins a run that ends with this value; `title` names the folder of its logs.
    pub fn begin(title: &str) -> Result<Self> {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self::create(format!("{}x{number}", std::process::id()), title, false)
    }

    /// Begins the run that outlives this process.
    pub fn begin_play() -> Result<Self> {
        Self::create(PLAY.to_owned(), PLAY, true)
    }

    fn create(name: String, title: &str, lasting: bool) -> Result<Self> {
        if !is_root() {
            bail!("the lab makes network namespaces and needs root");
        }
        sweep_leftovers()?;
        let folder = lab_folder().join(title);
        remove_folder(&folder)?;
        let runtime = Path::new(RUNTIME).join(&name);
        remove_folder(&runtime)?;
        for folder in [&folder, &runtime] {
            fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        }
        Ok(Self { name, folder, runtime, lasting, keep: std::env::var_os("VIPD_LAB_KEEP").is_some() })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Logs and data of this run.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Leaves the logs when the run ends, as a panic does.
    pub fn keep_logs(&mut self) {
        self.keep = true;
    }

    /// Sockets of this run.
    pub fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// The folder for an agent's pinned BPF objects.
    pub fn pin_dir(&self, host: &str) -> PathBuf {
        Path::new(BPFFS).join(format!("vipd-{}-{host}", self.name))
    }

    /// The full name of a namespace of this run.
    pub fn namespace(&self, host: &str) -> String {
        format!("vipd-{}-{host}", self.name)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.lasting {
            return;
        }
        if let Err(error) = sweep(&self.name) {
            eprintln!("lab: {error:#}");
        }
        if self.keep || std::thread::panicking() {
            eprintln!("lab: logs are kept in {}", self.folder.display());
        } else if let Err(error) = remove_folder(&self.folder) {
            eprintln!("lab: {error:#}");
        }
    }
}

/// Whether this process may make namespaces.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The folder of all runs: `target/lab`.
pub fn lab_folder() -> PathBuf {
    target_folder().join("lab")
}

fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

pub(crate) fn workspace() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// The agent's binary: `VIPD_BIN`, or the newest build in the target folder.
pub fn agent_binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("VIPD_BIN") {
        let path = PathBuf::from(path);
        let path = path.canonicalize().with_context(|| format!("VIPD_BIN={}", path.display()))?;
        return Ok(path);
    }
    let candidates = ["release/vipd", "debug/vipd"].map(|name| target_folder().join(name));
    match candidates.iter().find(|path| path.is_file()) {
        Some(path) => Ok(path.clone()),
        None => bail!("no vipd in {}: build it with `cargo xtask build --release`", target_folder().display()),
    }
}

/// Mounts the BPF file system where it is missing, as systemd does at boot.
pub fn mount_bpffs() -> Result<()> {
    let mounts = fs::read_to_string("/proc/mounts").context("read /proc/mounts")?;
    if mounts.lines().any(|line| line.split(' ').nth(1) == Some(BPFFS)) {
        return Ok(());
    }
    command_output(Command::new("mount").args(["-t", "bpf", "bpf", BPFFS])).map(drop)
}

/// Removes what runs that were killed have left behind.
pub fn sweep_leftovers() -> Result<()> {
    for run in runs_present()? {
        let process = run.split('x').next().unwrap_or_default();
        if run != PLAY && !Path::new("/proc").join(process).exists() {
            sweep(&run)?;
        }
    }
    Ok(())
}

/// Removes what this process has built.
pub fn sweep_own() -> Result<()> {
    let own = format!("{}x", std::process::id());
    runs_present()?.iter().filter(|run| run.starts_with(&own)).try_for_each(|run| sweep(run))
}

/// The names of runs that have anything on this machine.
fn runs_present() -> Result<Vec<String>> {
    let mut runs = Vec::new();
    for folder in [NAMESPACES, BPFFS] {
        for name in names_in(Path::new(folder))? {
            let run = name.strip_prefix("vipd-").and_then(|rest| rest.split('-').next()).filter(|run| is_run(run));
            runs.extend(run.map(str::to_owned));
        }
    }
    runs.extend(names_in(Path::new(RUNTIME))?.into_iter().filter(|run| is_run(run)));
    runs.sort_unstable();
    runs.dedup();
    Ok(runs)
}

fn is_run(name: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    name == PLAY || name.split_once('x').is_some_and(|(process, count)| number(process) && number(count))
}

/// Ends every process of a run and removes its namespaces, pins and sockets.
pub fn sweep(run: &str) -> Result<()> {
    let prefix = format!("vipd-{run}-");
    let namespaces: Vec<String> =
        names_in(Path::new(NAMESPACES))?.into_iter().filter(|name| name.starts_with(&prefix)).collect();
    // First the processes of all of them, so that none takes the end of another for a fault.
    for name in &namespaces {
        for _ in 0..50 {
            let pids = command_output(Command::new("ip").args(["netns", "pids", name]))?;
            let pids: Vec<i32> = pids.lines().filter_map(|line| line.trim().parse().ok()).collect();
            if pids.is_empty() {
                break;
            }
            for pid in pids.into_iter().filter(|&pid| pid != nix::unistd::getpid().as_raw()) {
                // It may have ended in the meantime.
                kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
    for name in &namespaces {
        command_output(Command::new("ip").args(["netns", "del", name]))?;
    }
    for name in names_in(Path::new(BPFFS))?.iter().filter(|name| name.starts_with(&prefix)) {
        remove_folder(&Path::new(BPFFS).join(name))?;
    }
    remove_folder(&Path::new(RUNTIME).join(run))
}

fn names_in(folder: &Path) -> Result<Vec<String>> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("list {}", folder.display())),
    }
}

pub(crate) fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", folder.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Runs a command to its end; its error output becomes the error.
pub fn command_output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
