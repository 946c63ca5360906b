//! Golden packets: bytes that an independent script computed, literal on both sides.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use agent_wire::vrrp::{Authentication, Envelope, GROUP_V4, GROUP_V6, Outgoing, Version, decode, encode};
use agent_wire::{ChecksumForm, Priority, Refusal, Vrid};

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 11));
const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));
const SECOND_VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 101));
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 12));
const SECOND: Duration = Duration::from_secs(1);

struct Vector {
    name: &'static str,
    bytes: &'static str,
    version: Version,
    priority: u8,
    interval: Duration,
    addresses: &'static [IpAddr],
    authentication: Authentication,
    form: ChecksumForm,
    destination: IpAddr,
}

const V2: Vector = Vector {
    name: "v2",
    bytes: "213364010001b865c00002640000000000000000",
    version: Version::V2,
    priority: 100,
    interval: SECOND,
    addresses: &[VIP],
    authentication: Authentication::None,
    form: ChecksumForm::MessageOnly,
    destination: IpAddr::V4(GROUP_V4),
};

const V3: Vector = Vector { name: "v3, message only", bytes: "313364010064a802c0000264", version: Version::V3, ..V2 };

const VECTORS: [Vector; 9] = [
    V2,
    Vector { name: "v2, release", bytes: "2133000100011c66c00002640000000000000000", priority: 0, ..V2 },
    Vector {
        name: "v2, password",
        bytes: "2133640101015503c00002643131313100000000",
        authentication: Authentication::Password(*b"1111\0\0\0\0"),
        ..V2
    },
    V3,
    Vector {
        name: "v3, pseudo-header, group",
        bytes: "3133640100640568c0000264",
        form: ChecksumForm::PseudoHeader,
        ..V3
    },
    Vector {
        name: "v3, pseudo-header, unicast",
        bytes: "313364010064236ec0000264",
        form: ChecksumForm::PseudoHeader,
        destination: PEER,
        ..V3
    },
    Vector {
        name: "v3, 10 ms, release, message only",
        bytes: "3133000100010c66c0000264",
        priority: 0,
        interval: Duration::from_millis(10),
        ..V3
    },
    Vector {
        name: "v3, 10 ms, release, pseudo-header",
        bytes: "31330001000169cbc0000264",
        priority: 0,
        interval: Duration::from_millis(10),
        form: ChecksumForm::PseudoHeader,
        ..V3
    },
    Vector {
        name: "v3, two addresses",
        bytes: "31336402006442fdc0000264c0000265",
        addresses: &[VIP, SECOND_VIP],
        form: ChecksumForm::PseudoHeader,
        ..V3
    },
];

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex digits")).collect()
}

fn envelope(vector: &Vector) -> Envelope {
    Envelope { source: SOURCE, destination: vector.destination, hop_limit: 255 }
}

#[test]
fn every_golden_packet_decodes_to_its_fields() {
    for vector in &VECTORS {
        let message = bytes(vector.bytes);
        let advert = decode(&envelope(vector), &message, vector.version, vector.authentication).expect(vector.name);
        assert_eq!(advert.vrid, Vrid::new(51).unwrap(), "{}", vector.name);
        assert_eq!(advert.priority, Priority::new(vector.priority), "{}", vector.name);
        assert_eq!(advert.interval, vector.interval, "{}", vector.name);
        assert_eq!(advert.checksum_form, vector.form, "{}", vector.name);
        assert_eq!(advert.addresses().collect::<Vec<_>>(), vector.addresses, "{}", vector.name);
    }
}

#[test]
fn the_fields_of_every_golden_packet_encode_to_its_bytes() {
    for vector in &VECTORS {
        let outgoing = Outgoing {
            version: vector.version,
            vrid: Vrid::new(51).unwrap(),
            priority: Priority::new(vector.priority),
            interval: vector.interval,
            addresses: vector.addresses,
            authentication: vector.authentication,
            checksum_form: vector.form,
            source: SOURCE,
            destination: vector.destination,
        };
        let mut buffer = [0xaa; 64];
        let length = encode(&outgoing, &mut buffer).expect(vector.name);
        assert_eq!(buffer[..length], bytes(vector.bytes), "{}", vector.name);
    }
}

