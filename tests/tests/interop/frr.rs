//! vipd and FRR's vrrpd on one wire. Who leads is seen by who advertises: FRR keeps the address on an interface that it
//! shuts, and the kernel lists it all the same.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use lab::agent::{Agent, VRID};
use lab::frr::{Frr, FrrSetting};
use lab::network::{INTERFACE, PREFIX, VIP};
use lab::wire::{What, Wire};
use lab::{Datapath, Network, Run, turn};
use nix::sys::signal::Signal;

use super::{CHANGE, VIP_V6, wait_for_link_local};

/// Two intervals and a bit: an Active that speaks is heard.
const LISTEN: Duration = Duration::from_millis(350);

/// FRR on the first host, vipd on the second; the fields end in this order.
struct Pair {
    agent: Agent,
    frr: Frr,
    wire: Wire,
    _network: Network,
    _run: Run,
}

const FRR: usize = 0;
const VIPD: usize = 1;

#[derive(Clone, Copy, Debug)]
struct Setting {
    version: u8,
    v6: bool,
    /// FRR's and vipd's.
    priorities: [u8; 2],
    /// FRR's and vipd's, in milliseconds.
    intervals: [u32; 2],
    preempt: bool,
}

const PLAIN: Setting = Setting { version: 3, v6: false, priorities: [100, 100], intervals: [100, 100], preempt: true };

impl Pair {
    fn start(title: &str, setting: Setting) -> Self {
        let run = Run::begin(title).unwrap();
        let network = Network::create(&run).unwrap();
        let [one, other] = &network.databases;
        if setting.v6 {
            wait_for_link_local(one);
            wait_for_link_local(other);
        }
        let wire = Wire::start(&network).unwrap();
        let Setting { version, v6, priorities, intervals, preempt } = setting;
        let address: IpAddr = if v6 { VIP_V6.into() } else { VIP.into() };
        let frr = FrrSetting {
            version,
            vrid: VRID,
            priority: priorities[FRR],
            preempt,
            interval_ms: intervals[FRR],
            address,
        };
        let frr = Frr::start(&run, one, &frr).unwrap();
        let prefix = if v6 { 64 } else { PREFIX };
        let sections = format!(
            "[[virtual_router]]\ninterface = \"{INTERFACE}\"\nvrid = {VRID}\nversion = {version}\npriority = {}\n\
             advertisement_interval = \"{}ms\"\naddresses = [{}\"{address}/{prefix}\"]\npreempt = {preempt}\n",
            priorities[VIPD],
            intervals[VIPD],
            if v6 { "\"fe80::150/64\", " } else { "" },
        );
        let agent = Agent::start_with(&run, other, &sections.replace("1000ms", "1s"), Datapath::Auto).unwrap();
        Self { agent, frr, wire, _network: network, _run: run }
    }

    /// Who has said within `length` that it is Active.
    fn speakers(&self, length: Duration) -> BTreeSet<usize> {
        drop(self.wire.take());
        std::thread::sleep(length);
        let claims = |what| matches!(what, What::Advertisement { vrid: VRID, priority } if priority > 0);
        self.wire.take().into_iter().filter(|sent| claims(sent.what)).map(|sent| sent.host).collect()
    }

    #[track_caller]
    fn wait_leader(&self, host: usize, listen: Duration) {
        let deadline = Instant::now() + CHANGE;
        loop {
            let speakers = self.speakers(listen);
            if speakers == BTreeSet::from([host]) {
                return;
            }
            assert!(Instant::now() < deadline, "{host} is to lead, but {speakers:?} speak");
        }
    }
}

/// The one of the higher priority leads; it resigns, comes back, and dies.
fn one_leads(title: &str, setting: Setting, leader: usize) {
    let listen = LISTEN * setting.intervals[0].div_ceil(100).min(4);
    let mut priorities = [90, 90];
    priorities[leader] = 110;
    let mut pair = Pair::start(title, Setting { priorities, ..setting });
    pair.wait_leader(leader, listen);
    assert_eq!(pair.speakers(Duration::from_secs(2)), BTreeSet::from([leader]), "nobody else speaks");

    if leader == VIPD {
        pair.agent.signal(Signal::SIGTERM).unwrap();
        assert_eq!(pair.agent.wait_end(CHANGE).unwrap(), Some(0));
    } else {
        pair.frr.stop().unwrap();
    }
    pair.wait_leader(1 - leader, listen);
    if leader == FRR {
        assert_eq!(pair.agent.status().unwrap().transition().reason, "peer_resigned");
    }

    if leader == VIPD {
        pair.agent.restart().unwrap();
    } else {
        pair.frr.restart().unwrap();
    }
    pair.wait_leader(leader, listen);
    assert_eq!(pair.speakers(Duration::from_secs(2)), BTreeSet::from([leader]), "nobody else speaks");

    if leader == VIPD {
        pair.agent.signal(Signal::SIGKILL).unwrap();
    } else {
        pair.frr.kill().unwrap();
    }
    pair.wait_leader(1 - leader, listen);
    if leader == FRR {
        assert_eq!(pair.agent.status().unwrap().transition().reason, "active_down_timer");
    }
}

#[test]
fn with_frr_version_3_elects_hands_over_and_replaces_the_dead() {
    let Some(_turn) = turn() else { return };
    one_leads("interop-frr-vipd", PLAIN, VIPD);
    one_leads("interop-frr-frr", PLAIN, FRR);
}

#[test]
fn with_frr_version_2_elects_hands_over_and_replaces_the_dead() {
    let Some(_turn) = turn() else { return };
    let setting = Setting { version: 2, intervals: [1000, 1000], ..PLAIN };
    one_leads("interop-frr-v2-vipd", setting, VIPD);
    one_leads("interop-frr-v2-frr", setting, FRR);
}

#[test]
fn with_frr_version_3_over_ipv6_elects_hands_over_and_replaces_the_dead() {
    let Some(_turn) = turn() else { return };
    let setting = Setting { v6: true, ..PLAIN };
    one_leads("interop-frr-v6-vipd", setting, VIPD);
    one_leads("interop-frr-v6-frr", setting, FRR);
}

#[test]
fn with_frr_the_interval_of_a_slower_active_is_learned() {
    let Some(_turn) = turn() else { return };
    // A Backup of 100 ms that did not learn would claim after 0.36 s.
    let slow_frr = Setting { priorities: [110, 90], intervals: [1000, 100], ..PLAIN };
    let pair = Pair::start("interop-frr-learns-vipd", slow_frr);
    pair.wait_leader(FRR, LISTEN * 4);
    assert_eq!(pair.speakers(Duration::from_secs(5)), BTreeSet::from([FRR]));
    drop(pair);
    let slow_vipd = Setting { priorities: [90, 110], intervals: [100, 1000], ..PLAIN };
    let pair = Pair::start("interop-frr-learns-frr", slow_vipd);
    pair.wait_leader(VIPD, LISTEN * 4);
    assert_eq!(pair.speakers(Duration::from_secs(5)), BTreeSet::from([VIPD]));
}
