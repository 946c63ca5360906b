//! The XDP programs, packet by packet: what goes in, the verdict, the counter, and what comes out.
//!
//! Runs in the kernel (`BPF_PROG_TEST_RUN`) without touching an interface; needs root and the BPF object.
#![expect(clippy::unwrap_used, reason = "a test ends where it fails, its helpers too")]

#[path = "xdp_program/frames.rs"]
mod frames;

use std::net::IpAddr;
use std::time::Duration;

use agent_wire::Refusal;
use agent_wire::map::{
    self, AUTHENTICATION_HMAC, AUTHENTICATION_NONE, AUTHENTICATION_PASSWORD, AdvertSeen, Announcement, GATE_REFUSE,
    GATE_SERVE, MAX_PEERS, Outcome, RouterConfig, RouterKey, Transmit, VipGate, VipKey,
};
use agent_wire::vrrp::{Authentication, GROUP_V4, GROUP_V6, Outgoing, Version};
use aya::maps::{Array, HashMap, MapData, PerCpuArray, RingBuf};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};

use frames::{advert, arp_request, encoded, ipv4, ipv6, message, odd_advert, tcp};

/// Without a context, a test run is a frame that came in by `lo`.
const LO: u32 = 1;

const DROP: u32 = 1;
const PASS: u32 = 2;
const TX: u32 = 3;
const REDIRECT: u32 = 4;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
const PEER: [u8; 4] = [10, 77, 0, 2];
const OWN: [u8; 4] = [10, 77, 0, 1];
const VIP: [u8; 4] = [10, 77, 0, 150];
const CLIENT: [u8; 4] = [10, 77, 0, 20];
const PEER_V6: &str = "fe80::2";
const OWN_V6: &str = "fe80::1";
const VIP_V6: &str = "fd00::150";

struct Bench {
    bpf: Ebpf,
}

