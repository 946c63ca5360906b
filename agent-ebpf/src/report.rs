//! An advertisement on its way to user space: checked with the code that user space has, stamped, put in the ring.

use core::net::IpAddr;

use agent_wire::Refusal;
use agent_wire::header::{self, Located};
use agent_wire::map::{AdvertSeen, Outcome, RouterConfig, RouterKey};
use agent_wire::vrrp::{self, Envelope, GROUP_V4, GROUP_V6, Version};
use aya_ebpf::programs::XdpContext;

use crate::classify::Family;
use crate::maps::{self, PACKET};
use crate::packet::{self, ETHERNET};

/// The longest message: 255 IPv4 addresses of version 2. IPv6 messages beyond 64 addresses are refused for their length.
const MESSAGE: usize = 8 + 255 * 4 + 8;

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
    let Some(scratch) = maps::scratch() else { return Err(Refusal::Truncated) };
    let located = locate(context, family, scratch)?;
    let message = packet::copy::<PACKET>(context, ETHERNET + located.start, located.length, scratch);
    let Some(message) = message else { return Err(Refusal::Truncated) };
    if message.len() < 2 {
        return Err(Refusal::Truncated);
    }
    let key = RouterKey { ifindex: packet::ifindex(context), vrid: message[1], family: family as u8, reserved: [0; 2] };
    let Some(router) = maps::router(&key) else { return Ok(Outcome::UnknownRouter) };

    let envelope = &located.envelope;
    if !is_for(envelope, router) {
        return Err(Refusal::Destination);
    }
    if message.len() > MESSAGE {
        return Err(Refusal::Length);
    }
    let version = if router.version == 2 { Version::V2 } else { Version::V3 };
    let checked = vrrp::check::<MESSAGE>(envelope, message, version)?;
    let source = octets(envelope.source);
    if source == router.own {
        return Err(Refusal::OwnSource);
    }
    let Some(ethernet) = packet::head::<ETHERNET>(context) else { return Err(Refusal::Truncated) };
    let advert = AdvertSeen {
        arrived_ns,
        router: router.index,
        interval_ms: checked.interval.as_secs() as u32 * 1000 + checked.interval.subsec_millis(),
        source,
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

/// Whether an advertisement came the way that the router's peers send it.
#[inline(always)]
fn is_for(envelope: &Envelope, router: &RouterConfig) -> bool {
    if router.unicast != 0 {
        return octets(envelope.destination) == router.own;
    }
    match envelope.destination {
        IpAddr::V4(destination) => destination == GROUP_V4,
        IpAddr::V6(destination) => destination == GROUP_V6,
    }
}

#[inline(always)]
fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(address) => address.octets(),
    }
}
