//! The agent under test: its configuration, its process and its answers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::mariadb::PASSWORD;
use crate::network::{Host, INTERFACE, PREFIX, VIP};
use crate::process::Process;
use crate::run::{Run, agent_binary, command_output};

/// The virtual router's id in the lab.
pub const VRID: u8 = 51;

/// How advertisements are received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Datapath {
    Auto,
    Native,
    Generic,
    Socket,
}

impl Datapath {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Socket => "socket",
        }
    }
}

/// The settings that differ between tests.
#[derive(Clone, Debug)]
pub struct AgentSetting {
    pub datapath: Datapath,
    pub advertisement_interval: String,
    pub priority: u8,
    pub preempt: bool,
    /// The only other router; `None` for multicast.
    pub peer: Option<std::net::Ipv4Addr>,
    /// The socket of its server; `None`: there is no server to watch.
    pub server_socket: Option<PathBuf>,
    /// More lines of the virtual router.
    pub more: Vec<String>,
}

/// `vipd run` on one host.
#[derive(Debug)]
pub struct Agent {
    host: Host,
    binary: PathBuf,
    configuration: PathBuf,
    control: PathBuf,
    log: PathBuf,
    process: Option<Process>,
}

/// The last change of state that an agent reports.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Transition {
    pub at: String,
    pub from: String,
    pub to: String,
    pub reason: String,
    pub phases_ms: BTreeMap<String, f64>,
}

/// The answer of `vipd status --json`.
#[derive(Clone, Debug)]
pub struct Status(pub Value);

impl Status {
    pub fn state(&self) -> &str {
        self.text("/virtual_routers/0/state")
    }

    pub fn serving(&self) -> bool {
        self.flag("/virtual_routers/0/serving")
    }

    pub fn server_state(&self) -> &str {
        self.text("/mysql/state")
    }

    /// Whether the server could be the writer if the other one failed now.
    pub fn eligible(&self) -> bool {
        self.flag("/mysql/replication/eligible")
    }

    pub fn datapath(&self) -> &str {
        self.text("/datapath/mode")
    }

    pub fn gate(&self) -> bool {
        self.flag("/datapath/gate")
    }

    /// Refused advertisements of all kinds.
    pub fn refused(&self) -> u64 {
        let counters = self.0.pointer("/virtual_routers/0/adverts/refused").and_then(Value::as_object);
        counters.map_or(0, |counters| counters.values().filter_map(Value::as_u64).sum())
    }

    pub fn addresses_restored(&self) -> u64 {
        self.0.pointer("/virtual_routers/0/addresses_restored").and_then(Value::as_u64).unwrap_or_default()
    }

    pub fn transition(&self) -> Transition {
        let text = |key: &str| self.text(&format!("/virtual_routers/0/last_transition/{key}")).to_owned();
        let phases = self.0.pointer("/virtual_routers/0/last_transition/phases_ms").and_then(Value::as_object);
        let phases = phases.into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)));
        Transition {
            at: text("at"),
            from: text("from"),
            to: text("to"),
            reason: text("reason"),
            phases_ms: phases.collect(),
        }
    }

    fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    fn flag(&self, pointer: &str) -> bool {
        self.0.pointer(pointer).and_then(Value::as_bool).unwrap_or_default()
    }
}

