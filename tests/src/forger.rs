//! A stranger on the segment who sends advertisements that must change nothing.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use socket2::{Domain, Protocol, Socket, Type};

use crate::agent::VRID;
use crate::network::{Host, VIP};

const VRRP: u8 = 112;

/// Sends every kind of bad advertisement to every target again and again for `length`; gives how many were sent.
///
/// Apart from those of the unknown source, each claims to come from the target's own peer.
pub fn flood(stranger: &Host, targets: &[Host; 2], length: Duration) -> Result<u64> {
    let [one, other] = targets;
    let own = stranger.address;
    let mut packets = Vec::new();
    for (target, peer) in [(one.address, other.address), (other.address, one.address)] {
        packets.extend(forgeries(own, peer, target).into_iter().map(|packet| (target, packet)));
    }
    let send = move || -> Result<u64> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(i32::from(VRRP))));
        let socket = socket.context("open a raw socket")?;
        socket.set_header_included_v4(true).context("set IP_HDRINCL")?;
        let end = Instant::now() + length;
        let mut sent = 0;
        while Instant::now() < end {
            for (target, packet) in &packets {
                socket.send_to(packet, &SocketAddrV4::new(*target, 0).into()).context("send a forged packet")?;
                sent += 1;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(sent)
    };
    match stranger.namespace.spawn("forger", send)?.join() {
        Ok(sent) => sent?,
        Err(_) => bail!("the forger panicked"),
    }
}

/// Sends to the group, for each virtual router and three times a second, an advertisement with a wrong checksum and one
/// that was routed, for `length`.
pub fn murmur(stranger: &Host, vrids: &[u8], length: Duration) -> Result<()> {
    let (own, group) = (stranger.address, Ipv4Addr::new(224, 0, 0, 18));
    let packets: Vec<Vec<u8>> = vrids
        .iter()
        .flat_map(|&vrid| {
            let mut wrong = vec![0x31, vrid, 100, 1, 0, 100, 0xde, 0xad];
            wrong.extend(VIP.octets());
            let mut routed = wrong.clone();
            routed[6..8].copy_from_slice(&[0, 0]);
            let sum = checksum(&[&own.octets()[..], &group.octets(), &[0, VRRP, 0, 12], &routed].concat());
            routed[6..8].copy_from_slice(&sum.to_be_bytes());
            [packet(255, own, group, &wrong), packet(64, own, group, &routed)]
        })
        .collect();
    repeat(stranger, packets, Duration::from_millis(333), length)
}

/// What else may be on a segment with the virtual router's id.
#[derive(Clone, Copy, Debug)]
pub enum Neighbour {
    /// CARP, the redundancy protocol of the BSDs: the same protocol number, group and version field as VRRP version 2.
    Carp,
    /// A valid VRRP version 3 Active of another cluster, with the highest priority and another address.
    ForeignCluster,
    /// A valid VRRP version 3 Active of this cluster, whose checksum covers the message alone (RFC 9568).
    MessageChecksum,
    /// The same, with a checksum that covers the pseudo-header too.
    PseudoHeaderChecksum,
}

/// Lets a neighbour advertise to the group, ten times a second.
pub fn neighbour(stranger: &Host, neighbour: Neighbour, length: Duration) -> Result<()> {
    let (own, group) = (stranger.address, Ipv4Addr::new(224, 0, 0, 18));
    let message = match neighbour {
        Neighbour::Carp => {
            // Advskew 0, seven words of authentication, advbase 1; then checksum, counter and digest.
            let mut message = vec![0x21, VRID, 0, 7, 0, 1, 0, 0];
            message.extend([0x5a; 28]);
            with_checksum(message, &[])
        }
        Neighbour::ForeignCluster => {
            let mut message = vec![0x31, VRID, 254, 1, 0, 10, 0, 0];
            message.extend([10, 77, 0, 99]);
            with_checksum(message, &pseudo_header(own, group, 12))
        }
        Neighbour::MessageChecksum | Neighbour::PseudoHeaderChecksum => {
            let mut message = vec![0x31, VRID, 254, 1, 0, 10, 0, 0];
            message.extend(VIP.octets());
            let covered = match neighbour {
                Neighbour::MessageChecksum => Vec::new(),
                Neighbour::Carp | Neighbour::ForeignCluster | Neighbour::PseudoHeaderChecksum => {
                    pseudo_header(own, group, 12)
                }
            };
            with_checksum(message, &covered)
        }
    };
    repeat(stranger, vec![packet(255, own, group, &message)], Duration::from_millis(100), length)
}

