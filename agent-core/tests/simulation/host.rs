use std::time::Duration;

use agent_core::{
    Advert, Fault as ProbeFault, Gate, Input, Instant, InterfaceState, Node, Probe, ProbeOutcome, Receiver,
    Replication, RouterId, ServerReport, Standing, TrackId, TrackOutcome,
};

use crate::configuration::{Configuration, address, vip};
use crate::mutants::Mutant;

/// One host: what its kernel and its server hold, and the agent on top, if it runs.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) index: usize,
    pub(crate) agent: Option<Node>,
    /// Numbers the agent's lives: what an earlier one asked for does not come back to a later one.
    pub(crate) life: u64,
    pub(crate) inbox: Inbox,
    /// When the agent's alarm goes off.
    pub(crate) wake_at: Option<Instant>,
    pub(crate) asleep_until: Instant,
    pub(crate) paused_until: Instant,
    /// Frames that came in the pause and are taken after it.
    pub(crate) held_frames: Vec<Advert>,
    /// Of each router.
    pub(crate) kernel: Vec<Kernel>,
    /// Requests for addresses are carried out one after another, those for the role and for the receiver too.
    pub(crate) addresses_free_at: Instant,
    /// When the last removal of an address ends that was asked for.
    pub(crate) removing_until: Instant,
    pub(crate) role_free_at: Instant,
    pub(crate) receiver_free_at: Instant,
    pub(crate) writable: bool,
    pub(crate) receiver_stopped: bool,
    pub(crate) troubles: Troubles,
    /// Somebody else than the agent has changed an address.
    pub(crate) meddled: bool,
}

/// What waits for the agent's next turn.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) adverts: Vec<Advert>,
    /// Of the interface and its addresses.
    pub(crate) news: Vec<Input>,
    pub(crate) inputs: Vec<Input>,
}

/// What outlives the agent.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) gate: Gate,
    pub(crate) lease_until: Instant,
    /// The address is local until then.
    pub(crate) address_until: Option<Instant>,
}

/// How many faults of each kind last at the moment.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    pub(crate) agent_off: u32,
    pub(crate) server_dead: u32,
    pub(crate) server_hung: u32,
    pub(crate) server_steps_fail: u32,
    pub(crate) server_steps_slow: u32,
    pub(crate) server_steps_lost: u32,
    pub(crate) address_steps_fail: u32,
    pub(crate) link_down: u32,
    pub(crate) interface_gone: u32,
    pub(crate) source_gone: u32,
    pub(crate) sends_fail: u32,
    pub(crate) tracks: Vec<u32>,
}

impl Host {
    pub(crate) fn new(index: usize, own: &Configuration) -> Self {
        let origin = Instant::from_nanos(0);
        let kernel = || Kernel { gate: Gate::Refuse, lease_until: origin, address_until: None };
        Self {
            index,
            agent: None,
            life: 0,
            inbox: Inbox::default(),
            wake_at: None,
            asleep_until: origin,
            paused_until: origin,
            held_frames: Vec::new(),
            kernel: (0..own.routers).map(|_| kernel()).collect(),
            addresses_free_at: origin,
            removing_until: origin,
            role_free_at: origin,
            receiver_free_at: origin,
            writable: !own.is_one_writer(),
            receiver_stopped: false,
            troubles: Troubles { tracks: vec![0; own.tracks.len()], ..Troubles::default() },
            meddled: false,
        }
    }

    pub(crate) fn is_paused(&self, now: Instant) -> bool {
        now < self.paused_until
    }

    pub(crate) fn is_asleep(&self, now: Instant) -> bool {
        now < self.asleep_until || self.is_paused(now)
    }

    /// Address present, gate open, lease valid, and somebody there to answer.
    pub(crate) fn serves(&self, now: Instant, router: usize, mutant: Option<Mutant>) -> bool {
        let kernel = &self.kernel[router];
        !self.is_paused(now)
            && self.has_address(now, router)
            && kernel.gate == Gate::Serve
            && (now < kernel.lease_until || mutant == Some(Mutant::GateWithoutLease))
    }

    pub(crate) fn has_address(&self, now: Instant, router: usize) -> bool {
        self.kernel[router].address_until.is_some_and(|until| now < until)
    }

    pub(crate) fn server_runs(&self) -> bool {
        self.troubles.server_dead == 0 && self.troubles.server_hung == 0
    }

    pub(crate) fn has_interface(&self) -> bool {
        self.troubles.interface_gone == 0
    }

    /// Whether frames come and go.
    pub(crate) fn is_connected(&self) -> bool {
        self.troubles.link_down == 0 && self.has_interface()
    }

    pub(crate) fn can_send(&self) -> bool {
        self.is_connected() && self.troubles.source_gone == 0 && self.troubles.sends_fail == 0
    }

    /// What the kernel tells of the interface.
    pub(crate) fn tell_interface(&mut self) {
        for router in 0..self.kernel.len() {
            let state = if !self.has_interface() {
                InterfaceState::Missing
            } else if self.troubles.source_gone > 0 {
                InterfaceState::NoSource
            } else {
                InterfaceState::Ready { source: address(self.index, router) }
            };
            let up = self.is_connected();
            self.inbox.news.push(Input::Interface { router: RouterId(router), state });
            self.inbox.news.push(Input::Link { router: RouterId(router), up });
        }
    }

    pub(crate) fn tell_addresses(&mut self, now: Instant, router: usize) {
        let known = || vec![vip(router)];
        let (local, missing) = match (self.has_interface(), self.has_address(now, router)) {
            (false, _) => (Vec::new(), Vec::new()),
            (true, true) => (known(), Vec::new()),
            (true, false) => (Vec::new(), known()),
        };
        self.inbox.news.push(Input::Addresses { router: RouterId(router), local, missing });
    }

    pub(crate) fn tell_track(&mut self, track: usize) {
        let failed = self.troubles.tracks[track] > 0;
        let outcome = if failed { TrackOutcome::Failed("down".to_owned()) } else { TrackOutcome::Passed };
        self.inbox.inputs.push(Input::Track { track: TrackId(track), outcome });
    }

    /// What the probes of the server say.
    pub(crate) fn tell_server(&mut self, source_lives: bool) {
        let outcome = if self.troubles.server_dead > 0 {
            ProbeOutcome::Failed(ProbeFault::Refused)
        } else if self.troubles.server_hung > 0 {
            ProbeOutcome::Failed(ProbeFault::TimedOut)
        } else {
            ProbeOutcome::Passed
        };
        let probes = [Probe::Ping, Probe::Connect].map(|kind| ServerReport::Probe { kind, outcome });
        self.inbox.inputs.extend(probes.map(Input::Server));
        if self.server_runs() {
            let standing = self.standing(source_lives);
            self.inbox.inputs.push(Input::Server(ServerReport::Standing(standing)));
        }
    }

    fn standing(&self, source_lives: bool) -> Standing {
        let receiver = match (self.receiver_stopped, source_lives) {
            (true, _) => Receiver::Stopped,
            (false, true) => Receiver::Connected,
            (false, false) => Receiver::Connecting,
        };
        let lag = (receiver == Receiver::Connected).then_some(Duration::ZERO);
        let replication = Replication { receiver, applying: true, lag, error: None };
        Standing { writable: self.writable, replication: Some(replication) }
    }
}
