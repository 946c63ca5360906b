use std::ops::Add;

use agent_wire::Refusal;
use agent_wire::map::Outcome;

/// How many packets ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Valid advertisements that were handed in.
    pub reported: u64,
    /// Valid advertisements that found the ring full and went to the sockets.
    pub ring_full: u64,
    /// Advertisements for a router that does not run here.
    pub unknown_router: u64,
    /// Advertisements that XDP left to the sockets to judge, which count them again as they end there.
    pub unjudged: u64,
    /// Frames for a virtual address that the gate let through.
    pub served: u64,
    /// TCP segments for a virtual address that the gate answered with a reset.
    pub reset: u64,
    /// Frames for a virtual address that the gate dropped.
    pub dropped: u64,
    refused: [u64; Refusal::ALL.len()],
}

impl Counters {
    /// How many were refused for this reason.
    #[must_use]
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.refused.get(refusal as usize).copied().unwrap_or_default()
    }

    /// Every reason with its count.
    pub fn refusals(&self) -> impl Iterator<Item = (Refusal, u64)> + '_ {
        Refusal::ALL.into_iter().map(|refusal| (refusal, self.refused(refusal)))
    }

    /// What became of the frames that were looked at, in words for metrics.
    #[must_use]
    pub fn outcomes(&self) -> Vec<(&'static str, u64)> {
        let passed = [
            ("reported", self.reported),
            ("ring_full", self.ring_full),
            ("unknown_router", self.unknown_router),
            ("unjudged", self.unjudged),
            ("served", self.served),
            ("reset", self.reset),
            ("dropped", self.dropped),
        ];
        passed.into_iter().chain(self.refusals().map(|(why, count)| (why.as_str(), count))).collect()
    }

    pub(crate) fn count_refusal(&mut self, refusal: Refusal) {
        if let Some(count) = self.refused.get_mut(refusal as usize) {
            *count += 1;
        }
    }

    /// Takes the counts from where `count_of` finds those of the XDP program.
    pub(super) fn read(count_of: impl Fn(Outcome) -> u64) -> Self {
        Self {
            reported: count_of(Outcome::Reported),
            ring_full: count_of(Outcome::RingFull),
            unknown_router: count_of(Outcome::UnknownRouter),
            unjudged: count_of(Outcome::Unjudged),
            served: count_of(Outcome::Served),
            reset: count_of(Outcome::Reset),
            dropped: count_of(Outcome::Dropped),
            refused: Refusal::ALL.map(|refusal| count_of(Outcome::Refused(refusal))),
        }
    }
}

impl Add for Counters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let mut refused = self.refused;
        for (count, more) in refused.iter_mut().zip(other.refused) {
            *count += more;
        }
        Self {
            reported: self.reported + other.reported,
            ring_full: self.ring_full + other.ring_full,
            unknown_router: self.unknown_router + other.unknown_router,
            unjudged: self.unjudged + other.unjudged,
            served: self.served + other.served,
            reset: self.reset + other.reset,
            dropped: self.dropped + other.dropped,
            refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_sits_at_its_own_index() {
        for (index, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, index);
        }
    }
}
