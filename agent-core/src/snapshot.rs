use core::net::IpAddr;
use core::time::Duration;

use agent_wire::Priority;

use crate::health::ServerState;
use crate::input::{RouterId, Standing, TrackId};
use crate::transition::{Reason, StateName};

/// What there is to see of a node at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// In the order of the parameters.
    pub routers: Vec<RouterSnapshot>,
    pub server: ServerState,
    pub standing: Option<Standing>,
    /// Whether the server may become the writer; `None` without a server.
    pub eligible: Option<Result<(), Reason>>,
}

/// What there is to see of one virtual router.
#[derive(Clone, Debug)]
pub struct RouterSnapshot {
    pub state: StateName,
    /// The addresses are local and the server behind them is open.
    pub serving: bool,
    /// The sum of `priority_parts` within 1..=254: it is advertised, compared and skews the timers.
    pub effective_priority: Priority,
    /// The configured priority first, then everything else that it depends on.
    pub priority_parts: Vec<PriorityPart>,
    /// Why the router is no candidate.
    pub hindrance: Option<Reason>,
    /// The primary address of the Active Router, as far as one is heard.
    pub active_address: Option<IpAddr>,
    /// How long this host may serve without another advertisement; `None` unless Active.
    pub lease_remaining: Option<Duration>,
    /// How many addresses were put back that somebody else had removed.
    pub addresses_restored: u64,
}

/// One of the things that make the priority of a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriorityPart {
    pub source: PartSource,
    /// What it adds.
    pub value: i32,
    /// Why it is not as it should be, for people.
    pub reason: Option<String>,
    /// It keeps the router from being a candidate, whatever the priority.
    pub fault: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartSource {
    Configured,
    Track(TrackId),
    /// Another router of the group has a lower priority, which goes for all of them.
    Group(RouterId),
    Server,
}
