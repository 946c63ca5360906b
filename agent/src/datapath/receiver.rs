use std::io::{self, IoSliceMut};
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use agent_core::{Advert, Instant, RouterId};
use agent_wire::checksum::VRRP_PROTOCOL;
use agent_wire::map::RouterConfig;
use agent_wire::vrrp::{self, Envelope, GROUP_V4, GROUP_V6, LONGEST};
use agent_wire::{Refusal, header};
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, SockaddrStorage, recvmsg, setsockopt, sockopt};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockFilter, Socket, Type};

use super::{Error, Router};
use crate::authentication::Verifier;
use crate::clock;
use crate::readiness::Readiness;

/// The longest IPv4 header and the longest message.
const LONGEST_PACKET: usize = 60 + LONGEST;

/// The raw socket that receives the advertisements of one virtual router.
///
/// It is open in every mode: a member of the group makes the interface and the switches let the group through, and what
/// XDP leaves alone comes in here.
#[derive(Debug)]
pub(super) struct Receiver {
    id: RouterId,
    demands: RouterConfig,
    verifier: Option<Verifier>,
    socket: Socket,
    readiness: Readiness,
    buffer: Vec<u8>,
    control: Vec<u8>,
    /// When the socket was last seen to hold nothing: what comes later has arrived later, whatever the clock did.
    empty_at: Instant,
}

/// What one packet turned out to be.
pub(super) type Received = Result<Advert, Refusal>;

impl Receiver {
    pub(super) fn open(id: RouterId, router: &Router) -> Result<Self, Error> {
        let failed = |source: io::Error| {
            Error::socket(
                "open the receiving socket on",
                format!("{} of vrid {}", router.interface, router.vrid.as_u8()),
                source,
            )
        };
        let socket = open(router).map_err(failed)?;
        let readiness = Readiness::of(&socket).map_err(failed)?;
        let control = nix::cmsg_space!(nix::sys::time::TimeSpec, libc::c_int, libc::in6_pktinfo);
        let buffer = vec![0; LONGEST_PACKET];
        let demands = router.demands(u32::try_from(id.0).unwrap_or_default());
        let verifier = router.authentication.verifier(router.interval);
        Ok(Self { id, demands, verifier, socket, readiness, buffer, control, empty_at: clock::now() })
    }

    pub(super) const fn id(&self) -> RouterId {
        self.id
    }

    /// Waits until there is something to receive.
    pub(super) async fn ready(&self) -> Result<(), Error> {
        let probe = || match nix::sys::socket::recv(
            self.socket.as_raw_fd(),
            &mut [],
            MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT,
        ) {
            // An error of the socket is for `receive` to report.
            Ok(_) => Ok(()),
            Err(errno) if errno != Errno::EAGAIN => Ok(()),
            Err(errno) => Err(io::Error::from(errno)),
        };
        self.readiness.read(probe).await.map_err(|source| Error::socket("wait for", "advertisements", source))
    }

