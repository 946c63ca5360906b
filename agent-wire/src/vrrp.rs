/// The protocol version of a virtual router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// RFC 3768, IPv4 only, intervals in seconds.
    V2,
    /// RFC 9568, IPv4 and IPv6, intervals in centiseconds.
    V3,
}
