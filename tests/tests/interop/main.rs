//! vipd and others on one wire, each as the Active and as the Backup of the other.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod frr;
mod neighbours;

use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use lab::agent::{Agent, AgentSetting, VRID};
use lab::keepalived::{Keepalived, KeepalivedSetting};
use lab::network::{Host, INTERFACE, PREFIX, VIP};
use lab::{Datapath, Network, Observer, Run, forger, turn};
use nix::sys::signal::Signal;

/// The virtual address of the tests with IPv6 that is watched.
const VIP_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x150);
const PASSWORD: &str = "s3cr3t";
/// How long the slowest change may take: version 2 counts in whole seconds.
const CHANGE: Duration = Duration::from_secs(10);

/// What both have to agree on.
#[derive(Clone, Copy, Debug)]
struct Dialect {
    version: u8,
    unicast: bool,
    password: bool,
    v6: bool,
    /// keepalived of the next Debian.
    newer: bool,
}

impl Dialect {
    const V3: Self = Self { version: 3, unicast: false, password: false, v6: false, newer: false };

    /// As vipd writes it and as keepalived does.
    fn interval(self) -> (&'static str, &'static str) {
        if self.version == 2 { ("1s", "1") } else { ("100ms", "0.1") }
    }

    fn address(self) -> IpAddr {
        if self.v6 { VIP_V6.into() } else { VIP.into() }
    }
}

/// keepalived on one host, vipd on the other, on one switch; the fields end in this order.
struct Mixed {
    observer: Observer,
    agent: Option<Agent>,
    keepalived: Option<Keepalived>,
    vipd_at: usize,
    dialect: Dialect,
    network: Network,
    run: Run,
}

impl Mixed {
    fn new(title: &str, dialect: Dialect, vipd_at: usize) -> Self {
        let run = Run::begin(title).unwrap();
        let network = Network::create(&run).unwrap();
        if dialect.v6 {
            for host in &network.databases {
                wait_for_link_local(host);
            }
        }
        let observer = Observer::start(&network.databases, dialect.address()).unwrap();
        Self { observer, agent: None, keepalived: None, vipd_at, dialect, network, run }
    }

    fn keepalived_at(&self) -> usize {
        1 - self.vipd_at
    }

