//! keepalived, as people run it today.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::network::{Host, INTERFACE};
use crate::process::Process;
use crate::run::{Run, workspace};

/// The settings of one `vrrp_instance`.
#[derive(Clone, Debug)]
pub struct KeepalivedSetting {
    /// Tells several on one host apart.
    pub name: &'static str,
    pub version: u8,
    pub vrid: u8,
    pub priority: u8,
    pub preempt: bool,
    /// The only other router; `None` for multicast.
    pub peer: Option<Ipv4Addr>,
    /// Seconds, as keepalived writes them.
    pub interval: &'static str,
    /// How many seconds it only listens at first.
    pub startup_delay: u32,
    /// With their prefix.
    pub addresses: Vec<String>,
    /// Of authentication type PASS.
    pub password: Option<&'static str>,
    /// Whether it asks for real-time priority; then its limit on CPU time is raised, without which the kernel kills it.
    pub realtime: bool,
    /// Whether it is the one of the next Debian, unpacked beside the lab, and not the one of this system.
    pub newer: bool,
}

impl Default for KeepalivedSetting {
    fn default() -> Self {
        Self {
            name: "keepalived",
            version: 3,
            vrid: crate::agent::VRID,
            priority: 100,
            preempt: true,
            peer: None,
            interval: "0.1",
            startup_delay: 0,
            addresses: Vec::new(),
            password: None,
            realtime: false,
            newer: false,
        }
    }
}

/// Whether the keepalived of the next Debian is there; where it is not, that is said past the capture of the test runner.
pub fn newer_is_there() -> bool {
    let there = newer_root().join("usr/sbin/keepalived").is_file();
    if !there {
        writeln!(std::io::stderr(), "SKIPPED: no keepalived in {}", newer_root().display()).ok();
    }
    there
}

fn newer_root() -> PathBuf {
    workspace().join(".tools/keepalived")
}

/// `keepalived` on one host.
#[derive(Debug)]
pub struct Keepalived {
    host: Host,
    folder: PathBuf,
    name: &'static str,
    newer: bool,
    process: Option<Process>,
}

impl Keepalived {
    pub fn start(run: &Run, host: &Host, setting: &KeepalivedSetting) -> Result<Self> {
        let folder = run.folder().join(&host.name);
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let mut keepalived =
            Self { host: host.clone(), folder, name: setting.name, newer: setting.newer, process: None };
        let configuration = configure(host, setting);
        fs::write(keepalived.file("conf"), configuration).context("write keepalived's configuration")?;
        keepalived.restart()?;
        Ok(keepalived)
    }

    /// Starts it again after its end.
    pub fn restart(&mut self) -> Result<()> {
        let mut command = if self.newer { self.newer_command()? } else { self.host.namespace.command("keepalived") };
        command.args(["--dont-fork", "--log-console", "--log-detail", "--vrrp", "--use-file"]).arg(self.file("conf"));
        command.arg("--pid").arg(self.file("pid")).arg("--vrrp_pid").arg(self.file("vrrp.pid"));
        self.process = Some(Process::spawn(command, &self.file("log"))?);
        Ok(())
    }

    /// It wants the C library of its own Debian, and looks for itself in `/proc`: it runs in a root folder, with mounts that
    /// end with it.
    fn newer_command(&self) -> Result<Command> {
        let root = newer_root();
        if !root.join("usr/sbin/keepalived").is_file() {
            bail!("no keepalived in {}: run `cargo xtask setup`", root.display());
        }
        let (root, folder) = (root.display(), self.folder.display());
        let script = format!(
            "for tree in proc sys dev; do mkdir -p {root}/$tree; mount --rbind /$tree {root}/$tree; done\n\
             mkdir -p {root}/{folder} {root}/run {root}/tmp; mount --bind {folder} {root}/{folder}\n\
             exec chroot {root} /usr/sbin/keepalived \"$@\""
        );
        let mut command = self.host.namespace.command("unshare");
        command.args(["--mount", "--", "sh", "-ec", &script, "keepalived"]);
        Ok(command)
    }

    /// SIGTERM, and the wait for its end.
    pub fn stop(&mut self) -> Result<()> {
        let process = self.process.as_mut().context("keepalived was not started")?;
        process.signal(Signal::SIGTERM)?;
        if process.wait(Duration::from_secs(10))?.is_none() {
            bail!("keepalived still runs 10 s after SIGTERM");
        }
        Ok(())
    }

    /// SIGKILL to the parent, which must not see it coming, and to the child that does the work.
    pub fn kill(&mut self) -> Result<()> {
        let text = fs::read_to_string(self.file("vrrp.pid")).context("read the pid of keepalived's child")?;
        let child = Pid::from_raw(text.trim().parse().context("the pid of keepalived's child")?);
        let process = self.process.as_mut().context("keepalived was not started")?;
        process.signal(Signal::SIGSTOP)?;
        kill(child, Signal::SIGKILL).context("kill keepalived's child")?;
        process.signal(Signal::SIGKILL)?;
        process.wait(Duration::from_secs(10))?;
        Ok(())
    }

    /// How often it became Active, by its own log.
    pub fn elections(&self) -> Result<usize> {
        let log = fs::read_to_string(self.file("log")).context("read keepalived's log")?;
        Ok(log.matches("Entering MASTER STATE").count())
    }

    /// Its configuration.
    pub fn configuration(&self) -> PathBuf {
        self.file("conf")
    }

    fn file(&self, end: &str) -> PathBuf {
        self.folder.join(format!("keepalived-{}.{end}", self.name))
    }
}

fn configure(host: &Host, setting: &KeepalivedSetting) -> String {
    let mut text = format!("global_defs {{\n  router_id {}\n  vrrp_version {}\n", host.name, setting.version);
    if setting.realtime {
        text.push_str("  vrrp_rt_priority 50\n  vrrp_rlimit_rttime 2000000\n");
    }
    if setting.startup_delay > 0 {
        // Writing to a String cannot fail, here and below.
        writeln!(text, "  vrrp_startup_delay {}", setting.startup_delay).ok();
    }
    let KeepalivedSetting { name, vrid, priority, interval, .. } = setting;
    write!(
        text,
        "}}\n\nvrrp_instance {name} {{\n  state BACKUP\n  interface {INTERFACE}\n  virtual_router_id {vrid}\n  \
         priority {priority}\n  advert_int {interval}\n"
    )
    .ok();
    if !setting.preempt {
        text.push_str("  nopreempt\n");
    }
    if let Some(peer) = setting.peer {
        write!(text, "  unicast_src_ip {}\n  unicast_peer {{\n    {peer}\n  }}\n", host.address).ok();
    }
    if let Some(password) = setting.password {
        write!(text, "  authentication {{\n    auth_type PASS\n    auth_pass {password}\n  }}\n").ok();
    }
    text.push_str("  virtual_ipaddress {\n");
    for address in &setting.addresses {
        writeln!(text, "    {address}").ok();
    }
    text.push_str("  }\n}\n");
    text
}
