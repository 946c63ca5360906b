use core::num::NonZeroU8;

/// The number of a virtual router on its LAN, `1..=255` (RFC 9568 §5.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Vrid(NonZeroU8);

impl Vrid {
    #[must_use]
    pub const fn new(value: u8) -> Option<Self> {
        match NonZeroU8::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    #[must_use]
    pub const fn as_u8(self) -> u8 {
        self.0.get()
    }
}
