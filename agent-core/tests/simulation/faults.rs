use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::configuration::Configuration;
use crate::seeded::Seeded;

/// A whole run: everything that happens follows from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Case {
    /// Of the delays, the losses and the copies.
    pub(crate) seed: u64,
    pub(crate) configuration: Configuration,
    pub(crate) plan: Plan,
}

/// What goes wrong, and when; the times are in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) strikes: Vec<Strike>,
    /// Of 1000, until `network_good_at`.
    pub(crate) loss: u64,
    pub(crate) duplication: u64,
    pub(crate) longest_delay: u64,
    pub(crate) network_good_at: u64,
}

/// One fault at one host.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Strike {
    pub(crate) at: u64,
    pub(crate) lasts: u64,
    pub(crate) host: usize,
    pub(crate) fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fault {
    ServerDies,
    /// It neither answers nor dies.
    ServerHangs,
    /// The agent does not run, the kernel does.
    AgentSleeps,
    /// Nothing of the host runs; frames for it are lost, or come all at once when it goes on.
    HostPauses {
        keeps_frames: bool,
    },
    AgentIsKilled,
    AgentIsStopped,
    LinkDown,
    InterfaceVanishes,
    SourceAddressGone,
    /// Nothing gets from the host to the other one.
    Cut {
        to: usize,
    },
    SendsFail,
    /// Somebody removes the virtual address of a router, or adds it.
    AddressRemoved {
        router: usize,
    },
    AddressAdded {
        router: usize,
    },
    NewHardwareAddress,
    TrackFails {
        track: usize,
    },
    AddressStepsFail,
    ServerStepsFail,
    ServerStepsAreSlow,
    /// The answer to what is asked of the server in that time never comes.
    ServerStepsAreLost,
}

/// How the plans of a family differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// The network carries everything, hosts suffer.
    Calm,
    /// The network loses, cuts and duplicates as well.
    Hostile,
    /// Every agent sleeps, every host pauses.
    Sleepy,
    /// One fault at a time.
    Single,
}

impl Case {
    pub(crate) fn of_seed(seed: u64, family: Family) -> Self {
        let configuration = Configuration::of_seed(seed.wrapping_mul(4).wrapping_add(family as u64));
        let plan = Plan::of_seed(seed, family, &configuration);
        Self { seed, configuration, plan }
    }

    /// When the last fault has ended.
    pub(crate) fn healed_at(&self) -> Duration {
        let last = self.plan.strikes.iter().map(|strike| strike.at + strike.lasts).max().unwrap_or(0);
        let network = if self.plan.loss > 0 { self.plan.network_good_at } else { 0 };
        Duration::from_micros(last.max(network)).max(settled_after(&self.configuration))
    }

    /// How long after that the right host serves, and all others are its Backups.
    pub(crate) fn recovery(&self) -> Duration {
        let own = &self.configuration;
        let mut bound = settled_after(own) * 2
            + Duration::from_secs(2)
            + own.longest_interval() * 8
            + Duration::from_micros(own.preempt_delay);
        let lasting = |wanted: &[Fault]| -> Option<u64> {
            let strikes = self.plan.strikes.iter().filter(|strike| wanted.contains(&strike.fault));
            strikes.map(|strike| strike.lasts).reduce(|sum, lasts| sum + lasts)
        };
        // A step that fails again and again keeps the router out for twice as long each time.
        if let Some(lasts) =
            lasting(&[Fault::AddressStepsFail, Fault::ServerStepsFail, Fault::ServerHangs, Fault::ServerDies])
        {
            bound += Duration::from_micros(lasts * 2) + Duration::from_secs(2);
        }
        if let Some(lasts) = lasting(&[Fault::ServerStepsAreSlow]) {
            bound += Duration::from_micros(lasts * 2) + Duration::from_secs(6);
        }
        if lasting(&[Fault::ServerStepsAreLost]).is_some() {
            bound += Duration::from_secs(27);
        }
        let contested = |strike: &&Strike| matches!(strike.fault, Fault::AddressRemoved { .. });
        let removals = self.plan.strikes.iter().filter(contested).count();
        // Somebody removes it five times, or it cannot be put back.
        if removals >= 5 || removals > 0 && lasting(&[Fault::AddressStepsFail]).is_some() {
            bound += Duration::from_secs(11);
        }
        bound
    }
}

/// When a cluster that has just been started is at rest.
fn settled_after(own: &Configuration) -> Duration {
    let skew = if own.version_2 { Duration::from_secs(1) } else { own.longest_interval() };
    own.longest_interval() * 3 + skew + Duration::from_micros(own.startup_delay) + Duration::from_millis(600)
}

