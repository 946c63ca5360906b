use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use agent_wire::vrrp::Version;
use agent_wire::{Priority, Vrid};

use crate::input::TrackId;

/// What a node needs to know to decide; the configuration file is turned into this once it is found valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// In the order of the configuration; a [`RouterId`](crate::RouterId) is an index into it.
    pub routers: Vec<RouterParameters>,
    /// What priorities depend on; a [`TrackId`] is an index into it.
    pub tracks: Vec<TrackParameters>,
    /// `None`: plain VRRP, no server behind the address.
    pub server: Option<ServerParameters>,
}

/// One virtual router (RFC 9568 §6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterParameters {
    pub name: String,
    pub vrid: Vrid,
    pub version: Version,
    /// `1..=254`.
    pub priority: Priority,
    /// 10 ms to 40.95 s in version 3, whole seconds 1 to 255 in version 2.
    pub advertisement_interval: Duration,
    /// This router's own primary address: it breaks ties (RFC 9568 §6.4.3).
    pub source_address: IpAddr,
    /// The only other router there is, where the configuration names exactly one.
    pub sole_peer: Option<IpAddr>,
    pub preempt_mode: bool,
    pub preempt_delay: Duration,
    /// How long after start the router is not a candidate.
    pub startup_delay: Duration,
    /// When to announce after the address was added, counted from there.
    pub announce_repeat: Vec<Duration>,
    /// How often to announce after the last of `announce_repeat`.
    pub announce_refresh: Duration,
    /// What its priority depends on.
    pub tracks: Vec<TrackWeight>,
}

/// Something that priorities depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackParameters {
    pub kind: TrackKind,
    pub name: String,
    /// Good outcomes in a row that make it good again, at least 1.
    pub rise: u32,
    /// Bad outcomes in a row that make it fail, at least 1.
    pub fall: u32,
}

/// As in `interface ens34`.
impl fmt::Display for TrackParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            TrackKind::Interface => "interface",
            TrackKind::Script => "script",
        };
        write!(f, "{kind} {}", self.name)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackKind {
    Interface,
    Script,
}

/// What the failure of a track means for a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackWeight {
    pub track: TrackId,
    /// Added to the priority while the track fails, `-253..=253`; 0: the router is no candidate then.
    pub weight: i32,
}

/// The MySQL or MariaDB server behind the virtual addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerParameters {
    /// Failed probes in a row, of one kind, that make the server failed.
    pub fall: u32,
    /// Passed probes in a row, of each kind, that make it healthy again.
    pub rise: u32,
    pub writers: Writers,
    /// A standby whose replication is broken is not a candidate.
    pub require_replication: bool,
    /// A preferred node takes the address back only when it lags less than this.
    pub catch_up_lag: Duration,
}

/// Which of the two servers may be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writers {
    /// Only the one that holds the address; the other is read-only.
    Active,
    /// Both, as in a plain dual-source pair: vipd leaves `read_only` alone.
    Both,
}
