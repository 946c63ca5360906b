use std::io::Cursor;

use super::*;

fn host() -> Vec<HostAddress> {
    [("eth0", "192.0.2.1", 24), ("eth0", "fe80::1", 64), ("wg0", "10.8.0.2", 16)]
        .map(|(interface, address, prefix)| HostAddress {
            interface: interface.to_owned(),
            address: address.parse().unwrap(),
            prefix,
        })
        .to_vec()
}

fn answer(options: &Options, answers: &str) -> (Result<Pair>, String) {
    let (mut answers, mut questions) = (Cursor::new(answers.to_owned()), Vec::new());
    let pair = settle(options, &host(), &mut Dialogue::with(&mut answers, &mut questions));
    (pair, String::from_utf8(questions).unwrap())
}

fn complete() -> Options {
    Options {
        interface: Some("eth0".to_owned()),
        address: Some("192.0.2.10/24".to_owned()),
        source: Some("192.0.2.1".parse().unwrap()),
        peer: Some("192.0.2.2".parse().unwrap()),
        endpoint: Some("127.0.0.1:3306".to_owned()),
        ..Options::default()
    }
}

#[test]
fn what_is_given_is_not_asked_for() {
    let (pair, questions) = answer(&complete(), "");
    assert_eq!(questions, "");
    let pair = pair.unwrap();
    assert_eq!((pair.address.prefix, pair.vrid, pair.endpoint.as_str()), (24, 51, "127.0.0.1:3306"));
}

#[test]
fn the_peer_leads_to_interface_and_source_and_the_network_to_the_prefix() {
    let options = Options { peer: Some("10.8.3.4".parse().unwrap()), ..Options::default() };
    let (pair, questions) = answer(&options, "\n\n10.8.0.100\n\n");
    let pair = pair.unwrap();
    assert_eq!(pair.this, Side { interface: "wg0".to_owned(), source: "10.8.0.2".parse().unwrap() });
    assert_eq!(pair.address.to_string(), "10.8.0.100/16");
    assert_eq!(pair.endpoint, "/run/mysqld/mysqld.sock");
    assert!(questions.contains("[wg0]") && questions.contains("[10.8.0.2]"), "{questions}");
}

#[test]
fn a_wrong_answer_is_explained_and_asked_again_three_times() {
    let options = Options { peer: None, ..complete() };
    let (pair, questions) = answer(&options, "db2\n192.0.2.2\n");
    assert_eq!(pair.unwrap().twin.source, "192.0.2.2".parse::<IpAddr>().unwrap());
    assert!(questions.contains("\"db2\" is no IPv4 or IPv6 address"), "{questions}");
    let (pair, _) = answer(&options, "a\nb\nc\n192.0.2.2\n");
    assert_eq!(pair.unwrap_err().to_string(), "no answer for --peer after 3 attempts");
    let (pair, _) = answer(&options, "");
    assert_eq!(pair.unwrap_err().to_string(), "no answer for --peer");
}

#[test]
fn an_address_outside_of_every_network_needs_its_prefix() {
    let options = Options { address: Some("198.51.100.7".to_owned()), ..complete() };
    let error = answer(&options, "").0.unwrap_err().to_string();
    assert_eq!(error, "198.51.100.7 is in no network of eth0: say the length of its prefix, as in 198.51.100.7/24");
    for (text, told) in [("192.0.2.10/33", "1..=32"), ("192.0.2.10/x", "1..=32"), ("2001:db8::1/129", "1..=128")] {
        assert!(parse_address(text).unwrap_err().to_string().contains(told), "{text}");
    }
}