#[test]
fn the_ipv6_golden_packet_goes_both_ways() {
    let message = bytes("3133640200643eecfe80000000000000000000000000000120010db8000000000000000000000100");
    let source: IpAddr = "fe80::11".parse().unwrap();
    let addresses: [IpAddr; 2] = ["fe80::1".parse().unwrap(), "2001:db8::100".parse().unwrap()];
    let destination = IpAddr::V6(GROUP_V6);
    let envelope = Envelope { source, destination, hop_limit: 255 };
    let advert = decode(&envelope, &message, Version::V3, Authentication::None).unwrap();
    assert_eq!(advert.addresses().collect::<Vec<_>>(), addresses);
    let outgoing = Outgoing {
        version: Version::V3,
        vrid: advert.vrid,
        priority: advert.priority,
        interval: SECOND,
        addresses: &addresses,
        authentication: Authentication::None,
        checksum_form: ChecksumForm::MessageOnly,
        source,
        destination,
    };
    let mut buffer = [0; 64];
    let length = encode(&outgoing, &mut buffer).unwrap();
    assert_eq!(buffer[..length], message);
}

/// Each change to a right packet and the refusal it must meet.
#[test]
fn every_refusal_of_a_message_has_a_packet_that_meets_it() {
    let right = bytes(V3.bytes);
    let changed = |at: usize, byte: u8| {
        let mut message = right.clone();
        message[at] = byte;
        message
    };
    let trailer = [right.clone(), vec![0; 28]].concat();
    let none = bytes("313364000064");
    let none = [none, vec![0, 0]].concat();
    let cases: [(Refusal, Vec<u8>); 10] = [
        (Refusal::TooShort, right[..7].to_vec()),
        (Refusal::Version, bytes(V2.bytes)),
        (Refusal::Type, changed(0, 0x32)),
        (Refusal::Length, right[..11].to_vec()),
        (Refusal::Length, changed(3, 2)),
        (Refusal::Trailer, trailer),
        (Refusal::Vrid, changed(1, 0)),
        (Refusal::NoAddress, none),
        (Refusal::NoInterval, changed(5, 0)),
        (Refusal::Checksum, changed(2, 101)),
    ];
    for (refusal, message) in cases {
        assert_eq!(decode(&envelope(&V3), &message, Version::V3, Authentication::None), Err(refusal));
    }
    let routed = Envelope { hop_limit: 254, ..envelope(&V3) };
    assert_eq!(decode(&routed, &right, Version::V3, Authentication::None), Err(Refusal::HopLimit));
    let password = Authentication::Password(*b"2222\0\0\0\0");
    for message in [bytes(V2.bytes), bytes(VECTORS[2].bytes)] {
        assert_eq!(decode(&envelope(&V2), &message, Version::V2, password), Err(Refusal::Authentication));
    }
}

#[test]
fn a_carp_neighbour_is_refused_by_its_length() {
    // OpenBSD CARP: version 2, type 1, VHID 51, advskew 100, authlen 7, pad, advbase 1; 36 octets in all.
    let mut carp = vec![0x21, 51, 100, 7, 0, 1, 0, 0];
    carp.resize(36, 0x5a);
    assert_eq!(decode(&envelope(&V2), &carp, Version::V2, Authentication::None), Err(Refusal::Length));
}

#[test]
fn the_reserved_bits_of_version_3_are_ignored() {
    let mut message = bytes(V3.bytes);
    message[4] |= 0xf0;
    // 0xf000 more in the sum.
    message[6..8].copy_from_slice(&0xb801_u16.to_be_bytes());
    let advert = decode(&envelope(&V3), &message, Version::V3, Authentication::None).unwrap();
    assert_eq!(advert.interval, SECOND);
}
