//! The BPF maps: their names, keys and values. Both sides of the kernel border take them from here.
//!
//! No padding is implicit: every octet has a name, so that a zeroed value is whole. Numbers are in the host's order,
//! addresses in network order, IPv4 in the first four octets.

use core::mem::{offset_of, size_of};
use core::net::IpAddr;

use crate::Refusal;
use crate::vrrp::{Authentication, Version};

/// Changes whenever a layout below does: pins of another layout are replaced, not adopted.
pub const LAYOUT_VERSION: u32 = 2;

/// The routers that run on this kernel: [`RouterKey`] to [`RouterConfig`].
pub const ROUTERS: &str = "ROUTERS";
/// The gate of every virtual address: [`VipKey`] to [`VipGate`].
pub const VIPS: &str = "VIPS";
/// By [`VipGate::lease`]: until when the host may serve, CLOCK_BOOTTIME in nanoseconds.
pub const LEASES: &str = "LEASES";
/// The ring of [`AdvertSeen`].
pub const ADVERTS: &str = "ADVERTS";
/// By [`Outcome`], per CPU: how many packets ended so.
pub const OUTCOMES: &str = "OUTCOMES";
/// The frames of the next announcement: [`Announcement`] by index.
pub const ANNOUNCEMENTS: &str = "ANNOUNCEMENTS";
/// One cell: the next index in [`ANNOUNCEMENTS`].
pub const CURSOR: &str = "CURSOR";
/// One cell: [`Transmit`], how the gate sends its answers.
pub const TRANSMIT: &str = "TRANSMIT";

/// The most routers, addresses and announcements that the maps hold.
pub const MAX_ROUTERS: u32 = 256;
pub const MAX_VIPS: u32 = 4096;
/// The most unicast peers of one router.
pub const MAX_PEERS: usize = 16;

/// A virtual router on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct RouterKey {
    pub ifindex: u32,
    pub vrid: u8,
    /// 4 or 6.
    pub family: u8,
    pub reserved: [u8; 2],
}

/// What a virtual router demands of an advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct RouterConfig {
    /// The router's index in the agent.
    pub index: u32,
    /// 2 or 3.
    pub version: u8,
    /// [`AUTHENTICATION_NONE`], [`AUTHENTICATION_PASSWORD`] or [`AUTHENTICATION_HMAC`].
    pub authentication: u8,
    /// Version 2: the interval in seconds that a sender must have too.
    pub interval_s: u8,
    /// How many of `peers` there are; 0: advertisements come to the group, from anybody.
    pub peer_count: u8,
    /// This host's own source address.
    pub own: [u8; 16],
    /// Of [`AUTHENTICATION_PASSWORD`].
    pub password: [u8; 8],
    pub peers: [[u8; 16]; MAX_PEERS],
}

pub const AUTHENTICATION_NONE: u8 = 0;
pub const AUTHENTICATION_PASSWORD: u8 = 1;
/// The HMAC is for user space to verify.
pub const AUTHENTICATION_HMAC: u8 = 2;

impl RouterConfig {
    #[inline(always)]
    #[must_use]
    pub const fn version(&self) -> Version {
        if self.version == 2 { Version::V2 } else { Version::V3 }
    }

    #[inline(always)]
    #[must_use]
    pub const fn authentication(&self) -> Authentication {
        match self.authentication {
            AUTHENTICATION_NONE => Authentication::None,
            AUTHENTICATION_PASSWORD => Authentication::Password(self.password),
            _ => Authentication::Hmac,
        }
    }
}

/// An address as the maps hold it.
#[inline(always)]
#[must_use]
pub const fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(address) => address.octets(),
    }
}

/// One accepted advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct AdvertSeen {
    /// When the driver had it, CLOCK_BOOTTIME in nanoseconds.
    pub arrived_ns: u64,
    /// [`RouterConfig::index`].
    pub router: u32,
    /// The sender's interval in milliseconds.
    pub interval_ms: u32,
    pub source: [u8; 16],
    pub source_mac: [u8; 6],
    /// 4 or 6.
    pub family: u8,
    pub priority: u8,
}

/// A virtual address on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct VipKey {
    pub ifindex: u32,
    /// 4 or 6.
    pub family: u8,
    pub reserved: [u8; 3],
    pub address: [u8; 16],
}

