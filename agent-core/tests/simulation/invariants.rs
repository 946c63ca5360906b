//! What must hold after every event, and what once all is healed.

use std::fmt;
use std::time::Duration;

use agent_core::{Instant, RouterSnapshot, Snapshot, StateName};

use crate::faults::Case;
use crate::world::World;

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Which one.
    pub(crate) kind: &'static str,
    text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.text)
    }
}

/// What has to be remembered to judge.
#[derive(Debug)]
pub(crate) struct Watch {
    hosts: Vec<WatchedHost>,
    found: Option<Violation>,
    /// How long two hosts that did not hear each other are excused.
    deaf: Duration,
    /// How long an address may be where it is not served, and a server open where no address is.
    leftover: Duration,
}

#[derive(Debug)]
struct WatchedHost {
    troubled_until: Instant,
    keeps_frames: bool,
    routers: Vec<WatchedRouter>,
    open_since: Option<Instant>,
    woke: (Instant, u32),
}

#[derive(Clone, Debug)]
struct WatchedRouter {
    is_active: bool,
    is_serving: bool,
    serving_since: Option<Instant>,
    advertised_at: Instant,
    stray_since: Option<Instant>,
}

impl Watch {
    pub(crate) fn new(case: &Case) -> Self {
        let origin = Instant::from_nanos(0);
        let router = WatchedRouter {
            is_active: false,
            is_serving: false,
            serving_since: None,
            advertised_at: origin,
            stray_since: None,
        };
        let host = || WatchedHost {
            troubled_until: origin,
            keeps_frames: false,
            routers: vec![router.clone(); case.configuration.routers],
            open_since: None,
            woke: (origin, 0),
        };
        // A fence that is not answered is given 3 s, and an answer that comes late 2.5 s.
        let leftover = if case.configuration.is_one_writer() { 8 } else { 1 };
        Self {
            hosts: (0..case.configuration.hosts).map(|_| host()).collect(),
            found: None,
            deaf: case.configuration.longest_interval() * 8,
            // A host whose advertisements do not leave is deposed when the lease ends that it never had.
            leftover: Duration::from_secs(leftover) + case.configuration.longest_interval() * 4,
        }
    }

    pub(crate) fn trouble(&mut self, host: usize, until: Instant) {
        let troubled = &mut self.hosts[host].troubled_until;
        *troubled = until.max(*troubled);
    }

    pub(crate) fn pause(&mut self, host: usize, keeps_frames: bool) {
        self.hosts[host].keeps_frames = keeps_frames;
    }

    pub(crate) fn keeps_frames(&self, host: usize) -> bool {
        self.hosts[host].keeps_frames
    }

    pub(crate) fn advertised(&mut self, host: usize, router: usize, at: Instant) {
        self.hosts[host].routers[router].advertised_at = at;
    }

    /// The agent of the host begins anew.
    pub(crate) fn forget(&mut self, host: usize) {
        for router in &mut self.hosts[host].routers {
            (router.is_active, router.is_serving) = (false, false);
        }
    }

    fn find(&mut self, kind: &'static str, text: String) {
        self.found.get_or_insert(Violation { kind, text });
    }
}

impl World {
    /// The agent has done all it can at this moment.
    pub(crate) fn watch_turn(&mut self, host: usize) {
        let now = self.now;
        let Some(snapshot) = self.hosts[host].agent.as_ref().map(|agent| agent.snapshot(now)) else { return };
        for (router, seen) in snapshot.routers.iter().enumerate() {
            let before = self.watch.hosts[host].routers[router].clone();
            let is_active = seen.state == StateName::Active;
            if is_active {
                self.watch_active(host, router, seen, &before);
            }
            if is_active && !before.is_active {
                self.watch_claim(host, router, seen);
            }
            if before.is_serving && !seen.serving {
                self.watch_deposed(host, router, seen);
            }
            let watched = &mut self.watch.hosts[host].routers[router];
            (watched.is_active, watched.is_serving) = (is_active, seen.serving);
        }
        self.watch_group(host, &snapshot);
    }

    fn watch_active(&mut self, host: usize, router: usize, seen: &RouterSnapshot, watched: &WatchedRouter) {
        let now = self.now;
        if seen.lease_remaining.is_none_or(|left| left.is_zero()) {
            self.watch.find("serves after its lease", format!("host {host}, router {router} at {now:?}"));
        }
        let silent = now.saturating_since(watched.advertised_at);
        if silent > self.configuration.interval(host) + Duration::from_millis(1) {
            self.watch
                .find("silent", format!("host {host} is Active and has not advertised for {silent:?} at {now:?}"));
        }
    }