fn pseudo_header(source: Ipv4Addr, target: Ipv4Addr, length: u8) -> Vec<u8> {
    [&source.octets()[..], &target.octets(), &[0, VRRP, 0, length]].concat()
}

/// Fills in the checksum over the message and what else it covers.
fn with_checksum(mut message: Vec<u8>, covered: &[u8]) -> Vec<u8> {
    let sum = checksum(&[covered, &message].concat());
    if let Some(field) = message.get_mut(6..8) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
    message
}

/// Sends the packets to the group again and again.
fn repeat(stranger: &Host, packets: Vec<Vec<u8>>, every: Duration, length: Duration) -> Result<()> {
    let own = stranger.address;
    let send = move || -> Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(i32::from(VRRP))));
        let socket = socket.context("open a raw socket")?;
        socket.set_header_included_v4(true).context("set IP_HDRINCL")?;
        socket.set_multicast_if_v4(&own).context("set IP_MULTICAST_IF")?;
        let group = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 18), 0).into();
        let end = Instant::now() + length;
        while Instant::now() < end {
            for packet in &packets {
                socket.send_to(packet, &group).context("send a forged packet")?;
            }
            std::thread::sleep(every);
        }
        Ok(())
    };
    match stranger.namespace.spawn("forger", send)?.join() {
        Ok(sent) => sent?,
        Err(_) => bail!("the forger panicked"),
    }
}

fn forgeries(stranger: Ipv4Addr, peer: Ipv4Addr, target: Ipv4Addr) -> Vec<Vec<u8>> {
    let good = |priority| advertisement(priority, peer, target);
    let changed = |offset: usize, value: u8| {
        let mut message = good(254);
        if let Some(octet) = message.get_mut(offset) {
            *octet ^= value;
        }
        message
    };
    let mut resignation = good(0);
    resignation.swap(6, 7);
    vec![
        // The checksum, wrong: of a claim, and of a resignation.
        packet(255, peer, target, &changed(6, 0xff)),
        packet(255, peer, target, &resignation),
        // Right in everything, but routed here: its TTL says so (RFC 9568 section 5.1.1.3).
        packet(64, peer, target, &good(254)),
        packet(64, peer, target, &good(0)),
        // Right in everything, but from no configured peer.
        packet(255, stranger, target, &advertisement(254, stranger, target)),
        packet(255, stranger, target, &advertisement(0, stranger, target)),
        // Cut short, a version and a type that do not exist, and more addresses announced than sent.
        packet(255, peer, target, good(254).get(..4).unwrap_or_default()),
        packet(255, peer, target, &changed(0, 0x70)),
        packet(255, peer, target, &changed(0, 0x02)),
        packet(255, peer, target, &changed(3, 0x7e)),
    ]
}

/// A valid version 3 advertisement for the lab's address, one each 100 ms, checksum with pseudo-header.
fn advertisement(priority: u8, source: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut message = vec![0x31, VRID, priority, 1, 0, 10, 0, 0];
    message.extend(VIP.octets());
    with_checksum(message, &pseudo_header(source, target, 12))
}

/// An IPv4 packet; the kernel fills in the header's checksum.
fn packet(ttl: u8, source: Ipv4Addr, target: Ipv4Addr, message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + message.len()).unwrap_or(u16::MAX).to_be_bytes();
    let header = [0x45, 0xc0, length[0], length[1], 0, 0, 0, 0, ttl, VRRP, 0, 0];
    [&header[..], &source.octets(), &target.octets(), message].concat()
}

/// The Internet checksum (RFC 1071) of an even number of octets.
fn checksum(octets: &[u8]) -> u16 {
    let words = octets.chunks_exact(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertisement_has_the_checksum_of_the_published_vector() {
        let message = [0x31, 0x33, 100, 1, 0, 100, 0, 0, 192, 0, 2, 100];
        let pseudo_header = [192, 0, 2, 11, 192, 0, 2, 12, 0, 112, 0, 12];
        assert_eq!(checksum(&[&pseudo_header[..], &message].concat()), 0x236e);
    }
}
