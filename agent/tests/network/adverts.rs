use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use agent_core::{Advert, RouterId};
use agent_wire::vrrp::{self, GROUP_V4, Outgoing, Version};
use agent_wire::{ChecksumForm, Priority, Refusal, Vrid};
use vipd::advert_socket::{AdvertSocket, Route};
use vipd::authentication::Authentication;
use vipd::clock;
use vipd::datapath::{Choice, Datapath, Mode, Router, Settings};
use vipd::link::Interface;

use crate::namespace::Pair;

pub(crate) const INTERVAL: Duration = Duration::from_millis(100);
pub(crate) const VIP: [u8; 4] = [192, 0, 2, 150];

/// Router 51 of the host whose own address this is.
pub(crate) fn router(source: &str, peers: &[&str]) -> Router {
    router_on("v0", source, peers)
}

pub(crate) fn router_on(interface: &str, source: &str, peers: &[&str]) -> Router {
    let source: IpAddr = source.parse().unwrap();
    let vip = if source.is_ipv6() { "fe80::150".parse().unwrap() } else { VIP.into() };
    Router {
        interface: interface.into(),
        ifindex: Interface::read(interface).unwrap().index,
        vrid: Vrid::new(51).unwrap(),
        version: Version::V3,
        source,
        peers: peers.iter().map(|peer| peer.parse().unwrap()).collect(),
        authentication: Authentication::None,
        interval: INTERVAL,
        addresses: vec![vip],
    }
}

pub(crate) fn open(mode: Mode, router: Router, pin_dir: PathBuf) -> Datapath {
    Datapath::open(Settings { choice: Choice::Only(mode), routers: vec![router], pin_dir }).unwrap()
}

/// Sends one advertisement of the router as it would go out, changed by `spoil`.
pub(crate) fn advertise(router: &Router, priority: u8, spoil: impl Fn(&mut Vec<u8>)) {
    let Router { interface, ifindex, source, peers, .. } = router.clone();
    let socket = AdvertSocket::open(&Route { interface, ifindex, source, peers }).unwrap();
    for &destination in socket.destinations() {
        let outgoing = Outgoing {
            version: router.version,
            vrid: router.vrid,
            priority: Priority::new(priority),
            interval: router.interval,
            addresses: &router.addresses,
            authentication: router.authentication.on_the_wire(),
            checksum_form: ChecksumForm::PseudoHeader,
            source,
            destination,
        };
        let mut advert = vec![0; vrrp::LONGEST];
        let length = vrrp::encode(&outgoing, &mut advert).unwrap();
        advert.truncate(length);
        if let Some(mut signer) = router.authentication.signer(router.interval) {
            signer.sign(source, destination, &mut advert, clock::since_1970()).unwrap();
        }
        spoil(&mut advert);
        socket.send(&advert, destination).unwrap();
    }
}

pub(crate) async fn next(datapath: &mut Datapath) -> Advert {
    tokio::time::timeout(Duration::from_secs(2), datapath.next_advert()).await.expect("no advert came").unwrap()
}

/// Everything that arrives within a moment that is long for a veth.
async fn all(datapath: &mut Datapath) -> Vec<Advert> {
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut adverts = Vec::new();
    datapath.drain(&mut adverts).unwrap();
    adverts
}

fn exchange(a: &str, b: &str, unicast: bool) {
    let Some(pair) = Pair::new() else { return };
    let (to_a, to_b) = if unicast { (vec![b], vec![a]) } else { (vec![], vec![]) };
    pair.b.run_async(async || {
        let mut datapath = open(Mode::Socket, router(b, &to_b), PathBuf::from("/nonexistent/vipd"));
        let before = clock::now();
        pair.a.run(|| advertise(&router(a, &to_a), 100, |_| {}));
        let advert = next(&mut datapath).await;
        let expected = Advert {
            router: RouterId(0),
            source: a.parse().unwrap(),
            priority: Priority::new(100),
            interval: INTERVAL,
            ..advert
        };
        assert_eq!(advert, expected);
        assert!(advert.arrived_at > before && advert.arrived_at < clock::now(), "{before:?} {advert:?}");
        assert_eq!((datapath.mode(), datapath.gate()), (Mode::Socket, false));
        assert_eq!(datapath.counters().reported, 1);
    });
}

