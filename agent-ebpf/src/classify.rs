//! What a frame is to the virtual routers of this host: reads headers, looks nothing up.

use agent_wire::checksum::VRRP_PROTOCOL;
use aya_ebpf::programs::XdpContext;

use crate::packet::{self, ETHERNET};

/// What a frame could be, before any map has been asked.
pub(crate) enum Frame {
    /// Nothing that vipd cares for; frames with a VLAN tag, too.
    Other,
    /// An IP packet of protocol 112.
    Vrrp(Family),
    /// A question for, or a packet to, an address.
    Addressed(Address, Request),
}

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Family {
    V4 = 4,
    V6 = 6,
}

/// An address as the maps hold it: IPv4 in the first four octets.
#[derive(Clone, Copy)]
pub(crate) struct Address {
    pub(crate) family: Family,
    pub(crate) octets: [u8; 16],
}

/// What is asked of an address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    Tcp,
    /// An ARP request, a neighbour solicitation, any other packet.
    Other,
}

const ARP: usize = ETHERNET + 28;
const IPV4: usize = ETHERNET + 20;
const IPV6: usize = ETHERNET + 40;
/// Up to the end of a neighbour solicitation's target address (RFC 4861 §4.3).
const SOLICITATION: usize = IPV6 + 24;

const TCP: u8 = 6;
const ICMPV6: u8 = 58;
const NEIGHBOUR_SOLICITATION: u8 = 135;

#[inline(always)]
pub(crate) fn classify(context: &XdpContext) -> Frame {
    let Some(ethernet) = packet::head::<ETHERNET>(context) else { return Frame::Other };
    match [ethernet[12], ethernet[13]] {
        [0x08, 0x00] => ipv4(context),
        [0x86, 0xdd] => ipv6(context),
        [0x08, 0x06] => arp(context),
        _ => Frame::Other,
    }
}

#[inline(always)]
fn arp(context: &XdpContext) -> Frame {
    let Some(frame) = packet::head::<ARP>(context) else { return Frame::Other };
    let (sender, target) = (octets::<4>(frame, 28), octets::<4>(frame, 38));
    // Replies and announcements ask nothing, and this host's own neighbour table must hear them.
    if [frame[20], frame[21]] != [0, 1] || sender == target {
        return Frame::Other;
    }
    Frame::Addressed(v4(target), Request::Other)
}

#[inline(always)]
fn ipv4(context: &XdpContext) -> Frame {
    let Some(frame) = packet::head::<IPV4>(context) else { return Frame::Other };
    let request = match frame[23] {
        VRRP_PROTOCOL => return Frame::Vrrp(Family::V4),
        TCP => Request::Tcp,
        _ => Request::Other,
    };
    // A later fragment (RFC 791 §3.1) has no TCP header to answer.
    let request = if [frame[20] & 0x1f, frame[21]] == [0, 0] { request } else { Request::Other };
    Frame::Addressed(v4(octets::<4>(frame, 30)), request)
}

#[inline(always)]
fn ipv6(context: &XdpContext) -> Frame {
    let Some(frame) = packet::head::<IPV6>(context) else { return Frame::Other };
    let destination = octets::<16>(frame, 38);
    match frame[20] {
        VRRP_PROTOCOL => Frame::Vrrp(Family::V6),
        TCP => Frame::Addressed(v6(destination), Request::Tcp),
        ICMPV6 => match packet::head::<SOLICITATION>(context) {
            Some(frame) if frame[IPV6] == NEIGHBOUR_SOLICITATION => {
                Frame::Addressed(v6(octets::<16>(frame, IPV6 + 8)), Request::Other)
            }
            Some(_) | None => Frame::Addressed(v6(destination), Request::Other),
        },
        _ => Frame::Addressed(v6(destination), Request::Other),
    }
}

#[inline(always)]
fn v4([a, b, c, d]: [u8; 4]) -> Address {
    Address { family: Family::V4, octets: [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] }
}

#[inline(always)]
fn v6(octets: [u8; 16]) -> Address {
    Address { family: Family::V6, octets }
}

/// `N` octets of a frame at an offset that is a constant of the caller.
#[inline(always)]
fn octets<const N: usize>(frame: &[u8], at: usize) -> [u8; N] {
    let mut octets = [0; N];
    let mut index = 0;
    while index < N {
        octets[index] = frame[at + index];
        index += 1;
    }
    octets
}
