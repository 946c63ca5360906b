//! The virtual routers of a host with one writable server: Active together or not at all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use agent_core::{
    Action, Advert, Input, Instant, Node, Parameters, Probe, ProbeOutcome, Reason, Receiver, Replication, RouterId,
    RouterParameters, ServerParameters, ServerReport, Standing, StateName, StepFailure, Writers,
};
use agent_wire::vrrp::Version;
use agent_wire::{Priority, Vrid};

const V4: RouterId = RouterId(0);
const V6: RouterId = RouterId(1);
const OWN_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 11));
const PEER_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 12));
/// In IPv6 the peer has the lower address.
const OWN_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x12));
const PEER_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x11));

struct Host {
    node: Node,
    now: Instant,
    reports: Vec<(usize, StateName, Reason)>,
    /// Whose addresses the kernel does not take.
    refused: Option<RouterId>,
}

impl Host {
    /// Two Backups, one of each family, that have just heard the Active.
    fn backup(writers: Writers) -> Self {
        let router = |name: &str, source_address, sole_peer| RouterParameters {
            name: name.to_owned(),
            vrid: Vrid::new(51).expect("not zero"),
            version: Version::V3,
            priority: Priority::new(100),
            advertisement_interval: Duration::from_millis(100),
            source_address,
            sole_peer: Some(sole_peer),
            preempt_mode: true,
            preempt_delay: Duration::ZERO,
            startup_delay: Duration::ZERO,
            announce_repeat: vec![Duration::ZERO],
            announce_refresh: Duration::from_secs(60),
            tracks: Vec::new(),
        };
        let server = ServerParameters {
            fall: 2,
            rise: 1,
            writers,
            require_replication: true,
            catch_up_lag: Duration::from_secs(1),
        };
        let now = Instant::from_nanos(1_000_000_000);
        let routers = vec![router("v4", OWN_V4, PEER_V4), router("v6", OWN_V6, PEER_V6)];
        let node = Node::new(now, Parameters { routers, tracks: Vec::new(), server: Some(server) });
        let mut host = Self { node, now, reports: Vec::new(), refused: None };
        for router in [V4, V6] {
            host.give(Input::Link { router, up: true });
        }
        let replication =
            Replication { receiver: Receiver::Connected, applying: true, lag: Some(Duration::ZERO), error: None };
        let standing = Standing { writable: false, replication: Some(replication) };
        host.give(Input::Server(ServerReport::Standing(standing)));
        for kind in [Probe::Ping, Probe::Connect] {
            host.give(Input::Server(ServerReport::Probe { kind, outcome: ProbeOutcome::Passed }));
        }
        host.hear(V4, 100);
        host.hear(V6, 100);
        assert_eq!(host.states(), [StateName::Backup; 2]);
        host
    }

    fn active() -> Self {
        let mut host = Self::backup(Writers::Active);
        host.hear(V4, 0);
        host.hear(V6, 0);
        host.wait(50);
        assert_eq!(host.serving(), [true; 2]);
        host.reports.clear();
        host
    }

    fn give(&mut self, input: Input) {
        self.node.handle_input(self.now, input);
        self.turn();
    }

    /// Everything that is asked for succeeds at once.
    fn turn(&mut self) {
        self.node.handle_timeout(self.now);
        while let Some(action) = self.node.poll_action() {
            let input = match action {
                Action::SendAdvert { router, priority } if !priority.is_release() => {
                    Some(Input::AdvertSent { router, at: self.now })
                }
                Action::AddAddresses { ticket, router } if self.refused == Some(router) => {
                    Some(Input::Done { ticket, result: Err(StepFailure("no room".to_owned())) })
                }
                Action::AddAddresses { ticket, .. }
                | Action::RemoveAddresses { ticket, .. }
                | Action::RestoreAddresses { ticket, .. }
                | Action::RemoveStrays { ticket, .. }
                | Action::Announce { ticket, .. }
                | Action::StopReceiving { ticket, .. }
                | Action::Drain { ticket }
                | Action::OpenServer { ticket }
                | Action::FenceServer { ticket } => Some(Input::Done { ticket, result: Ok(()) }),
                Action::Report(transition) => {
                    self.reports.push((transition.router.0, transition.to, transition.reason));
                    None
                }
                Action::SendAdvert { .. }
                | Action::RenewLease { .. }
                | Action::SetGate { .. }
                | Action::RenewAddresses { .. }
                | Action::ResumeReceiving
                | Action::Finished => None,
            };
            if let Some(input) = input {
                self.node.handle_input(self.now, input);
            }
        }
    }

    fn hear(&mut self, router: RouterId, priority: u8) {
        let source = if router == V4 { PEER_V4 } else { PEER_V6 };
        let (interval, arrived_at) = (Duration::from_millis(100), self.now);
        let priority = Priority::new(priority);
        self.give(Input::Advert(Advert { router, source, priority, interval, arrived_at }));
    }

    fn wait(&mut self, millis: u64) {
        for _ in 0..millis {
            self.now = self.now + Duration::from_millis(1);
            self.turn();
        }
    }

