//! The maps, and the few operations that the programs need on them.
#![expect(unsafe_code, reason = "map values are reached through pointers that the kernel hands out")]

use agent_wire::map::{
    AdvertSeen, Announcement, MAX_ROUTERS, MAX_VIPS, Outcome, RouterConfig, RouterKey, VipGate, VipKey,
};
use aya_ebpf::btf_maps::{Array, HashMap, PerCpuArray, RingBuf};
use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use aya_ebpf::macros::btf_map;

/// The longest IP packet that is looked into: an Ethernet frame's payload.
pub(crate) const PACKET: usize = 1500;

/// Room for more than 5000 advertisements that user space has not read yet.
const RING_OCTETS: usize = 256 * 1024;

#[btf_map]
static ROUTERS: HashMap<RouterKey, RouterConfig, { MAX_ROUTERS as usize }> = HashMap::new();
#[btf_map]
static VIPS: HashMap<VipKey, VipGate, { MAX_VIPS as usize }> = HashMap::new();
#[btf_map]
static LEASES: Array<u64, { MAX_ROUTERS as usize }> = Array::new();
#[btf_map]
static ADVERTS: RingBuf<AdvertSeen, RING_OCTETS> = RingBuf::new();
#[btf_map]
static OUTCOMES: PerCpuArray<u64, { Outcome::COUNT as usize }> = PerCpuArray::new();
#[btf_map]
static ANNOUNCEMENTS: Array<Announcement, { MAX_VIPS as usize }> = Array::new();
#[btf_map]
static CURSOR: Array<u32, 1> = Array::new();
#[btf_map]
static TRANSMIT: Array<u32, 1> = Array::new();
/// A packet of variable length is copied here: the verifier follows indices into it, and the stack is too small.
#[btf_map]
static SCRATCH: PerCpuArray<[u8; PACKET], 1> = PerCpuArray::new();

/// CLOCK_BOOTTIME in nanoseconds.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: the helper takes nothing and gives a number.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// Counts how a packet ended.
#[inline(always)]
pub(crate) fn count(outcome: Outcome) {
    if let Some(counter) = OUTCOMES.get_ptr_mut(outcome.index()) {
        // SAFETY: a live value of this CPU, aligned to 8; the program is not preempted by itself on one CPU.
        unsafe { *counter += 1 };
    }
}

#[inline(always)]
pub(crate) fn router(key: &RouterKey) -> Option<&'static RouterConfig> {
    // SAFETY: user space replaces values as a whole, and the old one stays readable until the program ends.
    unsafe { ROUTERS.get(key) }
}

/// Hands an advertisement to user space; false when the ring is full.
#[inline(always)]
pub(crate) fn report(advert: &AdvertSeen) -> bool {
    ADVERTS.output(advert, 0).is_ok()
}

/// The buffer of this CPU.
#[inline(always)]
pub(crate) fn scratch() -> Option<&'static mut [u8; PACKET]> {
    let buffer = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: a live value of this CPU, and the program takes it once.
    Some(unsafe { &mut *buffer })
}

/// The gate of an address.
#[derive(Clone, Copy)]
pub(crate) struct Gate(*mut VipGate);

impl Gate {
    #[inline(always)]
    pub(crate) fn find(key: &VipKey) -> Option<Self> {
        VIPS.get_ptr_mut(key).map(Self)
    }

    #[inline(always)]
    pub(crate) fn position(self) -> u32 {
        // SAFETY: `find` gives live values only.
        unsafe { (*self.0).position }
    }

    /// Until when this host may serve the address, CLOCK_BOOTTIME in nanoseconds; zero without a lease.
    #[inline(always)]
    pub(crate) fn lease_until(self) -> u64 {
        // SAFETY: `find` gives live values only.
        let index = unsafe { (*self.0).lease };
        match LEASES.get_ptr(index) {
            // SAFETY: a live value; user space may be writing it, so it is read once.
            Some(until) => unsafe { until.read_volatile() },
            None => 0,
        }
    }

    #[inline(always)]
    pub(crate) fn count_served(self) {
        // SAFETY: `find` gives live values only.
        add_one(unsafe { &raw mut (*self.0).served });
    }

    #[inline(always)]
    pub(crate) fn count_reset(self) {
        // SAFETY: `find` gives live values only.
        add_one(unsafe { &raw mut (*self.0).reset });
    }

    #[inline(always)]
    pub(crate) fn count_dropped(self) {
        // SAFETY: `find` gives live values only.
        add_one(unsafe { &raw mut (*self.0).dropped });
    }
}

/// Adds to a counter that every CPU shares; two at the same instant may count once, the counters by outcome are exact.
#[inline(always)]
fn add_one(counter: *mut u64) {
    // SAFETY: a field of a live map value, aligned to 8.
    unsafe { *counter += 1 };
}

/// The next frame of the announcement that is under way.
#[inline(always)]
pub(crate) fn next_announcement() -> Option<&'static Announcement> {
    let cursor = CURSOR.get_ptr_mut(0)?;
    // SAFETY: a live value, aligned to 4.
    let index = unsafe { *cursor };
    // SAFETY: as above; user space makes one run at a time.
    unsafe { *cursor = index + 1 };
    ANNOUNCEMENTS.get(index)
}

/// Whether answers leave by redirection to the interface that they came from.
#[inline(always)]
pub(crate) fn redirects() -> bool {
    TRANSMIT.get(0).is_some_and(|transmit| *transmit == agent_wire::map::Transmit::Redirect as u32)
}
