use core::net::Ipv4Addr;

use agent_wire::vrrp::Version;
use agent_wire::{Priority, Vrid};

use super::*;
use crate::input::RouterId;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 12));
const THIRD: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 200));

/// Priority 100, 1 s: Skew_Time 609.375 ms, Active_Down_Interval 3.609375 s.
fn own() -> RouterParameters {
    RouterParameters {
        name: "mysql".to_owned(),
        vrid: Vrid::new(51).unwrap(),
        version: Version::V3,
        priority: Priority::new(100),
        advertisement_interval: Duration::from_secs(1),
        source_address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 11)),
        sole_peer: None,
        preempt_mode: true,
        preempt_delay: Duration::ZERO,
        startup_delay: Duration::ZERO,
        announce_repeat: vec![Duration::ZERO],
        announce_refresh: Duration::from_secs(60),
        tracks: Vec::new(),
    }
}

fn at_micros(micros: u64) -> Instant {
    Instant::from_nanos(micros * 1000)
}

fn advert(source: IpAddr, priority: u8, arrived_at: Instant) -> Advert {
    Advert {
        router: RouterId(0),
        source,
        priority: Priority::new(priority),
        interval: Duration::from_secs(1),
        arrived_at,
    }
}

fn backup(own: &RouterParameters) -> Election {
    let mut election = Election::new();
    election.start(at_micros(0), own);
    assert_eq!(election.state_name(), StateName::Backup);
    election
}

fn active(own: &RouterParameters) -> Election {
    let mut election = backup(own);
    let outcome = election.handle_timeout(at_micros(3_609_375), own);
    assert_eq!(outcome, Outcome::Claimed { reason: Reason::ActiveDownTimer, evidence_at: at_micros(0) });
    election
}

#[test]
fn a_backup_that_hears_nothing_claims_after_its_active_down_interval_and_not_before() {
    let own = own();
    let mut election = backup(&own);
    assert_eq!(election.poll_timeout(), Some(at_micros(3_609_375)));
    assert_eq!(election.handle_timeout(at_micros(3_609_374), &own), Outcome::Nothing);
    assert_eq!(election.state_name(), StateName::Backup);
    election.handle_timeout(at_micros(3_609_375), &own);
    assert_eq!(election.state_name(), StateName::Active);
}

#[test]
fn an_advert_that_arrived_in_time_beats_a_deadline_that_is_noticed_late() {
    let own = own();
    let mut election = backup(&own);
    election.handle_advert(&advert(PEER, 100, at_micros(3_000_000)), &own, true);
    assert_eq!(election.handle_timeout(at_micros(3_700_000), &own), Outcome::Nothing);
    assert_eq!(election.poll_timeout(), Some(at_micros(6_609_375)));
}

#[test]
fn a_backup_learns_the_interval_of_the_active() {
    let own = own();
    let mut election = backup(&own);
    let learned = Advert { interval: Duration::from_millis(10), ..advert(PEER, 200, at_micros(1_000_000)) };
    election.handle_advert(&learned, &own, true);
    // 3 * 10 ms + (256 - 100) / 256 * 10 ms = 36.09375 ms
    assert_eq!(election.poll_timeout(), Some(Instant::from_nanos(1_036_093_750)));
}

#[test]
fn a_lower_priority_does_not_postpone_a_preempting_backup_but_does_postpone_another() {
    let own = own();
    let mut election = backup(&own);
    election.handle_advert(&advert(PEER, 99, at_micros(1_000_000)), &own, true);
    assert_eq!(election.poll_timeout(), Some(at_micros(3_609_375)));
    election.handle_advert(&advert(PEER, 99, at_micros(1_000_000)), &own, false);
    assert_eq!(election.poll_timeout(), Some(at_micros(4_609_375)));
}

#[test]
fn preempt_delay_counts_from_the_first_lower_advert() {
    let own = RouterParameters { preempt_delay: Duration::from_secs(2), ..own() };
    let mut election = backup(&own);
    for (second, deadline) in [(1, 4_609_375), (2, 5_609_375), (3, 5_609_375), (4, 5_609_375)] {
        election.handle_advert(&advert(PEER, 99, at_micros(second * 1_000_000)), &own, true);
        assert_eq!(election.poll_timeout(), Some(at_micros(deadline)), "after second {second}");
    }
}

