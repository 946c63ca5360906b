//! The checks on receipt and the fields on transmission that the RFCs demand, each by a packet that differs from a right
//! one in that alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use agent_wire::header::{locate_v4, locate_v6};
use agent_wire::map::{AUTHENTICATION_NONE, MAX_PEERS, RouterConfig};
use agent_wire::vrrp::{
    Authentication, EncodeError, Envelope, GROUP_V4, GROUP_V6, Outgoing, Version, check, decode, encode,
};
use agent_wire::{ChecksumForm, Priority, Refusal, Vrid};

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 11));
const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));
const LINK_LOCAL: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x11));
const NONE: Authentication = Authentication::None;

/// VRID 51, priority 100, one second, one address; message alone in the checksum.
const V2: [u8; 20] = [0x21, 51, 100, 1, 0, 1, 0xb8, 0x65, 192, 0, 2, 100, 0, 0, 0, 0, 0, 0, 0, 0];
const V3: [u8; 12] = [0x31, 51, 100, 1, 0, 100, 0xa8, 0x02, 192, 0, 2, 100];
/// From fe80::11 for fe80::1 and 2001:db8::100, with the pseudo-header.
const V6: [u8; 40] = [
    0x31, 51, 100, 2, 0, 100, 0x3e, 0xec, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x20, 1, 0x0d, 0xb8, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0,
];

fn v4_envelope() -> Envelope {
    Envelope { source: SOURCE, destination: GROUP_V4.into(), hop_limit: 255 }
}

fn v6_envelope() -> Envelope {
    Envelope { source: LINK_LOCAL, destination: GROUP_V6.into(), hop_limit: 255 }
}

/// The refusals of the changed packets over IPv4 in versions 2 and 3 and over IPv6.
fn refusals(change: impl Fn(&mut Envelope, &mut Vec<u8>)) -> [Option<Refusal>; 3] {
    let cases = [
        (v4_envelope(), V2.to_vec(), Version::V2),
        (v4_envelope(), V3.to_vec(), Version::V3),
        (v6_envelope(), V6.to_vec(), Version::V3),
    ];
    cases.map(|(mut envelope, mut message, version)| {
        change(&mut envelope, &mut message);
        decode(&envelope, &message, version, NONE).err()
    })
}

/// Puts a right checksum over what was changed; over IPv4 it covers the message alone.
fn sum(message: &mut [u8]) {
    message[6..8].fill(0);
    let words = message.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| u32::from(low)));
    let mut total: u32 = words.sum();
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    let inverted = u16::try_from(total).map(|total| !total).unwrap_or_default();
    message[6..8].copy_from_slice(&inverted.to_be_bytes());
}

/// Ledger: RFC9568-5.1.1.3-2, RFC9568-5.1.2.3-2, RFC9568-5.2.2-1, RFC9568-5.2.5-1, RFC9568-7.1-1 (positive)
/// Ledger: RFC9568-7.1-2, RFC9568-7.1-3, RFC9568-7.1-4, RFC9568-7.1-6, RFC9568-7.1-7 (positive)
/// Ledger: RFC5798-5.1.1.3-2, RFC5798-5.1.2.3-2, RFC5798-5.2.2-1, RFC5798-7.1-1, RFC5798-7.1-2 (positive)
/// Ledger: RFC5798-7.1-3, RFC5798-7.1-5 (positive)
/// Ledger: RFC3768-5.2.3-2, RFC3768-5.3.2-1, RFC3768-5.3.6-1, RFC3768-7.1-1, RFC3768-7.1-2 (positive)
/// Ledger: RFC3768-7.1-3, RFC3768-7.1-5, RFC3768-7.1-6 (positive)
#[test]
fn a_right_packet_passes_every_check() {
    assert_eq!(refusals(|_, _| {}), [None; 3]);
    let advert = decode(&v6_envelope(), &V6, Version::V3, NONE).unwrap();
    assert_eq!((advert.priority, advert.interval), (Priority::new(100), Duration::from_secs(1)));
}

