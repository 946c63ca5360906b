//! The interfaces of this host and the addresses on them, as the kernel tells of them.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use agent_wire::MacAddress;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, getsockname, recv, send, socket,
};
use rtnetlink::packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::packet_route::{AddressFamily as RouteFamily, RouteNetlinkMessage};

use crate::readiness::Readiness;

/// What is read at once; a flood of news must not keep the thread from its adverts.
const DATAGRAMS: usize = 256;

#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} the kernel's news of interfaces")]
pub struct Error {
    operation: &'static str,
    #[source]
    source: io::Error,
}

impl Error {
    fn new(operation: &'static str, source: impl Into<io::Error>) -> Self {
        Self { operation, source: source.into() }
    }
}

/// An interface as the kernel last told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub name: String,
    pub mac: MacAddress,
    /// Administratively up and with a carrier (`IFF_UP` and `IFF_LOWER_UP`).
    pub up: bool,
}

/// An address on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub ifindex: u32,
    pub address: IpAddr,
    /// The length of the prefix in bits; the kernel holds an address once for each.
    pub prefix: u8,
}

/// All interfaces and addresses of a network namespace, kept up to date by events (rtnetlink(7)).
///
/// When the kernel had to drop news, everything is asked for again.
#[derive(Debug)]
pub struct Interfaces {
    socket: OwnedFd,
    readiness: Readiness,
    buffer: Vec<u8>,
    table: Table,
    /// What is still to be asked for, and whether an answer is under way.
    asks: Vec<Ask>,
    asked: bool,
    answer: Answer,
    /// The kernel had to drop news.
    lost: bool,
}

/// What is known; addresses in the kernel's order, so that the first of an interface's family is its primary one.
#[derive(Debug, Default, PartialEq, Eq)]
struct Table {
    links: BTreeMap<u32, Link>,
    addresses: Vec<Held>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Links,
    Addresses,
}

/// How the answer to the last question is known.
#[derive(Clone, Copy, Debug)]
struct Answer {
    /// The address of this socket.
    port: u32,
    sequence: u32,
    ask: Ask,
    has_begun: bool,
}

