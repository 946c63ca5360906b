use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use agent_core::{Gate, RouterId};
use agent_wire::{Priority, Refusal, Vrid};
use vipd::clock;
use vipd::datapath::{self, Choice, Datapath, Error, Mode, Router, Settings};
use vipd::link::Interface;
use vipd::vip::{Vip, Vips};

use crate::adverts::{VIP, advertise, next, open, router};
use crate::namespace::Pair;

/// A folder for pins that goes with the test.
pub(crate) struct Pins(pub(crate) PathBuf);

impl Pins {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(PathBuf::from(format!("/sys/fs/bpf/vipd-net-{}-{number}", std::process::id())))
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        datapath::cleanup(&self.0).unwrap();
    }
}

/// The pair and the pins, or `None`, said aloud, where XDP cannot be tested.
pub(crate) fn set_up() -> Option<(Pair, Pins)> {
    let pair = Pair::new()?;
    let pins = Pins::new();
    let tried = pair.b.run_async(async || {
        let routers = vec![router("192.0.2.2", &[])];
        Datapath::open(Settings { choice: Choice::Only(Mode::Native), routers, pin_dir: pins.0.clone() })
    });
    if matches!(tried, Err(Error::BuiltWithoutBpf)) {
        eprintln!("SKIPPED: the agent was built without the BPF object");
        return None;
    }
    tried.unwrap();
    datapath::cleanup(&pins.0).unwrap();
    // A veth end takes what is redirected to it only when its peer polls.
    let gro = format!("--net=/run/netns/{} ethtool -K v0 gro on", pair.a.name);
    assert!(Command::new("nsenter").args(gro.split(' ')).status().unwrap().success());
    Some((pair, pins))
}

fn reports(mode: Mode, transmit: &str) {
    let Some((pair, pins)) = set_up() else { return };
    pair.b.run_async(async || {
        let mut datapath = open(mode, router("192.0.2.2", &[]), pins.0.clone());
        assert_eq!((datapath.mode(), datapath.gate(), datapath.fallback_reason()), (mode, true, None));
        let shown = pair.b.ip("link show v0");
        assert!(shown.contains(transmit), "{shown}");
        let before = clock::now();
        pair.a.run(|| advertise(&router("192.0.2.1", &[]), 100, |_| {}));
        let sent = clock::now();
        std::thread::sleep(Duration::from_millis(200));
        let advert = next(&mut datapath).await;
        assert_eq!((advert.router, advert.priority), (RouterId(0), Priority::new(100)));
        assert!(advert.arrived_at > before && advert.arrived_at < sent + Duration::from_millis(20), "{advert:?}");

        pair.a.run(|| {
            advertise(&router("192.0.2.1", &[]), 255, |advert| advert[6] ^= 1);
            advertise(&router("192.0.2.1", &[]), 0, |_| {});
        });
        assert_eq!(next(&mut datapath).await.priority, Priority::RELEASE);
        let counters = datapath.counters();
        assert_eq!((counters.reported, counters.refused(Refusal::Checksum)), (2, 1));
    });
}

#[test]
fn the_driver_reports_with_the_moment_of_arrival() {
    reports(Mode::Native, "xdp ");
}

#[test]
fn the_generic_mode_reports_too() {
    reports(Mode::Generic, "xdpgeneric ");
}

#[test]
fn a_reader_that_waits_already_is_woken_by_each_advertisement() {
    let Some((pair, pins)) = set_up() else { return };
    pair.b.run_async(async || {
        for mode in [Mode::Native, Mode::Socket] {
            let mut datapath = open(mode, router("192.0.2.2", &[]), pins.0.clone());
            for priority in 1..=20 {
                let send = async {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    pair.a.run(|| advertise(&router("192.0.2.1", &[]), priority, |_| {}));
                };
                let (advert, ()) = tokio::join!(next(&mut datapath), send);
                assert_eq!(advert.priority, Priority::new(priority), "{mode:?}");
            }
        }
    });
}

#[test]
fn peers_that_are_not_configured_never_reach_the_ring() {
    let Some((pair, pins)) = set_up() else { return };
    pair.b.run_async(async || {
        let mut datapath = open(Mode::Native, router("192.0.2.2", &["192.0.2.1"]), pins.0.clone());
        pair.a.ip("address add 192.0.2.77/24 dev v0");
        pair.a.run(|| {
            advertise(&router("192.0.2.77", &["192.0.2.2"]), 255, |_| {});
            advertise(&router("192.0.2.1", &["192.0.2.2"]), 100, |_| {});
        });
        assert_eq!(next(&mut datapath).await.priority, Priority::new(100));
        let counters = datapath.counters();
        assert_eq!((counters.reported, counters.refused(Refusal::Source)), (1, 1));
    });
}

