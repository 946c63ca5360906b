//! What holds for any input.

use std::net::IpAddr;
use std::time::Duration;

use agent_wire::vrrp::trailer::{self, Stamp, TRAILER, Trailer};
use agent_wire::vrrp::{Authentication, Envelope, LONGEST, Outgoing, Version, decode, encode};
use agent_wire::{ChecksumForm, Priority, Vrid};
use proptest::prelude::*;

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V2), Just(Version::V3)]
}

fn family() -> impl Strategy<Value = (IpAddr, IpAddr, Vec<IpAddr>)> {
    let v4 = (any::<[u8; 4]>(), any::<[u8; 4]>(), prop::collection::vec(any::<[u8; 4]>(), 1..=255)).prop_map(
        |(source, destination, addresses)| {
            (source.into(), destination.into(), addresses.into_iter().map(IpAddr::from).collect())
        },
    );
    let v6 = (any::<[u8; 16]>(), any::<[u8; 16]>(), prop::collection::vec(any::<[u8; 16]>(), 1..=255)).prop_map(
        |(source, destination, addresses)| {
            (source.into(), destination.into(), addresses.into_iter().map(IpAddr::from).collect())
        },
    );
    prop_oneof![v4, v6]
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same(
        (source, destination, addresses) in family(), version in version(), vrid in 1_u8.., priority: u8,
        centiseconds in 1_u64..=4095, seconds in 1_u64..=255, password: Option<[u8; 8]>, pseudo: bool,
    ) {
        prop_assume!(!(source.is_ipv6() && version == Version::V2));
        let interval = match version {
            Version::V2 => Duration::from_secs(seconds),
            Version::V3 => Duration::from_millis(centiseconds * 10),
        };
        let authentication = match (version, password) {
            (Version::V2, Some(password)) => Authentication::Password(password),
            _ => Authentication::None,
        };
        let checksum_form = if pseudo { ChecksumForm::PseudoHeader } else { ChecksumForm::MessageOnly };
        let (vrid, priority) = (Vrid::new(vrid).unwrap(), Priority::new(priority));
        let outgoing = Outgoing {
            version, vrid, priority, interval, addresses: &addresses, authentication, checksum_form, source, destination,
        };
        let mut buffer = vec![0; LONGEST];
        let length = encode(&outgoing, &mut buffer).unwrap();
        let envelope = Envelope { source, destination, hop_limit: 255 };
        let advert = decode(&envelope, &buffer[..length], version, authentication).unwrap();
        prop_assert_eq!((advert.vrid, advert.priority, advert.interval), (vrid, priority, interval));
        prop_assert_eq!(advert.addresses().collect::<Vec<_>>(), addresses);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(
        (source, destination, _) in family(), version in version(), message in prop::collection::vec(any::<u8>(), 0..600),
        hop_limit in prop_oneof![Just(255_u8), any::<u8>()],
    ) {
        let envelope = Envelope { source, destination, hop_limit };
        if let Ok(advert) = decode(&envelope, &message, version, Authentication::None) {
            prop_assert!(advert.addresses().count() > 0);
        }
    }

    #[test]
    fn no_bytes_make_a_trailer_panic(
        (source, destination, _) in family(), message in prop::collection::vec(any::<u8>(), 0..200),
        key_id: u8, millis in 0_u64..1 << 50,
    ) {
        let read = trailer::read(&message);
        prop_assert!(read.is_err() || message.len() >= TRAILER);
        let stamp = Stamp::at(Duration::from_millis(millis));
        let mut signed = message.clone();
        let done = trailer::sign(source, destination, &mut signed, key_id, stamp, |_| [7; 16]);
        prop_assert_eq!(done.is_some(), message.len() >= 8 + TRAILER);
        if done.is_some() {
            let expected = Trailer { key_id, stamp, hmac: [7; 16] };
            prop_assert_eq!(trailer::read(&signed), Ok(expected));
            prop_assert!(!stamp.is_after(stamp) && stamp.next().is_after(stamp) && !stamp.is_after(stamp.next()));
        }
    }

    #[test]
    fn one_wrong_bit_is_never_taken_for_a_right_packet(
        bit in 0_usize..96, pseudo: bool,
    ) {
        let source = IpAddr::from([192, 0, 2, 11]);
        let destination = IpAddr::from([224, 0, 0, 18]);
        let outgoing = Outgoing {
            version: Version::V3, vrid: Vrid::new(51).unwrap(), priority: Priority::new(100),
            interval: Duration::from_secs(1), addresses: &[IpAddr::from([192, 0, 2, 100])],
            authentication: Authentication::None, source, destination,
            checksum_form: if pseudo { ChecksumForm::PseudoHeader } else { ChecksumForm::MessageOnly },
        };
        let mut buffer = [0; 12];
        encode(&outgoing, &mut buffer).unwrap();
        buffer[bit / 8] ^= 1 << (bit % 8);
        let envelope = Envelope { source, destination, hop_limit: 255 };
        prop_assert!(decode(&envelope, &buffer, Version::V3, Authentication::None).is_err());
    }
}
