//! VRRP advertisements of version 2 (RFC 3768) and 3 (RFC 9568), for IPv4 and IPv6.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use crate::checksum::{self, ChecksumForm, VRRP_PROTOCOL};
use crate::{Centiseconds, Priority, Refusal, Vrid};

mod receive;
pub mod trailer;

pub use receive::{Checked, check};
use trailer::TRAILER;

/// The IPv4 group of VRRP (RFC 9568 §5.1.1.2).
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// The IPv6 group of VRRP (RFC 9568 §5.1.2.2).
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
/// The longest message: 255 IPv6 addresses and a trailer; version 2 is shorter.
pub const LONGEST: usize = FIXED + 255 * 16 + TRAILER;

const FIXED: usize = 8;
/// Version 2 always carries the authentication data, whatever the type (RFC 3768 §5.1).
const AUTHENTICATION: usize = 8;
const ADVERTISEMENT: u8 = 1;

/// The protocol version of a virtual router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// RFC 3768, IPv4 only, intervals in seconds.
    V2,
    /// RFC 9568, IPv4 and IPv6, intervals in centiseconds.
    V3,
}

/// What the IP layer said of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub hop_limit: u8,
}

/// An advertisement that passed every check a packet can be given by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertisement<'a> {
    pub version: Version,
    pub vrid: Vrid,
    pub priority: Priority,
    /// Max Advertise Interval in version 3, Adver Int in version 2; never zero.
    pub interval: Duration,
    /// Which of the two sums was right.
    pub checksum_form: ChecksumForm,
    addresses: &'a [u8],
    v6: bool,
}

impl Advertisement<'_> {
    /// The virtual addresses, in the order of the message.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let length = if self.v6 { 16 } else { 4 };
        self.addresses.chunks_exact(length).filter_map(|bytes| match bytes.len() {
            4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
            _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        })
    }
}

/// How the advertisements of a virtual router are authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    None,
    /// Version 2, RFC 2338 §5.3.6.2: eight octets in clear; no security, kept for migration.
    Password([u8; 8]),
    /// Version 3: a [`trailer`] with an HMAC, which is made and verified where the keys are.
    Hmac,
}

impl Authentication {
    const fn kind(self) -> u8 {
        match self {
            Self::None | Self::Hmac => 0,
            Self::Password(_) => 1,
        }
    }

    const fn data(self) -> [u8; 8] {
        match self {
            Self::None | Self::Hmac => [0; 8],
            Self::Password(password) => password,
        }
    }

    /// Octets behind the addresses of a message.
    #[inline(always)]
    const fn trailing(self, version: Version) -> usize {
        match (version, self) {
            (Version::V2, _) => AUTHENTICATION,
            (Version::V3, Self::Hmac) => TRAILER,
            (Version::V3, Self::None | Self::Password(_)) => 0,
        }
    }
}

/// The VRID of a message, before anything of it is believed.
#[inline(always)]
#[must_use]
pub fn peek_vrid(message: &[u8]) -> Option<Vrid> {
    if message.len() < 2 { None } else { Vrid::new(message[1]) }
}

/// Decodes a message, making the checks of RFC 9568 §7.1 that need no more than it; an HMAC is not verified.
pub fn decode<'a>(
    envelope: &Envelope,
    message: &'a [u8],
    version: Version,
    authentication: Authentication,
) -> Result<Advertisement<'a>, Refusal> {
    let checked = receive::examine::<LONGEST>(envelope, message, version, authentication)?;
    let v6 = envelope.source.is_ipv6();
    let length = usize::from(checked.count) * if v6 { 16 } else { 4 };
    Ok(Advertisement {
        version,
        vrid: checked.vrid,
        priority: checked.priority,
        interval: checked.interval,
        checksum_form: checked.checksum_form,
        addresses: message.get(FIXED..FIXED + length).unwrap_or_default(),
        v6,
    })
}