/// How a connection to the address ends, within a time that is less than a retransmission of a SYN.
fn connect(pair: &Pair) -> Result<(), ErrorKind> {
    pair.a.run(|| {
        let address = SocketAddr::from((VIP, 3306));
        TcpStream::connect_timeout(&address, Duration::from_millis(700)).map(drop).map_err(|error| error.kind())
    })
}

fn gates(mode: Mode) {
    let Some((pair, pins)) = set_up() else { return };
    pair.b.run_async(async || {
        let began = Instant::now();
        let mut datapath = open(mode, router("192.0.2.2", &[]), pins.0.clone());
        eprintln!("the datapath opened in {:?}", began.elapsed());
        let kernel = Vips::open().unwrap();
        let ifindex = Interface::read("v0").unwrap().index;
        let vip = Vip { ifindex, address: VIP.into(), prefix: 24 };
        kernel.add(&[vip]).await.unwrap();
        let _server = TcpListener::bind(SocketAddr::from((VIP, 3306))).unwrap();
        // Known beforehand, since the gate does not answer for the address either.
        pair.a.ip("neigh replace 192.0.2.150 lladdr 02:00:00:00:00:02 dev v0 nud permanent");
        let id = RouterId(0);
        let refused = Err(ErrorKind::ConnectionRefused);
        let second = Duration::from_secs(1);

        assert_eq!(connect(&pair), refused, "shut at first");
        datapath.set_gate(id, Gate::Serve).unwrap();
        assert_eq!(connect(&pair), refused, "no lease");
        datapath.renew_lease(id, clock::now() + second).unwrap();
        assert_eq!(connect(&pair), Ok(()));
        std::thread::sleep(second);
        kernel.renew(&[vip]).await.unwrap();
        assert_eq!(connect(&pair), refused, "the lease is over");
        datapath.renew_lease(id, clock::now() + 9 * second).unwrap();
        assert_eq!(connect(&pair), Ok(()));
        datapath.set_gate(id, Gate::Refuse).unwrap();
        assert_eq!(connect(&pair), refused, "shut");

        let counters = datapath.counters();
        assert_eq!(counters.reset, 4);
        assert!(counters.served > 0);
    });
}

#[test]
fn the_gate_serves_only_while_the_lease_runs() {
    gates(Mode::Native);
}

#[test]
fn the_gate_of_the_generic_mode_serves_only_while_the_lease_runs() {
    gates(Mode::Generic);
}

#[test]
fn an_interface_that_comes_back_moves_no_gate_of_another_one() {
    for mode in [Mode::Native, Mode::Generic] {
        let Some((pair, pins)) = set_up() else { return };
        pair.b.run_async(async || {
            let here = router("192.0.2.2", &[]);
            let missing = Router { interface: "w0".into(), ifindex: 0, vrid: Vrid::new(52).unwrap(), ..here.clone() };
            let settings = Settings {
                choice: Choice::Only(mode),
                routers: vec![here.clone(), missing.clone()],
                pin_dir: pins.0.clone(),
            };
            let mut datapath = Datapath::open(settings).unwrap();
            let vip = Vip { ifindex: here.ifindex, address: VIP.into(), prefix: 24 };
            Vips::open().unwrap().add(&[vip]).await.unwrap();
            let server = TcpListener::bind(SocketAddr::from((VIP, 3306))).unwrap();
            server.set_nonblocking(true).unwrap();
            pair.a.ip("neigh replace 192.0.2.150 lladdr 02:00:00:00:00:02 dev v0 nud permanent");
            datapath.set_gate(RouterId(0), Gate::Serve).unwrap();
            datapath.renew_lease(RouterId(0), clock::now() + Duration::from_secs(9)).unwrap();
            assert_eq!(connect(&pair), Ok(()));

            pair.b.ip("link add w0 type veth peer name w1");
            pair.b.ip("link set w0 up");
            let ended = std::sync::atomic::AtomicBool::new(false);
            let (refused, took) = std::thread::scope(|scope| {
                let client = scope.spawn(|| {
                    let mut refused = 0;
                    while !ended.load(Ordering::Relaxed) {
                        refused += u32::from(connect(&pair).is_err());
                        while server.accept().is_ok() {}
                    }
                    refused
                });
                let began = Instant::now();
                let back = Router { ifindex: Interface::read("w0").unwrap().index, ..missing };
                datapath.reopen(vec![here, back]).unwrap();
                let took = began.elapsed();
                ended.store(true, Ordering::Relaxed);
                (client.join().unwrap(), took)
            });
            eprintln!("{mode:?}: the datapath opened again in {took:?}");
            assert_eq!((refused, datapath.mode()), (0, mode));
            assert!(took < Duration::from_millis(300), "longer than a lease: {took:?}");
            assert!(pair.b.ip("link show w0").contains("prog/xdp"));
            assert_eq!(connect(&pair), Ok(()));
            datapath.set_gate(RouterId(0), Gate::Refuse).unwrap();
            assert_eq!(connect(&pair), Err(ErrorKind::ConnectionRefused), "the gate still obeys");
        });
    }
}

