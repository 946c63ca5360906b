//! The XDP programs of vipd.
//!
//! `vipd` is attached to each interface that has a virtual router: it checks and reports advertisements, and lets frames
//! for a virtual address pass only while this host serves it and its lease runs. `announce` writes gratuitous ARP and
//! unsolicited neighbour advertisements when user space runs it with live frames. Neither decides an election.
#![cfg_attr(target_arch = "bpf", no_std)]
#![cfg_attr(target_arch = "bpf", no_main)]

mod announce;
mod classify;
mod gate;
mod maps;
mod packet;
mod report;

use agent_wire::Refusal;
use agent_wire::map::Outcome;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_TX};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

use crate::classify::Frame;

#[xdp]
pub(crate) fn vipd(mut context: XdpContext) -> u32 {
    let outcome = match classify::classify(&context) {
        Frame::Other => return XDP_PASS,
        Frame::Vrrp(family) => report::report(&context, family),
        Frame::Addressed(address, request) => match gate::pass(&mut context, address, request) {
            Some(outcome) => outcome,
            None => return XDP_PASS,
        },
    };
    maps::count(outcome);
    #[cfg(feature = "log")]
    aya_log_ebpf::debug!(
        &context,
        "packet on interface {} ended as outcome {}",
        packet::ifindex(&context),
        outcome.index()
    );
    verdict(outcome, &context)
}

#[xdp]
pub(crate) fn announce(mut context: XdpContext) -> u32 {
    match announce::write_next(&mut context) {
        Some(ifindex) => packet::redirect(ifindex),
        None => XDP_DROP,
    }
}

#[inline(always)]
fn verdict(outcome: Outcome, context: &XdpContext) -> u32 {
    match outcome {
        Outcome::Served => XDP_PASS,
        // User space reads the ring, and no other daemon has to do with this router.
        Outcome::Reported => XDP_DROP,
        Outcome::RingFull | Outcome::UnknownRouter | Outcome::Unjudged => XDP_PASS,
        Outcome::Dropped => XDP_DROP,
        Outcome::Reset if maps::redirects() => packet::redirect(packet::ifindex(context)),
        Outcome::Reset => XDP_TX,
        Outcome::Refused(refusal) => match refusal {
            // Found before the VRID was read: perhaps another daemon's.
            Refusal::Truncated | Refusal::Fragment => XDP_PASS,
            Refusal::Destination
            | Refusal::HopLimit
            | Refusal::TooShort
            | Refusal::Version
            | Refusal::Type
            | Refusal::Length
            | Refusal::Trailer
            | Refusal::Vrid
            | Refusal::NoAddress
            | Refusal::NoInterval
            | Refusal::Checksum
            | Refusal::Authentication
            | Refusal::Interval
            | Refusal::OwnSource
            | Refusal::Source
            | Refusal::HmacKey
            | Refusal::Hmac
            | Refusal::Stale
            | Refusal::Replay => XDP_DROP,
        },
    }
}

/// The helpers that stamp and redirect are for programs with a GPL-compatible licence.
#[cfg(target_arch = "bpf")]
#[expect(unsafe_code, reason = "the kernel reads the licence from a section of its own")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Never reached: the verifier refuses a program in which it could be.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("these programs run in the kernel: build them with `cargo xtask build-ebpf`");
}
