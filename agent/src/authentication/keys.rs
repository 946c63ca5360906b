use std::fmt;
use std::net::IpAddr;

use agent_wire::vrrp::trailer::{self, HMAC};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// The length of a key in octets.
const LENGTH: usize = 32;

const FORM: &str = "a key is 64 hex digits, with its id of 1..=255 and a colon before them or without, which is id 1; \
                    make one with: vipd keygen";

/// One shared key; it never shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    id: u8,
    secret: [u8; LENGTH],
}

impl Key {
    #[must_use]
    pub const fn id(&self) -> u8 {
        self.id
    }

    /// The leading half of the HMAC-SHA256 of the parts, one behind the other.
    #[must_use]
    pub fn hmac(&self, parts: &[&[u8]]) -> [u8; HMAC] {
        let sum = self.sum(parts).finalize().into_bytes();
        sum.first_chunk().copied().unwrap_or_default()
    }

    /// Whether it is the HMAC of a message, compared in constant time.
    #[must_use]
    pub fn verify(&self, source: IpAddr, message: &[u8], hmac: &[u8; HMAC]) -> bool {
        trailer::hmac_of(source, message, |parts| self.sum(&parts).verify_truncated_left(hmac).is_ok()) == Some(true)
    }

    fn sum(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        // A key of one block at most is taken as it is, so that this is the key padded with zeros (RFC 2104 §2).
        let mut block = [0; 64];
        block[..LENGTH].copy_from_slice(&self.secret);
        let mut sum = Hmac::<Sha256>::new(&block.into());
        parts.iter().for_each(|part| sum.update(part));
        sum
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, ..)", self.id)
    }
}

/// The keys that the nodes of a virtual router share: the first signs, all verify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    first: Key,
    others: Vec<Key>,
}

impl Keys {
    /// Reads a key from each line that is not empty: `[id:]64-hex-digits`. An error is the number of the line and what
    /// is wrong there, without what stands there.
    pub fn parse(text: &str) -> Result<Self, (usize, &'static str)> {
        let mut keys: Vec<Key> = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() {
                continue;
            }
            let key = parse_key(text).ok_or((line, FORM))?;
            if keys.iter().any(|other| other.id == key.id) {
                return Err((line, "another line has a key of this id; write an id of its own before it, as in 2:..."));
            }
            keys.push(key);
        }
        let mut keys = keys.into_iter();
        let first = keys.next().ok_or((1, FORM))?;
        Ok(Self { first, others: keys.collect() })
    }

    #[must_use]
    pub const fn to_sign(&self) -> &Key {
        &self.first
    }

    #[must_use]
    pub fn find(&self, id: u8) -> Option<&Key> {
        std::iter::once(&self.first).chain(&self.others).find(|key| key.id == id)
    }
}

fn parse_key(text: &str) -> Option<Key> {
    let (id, digits) = match text.split_once(':') {
        Some((id, digits)) => (id.trim(), digits.trim()),
        None => ("1", text),
    };
    if !id.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let id = id.parse().ok().filter(|&id| id > 0)?;
    let digits: Vec<u8> = digits.chars().map(|digit| digit.to_digit(16)?.try_into().ok()).collect::<Option<_>>()?;
    if digits.len() != 2 * LENGTH {
        return None;
    }
    let mut secret = [0; LENGTH];
    for (octet, pair) in secret.iter_mut().zip(digits.chunks_exact(2)) {
        *octet = pair.iter().fold(0, |octet, digit| octet << 4 | digit);
    }
    Some(Key { id, secret })
}
