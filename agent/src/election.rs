//! The election thread: drives the core and carries out what it decides.
//!
//! It does no disk, DNS, fork, TLS or SQL. What takes time runs elsewhere and comes back as an [`Input`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use agent_core::{
    Action, Advert, Input, Instant, InterfaceState, Node, Parameters, RouterId, Snapshot, StepFailure, Transition,
};
use agent_wire::vrrp::{LONGEST, Outgoing, encode};
use agent_wire::{ChecksumForm, Priority};
use tokio::sync::{mpsc, watch};

use crate::announce::Announcer;
use crate::authentication::Authentication;
use crate::causes::chain;
use crate::clock::{self, Alarm};
use crate::datapath::{self, Datapath};
use crate::mysql;
use crate::realtime::prefer_this_thread;
use crate::times::Times;
use crate::unheard::Unheard;
use crate::vip::Vips;

mod addresses;
mod tracked;
mod wires;

use addresses::{VipJob, VipQueue};
use tracked::TrackedInterfaces;
use wires::Wires;

/// How often the status is renewed while nothing happens.
const VIEW_EVERY: Duration = Duration::from_millis(200);

/// What the adapters have to know; the core's share is in `parameters`, router by router in the same order.
#[derive(Clone, Debug)]
pub struct Settings {
    pub parameters: Parameters,
    pub routers: Vec<RouterSettings>,
    pub datapath: datapath::Settings,
}

/// One virtual router, as the adapters see it.
#[derive(Clone, Debug)]
pub struct RouterSettings {
    pub interface: String,
    /// Where advertisements come from; `None`: the primary address of the interface.
    pub source: Option<IpAddr>,
    /// Empty: multicast.
    pub peers: Vec<IpAddr>,
    /// The virtual addresses with the length of their prefix.
    pub addresses: Vec<(IpAddr, u8)>,
    pub checksum_form: ChecksumForm,
    pub authentication: Authentication,
}

/// The ends of the channels that join the election thread to the rest of the agent.
pub struct Channels {
    pub inputs: mpsc::UnboundedReceiver<Input>,
    /// `None`: no server is configured.
    pub server: Option<mysql::Commands>,
    pub view: watch::Sender<Arc<View>>,
    pub events: mpsc::UnboundedSender<Event>,
}

/// What the rest of the agent is told, in order.
#[derive(Clone, Debug)]
pub enum Event {
    /// Adverts can be sent and received from now on.
    Ready,
    Transition(Transition),
    /// Something that a person should know, once.
    Trouble(String),
    Finished,
}