impl Interfaces {
    /// Subscribes in the network namespace of the calling thread and reads what there is; needs a tokio runtime with
    /// I/O enabled.
    pub fn open() -> Result<Self, Error> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )
        .map_err(|errno| Error::new("open a socket for", errno))?;
        let groups = [libc::RTNLGRP_LINK, libc::RTNLGRP_IPV4_IFADDR, libc::RTNLGRP_IPV6_IFADDR];
        let groups = groups.iter().fold(0, |all, group| all | 1 << (group - 1));
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups)).map_err(|errno| Error::new("subscribe to", errno))?;
        let own: NetlinkAddr =
            getsockname(socket.as_raw_fd()).map_err(|errno| Error::new("open a socket for", errno))?;
        let answer = Answer { port: own.pid(), sequence: 0, ask: Ask::Links, has_begun: false };
        let readiness = Readiness::of(&socket).map_err(|error| Error::new("wait for", error))?;
        let buffer = vec![0; 64 * 1024];
        let mut interfaces = Self {
            socket,
            readiness,
            buffer,
            table: Table::default(),
            asks: Vec::new(),
            asked: false,
            answer,
            lost: false,
        };
        interfaces.begin_anew();
        while !interfaces.is_known() {
            interfaces.drain()?;
        }
        Ok(interfaces)
    }

    /// Whether nothing is left to be asked for; until then [`Self::link`] and [`Self::held`] tell a part only.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.asks.is_empty() && !self.asked
    }

    /// The interface of this name with its index.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<(u32, &Link)> {
        self.table.links.iter().find(|(_, link)| link.name == name).map(|(&index, link)| (index, link))
    }

    /// The addresses of an interface.
    pub fn held(&self, ifindex: u32) -> impl Iterator<Item = Held> {
        self.table.addresses.iter().copied().filter(move |held| held.ifindex == ifindex)
    }

    /// Whether an interface of this host has the address.
    #[must_use]
    pub fn is_local(&self, address: IpAddr) -> bool {
        self.table.addresses.iter().any(|held| held.address == address)
    }

    /// Waits for news; safe to cancel. [`Self::drain`] then takes it.
    pub async fn ready(&mut self) -> Result<(), Error> {
        let (socket, lost) = (self.socket.as_raw_fd(), &mut self.lost);
        let probe = || match recv(socket, &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT) {
            Err(errno @ Errno::EAGAIN) => Err(io::Error::from(errno)),
            // Told once only.
            Err(Errno::ENOBUFS) => {
                *lost = true;
                Ok(())
            }
            Ok(_) | Err(_) => Ok(()),
        };
        self.readiness.read(probe).await.map_err(|error| Error::new("wait for", error))
    }

    /// Takes the news that is there, without waiting; tells whether anything is different now.
    pub fn drain(&mut self) -> Result<bool, Error> {
        let mut changed = false;
        if std::mem::take(&mut self.lost) {
            self.begin_anew();
            changed = true;
        }
        for _ in 0..DATAGRAMS {
            self.ask()?;
            match recv(self.socket.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => {
                    let datagram = self.buffer.get(..length).unwrap_or_default();
                    let ended = self.table.take(datagram, &mut self.answer, &mut changed);
                    self.asked &= !ended;
                }
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(Errno::ENOBUFS) => {
                    self.begin_anew();
                    changed = true;
                }
                Err(errno) => return Err(Error::new("read", errno)),
            }
        }
        Ok(changed)
    }

    fn begin_anew(&mut self) {
        // The last is asked for first.
        self.asks = vec![Ask::Addresses, Ask::Links];
    }

    /// Asks for the next part, one at a time.
    fn ask(&mut self) -> Result<(), Error> {
        let Some(&ask) = self.asks.last().filter(|_| !self.asked) else { return Ok(()) };
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        header.sequence_number = self.answer.sequence.wrapping_add(1);
        let payload = match ask {
            Ask::Links => RouteNetlinkMessage::GetLink(LinkMessage::default()),
            Ask::Addresses => RouteNetlinkMessage::GetAddress(AddressMessage::default()),
        };
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(payload));
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        match send(self.socket.as_raw_fd(), &bytes, MsgFlags::MSG_DONTWAIT) {
            // An answer that was cut off by a loss of news still comes; this is asked when it has ended.
            Err(Errno::EBUSY) => self.asked = true,
            Err(errno) => return Err(Error::new("ask for", errno)),
            Ok(_) => {
                let Answer { port, sequence, .. } = self.answer;
                self.answer = Answer { port, sequence: sequence.wrapping_add(1), ask, has_begun: false };
                self.asks.pop();
                self.asked = true;
            }
        }
        Ok(())
    }
}

impl Table {
    /// Takes a datagram of the kernel; tells whether the answer to a question has ended in it.
    fn take(&mut self, mut datagram: &[u8], answer: &mut Answer, changed: &mut bool) -> bool {
        let mut ended = false;
        while let Ok(buffer) = NetlinkBuffer::new_checked(datagram) {
            let length = (buffer.length() as usize).next_multiple_of(4);
            if !answer.has_begun && (buffer.port_number(), buffer.sequence_number()) == (answer.port, answer.sequence) {
                // What was in the queue before it is older, and news that followed it may be lost.
                answer.has_begun = true;
                self.forget(answer.ask);
            }
            match NetlinkMessage::<RouteNetlinkMessage>::deserialize(datagram).map(|message| message.payload) {
                Ok(NetlinkPayload::InnerMessage(message)) => *changed |= self.take_message(message),
                Ok(NetlinkPayload::Done(_) | NetlinkPayload::Error(_)) => ended = true,
                // Of a kind that is not needed, or newer than the library.
                Ok(_) | Err(_) => {}
            }
            match datagram.get(length..) {
                Some(rest) if length > 0 => datagram = rest,
                Some(_) | None => break,
            }
        }
        ended
    }

    fn forget(&mut self, part: Ask) {
        match part {
            Ask::Links => self.links.clear(),
            Ask::Addresses => self.addresses.clear(),
        }
    }

    fn take_message(&mut self, message: RouteNetlinkMessage) -> bool {
        // A bridge tells of its ports in the same group: a port that leaves it has not vanished.
        let is_whole = |link: &LinkMessage| link.header.interface_family == RouteFamily::Unspec;
        if let RouteNetlinkMessage::NewLink(message) = message {
            let link = link_of(&message).filter(|_| is_whole(&message));
            link.is_some_and(|link| self.links.insert(message.header.index, link.clone()) != Some(link))
        } else if let RouteNetlinkMessage::DelLink(message) = message {
            let index = message.header.index;
            if !is_whole(&message) {
                return false;
            }
            self.addresses.retain(|held| held.ifindex != index);
            self.links.remove(&index).is_some()
        } else if let RouteNetlinkMessage::NewAddress(message) = message {
            let news = held_of(&message).filter(|held| !self.addresses.contains(held));
            self.addresses.extend(news);
            news.is_some()
        } else if let RouteNetlinkMessage::DelAddress(message) = message {
            let before = self.addresses.len();
            let gone = held_of(&message);
            self.addresses.retain(|held| Some(*held) != gone);
            self.addresses.len() != before
        } else {
            false
        }
    }
}