    /// The members of a group serve only together.
    fn watch_group(&mut self, host: usize, snapshot: &Snapshot) {
        let now = self.now;
        let active = |seen: &RouterSnapshot| seen.state == StateName::Active;
        if self.configuration.is_grouped()
            && snapshot.routers.iter().any(|seen| seen.serving)
            && !snapshot.routers.iter().all(active)
        {
            self.watch.find("split group", format!("host {host} at {now:?}"));
        }
    }

    /// Nobody claims what a healthy host serves, unless it goes before that one.
    fn watch_claim(&mut self, host: usize, router: usize, seen: &RouterSnapshot) {
        let now = self.now;
        for other in (0..self.hosts.len()).filter(|&other| other != host) {
            let watched = &self.watch.hosts[other];
            let steady = self.watch.deaf + Duration::from_millis(20);
            let serves = watched.routers[router].serving_since.is_some_and(|since| since + steady <= now);
            let healthy = watched.troubled_until + steady <= now;
            if !serves || !healthy || self.lan.was_deaf(now, host, other, self.watch.deaf) {
                continue;
            }
            let Some(agent) = &self.hosts[other].agent else { continue };
            let theirs = agent.snapshot(now).routers[router].effective_priority;
            if !self.configuration.preempt || seen.effective_priority <= theirs {
                let text = format!("host {host} claims router {router} from the healthy host {other} at {now:?}");
                self.watch.find("false takeover", text);
            }
        }
    }

    /// A healthy host that goes before all others goes on.
    fn watch_deposed(&mut self, host: usize, router: usize, seen: &RouterSnapshot) {
        let now = self.now;
        let healthy = self.watch.hosts[host].troubled_until + self.watch.deaf <= now;
        let mut others = (0..self.hosts.len()).filter(|&other| other != host);
        let first = others.all(|other| {
            let theirs = self.hosts[other].agent.as_ref().map(|agent| agent.snapshot(now));
            let lower = theirs.is_none_or(|theirs| theirs.routers[router].effective_priority < seen.effective_priority);
            lower && !self.lan.was_deaf(now, host, other, self.watch.deaf)
        });
        if healthy && first {
            self.watch.find("false yield", format!("healthy host {host} lets router {router} go at {now:?}"));
        }
    }

    /// The gate opens only in front of a server that is writable.
    pub(crate) fn watch_gate(&mut self, host: usize) {
        let own = &self.hosts[host];
        if self.configuration.is_one_writer() && own.server_runs() && !own.writable {
            self.watch.find("serves read-only", format!("host {host} opens its gate too early at {:?}", self.now));
        }
    }

    /// Only what somebody else did to an address is undone.
    pub(crate) fn watch_blame(&mut self, host: usize, done: &str) {
        // A claim that is made before a removal has ended takes the address for somebody else's until then.
        let own_removal = done == "removed" && self.hosts[host].removing_until >= self.now;
        if !self.hosts[host].meddled && !own_removal {
            let text = format!("an address of host {host} is {done} at {:?}, and nobody has touched it", self.now);
            self.watch.find("blames others", text);
        }
    }

    /// An alarm that goes off at the same moment again and again keeps the processor busy for nothing.
    pub(crate) fn watch_wake(&mut self, host: usize) {
        let woke = &mut self.watch.hosts[host].woke;
        *woke = if woke.0 == self.now { (self.now, woke.1 + 1) } else { (self.now, 0) };
        if woke.1 > 5 {
            self.watch.find("spins", format!("host {host} at {:?}", self.now));
        }
    }

    /// An agent that has ended does nothing more, whatever it is told.
    pub(crate) fn watch_finished(&mut self, host: usize) {
        let now = self.now + Duration::from_secs(1);
        self.hosts[host].tell_interface();
        for router in 0..self.configuration.routers {
            self.hosts[host].tell_addresses(now, router);
        }
        let news = std::mem::take(&mut self.hosts[host].inbox).news;
        let Some(agent) = &mut self.hosts[host].agent else { return };
        for input in news {
            agent.handle_input(now, input);
        }
        agent.handle_timeout(now);
        let (action, alarm) = (agent.poll_action(), agent.poll_timeout());
        if action.is_some() || alarm.is_some() {
            self.watch.find("goes on after its end", format!("host {host}: {action:?}, {alarm:?}"));
        }
    }

