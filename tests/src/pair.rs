//! The whole pair: two hosts with a server and an agent each, a client that writes, and an observer.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;

use crate::agent::{Agent, AgentSetting, Datapath, Status, Transition, VRID};
use crate::mariadb::Mariadb;
use crate::network::{Network, VIP};
use crate::observer::Observer;
use crate::run::Run;
use crate::verify::{self, Verdict};
use crate::wire::{self, Wire};
use crate::writer::Writer;

/// How long a pair may take from start to its steady state.
const START: Duration = Duration::from_secs(30);

/// What differs between tests.
#[derive(Clone, Debug)]
pub struct Setting {
    pub datapath: Datapath,
    pub advertisement_interval: String,
    pub priorities: [u8; 2],
    pub preempt: bool,
    pub unicast: bool,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            datapath: Datapath::Auto,
            advertisement_interval: "100ms".to_owned(),
            priorities: [100, 100],
            preempt: true,
            unicast: true,
        }
    }
}

/// What can happen to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// SIGKILL to the database server.
    ServerKilled,
    /// SIGTERM to the database server.
    ServerStopped,
    /// SIGSTOP to the database server.
    ServerHung,
    /// SIGTERM to the agent.
    AgentStopped,
    /// SIGKILL to the agent.
    AgentKilled,
    /// The cable is pulled.
    LinkDown,
    /// Everything at once: SIGKILL to agent and server, and no carrier.
    NodeDied,
}

impl Fault {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServerKilled => "server killed (SIGKILL)",
            Self::ServerStopped => "server stopped (SIGTERM)",
            Self::ServerHung => "server hung (SIGSTOP)",
            Self::AgentStopped => "agent stopped (SIGTERM)",
            Self::AgentKilled => "agent killed (SIGKILL)",
            Self::LinkDown => "link down",
            Self::NodeDied => "node died",
        }
    }
}

/// A failover as the client and the agents saw it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Failover {
    pub fault: &'static str,
    pub from: String,
    pub to: String,
    /// The longest time between two acknowledged writes.
    pub gap_ms: f64,
    /// The longest time in which both hosts had the address.
    pub two_holders_ms: f64,
    /// From the fault to the first announcement of the new host on the wire.
    pub announced_ms: Option<f64>,
    /// From the resignation on the wire (priority 0) to that announcement.
    pub handed_over_ms: Option<f64>,
    /// What the host that took over says of it.
    pub takeover: Transition,
}

/// The pair; the fields end in this order.
#[derive(Debug)]
pub struct Pair {
    pub writer: Option<Writer>,
    pub observer: Observer,
    pub wire: Wire,
    pub agents: [Agent; 2],
    pub servers: [Mariadb; 2],
    pub network: Network,
    pub run: Run,
}

impl Pair {
    /// Builds the pair and waits until one host serves and the other could take over.
    pub fn start(title: &str, setting: &Setting) -> Result<Self> {
        Self::start_in(Run::begin(title)?, setting)
    }

    pub fn start_in(run: Run, setting: &Setting) -> Result<Self> {
        let network = Network::create(&run)?;
        let [one, other] = &network.databases;
        let servers = [Mariadb::start(&run, one, 1)?, Mariadb::start(&run, other, 2)?];
        servers[0].replicate_from(other.address)?;
        servers[1].replicate_from(one.address)?;
        let observer = Observer::start(&network.databases, VIP)?;
        let wire = Wire::start(&network)?;
        let agent = |number: usize| {
            let setting = AgentSetting {
                datapath: setting.datapath,
                advertisement_interval: setting.advertisement_interval.clone(),
                priority: setting.priorities[number],
                preempt: setting.preempt,
                peer: setting.unicast.then(|| network.databases[1 - number].address),
                server_socket: Some(servers[number].socket().to_owned()),
                more: Vec::new(),
            };
            Agent::start(&run, &network.databases[number], &setting)
        };
        let agents = [agent(0)?, agent(1)?];
        let mut pair = Self { writer: None, observer, wire, agents, servers, network, run };
        pair.wait_settled(START)?;
        Ok(pair)
    }

    /// Starts the client and waits for its first writes.
    pub fn start_writer(&mut self) -> Result<&Writer> {
        let writer = self.writer.insert(Writer::start(&self.network.client, VIP)?);
        writer.wait_for(100, Instant::now(), Duration::from_secs(10))?;
        Ok(writer)
    }

    pub fn writer(&self) -> Result<&Writer> {
        self.writer.as_ref().context("the client was not started")
    }

    /// Both agents' status.
    pub fn statuses(&mut self) -> Result<[Status; 2]> {
        let [one, other] = &mut self.agents;
        Ok([one.status()?, other.status()?])
    }

