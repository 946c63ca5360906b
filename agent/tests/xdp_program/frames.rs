//! The frames that the tests put in.

use std::net::IpAddr;
use std::time::Duration;

use agent_wire::checksum::{self, ChecksumForm};
use agent_wire::vrrp::{Authentication, Outgoing, Version, encode};
use agent_wire::{Priority, Vrid};

use crate::{MAC, VIP, address};

pub(crate) fn ethernet(kind: u16) -> Vec<u8> {
    let mut frame = vec![1, 0, 0x5e, 0, 0, 18];
    frame.extend(MAC);
    frame.extend(kind.to_be_bytes());
    frame
}

pub(crate) fn ipv4(source: [u8; 4], destination: [u8; 4], protocol: u8, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = ethernet(0x0800);
    frame.extend([0x45, 0xc0]);
    frame.extend((20 + payload.len() as u16).to_be_bytes());
    frame.extend([0, 1, 0, 0, ttl, protocol, 0, 0]);
    frame.extend(source);
    frame.extend(destination);
    let sum = checksum::finish(checksum::add::<20>(0, &frame[14..34]));
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame.extend(payload);
    frame
}

pub(crate) fn ipv6(source: &str, destination: &str, next_header: u8, hop_limit: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = ethernet(0x86dd);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend((payload.len() as u16).to_be_bytes());
    frame.extend([next_header, hop_limit]);
    for address in [source, destination] {
        frame.extend(address.parse::<std::net::Ipv6Addr>().unwrap().octets());
    }
    frame.extend(payload);
    frame
}

pub(crate) fn message(
    vrid: u8,
    version: Version,
    source: IpAddr,
    destination: IpAddr,
    addresses: &[IpAddr],
) -> Vec<u8> {
    encoded(vrid, version, source, destination, addresses, |_| {})
}

pub(crate) fn encoded(
    vrid: u8,
    version: Version,
    source: IpAddr,
    destination: IpAddr,
    addresses: &[IpAddr],
    change: impl Fn(&mut Outgoing<'_>),
) -> Vec<u8> {
    let mut buffer = [0; 2000];
    let mut outgoing = Outgoing {
        version,
        vrid: Vrid::new(vrid).unwrap(),
        priority: Priority::new(110),
        interval: Duration::from_secs(1),
        addresses,
        authentication: Authentication::None,
        checksum_form: ChecksumForm::PseudoHeader,
        source,
        destination,
    };
    change(&mut outgoing);
    let length = encode(&outgoing, &mut buffer).unwrap();
    buffer[..length].to_vec()
}

pub(crate) fn advert(vrid: u8, version: Version, source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
    let message = message(vrid, version, address(source), address(destination), &[address(VIP)]);
    ipv4(source, destination, 112, 255, &message)
}

/// One that differs from what [`advert`] makes.
pub(crate) fn odd_advert(
    vrid: u8,
    version: Version,
    source: [u8; 4],
    destination: [u8; 4],
    change: impl Fn(&mut Outgoing<'_>),
) -> Vec<u8> {
    let message = encoded(vrid, version, address(source), address(destination), &[address(VIP)], change);
    ipv4(source, destination, 112, 255, &message)
}

pub(crate) fn arp_request(sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut frame = ethernet(0x0806);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(MAC);
    frame.extend(sender);
    frame.extend([0; 6]);
    frame.extend(target);
    frame
}

pub(crate) fn tcp(flags: u8) -> [u8; 32] {
    let mut segment = [0; 32];
    segment[..4].copy_from_slice(&[0x9c, 0x40, 0x0c, 0xea]);
    segment[4..8].copy_from_slice(&1000_u32.to_be_bytes());
    segment[12] = 8 << 4;
    segment[13] = flags;
    segment
}