impl Bench {
    /// Loads the object; `None`, said aloud, where that is not possible.
    fn new() -> Option<Self> {
        let object = aya::include_bytes_aligned!(env!("VIPD_BPF_OBJECT_PATH"));
        if object.is_empty() {
            eprintln!("SKIPPED: built without the BPF object");
            return None;
        }
        // The effective user of a process owns its folder in /proc.
        if std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) != 0 {
            eprintln!("SKIPPED: not root");
            return None;
        }
        let mut bpf = EbpfLoader::new().load(object).unwrap();
        for name in ["vipd", "announce"] {
            let program: &mut Xdp = bpf.program_mut(name).unwrap().try_into().unwrap();
            program.load().unwrap_or_else(|error| panic!("{name}: {error:?}"));
        }
        let mut bench = Self { bpf };
        let plain = RouterConfig {
            index: 0,
            version: 3,
            authentication: AUTHENTICATION_NONE,
            interval_s: 1,
            peer_count: 0,
            own: octets(&address(OWN)),
            password: [0; 8],
            peers: [[0; 16]; MAX_PEERS],
        };
        let mut peers = [[0; 16]; MAX_PEERS];
        peers[0] = octets(&address([10, 77, 0, 3]));
        peers[1] = octets(&address(PEER));
        // In use are the first two.
        peers[2] = octets(&address(CLIENT));
        bench.router(51, 4, plain);
        bench.router(52, 4, RouterConfig { version: 2, ..plain });
        bench.router(53, 4, RouterConfig { peer_count: 2, peers, ..plain });
        let (authentication, password) = (AUTHENTICATION_PASSWORD, *b"1111\0\0\0\0");
        bench.router(54, 4, RouterConfig { version: 2, authentication, password, ..plain });
        bench.router(55, 4, RouterConfig { authentication: AUTHENTICATION_HMAC, ..plain });
        bench.router(56, 4, RouterConfig { authentication: AUTHENTICATION_HMAC, peer_count: 2, peers, ..plain });
        let own = octets(&OWN_V6.parse().unwrap());
        bench.router(51, 6, RouterConfig { own, ..plain });
        bench.router(55, 6, RouterConfig { own, authentication: AUTHENTICATION_HMAC, ..plain });
        Some(bench)
    }

    fn router(&mut self, vrid: u8, family: u8, config: RouterConfig) {
        let key = RouterKey { ifindex: LO, vrid, family, reserved: [0; 2] };
        let config = RouterConfig { index: u32::from(vrid) + 100, ..config };
        let mut routers: HashMap<_, RouterKey, RouterConfig> = self.map(map::ROUTERS);
        routers.insert(key, config, 0).unwrap();
    }

    fn map<'a, M: TryFrom<&'a mut aya::maps::Map>>(&'a mut self, name: &str) -> M {
        M::try_from(self.bpf.map_mut(name).unwrap()).ok().unwrap()
    }

    fn gate(&mut self, vip: &IpAddr, position: u32, lease_until: u64) {
        let mut vips: HashMap<_, VipKey, VipGate> = self.map(map::VIPS);
        vips.insert(vip_key(vip), VipGate { position, lease: 7, ..VipGate::default() }, 0).unwrap();
        let mut leases: Array<_, u64> = self.map(map::LEASES);
        leases.set(7, lease_until, 0).unwrap();
    }

    fn gate_of(&mut self, vip: &IpAddr) -> VipGate {
        let vips: HashMap<&mut MapData, VipKey, VipGate> = self.map(map::VIPS);
        vips.get(&vip_key(vip), 0).unwrap()
    }

    fn run(&mut self, program: &str, frame: &[u8]) -> (u32, Vec<u8>) {
        let mut out = vec![0; 2048];
        let program: &mut Xdp = self.bpf.program_mut(program).unwrap().try_into().unwrap();
        let options = TestRunOptions { data_in: Some(frame), data_out: Some(&mut out), ..TestRunOptions::default() };
        let result = program.test_run(options).unwrap();
        out.truncate(result.data_size_out as usize);
        (result.return_value, out)
    }

    fn counts(&mut self) -> Vec<u64> {
        let outcomes: PerCpuArray<&mut MapData, u64> = self.map(map::OUTCOMES);
        (0..Outcome::COUNT).map(|index| outcomes.get(&index, 0).unwrap().iter().sum()).collect()
    }

    /// Runs a frame and checks that it counted once, as that outcome and no other.
    #[track_caller]
    fn check(&mut self, name: &str, frame: &[u8], verdict: u32, outcome: Option<Outcome>) -> Vec<u8> {
        let before = self.counts();
        let (actual, out) = self.run("vipd", frame);
        let after = self.counts();
        let mut expected = before;
        if let Some(outcome) = outcome {
            expected[outcome.index() as usize] += 1;
        }
        assert_eq!((actual, after), (verdict, expected), "{name}: verdict and counters");
        out
    }

    fn adverts(&mut self) -> Vec<AdvertSeen> {
        let mut ring: RingBuf<&mut MapData> = self.map(map::ADVERTS);
        let mut adverts = Vec::new();
        while let Some(record) = ring.next() {
            let record: &[u8; size_of::<AdvertSeen>()] = (*record).try_into().unwrap();
            adverts.push(AdvertSeen {
                arrived_ns: u64::from_ne_bytes(record[0..8].try_into().unwrap()),
                router: u32::from_ne_bytes(record[8..12].try_into().unwrap()),
                interval_ms: u32::from_ne_bytes(record[12..16].try_into().unwrap()),
                source: record[16..32].try_into().unwrap(),
                source_mac: record[32..38].try_into().unwrap(),
                family: record[38],
                priority: record[39],
            });
        }
        adverts
    }
}

fn address(octets: [u8; 4]) -> IpAddr {
    IpAddr::from(octets)
}

fn octets(address: &IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&address.octets());
            octets
        }
        IpAddr::V6(address) => address.octets(),
    }
}

fn vip_key(vip: &IpAddr) -> VipKey {
    VipKey { ifindex: LO, family: if vip.is_ipv4() { 4 } else { 6 }, reserved: [0; 3], address: octets(vip) }
}

fn boot_ns() -> u64 {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let seconds: f64 = uptime.split_whitespace().next().unwrap().parse().unwrap();
    (seconds * 1e9) as u64
}

const SYN: u8 = 2;
const RST: u8 = 4;

