use std::time::{Duration, Instant};

use vipd::interfaces::Interfaces;
use vipd::link::Interface;
use vipd::vip::{self, Vip, Vips};

use crate::namespace::Pair;

fn vips() -> Vec<Vip> {
    let ifindex = Interface::read("v0").unwrap().index;
    [("192.0.2.150", 24), ("192.0.2.151", 32), ("fd00::150", 64)]
        .map(|(address, prefix)| Vip { ifindex, address: address.parse().unwrap(), prefix })
        .to_vec()
}

#[test]
fn addresses_live_while_they_are_renewed_and_vanish_by_themselves() {
    let Some(pair) = Pair::new() else { return };
    pair.a.run_async(async || {
        let kernel = Vips::open().unwrap();
        let vips = vips();
        let began = Instant::now();
        kernel.add(&vips).await.unwrap();
        eprintln!("3 addresses added in {:?}", began.elapsed());
        for _ in 0..8 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            assert_eq!(kernel.leftover().await.unwrap().len(), 3);
            kernel.renew(&vips).await.unwrap();
        }
        let renewed = Instant::now();
        while !kernel.leftover().await.unwrap().is_empty() {
            assert!(renewed.elapsed() < Duration::from_secs(4), "still there");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let lived = renewed.elapsed();
        eprintln!("the last address vanished {lived:?} after its renewal");
        assert!(lived > Duration::from_millis(1500) && lived < Duration::from_millis(3100), "{lived:?}");
        // The host's own addresses and their routes are untouched.
        let interface = Interface::read("v0").unwrap();
        assert!(interface.addresses.contains(&"192.0.2.1".parse().unwrap()));
        assert!(interface.addresses.contains(&"fd00::1".parse().unwrap()));
    });
    assert!(pair.a.ip("route").contains("192.0.2.0/24"));
    let routes = pair.a.ip("-6 route");
    assert!(routes.contains("fd00::/64") && !routes.contains("expires"), "{routes}");
}

#[test]
fn removal_is_idempotent_and_leaves_siblings_alone() {
    let Some(pair) = Pair::new() else { return };
    let siblings = pair.a.run_async(async || {
        vip::promote_secondaries("v0").unwrap();
        let kernel = Vips::open().unwrap();
        let ifindex = Interface::read("v0").unwrap().index;
        let vip = |last: u8| Vip { ifindex, address: [198, 51, 100, last].into(), prefix: 24 };
        // The first of its prefix is the one that takes the others with it.
        kernel.add(&[vip(1), vip(2), vip(3)]).await.unwrap();
        kernel.remove(&[vip(1)]).await.unwrap();
        kernel.remove(&[vip(1)]).await.unwrap();
        kernel.remove(&[Vip { ifindex: 4711, ..vip(1) }]).await.unwrap();
        let left = kernel.leftover().await.unwrap();
        kernel.remove(&[vip(2), vip(3)]).await.unwrap();
        assert_eq!(kernel.leftover().await.unwrap(), []);
        left.len()
    });
    assert_eq!(siblings, 2);
}

#[test]
fn many_addresses_are_added_at_once() {
    let Some(pair) = Pair::new() else { return };
    pair.a.run_async(async || {
        let kernel = Vips::open().unwrap();
        let ifindex = Interface::read("v0").unwrap().index;
        let vips: Vec<_> = (1..=200).map(|n| Vip { ifindex, address: [10, 9, 0, n].into(), prefix: 32 }).collect();
        let began = Instant::now();
        kernel.add(&vips).await.unwrap();
        let added = began.elapsed();
        assert_eq!(kernel.leftover().await.unwrap().len(), 200);
        let began = Instant::now();
        kernel.remove(&vips).await.unwrap();
        eprintln!("200 addresses: added in {added:?}, removed in {:?}", began.elapsed());
        assert_eq!(kernel.leftover().await.unwrap(), []);
    });
}

#[test]
fn an_address_on_no_interface_is_refused_by_name() {
    let Some(pair) = Pair::new() else { return };
    let error = pair.a.run_async(async || {
        let vip = Vip { ifindex: 4711, address: [192, 0, 2, 9].into(), prefix: 32 };
        Vips::open().unwrap().add(&[vip]).await.unwrap_err()
    });
    assert_eq!(error.to_string(), "cannot add 192.0.2.9/32 on interface 4711");
}

#[test]
fn the_loss_of_a_link_is_seen() {
    let Some(pair) = Pair::new() else { return };
    let (a, b) = (&pair.a, &pair.b);
    a.run_async(async || {
        let mut interfaces = Interfaces::open().unwrap();
        let mut wait_until = async |up: Option<bool>| {
            let change = async {
                while interfaces.link("v0").map(|(_, link)| link.up) != up {
                    interfaces.ready().await.unwrap();
                    interfaces.drain().unwrap();
                }
            };
            tokio::time::timeout(Duration::from_secs(5), change).await.unwrap();
        };
        wait_until(Some(true)).await;
        b.ip("link set v0 down");
        let began = Instant::now();
        wait_until(Some(false)).await;
        eprintln!("loss of carrier seen {:?} after the command that made it", began.elapsed());
        b.ip("link set v0 up");
        wait_until(Some(true)).await;
        a.ip("link add br0 type bridge");
        a.ip("link set v0 master br0");
        a.ip("link set v0 nomaster");
        a.ip("link set v0 address 02:00:00:00:00:aa");
        wait_until(Some(true)).await;
        a.ip("link del v0");
        wait_until(None).await;
    });
}

#[test]
fn addresses_are_known_with_their_prefix_and_in_the_order_of_the_kernel() {
    let Some(pair) = Pair::new() else { return };
    pair.a.run_async(async || {
        let mut interfaces = Interfaces::open().unwrap();
        let (index, _) = interfaces.link("v0").unwrap();
        let shown = |interfaces: &Interfaces| -> Vec<String> {
            let held = interfaces.held(index).filter(|held| held.address.is_ipv4());
            held.map(|held| format!("{}/{}", held.address, held.prefix)).collect()
        };
        assert_eq!(shown(&interfaces), ["192.0.2.1/24"]);
        pair.a.ip("address add 192.0.2.150/32 dev v0");
        pair.a.ip("address add 192.0.2.150/24 dev v0");
        assert!(interfaces.drain().unwrap());
        assert_eq!(shown(&interfaces), ["192.0.2.1/24", "192.0.2.150/32", "192.0.2.150/24"]);
        pair.a.ip("address del 192.0.2.150/32 dev v0");
        assert!(interfaces.drain().unwrap());
        assert_eq!(shown(&interfaces), ["192.0.2.1/24", "192.0.2.150/24"]);
    });
}

#[test]
fn news_that_the_kernel_had_to_drop_is_asked_for_again() {
    let Some(pair) = Pair::new() else { return };
    pair.a.run_async(async || {
        let kernel = Vips::open().unwrap();
        let ifindex = Interface::read("v0").unwrap().index;
        let vips: Vec<_> = (0..2000_u16)
            .map(|n| Vip { ifindex, address: [10, 9, (n >> 8) as u8, n as u8].into(), prefix: 32 })
            .collect();
        let mut interfaces = Interfaces::open().unwrap();
        kernel.add(&vips).await.unwrap();
        kernel.remove(&vips[..1000]).await.unwrap();
        while !interfaces.drain().is_ok_and(|changed| !changed) || !interfaces.is_known() {}
        let here = interfaces.held(ifindex).filter(|held| held.prefix == 32).count();
        assert!(here <= 1000 && here == kernel.leftover().await.unwrap().len(), "{here}");
    });
}
