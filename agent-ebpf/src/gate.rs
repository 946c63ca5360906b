//! The gate of a virtual address: open while this host serves it and its lease runs.

use agent_wire::map::{GATE_SERVE, Outcome, VipKey};
use agent_wire::reset;
use aya_ebpf::programs::XdpContext;

use crate::classify::{Address, Family, Request};
use crate::maps::{self, Gate};
use crate::packet;

/// What becomes of a frame for an address; `None` when it is no virtual address of this host.
#[inline(always)]
pub(crate) fn pass(context: &mut XdpContext, address: Address, request: Request) -> Option<Outcome> {
    let key = VipKey {
        ifindex: packet::ifindex(context),
        family: address.family as u8,
        reserved: [0; 3],
        address: address.octets,
    };
    let gate = Gate::find(&key)?;
    if gate.position() == GATE_SERVE && maps::now() < gate.lease_until() {
        gate.count_served();
        return Some(Outcome::Served);
    }
    if request == Request::Tcp && answer(context, address.family) {
        gate.count_reset();
        return Some(Outcome::Reset);
    }
    gate.count_dropped();
    Some(Outcome::Dropped)
}

/// Turns a TCP segment into the reset that answers it; false when it is not to be answered.
#[inline(always)]
fn answer(context: &mut XdpContext, family: Family) -> bool {
    match family {
        Family::V4 => {
            let Some(frame) = packet::head_mut(context) else { return false };
            reset::answer_v4(frame) && packet::resize(context, reset::RESET_V4)
        }
        Family::V6 => {
            let Some(frame) = packet::head_mut(context) else { return false };
            reset::answer_v6(frame) && packet::resize(context, reset::RESET_V6)
        }
    }
}