    /// Waits until exactly one host serves and the other is a healthy standby that could take over; gives the first.
    pub fn wait_settled(&mut self, timeout: Duration) -> Result<usize> {
        let deadline = Instant::now() + timeout;
        loop {
            let seen = self.settled();
            match seen {
                Ok(active) => return Ok(active),
                Err(error) if Instant::now() >= deadline => {
                    return Err(error.context(format!("not settled within {timeout:?}")));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn settled(&mut self) -> Result<usize> {
        let statuses = self.statuses()?;
        let active = statuses.iter().position(|status| status.state() == "active" && status.serving());
        let Some(active) = active else { bail!("nobody serves: {statuses:?}") };
        let standby = &statuses[1 - active];
        if standby.state() != "backup" || standby.server_state() != "healthy" || !standby.eligible() {
            bail!("the standby could not take over: {standby:?}");
        }
        if self.observer.holders() != [active] {
            bail!("host {active} serves, but the address is at {:?}", self.observer.holders());
        }
        for server in &self.servers {
            let replication = server.replication()?;
            if !replication.receiving || !replication.applying {
                bail!("replication to {}: {replication:?}", server.host().name);
            }
        }
        Ok(active)
    }

    /// Waits until one agent says that it serves; the other may be gone.
    pub fn wait_serving(&mut self, host: usize, timeout: Duration) -> Result<Status> {
        let deadline = Instant::now() + timeout;
        loop {
            let status = self.agents[host].status();
            if let Ok(status) = &status
                && status.state() == "active"
                && status.serving()
            {
                return Ok(status.clone());
            }
            if Instant::now() >= deadline {
                let name = &self.network.databases[host].name;
                bail!("{name} does not serve after {timeout:?}: {status:?}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn inject(&self, fault: Fault, host: usize) -> Result<()> {
        match fault {
            Fault::ServerKilled => self.servers[host].signal(Signal::SIGKILL),
            Fault::ServerStopped => self.servers[host].signal(Signal::SIGTERM),
            Fault::ServerHung => self.servers[host].signal(Signal::SIGSTOP),
            Fault::AgentStopped => self.agents[host].signal(Signal::SIGTERM),
            Fault::AgentKilled => self.agents[host].signal(Signal::SIGKILL),
            Fault::LinkDown => self.network.databases[host].link_down(),
            Fault::NodeDied => {
                self.agents[host].signal(Signal::SIGKILL)?;
                self.servers[host].signal(Signal::SIGKILL)?;
                self.network.databases[host].link_down()
            }
        }
    }

    pub fn repair(&mut self, fault: Fault, host: usize) -> Result<()> {
        match fault {
            Fault::ServerKilled | Fault::ServerStopped => {
                self.servers[host].wait_end(Duration::from_secs(20))?;
                self.servers[host].restart()
            }
            Fault::ServerHung => self.servers[host].signal(Signal::SIGCONT),
            Fault::AgentStopped | Fault::AgentKilled => {
                self.agents[host].wait_end(Duration::from_secs(10))?;
                self.agents[host].restart()
            }
            Fault::LinkDown => self.network.databases[host].link_up(),
            Fault::NodeDied => {
                self.network.databases[host].link_up()?;
                self.repair(Fault::ServerKilled, host)?;
                self.repair(Fault::AgentKilled, host)
            }
        }
    }

    /// Lets the fault happen to the host that serves, and waits until the other one does and the client writes there.
    pub fn fail_over(&mut self, fault: Fault) -> Result<Failover> {
        let from = self.wait_settled(START)?;
        let to = 1 - from;
        let since = Instant::now();
        self.inject(fault, from)?;
        let status = self.wait_serving(to, Duration::from_secs(15))?;
        let served = Instant::now();
        let writer = self.writer()?;
        writer.wait_for(100, served, Duration::from_secs(10))?;
        let seen = self.wire.take();
        let announced = wire::first_announcement(&seen, to, VIP, since);
        let resigned = wire::first_resignation(&seen, from, VRID, since);
        let handed_over =
            announced.zip(resigned).map(|(announced, resigned)| announced.saturating_duration_since(resigned));
        Ok(Failover {
            fault: fault.as_str(),
            from: self.network.databases[from].name.clone(),
            to: self.network.databases[to].name.clone(),
            gap_ms: milliseconds(writer.longest_gap(since).length),
            two_holders_ms: milliseconds(self.observer.longest_overlap(since)),
            announced_ms: announced.map(|announced| milliseconds(announced - since)),
            handed_over_ms: handed_over.map(milliseconds),
            takeover: status.transition(),
        })
    }

    /// Ends the client and checks its record against the rows of both servers.
    pub fn verify_rows(&mut self) -> Result<Verdict> {
        let writer = self.writer.take().context("the client was not started")?;
        let acknowledged = writer.stop()?;
        verify::rows(&self.servers, &acknowledged, Duration::from_secs(20))
    }

    /// Lets servers and agents outlive this value.
    pub fn release(&mut self) {
        for server in &mut self.servers {
            server.release();
        }
        for agent in &mut self.agents {
            agent.release();
        }
    }
}

/// A duration in milliseconds, to a tenth.
pub fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}
