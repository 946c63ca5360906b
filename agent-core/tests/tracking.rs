//! What a failed interface or script does to a router, through the node's own inputs and actions.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use agent_core::{
    Action, Advert, Input, Instant, Node, Parameters, PartSource, PriorityPart, ProbeOutcome, Reason, RouterId,
    RouterParameters, ServerParameters, ServerReport, StateName, TrackId, TrackKind, TrackOutcome, TrackParameters,
    TrackWeight, Writers,
};
use agent_wire::vrrp::Version;
use agent_wire::{Priority, Vrid};

const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 11));
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 12));
const ROUTER: RouterId = RouterId(0);
const INTERFACE: TrackId = TrackId(0);
/// `rise` and `fall` are 2.
const SCRIPT: TrackId = TrackId(1);

fn router(name: &str, tracks: &[(TrackId, i32)]) -> RouterParameters {
    RouterParameters {
        name: name.to_owned(),
        vrid: Vrid::new(51).expect("not zero"),
        version: Version::V3,
        priority: Priority::new(100),
        advertisement_interval: Duration::from_secs(1),
        source_address: OWN,
        sole_peer: None,
        preempt_mode: true,
        preempt_delay: Duration::ZERO,
        startup_delay: Duration::ZERO,
        announce_repeat: vec![Duration::ZERO],
        announce_refresh: Duration::from_secs(60),
        tracks: tracks.iter().map(|&(track, weight)| TrackWeight { track, weight }).collect(),
    }
}

/// One host; priority 100 at 1 s: Skew_Time is 609.375 ms, the Active_Down_Interval 3609.375 ms.
struct Driver {
    node: Node,
    now: Instant,
    /// What was asked for since the last look.
    actions: Vec<Action>,
}

impl Driver {
    fn new(routers: Vec<RouterParameters>, server: Option<ServerParameters>) -> Self {
        let track = |kind, name: &str, count| TrackParameters { kind, name: name.to_owned(), rise: count, fall: count };
        let tracks = vec![track(TrackKind::Interface, "ens34", 1), track(TrackKind::Script, "disk", 2)];
        let count = routers.len();
        let now = Instant::from_nanos(0);
        let node = Node::new(now, Parameters { routers, tracks, server });
        let mut driver = Self { node, now, actions: Vec::new() };
        for router in (0..count).map(RouterId) {
            driver.give(Input::Link { router, up: true });
        }
        driver
    }

    /// A router that is Active and serves, with both tracks good.
    fn active(tracks: &[(TrackId, i32)]) -> Self {
        let mut driver = Self::new(vec![router("mysql", tracks)], None);
        driver.pass(INTERFACE);
        driver.pass(SCRIPT);
        driver.at(3_609_375);
        // A claim waits 10 ms for others that claim at the same moment.
        driver.at(3_619_375);
        driver.actions.clear();
        assert!(driver.node.snapshot(driver.now).routers[0].serving);
        driver
    }

    fn give(&mut self, input: Input) {
        self.node.handle_input(self.now, input);
        self.node.handle_timeout(self.now);
        self.collect();
    }

    fn pass(&mut self, track: TrackId) {
        self.give(Input::Track { track, outcome: TrackOutcome::Passed });
    }

    fn fail(&mut self, track: TrackId) {
        let why = if track == INTERFACE { "down" } else { "exit status 1" };
        self.give(Input::Track { track, outcome: TrackOutcome::Failed(why.to_owned()) });
    }

    /// Answers every request at once and notes the actions.
    fn collect(&mut self) {
        while let Some(action) = self.node.poll_action() {
            if let Action::AddAddresses { ticket, .. }
            | Action::RemoveAddresses { ticket, .. }
            | Action::Announce { ticket, .. } = action
            {
                self.node.handle_input(self.now, Input::Done { ticket, result: Ok(()) });
            }
            if let Action::SendAdvert { router, priority } = action
                && !priority.is_release()
            {
                self.node.handle_input(self.now, Input::AdvertSent { router, at: self.now });
            }
            self.actions.push(action);
        }
    }

    fn at(&mut self, micros: u64) {
        self.now = Instant::from_nanos(micros * 1000);
        self.node.handle_timeout(self.now);
        self.collect();
    }

    fn hear(&mut self, micros: u64, priority: u8) {
        self.now = Instant::from_nanos(micros * 1000);
        let (priority, interval, arrived_at) = (Priority::new(priority), Duration::from_secs(1), self.now);
        self.give(Input::Advert(Advert { router: ROUTER, source: PEER, priority, interval, arrived_at }));
    }

    fn seen(&self) -> agent_core::RouterSnapshot {
        self.node.snapshot(self.now).routers.swap_remove(0)
    }

    fn state(&self) -> (StateName, Option<Reason>) {
        (self.seen().state, self.seen().hindrance)
    }

    /// In microseconds.
    fn deadline(&self) -> Option<u64> {
        self.node.poll_timeout().map(|due| due.as_nanos() / 1000)
    }