    fn start_vipd(&mut self, priority: u8, interval: &str, more: &[&str]) {
        let host = &self.network.databases[self.vipd_at];
        let mut more: Vec<String> = more.iter().map(|&line| line.to_owned()).collect();
        more.push(format!("version = {}", self.dialect.version));
        if self.dialect.password {
            let file = self.run.folder().join("vrrp.pass");
            fs::write(&file, format!("{PASSWORD}\n")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            more.push(format!("authentication = {{ type = \"pass\", key_file = \"{}\" }}", file.display()));
        }
        let preempt = !more.iter().any(|line| line == NO_PREEMPT);
        more.retain(|line| line != NO_PREEMPT);
        if self.dialect.v6 {
            // It advertises from the link-local address of the interface, which it finds by itself.
            let sections = format!(
                "[[virtual_router]]\ninterface = \"{INTERFACE}\"\nvrid = {VRID}\npriority = {priority}\n\
                 advertisement_interval = \"{interval}\"\naddresses = [{}]\npreempt = {preempt}\n{}\n",
                addresses_v6().map(|address| format!("\"{address}\"")).join(", "),
                more.join("\n")
            );
            self.agent = Some(Agent::start_with(&self.run, host, &sections, Datapath::Auto).unwrap());
            return;
        }
        let setting = AgentSetting {
            datapath: Datapath::Auto,
            advertisement_interval: interval.to_owned(),
            priority,
            preempt,
            peer: self.dialect.unicast.then(|| self.network.databases[self.keepalived_at()].address),
            server_socket: None,
            more,
        };
        self.agent = Some(Agent::start(&self.run, host, &setting).unwrap());
    }

    fn start_keepalived(&mut self, setting: KeepalivedSetting) {
        let setting = KeepalivedSetting {
            version: self.dialect.version,
            peer: self.dialect.unicast.then(|| self.network.databases[self.vipd_at].address),
            password: self.dialect.password.then_some(PASSWORD),
            newer: self.dialect.newer,
            addresses: match (setting.addresses.is_empty(), self.dialect.v6) {
                (false, _) => setting.addresses,
                (true, false) => vec![format!("{VIP}/{PREFIX}")],
                (true, true) => addresses_v6().to_vec(),
            },
            ..setting
        };
        let host = &self.network.databases[self.keepalived_at()];
        self.keepalived = Some(Keepalived::start(&self.run, host, &setting).unwrap());
    }

    fn agent(&mut self) -> &mut Agent {
        self.agent.as_mut().unwrap()
    }

    fn keepalived(&mut self) -> &mut Keepalived {
        self.keepalived.as_mut().unwrap()
    }

    /// Waits until exactly this host has the address.
    #[track_caller]
    fn wait_holder(&self, host: usize) {
        self.wait(&[host], |holders| holders == [host]);
    }

    #[track_caller]
    fn wait(&self, wanted: &[usize], is_it: impl Fn(&[usize]) -> bool) {
        let deadline = Instant::now() + CHANGE;
        while !is_it(&self.observer.holders()) {
            let holders = self.observer.holders();
            assert!(Instant::now() < deadline, "{wanted:?} wanted, but {holders:?}; vipd at {}", self.vipd_at);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Nobody takes the address for this long.
    #[track_caller]
    fn assert_stays(&self, host: usize, length: Duration) {
        let since = Instant::now();
        std::thread::sleep(length);
        let moved = self.observer.holdings().iter().filter(|holding| holding.from >= since).count();
        assert_eq!((self.observer.holders(), moved), (vec![host], 0), "vipd at {}", self.vipd_at);
    }
}

const NO_PREEMPT: &str = "no preempt";

/// The virtual addresses of the tests with IPv6: the link-local one goes first (RFC 9568 §5.2.9).
fn addresses_v6() -> [String; 2] {
    ["fe80::150/64".to_owned(), format!("{VIP_V6}/64")]
}

/// A new interface tries its link-local address out for a second or two before anything can be sent from it.
fn wait_for_link_local(host: &Host) {
    let deadline = Instant::now() + CHANGE;
    loop {
        let addresses = host.namespace.ip(&["-6", "-oneline", "address", "show", "dev", INTERFACE]).unwrap();
        if addresses.contains("inet6 fe80:") && !addresses.contains("tentative") {
            return;
        }
        assert!(Instant::now() < deadline, "{addresses}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The one of the higher priority has the address; it resigns, comes back, and dies.
fn one_leads(title: &str, dialect: Dialect, leader_is_vipd: bool) {
    let mut mixed = Mixed::new(title, dialect, 1);
    let (vipd, keepalived) = if leader_is_vipd { (110, 90) } else { (90, 110) };
    let leader = if leader_is_vipd { mixed.vipd_at } else { mixed.keepalived_at() };
    let interval = dialect.interval();
    mixed.start_keepalived(KeepalivedSetting { priority: keepalived, interval: interval.1, ..Default::default() });
    mixed.start_vipd(vipd, interval.0, &[]);
    mixed.wait_holder(leader);
    mixed.assert_stays(leader, Duration::from_secs(1));

    // Stopped in order: priority 0 on the wire, no wait for the down interval.
    if leader_is_vipd {
        mixed.agent().signal(Signal::SIGTERM).unwrap();
        assert_eq!(mixed.agent().wait_end(CHANGE).unwrap(), Some(0));
    } else {
        mixed.keepalived().stop().unwrap();
    }
    mixed.wait_holder(1 - leader);
    if !leader_is_vipd {
        let transition = mixed.agent().status().unwrap().transition();
        assert_eq!((transition.to.as_str(), transition.reason.as_str()), ("active", "peer_resigned"));
    }

    // Back again, with the higher priority.
    if leader_is_vipd {
        mixed.agent().restart().unwrap();
    } else {
        mixed.keepalived().restart().unwrap();
    }
    mixed.wait_holder(leader);
    mixed.assert_stays(leader, Duration::from_secs(1));

    // Dead without a word; a killed keepalived leaves its address behind.
    if leader_is_vipd {
        mixed.agent().signal(Signal::SIGKILL).unwrap();
        mixed.wait_holder(1 - leader);
    } else {
        mixed.keepalived().kill().unwrap();
        let vipd_at = mixed.vipd_at;
        mixed.wait(&[vipd_at], |holders| holders.contains(&vipd_at));
        assert_eq!(mixed.agent().status().unwrap().transition().reason, "active_down_timer");
    }
}

#[test]
fn version_3_by_multicast_elects_hands_over_and_replaces_the_dead() {
    let Some(_turn) = turn() else { return };
    one_leads("interop-v3-vipd", Dialect::V3, true);
    one_leads("interop-v3-keepalived", Dialect::V3, false);
}

#[test]
fn version_3_by_unicast_elects_hands_over_and_replaces_the_dead() {
    let Some(_turn) = turn() else { return };
    let dialect = Dialect { unicast: true, ..Dialect::V3 };
    one_leads("interop-v3-unicast-vipd", dialect, true);
    one_leads("interop-v3-unicast-keepalived", dialect, false);
}

#[test]
fn version_2_with_a_password_elects_hands_over_and_replaces_the_dead() {
    let Some(_turn) = turn() else { return };
    let dialect = Dialect { version: 2, password: true, ..Dialect::V3 };
    one_leads("interop-v2-vipd", dialect, true);
    one_leads("interop-v2-keepalived", dialect, false);
}

#[test]
fn version_2_by_unicast_elects_hands_over_and_replaces_the_dead() {
    let Some(_turn) = turn() else { return };
    let dialect = Dialect { version: 2, unicast: true, ..Dialect::V3 };
    one_leads("interop-v2-unicast-vipd", dialect, true);
    one_leads("interop-v2-unicast-keepalived", dialect, false);
}

#[test]
fn a_newer_keepalived_elects_hands_over_and_replaces_the_dead() {
    let Some(_turn) = turn() else { return };
    if !lab::keepalived::newer_is_there() {
        return;
    }
    let dialect = Dialect { newer: true, ..Dialect::V3 };
    one_leads("interop-newer-vipd", dialect, true);
    one_leads("interop-newer-keepalived", dialect, false);
    one_leads("interop-newer-v6-keepalived", Dialect { v6: true, ..dialect }, false);
}

#[test]
fn version_3_over_ipv6_elects_hands_over_and_replaces_the_dead() {
    let Some(_turn) = turn() else { return };
    let dialect = Dialect { v6: true, ..Dialect::V3 };
    one_leads("interop-v6-vipd", dialect, true);
    one_leads("interop-v6-keepalived", dialect, false);
}

#[test]
fn after_a_partition_the_higher_address_keeps_the_virtual_one_among_equals() {
    let Some(_turn) = turn() else { return };
    for vipd_at in [0, 1] {
        let mut mixed = Mixed::new("interop-tie", Dialect::V3, vipd_at);
        mixed.start_keepalived(KeepalivedSetting::default());
        mixed.start_vipd(100, "100ms", &[]);
        mixed.wait(&[0, 1], |holders| holders.len() == 1);
        for host in &mixed.network.databases {
            host.isolate(true).unwrap();
        }
        mixed.wait(&[0, 1], |holders| holders.len() == 2);
        for host in &mixed.network.databases {
            host.isolate(false).unwrap();
        }
        mixed.wait_holder(1);
        mixed.assert_stays(1, Duration::from_secs(2));
    }
}

#[test]
fn who_does_not_preempt_leaves_the_address_where_it_is() {
    let Some(_turn) = turn() else { return };
    let mut mixed = Mixed::new("interop-no-preempt-vipd", Dialect::V3, 1);
    mixed.start_keepalived(KeepalivedSetting::default());
    mixed.wait_holder(0);
    mixed.start_vipd(150, "100ms", &[NO_PREEMPT]);
    mixed.assert_stays(0, Duration::from_secs(3));
    drop(mixed);
    let mut mixed = Mixed::new("interop-no-preempt-keepalived", Dialect::V3, 1);
    mixed.start_vipd(100, "100ms", &[]);
    mixed.wait_holder(1);
    mixed.start_keepalived(KeepalivedSetting { priority: 150, preempt: false, ..Default::default() });
    mixed.assert_stays(1, Duration::from_secs(3));
}

#[test]
fn a_backup_learns_the_interval_of_a_slower_active() {
    let Some(_turn) = turn() else { return };
    let mut mixed = Mixed::new("interop-learns-vipd", Dialect::V3, 1);
    mixed.start_keepalived(KeepalivedSetting { interval: "1", ..Default::default() });
    mixed.wait_holder(0);
    mixed.start_vipd(90, "100ms", &["startup_delay = \"2s\""]);
    mixed.assert_stays(0, Duration::from_secs(6));
    drop(mixed);
    let mut mixed = Mixed::new("interop-learns-keepalived", Dialect::V3, 1);
    mixed.start_vipd(100, "1s", &[]);
    mixed.wait_holder(1);
    mixed.start_keepalived(KeepalivedSetting { priority: 90, startup_delay: 2, ..Default::default() });
    mixed.assert_stays(1, Duration::from_secs(6));
}

#[test]
fn another_list_of_addresses_does_not_make_an_active_go_unheard() {
    let Some(_turn) = turn() else { return };
    let mut mixed = Mixed::new("interop-lists", Dialect::V3, 1);
    let addresses = vec![format!("10.77.0.160/{PREFIX}"), format!("{VIP}/{PREFIX}")];
    mixed.start_keepalived(KeepalivedSetting { addresses, ..Default::default() });
    mixed.wait_holder(0);
    mixed.start_vipd(90, "100ms", &[]);
    mixed.assert_stays(0, Duration::from_secs(3));
    mixed.keepalived().stop().unwrap();
    mixed.wait_holder(1);
}

/// Both hosts run keepalived; then both run vipd with the imported files. Gives who led first and then.
fn import(title: &str, priorities: [u8; 2]) -> [usize; 2] {
    let run = Run::begin(title).unwrap();
    let network = Network::create(&run).unwrap();
    let observer = Observer::start(&network.databases, VIP).unwrap();
    let leader = || {
        let deadline = Instant::now() + CHANGE;
        let mut seen = (observer.holders(), Instant::now());
        while seen.0.len() != 1 || seen.1.elapsed() < Duration::from_secs(2) {
            assert!(Instant::now() < deadline, "{:?}", observer.holders());
            std::thread::sleep(Duration::from_millis(20));
            let holders = observer.holders();
            if holders != seen.0 {
                seen = (holders, Instant::now());
            }
        }
        seen.0[0]
    };
    let peers = [1, 0].map(|peer: usize| network.databases[peer].address);
    let mut incumbents: Vec<Keepalived> = (0..2)
        .map(|host| {
            let addresses = vec![format!("{VIP}/{PREFIX}")];
            let (priority, peer) = (priorities[host], Some(peers[host]));
            let setting = KeepalivedSetting { priority, peer, addresses, ..Default::default() };
            Keepalived::start(&run, &network.databases[host], &setting).unwrap()
        })
        .collect();
    let before = leader();
    let mut agents = Vec::new();
    for (host, keepalived) in network.databases.iter().zip(&mut incumbents) {
        keepalived.stop().unwrap();
        let mut command = std::process::Command::new(lab::run::agent_binary().unwrap());
        command.args(["import", "keepalived"]).arg(keepalived.configuration());
        let imported = lab::run::command_output(&mut command).unwrap();
        agents.push(Agent::start_with(&run, host, &imported, Datapath::Auto).unwrap());
        let mut command = std::process::Command::new(lab::run::agent_binary().unwrap());
        lab::run::command_output(command.arg("check-config").arg(agents.last().unwrap().configuration())).unwrap();
    }
    [before, leader()]
}

#[test]
fn two_hosts_with_imported_files_elect_the_one_that_keepalived_had_elected() {
    let Some(_turn) = turn() else { return };
    assert_eq!(import("interop-import-first", [110, 90]), [0, 0]);
    assert_eq!(import("interop-import-second", [90, 110]), [1, 1]);
}

/// Three bad packets a second: what silences a keepalived must not touch vipd.
fn murmur(title: &str, datapath: Datapath) {
    const CONTROL: u8 = 52;
    let run = Run::begin(title).unwrap();
    let network = Network::create(&run).unwrap();
    let control = std::net::Ipv4Addr::new(10, 77, 0, 152);
    let observers = [VIP, control].map(|address| Observer::start(&network.databases, address).unwrap());
    let mut agents = Vec::new();
    let mut incumbents = Vec::new();
    for (host, priority) in network.databases.iter().zip([110, 90]) {
        let setting = AgentSetting {
            datapath,
            advertisement_interval: "1s".to_owned(),
            priority,
            preempt: true,
            peer: None,
            server_socket: None,
            more: Vec::new(),
        };
        agents.push(Agent::start(&run, host, &setting).unwrap());
        let addresses = vec![format!("{control}/{PREFIX}")];
        let setting = KeepalivedSetting { vrid: CONTROL, priority, interval: "1", addresses, ..Default::default() };
        incumbents.push(Keepalived::start(&run, host, &setting).unwrap());
    }
    let deadline = Instant::now() + Duration::from_secs(15);
    while observers.iter().any(|observer| observer.holders() != [0]) {
        assert!(Instant::now() < deadline, "{:?}", observers.each_ref().map(Observer::holders));
        std::thread::sleep(Duration::from_millis(50));
    }
    std::thread::sleep(Duration::from_secs(2));
    let since = Instant::now();
    let elections = incumbents[1].elections().unwrap();
    forger::murmur(&network.stranger, &[VRID, CONTROL], Duration::from_secs(15)).unwrap();
    let moved = observers[0].holdings().iter().filter(|holding| holding.from >= since).count();
    assert_eq!((observers[0].holders(), moved), (vec![0], 0), "vipd did not notice");
    let refused = agents[1].status().unwrap().refused();
    assert!(refused > 50, "the packets came: {refused}");
    // The control: a second Active, sometimes for less than an observer needs to see it.
    assert!(incumbents[1].elections().unwrap() > elections, "keepalived noticed, so that the test can fail");
    drop((agents, incumbents));
}

#[test]
fn three_bad_packets_a_second_silence_keepalived_and_not_vipd_with_native_xdp() {
    let Some(_turn) = turn() else { return };
    murmur("interop-murmur-native", Datapath::Native);
}

#[test]
fn three_bad_packets_a_second_silence_keepalived_and_not_vipd_with_sockets() {
    let Some(_turn) = turn() else { return };
    murmur("interop-murmur-socket", Datapath::Socket);
}