#[test]
fn sockets_exchange_multicast_over_ipv4() {
    exchange("192.0.2.1", "192.0.2.2", false);
}

#[test]
fn sockets_exchange_unicast_over_ipv4() {
    exchange("192.0.2.1", "192.0.2.2", true);
}

#[test]
fn sockets_exchange_multicast_over_ipv6() {
    exchange("fe80::ff:fe00:1", "fe80::ff:fe00:2", false);
}

#[test]
fn what_an_advertisement_must_not_be_is_counted_by_reason() {
    let Some(pair) = Pair::new() else { return };
    pair.b.run_async(async || {
        let own = router("192.0.2.2", &["192.0.2.1"]);
        let mut datapath = open(Mode::Socket, own, PathBuf::from("/nonexistent/vipd"));
        pair.a.run(|| {
            let good = router("192.0.2.1", &["192.0.2.2"]);
            advertise(&good, 100, |advert| advert[6] ^= 1);
            advertise(&good, 100, |advert| advert[0] = 0x21);
            advertise(&good, 100, |advert| advert.truncate(7));
            advertise(&good, 100, |advert| advert.push(0));
            // To the group, where unicast is configured.
            advertise(&router("192.0.2.1", &[]), 100, |_| {});
        });
        // From this host's own segment, but of nobody known.
        pair.a.ip("address add 192.0.2.77/24 dev v0");
        pair.a.run(|| advertise(&router("192.0.2.77", &["192.0.2.2"]), 255, |_| {}));
        // Of another router: not even counted.
        pair.a.run(|| {
            let other = Router { vrid: Vrid::new(52).unwrap(), ..router("192.0.2.1", &["192.0.2.2"]) };
            advertise(&other, 255, |_| {});
        });
        assert_eq!(all(&mut datapath).await, []);
        let counted: Vec<_> = datapath.counters().refusals().filter(|&(_, count)| count > 0).collect();
        let expected = [
            (Refusal::Destination, 1),
            (Refusal::TooShort, 1),
            (Refusal::Version, 1),
            (Refusal::Length, 1),
            (Refusal::Checksum, 1),
            (Refusal::Source, 1),
        ];
        assert_eq!(counted, expected);
    });
}

#[test]
fn a_late_reader_learns_when_an_advertisement_arrived() {
    let Some(pair) = Pair::new() else { return };
    pair.b.run_async(async || {
        let mut datapath = open(Mode::Socket, router("192.0.2.2", &[]), PathBuf::from("/nonexistent/vipd"));
        assert_eq!(all(&mut datapath).await, []);
        pair.a.run(|| advertise(&router("192.0.2.1", &[]), 100, |_| {}));
        let sent_at = clock::now();
        std::thread::sleep(Duration::from_millis(300));
        let adverts = all(&mut datapath).await;
        assert_eq!(adverts.len(), 1);
        let arrived_at = adverts[0].arrived_at;
        assert!(arrived_at < sent_at + Duration::from_millis(50), "{sent_at:?} {arrived_at:?}");
    });
}

#[test]
fn the_sending_socket_keeps_nothing_that_it_could_receive() {
    let Some(pair) = Pair::new() else { return };
    let route = |source: IpAddr| Route { interface: "v0".into(), ifindex: 0, source, peers: vec![] };
    pair.a.run(|| {
        let socket = AdvertSocket::open(&route([192, 0, 2, 1].into())).unwrap();
        assert_eq!(socket.destinations(), [IpAddr::from(GROUP_V4)]);
        pair.b.run(|| advertise(&router("192.0.2.2", &["192.0.2.1"]), 100, |_| {}));
        let queues = std::fs::read_to_string("/proc/thread-self/net/raw").unwrap();
        assert!(queues.lines().skip(1).all(|line| line.contains("00000000:00000000")), "{queues}");
    });
}