    fn states(&self) -> [StateName; 2] {
        let routers = self.node.snapshot(self.now).routers;
        [routers[0].state, routers[1].state]
    }

    fn serving(&self) -> [bool; 2] {
        let routers = self.node.snapshot(self.now).routers;
        [routers[0].serving, routers[1].serving]
    }
}

#[test]
fn a_family_that_hears_nothing_waits_while_the_other_hears_the_active() {
    let mut host = Host::backup(Writers::Active);
    for _ in 0..50 {
        host.wait(100);
        host.hear(V4, 100);
    }
    assert_eq!(host.states(), [StateName::Backup; 2], "the other host's server is open");
    let wake = host.node.poll_timeout().expect("the other family's timer runs");
    assert!(wake > host.now, "the one that waits does not keep the thread awake");
}

#[test]
fn both_families_claim_at_once_when_neither_hears_the_active_any_more() {
    let mut host = Host::backup(Writers::Active);
    for _ in 0..50 {
        host.wait(100);
        host.hear(V4, 100);
    }
    host.wait(360);
    assert_eq!(host.states(), [StateName::Backup; 2], "3 x 100 ms + 156/256 x 100 ms have not passed");
    host.wait(1);
    assert_eq!(host.states(), [StateName::Active; 2]);
}

#[test]
fn a_resignation_of_one_family_alone_moves_nothing() {
    let mut host = Host::backup(Writers::Active);
    host.hear(V4, 0);
    host.wait(100);
    host.hear(V6, 100);
    assert_eq!(host.states(), [StateName::Backup; 2]);
    host.hear(V6, 0);
    assert_eq!(host.states(), [StateName::Active; 2]);
}

#[test]
fn when_one_family_is_deposed_the_other_does_not_stay_behind() {
    let mut host = Host::active();
    host.hear(V6, 101);
    assert_eq!(host.serving(), [false; 2]);
    assert_eq!(host.states(), [StateName::Backup; 2]);
    assert!(host.reports.contains(&(0, StateName::Backup, Reason::GroupDeposed)), "{:?}", host.reports);
    assert!(host.reports.contains(&(1, StateName::Backup, Reason::HigherPriority)), "{:?}", host.reports);
}

#[test]
fn two_families_that_order_the_hosts_differently_do_not_split_the_pair() {
    let mut host = Host::active();
    host.hear(V4, 100);
    assert_eq!(host.states(), [StateName::Backup; 2], "192.0.2.12 goes before 192.0.2.11");

    let mut host = Host::active();
    host.hear(V6, 100);
    assert_eq!(host.states(), [StateName::Active; 2], "fe80::12 goes before fe80::11, and IPv4 hears no rival");
    host.hear(V4, 100);
    assert_eq!(host.states(), [StateName::Backup; 2], "IPv4 stands first in the file: it decides");
}

#[test]
fn a_link_that_one_family_has_lost_takes_the_other_along() {
    let mut host = Host::active();
    host.give(Input::Link { router: V6, up: false });
    host.wait(1);
    assert_eq!(host.states(), [StateName::Initialize; 2]);
    assert!(host.reports.contains(&(0, StateName::Initialize, Reason::GroupHindered)), "{:?}", host.reports);
    host.give(Input::Link { router: V6, up: true });
    assert_eq!(host.states(), [StateName::Backup; 2]);
}

#[test]
fn with_both_servers_writable_each_router_goes_its_own_way() {
    let mut host = Host::backup(Writers::Both);
    for _ in 0..5 {
        host.wait(100);
        host.hear(V4, 100);
    }
    assert_eq!(host.states(), [StateName::Backup, StateName::Active]);
}

#[test]
fn an_address_of_one_family_that_is_contested_takes_the_other_along() {
    let mut host = Host::active();
    for _ in 0..5 {
        host.give(Input::Addresses { router: V6, local: vec![], missing: vec![OWN_V6] });
    }
    host.wait(1);
    assert_eq!(host.states(), [StateName::Initialize; 2]);
    assert!(host.reports.contains(&(0, StateName::Initialize, Reason::GroupHindered)), "{:?}", host.reports);
    assert!(host.reports.contains(&(1, StateName::Initialize, Reason::AddressContested)), "{:?}", host.reports);
    host.give(Input::Addresses { router: V6, local: vec![], missing: vec![] });
    host.wait(10_000);
    assert_eq!(host.states(), [StateName::Backup; 2]);
}

#[test]
fn when_the_addresses_of_one_family_cannot_be_added_the_other_does_not_serve_alone() {
    let mut host = Host::backup(Writers::Active);
    host.refused = Some(V6);
    host.hear(V4, 0);
    host.hear(V6, 0);
    host.wait(50);
    assert_eq!(host.serving(), [false; 2]);
    assert!(host.reports.contains(&(0, StateName::Initialize, Reason::GroupHindered)), "{:?}", host.reports);
    assert!(host.reports.contains(&(1, StateName::Initialize, Reason::TakeoverFailed)), "{:?}", host.reports);
    host.refused = None;
    host.wait(1000);
    assert_eq!(host.states(), [StateName::Backup; 2], "a second after the failure both try again");
    host.wait(400);
    assert_eq!(host.serving(), [true; 2]);
}