/// An advertisement to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    pub version: Version,
    pub vrid: Vrid,
    pub priority: Priority,
    /// Version 3: 10 ms to 40.95 s in steps of 10 ms; version 2: 1 s to 255 s in whole seconds.
    pub interval: Duration,
    /// All of the family of `source`; 1 to 255.
    pub addresses: &'a [IpAddr],
    pub authentication: Authentication,
    /// What the checksum of version 3 over IPv4 covers.
    pub checksum_form: ChecksumForm,
    pub source: IpAddr,
    pub destination: IpAddr,
}

/// Why an advertisement cannot be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// None, more than 255, or of another family than the source.
    Addresses,
    /// Not representable in the version.
    Interval,
    /// Version 2 knows IPv4 alone.
    Family,
    /// The buffer is shorter than the message.
    Buffer,
}

/// Encodes a message with its checksum; returns its length.
pub fn encode(outgoing: &Outgoing<'_>, buffer: &mut [u8]) -> Result<usize, EncodeError> {
    let v6 = outgoing.source.is_ipv6();
    if v6 && outgoing.version == Version::V2 {
        return Err(EncodeError::Family);
    }
    let count = u8::try_from(outgoing.addresses.len()).map_err(|_| EncodeError::Addresses)?;
    if count == 0 || outgoing.addresses.iter().any(|address| address.is_ipv6() != v6) {
        return Err(EncodeError::Addresses);
    }
    let address_length = if v6 { 16 } else { 4 };
    let body = FIXED + usize::from(count) * address_length;
    let length = body + outgoing.authentication.trailing(outgoing.version);
    let message = buffer.get_mut(..length).ok_or(EncodeError::Buffer)?;
    message.fill(0);
    message[1] = outgoing.vrid.as_u8();
    message[2] = outgoing.priority.as_u8();
    message[3] = count;
    match outgoing.version {
        Version::V2 => {
            message[0] = 2 << 4 | ADVERTISEMENT;
            message[4] = outgoing.authentication.kind();
            let whole = outgoing.interval.subsec_nanos() == 0;
            let seconds = u8::try_from(outgoing.interval.as_secs()).ok().filter(|&seconds| whole && seconds > 0);
            message[5] = seconds.ok_or(EncodeError::Interval)?;
            message[body..].copy_from_slice(&outgoing.authentication.data());
        }
        Version::V3 => {
            message[0] = 3 << 4 | ADVERTISEMENT;
            let interval = Centiseconds::from_duration(outgoing.interval).ok_or(EncodeError::Interval)?;
            message[4..6].copy_from_slice(&interval.as_u16().to_be_bytes());
        }
    }
    for (bytes, address) in message[FIXED..body].chunks_exact_mut(address_length).zip(outgoing.addresses) {
        match address {
            IpAddr::V4(address) => bytes.copy_from_slice(&address.octets()),
            IpAddr::V6(address) => bytes.copy_from_slice(&address.octets()),
        }
    }
    let pseudo = v6 || (outgoing.version == Version::V3 && outgoing.checksum_form == ChecksumForm::PseudoHeader);
    let summed = summed(outgoing.version, v6, body, length);
    let initial = if pseudo {
        let length = u16::try_from(summed).map_err(|_| EncodeError::Buffer)?;
        checksum::pseudo_header(outgoing.source, outgoing.destination, VRRP_PROTOCOL, length)
    } else {
        0
    };
    let sum = checksum::finish(checksum::add::<LONGEST>(initial, &message[..summed]));
    message[6..8].copy_from_slice(&sum.to_be_bytes());
    Ok(length)
}

/// How many octets the checksum covers: a trailer is outside of it over IPv4, and inside as all payload is over IPv6.
#[inline(always)]
const fn summed(version: Version, v6: bool, body: usize, length: usize) -> usize {
    match version {
        Version::V3 if !v6 => body,
        Version::V2 | Version::V3 => length,
    }
}