/// Ledger: RFC9568-5.1.1.3-2, RFC9568-5.1.2.3-2, RFC5798-5.1.1.3-2, RFC5798-5.1.2.3-2, RFC3768-5.2.3-2 (negative)
/// Ledger: RFC9568-7.1-7, RFC5798-7.1-5, RFC3768-7.1-6 (negative)
#[test]
fn another_hop_limit_than_255_is_refused() {
    for hop_limit in [0, 1, 64, 254] {
        assert_eq!(refusals(|envelope, _| envelope.hop_limit = hop_limit), [Some(Refusal::HopLimit); 3]);
    }
}

/// Ledger: RFC9568-5.2.2-1, RFC9568-7.1-2, RFC5798-5.2.2-1, RFC3768-5.3.2-1 (negative)
#[test]
fn every_other_type_than_advertisement_is_refused() {
    for kind in (0..16).filter(|&kind| kind != 1) {
        let found = refusals(|_, message| {
            message[0] = message[0] & 0xf0 | kind;
            sum(message);
        });
        assert_eq!(found, [Some(Refusal::Type); 3], "type {kind}");
    }
}

/// Ledger: RFC9568-7.1-1, RFC5798-7.1-1, RFC3768-7.1-1 (negative)
#[test]
fn every_other_version_than_the_configured_one_is_refused() {
    for version in 0..16 {
        let found = refusals(|_, message| {
            message[0] = version << 4 | 1;
            sum(message);
        });
        let wrong = |right| (version != right).then_some(Refusal::Version);
        // The sum over IPv6 would need the pseudo-header.
        let v6 = if version == 3 { Some(Refusal::Checksum) } else { Some(Refusal::Version) };
        assert_eq!(found, [wrong(2), wrong(3), v6], "version {version}");
    }
}

/// Ledger: RFC9568-7.1-3, RFC5798-7.1-2, RFC3768-7.1-2 (negative)
#[test]
fn a_packet_of_another_length_than_its_count_demands_is_refused() {
    for length in 0..V3.len() {
        assert!(refusals(|_, message| message.truncate(length)).iter().all(Option::is_some), "{length} octets");
    }
    assert_eq!(refusals(|_, message| message.extend([0; 4])), [Some(Refusal::Length); 3]);
    for count in [3, 255] {
        assert_eq!(refusals(|_, message| message[3] = count), [Some(Refusal::Length); 3], "count {count}");
    }
    assert_eq!(decode(&v4_envelope(), &V2[..12], Version::V2, NONE), Err(Refusal::Length), "without authentication");
}

/// Ledger: RFC9568-7.1-4, RFC3768-7.1-3 (negative)
/// Ledger: RFC5798-7.1-3 (negative)
#[test]
fn a_wrong_checksum_is_refused() {
    for at in [1, 2, 4, 6, 7, 11] {
        let found = refusals(|_, message| message[at] ^= 0x20);
        // The high half of octet 4 is version 2's authentication type, which is compared first or not at all.
        assert!(found.iter().all(Option::is_some), "octet {at}");
    }
    assert_eq!(refusals(|_, message| message[7] ^= 1), [Some(Refusal::Checksum); 3]);
    let elsewhere = Envelope { source: "fe80::12".parse().unwrap(), ..v6_envelope() };
    assert_eq!(decode(&elsewhere, &V6, Version::V3, NONE), Err(Refusal::Checksum), "IPv6 sums its source");
}

/// Ledger: RFC9568-5.2.5-1 (negative)
#[test]
fn a_packet_without_an_address_is_refused() {
    let mut message = [0x31, 51, 100, 0, 0, 100, 0, 0];
    sum(&mut message);
    assert_eq!(decode(&v4_envelope(), &message, Version::V3, NONE), Err(Refusal::NoAddress));
}

/// Ledger: RFC9568-7.1-6 (negative)
#[test]
fn an_interval_of_zero_is_refused() {
    let found = refusals(|_, message| {
        message[5] = 0;
        sum(message);
    });
    assert_eq!(found, [Some(Refusal::NoInterval); 3]);
}