    fn adverts(&mut self) -> Vec<u8> {
        let sent = self.actions.iter().filter_map(|action| {
            if let Action::SendAdvert { priority, .. } = action { Some(priority.as_u8()) } else { None }
        });
        let sent = sent.collect();
        self.actions.clear();
        sent
    }
}

#[test]
fn an_active_advertises_its_lower_priority_at_once_and_its_own_when_all_is_well_again() {
    let mut driver = Driver::active(&[(INTERFACE, -20)]);
    driver.fail(INTERFACE);
    assert_eq!(driver.adverts(), [80]);
    driver.at(4_619_375);
    assert_eq!(driver.adverts(), [80]);
    driver.pass(INTERFACE);
    assert_eq!(driver.adverts(), [100]);
    assert_eq!(driver.state(), (StateName::Active, None));
}

#[test]
fn an_interface_that_flaps_is_not_answered_with_a_flood_of_advertisements() {
    let mut driver = Driver::active(&[(INTERFACE, -20)]);
    for micros in 3_700_000..3_700_100 {
        driver.at(micros);
        if micros % 2 == 0 { driver.fail(INTERFACE) } else { driver.pass(INTERFACE) }
    }
    assert_eq!(driver.adverts(), [80]);
    driver.at(4_700_000);
    assert_eq!(driver.adverts(), [100]);
}

#[test]
fn the_sum_of_the_weights_stays_within_1_and_254() {
    for (weight, advertised) in [(-253, 1), (-99, 1), (-100, 1), (253, 254), (154, 254), (10, 110)] {
        let mut driver = Driver::active(&[(INTERFACE, weight)]);
        driver.fail(INTERFACE);
        assert_eq!(driver.adverts(), [advertised], "weight {weight}");
    }
}

#[test]
fn an_active_that_fell_below_its_peer_lets_it_take_over() {
    let mut driver = Driver::active(&[(INTERFACE, -20)]);
    driver.hear(3_700_000, 90);
    assert_eq!(driver.state(), (StateName::Active, None), "its priority is 100");
    driver.fail(INTERFACE);
    driver.hear(3_800_000, 90);
    assert_eq!(driver.state(), (StateName::Backup, None), "its priority is 80");
}

#[test]
fn the_skew_of_a_backup_follows_its_effective_priority() {
    let mut driver = Driver::new(vec![router("mysql", &[(INTERFACE, -50)])], None);
    assert_eq!(driver.deadline(), Some(3_609_375));
    driver.fail(INTERFACE);
    // (256 - 50) / 256 s
    assert_eq!(driver.deadline(), Some(3_804_687));
    driver.hear(1_000_000, 60);
    assert_eq!(driver.deadline(), Some(4_804_687), "60 is not less than 50");
    driver.pass(INTERFACE);
    assert_eq!(driver.deadline(), Some(4_609_375));
    driver.hear(2_000_000, 60);
    assert_eq!(driver.deadline(), Some(4_609_375), "60 is less than 100");
}

#[test]
fn a_resignation_that_is_waited_out_follows_the_priority_and_that_of_the_only_peer_has_nothing_to_follow() {
    for (sole_peer, before, after) in [(None, 1_609_375, 1_804_687), (Some(PEER), 1_000_000, 1_000_000)] {
        let own = RouterParameters { sole_peer, ..router("mysql", &[(INTERFACE, -50)]) };
        let mut driver = Driver::new(vec![own], None);
        driver.now = Instant::from_nanos(1_000_000_000);
        let (interval, arrived_at) = (Duration::from_secs(1), driver.now);
        let release = Advert { router: ROUTER, source: PEER, priority: Priority::RELEASE, interval, arrived_at };
        driver.node.handle_input(driver.now, Input::Advert(release));
        assert_eq!(driver.deadline(), Some(before));
        let outcome = TrackOutcome::Failed("down".to_owned());
        driver.node.handle_input(driver.now, Input::Track { track: INTERFACE, outcome });
        assert_eq!(driver.deadline(), Some(after));
    }
}

#[test]
fn an_active_in_fault_closes_the_gate_and_removes_the_address_before_it_resigns() {
    let mut driver = Driver::active(&[(INTERFACE, 0)]);
    driver.fail(INTERFACE);
    let names = driver.actions.iter().filter_map(|action| {
        let text = format!("{action:?}");
        let name = text.split([' ', '(']).next().unwrap_or_default().to_owned();
        ["SetGate", "RemoveAddresses", "SendAdvert"].contains(&name.as_str()).then_some(name)
    });
    assert_eq!(names.collect::<Vec<_>>(), ["SetGate", "RemoveAddresses", "SendAdvert"]);
    let reported = driver.actions.iter().find_map(|action| {
        if let Action::Report(transition) = action {
            Some((transition.reason, transition.detail.clone()))
        } else {
            None
        }
    });
    assert_eq!(reported, Some((Reason::InterfaceDown, Some("interface ens34: down".to_owned()))));
    assert_eq!(driver.adverts(), [0]);
    assert_eq!(driver.state(), (StateName::Initialize, Some(Reason::InterfaceDown)));
    driver.pass(INTERFACE);
    assert_eq!(driver.state(), (StateName::Backup, None));
}

