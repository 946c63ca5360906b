//! Packets as they come from the network.

use std::net::IpAddr;

use agent_wire::header::{Located, locate_v4, locate_v6};
use agent_wire::vrrp::{Authentication, LONGEST, Outgoing, Version, decode, encode, peek_vrid};
use agent_wire::{ChecksumForm, Refusal};

/// An IPv4 packet through header and message, as version 2 without and with a password, and as version 3.
pub fn advert_v4(packet: &[u8]) {
    if let Some((located, message)) = cut(locate_v4(packet), packet) {
        for (version, authentication) in [
            (Version::V2, Authentication::None),
            (Version::V2, Authentication::Password(*b"1111\0\0\0\0")),
            (Version::V3, Authentication::None),
        ] {
            take(&located, message, version, authentication);
        }
    }
}

/// An IPv6 packet through header and message.
pub fn advert_v6(packet: &[u8]) {
    if let Some((located, message)) = cut(locate_v6(packet), packet) {
        take(&located, message, Version::V3, Authentication::None);
        let v2 = decode(&located.envelope, message, Version::V2, Authentication::None);
        assert!(v2.is_err(), "version 2 has no IPv6");
    }
}

fn cut(located: Result<Located, Refusal>, packet: &[u8]) -> Option<(Located, &[u8])> {
    let located = located.ok()?;
    let message = packet.get(located.start..located.start + located.length);
    assert!(message.is_some(), "{located:?} lies outside of a packet of {} octets", packet.len());
    message.map(|message| (located, message))
}

/// What is accepted says the same when it is sent again.
fn take(located: &Located, message: &[u8], version: Version, authentication: Authentication) {
    let Ok(advert) = decode(&located.envelope, message, version, authentication) else { return };
    assert_eq!(Some(advert.vrid), peek_vrid(message));
    assert!(!advert.interval.is_zero());
    let addresses: Vec<IpAddr> = advert.addresses().collect();
    assert_eq!(addresses.len(), usize::from(message[3]));
    let outgoing = Outgoing {
        version,
        vrid: advert.vrid,
        priority: advert.priority,
        interval: advert.interval,
        addresses: &addresses,
        authentication,
        checksum_form: advert.checksum_form,
        source: located.envelope.source,
        destination: located.envelope.destination,
    };
    let mut buffer = vec![0; LONGEST];
    let length = encode(&outgoing, &mut buffer);
    assert_eq!(length, Ok(message.len()));
    let again = decode(&located.envelope, &buffer[..message.len()], version, authentication);
    assert!(again.is_ok(), "{again:?}");
    if let Ok(again) = again {
        assert_eq!((again.vrid, again.priority, again.interval), (advert.vrid, advert.priority, advert.interval));
        assert!(again.addresses().eq(addresses));
        // Where both sums are right the first is reported.
        assert!(again.checksum_form == advert.checksum_form || again.checksum_form == ChecksumForm::MessageOnly);
    }
}