/// Ledger: RFC9568-5.2.6-1, RFC5798-5.2.6-1 (positive)
/// Ledger: RFC9568-7.2-1, RFC5798-7.2-1, RFC3768-7.2-1, RFC3768-5.3.10-1 (positive)
#[test]
fn what_is_sent_has_every_field_and_its_checksum_over_whatever_was_in_the_buffer() {
    let outgoing = outgoing(Version::V2, SOURCE, &[VIP]);
    let mut buffer = [0xff; 64];
    assert_eq!(encode(&outgoing, &mut buffer), Ok(20));
    assert_eq!(buffer[..20], V2);
    let outgoing = Outgoing { version: Version::V3, ..outgoing };
    let mut buffer = [0xff; 64];
    assert_eq!(encode(&outgoing, &mut buffer), Ok(12));
    assert_eq!(buffer[..12], V3);
}

/// Ledger: RFC9568-5.2.6-1, RFC5798-5.2.6-1 (negative)
#[test]
fn no_reserved_bit_changes_the_interval() {
    for bit in [0x10, 0x20, 0x40, 0x80] {
        let mut message = V3;
        message[4] |= bit;
        sum(&mut message);
        let advert = decode(&v4_envelope(), &message, Version::V3, NONE).unwrap();
        assert_eq!(advert.interval, Duration::from_secs(1));
    }
}

/// Ledger: RFC9568-5.2.8-1, RFC5798-5.2.8-1 (positive)
#[test]
fn over_ipv4_both_forms_of_the_checksum_are_taken_and_the_configured_one_is_sent() {
    for (form, sum) in [(ChecksumForm::MessageOnly, [0xa8, 0x02]), (ChecksumForm::PseudoHeader, [0x05, 0x68])] {
        let outgoing = Outgoing { checksum_form: form, ..outgoing(Version::V3, SOURCE, &[VIP]) };
        let mut buffer = [0; 12];
        assert_eq!(encode(&outgoing, &mut buffer), Ok(12));
        assert_eq!(buffer[6..8], sum);
        assert_eq!(decode(&v4_envelope(), &buffer, Version::V3, NONE).unwrap().checksum_form, form);
    }
}

/// Ledger: RFC9568-5.2.8-1, RFC5798-5.2.8-1 (negative)
#[test]
fn a_sum_of_neither_form_is_refused_and_version_2_has_no_pseudo_header() {
    let mut message = V3;
    message[6..8].copy_from_slice(&[0x05, 0x69]);
    assert_eq!(decode(&v4_envelope(), &message, Version::V3, NONE), Err(Refusal::Checksum));
    // 0xb865 less the pseudo-header's sum of 192.0.2.11, 224.0.0.18, 112 and 20.
    let mut message = V2;
    message[6..8].copy_from_slice(&[0x15, 0xc3]);
    assert_eq!(decode(&v4_envelope(), &message, Version::V2, NONE), Err(Refusal::Checksum));
}

/// Ledger: RFC9568-5.2.9-2, RFC5798-5.2.9-2 (positive)
#[test]
fn addresses_are_of_the_family_of_the_packet() {
    let advert = decode(&v4_envelope(), &V3, Version::V3, NONE).unwrap();
    assert_eq!(advert.addresses().collect::<Vec<_>>(), [VIP]);
    let advert = decode(&v6_envelope(), &V6, Version::V3, NONE).unwrap();
    let expected: [IpAddr; 2] = ["fe80::1".parse().unwrap(), "2001:db8::100".parse().unwrap()];
    assert_eq!(advert.addresses().collect::<Vec<_>>(), expected);
}

