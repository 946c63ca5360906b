//! Says when another node is refused for what a person must put right: a node that is not heard is thought dead, and
//! both hold the address.

use std::time::Duration;

use agent_core::Instant;
use agent_wire::Refusal;

use crate::datapath::Counters;

/// How often the same is said again while it lasts.
const AGAIN: Duration = Duration::from_secs(60);

/// What was refused up to now, and what of it was said.
#[derive(Debug, Default)]
pub struct Unheard {
    seen: Option<Counters>,
    said: Vec<(Refusal, Instant)>,
}

impl Unheard {
    /// What is to be said at this look at the counters; the first look is the start.
    pub fn look(&mut self, now: Instant, counters: Counters) -> Vec<String> {
        let before = self.seen.replace(counters).unwrap_or(counters);
        self.said.retain(|&(_, at)| now.saturating_since(at) < AGAIN);
        let mut sentences = Vec::new();
        for (refusal, count) in counters.refusals() {
            let Some(cause) = cause(refusal) else { continue };
            if count > before.refused(refusal) && self.said.iter().all(|&(said, _)| said != refusal) {
                self.said.push((refusal, now));
                sentences.push(format!(
                    "advertisements of another node are refused ({}): {cause}; until then each of the two takes the \
                     address",
                    refusal.as_str()
                ));
            }
        }
        sentences
    }
}

/// What to put right, for a refusal that two nodes of one virtual router meet when they are configured apart.
const fn cause(refusal: Refusal) -> Option<&'static str> {
    match refusal {
        Refusal::Version => Some("set the same version on all nodes"),
        Refusal::Trailer => Some("set authentication of type hmac-sha256 on all nodes or on none"),
        Refusal::Authentication => Some("set the same password on all nodes, or none"),
        Refusal::Interval => Some("version 2 wants the same advertisement_interval on all nodes"),
        Refusal::Source => Some("name every other node in peers, or find out who else uses this vrid"),
        Refusal::HmacKey => Some("give all nodes the same key_file"),
        Refusal::Hmac => Some("give all nodes the same key_file, or find out who forges them"),
        Refusal::Stale => Some("the clocks differ, run NTP on all nodes"),
        Refusal::Truncated
        | Refusal::Fragment
        | Refusal::Destination
        | Refusal::HopLimit
        | Refusal::TooShort
        | Refusal::Type
        | Refusal::Length
        | Refusal::Vrid
        | Refusal::NoAddress
        | Refusal::NoInterval
        | Refusal::Checksum
        | Refusal::OwnSource
        | Refusal::Replay => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(refused: &[(Refusal, u64)]) -> Counters {
        let mut counters = Counters::default();
        for &(refusal, count) in refused {
            (0..count).for_each(|_| counters.count_refusal(refusal));
        }
        counters
    }

    #[test]
    fn a_cause_is_said_once_a_minute_while_it_lasts() {
        let second = |number: u64| Instant::from_nanos(number * 1_000_000_000);
        let mut unheard = Unheard::default();
        // What an agent before this one counted is old.
        assert!(unheard.look(second(1), counters(&[(Refusal::Stale, 7)])).is_empty());
        assert!(unheard.look(second(2), counters(&[(Refusal::Stale, 7), (Refusal::Replay, 1)])).is_empty());
        let said = unheard.look(second(3), counters(&[(Refusal::Stale, 8)]));
        assert!(said.len() == 1 && said[0].contains("(stale): the clocks differ"), "{said:?}");
        assert!(unheard.look(second(4), counters(&[(Refusal::Stale, 9)])).is_empty());
        assert_eq!(unheard.look(second(5), counters(&[(Refusal::Stale, 9), (Refusal::Hmac, 1)])).len(), 1);
        assert!(unheard.look(second(63), counters(&[(Refusal::Stale, 9), (Refusal::Hmac, 1)])).is_empty(), "no more");
        assert_eq!(unheard.look(second(64), counters(&[(Refusal::Stale, 10), (Refusal::Hmac, 1)])).len(), 1);
    }
}
