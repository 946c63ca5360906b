//! The sequences of a takeover and of a yield, action by action.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use agent_core::{
    Action, Advert, Death, Gate, Input, Instant, Node, Parameters, Probe, ProbeOutcome, Reason, Receiver, Replication,
    RouterId, RouterParameters, ServerParameters, ServerReport, Standing, StateName, StepFailure, Ticket, Writers,
};
use agent_wire::vrrp::Version;
use agent_wire::{Priority, Vrid};

#[path = "sequences/addresses.rs"]
mod addresses;

const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 11));
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 12));
const ROUTER: RouterId = RouterId(0);

/// One node and its clock; every action is noted in a word.
struct Driver {
    node: Node,
    now: Instant,
    /// The ticket of the last request.
    ticket: Option<Ticket>,
    /// No advertisement leaves the host.
    mute: bool,
}

impl Driver {
    fn new() -> Self {
        let router = RouterParameters {
            name: "mysql".to_owned(),
            vrid: Vrid::new(51).expect("not zero"),
            version: Version::V3,
            priority: Priority::new(100),
            advertisement_interval: Duration::from_millis(100),
            source_address: OWN,
            sole_peer: Some(PEER),
            preempt_mode: true,
            preempt_delay: Duration::ZERO,
            startup_delay: Duration::ZERO,
            announce_repeat: vec![Duration::ZERO, Duration::from_millis(20)],
            announce_refresh: Duration::from_secs(60),
            tracks: Vec::new(),
        };
        let server = ServerParameters {
            fall: 2,
            rise: 1,
            writers: Writers::Active,
            require_replication: true,
            catch_up_lag: Duration::from_secs(1),
        };
        let now = Instant::from_nanos(1_000_000_000);
        let parameters = Parameters { routers: vec![router], tracks: Vec::new(), server: Some(server) };
        Self { node: Node::new(now, parameters), now, ticket: None, mute: false }
    }

    /// A Backup with a healthy server that replicates from the Active peer.
    fn backup() -> Self {
        let mut driver = Self::new();
        driver.hear(100);
        driver.give(Input::Link { router: ROUTER, up: true });
        driver.tell_standing(false, true);
        for kind in [Probe::Ping, Probe::Connect] {
            driver.give(Input::Server(ServerReport::Probe { kind, outcome: ProbeOutcome::Passed }));
        }
        assert_eq!(driver.state(), StateName::Backup);
        driver.words();
        driver
    }

    /// The same, after a takeover.
    fn active() -> Self {
        let mut driver = Self::backup();
        driver.hear(0);
        while !driver.node.snapshot(driver.now).routers[0].serving {
            driver.words();
            driver.done(Ok(()));
        }
        driver.words();
        driver.done(Ok(()));
        driver.words();
        driver
    }

    fn state(&self) -> StateName {
        self.node.snapshot(self.now).routers[0].state
    }

    fn give(&mut self, input: Input) {
        self.node.handle_input(self.now, input);
        self.node.handle_timeout(self.now);
    }

    fn hear(&mut self, priority: u8) {
        let (interval, arrived_at) = (Duration::from_millis(100), self.now);
        let priority = Priority::new(priority);
        self.give(Input::Advert(Advert { router: ROUTER, source: PEER, priority, interval, arrived_at }));
    }

    fn tell_standing(&mut self, writable: bool, applying: bool) {
        let (receiver, lag) = (Receiver::Connected, Some(Duration::ZERO));
        let replication = Some(Replication { receiver, applying, lag, error: None });
        self.give(Input::Server(ServerReport::Standing(Standing { writable, replication })));
    }

    fn done(&mut self, result: Result<(), StepFailure>) {
        let ticket = self.ticket.take().expect("a request waits for its result");
        self.give(Input::Done { ticket, result });
    }

    fn wait(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
        self.node.handle_timeout(self.now);
    }

