//! Any sequence of news and of waking up, early and late, to a node's decisions.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use agent_core::{
    Action, Advert, Death, Doubt, Fault, Gate, Input, Instant, InterfaceState, Node, Parameters, Probe, ProbeOutcome,
    Receiver, Replication, RouterId, RouterParameters, ServerParameters, ServerReport, Standing, StateName,
    StepFailure, Ticket, TrackId, TrackKind, TrackOutcome, TrackParameters, TrackWeight, Writers,
};
use agent_wire::vrrp::Version;
use agent_wire::{Priority, Vrid};

/// More than this at one moment is a loop or a flood; the longest sequence of one router is 6.
const ACTIONS_AT_ONCE: usize = 32;
/// Deadlines that all lie in the past fire in this many calls, then one lies in the future.
const TIMEOUTS_AT_ONCE: usize = 8;
/// A run ends after this many pieces of news.
const STEPS: usize = 512;

/// Reads a set-up from the first two bytes and news from the rest, and checks the node after each piece.
pub fn node(bytes: &[u8]) {
    let mut bytes = bytes.iter().copied();
    let mut byte = || bytes.next();
    let (Some(shape), Some(priority)) = (byte(), byte()) else { return };
    let mut run = Run::new(shape, priority);
    // Without a result of its script no router would be a candidate.
    run.give(Input::Track { track: TrackId(1), outcome: TrackOutcome::Passed });
    run.carry_out();
    for _ in 0..STEPS {
        let (Some(word), Some(value), Some(more)) = (byte(), byte(), byte()) else { return };
        run.step(word, value, more);
    }
}

/// One node, its clock, and what an outsider knows of it.
struct Run {
    node: Node,
    parameters: Parameters,
    now: Instant,
    gates: Vec<Gate>,
    /// Asked for and not answered.
    open: Vec<Ticket>,
    last_ticket: u64,
    last_arrival: Instant,
    finished: bool,
}

