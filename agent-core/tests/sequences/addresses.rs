//! What others do to the interface and to the addresses on it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use agent_core::{Action, Death, Input, InterfaceState, Reason, ServerReport, StateName, StepFailure};

use crate::{Driver, ROUTER, announcements};

const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 150));

impl Driver {
    fn hindrance(&self) -> Option<&'static str> {
        self.node.snapshot(self.now).routers[0].hindrance.map(Reason::as_str)
    }

    /// The kernel says whether the address is local.
    fn tell_local(&mut self, is_local: bool) {
        let (local, missing) = if is_local { (vec![VIP], vec![]) } else { (vec![], vec![VIP]) };
        self.give(Input::Addresses { router: ROUTER, local, missing });
    }

    /// Somebody removes the address, and it is put back.
    fn lose_and_restore(&mut self) {
        self.words();
        self.tell_local(false);
        assert_eq!(self.words(), ["restore [192.0.2.150]"]);
        self.tell_local(true);
        self.done(Ok(()));
        assert_eq!(self.words(), ["announce"]);
    }
}

#[test]
fn an_address_that_somebody_removes_is_put_back_and_announced_on_the_whole_schedule() {
    let mut driver = Driver::active();
    assert_eq!(announcements(&mut driver, 0, 5_000), [20], "the schedule");
    driver.lose_and_restore();
    assert_eq!(announcements(&mut driver, 0, 5_000), [20], "the schedule again");
    assert_eq!(driver.node.snapshot(driver.now).routers[0].addresses_restored, 1);
    assert_eq!(driver.state(), StateName::Active);
}

#[test]
fn news_that_is_repeated_while_an_address_is_put_back_counts_once() {
    let mut driver = Driver::active();
    driver.tell_local(false);
    driver.words();
    for _ in 0..10 {
        driver.tell_local(false);
    }
    assert_eq!(driver.words(), [""; 0]);
    driver.tell_local(true);
    driver.done(Ok(()));
    assert_eq!(driver.node.snapshot(driver.now).routers[0].addresses_restored, 1);
}

#[test]
fn an_address_that_is_removed_five_times_in_ten_seconds_is_given_up_in_the_safe_order() {
    let mut driver = Driver::active();
    for _ in 0..4 {
        driver.lose_and_restore();
        driver.wait(1);
        driver.words();
    }
    driver.tell_local(false);
    assert_eq!(driver.words(), ["gate refuse", "fence"]);
    driver.done(Ok(()));
    assert_eq!(driver.words(), ["remove"]);
    driver.done(Ok(()));
    assert!(matches!(driver.node.poll_action(), Some(Action::SendAdvert { priority, .. }) if priority.is_release()));
    let Some(Action::Report(transition)) = driver.node.poll_action() else { panic!("the departure is reported") };
    assert_eq!((transition.to, transition.reason), (StateName::Initialize, Reason::AddressContested));
    assert_eq!(transition.detail.as_deref(), Some("192.0.2.150 was removed 5 times within 4 ms"));
    driver.wait(9_999);
    assert_eq!((driver.state(), driver.hindrance()), (StateName::Initialize, Some("address_contested")));
    assert_eq!(driver.node.poll_timeout(), Some(driver.now + Duration::from_millis(1)));
    driver.wait(1);
    assert_eq!((driver.state(), driver.hindrance()), (StateName::Backup, None));
}

#[test]
fn an_address_that_is_removed_now_and_then_is_put_back_each_time() {
    let mut driver = Driver::active();
    for _ in 0..20 {
        driver.lose_and_restore();
        for _ in 0..25 {
            driver.wait(100);
            driver.words();
        }
    }
    assert_eq!(driver.node.snapshot(driver.now).routers[0].addresses_restored, 20);
    assert_eq!(driver.state(), StateName::Active);
}

