//! The trailer that authenticates a message of version 3 (draft-cassen-vrrp-auth-hmac): its layout and what its HMAC
//! covers. The HMAC itself is computed by whoever holds the keys.

use core::net::IpAddr;
use core::time::Duration;

use super::{FIXED, LONGEST};
use crate::Refusal;
use crate::checksum::{self, VRRP_PROTOCOL};
use crate::map;

/// Octets of the trailer behind the addresses; the count field does not tell of it.
pub const TRAILER: usize = 28;
/// Octets of an HMAC-SHA256 as the trailer has it: the leading half.
pub const HMAC: usize = 16;

/// The scheme HMAC-SHA256, cut to 128 bits.
const HMAC_SHA256: u8 = 1;

/// When a message was signed: seconds since 1970 in 32 bits, a binary fraction in 16 and a counter in 16, which together
/// rise with every message of a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp(u64);

impl Stamp {
    /// The stamp of a moment, as a duration since 1970; the seconds wrap in 2106.
    #[must_use]
    pub const fn at(since_1970: Duration) -> Self {
        // 2^16 parts of a second.
        let fraction = (since_1970.subsec_nanos() as u64) * 65_536 / 1_000_000_000;
        Self((since_1970.as_secs() << 32) | (fraction << 16))
    }

    /// The least stamp that is later.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// Whether it is later than another, by the arithmetic of serial numbers (RFC 1982 §3.2).
    #[must_use]
    pub const fn is_after(self, other: Self) -> bool {
        let ahead = self.0.wrapping_sub(other.0);
        ahead != 0 && ahead < 1 << 63
    }

    /// How far apart the two are.
    #[must_use]
    pub const fn distance(self, other: Self) -> Duration {
        let apart = if self.is_after(other) { self.0.wrapping_sub(other.0) } else { other.0.wrapping_sub(self.0) };
        Duration::from_nanos((apart >> 32) * 1_000_000_000 + ((apart >> 16) & 0xffff) * 1_000_000_000 / 65_536)
    }
}

/// The fields of a trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Which of the shared keys signed; 1 to 255.
    pub key_id: u8,
    pub stamp: Stamp,
    pub hmac: [u8; HMAC],
}

/// What an HMAC is computed over, in this order.
pub type Covered<'a> = [&'a [u8]; 5];

/// Reads the trailer of a message that passed the receive checks; another scheme, or a reserved bit that is set, is
/// refused.
pub fn read(message: &[u8]) -> Result<Trailer, Refusal> {
    let (fields, hmac) = fields(message).ok_or(Refusal::Trailer)?;
    let [HMAC_SHA256, key_id, 0, 0, stamp @ ..] = *fields else { return Err(Refusal::Trailer) };
    Ok(Trailer { key_id, stamp: Stamp(u64::from_be_bytes(stamp)), hmac: *hmac })
}

fn fields(message: &[u8]) -> Option<(&[u8; TRAILER - HMAC], &[u8; HMAC])> {
    let (rest, hmac) = message.split_last_chunk()?;
    Some((rest.last_chunk()?, hmac))
}

/// What `mac` makes of the octets that the HMAC of a message covers; `None` for a message that is too short for one.
///
/// They are the family, the version, the VRID and the source, and then the message with the checksum and the HMAC as
/// zero.
pub fn hmac_of<T>(source: IpAddr, message: &[u8], mac: impl FnOnce(Covered<'_>) -> T) -> Option<T> {
    let (fixed, rest) = message.split_first_chunk::<FIXED>()?;
    let (rest, _) = rest.split_last_chunk::<HMAC>()?;
    let [version_and_type, vrid, priority, count, high, low, _, _] = *fixed;
    let family = if source.is_ipv6() { 6 } else { 4 };
    let before = [family, version_and_type >> 4, vrid, 0];
    let fixed = [version_and_type, vrid, priority, count, high, low, 0, 0];
    Some(mac([&before, &map::octets(source), &fixed, rest, &[0; HMAC]]))
}

/// Fills the trailer of a message that was encoded with [`Authentication::Hmac`](super::Authentication::Hmac), and puts
/// its checksum right; `None` for a message that has no room for one.
pub fn sign(
    source: IpAddr,
    destination: IpAddr,
    message: &mut [u8],
    key_id: u8,
    stamp: Stamp,
    mac: impl FnOnce(Covered<'_>) -> [u8; HMAC],
) -> Option<()> {
    let at = message.len().checked_sub(TRAILER).filter(|&at| at >= FIXED)?;
    let [a, b, c, d, e, f, g, h] = stamp.0.to_be_bytes();
    message.get_mut(at..at + TRAILER - HMAC)?.copy_from_slice(&[HMAC_SHA256, key_id, 0, 0, a, b, c, d, e, f, g, h]);
    let hmac = hmac_of(source, message, mac)?;
    *message.last_chunk_mut()? = hmac;
    if source.is_ipv6() {
        // All payload is in the sum of IPv6, the trailer too; over IPv4 it ends before it.
        let length = u16::try_from(message.len()).ok()?;
        message.get_mut(6..8)?.fill(0);
        let pseudo = checksum::pseudo_header(source, destination, VRRP_PROTOCOL, length);
        let sum = checksum::finish(checksum::add::<LONGEST>(pseudo, message));
        message.get_mut(6..8)?.copy_from_slice(&sum.to_be_bytes());
    }
    Some(())
}
