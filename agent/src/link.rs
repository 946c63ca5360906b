//! The network interfaces: what they are at start, and news of them.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use agent_wire::MacAddress;
use nix::errno::Errno;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, recv, send, socket,
};
use rtnetlink::packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};

use crate::readiness::Readiness;

#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {object}")]
pub struct Error {
    operation: &'static str,
    object: String,
    #[source]
    source: io::Error,
}

impl Error {
    fn new(operation: &'static str, object: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self { operation, object: object.into(), source: source.into() }
    }
}

/// An interface as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    pub index: u32,
    pub mac: MacAddress,
    /// In the kernel's order, so that the first of a family is the primary one.
    pub addresses: Vec<IpAddr>,
    /// Administratively up and with a carrier (`IFF_UP` and `IFF_LOWER_UP`).
    pub up: bool,
}

impl Interface {
    /// Reads the interface of this name in the network namespace of the calling thread.
    pub fn read(name: &str) -> Result<Self, Error> {
        let index = if_nametoindex(name).map_err(|errno| Error::new("find interface", name, errno))?;
        let mut interface =
            Self { name: name.to_owned(), index, mac: MacAddress::default(), addresses: Vec::new(), up: false };
        let entries = getifaddrs().map_err(|errno| Error::new("read the addresses of", name, errno))?;
        for entry in entries.filter(|entry| entry.interface_name == name) {
            interface.up = is_up(entry.flags);
            interface.take(&entry);
        }
        Ok(interface)
    }

    fn take(&mut self, entry: &InterfaceAddress) {
        let Some(address) = entry.address.as_ref() else { return };
        if let Some(mac) = address.as_link_addr().and_then(|link| link.addr()) {
            self.mac = MacAddress(mac);
        } else if let Some(address) = ip_of(address) {
            self.addresses.push(address);
        }
    }

    /// The address that advertisements come from when the configuration names none: the first of the family that
    /// `virtual_address` belongs to and that is not itself virtual, for IPv6 a link-local one (RFC 9568 §5.1.2.1).
    #[must_use]
    pub fn primary_address(&self, virtual_addresses: &[IpAddr]) -> Option<IpAddr> {
        let v6 = virtual_addresses.first()?.is_ipv6();
        self.addresses.iter().copied().find(|address| {
            let of_family = match address {
                IpAddr::V4(_) => !v6,
                IpAddr::V6(address) => v6 && address.is_unicast_link_local(),
            };
            of_family && !virtual_addresses.contains(address)
        })
    }
}

fn ip_of(address: &SockaddrStorage) -> Option<IpAddr> {
    match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
        (Some(address), _) => Some(IpAddr::V4(address.ip())),
        (None, Some(address)) => Some(IpAddr::V6(address.ip())),
        (None, None) => None,
    }
}

fn is_up(flags: InterfaceFlags) -> bool {
    flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_LOWER_UP)
}

/// News of one interface; one event may repeat what is known already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkEvent {
    pub index: u32,
    pub name: String,
    /// Administratively up and with a carrier; false when it has vanished.
    pub up: bool,
    /// The interface is gone, or has left this network namespace.
    pub vanished: bool,
}

/// The kernel's news of interfaces (netlink group RTNLGRP_LINK, rtnetlink(7)).
///
/// The first events tell the state of every interface. When the kernel had to drop news, the state is asked for again.
#[derive(Debug)]
pub struct LinkWatch {
    socket: OwnedFd,
    readiness: Readiness,
    pending: VecDeque<LinkEvent>,
    buffer: Vec<u8>,
    /// The state is to be asked for: at first, and after news was lost.
    ask: bool,
}

