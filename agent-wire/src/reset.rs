//! The reset that a gate gives instead of silence, so that a client tries again at once (RFC 9293 §3.5.2).

use core::net::IpAddr;

use crate::checksum;

/// Ethernet, IPv4 without options, TCP without options.
pub const RESET_V4: usize = 54;
/// Ethernet, IPv6, TCP without options.
pub const RESET_V6: usize = 74;

const TCP: u8 = 6;
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// Turns the headers of an IPv4 segment into the reset that answers it; `false`: it is not to be answered.
///
/// `frame` begins with the headers of the segment, IPv4 without options. The frame must be cut to its length.
#[inline(always)]
#[must_use]
pub fn answer_v4(frame: &mut [u8; RESET_V4]) -> bool {
    let total = u16::from_be_bytes([frame[16], frame[17]]);
    let data_offset = u16::from(frame[46] >> 4) * 4;
    if frame[14] != 0x45 || frame[23] != TCP || data_offset < 20 || total < 20 + data_offset {
        return false;
    }
    let payload = total - 20 - data_offset;
    let (tcp, answer) = answer(&frame[34..54], payload);
    if !answer {
        return false;
    }
    swap_macs(&mut frame[..12]);
    let (source, destination) = (quad(&frame[26..30]), quad(&frame[30..34]));
    // No options, no identification, Don't Fragment, TTL 64.
    frame[15..26].copy_from_slice(&[0, 0, 40, 0, 0, 0x40, 0, 64, TCP, 0, 0]);
    frame[26..30].copy_from_slice(&destination);
    frame[30..34].copy_from_slice(&source);
    let header = checksum::finish(checksum::add::<20>(0, &frame[14..34]));
    frame[24..26].copy_from_slice(&header.to_be_bytes());
    frame[34..54].copy_from_slice(&tcp);
    let pseudo = checksum::pseudo_header(IpAddr::from(destination), IpAddr::from(source), TCP, 20);
    let sum = checksum::finish(checksum::add::<20>(pseudo, &frame[34..54]));
    frame[50..52].copy_from_slice(&sum.to_be_bytes());
    true
}

/// Turns the headers of an IPv6 segment into the reset that answers it; `false`: it is not to be answered.
#[inline(always)]
#[must_use]
pub fn answer_v6(frame: &mut [u8; RESET_V6]) -> bool {
    let length = u16::from_be_bytes([frame[18], frame[19]]);
    let data_offset = u16::from(frame[66] >> 4) * 4;
    if frame[14] >> 4 != 6 || frame[20] != TCP || data_offset < 20 || length < data_offset {
        return false;
    }
    let (tcp, answer) = answer(&frame[54..74], length - data_offset);
    if !answer {
        return false;
    }
    swap_macs(&mut frame[..12]);
    let (source, destination) = (hexadecet(&frame[22..38]), hexadecet(&frame[38..54]));
    frame[15..22].copy_from_slice(&[0, 0, 0, 0, 20, TCP, 64]);
    frame[22..38].copy_from_slice(&destination);
    frame[38..54].copy_from_slice(&source);
    frame[54..74].copy_from_slice(&tcp);
    let pseudo = checksum::pseudo_header(IpAddr::from(destination), IpAddr::from(source), TCP, 20);
    let sum = checksum::finish(checksum::add::<20>(pseudo, &frame[54..74]));
    frame[70..72].copy_from_slice(&sum.to_be_bytes());
    true
}

/// The TCP header that answers a segment, its checksum still zero; a reset is never answered.
#[inline(always)]
fn answer(segment: &[u8], payload: u16) -> ([u8; 20], bool) {
    let flags = segment[13];
    let mut tcp = [0; 20];
    tcp[0..2].copy_from_slice(&segment[2..4]);
    tcp[2..4].copy_from_slice(&segment[0..2]);
    tcp[12] = 5 << 4;
    if flags & ACK != 0 {
        tcp[4..8].copy_from_slice(&segment[8..12]);
        tcp[13] = RST;
    } else {
        let sequence = u32::from_be_bytes([segment[4], segment[5], segment[6], segment[7]]);
        let counted = u32::from(payload) + u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        tcp[8..12].copy_from_slice(&sequence.wrapping_add(counted).to_be_bytes());
        tcp[13] = RST | ACK;
    }
    (tcp, flags & RST == 0)
}

#[inline(always)]
fn swap_macs(macs: &mut [u8]) {
    let mut index = 0;
    while index < 6 {
        macs.swap(index, index + 6);
        index += 1;
    }
}

#[inline(always)]
fn quad(bytes: &[u8]) -> [u8; 4] {
    [bytes[0], bytes[1], bytes[2], bytes[3]]
}

