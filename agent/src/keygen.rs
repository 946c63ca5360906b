//! New keys for the peer link and for the authentication of advertisements.

use std::fmt::Write as _;

/// The length of a key in octets.
pub const KEY_LENGTH: usize = 32;

/// A new key from the kernel's random numbers, as 64 hex digits.
pub fn new_key() -> anyhow::Result<String> {
    let mut key = [0; KEY_LENGTH];
    getrandom::fill(&mut key).map_err(|error| anyhow::anyhow!("the kernel gave no random numbers: {error}"))?;
    let mut digits = String::with_capacity(2 * KEY_LENGTH);
    for octet in key {
        write!(digits, "{octet:02x}")?;
    }
    Ok(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_64_hex_digits_and_never_the_same_twice() {
        let (one, other) = (new_key().unwrap(), new_key().unwrap());
        for key in [&one, &other] {
            assert_eq!(key.len(), 64);
            assert!(key.bytes().all(|digit| digit.is_ascii_hexdigit()));
        }
        assert_ne!(one, other);
    }
}
