//! How long something took, or how late it was.

use std::time::Duration;

/// The upper bounds of the buckets; the last bucket has none.
pub const BOUNDS: [Duration; 12] = [
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
];

/// A histogram as plain data, so that it can be handed to another thread as a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// How many fell into each bucket; the last is for what was beyond all bounds.
    pub buckets: [u64; BOUNDS.len() + 1],
    pub sum: Duration,
    pub count: u64,
}

impl Times {
    pub fn note(&mut self, time: Duration) {
        let bucket = BOUNDS.iter().position(|&bound| time <= bound).unwrap_or(BOUNDS.len());
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
        self.sum = self.sum.saturating_add(time);
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_falls_into_the_first_bucket_that_holds_it() {
        let mut times = Times::default();
        for time in [Duration::ZERO, Duration::from_micros(50), Duration::from_micros(51), Duration::from_secs(3)] {
            times.note(time);
        }
        assert_eq!(times.buckets, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!((times.count, times.sum), (4, Duration::from_micros(3_000_101)));
    }
}