#[test]
fn a_resignation_is_waited_out_for_the_skew_time_where_others_may_be_faster() {
    let own = own();
    let mut election = backup(&own);
    election.handle_advert(&advert(PEER, 0, at_micros(1_000_000)), &own, true);
    assert_eq!(election.poll_timeout(), Some(at_micros(1_609_375)));
}

#[test]
fn the_resignation_of_the_only_peer_is_acted_on_at_once() {
    let own = RouterParameters { sole_peer: Some(PEER), ..own() };
    let mut election = backup(&own);
    election.handle_advert(&advert(PEER, 0, at_micros(1_000_000)), &own, true);
    let outcome = election.handle_timeout(at_micros(1_000_000), &own);
    assert_eq!(outcome, Outcome::Claimed { reason: Reason::PeerResigned, evidence_at: at_micros(1_000_000) });
}

#[test]
fn a_backup_that_slept_through_its_deadline_listens_once_more() {
    let own = own();
    let mut election = backup(&own);
    assert_eq!(election.handle_timeout(at_micros(60_000_000), &own), Outcome::Nothing);
    assert_eq!(election.poll_timeout(), Some(at_micros(63_609_375)));
    let outcome = election.handle_timeout(at_micros(90_000_000), &own);
    assert!(matches!(outcome, Outcome::Claimed { .. }), "it does not listen for ever");
}

#[test]
fn an_active_advertises_every_interval() {
    let own = own();
    let mut election = active(&own);
    assert_eq!(election.poll_timeout(), Some(at_micros(4_609_375)));
    assert_eq!(election.handle_timeout(at_micros(4_609_374), &own), Outcome::Nothing);
    assert_eq!(election.handle_timeout(at_micros(4_609_400), &own), Outcome::Advertise);
    assert_eq!(election.poll_timeout(), Some(at_micros(5_609_375)), "a late wake does not drift");
}

#[test]
fn an_active_that_could_not_advertise_for_three_intervals_is_deposed() {
    let own = own();
    let mut election = active(&own);
    assert_eq!(election.handle_advert_sent(at_micros(4_000_000), &own), Some(at_micros(7_000_000)));
    let outcome = election.handle_timeout(at_micros(7_000_000), &own);
    assert_eq!(outcome, Outcome::Deposed { reason: Reason::LeaseExpired });
    assert_eq!(election.poll_timeout(), Some(at_micros(10_609_375)));
}

#[test]
fn an_active_yields_to_a_higher_priority() {
    let own = own();
    let mut election = active(&own);
    let outcome = election.handle_advert(&advert(PEER, 101, at_micros(4_000_000)), &own, true);
    assert_eq!(outcome, Outcome::Deposed { reason: Reason::HigherPriority });
    assert_eq!(election.poll_timeout(), Some(at_micros(7_609_375)));
}

#[test]
fn a_tie_goes_to_the_higher_address_compared_without_sign() {
    let own = own();
    let low = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    for (source, deposed) in [(low, false), (THIRD, true)] {
        let mut election = active(&own);
        let outcome = election.handle_advert(&advert(source, 100, at_micros(4_000_000)), &own, true);
        assert_eq!(matches!(outcome, Outcome::Deposed { .. }), deposed, "{source}");
    }
}

#[test]
fn an_active_answers_a_lower_priority_at_once_but_not_a_flood_of_them() {
    let own = own();
    let mut election = active(&own);
    let outcome = election.handle_advert(&advert(PEER, 99, at_micros(4_000_000)), &own, true);
    assert_eq!(outcome, Outcome::RivalLives { until: at_micros(7_000_000) });
    assert_eq!(election.poll_timeout(), Some(at_micros(4_000_000)));
    assert_eq!(election.handle_timeout(at_micros(4_000_000), &own), Outcome::Advertise);
    for micros in 4_000_001..4_000_100 {
        election.handle_advert(&advert(PEER, 99, at_micros(micros)), &own, true);
        assert_eq!(election.handle_timeout(at_micros(micros), &own), Outcome::Nothing);
    }
}

#[test]
fn the_leases_of_all_rivals_count_until_they_resign() {
    let own = own();
    let mut election = active(&own);
    election.handle_advert(&advert(PEER, 99, at_micros(4_000_000)), &own, true);
    election.handle_advert(&advert(THIRD, 98, at_micros(4_500_000)), &own, true);
    election.handle_advert(&advert(THIRD, 0, at_micros(4_600_000)), &own, true);
    assert_eq!(election.rivals_until(), Some(at_micros(7_000_000)));
}
