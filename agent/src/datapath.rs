//! How advertisements come in and how the gate is moved: XDP where the host can, raw sockets always.
//!
//! The XDP program takes out of the stack what it has reported or refused. What it leaves alone (a full ring, an IPv6
//! extension header, a message with an HMAC) reaches the sockets, so that nothing depends on which of them saw it.

mod counters;
mod holder;
mod kernel_log;
mod live_frames;
mod pins;
mod program;
mod receiver;

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use agent_core::{Advert, Gate, Instant, RouterId};
use agent_wire::map::{self, MAX_PEERS, RouterConfig};
use agent_wire::vrrp::{self, Version};
use agent_wire::{MacAddress, Vrid};
use futures_util::future::select_all;

use crate::authentication::Authentication;
use crate::causes::chain;
use crate::clock;

pub use counters::Counters;
pub use pins::remove as cleanup;
pub use program::has_programs;

use program::Program;
use receiver::Receiver;

/// Which ways in are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The best that works: native, then generic, then socket.
    Auto,
    /// This one or none.
    Only(Mode),
}

/// The way in that is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// XDP in the driver.
    Native,
    /// XDP in the stack, for drivers without support.
    Generic,
    /// No XDP, so no gate either.
    Socket,
}

impl Mode {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Socket => "socket",
        }
    }
}

/// What the datapath has to know of one virtual router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    pub interface: String,
    /// 0: the interface is not there, and nothing is opened for the router.
    pub ifindex: u32,
    pub vrid: Vrid,
    pub version: Version,
    /// This host's own source address; its family is that of the advertisements.
    pub source: IpAddr,
    /// Empty: advertisements come to the group, from anybody; at most [`MAX_PEERS`].
    pub peers: Vec<IpAddr>,
    pub authentication: Authentication,
    /// The configured interval, which version 2 demands of the sender too.
    pub interval: Duration,
    /// The virtual addresses, without their prefixes.
    pub addresses: Vec<IpAddr>,
}

impl Router {
    /// What is demanded of an advertisement, as XDP and the sockets check it alike.
    fn demands(&self, index: u32) -> RouterConfig {
        let (authentication, password) = match self.authentication.on_the_wire() {
            vrrp::Authentication::None => (map::AUTHENTICATION_NONE, [0; 8]),
            vrrp::Authentication::Password(password) => (map::AUTHENTICATION_PASSWORD, password),
            vrrp::Authentication::Hmac => (map::AUTHENTICATION_HMAC, [0; 8]),
        };
        let mut peers = [[0; 16]; MAX_PEERS];
        let mut peer_count = 0;
        for (slot, &peer) in peers.iter_mut().zip(&self.peers) {
            *slot = map::octets(peer);
            peer_count += 1;
        }
        RouterConfig {
            index,
            version: match self.version {
                Version::V2 => 2,
                Version::V3 => 3,
            },
            authentication,
            // Only version 2 compares it, and its longest is 255 s.
            interval_s: u8::try_from(self.interval.as_secs()).unwrap_or_default(),
            peer_count,
            own: map::octets(self.source),
            password,
            peers,
        }
    }
}

/// All that [`Datapath::open`] needs.
#[derive(Clone, Debug)]
pub struct Settings {
    pub choice: Choice,
    /// In the order of the configuration: a [`RouterId`] is an index into it.
    pub routers: Vec<Router>,
    /// A folder of this agent's own on a BPF file system.
    pub pin_dir: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("this agent was built without the BPF object")]
    BuiltWithoutBpf,
    #[error("cannot {operation} {object}")]
    Program {
        operation: &'static str,
        object: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("cannot {operation} {object}")]
    Socket {
        operation: &'static str,
        object: String,
        #[source]
        source: io::Error,
    },
}

impl Error {
    fn program(
        operation: &'static str,
        object: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Program { operation, object: object.into(), source: source.into() }
    }

    fn socket(operation: &'static str, object: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Socket { operation, object: object.into(), source: source.into() }
    }
}

/// The way in of advertisements, and the gate.
#[derive(Debug)]
pub struct Datapath {
    routers: Vec<Router>,
    receivers: Vec<Receiver>,
    program: Option<Program>,
    fallback_reason: Option<String>,
    pending: VecDeque<Advert>,
    refused: Counters,
    gates: Vec<Position>,
    choice: Choice,
    pin_dir: PathBuf,
}

/// Where the gate of a router stands, and until when it may serve.
#[derive(Clone, Copy, Debug)]
struct Position {
    gate: Gate,
    lease_until: Instant,
}