impl Agent {
    /// Writes the configuration of the host and starts the agent.
    pub fn start(run: &Run, host: &Host, setting: &AgentSetting) -> Result<Self> {
        let folder = run.folder().join(&host.name);
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let password = folder.join("mysql.pass");
        fs::write(&password, format!("{PASSWORD}\n")).context("write the password file")?;
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).context("protect the password file")?;
        Self::start_with(run, host, &configure(host, setting, &password), setting.datapath)
    }

    /// Starts the agent with the given sections, to which those of the lab's own paths are added.
    pub fn start_with(run: &Run, host: &Host, sections: &str, datapath: Datapath) -> Result<Self> {
        let folder = run.folder().join(&host.name);
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let control = run.runtime().join(format!("{}.vipd.sock", host.name));
        let configuration = folder.join("vipd.toml");
        let text = sections.to_owned() + &surroundings(datapath, &control, &run.pin_dir(&host.name));
        fs::write(&configuration, text).context("write the configuration")?;
        let log = folder.join("vipd.log");
        let mut agent =
            Self { host: host.clone(), binary: agent_binary()?, configuration, control, log, process: None };
        agent.restart()?;
        Ok(agent)
    }

    /// Starts the agent again after its end.
    pub fn restart(&mut self) -> Result<()> {
        let mut command = self.host.namespace.command(&self.binary);
        command.arg("run").arg("--config").arg(&self.configuration);
        self.process = Some(Process::spawn(command, &self.log)?);
        Ok(())
    }

    pub fn configuration(&self) -> &Path {
        &self.configuration
    }

    pub fn control(&self) -> &Path {
        &self.control
    }

    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// What the agent has logged so far.
    pub fn log(&self) -> Result<String> {
        fs::read_to_string(&self.log).with_context(|| format!("read {}", self.log.display()))
    }

    /// Asks the agent how it is; an agent that has ended is an error at once.
    pub fn status(&mut self) -> Result<Status> {
        if let Some(status) = self.process.as_mut().context("the agent was not started")?.ended()? {
            bail!("vipd on {} ended: {status}; see {}", self.host.name, self.log.display());
        }
        let mut command = Command::new(&self.binary);
        command.args(["status", "--json", "--socket"]).arg(&self.control).arg("--config").arg(&self.configuration);
        let answer = command_output(&mut command)?;
        Ok(Status(serde_json::from_str(&answer).context("the status is not JSON")?))
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.process.as_ref().context("the agent was not started")?.signal(signal)
    }

    /// Waits for the end of the agent after a signal and gives its exit code, if it has one.
    pub fn wait_end(&mut self, timeout: Duration) -> Result<Option<i32>> {
        match self.process.as_mut().context("the agent was not started")?.wait(timeout)? {
            Some(status) => Ok(status.code()),
            None => bail!("vipd on {} still runs after {timeout:?}", self.host.name),
        }
    }

    /// Lets the agent outlive this value.
    pub fn release(&mut self) {
        if let Some(process) = &mut self.process {
            process.release();
        }
    }
}

fn configure(host: &Host, setting: &AgentSetting, password: &Path) -> String {
    let mut text = format!("[node]\nname = \"{}\"\n\n[[virtual_router]]\nname = \"mysql\"\n", host.name);
    let router = [
        format!("interface = \"{INTERFACE}\""),
        format!("vrid = {VRID}"),
        format!("priority = {}", setting.priority),
        format!("advertisement_interval = \"{}\"", setting.advertisement_interval),
        format!("addresses = [\"{VIP}/{PREFIX}\"]"),
        format!("source_address = \"{}\"", host.address),
        format!("preempt = {}", setting.preempt),
    ];
    text.push_str(&router.join("\n"));
    if let Some(peer) = setting.peer {
        // Writing to a String cannot fail.
        write!(text, "\npeers = [\"{peer}\"]").ok();
    }
    for line in &setting.more {
        write!(text, "\n{line}").ok();
    }
    if let Some(socket) = &setting.server_socket {
        let server = format!(
            "\n\n[mysql]\nendpoint = \"{}\"\nuser = \"vipd\"\npassword_file = \"{}\"\n\n[mysql.replication]\n\
             writers = \"active\"",
            socket.display(),
            password.display(),
        );
        text.push_str(&server);
    }
    text
}

/// The sections that say where an agent of the lab keeps its things.
fn surroundings(datapath: Datapath, control: &Path, pins: &Path) -> String {
    format!(
        "\n\n[datapath]\nmode = \"{}\"\n\n[control]\nsocket = \"{}\"\npin_dir = \"{}\"\n",
        datapath.as_str(),
        control.display(),
        pins.display(),
    )
}