    /// What is to be done now, in order; advertisements are sent on the way.
    fn words(&mut self) -> Vec<String> {
        let mut words = Vec::new();
        while let Some(action) = self.node.poll_action() {
            let (word, ticket) = match action {
                Action::SendAdvert { priority, .. } => {
                    if !priority.is_release() && !self.mute {
                        self.node.handle_input(self.now, Input::AdvertSent { router: ROUTER, at: self.now });
                    }
                    (format!("advert {}", priority.as_u8()), None)
                }
                Action::RenewLease { until, .. } => {
                    (format!("lease {} ms", until.saturating_since(self.now).as_millis()), None)
                }
                Action::SetGate { gate: Gate::Serve, .. } => ("gate serve".to_owned(), None),
                Action::SetGate { gate: Gate::Refuse, .. } => ("gate refuse".to_owned(), None),
                Action::AddAddresses { ticket, .. } => ("add".to_owned(), Some(ticket)),
                Action::RenewAddresses { .. } => ("renew".to_owned(), None),
                Action::RemoveAddresses { ticket, .. } => ("remove".to_owned(), Some(ticket)),
                Action::Announce { ticket, .. } => ("announce".to_owned(), Some(ticket)),
                Action::RestoreAddresses { ticket, addresses, .. } => (format!("restore {addresses:?}"), Some(ticket)),
                Action::RemoveStrays { ticket, addresses, .. } => {
                    (format!("remove strays {addresses:?}"), Some(ticket))
                }
                Action::StopReceiving { ticket, .. } => ("stop receiving".to_owned(), Some(ticket)),
                Action::Drain { ticket } => ("drain".to_owned(), Some(ticket)),
                Action::OpenServer { ticket } => ("open".to_owned(), Some(ticket)),
                Action::FenceServer { ticket } => ("fence".to_owned(), Some(ticket)),
                Action::ResumeReceiving => ("resume".to_owned(), None),
                Action::Report(transition) => {
                    let (to, reason) = (transition.to.as_str(), transition.reason.as_str());
                    (format!("report {to} {reason}"), None)
                }
                Action::Finished => ("finished".to_owned(), None),
            };
            self.ticket = ticket.or(self.ticket);
            words.push(word);
        }
        words
    }
}

#[test]
fn a_claim_that_nobody_can_hear_opens_nothing_and_ends_with_its_lease() {
    let mut driver = Driver::backup();
    driver.mute = true;
    driver.hear(0);
    assert_eq!(driver.words(), ["advert 100", "gate refuse"]);
    for _ in 0..2 {
        driver.wait(100);
        assert_eq!(driver.words(), ["advert 100"], "the server and the address stay as they are");
    }
    driver.mute = false;
    driver.wait(99);
    assert_eq!(driver.words(), [""; 0]);
    driver.wait(1);
    assert_eq!(driver.words(), ["gate refuse", "remove"]);
    driver.done(Ok(()));
    assert_eq!(driver.state(), StateName::Backup);
}

#[test]
fn a_claim_that_is_heard_late_goes_on_from_there() {
    let mut driver = Driver::backup();
    driver.mute = true;
    driver.hear(0);
    driver.words();
    driver.mute = false;
    driver.wait(100);
    assert_eq!(driver.words(), ["advert 100", "lease 300 ms", "stop receiving"]);
}

