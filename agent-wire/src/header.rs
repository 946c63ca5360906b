//! The headers below VRRP: IPv4 (RFC 791) and IPv6 (RFC 8200).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Refusal;
use crate::checksum::VRRP_PROTOCOL;
use crate::vrrp::Envelope;

/// Where the message of a packet lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located {
    pub envelope: Envelope,
    /// Offset of the message in the packet.
    pub start: usize,
    /// Length of the message by the header, not by the frame, which may be padded.
    pub length: usize,
}

/// Finds the VRRP message in an IPv4 packet; options are legal, fragments are not.
#[inline(always)]
pub fn locate_v4(packet: &[u8]) -> Result<Located, Refusal> {
    if packet.len() < 20 || packet[0] >> 4 != 4 {
        return Err(Refusal::Truncated);
    }
    let start = ((packet[0] & 0x0f) as usize) * 4;
    let total = u16::from_be_bytes([packet[2], packet[3]]) as usize;
    if start < 20 || total < start || total > packet.len() || packet[9] != VRRP_PROTOCOL {
        return Err(Refusal::Truncated);
    }
    // More Fragments, or an offset (RFC 791 §3.1).
    if u16::from_be_bytes([packet[6], packet[7]]) & 0x3fff != 0 {
        return Err(Refusal::Fragment);
    }
    let envelope = Envelope {
        source: IpAddr::V4(Ipv4Addr::new(packet[12], packet[13], packet[14], packet[15])),
        destination: IpAddr::V4(Ipv4Addr::new(packet[16], packet[17], packet[18], packet[19])),
        hop_limit: packet[8],
    };
    Ok(Located { envelope, start, length: total - start })
}

/// Finds the VRRP message in an IPv6 packet without extension headers.
#[inline(always)]
pub fn locate_v6(packet: &[u8]) -> Result<Located, Refusal> {
    if packet.len() < 40 || packet[0] >> 4 != 6 || packet[6] != VRRP_PROTOCOL {
        return Err(Refusal::Truncated);
    }
    let length = u16::from_be_bytes([packet[4], packet[5]]) as usize;
    if 40 + length > packet.len() {
        return Err(Refusal::Truncated);
    }
    let envelope = Envelope {
        source: IpAddr::V6(v6_at(packet, 8)),
        destination: IpAddr::V6(v6_at(packet, 24)),
        hop_limit: packet[7],
    };
    Ok(Located { envelope, start: 40, length })
}

#[inline(always)]
fn v6_at(packet: &[u8], at: usize) -> Ipv6Addr {
    let mut octets = [0; 16];
    let mut index = 0;
    while index < 16 {
        if at + index < packet.len() {
            octets[index] = packet[at + index];
        }
        index += 1;
    }
    Ipv6Addr::from(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A version 3 advertisement of 12 octets in an IPv4 packet, as it stands on the wire.
    const PACKET: [u8; 32] = [
        0x45, 0xc0, 0x00, 0x20, 0, 0, 0, 0, 0xff, 0x70, 0x18, 0x90, 0xc0, 0, 2, 0x0b, 0xe0, 0, 0, 0x12, 0x31, 0x33,
        0x64, 1, 0, 0x64, 5, 0x68, 0xc0, 0, 2, 0x64,
    ];

    #[test]
    fn the_length_of_a_padded_frame_is_that_of_its_header() {
        let mut frame = [0; 46];
        frame[..32].copy_from_slice(&PACKET);
        let located = locate_v4(&frame).unwrap();
        assert_eq!((located.start, located.length), (20, 12));
        assert_eq!(located.envelope.source, IpAddr::from([192, 0, 2, 11]));
        assert_eq!(located.envelope.hop_limit, 255);
    }

    #[test]
    fn options_move_the_message() {
        let mut packet = [0; 36];
        packet[..20].copy_from_slice(&PACKET[..20]);
        packet[24..].copy_from_slice(&PACKET[20..]);
        packet[0] = 0x46;
        packet[3] = 36;
        let located = locate_v4(&packet).unwrap();
        assert_eq!((located.start, located.length), (24, 12));
    }

    #[test]
    fn a_packet_cut_at_any_octet_is_refused() {
        for length in 0..PACKET.len() {
            assert_eq!(locate_v4(&PACKET[..length]), Err(Refusal::Truncated), "{length}");
            assert_eq!(locate_v6(&PACKET[..length]), Err(Refusal::Truncated), "{length}");
        }
    }

    #[test]
    fn a_fragment_is_refused_first_or_later() {
        for flags in [0x2000_u16, 0x0001] {
            let mut packet = PACKET;
            packet[6..8].copy_from_slice(&flags.to_be_bytes());
            assert_eq!(locate_v4(&packet), Err(Refusal::Fragment));
        }
        let mut packet = PACKET;
        packet[6] = 0x40;
        assert!(locate_v4(&packet).is_ok(), "Don't Fragment is no fragment");
    }

    #[test]
    fn an_ipv6_message_begins_behind_the_fixed_header() {
        let mut packet = [0; 80];
        packet[0] = 0x6c;
        packet[5] = 24;
        packet[6] = VRRP_PROTOCOL;
        packet[7] = 255;
        packet[8] = 0xfe;
        packet[9] = 0x80;
        packet[23] = 0x11;
        packet[24..26].copy_from_slice(&[0xff, 0x02]);
        packet[39] = 0x12;
        let located = locate_v6(&packet).unwrap();
        assert_eq!((located.start, located.length), (40, 24));
        assert_eq!(located.envelope.source, "fe80::11".parse::<IpAddr>().unwrap());
        assert_eq!(located.envelope.destination, "ff02::12".parse::<IpAddr>().unwrap());
        packet[5] = 41;
        assert_eq!(locate_v6(&packet), Err(Refusal::Truncated), "one octet more than there is");
    }
}
