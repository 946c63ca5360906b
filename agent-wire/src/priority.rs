/// A router's priority as it stands in an advertisement (RFC 9568 §5.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Priority(u8);

impl Priority {
    /// The Active Router is giving up: "release".
    pub const RELEASE: Self = Self(0);
    /// The owner of the addresses, which vipd never claims to be.
    pub const OWNER: Self = Self(255);

    #[must_use]
    pub const fn new(value: u8) -> Self {
        Self(value)
    }

    #[must_use]
    pub const fn as_u8(self) -> u8 {
        self.0
    }

    #[must_use]
    pub const fn is_release(self) -> bool {
        self.0 == 0
    }
}