#[test]
fn advertisements_are_reported_refused_or_left_alone() {
    let Some(mut bench) = Bench::new() else { return };
    let group = GROUP_V4.octets();
    let good = advert(51, Version::V3, PEER, group);
    let changed = |at: usize, to: u8| {
        let mut frame = good.clone();
        frame[at] = to;
        frame
    };
    let padded = |mut frame: Vec<u8>| {
        frame.resize(60, 0xee);
        frame
    };
    let many: Vec<IpAddr> = (0..255).map(|last| address([10, 77, 1, last])).collect();
    let full = message(51, Version::V3, address(PEER), GROUP_V4.into(), &many);
    let refused = |refusal| Some(Outcome::Refused(refusal));
    let reported = Some(Outcome::Reported);
    let password = |password: &'static [u8; 8]| {
        move |outgoing: &mut Outgoing<'_>| outgoing.authentication = Authentication::Password(*password)
    };
    let hmac = |outgoing: &mut Outgoing<'_>| outgoing.authentication = Authentication::Hmac;
    let two_seconds = |outgoing: &mut Outgoing<'_>| outgoing.interval = Duration::from_secs(2);
    let left_to_sockets = Some(Outcome::Unjudged);
    let cases: Vec<(&str, Vec<u8>, u32, Option<Outcome>)> = vec![
        ("valid", good.clone(), DROP, reported),
        ("valid, padded by the driver", padded(good.clone()), DROP, reported),
        ("valid, 255 addresses", ipv4(PEER, group, 112, 255, &full), DROP, reported),
        ("valid, version 2", advert(52, Version::V2, PEER, group), DROP, reported),
        ("valid, unicast", advert(53, Version::V3, PEER, OWN), DROP, reported),
        (
            "unicast router, sent to the group",
            advert(53, Version::V3, PEER, group),
            DROP,
            refused(Refusal::Destination),
        ),
        ("router of the group, sent to us", advert(51, Version::V3, PEER, OWN), DROP, refused(Refusal::Destination)),
        ("another router", advert(77, Version::V3, PEER, group), PASS, Some(Outcome::UnknownRouter)),
        ("TTL 254", changed(22, 254), DROP, refused(Refusal::HopLimit)),
        ("version 2 for a router of version 3", advert(51, Version::V2, PEER, group), DROP, refused(Refusal::Version)),
        ("type 2", changed(34, 0x32), DROP, refused(Refusal::Type)),
        ("two addresses claimed", changed(37, 2), DROP, refused(Refusal::Length)),
        ("interval 0", changed(39, 0), DROP, refused(Refusal::NoInterval)),
        ("wrong checksum", changed(40, good[40] ^ 1), DROP, refused(Refusal::Checksum)),
        ("priority changed on the way", changed(36, 255), DROP, refused(Refusal::Checksum)),
        ("too short", ipv4(PEER, group, 112, 255, &good[34..40]), DROP, refused(Refusal::TooShort)),
        ("no message", ipv4(PEER, group, 112, 255, &[]), PASS, refused(Refusal::Truncated)),
        ("valid, the other peer", advert(53, Version::V3, [10, 77, 0, 3], OWN), DROP, reported),
        ("unicast, not a peer", advert(53, Version::V3, CLIENT, OWN), DROP, refused(Refusal::Source)),
        ("unicast, own source", advert(53, Version::V3, OWN, OWN), DROP, refused(Refusal::OwnSource)),
        ("valid, version 3 learns", odd_advert(51, Version::V3, PEER, group, two_seconds), DROP, reported),
        (
            "version 2, another interval",
            odd_advert(52, Version::V2, PEER, group, two_seconds),
            DROP,
            refused(Refusal::Interval),
        ),
        (
            "valid, with the password",
            odd_advert(54, Version::V2, PEER, group, password(b"1111\0\0\0\0")),
            DROP,
            reported,
        ),
        (
            "another password",
            odd_advert(54, Version::V2, PEER, group, password(b"1111\0\0\x002")),
            DROP,
            refused(Refusal::Authentication),
        ),
        ("no password", advert(54, Version::V2, PEER, group), DROP, refused(Refusal::Authentication)),
        (
            "a password where there is none",
            odd_advert(52, Version::V2, PEER, group, password(b"1111\0\0\0\0")),
            DROP,
            refused(Refusal::Authentication),
        ),
        ("a trailer", odd_advert(55, Version::V3, PEER, group, hmac), PASS, left_to_sockets),
        ("no trailer", advert(55, Version::V3, PEER, group), DROP, refused(Refusal::Trailer)),
        (
            "a trailer where there is none",
            odd_advert(51, Version::V3, PEER, group, hmac),
            DROP,
            refused(Refusal::Trailer),
        ),
        ("a trailer, not a peer", odd_advert(56, Version::V3, CLIENT, OWN, hmac), DROP, refused(Refusal::Source)),
        ("VRID 0", changed(35, 0), PASS, Some(Outcome::UnknownRouter)),
        (
            "no address",
            ipv4(PEER, group, 112, 255, &[0x31, 51, 110, 0, 0, 100, 0, 0]),
            DROP,
            refused(Refusal::NoAddress),
        ),
        ("own source", advert(51, Version::V3, OWN, group), DROP, refused(Refusal::OwnSource)),
        ("first fragment", changed(20, 0x20), PASS, refused(Refusal::Fragment)),
        ("total length beyond the frame", changed(17, 200), PASS, refused(Refusal::Truncated)),
        ("not IPv4 inside", changed(14, 0x65), PASS, refused(Refusal::Truncated)),
        (
            "VLAN",
            {
                let mut frame = good.clone();
                frame.splice(12..12, [0x81, 0, 0, 5]);
                frame
            },
            PASS,
            None,
        ),
    ];
    for (name, frame, verdict, outcome) in cases {
        bench.check(name, &frame, verdict, outcome);
        let expected = usize::from(outcome == reported);
        let adverts = bench.adverts();
        assert_eq!(adverts.len(), expected, "{name}: records in the ring");
        for advert in adverts {
            let interval = if name.ends_with("learns") { 2000 } else { 1000 };
            let source = if name.contains("other peer") { [10, 77, 0, 3] } else { PEER };
            assert_eq!((advert.priority, advert.interval_ms, advert.family), (110, interval, 4), "{name}");
            assert_eq!((advert.source, advert.source_mac), (octets(&address(source)), MAC), "{name}");
            assert!((151..=154).contains(&advert.router), "{name}");
            assert!(boot_ns().abs_diff(advert.arrived_ns) < 1_000_000_000, "{name}: stamp of CLOCK_BOOTTIME");
        }
    }
}

