/// Why a packet that looked like an advertisement was refused; the order is that of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Refusal {
    /// The IP packet is cut off, or its header is not one.
    Truncated,
    /// An advertisement is never fragmented.
    Fragment,
    /// Neither the group nor an address of this host.
    Destination,
    /// TTL or Hop Limit is not 255 (RFC 9568 §5.1.1.3, §5.1.2.3).
    HopLimit,
    /// Shorter than the fixed part of 8 octets.
    TooShort,
    /// Not the version that the virtual router is configured for.
    Version,
    /// Not type 1, ADVERTISEMENT (RFC 9568 §5.2.2).
    Type,
    /// The length does not fit the count of addresses; CARP ends here.
    Length,
    /// The length fits with a trailer of 28 octets that is not configured, or without one that is; or its scheme is not
    /// HMAC-SHA256.
    Trailer,
    /// A VRID of 0, which no virtual router has (RFC 9568 §5.2.3).
    Vrid,
    /// No address (RFC 9568 erratum 8299).
    NoAddress,
    /// An interval of 0 (RFC 9568 erratum 8301).
    NoInterval,
    Checksum,
    /// Version 2: the authentication type or the password is not the configured one (RFC 3768 §5.3.6).
    Authentication,
    /// Version 2: the interval is not the configured one (RFC 3768 §7.1).
    Interval,
    /// The source is this host: an own packet came back.
    OwnSource,
    /// Unicast: the source is not a configured peer.
    Source,
    /// The trailer names a key that this host does not have.
    HmacKey,
    /// The HMAC is not that of the key: another key, or a forgery.
    Hmac,
    /// The HMAC is right, but was made too long ago or ahead of time by this host's clock.
    Stale,
    /// The HMAC is right, but not newer than that of an earlier advertisement of this source.
    Replay,
}

impl Refusal {
    pub const ALL: [Self; 21] = [
        Self::Truncated,
        Self::Fragment,
        Self::Destination,
        Self::HopLimit,
        Self::TooShort,
        Self::Version,
        Self::Type,
        Self::Length,
        Self::Trailer,
        Self::Vrid,
        Self::NoAddress,
        Self::NoInterval,
        Self::Checksum,
        Self::Authentication,
        Self::Interval,
        Self::OwnSource,
        Self::Source,
        Self::HmacKey,
        Self::Hmac,
        Self::Stale,
        Self::Replay,
    ];

    /// The word for status and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Fragment => "fragment",
            Self::Destination => "destination",
            Self::HopLimit => "ttl",
            Self::TooShort => "too_short",
            Self::Version => "version",
            Self::Type => "type",
            Self::Length => "length",
            Self::Trailer => "trailer",
            Self::Vrid => "vrid",
            Self::NoAddress => "no_address",
            Self::NoInterval => "no_interval",
            Self::Checksum => "checksum",
            Self::Authentication => "authentication",
            Self::Interval => "interval",
            Self::OwnSource => "own_source",
            Self::Source => "source",
            Self::HmacKey => "hmac_key",
            Self::Hmac => "hmac",
            Self::Stale => "stale",
            Self::Replay => "replay",
        }
    }
}
