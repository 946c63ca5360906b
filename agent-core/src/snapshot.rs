use core::net::IpAddr;
use core::time::Duration;

use crate::health::ServerState;
use crate::input::Standing;
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
    /// Why the router is no candidate.
    pub hindrance: Option<Reason>,
    /// The primary address of the Active Router, as far as one is heard.
    pub active_address: Option<IpAddr>,
    /// How long this host may serve without another advertisement; `None` unless Active.
    pub lease_remaining: Option<Duration>,
    /// How many addresses were put back that somebody else had removed.
    pub addresses_restored: u64,
}