impl Run {
    fn new(shape: u8, priority: u8) -> Self {
        let own = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 11));
        let version = if shape & 1 == 0 { Version::V3 } else { Version::V2 };
        let interval = if shape & 1 == 0 { Duration::from_millis(100) } else { Duration::from_secs(1) };
        let routers = (1..=1 + (shape >> 1 & 1)).filter_map(Vrid::new).map(|vrid| RouterParameters {
            name: format!("router {}", vrid.as_u8()),
            vrid,
            version,
            priority: Priority::new(priority.clamp(1, 254)),
            advertisement_interval: interval,
            source_address: own,
            sole_peer: (shape & 4 != 0).then_some(peer(0)),
            preempt_mode: shape & 8 != 0,
            preempt_delay: Duration::from_millis(if shape & 16 == 0 { 0 } else { 250 }),
            startup_delay: Duration::from_millis(if shape & 32 == 0 { 0 } else { 700 }),
            announce_repeat: vec![Duration::ZERO, Duration::from_millis(20), Duration::from_secs(1)],
            announce_refresh: Duration::from_secs(30),
            tracks: vec![TrackWeight { track: TrackId(0), weight: -20 }, TrackWeight { track: TrackId(1), weight: 0 }],
        });
        let writers = match shape >> 6 {
            0 => None,
            1 => Some(Writers::Both),
            _ => Some(Writers::Active),
        };
        let server = writers.map(|writers| ServerParameters {
            fall: 2,
            rise: 1,
            writers,
            require_replication: shape >> 6 == 3,
            catch_up_lag: Duration::from_secs(1),
        });
        let track = |kind, count| TrackParameters { kind, name: String::new(), rise: count, fall: count };
        let tracks = vec![track(TrackKind::Interface, 1), track(TrackKind::Script, 2)];
        let parameters = Parameters { routers: routers.collect(), tracks, server };
        let now = Instant::from_nanos(1_000_000_000);
        Self {
            node: Node::new(now, parameters.clone()),
            gates: vec![Gate::Refuse; parameters.routers.len()],
            parameters,
            now,
            open: Vec::new(),
            last_ticket: 0,
            last_arrival: now,
            finished: false,
        }
    }

    fn step(&mut self, word: u8, value: u8, more: u8) {
        let router = RouterId(usize::from(more) % self.parameters.routers.len());
        let input = match word % 13 {
            0 => return self.sleep(Duration::from_millis(u64::from(value))),
            1 => return self.sleep(Duration::from_secs(u64::from(value))),
            2 => {
                let due = self.node.poll_timeout().unwrap_or(self.now);
                let late = Duration::from_micros(u64::from(value) * u64::from(value));
                return self.sleep(due.saturating_since(self.now) + late);
            }
            3 | 4 => self.advert(router, value, more),
            5 => Input::AdvertSent { router, at: self.now - Duration::from_millis(u64::from(value)) },
            6 => Input::Link { router, up: value != 0 },
            7 => probe(value),
            8 => standing(value, more),
            9 | 10 => {
                let result = if value & 1 == 0 { Ok(()) } else { Err(StepFailure("no".to_owned())) };
                let ticket = match self.open.len() {
                    0 => Ticket(u64::from(more)),
                    open => self.open.remove(usize::from(more) % open),
                };
                Input::Done { ticket, result }
            }
            11 => address_care(router, value),
            _ if value == 255 => Input::Shutdown,
            _ => Input::Server(ServerReport::Died(Death::ProcessExited)),
        };
        self.give(input);
        self.wake();
    }

    fn advert(&mut self, router: RouterId, value: u8, more: u8) -> Input {
        let age = Duration::from_millis(u64::from(more >> 3) * 10);
        self.last_arrival = self.last_arrival.max(self.now - age);
        Input::Advert(Advert {
            router,
            source: peer(more >> 1 & 3),
            priority: Priority::new(value),
            interval: Duration::from_millis(10 + u64::from(more) * 160),
            arrived_at: self.last_arrival,
        })
    }

    fn sleep(&mut self, duration: Duration) {
        self.now = self.now + duration;
        self.wake();
    }

    fn give(&mut self, input: Input) {
        self.node.handle_input(self.now, input);
        self.carry_out();
    }

    /// Lets the deadlines fire as the driver does, and sees that they come to rest.
    fn wake(&mut self) {
        let mut calls = 0;
        loop {
            self.node.handle_timeout(self.now);
            self.carry_out();
            if self.node.poll_timeout().is_none_or(|due| due > self.now) {
                break;
            }
            calls += 1;
            assert!(calls < TIMEOUTS_AT_ONCE, "deadline {:?} never passes {:?}", self.node.poll_timeout(), self.now);
        }
        self.node.handle_timeout(self.now);
        let idle = self.node.poll_action();
        assert_eq!(idle, None, "a spurious call did something");
    }

    /// Notes every action; none may contradict what was done before it.
    fn carry_out(&mut self) {
        let mut count = 0;
        while let Some(action) = self.node.poll_action() {
            count += 1;
            assert!(count <= ACTIONS_AT_ONCE, "a flood of actions, now {action:?}");
            assert!(!self.finished, "{action:?} after the end");
            self.note(action);
        }
        let snapshot = self.node.snapshot(self.now);
        for ((router, own), gate) in snapshot.routers.iter().zip(&self.parameters.routers).zip(&self.gates) {
            let active = router.state == StateName::Active;
            assert!(active || *gate == Gate::Refuse, "the gate is open in state {:?}", router.state);
            assert!(!router.serving || *gate == Gate::Serve, "it serves behind a closed gate");
            assert!(!(self.finished && (active || router.serving)), "it goes on after the end");
            assert_eq!(router.lease_remaining.is_some(), active);
            assert!(router.lease_remaining.is_none_or(|lease| lease <= own.advertisement_interval * 3));
        }
    }

    fn note(&mut self, action: Action) {
        match action {
            Action::SendAdvert { router, priority } => {
                let own = self.parameters.routers[router.0].priority.as_u8();
                let is_own = [own, own.saturating_sub(20).max(1)].contains(&priority.as_u8());
                assert!(priority.is_release() || is_own, "{priority:?} is not its priority");
                assert!(!priority.is_release() || self.gates[router.0] == Gate::Refuse, "resigned while it serves");
            }
            Action::RenewLease { router, until } => {
                let state = self.node.snapshot(self.now).routers[router.0].state;
                assert_eq!(state, StateName::Active, "a lease for a router that is not Active");
                let most = self.now + self.parameters.routers[router.0].advertisement_interval * 3;
                assert!(until > self.now && until <= most, "a lease until {until:?} at {:?}", self.now);
            }
            Action::SetGate { router, gate } => self.gates[router.0] = gate,
            Action::AddAddresses { ticket, router }
            | Action::RestoreAddresses { ticket, router, .. }
            | Action::Announce { ticket, router } => {
                assert_eq!(self.gates[router.0], Gate::Serve, "an address behind a closed gate");
                self.ask(ticket);
            }
            Action::RenewAddresses { router } => assert_eq!(self.gates[router.0], Gate::Serve),
            Action::RemoveAddresses { ticket, router } | Action::RemoveStrays { ticket, router, .. } => {
                assert_eq!(self.gates[router.0], Gate::Refuse, "an address goes behind an open gate");
                self.ask(ticket);
            }
            Action::StopReceiving { ticket, .. }
            | Action::Drain { ticket }
            | Action::OpenServer { ticket }
            | Action::FenceServer { ticket } => {
                assert!(self.parameters.server.is_some(), "there is no server");
                self.ask(ticket);
            }
            Action::ResumeReceiving => assert!(self.parameters.server.is_some(), "there is no server"),
            Action::Report(transition) => assert!(transition.at <= self.now, "{transition:?} is of the future"),
            Action::Finished => self.finished = true,
        }
    }

    fn ask(&mut self, ticket: Ticket) {
        assert!(ticket.0 > self.last_ticket, "{ticket:?} was used before");
        self.last_ticket = ticket.0;
        self.open.push(ticket);
    }
}