/// The gate of a virtual address, with what it has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct VipGate {
    /// [`GATE_SERVE`] or [`GATE_REFUSE`].
    pub position: u32,
    /// Index in [`LEASES`].
    pub lease: u32,
    /// Frames that passed.
    pub served: u64,
    /// TCP segments answered with a reset.
    pub reset: u64,
    pub dropped: u64,
}

/// Frames pass while the lease is valid.
pub const GATE_SERVE: u32 = 1;
/// TCP is answered with a reset, the rest is dropped.
pub const GATE_REFUSE: u32 = 0;

/// One frame to be announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Announcement {
    pub ifindex: u32,
    pub mac: [u8; 6],
    /// 4 or 6.
    pub family: u8,
    pub reserved: u8,
    pub address: [u8; 16],
}

/// How the gate's answers leave: native drivers and veth differ from the generic mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Transmit {
    /// XDP_TX.
    Back = 0,
    /// bpf_redirect to the interface that the frame came from.
    Redirect = 1,
}

/// How a packet ended in the XDP program; the index of its counter in [`OUTCOMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Valid and in the ring.
    Reported,
    /// Valid, but the ring was full: passed to the stack.
    RingFull,
    /// An advertisement for a router that does not run here: passed to the stack.
    UnknownRouter,
    /// An advertisement that only user space can judge, by its HMAC or its length: passed to the stack.
    Unjudged,
    /// A frame for a virtual address that passed the gate.
    Served,
    /// A segment for a virtual address that was answered with a reset.
    Reset,
    /// A frame for a virtual address that was dropped.
    Dropped,
    Refused(Refusal),
}

impl Outcome {
    /// The number of counters.
    pub const COUNT: u32 = 7 + Refusal::ALL.len() as u32;

    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> u32 {
        match self {
            Self::Reported => 0,
            Self::RingFull => 1,
            Self::UnknownRouter => 2,
            Self::Unjudged => 3,
            Self::Served => 4,
            Self::Reset => 5,
            Self::Dropped => 6,
            Self::Refused(refusal) => 7 + refusal as u32,
        }
    }
}

const _: () = {
    assert!(size_of::<RouterKey>() == 8 && offset_of!(RouterKey, family) == 5);
    assert!(size_of::<RouterConfig>() == 288 && offset_of!(RouterConfig, own) == 8);
    assert!(offset_of!(RouterConfig, password) == 24 && offset_of!(RouterConfig, peers) == 32);
    assert!(size_of::<AdvertSeen>() == 40 && offset_of!(AdvertSeen, source) == 16);
    assert!(offset_of!(AdvertSeen, source_mac) == 32 && offset_of!(AdvertSeen, priority) == 39);
    assert!(size_of::<VipKey>() == 24 && offset_of!(VipKey, address) == 8);
    assert!(size_of::<VipGate>() == 32 && offset_of!(VipGate, served) == 8);
    assert!(size_of::<Announcement>() == 28 && offset_of!(Announcement, address) == 12);
};

#[cfg(feature = "user")]
#[expect(unsafe_code, reason = "aya asks for it where a value crosses the kernel border")]
mod pod {
    use super::{AdvertSeen, Announcement, RouterConfig, RouterKey, VipGate, VipKey};

    // SAFETY: repr(C), no padding (the sizes are asserted above), every bit pattern is valid.
    unsafe impl aya::Pod for RouterKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for RouterConfig {}
    // SAFETY: as above.
    unsafe impl aya::Pod for AdvertSeen {}
    // SAFETY: as above.
    unsafe impl aya::Pod for VipKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for VipGate {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Announcement {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_a_counter_of_its_own() {
        let named = [
            Outcome::Reported,
            Outcome::RingFull,
            Outcome::UnknownRouter,
            Outcome::Unjudged,
            Outcome::Served,
            Outcome::Reset,
            Outcome::Dropped,
        ];
        let all = named.into_iter().chain(Refusal::ALL.into_iter().map(Outcome::Refused));
        let mut taken = [false; Outcome::COUNT as usize];
        for outcome in all {
            let counter = &mut taken[outcome.index() as usize];
            assert!(!*counter, "{outcome:?}");
            *counter = true;
        }
        assert_eq!(taken, [true; Outcome::COUNT as usize]);
    }
}
