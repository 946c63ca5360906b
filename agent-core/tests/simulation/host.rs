use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use agent_core::{
    Gate, Input, Instant, Node, Parameters, Receiver, Replication, RouterParameters, ServerParameters, Standing,
    Writers,
};
use agent_wire::vrrp::Version;
use agent_wire::{Priority, Vrid};

use crate::ADVERTISEMENT_INTERVAL;

/// One host: what its kernel and its server hold, and the agent on top, if it runs.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) agent: Option<Node>,
    /// Numbers the agent's lives: what an earlier one asked for does not come back to a later one.
    pub(crate) life: u64,
    pub(crate) stalled_until: Option<Instant>,
    pub(crate) paused_until: Option<Instant>,
    /// What arrived in the stall.
    pub(crate) inbox: Vec<Input>,
    pub(crate) link_up: bool,
    pub(crate) kernel: Kernel,
    pub(crate) server: Server,
    pub(crate) parameters: Parameters,
}

/// What outlives the agent.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) gate: Gate,
    pub(crate) lease_until: Instant,
    /// The address is local until then.
    pub(crate) address_until: Option<Instant>,
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) state: ServerLife,
    pub(crate) writable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerLife {
    Running,
    Hung,
    Dead,
}

impl Host {
    pub(crate) fn new(index: usize, hosts: usize, equal_priorities: bool) -> Self {
        let parameters = parameters(index, hosts, equal_priorities);
        let origin = Instant::from_nanos(0);
        Self {
            agent: None,
            life: 0,
            stalled_until: None,
            paused_until: None,
            inbox: Vec::new(),
            link_up: true,
            kernel: Kernel { gate: Gate::Refuse, lease_until: origin, address_until: None },
            server: Server { state: ServerLife::Running, writable: false },
            parameters,
        }
    }

    pub(crate) fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    /// Address present, gate open, lease valid, and somebody there to answer.
    pub(crate) fn serves(&self, now: Instant) -> bool {
        !self.is_paused(now)
            && self.has_address(now)
            && self.kernel.gate == Gate::Serve
            && now < self.kernel.lease_until
    }

    pub(crate) fn has_address(&self, now: Instant) -> bool {
        self.kernel.address_until.is_some_and(|until| now < until)
    }

    pub(crate) fn standing(&self, source_lives: bool) -> Standing {
        let receiver = if source_lives { Receiver::Connected } else { Receiver::Connecting };
        let lag = source_lives.then_some(Duration::ZERO);
        Standing {
            writable: self.server.writable,
            replication: Some(Replication { receiver, applying: true, lag, error: None }),
        }
    }
}

pub(crate) fn address(index: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 77, 0, u8::try_from(index).unwrap_or(0) + 1))
}

fn parameters(index: usize, hosts: usize, equal_priorities: bool) -> Parameters {
    let step = if equal_priorities { 0 } else { u8::try_from(index).unwrap_or(0) * 10 };
    let Some(vrid) = Vrid::new(51) else { unreachable!("51 is not zero") };
    let router = RouterParameters {
        name: "mysql".to_owned(),
        vrid,
        version: Version::V3,
        priority: Priority::new(120 - step),
        advertisement_interval: ADVERTISEMENT_INTERVAL,
        source_address: address(index),
        sole_peer: (hosts == 2).then(|| address(1 - index)),
        preempt_mode: true,
        preempt_delay: Duration::ZERO,
        startup_delay: Duration::ZERO,
        announce_repeat: vec![Duration::ZERO, Duration::from_millis(20)],
        announce_refresh: Duration::from_secs(60),
        tracks: Vec::new(),
    };
    let server = ServerParameters {
        fall: 2,
        rise: 2,
        writers: Writers::Active,
        require_replication: true,
        catch_up_lag: Duration::from_secs(1),
    };
    Parameters { routers: vec![router], tracks: Vec::new(), server: Some(server) }
}
