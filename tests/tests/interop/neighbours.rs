//! Who else may be on the segment with the same virtual router id.

use std::time::Duration;

use lab::agent::{Agent, AgentSetting, Status};
use lab::forger::{self, Neighbour};
use lab::network::VIP;
use lab::{Datapath, Network, Observer, Run, turn};

fn start(run: &Run, network: &Network, host: usize, unicast: bool, datapath: Datapath) -> Agent {
    let setting = AgentSetting {
        datapath,
        advertisement_interval: "100ms".to_owned(),
        priority: 100,
        preempt: true,
        peer: unicast.then(|| network.databases[1 - host].address),
        server_socket: None,
        more: Vec::new(),
    };
    Agent::start(run, &network.databases[host], &setting).unwrap()
}

fn refused(status: &Status, reason: &str) -> u64 {
    let pointer = format!("/virtual_routers/0/adverts/refused/{reason}");
    status.0.pointer(&pointer).and_then(serde_json::Value::as_u64).unwrap_or_default()
}

fn wait_holder(observer: &Observer) -> usize {
    let deadline = std::time::Instant::now() + super::CHANGE;
    loop {
        if let [holder] = observer.holders()[..] {
            return holder;
        }
        assert!(std::time::Instant::now() < deadline, "{:?}", observer.holders());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn neither_carp_nor_a_foreign_cluster_with_the_same_id_disturbs_two_peers() {
    let Some(_turn) = turn() else { return };
    for datapath in [Datapath::Native, Datapath::Socket] {
        let run = Run::begin("interop-neighbours").unwrap();
        let network = Network::create(&run).unwrap();
        let observer = Observer::start(&network.databases, VIP).unwrap();
        let mut agents = [0, 1].map(|host| start(&run, &network, host, true, datapath));
        let holder = wait_holder(&observer);
        std::thread::sleep(Duration::from_secs(1));
        let holdings = observer.holdings().len();
        for neighbour in [Neighbour::Carp, Neighbour::ForeignCluster] {
            // They speak to the group, and the two to each other.
            let reason = "destination";
            let before = agents.each_mut().map(|agent| refused(&agent.status().unwrap(), reason));
            forger::neighbour(&network.stranger, neighbour, Duration::from_secs(2)).unwrap();
            // The view of an agent is a fifth of a second old at most.
            std::thread::sleep(Duration::from_millis(300));
            for (agent, before) in agents.iter_mut().zip(before) {
                let status = agent.status().unwrap();
                let counted = refused(&status, reason) - before;
                assert!(counted >= 15, "{neighbour:?}, {datapath:?}: {counted} counted as {reason}: {:?}", status.0);
            }
        }
        assert_eq!((wait_holder(&observer), observer.holdings().len()), (holder, holdings), "{datapath:?}");
    }
}

#[test]
fn carp_with_the_same_id_does_not_disturb_routers_that_multicast() {
    let Some(_turn) = turn() else { return };
    let run = Run::begin("interop-carp").unwrap();
    let network = Network::create(&run).unwrap();
    let observer = Observer::start(&network.databases, VIP).unwrap();
    let mut agents = [0, 1].map(|host| start(&run, &network, host, false, Datapath::Auto));
    let holder = wait_holder(&observer);
    std::thread::sleep(Duration::from_secs(1));
    let holdings = observer.holdings().len();
    forger::neighbour(&network.stranger, Neighbour::Carp, Duration::from_secs(3)).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!((wait_holder(&observer), observer.holdings().len()), (holder, holdings));
    for agent in &mut agents {
        let counted = refused(&agent.status().unwrap(), "version");
        assert!(counted >= 20, "{counted}");
    }
}

#[test]
fn an_active_is_heard_whichever_form_of_checksum_it_sends() {
    let Some(_turn) = turn() else { return };
    for datapath in [Datapath::Native, Datapath::Socket] {
        let run = Run::begin("interop-checksum").unwrap();
        let network = Network::create(&run).unwrap();
        let observer = Observer::start(&network.databases, VIP).unwrap();
        let mut agent = start(&run, &network, 0, false, datapath);
        assert_eq!(wait_holder(&observer), 0);
        for form in [Neighbour::MessageChecksum, Neighbour::PseudoHeaderChecksum] {
            let transition = agent.status().unwrap().transition();
            forger::neighbour(&network.stranger, form, Duration::from_millis(1500)).unwrap();
            // It is heard, goes before this one, and falls silent.
            assert_eq!(wait_holder(&observer), 0);
            std::thread::sleep(Duration::from_millis(600));
            let status = agent.status().unwrap();
            assert_ne!(status.transition(), transition, "{form:?} was not heard, {datapath:?}");
            assert_eq!(status.transition().reason, "active_down_timer");
            assert_eq!(refused(&status, "checksum"), 0);
        }
    }
}