#[test]
fn an_address_that_cannot_be_put_back_is_given_up_at_once() {
    let mut driver = Driver::active();
    driver.tell_local(false);
    driver.words();
    driver.done(Err(StepFailure("cannot add 192.0.2.150/24: Permission denied".to_owned())));
    assert_eq!(driver.words(), ["gate refuse", "fence"]);
    assert_eq!(driver.hindrance(), Some("address_contested"));
}

#[test]
fn what_the_node_adds_and_removes_itself_is_nobody_elses_work() {
    let mut driver = Driver::backup();
    driver.tell_local(false);
    driver.hear(0);
    while !driver.words().contains(&"add".to_owned()) {
        driver.done(Ok(()));
    }
    driver.tell_local(true);
    driver.done(Ok(()));
    assert_eq!(driver.words(), ["announce", "resume"]);
    driver.done(Ok(()));
    driver.words();
    driver.give(Input::Server(ServerReport::Died(Death::ProcessExited)));
    assert_eq!(driver.words(), ["gate refuse", "remove"]);
    driver.tell_local(true);
    driver.tell_local(false);
    driver.done(Ok(()));
    assert_eq!(driver.words(), ["advert 0", "report initialize server_died"]);
}

#[test]
fn an_address_on_a_host_that_does_not_serve_is_removed_but_not_more_often_than_ten_times_a_second() {
    let mut driver = Driver::backup();
    driver.tell_local(true);
    assert_eq!(driver.words(), ["remove strays [192.0.2.150]"]);
    driver.tell_local(true);
    driver.done(Ok(()));
    assert_eq!(driver.words(), [""; 0]);
    assert_eq!(driver.node.poll_timeout(), Some(driver.now + Duration::from_millis(100)));
    driver.wait(100);
    assert_eq!(driver.words(), ["remove strays [192.0.2.150]"]);
    driver.tell_local(false);
    driver.done(Ok(()));
    driver.wait(100);
    assert_eq!(driver.words(), [""; 0]);
}

#[test]
fn a_node_that_has_finished_removes_no_address_any_more() {
    let mut driver = Driver::backup();
    driver.tell_local(true);
    driver.words();
    driver.done(Ok(()));
    driver.give(Input::Shutdown);
    assert_eq!(driver.words(), ["report initialize shutdown", "finished"]);
    driver.wait(1_000);
    assert_eq!(driver.words(), [""; 0]);
    assert_eq!(driver.node.poll_timeout(), None);
}

#[test]
fn an_address_that_appears_while_a_rival_may_still_serve_is_removed() {
    let mut driver = Driver::backup();
    for _ in 0..3 {
        driver.wait(100);
        driver.hear(50);
    }
    driver.wait(61);
    driver.words();
    driver.tell_local(true);
    assert_eq!(driver.words(), ["remove strays [192.0.2.150]"]);
}

#[test]
fn a_router_without_its_interface_lets_go_and_comes_back_with_the_interface() {
    for (state, word) in [
        (InterfaceState::Missing, "interface_missing"),
        (InterfaceState::NoSource, "source_address_missing"),
        (InterfaceState::Unusable, "interface_unusable"),
    ] {
        let mut driver = Driver::active();
        driver.give(Input::Interface { router: ROUTER, state });
        assert_eq!(driver.words(), ["gate refuse", "remove"], "nobody hears of it: the address goes first");
        driver.done(Ok(()));
        driver.words();
        driver.done(Ok(()));
        assert_eq!(driver.words(), ["advert 0".to_owned(), format!("report initialize {word}")]);
        let source = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77));
        driver.give(Input::Interface { router: ROUTER, state: InterfaceState::Ready { source } });
        assert_eq!((driver.state(), driver.hindrance()), (StateName::Backup, None));
    }
}

#[test]
fn another_hardware_address_is_announced_on_the_whole_schedule() {
    let mut driver = Driver::active();
    assert_eq!(announcements(&mut driver, 0, 5_000), [20], "the schedule");
    driver.give(Input::HardwareAddressChanged { router: ROUTER });
    assert_eq!(announcements(&mut driver, 0, 5_000), [0, 20]);
}
