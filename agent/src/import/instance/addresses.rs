use std::net::IpAddr;

use super::super::blocks::{Notes, Statement};
use super::super::lexer::Word;

/// The entries of a list, one a line, or all on the line of the keyword.
pub(super) fn entries(list: &Statement) -> impl Iterator<Item = &[Word]> {
    let inline = Some(list.arguments()).filter(|words| !words.is_empty());
    inline.into_iter().chain(list.children().iter().map(|child| child.words.as_slice()))
}

/// Several peers may stand on one line.
pub(super) fn peers(list: &Statement, notes: &mut Notes) -> Vec<String> {
    let mut peers = Vec::new();
    for words in entries(list) {
        for word in words {
            if word.text.parse::<IpAddr>().is_ok() {
                peers.push(word.text.clone());
            } else if !word.text.bytes().all(|byte| byte.is_ascii_digit()) {
                notes.add(word.at, format!("{} of a peer: no equal; not imported", word.text));
            }
        }
    }
    peers
}

/// The virtual addresses of the family of the first, and whether that is IPv6.
pub(super) fn read(list: &Statement, interface: Option<&str>, notes: &mut Notes) -> (Vec<String>, bool) {
    let mut found: Vec<String> = Vec::new();
    let mut is_ipv6 = None;
    for words in entries(list) {
        let mut words = words.iter().peekable();
        while let Some(word) = words.next() {
            if let Some(address) = address_of(&word.text) {
                let family = *is_ipv6.get_or_insert(address.is_ipv6());
                if family == address.is_ipv6() {
                    found.push(word.text.clone());
                } else {
                    notes.add(
                        word.at,
                        format!(
                            "{}: of another family than the first address; not imported. Give it a [[virtual_router]] of \
                             its own, which may have the same vrid",
                            word.text
                        ),
                    );
                }
                continue;
            }
            let takes_value = matches!(
                word.text.as_str(),
                "dev" | "brd" | "broadcast" | "scope" | "label" | "peer" | "preferred_lft" | "metric" | "track_group"
            );
            let value = if takes_value { words.next().map_or("", |it| it.text.as_str()) } else { "" };
            match word.text.as_str() {
                "dev" if Some(value) == interface => {}
                "dev" => notes.add(
                    word.at,
                    format!("dev {value}: no equal; vipd adds the address to the interface of its virtual router"),
                ),
                "brd" | "broadcast" | "scope" | "label" | "peer" | "preferred_lft" | "metric" | "home"
                | "mngtmpaddr" | "nodad" | "-nodad" | "noprefixroute" | "no_track" | "track_group" | "use_vmac" => {
                    notes.add(word.at, format!("{} of an address: no equal; left out", word.text));
                }
                _ => notes.add(word.at, "neither an address nor a keyword of one; not imported"),
            }
        }
    }
    (found, is_ipv6.unwrap_or(false))
}

fn address_of(text: &str) -> Option<IpAddr> {
    text.split_once('/').map_or(text, |(address, _)| address).parse().ok()
}
