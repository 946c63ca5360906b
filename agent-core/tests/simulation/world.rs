use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use agent_core::{Advert, Input, Instant, Node, Ticket};

use crate::configuration::Configuration;
use crate::execute::Effect;
use crate::faults::{Case, Fault, Strike};
use crate::host::Host;
use crate::invariants::{Violation, Watch};
use crate::lan::Lan;
use crate::mutants::Mutant;
use crate::seeded::Seeded;

const PROBE_EVERY: Duration = Duration::from_millis(100);
/// An alarm goes off that much later than asked for, at most; in microseconds.
const ALARM_JITTER: u64 = 50;

/// All hosts, the network and the clock.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) configuration: Configuration,
    pub(crate) strikes: Vec<Strike>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) lan: Lan,
    pub(crate) seeded: Seeded,
    pub(crate) mutant: Option<Mutant>,
    pub(crate) watch: Watch,
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    scheduled: u64,
    end: Instant,
    pub(crate) takeovers: u64,
    story: Vec<String>,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Begin(usize),
    End(usize),
    StartAgent(usize),
    Deliver {
        from: usize,
        to: usize,
        advert: Advert,
    },
    Done {
        host: usize,
        life: u64,
        step: Step,
    },
    Wake(usize),
    Probe(usize),
    Expire {
        host: usize,
        router: usize,
    },
    /// The server receives again.
    Resume {
        host: usize,
        life: u64,
    },
    NetworkGood,
}

/// A step that ends at that moment.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) ticket: Ticket,
    pub(crate) effect: Effect,
    pub(crate) succeeds: bool,
}

/// An event compares by its number alone, which the heap has already compared.
#[derive(Clone, Debug)]
struct Event(What);