fn link_of(message: &LinkMessage) -> Option<Link> {
    let (mut name, mut mac) = (None, MacAddress::default());
    for attribute in &message.attributes {
        if let LinkAttribute::IfName(text) = attribute {
            name = Some(text.clone());
        } else if let LinkAttribute::Address(octets) = attribute {
            // Not every interface has an Ethernet address.
            mac = octets.as_slice().try_into().map_or(mac, MacAddress);
        }
    }
    Some(Link { name: name?, mac, up: message.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp) })
}

fn held_of(message: &AddressMessage) -> Option<Held> {
    let (mut address, mut local) = (None, None);
    for attribute in &message.attributes {
        if let AddressAttribute::Local(own) = attribute {
            local = Some(*own);
        } else if let AddressAttribute::Address(own) = attribute {
            address = Some(*own);
        }
    }
    // On a point-to-point interface the second is the other end.
    let address = local.or(address)?;
    Some(Held { ifindex: message.header.index, address, prefix: message.header.prefix_len })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(index: u32, address: &str) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.index = index;
        message.header.prefix_len = 24;
        message.attributes.push(AddressAttribute::Local(address.parse().unwrap()));
        message
    }

    fn link(index: u32, family: RouteFamily) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.interface_family = family;
        message.header.flags = LinkFlags::Up | LinkFlags::LowerUp;
        message.attributes.push(LinkAttribute::IfName("e0".into()));
        message.attributes.push(LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]));
        message
    }

    #[test]
    fn garbage_is_no_news() {
        let mut table = Table::default();
        let mut changed = false;
        let mut answer = Answer { port: 1, sequence: 1, ask: Ask::Links, has_begun: false };
        for bytes in [&[0; 40][..], &[16, 0, 0, 0]] {
            assert!(!table.take(bytes, &mut answer, &mut changed));
        }
        assert_eq!((table, changed, answer.has_begun), (Table::default(), false, false));
    }

    #[test]
    fn what_is_told_twice_changes_nothing() {
        let mut table = Table::default();
        let new = || RouteNetlinkMessage::NewAddress(address(3, "192.0.2.1"));
        assert!(table.take_message(new()));
        assert!(!table.take_message(new()));
        assert!(table.take_message(RouteNetlinkMessage::DelAddress(address(3, "192.0.2.1"))));
        assert!(!table.take_message(RouteNetlinkMessage::DelAddress(address(3, "192.0.2.1"))));
    }

    #[test]
    fn an_interface_that_vanishes_takes_its_addresses_along_and_one_that_leaves_a_bridge_stays() {
        let mut table = Table::default();
        assert!(table.take_message(RouteNetlinkMessage::NewLink(link(3, RouteFamily::Unspec))));
        let known = Link { name: "e0".into(), mac: MacAddress([2, 0, 0, 0, 0, 1]), up: true };
        assert_eq!(table.links.get(&3), Some(&known));
        for index in [3, 4] {
            table.take_message(RouteNetlinkMessage::NewAddress(address(index, "192.0.2.1")));
        }
        assert!(!table.take_message(RouteNetlinkMessage::DelLink(link(3, RouteFamily::Bridge))));
        assert!(table.take_message(RouteNetlinkMessage::DelLink(link(3, RouteFamily::Unspec))));
        assert_eq!(table.links.len(), 0);
        let other = Held { ifindex: 4, address: "192.0.2.1".parse().unwrap(), prefix: 24 };
        assert_eq!(table.addresses, [other]);
    }

    #[tokio::test]
    async fn loopback_is_known_from_the_start() {
        let mut interfaces = Interfaces::open().unwrap();
        let (index, link) = interfaces.link("lo").unwrap();
        assert_eq!((index, link.mac), (1, MacAddress([0; 6])));
        assert!(interfaces.link("nosuch0").is_none());
        assert!(!interfaces.drain().unwrap());
    }
}
