//! How advertisements prove who sent them: the passwords of version 2, the keys of version 3, signing and verifying.

mod keys;

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use agent_wire::Refusal;
use agent_wire::vrrp::trailer::{self, Stamp};
use agent_wire::vrrp::{self};

pub use keys::{Key, Keys};

use crate::secret::{self, Secret};

/// The least freshness window: what clocks that are kept by NTP differ by, with much to spare.
const LEAST_WINDOW: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Secret(#[from] secret::Error),
    #[error("{path}: a VRRPv2 password has at most 8 octets")]
    Password { path: String },
    #[error("{path}, line {line}: {problem}")]
    Key { path: String, line: usize, problem: &'static str },
}

/// What the configuration says of a virtual router, with the secrets read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    None,
    /// Version 2: eight octets that everybody on the LAN can read.
    Password([u8; 8]),
    /// Version 3: HMAC-SHA256 (draft-cassen-vrrp-auth-hmac).
    Hmac(Keys),
}

impl Authentication {
    /// Reads the password of version 2.
    pub fn read_password(path: &Path) -> Result<Self, Error> {
        let secret = Secret::read(path)?;
        let bytes = secret.expose().as_bytes();
        let mut password = [0; 8];
        match password.get_mut(..bytes.len()) {
            Some(octets) => octets.copy_from_slice(bytes),
            None => return Err(Error::Password { path: path.display().to_string() }),
        }
        Ok(Self::Password(password))
    }

    /// Reads the keys of version 3.
    pub fn read_keys(path: &Path) -> Result<Self, Error> {
        let secret = Secret::read(path)?;
        let keys = Keys::parse(secret.expose());
        keys.map(Self::Hmac).map_err(|(line, problem)| Error::Key { path: path.display().to_string(), line, problem })
    }

    /// As the message carries it.
    #[must_use]
    pub const fn on_the_wire(&self) -> vrrp::Authentication {
        match self {
            Self::None => vrrp::Authentication::None,
            Self::Password(password) => vrrp::Authentication::Password(*password),
            Self::Hmac(_) => vrrp::Authentication::Hmac,
        }
    }

    /// What signs the advertisements of a router, where they are signed.
    #[must_use]
    pub fn signer(&self, interval: Duration) -> Option<Signer> {
        let Self::Hmac(keys) = self else { return None };
        Some(Signer { keys: keys.clone(), window: window(interval), last: None })
    }

    /// What verifies the advertisements for a router, where they are signed.
    #[must_use]
    pub fn verifier(&self, interval: Duration) -> Option<Verifier> {
        let Self::Hmac(keys) = self else { return None };
        Some(Verifier { keys: keys.clone(), window: window(interval), newest: Vec::new() })
    }
}

/// How far a stamp may be from the receiver's clock: three intervals, but 5 s at least.
fn window(interval: Duration) -> Duration {
    (3 * interval).max(LEAST_WINDOW)
}

/// Signs the advertisements of one router.
#[derive(Debug)]
pub struct Signer {
    keys: Keys,
    window: Duration,
    last: Option<Stamp>,
}

impl Signer {
    /// Fills the trailer of an encoded message; `now` is the time since 1970. `None`: the message has no room for one.
    ///
    /// The stamps rise with every message, and by the clock also over a restart of the agent.
    pub fn sign(&mut self, source: IpAddr, destination: IpAddr, message: &mut [u8], now: Duration) -> Option<()> {
        let stamp = self.stamp(Stamp::at(now));
        let key = self.keys.to_sign();
        trailer::sign(source, destination, message, key.id(), stamp, |covered| key.hmac(&covered))
    }

    fn stamp(&mut self, now: Stamp) -> Stamp {
        let stamp = match self.last {
            // The clock was set back, by little or by so much that receivers would take no stamp of before.
            Some(last) if !now.is_after(last) && last.distance(now) <= self.window => last.next(),
            Some(_) | None => now,
        };
        self.last = Some(stamp);
        stamp
    }
}

/// Verifies the advertisements for one router, those of each source apart.
#[derive(Debug)]
pub struct Verifier {
    keys: Keys,
    window: Duration,
    /// By source, the newest stamp that was accepted.
    newest: Vec<(IpAddr, Stamp)>,
}

impl Verifier {
    /// Verifies a message that passed the receive checks; `arrived` is the time since 1970 at its arrival.
    pub fn verify(&mut self, source: IpAddr, message: &[u8], arrived: Duration) -> Result<(), Refusal> {
        let trailer = trailer::read(message)?;
        let key = self.keys.find(trailer.key_id).ok_or(Refusal::HmacKey)?;
        if !key.verify(source, message, &trailer.hmac) {
            return Err(Refusal::Hmac);
        }
        let (now, window) = (Stamp::at(arrived), self.window);
        if trailer.stamp.distance(now) > window {
            return Err(Refusal::Stale);
        }
        // What is out of the window cannot come again; it goes, too, after a clock was set back.
        self.newest.retain(|(_, stamp)| stamp.distance(now) <= window);
        match self.newest.iter_mut().find(|(of, _)| *of == source) {
            Some((_, newest)) if !trailer.stamp.is_after(*newest) => return Err(Refusal::Replay),
            Some((_, newest)) => *newest = trailer.stamp,
            None => self.newest.push((source, trailer.stamp)),
        }
        Ok(())
    }
}

/// Says what is wrong with a file of keys or with a password, if it is there and something is.
#[must_use]
pub fn complaint(path: &Path, read: impl FnOnce(&Path) -> Result<Authentication, Error>) -> Option<String> {
    if !secret::locate(path).exists() {
        return None;
    }
    match read(path).err()? {
        Error::Secret(_) => secret::complaint(path),
        error @ (Error::Password { .. } | Error::Key { .. }) => Some(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
