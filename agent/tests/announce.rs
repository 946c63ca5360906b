//! Announcements of many addresses, by live frames and by packet sockets, counted at the neighbour.
#![expect(clippy::unwrap_used, reason = "a test may fail")]

#[path = "network/namespace.rs"]
mod namespace;

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use agent_core::RouterId;
use agent_wire::Vrid;
use agent_wire::vrrp::Version;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use vipd::announce::Announcer;
use vipd::authentication::Authentication;
use vipd::datapath::{self, Choice, Datapath, Error, Mode, Router, Settings};
use vipd::link::Interface;

use crate::namespace::{Host, Pair};

/// A folder for pins that goes with the test.
struct Pins(PathBuf);

impl Pins {
    fn new(name: &str) -> Self {
        Self(PathBuf::from(format!("/sys/fs/bpf/vipd-announce-{}-{name}", std::process::id())))
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        datapath::cleanup(&self.0).unwrap();
    }
}

fn addresses(count: u16, v6: bool) -> Vec<IpAddr> {
    let address = |n: u16| match v6 {
        false => Ipv4Addr::new(10, 9, (n >> 8) as u8, n as u8).into(),
        true => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 9, n).into(),
    };
    (0..count).map(address).collect()
}

fn router(addresses: Vec<IpAddr>, v6: bool) -> Router {
    Router {
        interface: "v0".into(),
        ifindex: Interface::read("v0").unwrap().index,
        vrid: Vrid::new(51).unwrap(),
        version: Version::V3,
        source: if v6 { "fd00::1".parse().unwrap() } else { [192, 0, 2, 1].into() },
        peers: vec![if v6 { "fd00::2".parse().unwrap() } else { [192, 0, 2, 2].into() }],
        authentication: Authentication::None,
        interval: Duration::from_millis(100),
        addresses,
    }
}

fn open(router: Router, pins: &Pins) -> Option<Datapath> {
    let settings = Settings { choice: Choice::Only(Mode::Native), routers: vec![router], pin_dir: pins.0.clone() };
    match Datapath::open(settings) {
        Err(Error::BuiltWithoutBpf) => {
            eprintln!("SKIPPED: the agent was built without the BPF object");
            None
        }
        opened => Some(opened.unwrap()),
    }
}

/// A veth end takes redirected frames only when its peer polls.
fn poll(host: &Host) {
    let gro = format!("--net=/run/netns/{} ethtool -K v0 gro on", host.name);
    assert!(Command::new("nsenter").args(gro.split(' ')).status().unwrap().success());
}

/// A socket that sees all that arrives at a host.
fn listen(host: &Host) -> Socket {
    host.run(|| {
        let every_protocol = i32::from((libc::ETH_P_ALL as u16).to_be());
        let socket =
            Socket::new(Domain::PACKET, Type::RAW.nonblocking(), Some(Protocol::from(every_protocol))).unwrap();
        setsockopt(&socket, sockopt::RcvBufForce, &(64 << 20)).unwrap();
        socket
    })
}

/// The addresses announced to a host since it was last asked: gratuitous ARP and unsolicited advertisements.
fn announced(socket: &Socket) -> BTreeSet<IpAddr> {
    std::thread::sleep(Duration::from_millis(20));
    let mut found = BTreeSet::new();
    let mut buffer = [0; 2048];
    loop {
        let length = match (&*socket).read(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return found,
            Err(error) => panic!("{error}"),
        };
        let frame = &buffer[..length];
        if frame.get(12..14) == Some(&[0x08, 0x06]) && frame[28..32] == frame[38..42] {
            found.insert(<[u8; 4]>::try_from(&frame[28..32]).unwrap().into());
        } else if frame.get(12..14) == Some(&[0x86, 0xdd]) && frame[20] == 58 && frame[54] == 136 {
            found.insert(<[u8; 16]>::try_from(&frame[62..78]).unwrap().into());
        }
    }
}

