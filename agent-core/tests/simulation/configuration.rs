use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use agent_core::{
    Parameters, RouterParameters, ServerParameters, TrackId, TrackKind, TrackParameters, TrackWeight, Writers,
};
use agent_wire::vrrp::Version;
use agent_wire::{Priority, Vrid};
use serde::{Deserialize, Serialize};

use crate::seeded::Seeded;

/// What a cluster is made of; the times are in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Configuration {
    /// 2..=5.
    pub(crate) hosts: usize,
    /// 1..=3.
    pub(crate) routers: usize,
    pub(crate) version_2: bool,
    /// Of each host.
    pub(crate) intervals: Vec<u64>,
    /// Of each host.
    pub(crate) priorities: Vec<u8>,
    pub(crate) preempt: bool,
    pub(crate) preempt_delay: u64,
    pub(crate) startup_delay: u64,
    pub(crate) server: Option<ServerKind>,
    /// Two hosts that know each other, instead of any number on a multicast group.
    pub(crate) sole_peer: bool,
    pub(crate) announcements: u64,
    /// Of every router of every host.
    pub(crate) tracks: Vec<TrackKindAndWeight>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ServerKind {
    OneWriter,
    BothWrite,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrackKindAndWeight {
    pub(crate) script: bool,
    pub(crate) weight: i32,
    pub(crate) rise: u32,
    pub(crate) fall: u32,
}

impl Configuration {
    pub(crate) fn of_seed(seed: u64) -> Self {
        let mut seeded = Seeded::new(seed ^ 0xc0_4f16);
        let hosts = [2, 2, 3, 3, 4, 5][seeded.index(6)];
        let routers = [1, 1, 1, 2, 3][seeded.index(5)];
        let version_2 = seeded.chance(120);
        let interval = [10_000, 20_000, 50_000, 100_000, 100_000, 200_000, 400_000, 1_000_000][seeded.index(8)];
        let intervals = if version_2 {
            vec![1_000_000; hosts]
        } else if seeded.chance(250) {
            (0..hosts)
                .map(|_| interval * [2, 3, 4][seeded.index(3)] / 3)
                .map(|own| own.clamp(10_000, 1_000_000))
                .collect()
        } else {
            vec![interval; hosts]
        };
        let priorities = if seeded.chance(300) {
            vec![100; hosts]
        } else {
            let highest = [254, 200, 120][seeded.index(3)];
            let step = [1, 10, 29][seeded.index(3)];
            let mut all: Vec<u8> = (0..hosts).map(|host| highest - u8::try_from(host).unwrap_or(0) * step).collect();
            let turn = seeded.index(hosts);
            all.rotate_left(turn);
            all
        };
        let preempt = seeded.chance(650);
        let tracks = (0..[0, 0, 1, 2][seeded.index(4)]).map(|_| TrackKindAndWeight {
            script: seeded.chance(600),
            weight: [0, -60, -10, 20][seeded.index(4)],
            rise: 1 + u32::try_from(seeded.below(2)).unwrap_or(0),
            fall: 1 + u32::try_from(seeded.below(2)).unwrap_or(0),
        });
        let tracks = tracks.collect();
        Self {
            hosts,
            routers,
            version_2,
            intervals,
            priorities,
            preempt,
            preempt_delay: if preempt && seeded.chance(300) { 500_000 } else { 0 },
            startup_delay: if seeded.chance(200) { 700_000 } else { 0 },
            server: [None, Some(ServerKind::OneWriter), Some(ServerKind::OneWriter), Some(ServerKind::BothWrite)]
                [seeded.index(4)],
            sole_peer: hosts == 2 && seeded.chance(600),
            announcements: seeded.below(4),
            tracks,
        }
    }

    pub(crate) fn longest_interval(&self) -> Duration {
        Duration::from_micros(self.intervals.iter().copied().max().unwrap_or(0))
    }

    pub(crate) fn interval(&self, host: usize) -> Duration {
        Duration::from_micros(self.intervals[host])
    }

    pub(crate) fn is_one_writer(&self) -> bool {
        self.server == Some(ServerKind::OneWriter)
    }

    pub(crate) fn is_grouped(&self) -> bool {
        self.is_one_writer() && self.routers > 1
    }

    /// Simpler configurations of the same kind, to shrink a story with.
    pub(crate) fn simpler(&self) -> Vec<Self> {
        let mut all = Vec::new();
        let mut add = |change: &dyn Fn(&mut Self)| {
            let mut simpler = self.clone();
            change(&mut simpler);
            if simpler != *self {
                all.push(simpler);
            }
        };
        if self.routers > 1 {
            add(&|own| own.routers -= 1);
        }
        add(&|own| own.tracks.clear());
        add(&|own| own.server = None);
        add(&|own| own.version_2 = false);
        add(&|own| own.intervals.fill(self.intervals[0]));
        if !self.version_2 {
            add(&|own| own.intervals.fill(100_000));
        }
        add(&|own| own.preempt_delay = 0);
        add(&|own| own.startup_delay = 0);
        add(&|own| own.sole_peer = false);
        add(&|own| own.announcements = 0);
        all
    }

    pub(crate) fn parameters(&self, host: usize) -> Parameters {
        let version = if self.version_2 { Version::V2 } else { Version::V3 };
        let tracks = self.tracks.iter().enumerate();
        let weights: Vec<TrackWeight> =
            tracks.map(|(index, own)| TrackWeight { track: TrackId(index), weight: own.weight }).collect();
        let routers = (0..self.routers).map(|router| RouterParameters {
            name: format!("router{router}"),
            vrid: Vrid::new(51 + u8::try_from(router).unwrap_or(0)).expect("not zero"),
            version,
            priority: Priority::new(self.priorities[host]),
            advertisement_interval: self.interval(host),
            source_address: address(host, router),
            sole_peer: self.sole_peer.then(|| address(1 - host, router)),
            preempt_mode: self.preempt,
            preempt_delay: Duration::from_micros(self.preempt_delay),
            startup_delay: Duration::from_micros(self.startup_delay),
            announce_repeat: (0..=self.announcements).map(|count| Duration::from_millis(20 * count * count)).collect(),
            announce_refresh: Duration::from_secs(60),
            tracks: weights.clone(),
        });
        let tracks = self.tracks.iter().map(|own| TrackParameters {
            kind: if own.script { TrackKind::Script } else { TrackKind::Interface },
            name: "tracked".to_owned(),
            // Of an interface only changes are told.
            rise: if own.script { own.rise } else { 1 },
            fall: if own.script { own.fall } else { 1 },
        });
        let server = self.server.map(|kind| ServerParameters {
            fall: 2,
            rise: 2,
            writers: if kind == ServerKind::OneWriter { Writers::Active } else { Writers::Both },
            require_replication: true,
            catch_up_lag: Duration::from_secs(1),
        });
        Parameters { routers: routers.collect(), tracks: tracks.collect(), server }
    }
}

/// Where the advertisements of a router come from; every other router orders the hosts the other way round.
pub(crate) fn address(host: usize, router: usize) -> IpAddr {
    let host = u8::try_from(host).unwrap_or(0);
    let last = if router.is_multiple_of(2) { 1 + host } else { 100 - host };
    IpAddr::V4(Ipv4Addr::new(10, 77, u8::try_from(router).unwrap_or(0), last))
}

/// The virtual address of a router.
pub(crate) fn vip(router: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 77, u8::try_from(router).unwrap_or(0), 200))
}
