//! FRR's vrrpd, unpacked beside the lab: no service, no users and no files of it on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::network::{Host, INTERFACE};
use crate::process::Process;
use crate::run::{Run, workspace};

/// How long the daemons may take to start, and to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// The settings of one `vrrp` block.
#[derive(Clone, Debug)]
pub struct FrrSetting {
    pub version: u8,
    pub vrid: u8,
    pub priority: u8,
    pub preempt: bool,
    /// A multiple of 10.
    pub interval_ms: u32,
    /// IPv4 or IPv6.
    pub address: std::net::IpAddr,
}

/// `zebra` and `vrrpd` on one host, and the interface with the virtual MAC that they need.
#[derive(Debug)]
pub struct Frr {
    host: Host,
    folder: PathBuf,
    process: Option<Process>,
}

impl Frr {
    pub fn start(run: &Run, host: &Host, setting: &FrrSetting) -> Result<Self> {
        let folder = run.folder().join(&host.name).join("frr");
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let FrrSetting { version, vrid, priority, preempt, interval_ms, address } = setting;
        // FRR takes the interface for its own by the MAC (RFC 9568 section 7.3).
        let (family, mac, prefix) = if address.is_ipv4() { ("ip", 1, 32) } else { ("ipv6", 2, 128) };
        let mac = format!("00:00:5e:00:0{mac}:{vrid:02x}");
        host.namespace.ip(&["link", "add", "vrrp0", "link", INTERFACE, "type", "macvlan", "mode", "bridge"])?;
        host.namespace.ip(&["link", "set", "vrrp0", "address", &mac])?;
        host.namespace.ip(&["address", "add", &format!("{address}/{prefix}"), "dev", "vrrp0"])?;
        host.namespace.ip(&["link", "set", "vrrp0", "up"])?;
        let no = if *preempt { "" } else { "no " };
        let configuration = format!(
            "interface {INTERFACE}\n vrrp {vrid} version {version}\n vrrp {vrid} priority {priority}\n \
             {no}vrrp {vrid} preempt\n vrrp {vrid} advertisement-interval {interval_ms}\n vrrp {vrid} {family} {address}\n"
        );
        fs::write(folder.join("vrrpd.conf"), configuration).context("write FRR's configuration")?;
        // The daemons want accounts of their own, which they find in these copies.
        for (file, entries) in [
            ("passwd", "frr:x:65530:65530::/nonexistent:/usr/sbin/nologin\n"),
            ("group", "frr:x:65530:\nfrrvty:x:65531:frr\n"),
        ] {
            let known =
                fs::read_to_string(Path::new("/etc").join(file)).with_context(|| format!("read /etc/{file}"))?;
            fs::write(folder.join(file), known + entries).with_context(|| format!("write {file}"))?;
        }
        let mut frr = Self { host: host.clone(), folder, process: None };
        frr.restart()?;
        Ok(frr)
    }

    /// Starts it again after its end.
    pub fn restart(&mut self) -> Result<()> {
        let root = workspace().join(".tools/frr");
        if !root.join("usr/lib/frr/vrrpd").is_file() {
            bail!("no FRR in {}: run `cargo xtask setup`", root.display());
        }
        let script = format!(
            "libraries={root}/usr/lib/x86_64-linux-gnu\n\
             export LD_LIBRARY_PATH=$libraries:$libraries/frr\n\
             mount --bind {folder}/passwd /etc/passwd; mount --bind {folder}/group /etc/group\n\
             mount -t tmpfs tmpfs /run; install -d -o frr -g frr /run/frr\n\
             : > /run/zebra.conf; cp {folder}/vrrpd.conf /run/\n\
             {root}/usr/lib/frr/zebra -f /run/zebra.conf --log stdout -A 127.0.0.1 &\n\
             while [ ! -S /run/frr/zserv.api ]; do sleep 0.05; done\n\
             {root}/usr/lib/frr/vrrpd -f /run/vrrpd.conf --log stdout -A 127.0.0.1",
            root = root.display(),
            folder = self.folder.display(),
        );
        let mut command = self.host.namespace.command("unshare");
        // What it starts ends with it, and so do the mounts.
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--", "sh", "-ec", &script]);
        self.process = Some(Process::spawn(command, &self.folder.join("frr.log"))?);
        let deadline = Instant::now() + PATIENCE;
        while self.vrrpd().is_err() {
            if Instant::now() >= deadline {
                bail!("vrrpd does not start: see {}", self.folder.join("frr.log").display());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// SIGTERM to `vrrpd`, which then resigns, and the wait for its end.
    pub fn stop(&mut self) -> Result<()> {
        self.end(Signal::SIGTERM)
    }

    /// SIGKILL to `vrrpd`.
    pub fn kill(&mut self) -> Result<()> {
        self.end(Signal::SIGKILL)
    }

    fn end(&mut self, signal: Signal) -> Result<()> {
        kill(self.vrrpd()?, signal).with_context(|| format!("send {signal} to vrrpd"))?;
        let process = self.process.as_mut().context("FRR was not started")?;
        if process.wait(PATIENCE)?.is_none() {
            bail!("FRR still runs {PATIENCE:?} after {signal}");
        }
        Ok(())
    }

    /// The process that speaks VRRP, as seen from here.
    fn vrrpd(&self) -> Result<Pid> {
        let pids = self.host.namespace.processes()?;
        for pid in pids.lines().filter_map(|line| line.trim().parse().ok()) {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if name.trim() == "vrrpd" {
                return Ok(Pid::from_raw(pid));
            }
        }
        bail!("no vrrpd runs on {}", self.host.name)
    }
}
