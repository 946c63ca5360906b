use std::net::IpAddr;
use std::time::{Duration, Instant};

use vipd::announce::Announcer;
use vipd::link::Interface;

use crate::namespace::{Host, Pair};

/// Waits until `ip neigh` of the host shows the address with this hardware address.
fn wait_for_neighbour(host: &Host, address: &str, mac: &str) {
    let began = Instant::now();
    loop {
        let shown = host.ip(&format!("neigh show {address} dev v0"));
        if shown.contains(mac) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(2), "{address} is not at {mac} but: {shown}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_announcement_moves_the_neighbours() {
    let Some(pair) = Pair::new() else { return };
    let vips = ["192.0.2.150", "fd00::150"];
    for vip in vips {
        pair.b.ip(&format!("neigh replace {vip} lladdr 02:00:00:00:00:99 dev v0 nud reachable"));
    }
    pair.a.run(|| {
        let ifindex = Interface::read("v0").unwrap().index;
        Announcer::new().announce(vips.map(|vip| (ifindex, vip.parse().unwrap()))).unwrap();
    });
    for vip in vips {
        wait_for_neighbour(&pair.b, vip, "02:00:00:00:00:01");
    }
}

#[test]
fn an_announcement_bears_the_hardware_address_of_the_moment() {
    let Some(pair) = Pair::new() else { return };
    pair.b.ip("neigh replace 192.0.2.150 lladdr 02:00:00:00:00:99 dev v0 nud reachable");
    pair.a.run(|| {
        let ifindex = Interface::read("v0").unwrap().index;
        let mut announcer = Announcer::new();
        announcer.announce([(ifindex, [192, 0, 2, 151].into())]).unwrap();
        pair.a.ip("link set v0 address 02:00:00:00:00:aa");
        announcer.announce([(ifindex, [192, 0, 2, 150].into())]).unwrap();
    });
    wait_for_neighbour(&pair.b, "192.0.2.150", "02:00:00:00:00:aa");
}

#[test]
fn hundreds_of_addresses_are_announced_without_loss() {
    let Some(pair) = Pair::new() else { return };
    let arrived = |host: &Host| -> u64 {
        host.run(|| {
            let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
            let line = table.lines().find(|line| line.trim_start().starts_with("v0:")).unwrap();
            line.split_whitespace().nth(2).unwrap().parse().unwrap()
        })
    };
    let before = arrived(&pair.b);
    pair.a.run(|| {
        let ifindex = Interface::read("v0").unwrap().index;
        let vips: Vec<(u32, IpAddr)> =
            (0..300_u16).map(|n| (ifindex, [10, 9, (n >> 8) as u8, n as u8].into())).collect();
        let mut announcer = Announcer::new();
        announcer.announce(vips.iter().copied().take(1)).unwrap();
        let began = Instant::now();
        announcer.announce(vips.iter().copied().skip(1)).unwrap();
        eprintln!("299 announcements sent in {:?}", began.elapsed());
    });
    assert!(arrived(&pair.b) - before >= 300);
}

#[test]
fn an_interface_that_is_gone_is_named() {
    let Some(pair) = Pair::new() else { return };
    let error = pair.a.run(|| Announcer::new().announce([(4711, [192, 0, 2, 150].into())]).unwrap_err());
    assert_eq!(error.to_string(), "cannot open a packet socket on interface 4711");
}
