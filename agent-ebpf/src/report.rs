//! An advertisement on its way to user space: checked with the code that user space has, stamped, put in the ring.

use agent_wire::Refusal;
use agent_wire::header::{self, Located};
use agent_wire::map::{self, AdvertSeen, Outcome, RouterKey};
use agent_wire::vrrp::{self, Authentication};
use aya_ebpf::programs::XdpContext;

use crate::classify::Family;
use crate::maps::{self, PACKET};
use crate::packet::{self, ETHERNET};

/// The longest message that is checked here: 64 IPv6 addresses with a trailer, or as many of IPv4 as there can be.
const MESSAGE: usize = 8 + 64 * 16 + 28;

#[inline(always)]
pub(crate) fn report(context: &XdpContext, family: Family) -> Outcome {
    let arrived_ns = maps::now();
    match examine(context, family, arrived_ns) {
        Ok(outcome) => outcome,
        Err(refusal) => Outcome::Refused(refusal),
    }
}

#[inline(always)]
fn examine(context: &XdpContext, family: Family, arrived_ns: u64) -> Result<Outcome, Refusal> {
    if packet::length(context) > ETHERNET + PACKET {
        return Ok(Outcome::Unjudged);
    }
    let Some(scratch) = maps::scratch() else { return Err(Refusal::Truncated) };
    let located = locate(context, family, scratch)?;
    let message = packet::copy::<PACKET>(context, ETHERNET + located.start, located.length, scratch);
    let Some(message) = message else { return Err(Refusal::Truncated) };
    if message.len() < 2 {
        return Err(Refusal::Truncated);
    }
    let key = RouterKey { ifindex: packet::ifindex(context), vrid: message[1], family: family as u8, reserved: [0; 2] };
    let Some(router) = maps::router(&key) else { return Ok(Outcome::UnknownRouter) };
    if message.len() > MESSAGE {
        return Ok(Outcome::Unjudged);
    }
    let envelope = &located.envelope;
    let checked = vrrp::check::<MESSAGE>(envelope, message, router)?;
    if router.authentication() == Authentication::Hmac {
        return Ok(Outcome::Unjudged);
    }
    let Some(ethernet) = packet::head::<ETHERNET>(context) else { return Err(Refusal::Truncated) };
    let advert = AdvertSeen {
        arrived_ns,
        router: router.index,
        interval_ms: checked.interval.as_secs() as u32 * 1000 + checked.interval.subsec_millis(),
        source: map::octets(envelope.source),
        source_mac: [ethernet[6], ethernet[7], ethernet[8], ethernet[9], ethernet[10], ethernet[11]],
        family: family as u8,
        priority: checked.priority.as_u8(),
    };
    Ok(if maps::report(&advert) { Outcome::Reported } else { Outcome::RingFull })
}

/// Finds the message by the IP header.
#[inline(always)]
fn locate(context: &XdpContext, family: Family, scratch: &mut [u8; PACKET]) -> Result<Located, Refusal> {
    let length = packet::length(context) - ETHERNET;
    let Some(packet) = packet::copy(context, ETHERNET, length, scratch) else { return Err(Refusal::Truncated) };
    match family {
        Family::V4 => header::locate_v4(packet),
        Family::V6 => header::locate_v6(packet),
    }
}