#[test]
fn a_takeover_holds_the_address_only_after_the_server_is_open() {
    let mut driver = Driver::backup();
    driver.hear(0);
    assert_eq!(driver.words(), ["advert 100", "gate refuse", "lease 300 ms", "stop receiving"]);
    driver.wait(2);
    driver.done(Ok(()));
    assert_eq!(driver.words(), ["drain"]);
    driver.wait(3);
    driver.done(Ok(()));
    assert_eq!(driver.words(), ["open"]);
    driver.wait(4);
    driver.done(Ok(()));
    assert_eq!(driver.words(), ["gate serve", "add"]);
    driver.wait(1);
    driver.done(Ok(()));
    assert_eq!(driver.words(), ["announce", "resume"]);
    driver.done(Ok(()));
    let Some(Action::Report(transition)) = driver.node.poll_action() else { panic!("the takeover is reported") };
    assert_eq!((transition.to, transition.reason), (StateName::Active, Reason::PeerResigned));
    let phases = transition.phases;
    let millis = [phases.detect, phases.fence, phases.drain, phases.open, phases.vip].map(|phase| phase.as_millis());
    assert_eq!(millis, [0, 2, 3, 4, 1]);
    driver.wait(20);
    assert_eq!(driver.words(), ["announce"], "the second of the schedule");
}

#[test]
fn a_dead_server_gives_the_address_up_before_the_peer_hears_of_it() {
    let mut driver = Driver::active();
    driver.give(Input::Server(ServerReport::Died(Death::ProcessExited)));
    assert_eq!(driver.words(), ["gate refuse", "remove"]);
    driver.done(Ok(()));
    assert_eq!(driver.words(), ["advert 0", "report initialize server_died"]);
    assert_eq!(driver.state(), StateName::Initialize);
}

#[test]
fn an_orderly_stop_fences_the_server_while_its_clients_can_still_be_told() {
    let mut driver = Driver::active();
    driver.give(Input::Shutdown);
    assert_eq!(driver.words(), ["gate refuse", "fence"]);
    driver.wait(100);
    assert_eq!(driver.words(), ["advert 100", "lease 300 ms"], "nobody takes over from a server that is still open");
    driver.done(Ok(()));
    assert_eq!(driver.words(), ["remove"]);
    driver.done(Ok(()));
    assert_eq!(driver.words(), ["advert 0", "report initialize shutdown", "finished"]);
}

#[test]
fn a_node_that_has_finished_does_nothing_whatever_it_learns() {
    let mut driver = Driver::backup();
    driver.give(Input::Shutdown);
    assert_eq!(driver.words(), ["report initialize shutdown", "finished"]);
    driver.hear(100);
    driver.tell_standing(true, true);
    assert_eq!(driver.words(), [""; 0]);
}

#[test]
fn a_fence_that_does_not_end_does_not_keep_the_address() {
    let mut driver = Driver::active();
    driver.give(Input::Shutdown);
    driver.words();
    for _ in 0..30 {
        driver.wait(100);
    }
    assert!(driver.words().contains(&"remove".to_owned()));
}

#[test]
fn a_deposed_router_lets_the_address_go_before_anything_else() {
    let mut driver = Driver::active();
    driver.hear(200);
    assert_eq!(driver.words(), ["gate refuse", "remove"]);
    driver.done(Ok(()));
    assert_eq!(driver.words(), ["fence"]);
    driver.done(Ok(()));
    assert_eq!(driver.words(), ["advert 0", "report backup higher_priority"]);
    assert_eq!(driver.state(), StateName::Backup);
}

#[test]
fn a_takeover_whose_step_fails_is_undone_and_not_tried_again_at_once() {
    let mut driver = Driver::backup();
    driver.hear(0);
    driver.words();
    driver.done(Ok(()));
    driver.words();
    driver.done(Err(StepFailure("the applier has stopped".to_owned())));
    assert_eq!(driver.words(), ["gate refuse", "fence"]);
    driver.done(Ok(()));
    assert_eq!(driver.words(), ["remove"]);
    driver.done(Ok(()));
    assert_eq!(driver.words(), ["advert 0", "report initialize takeover_failed"]);
    driver.wait(999);
    assert_eq!(driver.state(), StateName::Initialize);
    driver.wait(1);
    assert_eq!(driver.state(), StateName::Backup);
}

