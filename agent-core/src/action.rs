use core::net::IpAddr;
use core::time::Duration;

use agent_wire::Priority;

use crate::input::{RouterId, Ticket};
use crate::time::Instant;
use crate::transition::Transition;

/// An effect that the shell carries out, in the order given.
///
/// Those with a [`Ticket`] come back as [`Input::Done`](crate::Input::Done).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Sends an advertisement; with a priority above 0 its departure comes back as
    /// [`Input::AdvertSent`](crate::Input::AdvertSent).
    SendAdvert { router: RouterId, priority: Priority },
    /// Lets the gate serve until then, if it is set to [`Gate::Serve`].
    RenewLease { router: RouterId, until: Instant },
    /// Sets the position of the gate for all addresses of the router.
    SetGate { router: RouterId, gate: Gate },
    /// Makes the addresses local; done when the kernel has them.
    AddAddresses { ticket: Ticket, router: RouterId },
    /// Extends the kernel lifetime of the addresses.
    RenewAddresses { router: RouterId },
    /// Removes the addresses; done when none is left.
    RemoveAddresses { ticket: Ticket, router: RouterId },
    /// Makes addresses local again that somebody else has removed.
    RestoreAddresses { ticket: Ticket, router: RouterId, addresses: Vec<IpAddr> },
    /// Removes addresses that somebody else has made local on a host that does not serve them.
    RemoveStrays { ticket: Ticket, router: RouterId, addresses: Vec<IpAddr> },
    /// Sends gratuitous ARP and unsolicited neighbour advertisements for the addresses once.
    Announce { ticket: Ticket, router: RouterId },
    /// Asks the server to receive nothing more from the peer's server.
    ///
    /// With `settle` it first waits until the stream has been quiet, at most this long.
    StopReceiving { ticket: Ticket, settle: Option<Duration> },
    /// Waits until all that was received is applied.
    Drain { ticket: Ticket },
    /// Makes the server writable and proves it.
    OpenServer { ticket: Ticket },
    /// Makes the server read-only and ends the sessions of its users.
    FenceServer { ticket: Ticket },
    /// Lets the server receive from the peer's server again.
    ResumeReceiving,
    /// Says what happened: log line, metric, journal, notification, status.
    Report(Transition),
    /// The node has handed over and has nothing left to do.
    Finished,
}

/// What happens to frames for a virtual address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// They pass while the lease is valid, and are refused after it.
    Serve,
    /// A TCP segment is answered with a reset, all else is dropped.
    Refuse,
}
