//! Whichever way an advertisement comes in, the same is refused for the same reason.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use agent_wire::Refusal;
use agent_wire::vrrp::Version;
use socket2::{Domain, Protocol, Socket, Type};
use vipd::authentication::{Authentication, Keys};
use vipd::datapath::{Datapath, Mode, Router};

use crate::adverts::{advertise, open, router};
use crate::xdp::set_up;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const A: &str = "192.0.2.1";
const B: &str = "192.0.2.2";
const STRANGER: &str = "192.0.2.77";

fn keys(text: &str) -> Authentication {
    Authentication::Hmac(Keys::parse(text).unwrap())
}

/// What is handed in, by priority, and what is refused.
type Seen = (Vec<u8>, Vec<(Refusal, u64)>);

fn seen(datapath: &mut Datapath) -> Seen {
    std::thread::sleep(Duration::from_millis(100));
    let mut adverts = Vec::new();
    datapath.drain(&mut adverts).unwrap();
    let counters = datapath.counters();
    assert_eq!(counters.reported, adverts.len() as u64);
    let mut priorities: Vec<u8> = adverts.iter().map(|advert| advert.priority.as_u8()).collect();
    priorities.sort_unstable();
    (priorities, counters.refusals().filter(|&(_, count)| count > 0).collect())
}

/// Runs what is sent from the other host past every way in of a router.
fn compare(own: impl Fn() -> Router + Sync, send: impl Fn() + Sync, handed_in: &[u8], refused: &[(Refusal, u64)]) {
    let Some((pair, pins)) = set_up() else { return };
    pair.a.ip("address add 192.0.2.77/24 dev v0");
    for mode in [Mode::Socket, Mode::Native, Mode::Generic] {
        pair.b.run_async(async || {
            let pin_dir = if mode == Mode::Socket { PathBuf::from("/nonexistent/vipd") } else { pins.0.clone() };
            let mut datapath = open(mode, own(), pin_dir);
            let before = datapath.counters();
            assert_eq!(before.refusals().map(|(_, count)| count).sum::<u64>(), 0, "{mode:?}");
            pair.a.run(&send);
            assert_eq!(seen(&mut datapath), (handed_in.to_vec(), refused.to_vec()), "{mode:?}");
            drop(datapath);
            vipd::datapath::cleanup(&pins.0).unwrap();
        });
    }
}

/// A right message with a TTL of 64, as if it had been routed.
fn send_from_afar(message: &[u8], to: &str) {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(112))).unwrap();
    socket.set_ttl_v4(64).unwrap();
    let to: IpAddr = to.parse().unwrap();
    socket.send_to(message, &SocketAddr::new(to, 0).into()).unwrap();
}

#[test]
fn unicast_is_judged_alike() {
    let good = || router(A, &[B]);
    let send = || {
        advertise(&good(), 100, |_| {});
        advertise(&good(), 1, |message| message.truncate(7));
        advertise(&good(), 2, |message| message[0] = 0x21);
        advertise(&good(), 3, |message| message[0] = 0x32);
        advertise(&good(), 4, |message| message.push(0));
        advertise(&good(), 5, |message| message.extend([0; 28]));
        advertise(&good(), 6, |message| {
            message[3] = 0;
            message.truncate(8);
        });
        advertise(&good(), 7, |message| message[4..6].fill(0));
        advertise(&good(), 8, |message| message[6] ^= 1);
        advertise(&router(A, &[]), 9, |_| {});
        advertise(&router(STRANGER, &[B]), 10, |_| {});
        advertise(&good(), 11, |message| send_from_afar(message, B));
        advertise(&good(), 101, |_| {});
    };
    let refused = [
        (Refusal::Destination, 1),
        (Refusal::HopLimit, 1),
        (Refusal::TooShort, 1),
        (Refusal::Version, 1),
        (Refusal::Type, 1),
        (Refusal::Length, 1),
        (Refusal::Trailer, 1),
        (Refusal::NoAddress, 1),
        (Refusal::NoInterval, 1),
        (Refusal::Checksum, 1),
        (Refusal::Source, 1),
    ];
    // The one from afar went out from near, too.
    compare(|| router(B, &[A]), send, &[11, 100, 101], &refused);
}

#[test]
fn a_password_and_an_interval_of_version_2_are_judged_alike() {
    let second = Duration::from_secs(1);
    let v2 = |address, password: &[u8; 8], interval| Router {
        version: Version::V2,
        authentication: Authentication::Password(*password),
        interval,
        ..router(address, &[])
    };
    let send = || {
        advertise(&v2(A, b"1111\0\0\0\0", second), 100, |_| {});
        advertise(&v2(A, b"1112\0\0\0\0", second), 1, |_| {});
        advertise(&Router { authentication: Authentication::None, ..v2(A, &[0; 8], second) }, 2, |_| {});
        advertise(&v2(A, b"1111\0\0\0\0", 2 * second), 3, |_| {});
    };
    let refused = [(Refusal::Authentication, 2), (Refusal::Interval, 1)];
    compare(|| v2(B, b"1111\0\0\0\0", second), send, &[100], &refused);
}

#[test]
fn an_hmac_is_judged_alike() {
    let signed = |address, peers: &[&str], text: &str| Router { authentication: keys(text), ..router(address, peers) };
    let with = |text: &str| signed(A, &[B], text);
    let other_key = format!("ff{}", &KEY[2..]);
    let second_key = format!("2:{other_key}");
    let send = || {
        let again = std::cell::RefCell::new(Vec::new());
        advertise(&with(KEY), 100, |message| *again.borrow_mut() = message.clone());
        advertise(&with(KEY), 1, |message| *message = again.borrow().clone());
        advertise(&router(A, &[B]), 2, |_| {});
        advertise(&with(&other_key), 3, |_| {});
        advertise(&with(&format!("3:{KEY}")), 4, |_| {});
        advertise(&with(KEY), 5, |message| message[2] += 1);
        advertise(&signed(STRANGER, &[B], KEY), 6, |_| {});
        advertise(&with(&second_key), 101, |_| {});
    };
    let refused = [
        (Refusal::Trailer, 1),
        (Refusal::Checksum, 1),
        (Refusal::Source, 1),
        (Refusal::HmacKey, 1),
        (Refusal::Hmac, 1),
        (Refusal::Replay, 1),
    ];
    compare(|| signed(B, &[A], &format!("{KEY}\n{second_key}")), send, &[100, 101], &refused);
}

#[test]
fn an_hmac_over_ipv6_is_judged_alike() {
    let (a, b) = ("fe80::ff:fe00:1", "fe80::ff:fe00:2");
    let signed = |address, text: &str| Router { authentication: keys(text), ..router(address, &[]) };
    let send = || {
        advertise(&signed(a, KEY), 100, |_| {});
        advertise(&signed(a, KEY), 1, |message| *message.last_mut().unwrap() ^= 1);
        advertise(&router(a, &[]), 2, |_| {});
        advertise(&signed(a, &format!("ff{}", &KEY[2..])), 3, |_| {});
    };
    let refused = [(Refusal::Trailer, 1), (Refusal::Checksum, 1), (Refusal::Hmac, 1)];
    compare(|| signed(b, KEY), send, &[100], &refused);
}