    /// The next packet for the router, or `None` when there is none now.
    pub(super) fn receive(&mut self, router: &Router) -> Result<Option<Received>, Error> {
        loop {
            // Taken before the attempt, so that a packet that comes just after it is not later than this.
            let asked_at = clock::now();
            let mut parts = [IoSliceMut::new(&mut self.buffer)];
            let message = recvmsg::<SockaddrStorage>(
                self.socket.as_raw_fd(),
                &mut parts,
                Some(&mut self.control),
                MsgFlags::MSG_DONTWAIT,
            );
            let message = match message {
                Ok(message) => message,
                Err(Errno::EAGAIN) => {
                    self.empty_at = asked_at;
                    return Ok(None);
                }
                // The interface is down or gone, which the link watch tells, or an ICMP error came back.
                Err(Errno::EINTR | Errno::ENETDOWN | Errno::ENODEV | Errno::EHOSTUNREACH | Errno::ENETUNREACH) => {
                    continue;
                }
                Err(errno) => return Err(Error::socket("receive on", &router.interface, errno)),
            };
            let (mut arrived_at, mut since_1970) = (asked_at, None);
            let (mut hop_limit, mut destination) = (0, None);
            for part in message.cmsgs().into_iter().flatten() {
                if let ControlMessageOwned::ScmTimestampns(stamp) = part {
                    arrived_at = clock::from_realtime(Duration::from(stamp)).max(self.empty_at);
                    since_1970 = Some(Duration::from(stamp));
                } else if let ControlMessageOwned::Ipv6HopLimit(limit) = part {
                    hop_limit = u8::try_from(limit).unwrap_or(0);
                } else if let ControlMessageOwned::Ipv6PacketInfo(info) = part {
                    destination = Some(IpAddr::from(info.ipi6_addr.s6_addr));
                }
            }
            let source = message.address.as_ref().and_then(SockaddrStorage::as_sockaddr_in6).map(SockaddrIn6::ip);
            let truncated = message.flags.contains(MsgFlags::MSG_TRUNC);
            let length = message.bytes;
            let packet = self.buffer.get(..length).unwrap_or_default();
            let located = match (source, destination) {
                _ if truncated => Err(Refusal::Truncated),
                (Some(source), Some(destination)) => {
                    Ok((Envelope { source: source.into(), destination, hop_limit }, packet))
                }
                _ => locate_v4(packet),
            };
            let Self { id, demands, verifier, .. } = self;
            return Ok(Some(located.and_then(|(envelope, message)| {
                let checked = vrrp::check::<LONGEST>(&envelope, message, demands)?;
                if let Some(verifier) = verifier {
                    verifier.verify(envelope.source, message, since_1970.unwrap_or_else(clock::since_1970))?;
                }
                let (priority, interval) = (checked.priority, checked.interval);
                Ok(Advert { router: *id, source: envelope.source, priority, interval, arrived_at })
            })));
        }
    }
}

fn locate_v4(packet: &[u8]) -> Result<(Envelope, &[u8]), Refusal> {
    let located = header::locate_v4(packet)?;
    let message = packet.get(located.start..located.start + located.length).ok_or(Refusal::Truncated)?;
    Ok((located.envelope, message))
}

fn open(router: &Router) -> io::Result<Socket> {
    let v6 = router.source.is_ipv6();
    let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
    let protocol = Some(Protocol::from(i32::from(VRRP_PROTOCOL)));
    let socket = Socket::new(domain, Type::RAW.nonblocking(), protocol)?;
    socket.attach_filter(&filter(v6, router.vrid.as_u8()))?;
    socket.bind_device(Some(router.interface.as_bytes()))?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    if v6 {
        socket.set_recv_hoplimit_v6(true)?;
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        socket.join_multicast_v6(&GROUP_V6, router.ifindex)?;
    } else {
        socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(router.ifindex))?;
    }
    Ok(socket)
}

/// Keeps the messages of this virtual router: classic BPF on the packet as the socket
/// gets it, in IPv4 with its header, in IPv6 without.
fn filter(v6: bool, vrid: u8) -> Vec<SockFilter> {
    let op = |parts: u32| u16::try_from(parts).unwrap_or_default();
    // X: where the message starts.
    let start = if v6 {
        SockFilter::new(op(libc::BPF_LDX | libc::BPF_IMM), 0, 0, 0)
    } else {
        SockFilter::new(op(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH), 0, 0, 0)
    };
    vec![
        start,
        // A load beyond the end drops the packet: it belongs to no router.
        SockFilter::new(op(libc::BPF_LD | libc::BPF_B | libc::BPF_IND), 0, 0, 1),
        SockFilter::new(op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K), 0, 1, u32::from(vrid)),
        SockFilter::new(op(libc::BPF_RET | libc::BPF_K), 0, 0, u32::MAX),
        SockFilter::new(op(libc::BPF_RET | libc::BPF_K), 0, 0, 0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_packet_is_truncated() {
        assert_eq!(locate_v4(&[0x45; 19]), Err(Refusal::Truncated));
    }
}
