use core::time::Duration;

use crate::input::RouterId;
use crate::time::Instant;

/// The states of RFC 9568 §6.4 by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateName {
    Initialize,
    Backup,
    Active,
}

impl StateName {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Backup => "backup",
            Self::Active => "active",
        }
    }
}

/// A change of state that is complete: after a takeover the addresses are served, after a yield they are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    pub router: RouterId,
    /// When the state changed.
    pub at: Instant,
    pub from: StateName,
    pub to: StateName,
    pub reason: Reason,
    pub phases: Phases,
    /// What went wrong, for people, where something did.
    pub detail: Option<String>,
}

/// How long each part took; zero for what was not needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// From the evidence (last advertisement, resignation, signal) to the decision.
    pub detect: Duration,
    /// Until the other side, or on a yield the own server, could write no more.
    pub fence: Duration,
    /// Until all that was received was applied.
    pub drain: Duration,
    /// Until the server was writable.
    pub open: Duration,
    /// Until the addresses were local, or gone.
    pub vip: Duration,
    /// Until the first announcement was sent.
    pub announce: Duration,
}

/// Why a state changed: a stable word for machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The router has become a candidate.
    Candidate,
    /// The Active_Down_Timer fired.
    ActiveDownTimer,
    /// The Active Router gave up (priority 0).
    PeerResigned,
    /// A router with a higher priority, or the same and a higher address, is Active.
    HigherPriority,
    /// The lease ran out before an advertisement could be sent: the node slept or could not send.
    LeaseExpired,
    LinkDown,
    /// There is no interface of the configured name.
    InterfaceMissing,
    /// The interface has no address to advertise from.
    SourceAddressMissing,
    /// The sockets or the datapath cannot be opened on the interface.
    InterfaceUnusable,
    /// Somebody else removes a virtual address again and again, or it cannot be put back.
    AddressContested,
    /// Another virtual router of this host, which has to be Active together with this one, was deposed.
    GroupDeposed,
    /// Another virtual router of this host, which has to be Active together with this one, cannot be.
    GroupHindered,
    /// A tracked interface is down.
    InterfaceDown,
    /// A tracked script fails.
    ScriptFailed,
    /// A tracked script has not given its first result yet.
    ScriptUnknown,
    /// The process of the server has ended.
    ServerDied,
    /// Probes of the server failed `fall` times in a row.
    ServerFailed,
    /// The server is not judged yet.
    ServerUnknown,
    /// The server cannot be judged or opened: credentials, connections.
    ServerDegraded,
    NotReplicating,
    ApplierStopped,
    LagUnknown,
    ReceiverDisconnected,
    /// A step of a takeover failed.
    TakeoverFailed,
    /// `startup_delay` has not passed.
    StartupDelay,
    /// The agent is asked to stop.
    Shutdown,
}

impl Reason {
    /// Every reason once.
    pub const ALL: [Self; 26] = [
        Self::Candidate,
        Self::ActiveDownTimer,
        Self::PeerResigned,
        Self::HigherPriority,
        Self::LeaseExpired,
        Self::LinkDown,
        Self::InterfaceMissing,
        Self::SourceAddressMissing,
        Self::InterfaceUnusable,
        Self::AddressContested,
        Self::GroupDeposed,
        Self::GroupHindered,
        Self::InterfaceDown,
        Self::ScriptFailed,
        Self::ScriptUnknown,
        Self::ServerDied,
        Self::ServerFailed,
        Self::ServerUnknown,
        Self::ServerDegraded,
        Self::NotReplicating,
        Self::ApplierStopped,
        Self::LagUnknown,
        Self::ReceiverDisconnected,
        Self::TakeoverFailed,
        Self::StartupDelay,
        Self::Shutdown,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.words().0
    }

    /// A sentence for people.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        self.words().1
    }

    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Candidate => ("candidate", "this host may take the address"),
            Self::ActiveDownTimer => ("active_down_timer", "the Active Router has fallen silent"),
            Self::PeerResigned => ("peer_resigned", "the Active Router gave up the address"),
            Self::HigherPriority => ("higher_priority", "a router that goes before this one is Active"),
            Self::LeaseExpired => ("lease_expired", "no advertisement could be sent within the lease"),
            Self::LinkDown => ("link_down", "the interface cannot carry traffic"),
            Self::InterfaceMissing => ("interface_missing", "the interface does not exist"),
            Self::SourceAddressMissing => {
                ("source_address_missing", "the interface does not have the address that advertisements come from")
            }
            Self::InterfaceUnusable => ("interface_unusable", "the interface cannot be opened yet"),
            Self::AddressContested => ("address_contested", "another program keeps removing a virtual address"),
            Self::GroupDeposed => ("group_deposed", "another virtual router of this host was deposed"),
            Self::GroupHindered => ("group_hindered", "another virtual router of this host cannot be Active"),
            Self::InterfaceDown => ("interface_down", "a tracked interface is down"),
            Self::ScriptFailed => ("script_failed", "a tracked script fails"),
            Self::ScriptUnknown => ("script_unknown", "a tracked script has not given its first result yet"),
            Self::ServerDied => ("server_died", "the process of the database server has ended"),
            Self::ServerFailed => ("server_failed", "the database server does not do its work"),
            Self::ServerUnknown => ("server_unknown", "the database server is not judged yet"),
            Self::ServerDegraded => ("server_degraded", "the database server lives but vipd cannot work with it"),
            Self::NotReplicating => ("not_replicating", "the database server is not a replica of its peer"),
            Self::ApplierStopped => ("applier_stopped", "the replication applier has stopped"),
            Self::LagUnknown => ("lag_unknown", "how far replication lags is not known"),
            Self::ReceiverDisconnected => {
                ("receiver_disconnected", "replication has lost its source while the Active Router lives")
            }
            Self::TakeoverFailed => ("takeover_failed", "a step of the takeover failed"),
            Self::StartupDelay => ("startup_delay", "the start-up delay has not passed"),
            Self::Shutdown => ("shutdown", "the agent is asked to stop"),
        }
    }
}