impl Position {
    const SHUT: Self = Self { gate: Gate::Refuse, lease_until: Instant::from_nanos(0) };
}

impl Datapath {
    /// Opens the sockets and, as chosen, loads, pins and attaches the XDP program with every gate at
    /// [`Gate::Refuse`]; needs a tokio runtime with I/O enabled.
    ///
    /// Pins of an agent that was here before are taken over without a detached moment. A program that somebody else
    /// attached is never replaced: the next mode is tried, and the reason kept.
    pub fn open(settings: Settings) -> Result<Self, Error> {
        let Settings { choice, routers, pin_dir } = settings;
        let receivers = open_receivers(&routers)?;
        let gates = vec![Position::SHUT; routers.len()];
        let (program, fallback_reason) = attach(choice, &routers, &gates, &pin_dir)?;
        warn_of(fallback_reason.as_deref(), program.as_ref());
        let (pending, refused) = (VecDeque::new(), Counters::default());
        Ok(Self { routers, receivers, program, fallback_reason, pending, refused, gates, choice, pin_dir })
    }

    /// Opens what is new for routers of which some have another interface or source now; their number and order stay.
    /// The gates of the others stay where they are, without a shut moment.
    ///
    /// After an error the new interface has no gate; it is to be tried again, or given back by an index of 0.
    pub fn reopen(&mut self, routers: Vec<Router>) -> Result<(), Error> {
        for ((before, router), position) in self.routers.iter().zip(&routers).zip(&mut self.gates) {
            if before.ifindex != router.ifindex {
                *position = Position::SHUT;
            }
        }
        self.routers = routers;
        self.receivers = open_receivers(&self.routers)?;
        let now = clock::now();
        let is_serving = |position: &Position| position.gate == Gate::Serve && position.lease_until > now;
        let serves = self.gates.iter().any(is_serving);
        if let Some(program) = &mut self.program {
            // The rest of the ring was seen under the old settings.
            let mut seen = Vec::new();
            program.drain(&mut seen);
            self.pending.extend(seen);
            match program.follow(&self.routers, &self.gates, &self.pin_dir) {
                Ok(()) => return Ok(()),
                Err(error) if serves || self.choice != Choice::Auto => return Err(error),
                Err(error) => tracing::warn!(error = chain(&error), "trying the other modes of the datapath"),
            }
        } else if serves {
            // To try XDP takes longer than a lease.
            return Ok(());
        }
        // The ring has one reader.
        self.program = None;
        let (program, fallback_reason) = attach(self.choice, &self.routers, &self.gates, &self.pin_dir)?;
        warn_of(fallback_reason.as_deref(), program.as_ref());
        (self.program, self.fallback_reason) = (program, fallback_reason);
        Ok(())
    }

    /// The next advertisement that passed all checks; safe to cancel.
    pub async fn next_advert(&mut self) -> Result<Advert, Error> {
        loop {
            self.gather()?;
            if let Some(advert) = self.pending.pop_front() {
                return Ok(advert);
            }
            self.ready().await?;
        }
    }

    /// Appends everything that has arrived up to now, by arrival; does not wait.
    pub fn drain(&mut self, adverts: &mut Vec<Advert>) -> Result<(), Error> {
        self.gather()?;
        adverts.extend(self.pending.drain(..));
        Ok(())
    }

    /// Moves the gate of all addresses of a router; without XDP there is none to move.
    pub fn set_gate(&mut self, router: RouterId, gate: Gate) -> Result<(), Error> {
        if let Some(position) = self.gates.get_mut(router.0) {
            position.gate = gate;
        }
        let Some(program) = &mut self.program else { return Ok(()) };
        self.routers.get(router.0).map_or(Ok(()), |settings| program.set_gate(router, settings, gate))
    }

    /// Lets the gate of a router serve until then, if it is at [`Gate::Serve`].
    pub fn renew_lease(&mut self, router: RouterId, until: Instant) -> Result<(), Error> {
        if let Some(position) = self.gates.get_mut(router.0) {
            position.lease_until = until;
        }
        self.program.as_mut().map_or(Ok(()), |program| program.renew_lease(router, until))
    }

    /// Announces many addresses of a router at once, where that is possible and known to work; `false`: it is not, and
    /// another way must be taken.
    #[must_use]
    pub fn announce(&mut self, router: RouterId, ifindex: u32, mac: MacAddress, addresses: &[IpAddr]) -> bool {
        self.program.as_mut().is_some_and(|program| program.announce(router, ifindex, mac, addresses))
    }

