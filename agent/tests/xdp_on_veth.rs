//! The XDP programs on a real link: two network namespaces with a veth pair, the program attached in native mode.
//!
//! Needs root and the BPF object; nothing outside the two namespaces is touched.
#![expect(clippy::unwrap_used, reason = "a test ends where it fails, its helpers too")]

use std::fs::File;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use agent_wire::map::{self, Announcement, GATE_SERVE, Transmit, VipGate, VipKey};
use aya::EbpfLoader;
use aya::maps::{Array, HashMap};
use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp, XdpMode};
use nix::sched::{CloneFlags, setns};

const VIP: [u8; 4] = [10, 77, 0, 150];
const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

/// Two namespaces, `server` with the address and `client`, gone at the end.
struct Pair {
    server: String,
    client: String,
}

impl Pair {
    fn new() -> Self {
        let pair = Self {
            server: format!("vipd-xdp-{}-s", std::process::id()),
            client: format!("vipd-xdp-{}-c", std::process::id()),
        };
        let (server, client) = (&pair.server, &pair.client);
        ip(&["netns", "add", server]);
        ip(&["netns", "add", client]);
        ip(&["link", "add", "s0", "netns", server, "type", "veth", "peer", "name", "c0", "netns", client]);
        for (namespace, link, address) in [(server, "s0", "10.77.0.1/24"), (client, "c0", "10.77.0.2/24")] {
            ip(&["-n", namespace, "address", "add", address, "dev", link]);
            ip(&["-n", namespace, "link", "set", link, "up"]);
            // A veth takes redirected frames only while the other end has NAPI.
            run(&["nsenter", &format!("--net=/run/netns/{namespace}"), "ethtool", "-K", link, "gro", "on"]);
        }
        ip(&["-n", server, "address", "add", "10.77.0.150/32", "dev", "s0"]);
        pair
    }

    fn ifindex(&self) -> u32 {
        let line = ip(&["-n", &self.server, "-o", "link", "show", "s0"]);
        line.split(':').next().unwrap().trim().parse().unwrap()
    }

    fn neighbour(&self) -> String {
        ip(&["-n", &self.client, "neighbour", "show", "10.77.0.150"])
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for namespace in [&self.server, &self.client] {
            drop(Command::new("ip").args(["netns", "delete", namespace]).status());
        }
    }
}

fn run(command: &[&str]) -> String {
    let output = Command::new(command[0]).args(&command[1..]).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn ip(arguments: &[&str]) -> String {
    run(&[&["ip"], arguments].concat())
}

/// Runs the body on a thread of its own inside a namespace.
fn inside<T: Send>(namespace: &str, body: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(File::open(format!("/run/netns/{namespace}")).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            body()
        });
        thread.join().unwrap()
    })
}

fn lease(seconds: f64) -> u64 {
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let now: f64 = uptime.split_whitespace().next().unwrap().parse().unwrap();
    ((now + seconds) * 1e9) as u64
}

#[test]
fn a_server_whose_lease_has_ended_is_reset_by_the_driver_and_announcements_leave() {
    let object = aya::include_bytes_aligned!(env!("VIPD_BPF_OBJECT_PATH"));
    if object.is_empty() || !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: not root, or built without the BPF object");
        return;
    }
    let pair = Pair::new();
    let ifindex = pair.ifindex();
    let mut bpf = EbpfLoader::new().load(object).unwrap();
    let program: &mut Xdp = bpf.program_mut("vipd").unwrap().try_into().unwrap();
    program.load().unwrap();
    inside(&pair.server, || program.attach("s0", XdpMode::Driver).unwrap());
    let link = ip(&["-n", &pair.server, "-d", "link", "show", "s0"]);
    assert!(link.contains("prog/xdp"), "native: {link}");

    let mut transmit: Array<_, u32> = bpf.map_mut(map::TRANSMIT).unwrap().try_into().unwrap();
    transmit.set(0, Transmit::Redirect as u32, 0).unwrap();
    let mut address = [0; 16];
    address[..4].copy_from_slice(&VIP);
    let key = VipKey { ifindex, family: 4, reserved: [0; 3], address };
    let mut vips: HashMap<_, VipKey, VipGate> = bpf.map_mut(map::VIPS).unwrap().try_into().unwrap();
    vips.insert(key, VipGate { position: GATE_SERVE, ..VipGate::default() }, 0).unwrap();
    let mut leases: Array<_, u64> = bpf.map_mut(map::LEASES).unwrap().try_into().unwrap();
    leases.set(0, lease(2.0), 0).unwrap();

    let server = SocketAddr::from((IpAddr::from(VIP), 3306));
    let _listener = inside(&pair.server, || TcpListener::bind(server).unwrap());
    let connect = || inside(&pair.client, || TcpStream::connect_timeout(&server, Duration::from_millis(500)));
    connect().expect("served while the lease runs");

    thread::sleep(Duration::from_millis(2100));
    let start = Instant::now();
    let refused = connect().expect_err("nobody renewed the lease");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{refused}");
    assert!(start.elapsed() < Duration::from_millis(100), "at once: {:?}", start.elapsed());

    let mut list: Array<_, Announcement> = bpf.map_mut(map::ANNOUNCEMENTS).unwrap().try_into().unwrap();
    list.set(0, Announcement { ifindex, mac: OTHER_MAC, family: 4, reserved: 0, address }, 0).unwrap();
    let announce: &mut Xdp = bpf.program_mut("announce").unwrap().try_into().unwrap();
    announce.load().unwrap();
    let before = pair.neighbour();
    inside(&pair.server, || {
        let attrs = TestRunAttrs::new().xdp_live_frames(64);
        announce.test_run(TestRunOptions { data_in: Some(&[0; 64]), attrs, ..TestRunOptions::default() }).unwrap();
    });
    thread::sleep(Duration::from_millis(50));
    let after = pair.neighbour();
    assert!(after.contains("02:00:00:00:00:09"), "the client's neighbour table: {before} then {after}");
}
