use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use agent_core::{
    Action, Advert, Death, Fault as ProbeFault, Gate, Input, Instant, Node, Probe, ProbeOutcome, RouterId,
    ServerReport, StateName, StepFailure,
};

use crate::ADVERTISEMENT_INTERVAL;
use crate::faults::{Fault, Plan};
use crate::host::{Host, ServerLife, address};
use crate::lan::Lan;
use crate::seeded::Seeded;

const PROBE_EVERY: Duration = Duration::from_millis(100);
const ADDRESS_LIFETIME: Duration = Duration::from_secs(2);
const ROUTER: RouterId = RouterId(0);

/// All hosts, the network and the clock.
pub(crate) struct World {
    now: Instant,
    hosts: Vec<Host>,
    lan: Lan,
    seeded: Seeded,
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    scheduled: u64,
    end: Instant,
    takeovers: u64,
    story: Vec<String>,
}

#[derive(Clone, Debug)]
enum What {
    Fault(Fault),
    /// From the first to the second.
    Deliver(usize, usize, Input),
    /// A result for one life of the agent.
    Done(usize, u64, Input),
    AddAddress(usize, u64, Input),
    Wake(usize, u64),
    ProbeServer(usize),
    Heal,
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
    pub(crate) fn new(seed: u64, hosts: usize, plan: Plan) -> Self {
        let origin = Instant::from_nanos(1_000_000_000);
        let mut lan = Lan::new(hosts);
        lan.loss = plan.loss;
        lan.duplication = plan.duplication;
        let mut world = Self {
            now: origin,
            hosts: (0..hosts).map(|index| Host::new(index, hosts, plan.equal_priorities)).collect(),
            lan,
            seeded: Seeded::new(seed),
            events: BinaryHeap::new(),
            scheduled: 0,
            end: origin + plan.heal_at + Duration::from_secs(8),
            takeovers: 0,
            story: Vec::new(),
        };
        for host in 0..hosts {
            world.schedule(Duration::from_millis(1), What::Fault(Fault::StartAgent(host)));
            world.schedule(Duration::from_millis(2), What::ProbeServer(host));
        }
        for (after, fault) in plan.faults {
            world.schedule(after, What::Fault(fault));
        }
        world.schedule(plan.heal_at, What::Heal);
        world
    }

    pub(crate) fn takeovers(&self) -> u64 {
        self.takeovers
    }

    pub(crate) fn story(&self) -> &[String] {
        &self.story
    }