fn peer(index: u8) -> IpAddr {
    // Two before and two after the own address; the last has the highest bit.
    IpAddr::V4(Ipv4Addr::new([192, 10, 192, 224][usize::from(index)], 0, 2, 12 - index))
}

/// What others do to the interface and the addresses of a router.
fn address_care(router: RouterId, value: u8) -> Input {
    let vip = |bit: u8, last: u8| (value & bit != 0).then_some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)));
    match value >> 6 {
        0 => {
            let state = [
                InterfaceState::Ready { source: peer(value >> 2 & 3) },
                InterfaceState::Missing,
                InterfaceState::NoSource,
                InterfaceState::Unusable,
            ];
            Input::Interface { router, state: state[usize::from(value & 3)] }
        }
        1 if value & 1 == 0 => Input::HardwareAddressChanged { router },
        1 => {
            let failed = || TrackOutcome::Failed("down".to_owned());
            let outcome = if value & 2 == 0 { TrackOutcome::Passed } else { failed() };
            Input::Track { track: TrackId(usize::from(value >> 2 & 3)), outcome }
        }
        _ => {
            let local = [vip(1, 150), vip(2, 151)].into_iter().flatten().collect();
            let missing = [vip(4, 150), vip(8, 151)].into_iter().flatten().collect();
            Input::Addresses { router, local, missing }
        }
    }
}

fn probe(value: u8) -> Input {
    let kind = [Probe::Ping, Probe::Connect, Probe::Write][usize::from(value % 3)];
    let outcome = match value / 3 % 4 {
        0 | 1 => ProbeOutcome::Passed,
        2 => ProbeOutcome::Failed([Fault::TimedOut, Fault::CannotCommit][usize::from(value >> 7)]),
        _ => ProbeOutcome::Inconclusive(Doubt::OtherError),
    };
    Input::Server(ServerReport::Probe { kind, outcome })
}

fn standing(value: u8, more: u8) -> Input {
    let receiver = [Receiver::Connected, Receiver::Connecting, Receiver::Stopped, Receiver::Connected];
    let replication = Replication {
        receiver: receiver[usize::from(value & 3)],
        applying: value & 4 == 0,
        lag: (value & 8 == 0).then(|| Duration::from_millis(u64::from(more) * 20)),
        error: None,
    };
    let replication = (value & 16 == 0).then_some(replication);
    Input::Server(ServerReport::Standing(Standing { writable: value & 32 != 0, replication }))
}
