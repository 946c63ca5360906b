//! Says which advertisements are refused, and what is odd about those that are not, without being flooded by them.

use std::net::IpAddr;
use std::time::Duration;

use agent_core::{Advert, Instant};
use agent_wire::Refusal;

use crate::config::duration;
use crate::datapath::Counters;

/// How often the same is said again while it lasts.
const AGAIN: Duration = Duration::from_secs(60);

/// What was refused up to now, and what of it was said.
#[derive(Debug, Default)]
pub struct Unheard {
    seen: Option<Counters>,
    /// With the count of then.
    said: Vec<(Refusal, Instant, u64)>,
    /// The last other interval of each router, and whose it is.
    intervals: Vec<(usize, IpAddr, Duration)>,
}

impl Unheard {
    /// What is to be said at this look at the counters; the first look is the start.
    pub fn look(&mut self, now: Instant, counters: Counters) -> Vec<String> {
        let before = self.seen.replace(counters).unwrap_or(counters);
        let mut sentences = Vec::new();
        for (refusal, count) in counters.refusals() {
            let known = before.refused(refusal);
            if count <= known {
                continue;
            }
            let said = self.said.iter_mut().find(|(said, ..)| *said == refusal);
            let since = said.as_ref().map_or(known, |(_, _, then)| *then);
            match said {
                Some((_, at, _)) if now.saturating_since(*at) < AGAIN => continue,
                Some(said) => *said = (refusal, now, count),
                None => self.said.push((refusal, now, count)),
            }
            let (word, count) = (refusal.as_str(), count - since);
            sentences.push(match cause(refusal) {
                Cause::Apart(remedy) => format!(
                    "advertisements of another node are refused ({word}, {count} since the last word): {remedy}; until \
                     then each of the two takes the address"
                ),
                Cause::Stranger(what) => {
                    format!("packets are refused as advertisements ({word}, {count} since the last word): {what}")
                }
            });
        }
        sentences
    }

    /// What is to be said of an Active whose interval is another than this host's own; once for each.
    pub fn hear(&mut self, advert: &Advert, router: &str, own: Duration) -> Option<String> {
        let Advert { source, interval, .. } = *advert;
        let index = advert.router.0;
        let told = self.intervals.iter().position(|(of, ..)| *of == index);
        if interval == own || advert.priority.is_release() {
            return None;
        }
        let news = (index, source, interval);
        match told.and_then(|place| self.intervals.get_mut(place)) {
            Some(told) if *told == news => return None,
            Some(told) => *told = news,
            None => self.intervals.push(news),
        }
        Some(format!(
            "virtual router {router:?}: {source} advertises every {}, and advertisement_interval is {} here; its own is used \
             while it is Active",
            duration::display(interval),
            duration::display(own),
        ))
    }
}

