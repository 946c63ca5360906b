use core::net::IpAddr;
use core::time::Duration;

use agent_wire::Priority;

use crate::time::Instant;

/// A virtual router of this node: its index in [`Parameters::routers`](crate::Parameters::routers).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterId(pub usize);

/// Something that priorities depend on: its index in [`Parameters::tracks`](crate::Parameters::tracks).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackId(pub usize);

/// Ties the result of an effect to the step that asked for it. A stale ticket is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

/// All that a node learns from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A valid advertisement of another router arrived.
    Advert(Advert),
    /// An advertisement with a priority above 0 has really left this host.
    AdvertSent { router: RouterId, at: Instant },
    /// The interface of a router can or cannot carry traffic.
    Link { router: RouterId, up: bool },
    /// Whether a router has an interface to work on; until it is told, it has, with the configured source.
    Interface { router: RouterId, state: InterfaceState },
    /// The hardware address of a router's interface is another one now.
    HardwareAddressChanged { router: RouterId },
    /// Which virtual addresses of a router are local now and which are not; both empty: not known.
    ///
    /// News from before the end of an [`Action::AddAddresses`](crate::Action::AddAddresses) or of a removal comes before
    /// its [`Done`](Self::Done), or what the node did itself would look like the work of others.
    Addresses { router: RouterId, local: Vec<IpAddr>, missing: Vec<IpAddr> },
    /// What was seen of something that priorities depend on.
    Track { track: TrackId, outcome: TrackOutcome },
    /// News of the server.
    Server(ServerReport),
    /// An effect that was asked for has ended.
    Done { ticket: Ticket, result: Result<(), StepFailure> },
    /// Hand over and end.
    Shutdown,
}

/// What a router can do on its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterfaceState {
    /// Advertisements can leave from this address.
    Ready { source: IpAddr },
    /// There is no interface of that name.
    Missing,
    /// It has no address that advertisements could come from.
    NoSource,
    /// The sockets or the datapath cannot be opened on it; that is tried again.
    Unusable,
}

/// One look at an interface, or one run of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrackOutcome {
    Passed,
    /// Why, for people, as in `down` or `exit status 1`.
    Failed(String),
}

/// An advertisement that passed all checks on receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advert {
    pub router: RouterId,
    pub source: IpAddr,
    pub priority: Priority,
    /// The sender's Advertisement_Interval.
    pub interval: Duration,
    /// When the host received it, not when it was read.
    pub arrived_at: Instant,
}

/// Why a step failed, for people; the core only needs to know that it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepFailure(pub String);

/// News of the server, by event or by probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerReport {
    /// The process behind the socket has ended or is certain to.
    Died(Death),
    /// A probe came back or missed its deadline.
    Probe { kind: Probe, outcome: ProbeOutcome },
    /// What the server says of its role.
    Standing(Standing),
}

/// How the end of the process is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The pidfd became readable.
    ProcessExited,
}

/// The kinds of probe; each has at most one in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Probe {
    /// A ping on the connection that is kept.
    Ping,
    /// A fresh connection.
    Connect,
    /// A commit in vipd's own table; only made while the server is writable.
    Write,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    Passed,
    /// Counts towards `fall`.
    Failed(Fault),
    /// The server lives but cannot be judged so; counts neither way.
    Inconclusive(Doubt),
}

/// What is wrong with a server that does not do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing accepts connections at the endpoint.
    Refused,
    /// No answer within the deadline.
    TimedOut,
    /// The connection broke in the middle.
    ConnectionLost,
    /// A commit did not come back within the deadline.
    CannotCommit,
    /// The server is in the middle of its own shutdown (error 1053).
    ShuttingDown,
}

/// Why a living server cannot be judged by a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Error 1045 or 1044: the configured account is not let in.
    CredentialsRefused,
    /// Error 1040 or 1203.
    TooManyConnections,
    /// Error 1129.
    HostBlocked,
    /// Read-only while it should be writable, or a lock held by somebody else.
    ReadOnly,
    /// Any other error answer: it answers, so it lives.
    OtherError,
}

/// What the server says of its role, read in one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Neither `read_only` nor `super_read_only` is set.
    pub writable: bool,
    /// `None`: the server is not configured as a replica of anything.
    pub replication: Option<Replication>,
}

/// The channel from the peer's server, seen from this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    pub receiver: Receiver,
    /// The applier runs, or has nothing that hinders it.
    pub applying: bool,
    /// `None`: unknown, which is not zero.
    pub lag: Option<Duration>,
    /// The last error of either thread, with its number; for people.
    pub error: Option<String>,
}

/// The replication I/O thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receiver {
    Connected,
    Connecting,
    Stopped,
}
