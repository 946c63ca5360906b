//! The state machine of the RFCs through the node's own inputs and actions: two nodes of plain VRRP without a server.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use agent_core::{Action, Advert, Input, Instant, Node, Parameters, RouterId, RouterParameters, StateName};
use agent_wire::vrrp::Version;
use agent_wire::{Priority, Vrid};

const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 11));
const LOW: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
/// Higher than `OWN` only without a sign.
const HIGH: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
const ROUTER: RouterId = RouterId(0);
const VERSIONS: [Version; 2] = [Version::V2, Version::V3];

/// Priority 100 at 1 s: Skew_Time is 609.375 ms in both versions, the Active_Down_Interval 3609.375 ms.
struct Driver {
    node: Node,
    now: Instant,
    /// What was asked for since the last look.
    actions: Vec<Action>,
}

impl Driver {
    fn new(version: Version, preempt_mode: bool) -> Self {
        let router = RouterParameters {
            name: "plain".to_owned(),
            vrid: Vrid::new(51).expect("not zero"),
            version,
            priority: Priority::new(100),
            advertisement_interval: Duration::from_secs(1),
            source_address: OWN,
            sole_peer: None,
            preempt_mode,
            preempt_delay: Duration::ZERO,
            startup_delay: Duration::ZERO,
            announce_repeat: vec![Duration::ZERO],
            announce_refresh: Duration::from_secs(60),
            tracks: Vec::new(),
        };
        let now = Instant::from_nanos(0);
        let node = Node::new(now, Parameters { routers: vec![router], tracks: Vec::new(), server: None });
        let mut driver = Self { node, now, actions: Vec::new() };
        driver.collect();
        driver.actions.clear();
        driver
    }

    fn backup(version: Version, preempt_mode: bool) -> Self {
        let mut driver = Self::new(version, preempt_mode);
        driver.give(Input::Link { router: ROUTER, up: true });
        driver.actions.clear();
        driver
    }

    /// Active and serving since 3619.375 ms.
    fn active(version: Version) -> Self {
        let mut driver = Self::backup(version, true);
        driver.at(3_609_375);
        // A claim waits 10 ms for others that claim at the same moment.
        driver.at(3_619_375);
        driver.actions.clear();
        assert!(driver.node.snapshot(driver.now).routers[0].serving);
        driver
    }