    /// What must hold after every event.
    pub(crate) fn check(&mut self) -> Result<(), Violation> {
        let now = self.now;
        for router in 0..self.configuration.routers {
            for one in 0..self.hosts.len() {
                let serves = self.hosts[one].serves(now, router, self.mutant);
                let since = &mut self.watch.hosts[one].routers[router].serving_since;
                *since = if serves { since.or(Some(now)) } else { None };
                if !serves {
                    continue;
                }
                for other in 0..one {
                    let both = self.watch.hosts[other].routers[router].serving_since.is_some();
                    if both && !self.lan.was_deaf(now, one, other, self.watch.deaf) {
                        let text = format!("hosts {other} and {one} router {router} at {now:?}");
                        self.watch.find("two serve", text);
                    }
                }
                let own = &self.hosts[one];
                let watched = own.agent.is_some() && !own.is_asleep(now);
                if self.configuration.is_one_writer() && own.server_runs() && !own.writable && watched {
                    self.watch.find("serves read-only", format!("host {one}, router {router} at {now:?}"));
                }
            }
        }
        self.check_leftovers();
        self.watch.found.take().map_or(Ok(()), Err)
    }

    fn check_leftovers(&mut self) {
        let (now, leftover) = (self.now, self.watch.leftover);
        for (index, own) in self.hosts.iter().enumerate() {
            let troubles = &own.troubles;
            let excused = own.agent.is_none()
                || own.is_asleep(now)
                || !own.server_runs()
                || troubles.address_steps_fail + troubles.server_steps_fail > 0
                || troubles.server_steps_slow + troubles.server_steps_lost > 0;
            let watched = &mut self.watch.hosts[index];
            let mut found = None;
            for (router, watched) in watched.routers.iter_mut().enumerate() {
                let stray = !excused && own.has_address(now, router) && watched.serving_since.is_none();
                watched.stray_since = if stray { watched.stray_since.or(Some(now)) } else { None };
                if watched.stray_since.is_some_and(|since| since + leftover < now) {
                    found = Some(("stray address", format!("host {index}, router {router} at {now:?}")));
                }
            }
            let holds = watched.routers.iter().any(|router| router.is_active);
            let open = !excused && self.configuration.is_one_writer() && own.writable && !holds;
            watched.open_since = if open { watched.open_since.or(Some(now)) } else { None };
            if watched.open_since.is_some_and(|since| since + leftover < now) {
                found = Some(("left writable", format!("the server of host {index} at {now:?}")));
            }
            if let Some((kind, text)) = found {
                self.watch.find(kind, text);
            }
        }
    }

    /// All is healed: the right host serves, and all others stand by.
    pub(crate) fn check_end(&self) -> Result<(), Violation> {
        let now = self.now;
        let fail = |kind, text| Err(Violation { kind, text });
        let own = &self.configuration;
        for router in 0..own.routers {
            let serving: Vec<usize> =
                (0..own.hosts).filter(|&host| self.hosts[host].serves(now, router, self.mutant)).collect();
            let seen: Vec<String> = self.hosts.iter().map(|host| self.describe(host.index, router)).collect();
            let text = format!("router {router} once all is healed: {}", seen.join("; "));
            let [serving] = serving.as_slice() else {
                let kind = if serving.is_empty() { "nobody serves" } else { "two serve" };
                return fail(kind, text);
            };
            let highest = own.priorities.iter().max();
            if own.preempt && own.priorities.get(*serving) != highest {
                return fail("wrong host", text);
            }
            for (index, host) in self.hosts.iter().enumerate() {
                let state = host.agent.as_ref().map(|agent| agent.snapshot(now).routers[router].state);
                let expected = if index == *serving { StateName::Active } else { StateName::Backup };
                if state != Some(expected) {
                    return fail("stuck", text);
                }
            }
        }
        Ok(())
    }

    fn describe(&self, host: usize, router: usize) -> String {
        let Some(agent) = &self.hosts[host].agent else { return format!("host {host} has no agent") };
        let seen = &agent.snapshot(self.now).routers[router];
        let hindrance = seen.hindrance.map_or("no hindrance", agent_core::Reason::as_str);
        format!("host {host} {} {hindrance}", seen.state.as_str())
    }
}
