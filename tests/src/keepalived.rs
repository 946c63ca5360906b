//! keepalived, as people run it today.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::network::{Host, INTERFACE};
use crate::process::Process;
use crate::run::Run;

/// The settings of one `vrrp_instance`.
#[derive(Clone, Debug)]
pub struct KeepalivedSetting {
    /// Tells several on one host apart.
    pub name: &'static str,
    pub vrid: u8,
    pub priority: u8,
    /// Seconds, as keepalived writes them.
    pub advertisement_interval: &'static str,
    /// With its prefix.
    pub address: String,
    /// Whether it asks for real-time priority; then its limit on CPU time is raised, without which the kernel kills it.
    pub realtime: bool,
}

/// `keepalived` on one host, version 3, multicast.
#[derive(Debug)]
pub struct Keepalived {
    process: Process,
}

impl Keepalived {
    pub fn start(run: &Run, host: &Host, setting: &KeepalivedSetting) -> Result<Self> {
        let folder = run.folder().join(&host.name);
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let file = |end: &str| -> PathBuf { folder.join(format!("keepalived-{}.{end}", setting.name)) };
        fs::write(file("conf"), configure(host, setting)).context("write keepalived's configuration")?;
        let mut command = host.namespace.command("keepalived");
        command.args(["--dont-fork", "--log-console", "--log-detail", "--vrrp", "--use-file"]).arg(file("conf"));
        command.arg("--pid").arg(file("pid")).arg("--vrrp_pid").arg(file("vrrp.pid"));
        Ok(Self { process: Process::spawn(command, &file("log"))? })
    }

    /// What it has logged so far.
    pub fn log(&self) -> Result<String> {
        let log = self.process.log();
        fs::read_to_string(log).with_context(|| format!("read {}", log.display()))
    }
}

fn configure(host: &Host, setting: &KeepalivedSetting) -> String {
    let realtime = if setting.realtime { "  vrrp_rt_priority 50\n  vrrp_rlimit_rttime 2000000\n" } else { "" };
    format!(
        "global_defs {{\n  router_id {}\n  vrrp_version 3\n{realtime}}}\n\nvrrp_instance {} {{\n  state BACKUP\n  \
         interface {INTERFACE}\n  virtual_router_id {}\n  priority {}\n  advert_int {}\n  virtual_ipaddress {{\n    {}\n  \
         }}\n}}\n",
        host.name, setting.name, setting.vrid, setting.priority, setting.advertisement_interval, setting.address,
    )
}
