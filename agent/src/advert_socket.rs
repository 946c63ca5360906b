//! The sockets that advertisements leave by.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};

use agent_core::Instant;
use agent_wire::checksum::VRRP_PROTOCOL;
use agent_wire::vrrp::{GROUP_V4, GROUP_V6};
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};

use crate::clock;

/// The only hop limit that a receiver takes: the packet has not been routed (RFC 9568 §5.1.1.3).
const HOP_LIMIT: u32 = 255;
/// Internetwork control, class selector 6, as routing protocols use (RFC 4594 §3.1).
const TRAFFIC_CLASS: u32 = 0xc0;
/// Where the advertisements of one virtual router go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub interface: String,
    pub ifindex: u32,
    pub source: IpAddr,
    /// Empty: the group of all VRRP routers.
    pub peers: Vec<IpAddr>,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {object}")]
pub struct Error {
    operation: &'static str,
    object: String,
    #[source]
    source: io::Error,
}

/// Sends the advertisements of one virtual router.
#[derive(Debug)]
pub struct AdvertSocket {
    socket: Socket,
    destinations: Vec<IpAddr>,
    ifindex: u32,
}

impl AdvertSocket {
    /// Opens a raw socket that is bound to the interface and the source address and receives nothing.
    ///
    /// Needs `CAP_NET_RAW`. An interface that was made anew needs a new socket.
    pub fn open(route: &Route) -> Result<Self, Error> {
        let socket = open(route).map_err(|source| Error {
            operation: "open the advertisement socket on",
            object: format!("{} with source {}", route.interface, route.source),
            source,
        })?;
        let group = if route.source.is_ipv6() { GROUP_V6.into() } else { GROUP_V4.into() };
        let destinations = if route.peers.is_empty() { vec![group] } else { route.peers.clone() };
        Ok(Self { socket, destinations, ifindex: route.ifindex })
    }

    /// Where the advertisements go; an IPv6 checksum depends on it, so each needs its own bytes.
    #[must_use]
    pub fn destinations(&self) -> &[IpAddr] {
        &self.destinations
    }

    /// Sends one advertisement and gives the moment just before it left, which a lease may be counted from.
    pub fn send(&self, advert: &[u8], destination: IpAddr) -> Result<Instant, Error> {
        let address = socket_address(destination, self.ifindex);
        let sent_at = clock::now();
        match self.socket.send_to(advert, &address) {
            Ok(_) => Ok(sent_at),
            Err(source) => {
                Err(Error { operation: "send an advertisement to", object: destination.to_string(), source })
            }
        }
    }
}

fn open(route: &Route) -> io::Result<Socket> {
    let domain = if route.source.is_ipv6() { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, Type::RAW.nonblocking(), Some(Protocol::from(i32::from(VRRP_PROTOCOL))))?;
    // Raw sockets receive a copy of every packet of their protocol; this one keeps none.
    socket.attach_filter(&[SockFilter::new(libc::BPF_RET as u16, 0, 0, 0)])?;
    socket.bind_device(Some(route.interface.as_bytes()))?;
    match route.source {
        IpAddr::V4(_) => {
            socket.set_ttl_v4(HOP_LIMIT)?;
            socket.set_multicast_ttl_v4(HOP_LIMIT)?;
            socket.set_multicast_loop_v4(false)?;
            socket.set_tos_v4(TRAFFIC_CLASS)?;
            // The address may come a moment later than the agent; what is sent before fails and is tried again.
            socket.set_freebind_v4(true)?;
        }
        IpAddr::V6(_) => {
            socket.set_unicast_hops_v6(HOP_LIMIT)?;
            socket.set_multicast_hops_v6(HOP_LIMIT)?;
            socket.set_multicast_loop_v6(false)?;
            socket.set_multicast_if_v6(route.ifindex)?;
            socket.set_tclass_v6(TRAFFIC_CLASS)?;
            socket.set_freebind_v6(true)?;
        }
    }
    socket.bind(&socket_address(route.source, route.ifindex))?;
    Ok(socket)
}

fn socket_address(address: IpAddr, ifindex: u32) -> SockAddr {
    SockAddr::from(match address {
        IpAddr::V4(address) => SocketAddr::V4(SocketAddrV4::new(address, 0)),
        IpAddr::V6(address) => {
            let scope = if address.is_unicast_link_local() || address.is_multicast() { ifindex } else { 0 };
            SocketAddr::V6(SocketAddrV6::new(address, 0, 0, scope))
        }
    })
}
