//! Announcements: each run of the program writes the next frame of the list and sends it.

use core::net::{Ipv4Addr, Ipv6Addr};

use agent_wire::MacAddress;
use agent_wire::announcement::{ARP_FRAME, NEIGHBOUR_FRAME, write_gratuitous_arp, write_neighbour_advertisement};
use aya_ebpf::programs::XdpContext;

use crate::{maps, packet};

/// Writes the next announcement over the frame; the interface to send it by, or `None` at the end of the list.
#[inline(always)]
pub(crate) fn write_next(context: &mut XdpContext) -> Option<u32> {
    let next = maps::next_announcement()?;
    let mac = MacAddress(next.mac);
    let [a, b, c, d, ..] = next.address;
    match next.family {
        4 => {
            if !packet::resize(context, ARP_FRAME) {
                return None;
            }
            let frame = packet::head_mut::<ARP_FRAME>(context)?;
            write_gratuitous_arp(frame, mac, Ipv4Addr::new(a, b, c, d));
        }
        6 => {
            if !packet::resize(context, NEIGHBOUR_FRAME) {
                return None;
            }
            let frame = packet::head_mut::<NEIGHBOUR_FRAME>(context)?;
            write_neighbour_advertisement(frame, mac, Ipv6Addr::from(next.address));
        }
        _ => return None,
    }
    Some(next.ifindex)
}
