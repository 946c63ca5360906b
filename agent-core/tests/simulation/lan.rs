use std::time::Duration;

use agent_core::Instant;

use crate::faults::Plan;
use crate::seeded::Seeded;

/// What the network does to advertisements between each two hosts.
#[derive(Debug)]
pub(crate) struct Lan {
    /// How many cuts there are from the first to the second index.
    cuts: Vec<Vec<u32>>,
    /// When the network last swallowed an advertisement on that way.
    swallowed_at: Vec<Vec<Option<Instant>>>,
    /// Of 1000.
    pub(crate) loss: u64,
    duplication: u64,
    longest_delay: u64,
}

impl Lan {
    pub(crate) fn new(hosts: usize, plan: &Plan) -> Self {
        Self {
            cuts: vec![vec![0; hosts]; hosts],
            swallowed_at: vec![vec![None; hosts]; hosts],
            loss: plan.loss,
            duplication: plan.duplication,
            longest_delay: plan.longest_delay,
        }
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.cuts[from][to] += 1;
    }

    pub(crate) fn mend(&mut self, from: usize, to: usize) {
        self.cuts[from][to] -= 1;
    }

    /// The receiver was not there to hear it.
    pub(crate) fn swallow(&mut self, now: Instant, from: usize, to: usize) {
        self.swallowed_at[from][to] = Some(now);
    }

    /// After which delays copies of a frame arrive; none: it is lost.
    pub(crate) fn carry(
        &mut self,
        now: Instant,
        from: usize,
        to: usize,
        seeded: &mut Seeded,
    ) -> impl Iterator<Item = Duration> + use<> {
        let lost = self.cuts[from][to] > 0 || seeded.chance(self.loss);
        if lost {
            self.swallow(now, from, to);
        }
        let first = (!lost).then(|| seeded.micros(30, self.longest_delay));
        let second = (!lost && seeded.chance(self.duplication)).then(|| seeded.micros(30, self.longest_delay));
        first.into_iter().chain(second)
    }

    /// Whether the two could lately not hear each other, one way at least.
    pub(crate) fn was_deaf(&self, now: Instant, one: usize, other: usize, within: Duration) -> bool {
        [(one, other), (other, one)].iter().any(|&(from, to)| {
            self.cuts[from][to] > 0 || self.swallowed_at[from][to].is_some_and(|at| now.saturating_since(at) < within)
        })
    }
}