#[test]
fn the_result_of_a_step_that_was_given_up_changes_nothing() {
    let mut driver = Driver::backup();
    driver.hear(0);
    driver.words();
    let stale = driver.ticket;
    driver.give(Input::Server(ServerReport::Died(Death::ProcessExited)));
    assert_eq!(driver.words(), ["gate refuse", "remove"]);
    driver.give(Input::Done { ticket: stale.expect("the receiver was to be stopped"), result: Ok(()) });
    assert_eq!(driver.words(), Vec::<String>::new());
}

#[test]
fn a_server_that_is_open_without_the_address_is_fenced_once_a_second() {
    let mut driver = Driver::backup();
    driver.tell_standing(true, true);
    assert_eq!(driver.words(), ["fence"]);
    driver.wait(500);
    driver.hear(100);
    driver.tell_standing(true, true);
    assert_eq!(driver.words(), Vec::<String>::new());
    driver.wait(300);
    driver.hear(100);
    driver.wait(200);
    driver.tell_standing(true, true);
    assert_eq!(driver.words(), ["fence"]);
}

#[test]
fn a_standby_whose_applier_has_stopped_does_not_take_over() {
    let mut driver = Driver::backup();
    driver.tell_standing(false, false);
    assert_eq!(driver.words(), ["report initialize applier_stopped"]);
    driver.hear(0);
    driver.wait(10_000);
    assert_eq!(driver.words(), Vec::<String>::new());
}

#[test]
fn a_preferred_host_waits_until_the_other_has_let_go() {
    let mut driver = Driver::backup();
    for _ in 0..3 {
        driver.wait(100);
        driver.hear(50);
    }
    // Its own deadline of 360.9375 ms has come; the peer was heard a moment ago and may serve for 300 ms more.
    driver.wait(61);
    assert_eq!(driver.state(), StateName::Active);
    assert_eq!(driver.words(), ["advert 100", "gate refuse", "lease 300 ms"]);
    driver.wait(50);
    assert_eq!(driver.words(), Vec::<String>::new(), "nothing but waiting");
    driver.hear(0);
    assert_eq!(driver.words(), ["advert 100", "stop receiving", "lease 300 ms"]);
}

/// The announcements asked for from now on, as milliseconds since now; adverts of a rival come every 100 ms until then.
fn announcements(driver: &mut Driver, rival_for: u64, millis: u64) -> Vec<u64> {
    let mut seen = Vec::new();
    for elapsed in 0..millis {
        if elapsed % 100 == 0 && elapsed < rival_for {
            driver.hear(50);
        }
        let announced = driver.words().iter().any(|word| word.starts_with("announce"));
        if announced {
            seen.push(elapsed);
            driver.done(Ok(()));
        }
        driver.wait(1);
    }
    seen
}

#[test]
fn while_a_rival_claims_the_addresses_they_are_announced_again_once_a_second_and_after_its_lease() {
    let mut driver = Driver::active();
    assert_eq!(announcements(&mut driver, 0, 5_000), [20], "the schedule");
    assert_eq!(announcements(&mut driver, 2_150, 10_000), [0, 1_000, 2_000, 3_000]);
}

#[test]
fn a_rival_that_resigns_has_not_the_last_word_in_the_neighbours_caches() {
    let mut driver = Driver::active();
    assert_eq!(announcements(&mut driver, 0, 5_000), [20], "the schedule");
    driver.hear(0);
    assert_eq!(announcements(&mut driver, 0, 2_000), [0]);
}

#[test]
fn the_resignation_of_a_host_that_was_deposed_does_not_cast_doubt_on_the_active_that_is_heard() {
    let mut driver = Driver::backup();
    driver.hear(200);
    let source = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 13));
    let (interval, arrived_at) = (Duration::from_millis(100), driver.now);
    driver.give(Input::Advert(Advert { router: ROUTER, source, priority: Priority::RELEASE, interval, arrived_at }));
    driver.wait(90);
    assert_eq!(driver.state(), StateName::Backup, "its skew of 61 ms is over, the Active has 10 ms left to advertise");
}