impl PartialEq for Event {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for Event {}
impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Event {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl World {
    pub(crate) fn new(case: &Case, mutant: Option<Mutant>) -> Self {
        let origin = Instant::from_nanos(1_000_000_000);
        let count = case.configuration.hosts;
        let mut world = Self {
            now: origin,
            hosts: (0..count).map(|index| Host::new(index, &case.configuration)).collect(),
            lan: Lan::new(count, &case.plan),
            seeded: Seeded::new(case.seed),
            mutant,
            watch: Watch::new(case),
            events: BinaryHeap::new(),
            scheduled: 0,
            end: origin + case.healed_at() + case.recovery(),
            takeovers: 0,
            story: Vec::new(),
            configuration: case.configuration.clone(),
            strikes: case.plan.strikes.clone(),
        };
        for host in 0..count {
            let after = world.seeded.micros(1000, 50_000);
            world.schedule(after, What::StartAgent(host));
            world.schedule(after + Duration::from_millis(1), What::Probe(host));
        }
        for (index, strike) in case.plan.strikes.iter().enumerate() {
            world.schedule(Duration::from_micros(strike.at), What::Begin(index));
            world.schedule(Duration::from_micros(strike.at + strike.lasts), What::End(index));
        }
        world.schedule(Duration::from_micros(case.plan.network_good_at), What::NetworkGood);
        world
    }

    pub(crate) fn takeovers(&self) -> u64 {
        self.takeovers
    }

    pub(crate) fn story(&self) -> &[String] {
        &self.story
    }

    /// Runs to the end or to the first violation.
    pub(crate) fn run(&mut self) -> Result<(), Violation> {
        while let Some(Reverse((at, _, Event(what)))) = self.events.pop() {
            if at > self.end {
                break;
            }
            self.now = at;
            self.handle(what);
            self.check()?;
        }
        self.now = self.end;
        self.check_end()
    }

    fn handle(&mut self, what: What) {
        match what {
            What::Begin(index) => {
                let strike = self.strikes[index];
                self.tell(|| format!("host {}: {:?} begins", strike.host, strike.fault));
                let until = self.now + Duration::from_micros(strike.lasts);
                // With a priority it changes for everybody who goes before whom.
                let all = matches!(strike.fault, Fault::TrackFails { .. });
                for host in (0..self.hosts.len()).filter(|&host| all || host == strike.host) {
                    self.watch.trouble(host, until);
                }
                self.begin(strike);
            }
            What::End(index) => {
                let strike = self.strikes[index];
                self.tell(|| format!("host {}: {:?} ends", strike.host, strike.fault));
                self.end(strike);
            }
            What::StartAgent(host) => self.start_agent(host),
            What::Deliver { from, to, advert } => self.deliver(from, to, advert),
            What::Done { host, life, step } => self.complete(host, life, step),
            What::Wake(host) => {
                if self.hosts[host].wake_at == Some(self.now) {
                    self.hosts[host].wake_at = None;
                    self.watch_wake(host);
                    self.drive(host);
                }
            }
            What::Probe(host) => {
                self.schedule(PROBE_EVERY, What::Probe(host));
                if self.hosts[host].agent.is_some() && !self.hosts[host].is_paused(self.now) {
                    self.probe(host);
                    self.drive(host);
                }
            }
            What::Expire { host, router } => {
                let kernel = &mut self.hosts[host].kernel[router];
                if kernel.address_until.is_some_and(|until| until <= self.now) {
                    kernel.address_until = None;
                    self.hosts[host].meddled = true;
                    self.hosts[host].tell_addresses(self.now, router);
                    self.drive(host);
                }
            }
            What::Resume { host, life } => {
                let own = &mut self.hosts[host];
                own.receiver_stopped &= own.life != life || !own.server_runs();
            }
            What::NetworkGood => self.lan.loss = 0,
        }
    }

    fn deliver(&mut self, from: usize, to: usize, advert: Advert) {
        let host = &mut self.hosts[to];
        let keeps_frames = self.watch.keeps_frames(to) || !host.held_frames.is_empty();
        if host.is_paused(self.now) && keeps_frames {
            host.held_frames.push(advert);
        } else if host.is_paused(self.now) || !host.is_connected() {
            self.lan.swallow(self.now, from, to);
        } else if host.agent.is_some() {
            host.inbox.adverts.push(advert);
            self.drive(to);
        }
    }

    fn probe(&mut self, host: usize) {
        if self.configuration.server.is_some() {
            let source_lives = (0..self.hosts.len()).any(|other| other != host && self.hosts[other].server_runs());
            self.hosts[host].tell_server(source_lives);
        }
        for track in 0..self.configuration.tracks.len() {
            if self.configuration.tracks[track].script {
                self.hosts[host].tell_track(track);
            }
        }
    }

    /// One turn of an agent: advertisements, news, inputs, deadlines, actions, sleep.
    pub(crate) fn drive(&mut self, host: usize) {
        let own = &mut self.hosts[host];
        if own.agent.is_none() {
            own.inbox = crate::host::Inbox::default();
            return;
        }
        if own.is_asleep(self.now) {
            return;
        }
        let inbox = std::mem::take(&mut own.inbox);
        let now = self.now_of(host);
        let mutant = self.mutant;
        let interval = self.configuration.interval(host);
        let priority = self.configuration.priorities[host];
        let Some(agent) = &mut self.hosts[host].agent else { return };
        if mutant == Some(Mutant::ClockBeforeRing) {
            agent.handle_timeout(now);
        }
        for mut advert in inbox.adverts {
            if mutant == Some(Mutant::IntervalNotLearned) {
                advert.interval = interval;
            }
            let lower = advert.priority.as_u8() < priority && !advert.priority.is_release();
            if mutant == Some(Mutant::RivalsUnheard) && lower {
                continue;
            }
            agent.handle_input(now, Input::Advert(advert));
        }
        let late = mutant == Some(Mutant::AddressNewsLate);
        let (last, first): (Vec<Input>, Vec<Input>) =
            inbox.news.into_iter().partition(|news| late && matches!(news, Input::Addresses { .. }));
        for input in first.into_iter().chain(inbox.inputs).chain(last) {
            if mutant == Some(Mutant::AddressNewsDropped) && matches!(input, Input::Addresses { .. }) {
                continue;
            }
            agent.handle_input(now, input);
        }
        agent.handle_timeout(now);
        while let Some(action) = self.hosts[host].agent.as_mut().and_then(Node::poll_action) {
            self.execute(host, action);
        }
        self.watch_turn(host);
        self.set_alarm(host);
    }

    fn now_of(&self, host: usize) -> Instant {
        let due = self.hosts[host].agent.as_ref().and_then(Node::poll_timeout);
        match self.mutant {
            Some(Mutant::LateWakeHidden) => due.map_or(self.now, |due| due.min(self.now)),
            _ => self.now,
        }
    }

    fn set_alarm(&mut self, host: usize) {
        let Some(due) = self.hosts[host].agent.as_ref().and_then(Node::poll_timeout) else { return };
        let set = self.hosts[host].wake_at;
        if set.is_some_and(|set| set > self.now && set <= due) {
            return;
        }
        let after = due.saturating_since(self.now);
        let jitter = if after.is_zero() { Duration::ZERO } else { self.seeded.micros(0, ALARM_JITTER) };
        self.hosts[host].wake_at = Some(self.now + after + jitter);
        self.schedule(after + jitter, What::Wake(host));
    }

    pub(crate) fn schedule(&mut self, after: Duration, what: What) {
        self.scheduled += 1;
        self.events.push(Reverse((self.now + after, self.scheduled, Event(what))));
    }

    pub(crate) fn tell(&mut self, line: impl FnOnce() -> String) {
        let line = format!("{:?} {}", self.now, line());
        self.story.push(line);
    }
}