/// Ledger: RFC9568-5.2.9-2, RFC5798-5.2.9-2, RFC9568-7.2-1, RFC5798-7.2-1, RFC3768-7.2-1 (negative)
#[test]
fn what_no_packet_can_carry_is_not_sent() {
    let mut buffer = [0; 64];
    let mut failure = |outgoing: &Outgoing<'_>| encode(outgoing, &mut buffer).err();
    assert_eq!(failure(&outgoing(Version::V3, SOURCE, &[VIP, LINK_LOCAL])), Some(EncodeError::Addresses));
    assert_eq!(failure(&outgoing(Version::V3, LINK_LOCAL, &[VIP])), Some(EncodeError::Addresses));
    assert_eq!(failure(&outgoing(Version::V3, SOURCE, &[])), Some(EncodeError::Addresses));
    assert_eq!(failure(&outgoing(Version::V2, LINK_LOCAL, &[LINK_LOCAL])), Some(EncodeError::Family));
    let half = Duration::from_millis(1500);
    assert_eq!(
        failure(&Outgoing { interval: half, ..outgoing(Version::V2, SOURCE, &[VIP]) }),
        Some(EncodeError::Interval)
    );
}

/// Ledger: RFC3768-5.3.6-1, RFC3768-7.1-5 (negative)
#[test]
fn every_other_authentication_than_the_configured_one_is_refused() {
    let password = Authentication::Password(*b"1111\0\0\0\0");
    assert_eq!(decode(&v4_envelope(), &V2, Version::V2, password), Err(Refusal::Authentication));
    for kind in 1..=255 {
        let mut message = V2;
        message[4] = kind;
        sum(&mut message);
        assert_eq!(decode(&v4_envelope(), &message, Version::V2, NONE), Err(Refusal::Authentication), "type {kind}");
    }
}

/// Ledger: RFC3768-5.3.10-1 (negative)
#[test]
fn the_authentication_data_of_type_0_is_ignored() {
    let mut message = V2;
    message[12..].copy_from_slice(b"whatever");
    sum(&mut message);
    assert!(decode(&v4_envelope(), &message, Version::V2, NONE).is_ok());
}

/// Ledger: RFC9568-7.2-4, RFC5798-7.2-4, RFC3768-7.2-4 (negative)
#[test]
fn another_ip_protocol_than_112_is_none_of_ours() {
    let mut packet =
        [[0x45, 0xc0, 0, 32, 0, 0, 0, 0, 255, 112, 0, 0, 192, 0, 2, 11, 224, 0, 0, 18].as_slice(), &V3].concat();
    assert_eq!(locate_v4(&packet).map(|located| (located.start, located.length)), Ok((20, 12)));
    packet[9] = 51;
    assert!(locate_v4(&packet).is_err());
    let mut packet = [[0x60, 0, 0, 0, 0, 40, 112, 255].as_slice(), &[0; 32], &V6].concat();
    assert_eq!(locate_v6(&packet).map(|located| (located.start, located.length)), Ok((40, 40)));
    packet[6] = 51;
    assert!(locate_v6(&packet).is_err());
}

fn outgoing(version: Version, source: IpAddr, addresses: &[IpAddr]) -> Outgoing<'_> {
    Outgoing {
        version,
        vrid: Vrid::new(51).expect("not zero"),
        priority: Priority::new(100),
        interval: Duration::from_secs(1),
        addresses,
        authentication: NONE,
        checksum_form: ChecksumForm::MessageOnly,
        source,
        destination: if source.is_ipv6() { GROUP_V6.into() } else { GROUP_V4.into() },
    }
}

/// Version 2 at one second, for advertisements to the group.
fn router() -> RouterConfig {
    RouterConfig {
        index: 0,
        version: 2,
        authentication: AUTHENTICATION_NONE,
        interval_s: 1,
        peer_count: 0,
        own: [0; 16],
        password: [0; 8],
        peers: [[0; 16]; MAX_PEERS],
    }
}

/// Ledger: RFC3768-7.1-8 (positive)
#[test]
fn the_configured_interval_passes_in_version_2() {
    assert!(check::<64>(&v4_envelope(), &V2, &router()).is_ok());
}

/// Ledger: RFC3768-7.1-8 (negative)
#[test]
fn another_interval_than_the_configured_one_is_refused_in_version_2() {
    for interval_s in [2, 100, 255] {
        let found = check::<64>(&v4_envelope(), &V2, &RouterConfig { interval_s, ..router() });
        assert_eq!(found, Err(Refusal::Interval));
    }
}