    fn give(&mut self, input: Input) {
        self.node.handle_input(self.now, input);
        self.collect();
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

    fn hear(&mut self, micros: u64, source: IpAddr, priority: u8, interval: Duration) {
        self.now = Instant::from_nanos(micros * 1000);
        let priority = Priority::new(priority);
        let arrived_at = self.now;
        self.give(Input::Advert(Advert { router: ROUTER, source, priority, interval, arrived_at }));
        self.node.handle_timeout(self.now);
        self.collect();
    }

    fn state(&self) -> StateName {
        self.node.snapshot(self.now).routers[0].state
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

    fn count(&self, wanted: impl Fn(&Action) -> bool) -> usize {
        self.actions.iter().filter(|action| wanted(action)).count()
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Ledger: RFC9568-6.4.1-1, RFC5798-6.4.1-1, RFC3768-6.4.1-1 (positive)
#[test]
fn a_router_that_starts_is_a_backup_and_waits_an_active_down_interval() {
    for version in VERSIONS {
        let driver = Driver::backup(version, true);
        assert_eq!((driver.state(), driver.deadline()), (StateName::Backup, Some(3_609_375)));
    }
}

/// Ledger: RFC9568-6.4.1-1, RFC5798-6.4.1-1, RFC3768-6.4.1-1 (negative)
#[test]
fn a_router_that_has_not_started_neither_speaks_nor_listens() {
    for version in VERSIONS {
        let mut driver = Driver::new(version, true);
        driver.hear(1_000_000, LOW, 1, SECOND);
        driver.at(60_000_000);
        assert_eq!((driver.state(), driver.deadline()), (StateName::Initialize, None));
        assert_eq!(driver.adverts(), [0_u8; 0]);
    }
}

/// Ledger: RFC9568-6.4.2-5, RFC5798-6.4.2-5, RFC3768-6.4.2-3 (positive)
/// Ledger: RFC9568-6.4.2-1, RFC5798-6.4.2-1, RFC3768-6.4.2-1, RFC9568-6.4.2-2, RFC5798-6.4.2-2 (positive)
#[test]
fn a_backup_asks_for_no_address() {
    for version in VERSIONS {
        let mut driver = Driver::backup(version, true);
        for second in 1..20 {
            driver.hear(second * 1_000_000, LOW, 200, SECOND);
        }
        assert_eq!(driver.state(), StateName::Backup);
        assert_eq!(driver.actions, []);
    }
}

/// Ledger: RFC9568-6.4.2-6, RFC5798-6.4.2-6, RFC3768-6.4.2-4 (positive)
#[test]
fn a_backup_that_is_stopped_waits_for_nothing_and_sends_nothing() {
    for version in VERSIONS {
        let mut driver = Driver::backup(version, true);
        driver.give(Input::Shutdown);
        assert_eq!((driver.state(), driver.deadline()), (StateName::Initialize, None));
        assert_eq!(driver.adverts(), [0_u8; 0]);
    }
}

/// Ledger: RFC9568-6.4.2-6, RFC5798-6.4.2-6, RFC3768-6.4.2-4 (negative)
#[test]
fn a_backup_that_was_stopped_never_becomes_active() {
    for version in VERSIONS {
        let mut driver = Driver::backup(version, true);
        driver.give(Input::Shutdown);
        driver.at(3_609_375);
        driver.hear(4_000_000, LOW, 0, SECOND);
        driver.at(60_000_000);
        assert_eq!(driver.state(), StateName::Initialize);
        assert_eq!(driver.adverts(), [0_u8; 0]);
    }
}

/// Ledger: RFC9568-6.4.2-7, RFC5798-6.4.2-7, RFC3768-6.4.2-5 (positive)
/// Ledger: RFC9568-6.4.3-6, RFC5798-6.4.3-6, RFC9568-6.4.3-1, RFC5798-6.4.3-1, RFC3768-6.4.3-1 (positive)
#[test]
fn a_backup_whose_timer_fires_advertises_takes_the_address_and_announces_it() {
    for version in VERSIONS {
        let mut driver = Driver::backup(version, true);
        driver.at(3_609_375);
        assert_eq!(driver.state(), StateName::Active);
        assert_eq!(driver.adverts(), [100]);
        driver.at(3_619_375);
        assert_eq!(driver.count(|action| matches!(action, Action::AddAddresses { .. })), 1);
        assert_eq!(driver.count(|action| matches!(action, Action::Announce { .. })), 1);
        driver.at(4_609_375);
        assert_eq!(driver.adverts(), [100], "one Advertisement_Interval after the first");
    }
}

/// Ledger: RFC9568-6.4.2-7, RFC5798-6.4.2-7, RFC3768-6.4.2-5 (negative)
#[test]
fn a_backup_whose_timer_has_not_fired_does_nothing() {
    for version in VERSIONS {
        let mut driver = Driver::backup(version, true);
        driver.at(3_609_374);
        assert_eq!((driver.state(), driver.actions), (StateName::Backup, vec![]));
    }
}

/// Ledger: RFC9568-6.4.2-8, RFC5798-6.4.2-8, RFC3768-6.4.2-6 (positive)
#[test]
fn a_priority_of_zero_shortens_the_wait_to_the_skew_time() {
    for version in VERSIONS {
        let mut driver = Driver::backup(version, true);
        driver.hear(1_000_000, LOW, 200, SECOND);
        driver.hear(1_500_000, LOW, 0, SECOND);
        assert_eq!((driver.state(), driver.deadline()), (StateName::Backup, Some(2_109_375)));
    }
}

/// Ledger: RFC9568-6.4.2-8, RFC5798-6.4.2-8, RFC3768-6.4.2-6 (negative)
#[test]
fn a_priority_of_one_is_no_resignation() {
    for version in VERSIONS {
        let mut driver = Driver::backup(version, false);
        driver.hear(1_500_000, LOW, 1, SECOND);
        assert_eq!(driver.deadline(), Some(5_109_375));
    }
}

/// Ledger: RFC9568-6.4.2-9, RFC5798-6.4.2-9, RFC3768-6.4.2-7 (positive)
#[test]
fn an_equal_or_higher_priority_restarts_the_timer_and_so_does_any_without_preemption() {
    for version in VERSIONS {
        for (preempt, priority) in [(true, 100), (true, 101), (true, 255), (false, 99), (false, 1)] {
            let mut driver = Driver::backup(version, preempt);
            driver.hear(2_000_000, LOW, priority, SECOND);
            assert_eq!(driver.deadline(), Some(5_609_375), "{version:?} {preempt} {priority}");
        }
    }
    let mut driver = Driver::backup(Version::V3, true);
    driver.hear(2_000_000, LOW, 200, Duration::from_millis(500));
    // 3 * 500 ms + 156 / 256 * 500 ms = 1804.6875 ms
    assert_eq!(driver.deadline(), Some(3_804_687), "the interval of the Active Router is learned");
}

/// Ledger: RFC9568-6.4.2-10, RFC5798-6.4.2-10, RFC3768-6.4.2-8 (positive)
/// Ledger: RFC9568-6.4.2-9, RFC5798-6.4.2-9, RFC3768-6.4.2-7 (negative)
#[test]
fn a_lower_priority_changes_nothing_for_a_backup_that_preempts() {
    for version in VERSIONS {
        let mut driver = Driver::backup(version, true);
        driver.hear(2_000_000, LOW, 99, Duration::from_millis(10));
        assert_eq!(driver.deadline(), Some(3_609_375));
        driver.at(3_609_375);
        assert_eq!(driver.state(), StateName::Active);
    }
}

/// Ledger: RFC9568-6.4.2-10, RFC5798-6.4.2-10, RFC3768-6.4.2-8 (negative)
#[test]
fn an_equal_priority_is_not_discarded_by_a_backup() {
    for version in VERSIONS {
        let mut driver = Driver::backup(version, true);
        driver.hear(2_000_000, LOW, 100, SECOND);
        driver.at(3_609_375);
        assert_eq!(driver.state(), StateName::Backup);
    }
}

/// Ledger: RFC9568-6.4.3-8, RFC5798-6.4.3-8, RFC3768-6.4.3-5 (positive)
/// Ledger: RFC9568-6.4.2-5, RFC5798-6.4.2-5, RFC3768-6.4.2-3 (negative)
/// Ledger: RFC9568-6.4.2-1, RFC5798-6.4.2-1, RFC3768-6.4.2-1, RFC9568-6.4.2-2, RFC5798-6.4.2-2 (negative)
/// Ledger: RFC9568-6.4.3-1, RFC5798-6.4.3-1, RFC3768-6.4.3-1, RFC9568-6.4.3-6, RFC5798-6.4.3-6 (negative)
#[test]
fn an_active_that_is_stopped_lets_the_address_go_and_resigns_once() {
    for version in VERSIONS {
        let mut driver = Driver::active(version);
        driver.give(Input::Shutdown);
        assert_eq!(driver.count(|action| matches!(action, Action::RemoveAddresses { .. })), 1);
        assert_eq!(driver.adverts(), [0]);
        assert_eq!((driver.state(), driver.deadline()), (StateName::Initialize, None));
    }
}

/// Ledger: RFC9568-6.4.3-8, RFC5798-6.4.3-8, RFC3768-6.4.3-5 (negative)
#[test]
fn an_active_that_was_stopped_advertises_no_more() {
    for version in VERSIONS {
        let mut driver = Driver::active(version);
        driver.give(Input::Shutdown);
        driver.actions.clear();
        for second in 5..20 {
            driver.hear(second * 1_000_000, LOW, 1, SECOND);
            driver.at(second * 1_000_000 + 500_000);
        }
        assert_eq!(driver.adverts(), [0_u8; 0]);
    }
}

/// Ledger: RFC9568-6.4.3-9, RFC5798-6.4.3-9, RFC3768-6.4.3-6 (positive)
#[test]
fn an_active_advertises_every_advertisement_interval() {
    for version in VERSIONS {
        let mut driver = Driver::active(version);
        for second in 4..9 {
            driver.at(second * 1_000_000 + 609_375);
            assert_eq!(driver.adverts(), [100], "{version:?} at {second}.609375 s");
        }
    }
}

/// Ledger: RFC9568-6.4.3-9, RFC5798-6.4.3-9, RFC3768-6.4.3-6 (negative)
#[test]
fn an_active_does_not_advertise_before_its_interval_is_over() {
    for version in VERSIONS {
        let mut driver = Driver::active(version);
        driver.at(4_609_374);
        assert_eq!(driver.adverts(), [0_u8; 0]);
    }
}

/// Ledger: RFC9568-6.4.3-10, RFC5798-6.4.3-10, RFC3768-6.4.3-7 (positive)
#[test]
fn an_active_answers_a_resignation_at_once_and_counts_its_interval_from_there() {
    for version in VERSIONS {
        let mut driver = Driver::active(version);
        driver.hear(4_000_000, HIGH, 0, SECOND);
        assert_eq!((driver.state(), driver.adverts()), (StateName::Active, vec![100]));
        driver.at(4_609_375);
        assert_eq!(driver.adverts(), [0_u8; 0]);
        driver.at(5_000_000);
        assert_eq!(driver.adverts(), [100]);
    }
}

/// Ledger: RFC9568-6.4.3-10, RFC5798-6.4.3-10, RFC3768-6.4.3-7 (negative)
#[test]
fn an_active_yields_to_a_higher_priority_without_an_answer_of_its_own_priority() {
    for version in VERSIONS {
        let mut driver = Driver::active(version);
        driver.hear(4_000_000, LOW, 101, SECOND);
        assert_eq!(driver.state(), StateName::Backup);
        assert!(!driver.adverts().contains(&100));
    }
}

/// Ledger: RFC9568-6.4.3-11, RFC5798-6.4.3-11, RFC3768-6.4.3-8 (positive)
#[test]
fn an_active_yields_to_a_higher_priority_and_to_a_higher_address_of_the_same() {
    for version in VERSIONS {
        for (source, priority) in [(LOW, 101), (LOW, 255), (HIGH, 100)] {
            let mut driver = Driver::active(version);
            driver.hear(4_000_000, source, priority, SECOND);
            assert_eq!((driver.state(), driver.deadline()), (StateName::Backup, Some(7_609_375)));
        }
    }
    let mut driver = Driver::active(Version::V3);
    driver.hear(4_000_000, LOW, 101, Duration::from_millis(500));
    assert_eq!(driver.deadline(), Some(5_804_687), "the interval of the new Active Router is learned");
}

/// Ledger: RFC9568-6.4.3-11, RFC5798-6.4.3-11, RFC3768-6.4.3-8 (negative)
/// Ledger: RFC5798-6.4.3-12, RFC3768-6.4.3-9 (positive)
#[test]
fn an_active_stays_before_a_lower_priority_and_a_lower_address_of_the_same() {
    for version in VERSIONS {
        for (source, priority) in [(HIGH, 99), (HIGH, 1), (LOW, 100)] {
            let mut driver = Driver::active(version);
            driver.hear(4_000_000, source, priority, Duration::from_millis(10));
            assert_eq!(driver.state(), StateName::Active, "{version:?} {source} {priority}");
            assert!(driver.node.snapshot(driver.now).routers[0].serving);
        }
    }
}

/// Ledger: RFC9568-6.4.3-12 (positive)
#[test]
fn an_active_asserts_itself_at_once_against_a_lower_priority() {
    let mut driver = Driver::active(Version::V3);
    driver.hear(4_000_000, HIGH, 99, SECOND);
    assert_eq!(driver.adverts(), [100]);
}

/// Ledger: RFC9568-6.4.3-12, RFC5798-6.4.3-12, RFC3768-6.4.3-9 (negative)
#[test]
fn an_active_does_not_discard_what_outranks_it() {
    for version in VERSIONS {
        let mut driver = Driver::active(version);
        driver.hear(4_000_000, HIGH, 100, SECOND);
        assert_eq!(driver.state(), StateName::Backup);
        assert!(!driver.adverts().contains(&100));
    }
}
