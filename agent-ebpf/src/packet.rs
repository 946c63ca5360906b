//! Access to the packet's memory: all pointer arithmetic of the programs is here.
#![expect(unsafe_code, reason = "packet memory is reached through pointers that the kernel's verifier checks")]

use core::slice;

use aya_ebpf::helpers::generated::{bpf_redirect, bpf_xdp_adjust_tail, bpf_xdp_load_bytes};
use aya_ebpf::programs::XdpContext;

/// Octets of a frame's Ethernet header.
pub(crate) const ETHERNET: usize = 14;

/// The octets of the frame, as received.
#[inline(always)]
pub(crate) fn length(context: &XdpContext) -> usize {
    context.data_end() - context.data()
}

/// The first `N` octets of the frame, for reading.
#[inline(always)]
pub(crate) fn head<const N: usize>(context: &XdpContext) -> Option<&[u8; N]> {
    let start = context.data();
    if start + N > context.data_end() {
        return None;
    }
    // SAFETY: `N` octets from `start` lie before the frame's end, as just checked; they live as long as the context.
    Some(unsafe { &*(start as *const [u8; N]) })
}

/// The first `N` octets of the frame, for writing.
#[inline(always)]
pub(crate) fn head_mut<const N: usize>(context: &mut XdpContext) -> Option<&mut [u8; N]> {
    let start = context.data();
    if start + N > context.data_end() {
        return None;
    }
    // SAFETY: `N` octets from `start` lie before the frame's end, as just checked; the context is borrowed exclusively.
    Some(unsafe { &mut *(start as *mut [u8; N]) })
}

/// Copies `length` octets at `offset` into `buffer` and returns them; `None` beyond the frame or the buffer.
#[inline(always)]
pub(crate) fn copy<'a, const N: usize>(
    context: &XdpContext,
    offset: usize,
    length: usize,
    buffer: &'a mut [u8; N],
) -> Option<&'a [u8]> {
    if length == 0 || length > N {
        return None;
    }
    // SAFETY: the buffer has `N` octets, and `length` is not more; the helper itself checks the frame's end.
    let result = unsafe { bpf_xdp_load_bytes(context.ctx, offset as u32, buffer.as_mut_ptr().cast(), length as u32) };
    if result != 0 {
        return None;
    }
    // SAFETY: `length` is not more than the buffer's `N` octets.
    Some(unsafe { slice::from_raw_parts(buffer.as_ptr(), length) })
}

/// Cuts the frame to `length` octets, or grows it; earlier borrows of it have ended.
#[inline(always)]
pub(crate) fn resize(context: &mut XdpContext, to: usize) -> bool {
    let delta = to as i32 - length(context) as i32;
    // SAFETY: the context is the one that the kernel handed to the program.
    delta == 0 || unsafe { bpf_xdp_adjust_tail(context.ctx, delta) } == 0
}

/// Sends the frame out of an interface; returns the verdict that does so.
#[inline(always)]
pub(crate) fn redirect(ifindex: u32) -> u32 {
    // SAFETY: the helper takes plain numbers.
    (unsafe { bpf_redirect(ifindex, 0) }) as u32
}

/// The interface that the frame came in by.
#[inline(always)]
pub(crate) fn ifindex(context: &XdpContext) -> u32 {
    context.ingress_ifindex() as u32
}
