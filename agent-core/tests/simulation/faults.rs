use std::time::Duration;

use crate::seeded::Seeded;

/// What goes wrong, and when; times count from the start.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) faults: Vec<(Duration, Fault)>,
    /// Of 1000.
    pub(crate) loss: u64,
    pub(crate) duplication: u64,
    pub(crate) equal_priorities: bool,
    /// All is repaired then; the end of the run is 8 s later.
    pub(crate) heal_at: Duration,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    KillServer(usize),
    /// It neither answers nor dies.
    HangServer(usize),
    RestartServer(usize),
    /// The agent does not run, the kernel does.
    StallAgent(usize, Duration),
    /// Nothing of the host runs, and what is sent to it is lost: a paused virtual machine.
    PauseHost(usize, Duration),
    KillAgent(usize),
    StartAgent(usize),
    StopAgent(usize),
    LinkDown(usize),
    LinkUp(usize),
    /// From the first to the second.
    Cut(usize, usize),
    Mend(usize, usize),
}

const HEAL_AT: Duration = Duration::from_secs(10);

impl Plan {
    /// The network carries everything; hosts suffer.
    pub(crate) fn calm_network(seed: u64, hosts: usize) -> Self {
        let mut seeded = Seeded::new(seed ^ 0xca1a);
        let mut faults = Vec::new();
        for _ in 0..1 + seeded.below(6) {
            host_fault(&mut seeded, hosts, &mut faults);
        }
        let duplication = if seeded.chance(300) { 100 } else { 0 };
        Self { faults, loss: 0, duplication, equal_priorities: seeded.chance(500), heal_at: HEAL_AT }
    }

    /// Hosts suffer and the network loses, cuts and duplicates.
    pub(crate) fn hostile_network(seed: u64, hosts: usize) -> Self {
        let mut seeded = Seeded::new(seed ^ 0x0571);
        let mut plan = Self::calm_network(seed ^ 0x5eed, hosts);
        plan.loss = [0, 10, 100, 300][usize::try_from(seeded.below(4)).unwrap_or(0)];
        for _ in 0..1 + seeded.below(4) {
            let (from, to) = (pick(&mut seeded, hosts), pick(&mut seeded, hosts));
            let at = moment(&mut seeded);
            let until = at + seeded.duration(Duration::from_millis(50), Duration::from_secs(4));
            let both_ways = seeded.chance(600);
            plan.faults.push((at, Fault::Cut(from, to)));
            plan.faults.push((until, Fault::Mend(from, to)));
            if both_ways {
                plan.faults.push((at, Fault::Cut(to, from)));
                plan.faults.push((until, Fault::Mend(to, from)));
            }
        }
        plan
    }

    /// Host 0 is Active and healthy throughout; host 1 stalls, dies and comes back.
    pub(crate) fn trouble_at_the_standby(seed: u64) -> Self {
        let mut seeded = Seeded::new(seed ^ 0xbacc);
        let mut faults = Vec::new();
        for _ in 0..1 + seeded.below(6) {
            let mut fault = Vec::new();
            host_fault(&mut seeded, 1, &mut fault);
            faults.extend(fault.into_iter().map(|(at, fault)| (at, fault.at_host(1))));
        }
        Self { faults, loss: 0, duplication: 50, equal_priorities: false, heal_at: HEAL_AT }
    }
}

impl Fault {
    fn at_host(self, host: usize) -> Self {
        match self {
            Self::KillServer(_) => Self::KillServer(host),
            Self::HangServer(_) => Self::HangServer(host),
            Self::RestartServer(_) => Self::RestartServer(host),
            Self::StallAgent(_, time) => Self::StallAgent(host, time),
            Self::PauseHost(_, time) => Self::PauseHost(host, time),
            Self::KillAgent(_) => Self::KillAgent(host),
            Self::StartAgent(_) => Self::StartAgent(host),
            Self::StopAgent(_) => Self::StopAgent(host),
            Self::LinkDown(_) => Self::LinkDown(host),
            Self::LinkUp(_) => Self::LinkUp(host),
            Self::Cut(..) | Self::Mend(..) => self,
        }
    }
}

fn host_fault(seeded: &mut Seeded, hosts: usize, faults: &mut Vec<(Duration, Fault)>) {
    let host = pick(seeded, hosts);
    let at = moment(seeded);
    let until = at + seeded.duration(Duration::from_millis(5), Duration::from_secs(3));
    match seeded.below(7) {
        0 => faults.extend([(at, Fault::KillServer(host)), (until, Fault::RestartServer(host))]),
        1 => faults.extend([(at, Fault::HangServer(host)), (until, Fault::RestartServer(host))]),
        2 => {
            let stall = seeded.duration(Duration::from_millis(1), Duration::from_millis(1500));
            faults.push((at, Fault::StallAgent(host, stall)));
        }
        3 => faults.extend([(at, Fault::KillAgent(host)), (until, Fault::StartAgent(host))]),
        4 => {
            let pause = seeded.duration(Duration::from_millis(1), Duration::from_millis(1500));
            faults.push((at, Fault::PauseHost(host, pause)));
        }
        5 => faults.extend([(at, Fault::StopAgent(host)), (until, Fault::StartAgent(host))]),
        _ => faults.extend([(at, Fault::LinkDown(host)), (until, Fault::LinkUp(host))]),
    }
}

/// After everybody has started and before all is healed.
fn moment(seeded: &mut Seeded) -> Duration {
    seeded.duration(Duration::from_millis(1500), Duration::from_secs(7))
}

fn pick(seeded: &mut Seeded, hosts: usize) -> usize {
    usize::try_from(seeded.below(hosts as u64)).unwrap_or(0)
}