#[inline(always)]
fn hexadecet(bytes: &[u8]) -> [u8; 16] {
    let mut octets = [0; 16];
    octets.copy_from_slice(&bytes[..16]);
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(flags: u8, payload: u16) -> [u8; RESET_V4] {
        let mut frame = [0; RESET_V4];
        frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
        frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[14] = 0x45;
        frame[16..18].copy_from_slice(&(40 + payload).to_be_bytes());
        frame[22..24].copy_from_slice(&[64, TCP]);
        frame[26..30].copy_from_slice(&[10, 77, 0, 10]);
        frame[30..34].copy_from_slice(&[10, 77, 0, 150]);
        frame[34..38].copy_from_slice(&[0x9c, 0x40, 0x0c, 0xea]);
        frame[38..42].copy_from_slice(&1000_u32.to_be_bytes());
        frame[42..46].copy_from_slice(&7000_u32.to_be_bytes());
        frame[46] = 5 << 4;
        frame[47] = flags;
        frame
    }

    fn sums_are_right(frame: &[u8; RESET_V4]) -> bool {
        let addresses = (IpAddr::from(quad(&frame[26..30])), IpAddr::from(quad(&frame[30..34])));
        let pseudo = checksum::pseudo_header(addresses.0, addresses.1, TCP, 20);
        checksum::finish(checksum::add::<20>(0, &frame[14..34])) == 0
            && checksum::finish(checksum::add::<20>(pseudo, &frame[34..54])) == 0
    }

    #[test]
    fn a_syn_is_answered_by_a_reset_that_acknowledges_it() {
        let mut frame = segment(SYN, 0);
        assert!(answer_v4(&mut frame));
        assert_eq!(frame[..12], [2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1]);
        assert_eq!(frame[26..38], [10, 77, 0, 150, 10, 77, 0, 10, 0x0c, 0xea, 0x9c, 0x40]);
        assert_eq!(frame[38..46], [0, 0, 0, 0, 0, 0, 0x03, 0xe9], "sequence 0, acknowledgement 1001");
        assert_eq!(frame[47], RST | ACK);
        assert!(sums_are_right(&frame));
    }

    #[test]
    fn data_on_an_open_connection_is_reset_where_the_peer_expects_it() {
        let mut frame = segment(ACK, 100);
        assert!(answer_v4(&mut frame));
        assert_eq!(frame[38..42], 7000_u32.to_be_bytes());
        assert_eq!(frame[47], RST);
        assert!(sums_are_right(&frame));
    }

    #[test]
    fn a_reset_is_never_answered() {
        assert!(!answer_v4(&mut segment(RST, 0)));
        assert!(!answer_v4(&mut segment(RST | ACK, 0)));
    }

    #[test]
    fn a_segment_with_a_wrong_length_is_not_answered() {
        let mut frame = segment(SYN, 0);
        frame[46] = 15 << 4;
        assert!(!answer_v4(&mut frame));
    }

    #[test]
    fn what_a_segment_counts_for_is_acknowledged_across_the_end_of_the_numbers() {
        let mut frame = segment(SYN | FIN, 5);
        frame[38..42].copy_from_slice(&(u32::MAX - 2).to_be_bytes());
        assert!(answer_v4(&mut frame));
        // 5 octets, SYN and FIN: 7 numbers on from 2^32 - 3.
        assert_eq!(frame[42..46], 4_u32.to_be_bytes());
    }

    #[test]
    fn a_syn_over_ipv6_is_answered_the_same_way() {
        let mut frame = [0; RESET_V6];
        frame[..12].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9]);
        frame[12..14].copy_from_slice(&[0x86, 0xdd]);
        frame[14] = 0x60;
        frame[19] = 20;
        frame[20..22].copy_from_slice(&[TCP, 64]);
        let (client, vip) = ([0xfd; 16], [0xfe; 16]);
        frame[22..38].copy_from_slice(&client);
        frame[38..54].copy_from_slice(&vip);
        frame[54..58].copy_from_slice(&[0x9c, 0x40, 0x0c, 0xea]);
        frame[58..62].copy_from_slice(&1000_u32.to_be_bytes());
        frame[66] = 5 << 4;
        frame[67] = SYN;
        assert!(answer_v6(&mut frame));
        assert_eq!(frame[..12], [2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1]);
        assert_eq!((&frame[22..38], &frame[38..54]), (&vip[..], &client[..]));
        assert_eq!(frame[54..58], [0x0c, 0xea, 0x9c, 0x40]);
        assert_eq!(frame[62..66], 1001_u32.to_be_bytes());
        assert_eq!(frame[67], RST | ACK);
        let pseudo = checksum::pseudo_header(IpAddr::from(vip), IpAddr::from(client), TCP, 20);
        assert_eq!(checksum::finish(checksum::add::<20>(pseudo, &frame[54..74])), 0);
    }
}