/// What there is to see of the election at one moment.
#[derive(Clone, Debug)]
pub struct View {
    pub at: Instant,
    pub snapshot: Snapshot,
    /// Advertisements sent and received, by router.
    pub adverts: Vec<AdvertCounts>,
    /// Refused packets by the word of the refusal, over all routers.
    pub refused: Vec<(&'static str, u64)>,
    pub last_transitions: Vec<Option<(SystemTime, Transition)>>,
    pub datapath_mode: &'static str,
    pub gate: bool,
    pub fallback_reason: Option<String>,
    /// Frames by what the datapath did with them.
    pub packets: Vec<(&'static str, u64)>,
    /// How late this thread was at its deadlines.
    pub late: Times,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct AdvertCounts {
    pub sent: u64,
    pub received: u64,
}

impl View {
    /// What there is to see before the election has begun.
    #[must_use]
    pub fn initial(settings: &Settings) -> Self {
        let now = clock::now();
        let count = settings.routers.len();
        Self {
            at: now,
            snapshot: Node::new(now, settings.parameters.clone()).snapshot(now),
            adverts: vec![AdvertCounts::default(); count],
            refused: Vec::new(),
            last_transitions: vec![None; count],
            datapath_mode: "socket",
            gate: false,
            fallback_reason: Some("starting".to_owned()),
            packets: Vec::new(),
            late: Times::default(),
        }
    }
}

struct Election {
    node: Node,
    settings: Settings,
    wires: Wires,
    tracked: TrackedInterfaces,
    datapath: Datapath,
    vips: VipQueue,
    announcer: Announcer,
    alarm: Alarm,
    channels: Channels,
    counts: Vec<AdvertCounts>,
    last_transitions: Vec<Option<(SystemTime, Transition)>>,
    viewed_at: Instant,
    late: Times,
    /// The last trouble of sending, so that it is told once and not a hundred times a second.
    send_trouble: Vec<Option<String>>,
    unheard: Unheard,
    finished: bool,
}

/// Runs the election until the core has handed over; on a current-thread runtime with a `LocalSet`.
pub async fn run(settings: Settings, channels: Channels) -> anyhow::Result<()> {
    let vips = Vips::open()?;
    let (wires, datapath) = Wires::open(&settings)?;
    let mut settings = settings;
    wires.fill(&mut settings.parameters);
    // What an earlier life of the agent left behind is not this one's to serve.
    let count = settings.routers.len();
    for router in (0..count).map(RouterId) {
        vips.remove(&wires.vips(router)).await?;
    }
    for vip in vips.remove_leftover(&wires.indices()).await? {
        let text = format!("removed {}/{}, which an agent before this one had left behind", vip.address, vip.prefix);
        drop(channels.events.send(Event::Trouble(text)));
    }
    // Not before: the kernel checks the programs for up to half a second, which may not stand before other programs.
    prefer_this_thread();
    let now = clock::now();
    let mut election = Election {
        node: Node::new(now, settings.parameters.clone()),
        wires,
        tracked: TrackedInterfaces::new(&settings.parameters),
        datapath,
        vips: VipQueue::start(vips, channels.events.clone()),
        announcer: Announcer::new(),
        alarm: Alarm::new()?,
        channels,
        counts: vec![AdvertCounts::default(); count],
        last_transitions: vec![None; count],
        viewed_at: now,
        late: Times::default(),
        send_trouble: vec![None; count],
        unheard: Unheard::default(),
        settings,
        finished: false,
    };
    election.tell(Event::Ready);
    election.drive().await
}

impl Election {
    async fn drive(&mut self) -> anyhow::Result<()> {
        let (mut adverts, mut inputs) = (Vec::new(), Vec::new());
        loop {
            self.turn(&mut adverts, &mut inputs)?;
            if self.finished {
                return Ok(());
            }
            let wake_at = self.wake_at();
            self.alarm.set(Some(wake_at))?;
            let mut other = None;
            tokio::select! {
                biased;
                advert = self.datapath.next_advert() => adverts.push(advert?),
                input = self.vips.done.recv() => other = input,
                input = self.channels.inputs.recv() => other = Some(input.unwrap_or(Input::Shutdown)),
                news = self.wires.interfaces.ready() => news?,
                fired = self.alarm.fired() => {
                    fired?;
                    self.late.note(clock::now().saturating_since(wake_at));
                }
            }
            // An advertisement that has arrived goes before any other news.
            self.take_adverts(clock::now(), &mut adverts)?;
            inputs.extend(other);
        }
    }

    /// One turn of the driver's contract: all inputs, then the deadlines, then the actions.
    fn turn(&mut self, adverts: &mut Vec<Advert>, inputs: &mut Vec<Input>) -> anyhow::Result<()> {
        // Read before the ring: a thread that is held up in between must not meet a deadline with advertisements unread.
        let now = clock::now();
        self.take_adverts(now, adverts)?;
        while let Ok(input) = self.vips.done.try_recv() {
            inputs.push(input);
        }
        // The kernel tells of a change of addresses before it answers the request for it, so its news comes first.
        self.follow_interfaces(now)?;
        for input in inputs.drain(..) {
            self.node.handle_input(now, input);
        }
        while let Ok(input) = self.channels.inputs.try_recv() {
            self.node.handle_input(now, input);
        }
        self.node.handle_timeout(now);
        let mut reported = false;
        while let Some(action) = self.node.poll_action() {
            reported |= matches!(action, Action::Report(_));
            self.execute(action);
        }
        let now = clock::now();
        if reported || now.saturating_since(self.viewed_at) >= VIEW_EVERY {
            self.viewed_at = now;
            self.show(now);
        }
        Ok(())
    }

    fn follow_interfaces(&mut self, now: Instant) -> anyhow::Result<()> {
        let mut troubles = Vec::new();
        let inputs = self.wires.follow(now, &mut self.datapath, &mut troubles)?;
        for trouble in troubles {
            self.tell(Event::Trouble(trouble));
        }
        for input in inputs {
            if let Input::Interface { router, state: InterfaceState::Ready { source } } = input {
                self.settings.parameters.routers[router.0].source_address = source;
            }
            self.node.handle_input(now, input);
        }
        for (input, sentence) in self.tracked.look(&self.wires.interfaces) {
            self.node.handle_input(now, input);
            if let Some(sentence) = sentence {
                self.tell(Event::Trouble(sentence));
            }
        }
        Ok(())
    }

    fn take_adverts(&mut self, now: Instant, adverts: &mut Vec<Advert>) -> anyhow::Result<()> {
        self.datapath.drain(adverts)?;
        // The one that ended the sleep stands before those that came with it.
        for advert in adverts.drain(..) {
            if let Some(counts) = self.counts.get_mut(advert.router.0) {
                counts.received += 1;
            }
            if let Some(own) = self.settings.parameters.routers.get(advert.router.0)
                && let Some(sentence) = self.unheard.hear(&advert, &own.name, own.advertisement_interval)
            {
                self.tell(Event::Trouble(sentence));
            }
            self.node.handle_input(now, Input::Advert(advert));
        }
        Ok(())
    }

    fn wake_at(&self) -> Instant {
        let view_at = self.viewed_at + VIEW_EVERY;
        self.node.poll_timeout().map_or(view_at, |at| at.min(view_at))
    }

    fn execute(&mut self, action: Action) {
        match action {
            Action::SendAdvert { router, priority } => self.send_advert(router, priority),
            Action::RenewLease { router, until } => {
                let renewed = self.datapath.renew_lease(router, until);
                self.tell_failure(renewed);
            }
            Action::SetGate { router, gate } => {
                let set = self.datapath.set_gate(router, gate);
                self.tell_failure(set);
            }
            Action::AddAddresses { ticket, router } => {
                self.vips.request(VipJob::Add(ticket, self.wires.vips(router)));
            }
            Action::RenewAddresses { router } => self.vips.request(VipJob::Renew(self.wires.vips(router))),
            Action::RemoveAddresses { ticket, router } => {
                self.vips.request(VipJob::Remove(ticket, self.wires.vips(router)));
            }
            Action::RestoreAddresses { ticket, router, addresses } => {
                let name = &self.settings.parameters.routers[router.0].name;
                self.tell(Event::Trouble(format!(
                    "virtual router {name:?}: another program removed {}; it is put back",
                    list(&addresses)
                )));
                self.vips.request(VipJob::Add(ticket, self.wires.vips_among(router, &addresses)));
            }
            Action::RemoveStrays { ticket, router, addresses } => {
                let name = &self.settings.parameters.routers[router.0].name;
                self.tell(Event::Trouble(format!(
                    "virtual router {name:?}: another program added {} to this host, which does not serve it; it is \
                     removed",
                    list(&addresses)
                )));
                self.vips.request(VipJob::Remove(ticket, self.wires.strays(router, &addresses)));
            }
            Action::Announce { ticket, router } => {
                let addresses = self.wires.vips(router).into_iter().map(|vip| (vip.ifindex, vip.address));
                let datapath = &mut self.datapath;
                let faster = |ifindex, mac, list: &[IpAddr]| datapath.announce(router, ifindex, mac, list);
                let result = self.announcer.announce_by(addresses, faster);
                let result = result.map_err(|error| StepFailure(chain(&error)));
                self.node.handle_input(clock::now(), Input::Done { ticket, result });
            }
            Action::StopReceiving { ticket, settle } => {
                self.ask_server(mysql::Command::StopReceiving { ticket, settle });
            }
            Action::Drain { ticket } => self.ask_server(mysql::Command::Drain { ticket }),
            Action::OpenServer { ticket } => self.ask_server(mysql::Command::Open { ticket }),
            Action::FenceServer { ticket } => self.ask_server(mysql::Command::Fence { ticket }),
            Action::ResumeReceiving => self.ask_server(mysql::Command::ResumeReceiving),
            Action::Report(transition) => {
                let at = SystemTime::now();
                self.last_transitions[transition.router.0] = Some((at, transition.clone()));
                self.tell(Event::Transition(transition));
            }
            Action::Finished => {
                self.tell(Event::Finished);
                self.finished = true;
            }
        }
    }

    /// Sends to every destination; the lease is counted from the first that took it.
    fn send_advert(&mut self, router: RouterId, priority: Priority) {
        let wire = self.wires.get_mut(router);
        // Without an interface there is nobody to tell.
        let Some(socket) = &wire.socket else { return };
        let own = &self.settings.routers[router.0];
        let parameters = &self.settings.parameters.routers[router.0];
        let mut buffer = [0; LONGEST];
        let mut sent_at = None;
        let mut trouble = None;
        for &destination in socket.destinations() {
            let outgoing = Outgoing {
                version: parameters.version,
                vrid: parameters.vrid,
                priority,
                interval: parameters.advertisement_interval,
                addresses: &wire.addresses,
                authentication: own.authentication.on_the_wire(),
                checksum_form: own.checksum_form,
                source: parameters.source_address,
                destination,
            };
            match encode(&outgoing, &mut buffer) {
                Ok(length) => {
                    let advert = &mut buffer[..length];
                    if let Some(signer) = &mut wire.signer {
                        signer.sign(parameters.source_address, destination, advert, clock::since_1970());
                    }
                    match socket.send(advert, destination) {
                        Ok(at) => sent_at = sent_at.or(Some(at)),
                        Err(error) => trouble = Some(chain(&error)),
                    }
                }
                Err(error) => trouble = Some(format!("an advertisement cannot be encoded: {error:?}")),
            }
        }
        if let Some(text) = &trouble
            && self.send_trouble[router.0].as_ref() != Some(text)
        {
            self.tell(Event::Trouble(text.clone()));
        }
        self.send_trouble[router.0] = trouble;
        if let Some(at) = sent_at {
            self.counts[router.0].sent += 1;
            if !priority.is_release() {
                self.node.handle_input(clock::now(), Input::AdvertSent { router, at });
            }
        }
    }

    /// The core asks for nothing of a server where none is configured.
    fn ask_server(&self, command: mysql::Command) {
        if let Some(server) = &self.channels.server {
            server.send(command);
        }
    }

    fn tell_failure(&self, result: Result<(), datapath::Error>) {
        if let Err(error) = result {
            self.tell(Event::Trouble(chain(&error)));
        }
    }

    fn tell(&self, event: Event) {
        // Nobody listens once the agent ends.
        drop(self.channels.events.send(event));
    }

    fn show(&mut self, now: Instant) {
        let counters = self.datapath.counters();
        for sentence in self.unheard.look(now, counters) {
            self.tell(Event::Trouble(sentence));
        }
        let view = View {
            at: now,
            snapshot: self.node.snapshot(now),
            adverts: self.counts.clone(),
            refused: counters.refusals().map(|(why, count)| (why.as_str(), count)).collect(),
            last_transitions: self.last_transitions.clone(),
            datapath_mode: self.datapath.mode().as_str(),
            gate: self.datapath.gate(),
            fallback_reason: self.datapath.fallback_reason().map(str::to_owned),
            packets: counters.outcomes(),
            late: self.late,
        };
        self.channels.view.send_replace(Arc::new(view));
    }
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}
