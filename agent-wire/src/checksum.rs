//! The Internet checksum (RFC 1071), in loops that the kernel's verifier accepts.

use core::net::IpAddr;

/// The protocol number of VRRP (RFC 9568 §5.1.1.4).
pub const VRRP_PROTOCOL: u8 = 112;

/// What a VRRPv3/IPv4 checksum covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChecksumForm {
    /// The VRRP message alone (RFC 9568 §5.2.8 for IPv4; RFC 3768).
    MessageOnly,
    /// The message and a pseudo-header, as keepalived and FRR send it (and every IPv6 router must).
    PseudoHeader,
}

/// Adds the bytes as big-endian words, at most `MAX` of them; the rest is not looked at.
#[inline(always)]
#[must_use]
pub fn add<const MAX: usize>(mut sum: u32, bytes: &[u8]) -> u32 {
    let mut at = 0;
    while at < MAX {
        if at >= bytes.len() {
            break;
        }
        let low = if at + 1 < bytes.len() { bytes[at + 1] } else { 0 };
        sum += u32::from(u16::from_be_bytes([bytes[at], low]));
        at += 2;
    }
    sum
}

/// The checksum for a sum of words; zero if the sum included a right checksum.
#[inline(always)]
#[must_use]
pub fn finish(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    #[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits")]
    let folded = sum as u16;
    !folded
}

/// The sum of the pseudo-header (RFC 8200 §8.1; for IPv4 RFC 793 §3.1).
#[inline(always)]
#[must_use]
pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, length: u16) -> u32 {
    let sum = u32::from(protocol) + u32::from(length);
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            add::<4>(add::<4>(sum, &source.octets()), &destination.octets())
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            add::<16>(add::<16>(sum, &source.octets()), &destination.octets())
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => sum,
    }
}