#[test]
fn the_gate_shuts_by_itself_when_the_agent_is_gone() {
    let Some((pair, pins)) = set_up() else { return };
    let (_server, mut stream) = pair.b.run_async(async || {
        let mut datapath = open(Mode::Native, router("192.0.2.2", &[]), pins.0.clone());
        let kernel = Vips::open().unwrap();
        let ifindex = Interface::read("v0").unwrap().index;
        kernel.add(&[Vip { ifindex, address: VIP.into(), prefix: 24 }]).await.unwrap();
        let server = TcpListener::bind(SocketAddr::from((VIP, 3306))).unwrap();
        pair.a.ip("neigh replace 192.0.2.150 lladdr 02:00:00:00:00:02 dev v0 nud permanent");
        datapath.set_gate(RouterId(0), Gate::Serve).unwrap();
        datapath.renew_lease(RouterId(0), clock::now() + Duration::from_millis(400)).unwrap();
        drop(datapath);
        assert_eq!(connect(&pair), Ok(()), "the lease outlives the agent");
        let stream = pair.a.run(|| TcpStream::connect(SocketAddr::from((VIP, 3306))).unwrap());
        std::thread::sleep(Duration::from_millis(450));
        assert_eq!(connect(&pair), Err(ErrorKind::ConnectionRefused));
        (server, stream)
    });
    // A connection that was open is told at its next segment.
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let began = Instant::now();
    let mut answer = [0; 1];
    std::io::Write::write_all(&mut stream, b"x").unwrap();
    assert_eq!(stream.read(&mut answer).unwrap_err().kind(), ErrorKind::ConnectionReset, "{:?}", began.elapsed());
}

#[test]
fn pins_are_taken_over_without_a_detached_moment() {
    let Some((pair, pins)) = set_up() else { return };
    pair.b.run_async(async || {
        let own = router("192.0.2.2", &[]);
        drop(open(Mode::Native, own.clone(), pins.0.clone()));
        let program = |shown: String| {
            let id = shown.split("prog/xdp id ").nth(1)?.split_whitespace().next()?;
            Some(id.to_owned())
        };
        let before = program(pair.b.ip("link show v0"));
        assert!(before.is_some(), "attached without an agent");
        pair.a.run(|| advertise(&router("192.0.2.1", &[]), 100, |_| {}));
        // What arrived between two agents is in the ring.
        let mut second = open(Mode::Native, own.clone(), pins.0.clone());
        assert_eq!(next(&mut second).await.priority, Priority::new(100));
        assert_ne!(program(pair.b.ip("link show v0")), before);
        drop(second);

        // But not for an agent that demands more of it.
        pair.a.run(|| advertise(&router("192.0.2.1", &[]), 100, |_| {}));
        let mut stricter = open(Mode::Native, router("192.0.2.2", &["192.0.2.1"]), pins.0.clone());
        let mut adverts = Vec::new();
        stricter.drain(&mut adverts).unwrap();
        assert_eq!(adverts, []);
        drop(stricter);

        // Another mode, and another layout, replace them.
        let generic = open(Mode::Generic, own.clone(), pins.0.clone());
        assert!(pair.b.ip("link show v0").contains("xdpgeneric "));
        drop(generic);
        std::fs::remove_file(pins.0.join("layout")).unwrap();
        std::os::unix::fs::symlink("0", pins.0.join("layout")).unwrap();
        drop(open(Mode::Native, own.clone(), pins.0.clone()));

        datapath::cleanup(&pins.0).unwrap();
        let began = Instant::now();
        while pair.b.ip("link show v0").contains("xdp") {
            assert!(began.elapsed() < Duration::from_secs(1), "still attached");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!pins.0.exists());
        datapath::cleanup(&pins.0).unwrap();
    });
}

#[test]
fn a_foreign_program_stays_and_the_reason_is_told() {
    let Some((pair, pins)) = set_up() else { return };
    let foreign = Pins::new();
    pair.b.run_async(async || {
        drop(open(Mode::Native, router("192.0.2.2", &[]), foreign.0.clone()));
        let before = pair.b.ip("link show v0");
        let settings =
            Settings { choice: Choice::Auto, routers: vec![router("192.0.2.2", &[])], pin_dir: pins.0.clone() };
        let datapath = Datapath::open(settings).unwrap();
        let reason = datapath.fallback_reason().unwrap();
        eprintln!("{reason}");
        assert_eq!((datapath.mode(), datapath.gate()), (Mode::Socket, false));
        assert!(reason.starts_with("native: cannot attach") && reason.contains("; generic: "), "{reason}");
        assert_eq!(pair.b.ip("link show v0"), before);
        assert!(!pins.0.exists());
    });
}