#[test]
fn advertisements_over_ipv6_are_checked_with_their_pseudo_header() {
    let Some(mut bench) = Bench::new() else { return };
    let (source, group) = (PEER_V6.parse().unwrap(), GROUP_V6.to_string());
    let good = message(51, Version::V3, source, GROUP_V6.into(), &[VIP_V6.parse().unwrap()]);
    let frame = ipv6(PEER_V6, &group, 112, 255, &good);
    bench.check("valid", &frame, DROP, Some(Outcome::Reported));
    let advert = bench.adverts()[0];
    assert_eq!((advert.family, advert.source), (6, octets(&source)));
    let other = ipv6("fe80::3", &group, 112, 255, &good);
    bench.check("from elsewhere", &other, DROP, Some(Outcome::Refused(Refusal::Checksum)));
    let near = ipv6(PEER_V6, &group, 112, 64, &good);
    bench.check("hop limit", &near, DROP, Some(Outcome::Refused(Refusal::HopLimit)));
    let addresses = vec![VIP_V6.parse().unwrap(); 64];
    let long = message(51, Version::V3, source, GROUP_V6.into(), &addresses);
    bench.check("64 addresses", &ipv6(PEER_V6, &group, 112, 255, &long), DROP, Some(Outcome::Reported));
    let longer = message(51, Version::V3, source, GROUP_V6.into(), &vec![VIP_V6.parse().unwrap(); 90]);
    bench.check("90 addresses", &ipv6(PEER_V6, &group, 112, 255, &longer), PASS, Some(Outcome::Unjudged));
    let signed = encoded(55, Version::V3, source, GROUP_V6.into(), &addresses, |outgoing| {
        outgoing.authentication = Authentication::Hmac;
    });
    let frame = ipv6(PEER_V6, &group, 112, 255, &signed);
    bench.check("64 addresses with a trailer", &frame, PASS, Some(Outcome::Unjudged));
    let mut spoilt = frame;
    *spoilt.last_mut().unwrap() ^= 1;
    bench.check("its trailer is in the sum", &spoilt, DROP, Some(Outcome::Refused(Refusal::Checksum)));
}

#[test]
fn a_full_ring_leaves_advertisements_to_the_stack() {
    let Some(mut bench) = Bench::new() else { return };
    let frame = advert(51, Version::V3, PEER, GROUP_V4.octets());
    let mut verdicts = (0..10_000).map(|_| bench.run("vipd", &frame).0);
    let taken = verdicts.by_ref().take_while(|verdict| *verdict == DROP).count();
    assert!((5000..10_000).contains(&taken), "{taken} in the ring");
    bench.check("full", &frame, PASS, Some(Outcome::RingFull));
    assert_eq!(bench.adverts().len(), taken);
    bench.check("read again", &frame, DROP, Some(Outcome::Reported));
}