    /// How many packets ended how, in XDP and in the sockets together.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let in_kernel = self.program.as_ref().map(Program::counters).unwrap_or_default();
        in_kernel + self.refused
    }

    #[must_use]
    pub fn mode(&self) -> Mode {
        mode_of(self.program.as_ref())
    }

    /// Whether frames for the addresses are held back in the kernel when the lease has ended.
    #[must_use]
    pub fn gate(&self) -> bool {
        self.program.is_some()
    }

    /// Why a better mode is not used.
    #[must_use]
    pub fn fallback_reason(&self) -> Option<&str> {
        self.fallback_reason.as_deref()
    }

    /// Moves what has arrived to `pending`.
    fn gather(&mut self) -> Result<(), Error> {
        let sorted_from = self.pending.len();
        if let Some(program) = &mut self.program {
            let mut seen = Vec::new();
            program.drain(&mut seen);
            self.pending.extend(seen);
        }
        for receiver in &mut self.receivers {
            let Some(router) = self.routers.get(receiver.id().0) else { continue };
            while let Some(received) = receiver.receive(router)? {
                match received {
                    Ok(advert) => {
                        self.refused.reported += 1;
                        self.pending.push_back(advert);
                    }
                    Err(refusal) => self.refused.count_refusal(refusal),
                }
            }
        }
        let fresh = self.pending.make_contiguous().get_mut(sorted_from..).unwrap_or_default();
        fresh.sort_by_key(|advert| advert.arrived_at);
        Ok(())
    }

    /// Waits until [`Self::gather`] has something to find.
    async fn ready(&mut self) -> Result<(), Error> {
        if self.receivers.is_empty() {
            // `select_all` wants one at least; without routers nothing will ever arrive.
            return std::future::pending().await;
        }
        let sockets = self.receivers.iter().map(|receiver| Box::pin(receiver.ready()));
        let sockets = select_all(sockets.collect::<Vec<_>>());
        match &mut self.program {
            None => sockets.await.0,
            Some(program) => {
                let ring = pin!(program.ready());
                match futures_util::future::select(ring, sockets).await {
                    futures_util::future::Either::Left((ready, _)) => ready,
                    futures_util::future::Either::Right(((ready, ..), _)) => ready,
                }
            }
        }
    }
}

fn mode_of(program: Option<&Program>) -> Mode {
    program.map_or(Mode::Socket, Program::mode)
}

/// Those of the routers whose interface is there.
fn open_receivers(routers: &[Router]) -> Result<Vec<Receiver>, Error> {
    let here = routers.iter().enumerate().filter(|(_, router)| router.ifindex != 0);
    here.map(|(index, router)| Receiver::open(RouterId(index), router)).collect()
}

fn warn_of(fallback_reason: Option<&str>, program: Option<&Program>) {
    if let Some(reason) = fallback_reason {
        tracing::warn!(reason, mode = mode_of(program).as_str(), "the datapath is not the best one");
    }
}

/// Attaches the program in the best mode of the choice; gives the reason where that is not the best there is.
fn attach(
    choice: Choice,
    routers: &[Router],
    gates: &[Position],
    pin_dir: &Path,
) -> Result<(Option<Program>, Option<String>), Error> {
    let modes: &[Mode] = match choice {
        Choice::Auto => &[Mode::Native, Mode::Generic],
        Choice::Only(Mode::Native) => &[Mode::Native],
        Choice::Only(Mode::Generic) => &[Mode::Generic],
        Choice::Only(Mode::Socket) => {
            // An agent before this one may have left a gate that nobody would move any more.
            pins::remove(pin_dir).map_err(|error| Error::program("remove the pins in", path_text(pin_dir), error))?;
            return Ok((None, None));
        }
    };
    let mut reasons = Vec::new();
    for &mode in modes {
        match Program::attach(mode, routers, gates, pin_dir) {
            Ok(program) => {
                let reason = (!reasons.is_empty()).then(|| reasons.join("; "));
                return Ok((Some(program), reason));
            }
            Err(error) if choice != Choice::Auto => return Err(error),
            Err(Error::BuiltWithoutBpf) => return Ok((None, Some(Error::BuiltWithoutBpf.to_string()))),
            Err(error) => reasons.push(format!("{}: {}", mode.as_str(), chain(&error))),
        }
    }
    Ok((None, Some(reasons.join("; "))))
}

fn path_text(path: &Path) -> String {
    path.display().to_string()
}