/// Announces both ways, each seen by the neighbour, and then repeatedly, while nobody listens; prints the median times.
fn measure(count: u16, v6: bool) {
    const ROUNDS: usize = 51;
    let Some(pair) = Pair::new() else { return };
    poll(&pair.b);
    let pins = Pins::new(&format!("{count}-{v6}"));
    let neighbour = listen(&pair.b);
    let all = addresses(count, v6);
    let expected: BTreeSet<_> = all.iter().copied().collect();
    pair.a.run_async(async || {
        let began = Instant::now();
        let Some(mut datapath) = open(router(all.clone(), v6), &pins) else { return };
        eprintln!("the datapath of {count} addresses opened in {:?}", began.elapsed());
        let ifindex = Interface::read("v0").unwrap().index;
        assert!(!announced(&neighbour).contains(&all[0]), "nothing but the own address is announced at the start");
        let mut announcer = Announcer::new();
        let mut announce = |live: bool| {
            let list = all.iter().map(|&address| (ifindex, address));
            let mut by_live_frames = false;
            let began = Instant::now();
            let faster = |ifindex, mac, list: &[IpAddr]| {
                by_live_frames = live && datapath.announce(RouterId(0), ifindex, mac, list);
                by_live_frames
            };
            announcer.announce_by(list, faster).unwrap();
            let took = began.elapsed();
            assert_eq!(by_live_frames, live, "by the way that was asked for");
            took
        };
        for live in [true, false, true, false] {
            announce(live);
            let arrived = announced(&neighbour);
            assert!(arrived.is_superset(&expected), "{} of {count}, live frames: {live}", arrived.len());
        }
        drop(neighbour);
        let median = |live: bool, announce: &mut dyn FnMut(bool) -> Duration| {
            let mut times: Vec<_> = (0..ROUNDS).map(|_| announce(live)).collect();
            times.sort();
            times[ROUNDS / 2]
        };
        let (live, socket) = (median(true, &mut announce), median(false, &mut announce));
        let family = if v6 { "IPv6" } else { "IPv4" };
        eprintln!("{count} {family} addresses: live frames {live:?}, packet socket {socket:?} (medians of {ROUNDS})");
    });
}

#[test]
fn a_hundred_addresses_arrive_both_ways() {
    measure(50, false);
    measure(100, false);
}

#[test]
fn a_thousand_addresses_arrive_both_ways() {
    measure(300, false);
    measure(1000, false);
    measure(1000, true);
}

#[test]
fn an_interface_that_loses_live_frames_announces_by_sockets() {
    let Some(pair) = Pair::new() else { return };
    // The peer does not poll: a redirected frame is lost, and the kernel reports success.
    let pins = Pins::new("lossy");
    let neighbour = listen(&pair.b);
    let all = addresses(100, false);
    pair.a.run_async(async || {
        let Some(mut datapath) = open(router(all.clone(), false), &pins) else { return };
        let ifindex = Interface::read("v0").unwrap().index;
        let list = all.iter().map(|&address| (ifindex, address));
        let faster = |ifindex, mac, list: &[IpAddr]| {
            let announced = datapath.announce(RouterId(0), ifindex, mac, list);
            assert!(!announced, "nothing can have left");
            announced
        };
        Announcer::new().announce_by(list, faster).unwrap();
    });
    assert!(announced(&neighbour).is_superset(&all.into_iter().collect()));
}

#[test]
fn a_peer_that_stops_polling_is_noticed() {
    let Some(pair) = Pair::new() else { return };
    poll(&pair.b);
    let pins = Pins::new("turned");
    let neighbour = listen(&pair.b);
    let all = addresses(100, false);
    pair.a.run_async(async || {
        let Some(mut datapath) = open(router(all.clone(), false), &pins) else { return };
        let interface = Interface::read("v0").unwrap();
        let mut announce = || datapath.announce(RouterId(0), interface.index, interface.mac, &all);
        assert!(announce());
        let gro = format!("--net=/run/netns/{} ethtool -K v0 gro off", pair.b.name);
        assert!(Command::new("nsenter").args(gro.split(' ')).status().unwrap().success());
        announced(&neighbour);
        assert!(!announce(), "lost");
        poll(&pair.b);
        assert!(!announce(), "for good");
    });
}

#[test]
fn the_interface_that_holds_the_program_goes_with_the_datapath() {
    let Some(pair) = Pair::new() else { return };
    let pins = Pins::new("holder");
    pair.a.run_async(async || {
        let Some(first) = open(router(addresses(50, false), false), &pins) else { return };
        let links = pair.a.ip("-o link show");
        assert!(links.contains(" vipd0: ") && links.contains("xdpgeneric"), "{links}");
        let second = open(router(addresses(50, false), false), &pins).unwrap();
        assert!(pair.a.ip("-o link show").contains(" vipd1: "));
        drop((first, second));
        let links = pair.a.ip("-o link show");
        assert!(!links.contains(": vipd"), "{links}");
        let few = open(router(addresses(49, false), false), &pins).unwrap();
        assert!(!pair.a.ip("-o link show").contains(": vipd"), "not worth it");
        drop(few);
    });
}
