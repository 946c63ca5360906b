use std::net::IpAddr;
use std::time::Duration;

use agent_wire::Refusal;
use agent_wire::vrrp::{Authentication as OnTheWire, Envelope, Version, decode};

use super::*;

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const OTHER_KEY: &str = "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// The examples of draft-cassen-vrrp-auth-hmac: priority 200, 0x68000000 and a half seconds, computed independently.
const V4: &str = "3133c80100644402c0000264010100006800000080000000\
                  1b84bc4e8e43892dc6d98448f8ee2265";
const V6: &str = "3133c8010064a2e9fe800000000000000000000000000100010100006800000080000000\
                  c8c56146ebfd66ee10ec4d8186461b78";
const SECOND: Duration = Duration::from_secs(1);
const SIGNED_AT: Duration = Duration::from_millis(0x6800_0000 * 1000 + 500);

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn examples() -> [(Vec<u8>, IpAddr, IpAddr); 2] {
    [
        (bytes(V4), address("198.51.100.10"), address("192.0.2.10")),
        (bytes(V6), address("fe80::10"), address("fe80::20")),
    ]
}

fn authentication(keys: &str) -> Authentication {
    Authentication::Hmac(Keys::parse(keys).unwrap())
}

fn verifier() -> Verifier {
    authentication(KEY).verifier(SECOND).unwrap()
}

#[test]
fn the_examples_of_the_draft_pass_every_check() {
    for (message, source, destination) in examples() {
        let envelope = Envelope { source, destination, hop_limit: 255 };
        let advert = decode(&envelope, &message, Version::V3, OnTheWire::Hmac).unwrap();
        assert_eq!((advert.priority.as_u8(), advert.interval), (200, SECOND));
        assert_eq!(verifier().verify(source, &message, SIGNED_AT), Ok(()));
    }
}

#[test]
fn what_the_draft_signs_is_signed_to_the_same_octets() {
    for (expected, source, destination) in examples() {
        let mut message = expected.clone();
        let at = message.len() - 28;
        message[at..].fill(0);
        let mut signer = authentication(KEY).signer(SECOND).unwrap();
        signer.sign(source, destination, &mut message, SIGNED_AT).unwrap();
        assert_eq!(message, expected);
    }
}

#[test]
fn a_change_of_any_signed_octet_is_refused() {
    for (message, source, _) in examples() {
        let trailer = message.len() - 28;
        for at in 0..message.len() {
            let mut changed = message.clone();
            changed[at] ^= 1;
            let expected = match at {
                // The checksum: it is checked apart.
                6 | 7 => Ok(()),
                _ if at == trailer || at == trailer + 2 || at == trailer + 3 => Err(Refusal::Trailer),
                _ if at == trailer + 1 => Err(Refusal::HmacKey),
                _ => Err(Refusal::Hmac),
            };
            assert_eq!(verifier().verify(source, &changed, SIGNED_AT), expected, "octet {at}");
        }
        assert_eq!(verifier().verify(address("198.51.100.11"), &message, SIGNED_AT), Err(Refusal::Hmac));
        assert_eq!(verifier().verify(address("fe80::11"), &message, SIGNED_AT), Err(Refusal::Hmac));
        assert_eq!(verifier().verify(source, &message[..27], SIGNED_AT), Err(Refusal::Trailer));
    }
}

#[test]
fn a_repeated_or_an_earlier_one_is_refused_for_each_source_by_itself() {
    let source = address("192.0.2.1");
    let other = address("192.0.2.2");
    let mut signer = authentication(KEY).signer(SECOND).unwrap();
    let mut signed = |from, at| {
        let mut message = bytes(V4);
        signer.sign(from, address("224.0.0.18"), &mut message, at).unwrap();
        message
    };
    let messages = [signed(source, SIGNED_AT), signed(source, SIGNED_AT), signed(source, SIGNED_AT + SECOND)];
    let elsewhere = signed(other, SIGNED_AT);
    let mut verifier = verifier();
    assert_eq!(verifier.verify(source, &messages[0], SIGNED_AT), Ok(()));
    assert_eq!(verifier.verify(source, &messages[0], SIGNED_AT), Err(Refusal::Replay));
    assert_eq!(verifier.verify(source, &messages[2], SIGNED_AT), Ok(()));
    assert_eq!(verifier.verify(source, &messages[1], SIGNED_AT), Err(Refusal::Replay), "overtaken");
    assert_eq!(verifier.verify(other, &elsewhere, SIGNED_AT), Ok(()));
}

