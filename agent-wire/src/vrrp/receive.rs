use core::net::IpAddr;
use core::time::Duration;

use super::{
    ADVERTISEMENT, AUTHENTICATION, Authentication, Envelope, FIXED, GROUP_V4, GROUP_V6, TRAILER, Version, summed,
};
use crate::checksum::{self, ChecksumForm, VRRP_PROTOCOL};
use crate::map::{self, MAX_PEERS, RouterConfig};
use crate::{Centiseconds, Priority, Refusal, Vrid};

/// What the checks read on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    pub vrid: Vrid,
    pub priority: Priority,
    pub interval: Duration,
    pub count: u8,
    pub checksum_form: ChecksumForm,
}

/// Every check of an advertisement for a virtual router but that of its HMAC, in the order of [`Refusal`]: the one copy
/// of them, for XDP and for the sockets.
///
/// Loops are bounded by `MAX` octets; a longer message fails its checksum.
#[inline(always)]
pub fn check<const MAX: usize>(envelope: &Envelope, message: &[u8], router: &RouterConfig) -> Result<Checked, Refusal> {
    if !is_for(envelope, router) {
        return Err(Refusal::Destination);
    }
    let checked = examine::<MAX>(envelope, message, router.version(), router.authentication())?;
    if router.version() == Version::V2 && checked.interval.as_secs() != u64::from(router.interval_s) {
        return Err(Refusal::Interval);
    }
    let source = map::octets(envelope.source);
    if source == router.own {
        return Err(Refusal::OwnSource);
    }
    if router.peer_count > 0 && !is_peer(&source, router) {
        return Err(Refusal::Source);
    }
    Ok(checked)
}

/// Whether an advertisement came the way that the router's peers send it.
#[inline(always)]
fn is_for(envelope: &Envelope, router: &RouterConfig) -> bool {
    if router.peer_count > 0 {
        return map::octets(envelope.destination) == router.own;
    }
    match envelope.destination {
        IpAddr::V4(destination) => destination == GROUP_V4,
        IpAddr::V6(destination) => destination == GROUP_V6,
    }
}

#[inline(always)]
fn is_peer(source: &[u8; 16], router: &RouterConfig) -> bool {
    let mut index = 0;
    while index < MAX_PEERS {
        if index < router.peer_count as usize && router.peers[index] == *source {
            return true;
        }
        index += 1;
    }
    false
}

/// The checks that a packet can be given by itself.
#[inline(always)]
pub(super) fn examine<const MAX: usize>(
    envelope: &Envelope,
    message: &[u8],
    version: Version,
    authentication: Authentication,
) -> Result<Checked, Refusal> {
    if envelope.hop_limit != 255 {
        return Err(Refusal::HopLimit);
    }
    if message.len() < FIXED {
        return Err(Refusal::TooShort);
    }
    let number = match version {
        Version::V2 => 2,
        Version::V3 => 3,
    };
    if message[0] >> 4 != number {
        return Err(Refusal::Version);
    }
    let v6 = envelope.source.is_ipv6();
    if v6 && version == Version::V2 {
        return Err(Refusal::Version);
    }
    if message[0] & 0x0f != ADVERTISEMENT {
        return Err(Refusal::Type);
    }
    let count = message[3];
    let body = FIXED + usize::from(count) * if v6 { 16 } else { 4 };
    let expected = body + authentication.trailing(version);
    if message.len() != expected {
        // With a trailer that is not configured, or without one that is.
        let other = version == Version::V3 && (message.len() == body || message.len() == body + TRAILER);
        return Err(if other { Refusal::Trailer } else { Refusal::Length });
    }
    let Some(vrid) = Vrid::new(message[1]) else { return Err(Refusal::Vrid) };
    if count == 0 {
        return Err(Refusal::NoAddress);
    }
    let Some(interval) = interval(message, version) else { return Err(Refusal::NoInterval) };
    let summed = summed(version, v6, body, message.len());
    let Some(octets) = message.get(..summed) else { return Err(Refusal::Length) };
    let sum = checksum::add::<MAX>(0, octets);
    let checksum_form = if !v6 && checksum::finish(sum) == 0 {
        ChecksumForm::MessageOnly
    } else if version == Version::V3 && with_pseudo_header_is_right(envelope, sum, summed) {
        ChecksumForm::PseudoHeader
    } else {
        return Err(Refusal::Checksum);
    };
    if version == Version::V2 && !is_authentic(message, body, authentication) {
        return Err(Refusal::Authentication);
    }
    Ok(Checked { vrid, priority: Priority::new(message[2]), interval, count, checksum_form })
}

/// `None` for an interval of zero.
#[inline(always)]
fn interval(message: &[u8], version: Version) -> Option<Duration> {
    match version {
        Version::V2 if message[5] == 0 => None,
        Version::V2 => Some(Duration::from_secs(message[5] as u64)),
        // The upper four bits are reserved and ignored on receipt (RFC 9568 §5.2.6).
        Version::V3 => {
            Centiseconds::new(u16::from_be_bytes([message[4] & 0x0f, message[5]])).map(Centiseconds::as_duration)
        }
    }
}

/// Version 2: the type is the configured one, and the data is; that of type 0 is ignored (RFC 3768 §5.3.6).
#[inline(always)]
fn is_authentic(message: &[u8], body: usize, authentication: Authentication) -> bool {
    if message[4] != authentication.kind() {
        return false;
    }
    let Authentication::Password(password) = authentication else { return true };
    match message.get(body..body + AUTHENTICATION) {
        Some(data) => *data == password,
        None => false,
    }
}

#[inline(always)]
fn with_pseudo_header_is_right(envelope: &Envelope, sum: u32, length: usize) -> bool {
    #[expect(clippy::cast_possible_truncation, reason = "at most LONGEST, which the length check saw to")]
    let length = length as u16;
    checksum::finish(sum + checksum::pseudo_header(envelope.source, envelope.destination, VRRP_PROTOCOL, length)) == 0
}
