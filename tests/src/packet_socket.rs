//! Sockets that see whole frames of one interface.
#![expect(unsafe_code, reason = "a packet socket's address has no safe constructor")]

use std::os::fd::{AsRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use nix::sys::socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, SockaddrLike as _, bind, socket};

/// The `EtherType` of ARP.
pub const ARP: u16 = 0x0806;
/// Every `EtherType`, `ETH_P_ALL`.
pub const ALL: u16 = 0x0003;

/// A raw socket for the frames of an interface of the calling thread's namespace.
pub fn open(interface: &str, ether_type: u16) -> Result<OwnedFd> {
    // Protocol 0 until it is bound: nothing of other interfaces gets in.
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None::<SockProtocol>);
    let socket = socket.context("open a packet socket")?;
    let index = nix::net::if_::if_nametoindex(interface).with_context(|| format!("find {interface}"))?;
    let raw = libc::sockaddr_ll {
        sll_family: 17, // AF_PACKET
        sll_protocol: ether_type.to_be(),
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: `raw` is a complete sockaddr_ll that lives through the call, and its family says so.
    let address = unsafe { LinkAddr::from_raw((&raw const raw).cast(), None) };
    bind(socket.as_raw_fd(), &address.context("the address of a packet socket")?).context("bind a packet socket")?;
    Ok(socket)
}
