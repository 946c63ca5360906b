//! The frames that tell a LAN where a virtual address is: gratuitous ARP and unsolicited neighbour advertisement.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::MacAddress;
use crate::checksum;

/// Length of a gratuitous ARP frame, without the padding that the driver adds.
pub const ARP_FRAME: usize = 42;
/// Length of an unsolicited neighbour advertisement with its link-layer address option.
pub const NEIGHBOUR_FRAME: usize = 86;

const ICMPV6: u8 = 58;
/// The all-nodes group (RFC 4291 §2.7.1) and its Ethernet group (RFC 2464 §7).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: MacAddress = MacAddress([0x33, 0x33, 0, 0, 0, 1]);

/// Writes a gratuitous ARP request: sender and target protocol address are the virtual one (RFC 5227 §3, RFC 9568
/// §8.1.2). The target hardware address is broadcast, as keepalived and FRR send it.
#[inline(always)]
pub fn write_gratuitous_arp(frame: &mut [u8; ARP_FRAME], mac: MacAddress, address: Ipv4Addr) {
    write_ethernet(frame, MacAddress::BROADCAST, mac, 0x0806);
    // Ethernet, IPv4, their lengths, request.
    frame[14..22].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, 1]);
    frame[22..28].copy_from_slice(&mac.0);
    frame[28..32].copy_from_slice(&address.octets());
    frame[32..38].copy_from_slice(&MacAddress::BROADCAST.0);
    frame[38..42].copy_from_slice(&address.octets());
}

/// Writes an unsolicited neighbour advertisement to all nodes, with Override and without Solicited (RFC 4861 §7.2.6,
/// RFC 9568 §8.2.2), and the Router flag clear: a database host routes nothing.
#[inline(always)]
pub fn write_neighbour_advertisement(frame: &mut [u8; NEIGHBOUR_FRAME], mac: MacAddress, address: Ipv6Addr) {
    write_ethernet(frame, ALL_NODES_MAC, mac, 0x86dd);
    frame[14..22].copy_from_slice(&[0x60, 0, 0, 0, 0, 32, ICMPV6, 255]);
    frame[22..38].copy_from_slice(&address.octets());
    frame[38..54].copy_from_slice(&ALL_NODES.octets());
    frame[54..62].copy_from_slice(&[136, 0, 0, 0, 0x20, 0, 0, 0]);
    frame[62..78].copy_from_slice(&address.octets());
    frame[78..80].copy_from_slice(&[2, 1]);
    frame[80..86].copy_from_slice(&mac.0);
    let pseudo = checksum::pseudo_header(IpAddr::V6(address), IpAddr::V6(ALL_NODES), ICMPV6, 32);
    let sum = checksum::finish(checksum::add::<32>(pseudo, &frame[54..86]));
    frame[56..58].copy_from_slice(&sum.to_be_bytes());
}

#[inline(always)]
fn write_ethernet(frame: &mut [u8], destination: MacAddress, source: MacAddress, ethertype: u16) {
    frame[0..6].copy_from_slice(&destination.0);
    frame[6..12].copy_from_slice(&source.0);
    frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 0x11]);

    #[test]
    fn a_gratuitous_arp_is_these_42_octets() {
        let mut frame = [0xaa; ARP_FRAME];
        write_gratuitous_arp(&mut frame, MAC, Ipv4Addr::new(192, 0, 2, 100));
        let expected: [u8; ARP_FRAME] = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 0x11, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 0x11,
            192, 0, 2, 100, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 192, 0, 2, 100,
        ];
        assert_eq!(frame, expected);
    }

    #[test]
    fn an_unsolicited_neighbour_advertisement_overrides_and_its_checksum_is_right() {
        let mut frame = [0xaa; NEIGHBOUR_FRAME];
        let address: Ipv6Addr = "2001:db8::100".parse().unwrap();
        write_neighbour_advertisement(&mut frame, MAC, address);
        assert_eq!(frame[54], 136);
        assert_eq!(frame[58], 0x20, "Override alone");
        assert_eq!(frame[21], 255, "Hop Limit");
        let pseudo = checksum::pseudo_header(IpAddr::V6(address), IpAddr::V6(ALL_NODES), 58, 32);
        assert_eq!(checksum::finish(checksum::add::<32>(pseudo, &frame[54..])), 0);
    }
}
