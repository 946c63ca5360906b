use core::time::Duration;

/// An advertisement interval in hundredths of a second, as VRRPv3 carries it (12 bits, RFC 9568 §5.2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Centiseconds(u16);

impl Centiseconds {
    /// The largest interval that fits the 12-bit field: 40.95 s.
    pub const MAX: Self = Self(4095);

    /// Takes `1..=4095`; zero would let every timer fire at once (RFC 9568 erratum 8301).
    #[must_use]
    pub const fn new(value: u16) -> Option<Self> {
        if value == 0 || value > Self::MAX.0 { None } else { Some(Self(value)) }
    }

    /// Takes a duration that is a whole number of centiseconds in `10 ms..=40.95 s`.
    #[must_use]
    pub const fn from_duration(duration: Duration) -> Option<Self> {
        let micros = duration.as_micros();
        if !micros.is_multiple_of(10_000) || !duration.subsec_nanos().is_multiple_of(1000) || micros / 10_000 > 4095 {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most 4095, checked above")]
        Self::new((micros / 10_000) as u16)
    }

    #[must_use]
    pub const fn as_u16(self) -> u16 {
        self.0
    }

    #[must_use]
    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.0 as u64 * 10)
    }
}