impl LinkWatch {
    /// Subscribes in the network namespace of the calling thread; needs a tokio runtime with I/O enabled.
    pub fn open() -> Result<Self, Error> {
        let failed = |operation| move |errno: Errno| Error::new(operation, "the netlink link group", errno);
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )
        .map_err(failed("open a socket for"))?;
        let groups = 1 << (libc::RTNLGRP_LINK - 1);
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups)).map_err(failed("subscribe to"))?;
        let readiness =
            Readiness::of(&socket).map_err(|source| Error::new("register", "the netlink link group", source))?;
        Ok(Self { socket, readiness, pending: VecDeque::new(), buffer: vec![0; 64 * 1024], ask: true })
    }

    /// The next event; safe to cancel.
    pub async fn next(&mut self) -> Result<LinkEvent, Error> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Ok(event);
            }
            if self.ask {
                self.ask_for_state()?;
            }
            let (socket, buffer) = (self.socket.as_raw_fd(), &mut self.buffer);
            let read = self.readiness.read(|| Ok(recv(socket, buffer, MsgFlags::MSG_DONTWAIT)?)).await;
            match read {
                Ok(length) => self.pending.extend(events_of(self.buffer.get(..length).unwrap_or_default())),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => self.ask = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::new("read", "the netlink link group", error)),
            }
        }
    }

    fn ask_for_state(&mut self) -> Result<(), Error> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        let payload = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(payload));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        match send(self.socket.as_raw_fd(), &bytes, MsgFlags::MSG_DONTWAIT) {
            // A dump is running already; ask again once the next part of it is read.
            Err(Errno::EBUSY) => {}
            Err(errno) => return Err(Error::new("ask for the state of", "the interfaces", errno)),
            Ok(_) => self.ask = false,
        }
        Ok(())
    }
}

/// The events in a datagram of the kernel; what is no link message is skipped.
fn events_of(mut datagram: &[u8]) -> Vec<LinkEvent> {
    let mut events = Vec::new();
    while let Ok(buffer) = NetlinkBuffer::new_checked(datagram) {
        let length = (buffer.length() as usize).next_multiple_of(4);
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(datagram);
        if let Ok(NetlinkMessage { payload: NetlinkPayload::InnerMessage(message), .. }) = message {
            events.extend(event_of(message));
        }
        match datagram.get(length..) {
            Some(rest) if length > 0 => datagram = rest,
            Some(_) | None => break,
        }
    }
    events
}

fn event_of(message: RouteNetlinkMessage) -> Option<LinkEvent> {
    let (link, vanished) = if let RouteNetlinkMessage::NewLink(link) = message {
        (link, false)
    } else if let RouteNetlinkMessage::DelLink(link) = message {
        (link, true)
    } else {
        return None;
    };
    let name = link
        .attributes
        .iter()
        .find_map(|attribute| if let LinkAttribute::IfName(name) = attribute { Some(name.clone()) } else { None })?;
    let up = !vanished && link.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp);
    Some(LinkEvent { index: link.header.index, name, up, vanished })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_read() {
        let lo = Interface::read("lo").unwrap();
        assert_eq!((lo.index, lo.mac), (1, MacAddress([0; 6])));
    }

    #[test]
    fn an_unknown_interface_is_an_error_that_names_it() {
        assert_eq!(Interface::read("nosuch0").unwrap_err().to_string(), "cannot find interface nosuch0");
    }

    #[test]
    fn virtual_addresses_are_not_primary() {
        let interface = Interface {
            name: "e0".into(),
            index: 2,
            mac: MacAddress::default(),
            addresses: ["192.0.2.9", "192.0.2.1", "2001:db8::1", "fe80::1"].map(|a| a.parse().unwrap()).to_vec(),
            up: true,
        };
        let primary = |vip: &str| interface.primary_address(&[vip.parse().unwrap()]);
        assert_eq!(primary("192.0.2.9"), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(primary("2001:db8::9"), Some("fe80::1".parse().unwrap()));
    }

    #[test]
    fn garbage_is_no_event() {
        assert_eq!(events_of(&[0; 40]), []);
        assert_eq!(events_of(&[16, 0, 0, 0]), []);
    }
}