#[test]
fn a_script_that_fails_once_moves_nothing_and_one_that_fails_fall_times_does() {
    let mut driver = Driver::active(&[(SCRIPT, 0)]);
    for _ in 0..5 {
        driver.fail(SCRIPT);
        driver.pass(SCRIPT);
    }
    assert_eq!((driver.state(), driver.adverts()), ((StateName::Active, None), Vec::new()));
    driver.fail(SCRIPT);
    driver.fail(SCRIPT);
    assert_eq!(driver.state(), (StateName::Initialize, Some(Reason::ScriptFailed)));
    driver.pass(SCRIPT);
    driver.fail(SCRIPT);
    driver.pass(SCRIPT);
    assert_eq!(driver.state(), (StateName::Initialize, Some(Reason::ScriptFailed)), "it wavers");
    driver.pass(SCRIPT);
    assert_eq!(driver.state(), (StateName::Backup, None));
}

#[test]
fn a_script_without_a_result_holds_back_a_candidate_and_changes_no_priority() {
    let driver = Driver::new(vec![router("mysql", &[(SCRIPT, 0)])], None);
    assert_eq!(driver.state(), (StateName::Initialize, Some(Reason::ScriptUnknown)));
    let driver = Driver::new(vec![router("mysql", &[(SCRIPT, -20)])], None);
    assert_eq!(driver.state(), (StateName::Backup, None));
    assert_eq!(driver.seen().effective_priority, Priority::new(100));
}

#[test]
fn the_parts_of_the_priority_are_shown_with_their_reasons() {
    let mut driver = Driver::active(&[(INTERFACE, -20), (SCRIPT, 0)]);
    let part = |source, value, reason: Option<&str>, fault| {
        let reason = reason.map(str::to_owned);
        PriorityPart { source, value, reason, fault }
    };
    let configured = part(PartSource::Configured, 100, None, false);
    let good = [
        configured.clone(),
        part(PartSource::Track(INTERFACE), 0, None, false),
        part(PartSource::Track(SCRIPT), 0, None, false),
    ];
    assert_eq!(driver.seen().priority_parts, good);
    driver.fail(INTERFACE);
    driver.fail(SCRIPT);
    driver.fail(SCRIPT);
    let bad = [
        configured,
        part(PartSource::Track(INTERFACE), -20, Some("down"), false),
        part(PartSource::Track(SCRIPT), 0, Some("exit status 1"), true),
    ];
    assert_eq!((driver.seen().effective_priority, driver.seen().priority_parts), (Priority::new(80), bad.to_vec()));
}

#[test]
fn a_track_that_nobody_configured_is_ignored() {
    let mut driver = Driver::active(&[(INTERFACE, 0)]);
    driver.fail(TrackId(7));
    assert_eq!((driver.state(), driver.adverts()), ((StateName::Active, None), Vec::new()));
}

/// Two routers with one writer, both tracks good.
fn group(tracks: [&[(TrackId, i32)]; 2]) -> Driver {
    let server = ServerParameters {
        fall: 2,
        rise: 1,
        writers: Writers::Active,
        require_replication: false,
        catch_up_lag: Duration::from_secs(1),
    };
    let mut driver = Driver::new(vec![router("v4", tracks[0]), router("v6", tracks[1])], Some(server));
    for kind in [agent_core::Probe::Ping, agent_core::Probe::Connect] {
        driver.give(Input::Server(ServerReport::Probe { kind, outcome: ProbeOutcome::Passed }));
    }
    driver.pass(INTERFACE);
    driver.pass(SCRIPT);
    driver
}

#[test]
fn the_lowest_priority_of_a_group_goes_for_all_of_it() {
    let mut driver = group([&[], &[(INTERFACE, -20)]]);
    driver.fail(INTERFACE);
    let seen = driver.node.snapshot(driver.now).routers;
    assert_eq!([seen[0].effective_priority, seen[1].effective_priority], [Priority::new(80); 2]);
    let lowered = |part: &PriorityPart| (part.source, part.value) == (PartSource::Group(RouterId(1)), -20);
    assert!(seen[0].priority_parts.iter().any(lowered), "{:?}", seen[0].priority_parts);
}

#[test]
fn a_fault_of_one_router_of_a_group_hinders_all_of_it() {
    let mut driver = group([&[], &[(INTERFACE, 0)]]);
    let hindrances = |driver: &Driver| {
        driver.node.snapshot(driver.now).routers.iter().map(|router| router.hindrance).collect::<Vec<_>>()
    };
    assert_eq!(hindrances(&driver), [None, None]);
    driver.fail(INTERFACE);
    assert_eq!(hindrances(&driver), [Some(Reason::GroupHindered), Some(Reason::InterfaceDown)]);
}
