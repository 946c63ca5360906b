use std::time::Duration;

use agent_core::Instant;

use crate::seeded::Seeded;

/// What the network does to advertisements between each two hosts.
#[derive(Debug)]
pub(crate) struct Lan {
    /// Cut from the first to the second index.
    cut: Vec<Vec<bool>>,
    /// When the network last swallowed an advertisement on that way.
    swallowed_at: Vec<Vec<Option<Instant>>>,
    /// Of 1000.
    pub(crate) loss: u64,
    pub(crate) duplication: u64,
    pub(crate) longest_delay: Duration,
}

impl Lan {
    pub(crate) fn new(hosts: usize) -> Self {
        Self {
            cut: vec![vec![false; hosts]; hosts],
            swallowed_at: vec![vec![None; hosts]; hosts],
            loss: 0,
            duplication: 0,
            longest_delay: Duration::from_millis(2),
        }
    }

    pub(crate) fn set_cut(&mut self, from: usize, to: usize, cut: bool) {
        self.cut[from][to] = cut;
    }

    pub(crate) fn heal(&mut self) {
        self.cut.iter_mut().flatten().for_each(|cut| *cut = false);
        self.loss = 0;
    }

    /// The receiver was not there to hear it.
    pub(crate) fn swallow(&mut self, now: Instant, from: usize, to: usize) {
        self.swallowed_at[from][to] = Some(now);
    }

    /// After which delays copies of a frame arrive; none: it is lost.
    pub(crate) fn carry(&mut self, now: Instant, from: usize, to: usize, seeded: &mut Seeded) -> Vec<Duration> {
        if self.cut[from][to] || seeded.chance(self.loss) {
            self.swallowed_at[from][to] = Some(now);
            return Vec::new();
        }
        let copies = if seeded.chance(self.duplication) { 2 } else { 1 };
        (0..copies).map(|_| seeded.duration(Duration::from_micros(30), self.longest_delay)).collect()
    }

    /// Whether the two could lately not hear each other, one way at least.
    pub(crate) fn was_deaf(&self, now: Instant, one: usize, other: usize, within: Duration) -> bool {
        [(one, other), (other, one)].iter().any(|&(from, to)| {
            self.cut[from][to] || self.swallowed_at[from][to].is_some_and(|at| now.saturating_since(at) < within)
        })
    }
}