/// Why a packet is refused.
enum Cause {
    /// Two nodes of one virtual router are configured apart: what to put right.
    Apart(&'static str),
    /// It is of no node that belongs here, or was spoilt on the way.
    Stranger(&'static str),
}

const fn cause(refusal: Refusal) -> Cause {
    match refusal {
        Refusal::Version => Cause::Apart("set the same version on all nodes"),
        Refusal::Trailer => Cause::Apart("set authentication of type hmac-sha256 on all nodes or on none"),
        Refusal::Authentication => Cause::Apart("set the same password on all nodes, or none"),
        Refusal::Interval => Cause::Apart("version 2 wants the same advertisement_interval on all nodes"),
        Refusal::Source => Cause::Apart("name every other node in peers, or find out who else uses this vrid"),
        Refusal::HmacKey => Cause::Apart("give all nodes the same key_file"),
        Refusal::Hmac => Cause::Apart("give all nodes the same key_file, or find out who forges them"),
        Refusal::Stale => Cause::Apart("the clocks differ, run NTP on all nodes"),
        Refusal::Truncated | Refusal::Fragment => Cause::Stranger("they are cut off or in fragments"),
        Refusal::Destination => {
            Cause::Stranger("they are for the group, and peers are configured, or the other way round")
        }
        Refusal::HopLimit => {
            Cause::Stranger("their TTL is not 255: a router stands in between, or somebody forges them")
        }
        Refusal::TooShort | Refusal::Type | Refusal::Length => {
            Cause::Stranger("they are no advertisements of this version; CARP looks like this")
        }
        Refusal::Vrid | Refusal::NoAddress | Refusal::NoInterval => Cause::Stranger("a field of theirs cannot be 0"),
        Refusal::Checksum => Cause::Stranger("their checksum is wrong: spoilt on the way, or forged"),
        Refusal::OwnSource => Cause::Stranger("this host's own come back: a loop, or another host with its address"),
        Refusal::Replay => {
            Cause::Stranger("they were seen before: a network that repeats frames, or somebody who does")
        }
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
        let said = unheard.look(second(3), counters(&[(Refusal::Stale, 8)]));
        assert!(said.len() == 1 && said[0].contains("(stale, 1 since the last word): the clocks differ"), "{said:?}");
        assert!(unheard.look(second(4), counters(&[(Refusal::Stale, 9)])).is_empty());
        assert_eq!(unheard.look(second(5), counters(&[(Refusal::Stale, 9), (Refusal::Hmac, 1)])).len(), 1);
        assert!(unheard.look(second(63), counters(&[(Refusal::Stale, 9), (Refusal::Hmac, 1)])).is_empty(), "no more");
        let said = unheard.look(second(64), counters(&[(Refusal::Stale, 10), (Refusal::Hmac, 1)]));
        assert!(said.len() == 1 && said[0].contains("(stale, 2 since"), "{said:?}");
    }

    /// Ledger: RFC9568-2.5-1, RFC9568-7.1-8, RFC5798-7.1-6, RFC3768-7.1-9, RFC3768-7.1-11 (positive)
    #[test]
    fn every_refusal_is_said_with_what_it_means() {
        for refusal in Refusal::ALL {
            let mut unheard = Unheard::default();
            unheard.look(Instant::from_nanos(0), Counters::default());
            let said = unheard.look(Instant::from_nanos(1), counters(&[(refusal, 3)]));
            let wanted = format!("({}, 3 since the last word): ", refusal.as_str());
            assert!(said.len() == 1 && said[0].contains(&wanted), "{said:?}");
        }
    }

    /// Ledger: RFC9568-2.5-1, RFC9568-7.1-8, RFC5798-7.1-6, RFC3768-7.1-9, RFC3768-7.1-11 (negative)
    #[test]
    fn a_flood_of_refusals_is_one_line_a_minute() {
        let mut unheard = Unheard::default();
        unheard.look(Instant::from_nanos(0), Counters::default());
        let looks = (1..=300_u64).map(|look| (Instant::from_nanos(look * 200_000_000), look * 1000));
        let said: usize = looks
            .map(|(at, count)| {
                unheard.look(at, counters(&[(Refusal::Checksum, count.min(2000) + look_of(count))])).len()
            })
            .sum();
        assert_eq!(said, 1, "in the minute of the flood");
    }

    /// Grows with every look, without counting to a million.
    fn look_of(count: u64) -> u64 {
        count / 1000
    }

    /// Ledger: RFC9568-7.1-9, RFC5798-7.1-7 (positive)
    /// Ledger: RFC9568-7.1-9, RFC5798-7.1-7 (negative)
    #[test]
    fn another_interval_is_said_once_for_each_and_the_own_one_never() {
        let advert = |millis, priority| Advert {
            router: agent_core::RouterId(0),
            source: "192.0.2.2".parse().unwrap(),
            priority: agent_wire::Priority::new(priority),
            interval: Duration::from_millis(millis),
            arrived_at: Instant::from_nanos(0),
        };
        let mut unheard = Unheard::default();
        let own = Duration::from_millis(100);
        let mut hear = |millis, priority| unheard.hear(&advert(millis, priority), "mysql", own);
        assert_eq!(hear(100, 100), None);
        let said = hear(1000, 100).unwrap();
        assert!(said.contains("192.0.2.2 advertises every 1s, and advertisement_interval is 100ms here"), "{said}");
        assert_eq!(hear(1000, 100), None, "once");
        assert_eq!(hear(1000, 0), None, "a resignation");
        assert!(hear(200, 100).is_some(), "another one");
    }
}