#[test]
fn one_from_outside_the_window_is_stale_by_the_receivers_clock() {
    let (message, source, _) = &examples()[0];
    let cases = [
        (SIGNED_AT + 5 * SECOND, SECOND, Ok(())),
        (SIGNED_AT - 5 * SECOND, SECOND, Ok(())),
        (SIGNED_AT + Duration::from_millis(5001), SECOND, Err(Refusal::Stale)),
        (SIGNED_AT - Duration::from_millis(5001), SECOND, Err(Refusal::Stale)),
        // Three intervals, where that is more.
        (SIGNED_AT + 30 * SECOND, 10 * SECOND, Ok(())),
        (SIGNED_AT + 31 * SECOND, 10 * SECOND, Err(Refusal::Stale)),
    ];
    for (arrived, interval, expected) in cases {
        let mut verifier = authentication(KEY).verifier(interval).unwrap();
        assert_eq!(verifier.verify(*source, message, arrived), expected, "{arrived:?} {interval:?}");
    }
}

#[test]
fn clocks_that_are_set_back_lock_nobody_out() {
    let (source, destination) = (address("192.0.2.1"), address("192.0.2.2"));
    let mut signer = authentication(KEY).signer(SECOND).unwrap();
    let mut verifier = verifier();
    let mut exchange = |sent, arrived| {
        let mut message = bytes(V4);
        signer.sign(source, destination, &mut message, sent).unwrap();
        verifier.verify(source, &message, arrived)
    };
    let hour = 3600 * SECOND;
    assert_eq!(exchange(SIGNED_AT + hour, SIGNED_AT + hour), Ok(()));
    // The receiver's goes first, then the sender's.
    assert_eq!(exchange(SIGNED_AT + hour + SECOND, SIGNED_AT + SECOND), Err(Refusal::Stale));
    assert_eq!(exchange(SIGNED_AT + 2 * SECOND, SIGNED_AT + 2 * SECOND), Ok(()));
    // Less than the window: the sender counts on from its newest stamp.
    assert_eq!(exchange(SIGNED_AT, SIGNED_AT), Ok(()));
    assert_eq!(exchange(SIGNED_AT, SIGNED_AT), Ok(()));
    assert_eq!(exchange(SIGNED_AT + 3 * SECOND, SIGNED_AT + 3 * SECOND), Ok(()));
}

#[test]
fn a_sender_that_starts_anew_goes_on_by_its_clock() {
    let (source, destination) = (address("192.0.2.1"), address("192.0.2.2"));
    let mut verifier = verifier();
    for start in 0..3 {
        let mut signer = authentication(KEY).signer(SECOND).unwrap();
        let mut message = bytes(V4);
        let now = SIGNED_AT + start * Duration::from_millis(1);
        signer.sign(source, destination, &mut message, now).unwrap();
        assert_eq!(verifier.verify(source, &message, now), Ok(()));
    }
}

#[test]
fn keys_roll_over_without_a_refusal() {
    let (source, destination) = (address("192.0.2.1"), address("192.0.2.2"));
    let old = authentication(KEY);
    let both = authentication(&format!("{KEY}\n2:{OTHER_KEY}\n"));
    let new_first = authentication(&format!("2:{OTHER_KEY}\n1:{KEY}\n"));
    let new = authentication(&format!("2: {OTHER_KEY}"));
    let steps = [
        (&old, &both, Ok(())),
        (&both, &old, Ok(())),
        (&new_first, &both, Ok(())),
        (&both, &new_first, Ok(())),
        (&new, &new_first, Ok(())),
        (&new_first, &new, Ok(())),
        (&new_first, &old, Err(Refusal::HmacKey)),
        (&old, &new, Err(Refusal::HmacKey)),
        (&old, &authentication(OTHER_KEY), Err(Refusal::Hmac)),
    ];
    for (step, (sender, receiver, expected)) in steps.into_iter().enumerate() {
        let mut message = bytes(V4);
        sender.signer(SECOND).unwrap().sign(source, destination, &mut message, SIGNED_AT).unwrap();
        let verified = receiver.verifier(SECOND).unwrap().verify(source, &message, SIGNED_AT);
        assert_eq!(verified, expected, "step {step}");
    }
}

#[test]
fn a_line_that_is_no_key_is_named_and_not_shown() {
    let short = &KEY[..62];
    let cases = [
        (short.to_owned(), 1),
        (format!("{KEY}\n\n{short}"), 3),
        (format!("{KEY}00"), 1),
        (format!("g{}", &KEY[1..]), 1),
        (format!("0:{KEY}"), 1),
        (format!("256:{KEY}"), 1),
        (format!("+2:{KEY}"), 1),
        (format!("{KEY}\n{OTHER_KEY}"), 2),
        (format!("{KEY}\n1:{OTHER_KEY}"), 2),
        (" \n".to_owned(), 1),
    ];
    for (text, line) in cases {
        let (at, problem) = Keys::parse(&text).unwrap_err();
        assert_eq!(at, line, "{text:?}");
        assert!(!problem.contains("0001") && (problem.contains("64 hex digits") || problem.contains("id of its own")));
    }
    assert!(Keys::parse(&format!("  {KEY}\r\n\n 255:{OTHER_KEY} \n")).is_ok());
    let shown = format!("{:?}", authentication(KEY));
    assert!(!shown.contains("31") && !shown.contains("1f"), "{shown}");
}