#[test]
fn the_gate_serves_while_the_lease_runs_and_refuses_after_it() {
    let Some(mut bench) = Bench::new() else { return };
    let vip = address(VIP);
    let later = boot_ns() + 60_000_000_000;
    let syn = ipv4(CLIENT, VIP, 6, 64, &tcp(SYN));
    let frames = [
        ("SYN", syn.clone(), Outcome::Reset, TX),
        ("reset", ipv4(CLIENT, VIP, 6, 64, &tcp(RST)), Outcome::Dropped, DROP),
        ("ping", ipv4(CLIENT, VIP, 1, 64, &[8, 0, 0, 0]), Outcome::Dropped, DROP),
        ("ARP request", arp_request(CLIENT, VIP), Outcome::Dropped, DROP),
    ];
    for (name, frame, ..) in &frames {
        bench.check(name, frame, PASS, None);
    }
    bench.gate(&vip, GATE_SERVE, later);
    for (name, frame, ..) in &frames {
        bench.check(name, frame, PASS, Some(Outcome::Served));
    }
    assert_eq!(bench.gate_of(&vip).served, 4);
    for (why, position, until) in
        [("lease over", GATE_SERVE, boot_ns() - 1), ("no lease", GATE_SERVE, 0), ("refuse", GATE_REFUSE, later)]
    {
        bench.gate(&vip, position, until);
        for (name, frame, outcome, verdict) in &frames {
            bench.check(&format!("{why}, {name}"), frame, *verdict, Some(*outcome));
        }
        let gate = bench.gate_of(&vip);
        assert_eq!((gate.served, gate.reset, gate.dropped), (0, 1, 3), "{why}");
    }
    bench.check("announcement of it", &arp_request(VIP, VIP), PASS, None);
    bench.check("another address", &ipv4(CLIENT, OWN, 6, 64, &tcp(SYN)), PASS, None);

    let reset = bench.check("the answer", &syn, TX, Some(Outcome::Reset));
    assert_eq!(reset.len(), 54, "headers alone");
    assert_eq!((&reset[..6], &reset[26..30], &reset[30..34]), (&MAC[..], &VIP[..], &CLIENT[..]));
    assert_eq!((&reset[42..46], reset[47]), (&1001_u32.to_be_bytes()[..], 0x14));

    let mut transmit: Array<_, u32> = bench.map(map::TRANSMIT);
    transmit.set(0, Transmit::Redirect as u32, 0).unwrap();
    bench.check("native mode", &syn, REDIRECT, Some(Outcome::Reset));
}

#[test]
fn the_gate_refuses_over_ipv6() {
    let Some(mut bench) = Bench::new() else { return };
    let vip: IpAddr = VIP_V6.parse().unwrap();
    let mut solicitation = vec![135, 0, 0, 0, 0, 0, 0, 0];
    solicitation.extend(octets(&vip));
    let solicitation = ipv6("fd00::20", "ff02::1:ff00:150", 58, 255, &solicitation);
    let syn = ipv6("fd00::20", VIP_V6, 6, 64, &tcp(SYN));
    bench.check("no gate", &solicitation, PASS, None);
    bench.gate(&vip, GATE_SERVE, boot_ns() + 60_000_000_000);
    bench.check("served solicitation", &solicitation, PASS, Some(Outcome::Served));
    bench.check("served SYN", &syn, PASS, Some(Outcome::Served));
    bench.gate(&vip, GATE_REFUSE, 0);
    bench.check("solicitation", &solicitation, DROP, Some(Outcome::Dropped));
    let reset = bench.check("SYN", &syn, TX, Some(Outcome::Reset));
    assert_eq!((reset.len(), reset[67]), (74, 0x14));
}

#[test]
fn announcements_are_written_one_after_the_other() {
    let Some(mut bench) = Bench::new() else { return };
    let entry =
        |family, vip: IpAddr| Announcement { ifindex: LO, mac: MAC, family, reserved: 0, address: octets(&vip) };
    let mut list: Array<_, Announcement> = bench.map(map::ANNOUNCEMENTS);
    list.set(0, entry(4, address(VIP)), 0).unwrap();
    list.set(1, entry(6, VIP_V6.parse().unwrap()), 0).unwrap();
    let template = [0xaa; 64];
    let (verdict, arp) = bench.run("announce", &template);
    assert_eq!((verdict, arp.len()), (REDIRECT, 42));
    assert_eq!((&arp[..12], &arp[28..32]), (&[[0xff; 6], MAC].concat()[..], &VIP[..]));
    let (verdict, neighbour) = bench.run("announce", &template);
    assert_eq!((verdict, neighbour.len(), neighbour[54]), (REDIRECT, 86, 136));
    let (verdict, _) = bench.run("announce", &template);
    assert_eq!(verdict, DROP, "the end of the list");
}
