//! Announcements: gratuitous ARP and unsolicited neighbour advertisements that lead neighbours and switches here.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use agent_wire::MacAddress;
use agent_wire::announcement::{ARP_FRAME, NEIGHBOUR_FRAME, write_gratuitous_arp, write_neighbour_advertisement};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, bind, getsockname, sendmmsg};
use socket2::{Domain, Socket, Type};

/// How many frames one system call sends.
const BATCH: usize = 64;

#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} interface {ifindex}")]
pub struct Error {
    operation: &'static str,
    ifindex: u32,
    #[source]
    source: io::Error,
}

/// Sends announcements, on one packet socket an interface that receives nothing.
#[derive(Debug, Default)]
pub struct Announcer {
    sockets: BTreeMap<u32, Socket>,
}

impl Announcer {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Announces each address on its interface once, with the hardware address that the interface has now.
    ///
    /// Needs `CAP_NET_RAW`. Every interface is tried; the error is that of the first that failed.
    pub fn announce(&mut self, addresses: impl IntoIterator<Item = (u32, IpAddr)>) -> Result<(), Error> {
        self.announce_by(addresses, |_, _, _| false)
    }

    /// As [`Self::announce`], but by `faster` where it says that all addresses of an interface have left.
    pub fn announce_by(
        &mut self,
        addresses: impl IntoIterator<Item = (u32, IpAddr)>,
        mut faster: impl FnMut(u32, MacAddress, &[IpAddr]) -> bool,
    ) -> Result<(), Error> {
        let mut by_interface = BTreeMap::<u32, Vec<IpAddr>>::new();
        for (ifindex, address) in addresses {
            by_interface.entry(ifindex).or_default().push(address);
        }
        let mut outcome = Ok(());
        for (ifindex, addresses) in by_interface {
            let announced = self.announce_on(ifindex, &addresses, &mut faster);
            if announced.is_err() {
                // The interface may have been made anew.
                self.sockets.remove(&ifindex);
            }
            outcome = outcome.and(announced);
        }
        outcome
    }

    fn announce_on(
        &mut self,
        ifindex: u32,
        addresses: &[IpAddr],
        faster: &mut impl FnMut(u32, MacAddress, &[IpAddr]) -> bool,
    ) -> Result<(), Error> {
        let failed = |operation| move |source| Error { operation, ifindex, source };
        let socket = match self.sockets.entry(ifindex) {
            std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::btree_map::Entry::Vacant(none) => {
                none.insert(open(ifindex).map_err(failed("open a packet socket on"))?)
            }
        };
        let mac = hardware_address(socket).map_err(failed("read the hardware address of"))?;
        if faster(ifindex, mac, addresses) {
            return Ok(());
        }
        let frames: Vec<_> = addresses.iter().map(|address| Frame::new(mac, *address)).collect();
        frames.chunks(BATCH).try_for_each(|batch| send(socket, batch)).map_err(failed("send announcements on"))
    }
}

enum Frame {
    Arp([u8; ARP_FRAME]),
    Neighbour([u8; NEIGHBOUR_FRAME]),
}

impl Frame {
    fn new(mac: MacAddress, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => {
                let mut frame = [0; ARP_FRAME];
                write_gratuitous_arp(&mut frame, mac, address);
                Self::Arp(frame)
            }
            IpAddr::V6(address) => {
                let mut frame = [0; NEIGHBOUR_FRAME];
                write_neighbour_advertisement(&mut frame, mac, address);
                Self::Neighbour(frame)
            }
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Arp(frame) => frame,
            Self::Neighbour(frame) => frame,
        }
    }
}

fn send(socket: &Socket, frames: &[Frame]) -> io::Result<()> {
    let mut sent = 0;
    while let Some(rest) = frames.get(sent..).filter(|rest| !rest.is_empty()) {
        let mut headers = MultiHeaders::<()>::preallocate(rest.len(), None);
        let slices: Vec<_> = rest.iter().map(|frame| [IoSlice::new(frame.bytes())]).collect();
        let nowhere = vec![None; rest.len()];
        match sendmmsg(socket.as_raw_fd(), &mut headers, &slices, nowhere, [], MsgFlags::empty()) {
            Ok(results) => sent += results.count().max(1),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Opens a packet socket of no protocol, which sends but receives nothing.
fn open(ifindex: u32) -> io::Result<Socket> {
    let is_it =
        |address: &SockaddrStorage| address.as_link_addr().is_some_and(|link| link.ifindex() == ifindex as usize);
    let address = getifaddrs()?.filter_map(|entry| entry.address).find(is_it);
    let address = address.ok_or_else(|| io::Error::from(Errno::ENODEV))?;
    let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), None)?;
    bind(socket.as_raw_fd(), &address)?;
    Ok(socket)
}

fn hardware_address(socket: &Socket) -> io::Result<MacAddress> {
    // The kernel's answer is shorter than a `sockaddr_ll`, by the end of the hardware address.
    let name = getsockname::<SockaddrStorage>(socket.as_raw_fd())?;
    let mac = name.as_link_addr().and_then(|link| link.addr());
    mac.map(MacAddress).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}