impl Plan {
    fn of_seed(seed: u64, family: Family, own: &Configuration) -> Self {
        let mut seeded = Seeded::new(seed ^ ((family as u64 + 1) << 40));
        let mut plan = Self {
            strikes: Vec::new(),
            loss: 0,
            duplication: if seeded.chance(300) { 100 } else { 0 },
            longest_delay: [100, 500, 2000][seeded.index(3)],
            network_good_at: 0,
        };
        let interval = micros(own.longest_interval());
        let start = micros(settled_after(own));
        let window = (interval * 15).max(1_500_000);
        let count = if family == Family::Single { 1 } else { 1 + seeded.below(6) };
        for _ in 0..count {
            let at = start + seeded.below(window);
            let host = seeded.index(own.hosts);
            let lasts = seeded.lasting(interval).min(window);
            let fault = match family {
                Family::Calm | Family::Single => seeded.host_fault(own),
                Family::Hostile if seeded.chance(500) => seeded.network_fault(own, host),
                Family::Hostile => seeded.host_fault(own),
                Family::Sleepy => seeded.sleep(),
            };
            plan.add(Strike { at, lasts, host, fault }, &mut seeded);
        }
        if family == Family::Hostile {
            plan.loss = [0, 10, 100, 300][seeded.index(4)];
            plan.network_good_at = start + window;
        }
        plan.strikes.sort_by_key(|strike| strike.at);
        plan
    }

    fn add(&mut self, strike: Strike, seeded: &mut Seeded) {
        match strike.fault {
            // Whoever removes an address may go on with it.
            Fault::AddressRemoved { .. } | Fault::AddressAdded { .. } => {
                let count = if seeded.chance(300) { 1 + seeded.below(7) } else { 1 };
                let gap = 1000 + seeded.below(80_000);
                self.strikes.extend((0..count).map(|turn| Strike { at: strike.at + turn * gap, lasts: 0, ..strike }));
            }
            Fault::Cut { to } => {
                self.strikes.push(strike);
                if seeded.chance(600) {
                    self.strikes.push(Strike { host: to, fault: Fault::Cut { to: strike.host }, ..strike });
                }
            }
            Fault::NewHardwareAddress => self.strikes.push(Strike { lasts: 0, ..strike }),
            Fault::ServerDies
            | Fault::ServerHangs
            | Fault::AgentSleeps
            | Fault::HostPauses { .. }
            | Fault::AgentIsKilled
            | Fault::AgentIsStopped
            | Fault::LinkDown
            | Fault::InterfaceVanishes
            | Fault::SourceAddressGone
            | Fault::SendsFail
            | Fault::TrackFails { .. }
            | Fault::AddressStepsFail
            | Fault::ServerStepsFail
            | Fault::ServerStepsAreSlow
            | Fault::ServerStepsAreLost => self.strikes.push(strike),
        }
    }
}

impl Seeded {
    /// Shorter than the interval, around the lease, around the Active_Down_Interval, or much longer; in microseconds.
    fn lasting(&mut self, interval: u64) -> u64 {
        match self.below(5) {
            0 => 1000 + self.below(interval),
            1 => interval * 5 / 2 + self.below(interval),
            2 => interval * 3 + self.below(interval * 3 / 2),
            3 => interval * 4 + self.below(interval * 8),
            _ => 5000 + self.below(2_000_000),
        }
    }

    fn sleep(&mut self) -> Fault {
        [Fault::AgentSleeps, Fault::HostPauses { keeps_frames: true }, Fault::HostPauses { keeps_frames: false }]
            [self.index(3)]
    }

    fn network_fault(&mut self, own: &Configuration, host: usize) -> Fault {
        let to = (host + 1 + self.index(own.hosts - 1)) % own.hosts;
        [Fault::Cut { to }, Fault::Cut { to }, Fault::SendsFail, Fault::LinkDown][self.index(4)]
    }

    fn host_fault(&mut self, own: &Configuration) -> Fault {
        let router = self.index(own.routers);
        let mut faults = vec![
            Fault::AgentSleeps,
            Fault::HostPauses { keeps_frames: true },
            Fault::HostPauses { keeps_frames: false },
            Fault::AgentIsKilled,
            Fault::AgentIsKilled,
            Fault::AgentIsStopped,
            Fault::LinkDown,
            Fault::InterfaceVanishes,
            Fault::SourceAddressGone,
            Fault::SendsFail,
            Fault::AddressRemoved { router },
            Fault::AddressAdded { router },
            Fault::NewHardwareAddress,
            Fault::AddressStepsFail,
        ];
        if own.server.is_some() {
            faults.extend([Fault::ServerDies, Fault::ServerDies, Fault::ServerHangs]);
            faults.extend([Fault::ServerStepsFail, Fault::ServerStepsAreSlow]);
            if self.chance(100) {
                faults.push(Fault::ServerStepsAreLost);
            }
        }
        if !own.tracks.is_empty() {
            let track = self.index(own.tracks.len());
            faults.extend([Fault::TrackFails { track }; 4]);
        }
        faults[self.index(faults.len())]
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Fault {
    /// Whether there is what it strikes.
    pub(crate) fn is_possible(self, own: &Configuration) -> bool {
        match self {
            Self::ServerDies
            | Self::ServerHangs
            | Self::ServerStepsFail
            | Self::ServerStepsAreSlow
            | Self::ServerStepsAreLost => own.server.is_some(),
            Self::Cut { to } => to < own.hosts,
            Self::AddressRemoved { router } | Self::AddressAdded { router } => router < own.routers,
            Self::TrackFails { track } => track < own.tracks.len(),
            Self::AgentSleeps
            | Self::HostPauses { .. }
            | Self::AgentIsKilled
            | Self::AgentIsStopped
            | Self::LinkDown
            | Self::InterfaceVanishes
            | Self::SourceAddressGone
            | Self::SendsFail
            | Self::NewHardwareAddress
            | Self::AddressStepsFail => true,
        }
    }
}
