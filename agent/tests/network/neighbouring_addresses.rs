//! What a virtual address does to the other addresses of its interface, and how soon it can be used.

use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use vipd::link::Interface;
use vipd::vip::{self, Vip, Vips};

use crate::agent::wait_for;
use crate::namespace::{Host, Pair};

fn vip(address: &str, prefix: u8) -> Vip {
    Vip { ifindex: Interface::read("v0").unwrap().index, address: address.parse().unwrap(), prefix }
}

#[test]
fn an_ipv6_address_is_used_at_once_and_is_no_source() {
    let Some(pair) = Pair::new() else { return };
    let listener = pair.a.run_async(async || {
        // As a host has it by default.
        std::fs::write("/proc/sys/net/ipv6/conf/v0/accept_dad", "1").unwrap();
        let virtual_address: Ipv6Addr = "fd00::150".parse().unwrap();
        Vips::open().unwrap().add(&[vip("fd00::150", 64)]).await.unwrap();
        TcpListener::bind((virtual_address, 0)).unwrap()
    });
    let shown = pair.a.ip("-6 address show dev v0 to fd00::150");
    assert!(shown.contains("nodad") && shown.contains("noprefixroute") && shown.contains("deprecated"), "{shown}");
    assert!(!shown.contains("tentative") && !shown.contains("optimistic"), "{shown}");

    let at = listener.local_addr().unwrap();
    let seen = pair.b.run(|| TcpStream::connect_timeout(&at, Duration::from_secs(2)).unwrap().peer_addr().unwrap());
    assert_eq!(seen, at);

    // The same without the agent's flags has to wait for duplicate address detection.
    pair.a.ip("address add fd00::77/64 dev v0");
    let refused = pair.a.run(|| TcpListener::bind(("fd00::77".parse::<Ipv6Addr>().unwrap(), 0)).unwrap_err().kind());
    assert_eq!(refused, ErrorKind::AddrNotAvailable);
    pair.a.ip("address del fd00::77/64 dev v0");

    let there = pair.b.run(|| TcpListener::bind("[fd00::2]:0").unwrap());
    let to: SocketAddr = there.local_addr().unwrap();
    let from = pair.a.run(|| TcpStream::connect_timeout(&to, Duration::from_secs(2)).unwrap().local_addr().unwrap());
    assert_eq!(from.ip(), "fd00::1".parse::<Ipv6Addr>().unwrap());
}

#[test]
fn neither_the_primary_nor_the_virtual_address_takes_the_other_along() {
    let Some(pair) = Pair::new() else { return };
    let (primary, virtual_address) = ("192.0.2.1".parse().unwrap(), "192.0.2.150".parse().unwrap());
    pair.a.run_async(async || {
        let addresses = || Interface::read("v0").unwrap().addresses;
        vip::promote_secondaries("v0").unwrap();
        let (kernel, own) = (Vips::open().unwrap(), vip("192.0.2.150", 24));
        kernel.add(&[own]).await.unwrap();
        pair.a.ip("address del 192.0.2.1/24 dev v0");
        assert!(!addresses().contains(&primary) && addresses().contains(&virtual_address));

        // The virtual address is now the first of its network, and the host's own the second.
        pair.a.ip("address add 192.0.2.1/24 dev v0");
        kernel.remove(&[own]).await.unwrap();
        assert!(addresses().contains(&primary) && !addresses().contains(&virtual_address));
    });
    assert!(pair.a.ip("route").contains("192.0.2.0/24"));
}

#[test]
fn what_another_configuration_left_behind_is_removed_from_these_interfaces_alone() {
    let Some(pair) = Pair::new() else { return };
    pair.a.ip("address add 192.0.2.201/32 dev v0");
    let removed = pair.a.run_async(async || {
        let (kernel, index) = (Vips::open().unwrap(), Interface::read("v0").unwrap().index);
        let elsewhere = Vip { ifindex: Interface::read("lo").unwrap().index, ..vip("192.0.2.202", 32) };
        kernel.add(&[vip("192.0.2.200", 32), vip("fd00::200", 128), elsewhere]).await.unwrap();
        kernel.remove_leftover(&[index]).await.unwrap()
    });
    assert_eq!(removed.len(), 2, "{removed:?}");
    let left = pair.a.ip("address show");
    assert!(!left.contains("192.0.2.200/") && !left.contains("fd00::200/"), "{left}");
    assert!(left.contains("192.0.2.201/") && left.contains("192.0.2.202/"), "{left}");
}

/// Whether the host listens to the solicited-node group of fd00::150 (RFC 4291 §2.7.1), by the kernel's own table.
fn listens_to_solicitations(host: &Host) -> bool {
    let table = host.run(|| std::fs::read_to_string("/proc/thread-self/net/igmp6").unwrap());
    table.lines().any(|line| line.contains(" v0 ") && line.contains("ff0200000000000000000001ff000150"))
}

/// Ledger: RFC9568-6.4.3-2, RFC5798-6.4.3-2 (positive)
/// Ledger: RFC9568-6.4.3-2, RFC5798-6.4.3-2 (negative)
#[test]
fn a_holder_listens_to_the_solicited_node_group_of_an_ipv6_address() {
    let Some(pair) = Pair::new() else { return };
    let change = |held: bool| {
        pair.a.run_async(async || {
            let (kernel, own) = (Vips::open().unwrap(), [vip("fd00::150", 64)]);
            if held { kernel.add(&own).await } else { kernel.remove(&own).await }.unwrap();
        });
    };
    assert!(!listens_to_solicitations(&pair.a));
    // The kernel joins and leaves on a thread of its own.
    change(true);
    wait_for("it listens", || listens_to_solicitations(&pair.a));
    change(false);
    wait_for("it listens no more", || !listens_to_solicitations(&pair.a));
}

/// Ledger: RFC9568-6.4.3-3, RFC5798-6.4.3-3 (positive)
/// Ledger: RFC9568-6.4.3-3, RFC5798-6.4.3-3 (negative)
#[test]
fn a_holder_answers_a_neighbour_solicitation_for_an_ipv6_address() {
    let Some(pair) = Pair::new() else { return };
    // A first solicitation may come before the holder listens; the next follows after a second.
    let answered = |address: &str, within: Duration| {
        pair.b.run(|| UdpSocket::bind("[::]:0").unwrap().send_to(b"?", format!("[{address}]:9")).unwrap());
        let began = Instant::now();
        while began.elapsed() < within {
            let shown = pair.b.ip(&format!("-6 neigh show {address} dev v0"));
            if shown.contains("lladdr 02:00:00:00:00:01") {
                assert!(!shown.contains("router"), "a database host is no router: {shown}");
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    };
    pair.a.run_async(async || Vips::open().unwrap().add(&[vip("fd00::150", 64)]).await.unwrap());
    assert!(answered("fd00::150", Duration::from_secs(5)));
    assert!(!answered("fd00::151", Duration::from_millis(500)), "nobody holds it");
}