    /// Runs to the end or to the first violation.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        while let Some(Reverse((at, _, Event(what)))) = self.events.pop() {
            if at > self.end {
                break;
            }
            self.now = at;
            self.handle(what);
            self.check()?;
        }
        let serving: Vec<usize> = (0..self.hosts.len()).filter(|&host| self.hosts[host].serves(self.now)).collect();
        if serving.len() != 1 {
            return Err(format!("all is healed and {serving:?} serve"));
        }
        Ok(())
    }

    fn handle(&mut self, what: What) {
        match what {
            What::Fault(fault) => {
                self.tell(format!("{fault:?}"));
                self.strike(fault);
            }
            What::Deliver(from, host, input) => {
                if self.hosts[host].is_paused(self.now) {
                    self.lan.swallow(self.now, from, host);
                } else {
                    self.drive(host, vec![input]);
                }
            }
            What::Done(host, life, input) => {
                if self.hosts[host].life == life {
                    self.drive(host, vec![input]);
                }
            }
            What::AddAddress(host, life, input) => {
                if self.hosts[host].life == life {
                    self.hosts[host].kernel.address_until = Some(self.now + ADDRESS_LIFETIME);
                    self.drive(host, vec![input]);
                }
            }
            What::Wake(host, life) => {
                if self.hosts[host].life == life {
                    self.drive(host, Vec::new());
                }
            }
            What::ProbeServer(host) => {
                let reports = self.probe(host);
                self.drive(host, reports);
                self.schedule(PROBE_EVERY, What::ProbeServer(host));
            }
            What::Heal => self.heal(),
        }
    }

    fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::KillServer(host) => {
                self.hosts[host].server.state = ServerLife::Dead;
                self.hosts[host].server.writable = false;
                self.drive(host, vec![Input::Server(ServerReport::Died(Death::ProcessExited))]);
            }
            Fault::HangServer(host) => {
                if self.hosts[host].server.state == ServerLife::Running {
                    self.hosts[host].server.state = ServerLife::Hung;
                }
            }
            Fault::RestartServer(host) => {
                // A server starts read-only; one that only hung goes on as it was.
                self.hosts[host].server.state = ServerLife::Running;
            }
            Fault::StallAgent(host, stall) => {
                if self.hosts[host].agent.is_none() {
                    return;
                }
                let until = self.now + stall;
                let longest = self.hosts[host].stalled_until.map_or(until, |before| before.max(until));
                self.hosts[host].stalled_until = Some(longest);
                let life = self.hosts[host].life;
                self.schedule(stall, What::Wake(host, life));
            }
            Fault::PauseHost(host, pause) => {
                self.hosts[host].paused_until = Some(self.now + pause);
                self.strike(Fault::StallAgent(host, pause));
            }
            Fault::KillAgent(host) => {
                self.hosts[host].agent = None;
                self.hosts[host].life += 1;
                self.hosts[host].stalled_until = None;
                self.hosts[host].inbox.clear();
            }
            Fault::StartAgent(host) => {
                if self.hosts[host].is_paused(self.now) {
                    let wait =
                        self.hosts[host].paused_until.map_or(Duration::ZERO, |until| until.saturating_since(self.now));
                    self.schedule(wait, What::Fault(fault));
                    return;
                }
                if self.hosts[host].agent.is_none() {
                    let parameters = self.hosts[host].parameters.clone();
                    // What an earlier life left behind is removed before anything else.
                    self.hosts[host].kernel.address_until = None;
                    self.hosts[host].life += 1;
                    self.hosts[host].agent = Some(Node::new(self.now, parameters));
                    let up = self.hosts[host].link_up;
                    self.drive(host, vec![Input::Link { router: ROUTER, up }]);
                }
            }
            Fault::StopAgent(host) => self.drive(host, vec![Input::Shutdown]),
            Fault::LinkDown(host) => self.set_link(host, false),
            Fault::LinkUp(host) => self.set_link(host, true),
            Fault::Cut(from, to) => self.lan.set_cut(from, to, true),
            Fault::Mend(from, to) => self.lan.set_cut(from, to, false),
        }
    }

    fn set_link(&mut self, host: usize, up: bool) {
        self.hosts[host].link_up = up;
        self.drive(host, vec![Input::Link { router: ROUTER, up }]);
    }

    fn heal(&mut self) {
        self.tell("healed".to_owned());
        self.lan.heal();
        for host in 0..self.hosts.len() {
            self.hosts[host].stalled_until = None;
            self.strike(Fault::RestartServer(host));
            self.strike(Fault::LinkUp(host));
            self.strike(Fault::StartAgent(host));
        }
    }

    fn probe(&mut self, host: usize) -> Vec<Input> {
        let source_lives =
            (0..self.hosts.len()).any(|other| other != host && self.hosts[other].server.state == ServerLife::Running);
        let outcome = match self.hosts[host].server.state {
            ServerLife::Running => ProbeOutcome::Passed,
            ServerLife::Hung => ProbeOutcome::Failed(ProbeFault::TimedOut),
            ServerLife::Dead => ProbeOutcome::Failed(ProbeFault::Refused),
        };
        let mut reports = vec![];
        for kind in [Probe::Ping, Probe::Connect] {
            reports.push(Input::Server(ServerReport::Probe { kind, outcome }));
        }
        if outcome == ProbeOutcome::Passed {
            let standing = self.hosts[host].standing(source_lives);
            reports.push(Input::Server(ServerReport::Standing(standing)));
        }
        reports
    }

    /// Runs one agent as its event loop does: inputs, deadlines, actions, sleep.
    fn drive(&mut self, host: usize, inputs: Vec<Input>) {
        let life = self.hosts[host].life;
        if self.hosts[host].stalled_until.is_some_and(|until| self.now < until) {
            self.hosts[host].inbox.extend(inputs);
            return;
        }
        self.hosts[host].stalled_until = None;
        // All that arrived in a stall is read before the clock.
        let mut waiting = std::mem::take(&mut self.hosts[host].inbox);
        waiting.extend(inputs);
        let inputs = waiting;
        let now = self.now;
        let Some(agent) = &mut self.hosts[host].agent else { return };
        for input in inputs {
            agent.handle_input(now, input);
        }
        agent.handle_timeout(now);
        self.carry_out(host);
        let Some(agent) = &self.hosts[host].agent else { return };
        if let Some(at) = agent.poll_timeout() {
            self.schedule(at.saturating_since(now), What::Wake(host, life));
        }
    }

    fn carry_out(&mut self, host: usize) {
        while let Some(action) = self.hosts[host].agent.as_mut().and_then(Node::poll_action) {
            self.execute(host, action);
        }
    }

    fn execute(&mut self, host: usize, action: Action) {
        let life = self.hosts[host].life;
        let now = self.now;
        let micros = Duration::from_micros;
        match action {
            Action::SendAdvert { priority, .. } => {
                if !self.hosts[host].link_up {
                    return;
                }
                for other in (0..self.hosts.len()).filter(|&other| other != host) {
                    for delay in self.lan.carry(now, host, other, &mut self.seeded) {
                        if !self.hosts[other].link_up {
                            continue;
                        }
                        let arrived_at = now + delay;
                        let interval = ADVERTISEMENT_INTERVAL;
                        let advert = Advert { router: ROUTER, source: address(host), priority, interval, arrived_at };
                        self.schedule(delay, What::Deliver(host, other, Input::Advert(advert)));
                    }
                }
                if !priority.is_release() {
                    let input = Input::AdvertSent { router: ROUTER, at: now };
                    if let Some(agent) = &mut self.hosts[host].agent {
                        agent.handle_input(now, input);
                    }
                }
            }
            Action::RenewLease { until, .. } => self.hosts[host].kernel.lease_until = until,
            Action::SetGate { gate, .. } => self.hosts[host].kernel.gate = gate,
            Action::AddAddresses { ticket, .. } => {
                let delay = self.seeded.duration(micros(30), micros(900));
                self.schedule(delay, What::AddAddress(host, life, Input::Done { ticket, result: Ok(()) }));
            }
            Action::RenewAddresses { .. } => {
                if self.hosts[host].has_address(now) {
                    self.hosts[host].kernel.address_until = Some(now + ADDRESS_LIFETIME);
                }
            }
            // Nobody but the agent touches the addresses here.
            Action::RestoreAddresses { ticket, .. } => self.finish(host, ticket, micros(30), micros(900), true),
            Action::RemoveAddresses { ticket, .. } | Action::RemoveStrays { ticket, .. } => {
                self.hosts[host].kernel.address_until = None;
                self.finish(host, ticket, micros(30), micros(900), true);
            }
            Action::Announce { ticket, .. } => self.finish(host, ticket, micros(20), micros(60), true),
            Action::StopReceiving { ticket, .. } | Action::Drain { ticket } => {
                let answers = self.hosts[host].server.state == ServerLife::Running;
                self.finish(host, ticket, micros(200), micros(20_000), answers);
            }
            Action::OpenServer { ticket } => {
                let answers = self.hosts[host].server.state == ServerLife::Running;
                self.hosts[host].server.writable |= answers;
                self.finish(host, ticket, micros(200), micros(8_000), answers);
            }
            Action::FenceServer { ticket } => {
                let answers = self.hosts[host].server.state == ServerLife::Running;
                self.hosts[host].server.writable &= !answers;
                self.finish(host, ticket, micros(500), micros(200_000), answers);
            }
            Action::ResumeReceiving => {}
            Action::Report(transition) => {
                self.takeovers += u64::from(transition.to == StateName::Active);
                let (from, to, reason) = (transition.from.as_str(), transition.to.as_str(), transition.reason.as_str());
                self.tell(format!("host {host}: {from} -> {to}, {reason} {:?}", transition.detail));
            }
            Action::Finished => {
                self.hosts[host].agent = None;
                self.hosts[host].life += 1;
            }
        }
    }

    fn finish(&mut self, host: usize, ticket: agent_core::Ticket, from: Duration, to: Duration, ok: bool) {
        let life = self.hosts[host].life;
        let delay = if ok { self.seeded.duration(from, to) } else { Duration::from_millis(600) };
        let result = if ok { Ok(()) } else { Err(StepFailure("the server does not answer".to_owned())) };
        self.schedule(delay, What::Done(host, life, Input::Done { ticket, result }));
    }

    fn check(&self) -> Result<(), String> {
        let now = self.now;
        let within = ADVERTISEMENT_INTERVAL * 5;
        for one in 0..self.hosts.len() {
            let host = &self.hosts[one];
            if !host.serves(now) {
                continue;
            }
            for other in one + 1..self.hosts.len() {
                if self.hosts[other].serves(now) && !self.lan.was_deaf(now, one, other, within) {
                    return Err(format!("I1: hosts {one} and {other} both serve at {now:?}"));
                }
            }
            let server = &host.server;
            if server.state == ServerLife::Running && !server.writable && host.kernel.gate == Gate::Serve {
                // A server that died and came back before its agent could run is the one exception.
                if host.stalled_until.is_none() && host.agent.is_some() && host.life > 0 {
                    return Err(format!("I4: host {one} serves and is read-only at {now:?}"));
                }
            }
        }
        Ok(())
    }

    fn schedule(&mut self, after: Duration, what: What) {
        self.scheduled += 1;
        self.events.push(Reverse((self.now + after, self.scheduled, Event(what))));
    }

    fn tell(&mut self, line: String) {
        self.story.push(format!("{:?} {line}", self.now));
    }
}
