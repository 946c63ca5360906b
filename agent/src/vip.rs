//! The virtual addresses in the kernel's tables.
//!
//! They carry a short lifetime, so that an agent that has gone leaves none behind, and a mark, so that they are known.

use std::io;
use std::net::IpAddr;
use std::sync::mpsc;
use std::thread;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::TryStreamExt;
use rtnetlink::Handle;
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol, CacheInfo,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

/// How long an address lives after it was added or renewed, in seconds, the unit of the kernel.
///
/// The kernel looks for the expired about once a second, so an address is gone at most 3 s after its last renewal.
pub const LIFETIME_S: u32 = 2;

/// What marks an address as vipd's (`IFA_PROTO`, kernel 5.18; older kernels ignore it): VRRP's protocol number.
///
/// `ip address show proto 112` lists them.
pub const MARK: u8 = 112;

/// A virtual address on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vip {
    pub ifindex: u32,
    pub address: IpAddr,
    /// The length of the prefix in bits.
    pub prefix: u8,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {object}")]
pub struct Error {
    operation: &'static str,
    object: String,
    #[source]
    source: io::Error,
}

impl Error {
    fn new(operation: &'static str, object: impl Into<String>, source: io::Error) -> Self {
        Self { operation, object: object.into(), source }
    }

    fn of_vip(operation: &'static str, vip: &Vip, source: io::Error) -> Self {
        let Vip { ifindex, address, prefix } = vip;
        Self::new(operation, format!("{address}/{prefix} on interface {ifindex}"), source)
    }
}

/// Keeps an interface from losing other addresses when one is removed.
///
/// Without `promote_secondaries` the kernel deletes with the first address of an IPv4 prefix all others of it.
pub fn promote_secondaries(interface: &str) -> Result<(), Error> {
    // An interface may be called `a.b`; under /proc/sys a name is one folder whatever it holds.
    let path = format!("/proc/sys/net/ipv4/conf/{interface}/promote_secondaries");
    std::fs::write(&path, "1").map_err(|source| Error::new("set", path, source))
}

/// Adds, renews and removes virtual addresses in one network namespace.
///
/// The kernel takes such requests under a lock that others may hold for long, so they are made on a thread of their own
/// and never make an advertisement late.
#[derive(Clone, Debug)]
pub struct Vips {
    kernel: Handle,
}

impl Vips {
    /// Opens the way to the kernel in the network namespace of the calling thread.
    pub fn open() -> Result<Self, Error> {
        let failed = |source| Error::new("open", "the netlink route socket", source);
        let (sender, receiver) = mpsc::channel();
        thread::Builder::new().name("vipd-addresses".into()).spawn(move || serve(&sender)).map_err(failed)?;
        let opened = receiver.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()));
        Ok(Self { kernel: opened.map_err(failed)? })
    }

    /// Makes the addresses local, or renews the lifetime of those that are; all of them are tried.
    pub async fn add(&self, vips: &[Vip]) -> Result<(), Error> {
        let added = vips.iter().map(|vip| async move {
            let flags = NLM_F_REPLACE | NLM_F_CREATE;
            let outcome = self.request(RouteNetlinkMessage::NewAddress(addition(vip)), flags).await;
            outcome.map_err(|source| Error::of_vip("add", vip, source))
        });
        join_all(added).await.into_iter().collect()
    }

    /// Starts the lifetime of the addresses anew.
    pub async fn renew(&self, vips: &[Vip]) -> Result<(), Error> {
        self.add(vips).await
    }

    /// Removes the addresses; those that are not there count as removed. All of them are tried.
    pub async fn remove(&self, vips: &[Vip]) -> Result<(), Error> {
        let removed = vips.iter().map(|vip| async move {
            match self.request(RouteNetlinkMessage::DelAddress(identity(vip)), 0).await {
                Err(error) if !matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::ENODEV)) => {
                    Err(Error::of_vip("remove", vip, error))
                }
                Ok(()) | Err(_) => Ok(()),
            }
        });
        join_all(removed).await.into_iter().collect()
    }

    /// The addresses in the kernel that bear vipd's mark.
    pub async fn leftover(&self) -> Result<Vec<Vip>, Error> {
        let messages = self.kernel.address().get().execute().try_collect::<Vec<_>>().await;
        let messages = messages.map_err(|error| Error::new("list", "the addresses", io::Error::other(error)))?;
        Ok(messages.iter().filter_map(marked).collect())
    }

    /// Removes all addresses that bear the mark from the interfaces, and gives them: an agent that starts holds none, so
    /// they are what one before it left behind, perhaps with another configuration.
    ///
    /// Two agents must therefore not share an interface.
    pub async fn remove_leftover(&self, interfaces: &[u32]) -> Result<Vec<Vip>, Error> {
        let mut leftover = self.leftover().await?;
        leftover.retain(|vip| interfaces.contains(&vip.ifindex));
        self.remove(&leftover).await?;
        Ok(leftover)
    }

    async fn request(&self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut kernel = self.kernel.clone();
        let mut answers = kernel.request(request).map_err(io::Error::other)?;
        while let Some(answer) = answers.next().await {
            if let NetlinkPayload::Error(error) = answer.payload
                && error.code.is_some()
            {
                return Err(error.to_io());
            }
        }
        Ok(())
    }
}

/// Carries requests to the kernel until the last [`Vips`] is dropped.
fn serve(opened: &mpsc::Sender<io::Result<Handle>>) {
    let connect = || -> io::Result<_> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (connection, handle, _news) = runtime.block_on(async { rtnetlink::new_connection() })?;
        Ok((runtime, connection, handle))
    };
    let answered = match connect() {
        Ok((runtime, connection, handle)) => {
            let answered = opened.send(Ok(handle));
            if answered.is_ok() {
                runtime.block_on(connection);
            }
            answered
        }
        Err(error) => opened.send(Err(error)),
    };
    if answered.is_err() {
        tracing::debug!("nobody waits for the netlink route socket any more");
    }
}

/// The message that names an address.
fn identity(vip: &Vip) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = if vip.address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    message.header.prefix_len = vip.prefix;
    message.header.index = vip.ifindex;
    message.attributes.push(AddressAttribute::Local(vip.address));
    message.attributes.push(AddressAttribute::Address(vip.address));
    message
}

/// The message that adds or renews an address.
fn addition(vip: &Vip) -> AddressMessage {
    let mut message = identity(vip);
    let mut lifetime = CacheInfo::default();
    lifetime.ifa_valid = LIFETIME_S;
    lifetime.ifa_preferred = LIFETIME_S;
    if vip.address.is_ipv6() {
        // Not preferred: the host's own connections, replication among them, must not come from an address that moves.
        lifetime.ifa_preferred = 0;
        // Duplicate address detection would take a second, and the address may still be on the old Active's interface.
        // A prefix route would take the short lifetime of this address over to the route of the host's own.
        message.header.flags = AddressHeaderFlags::Nodad;
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad | AddressFlags::Noprefixroute));
    }
    message.attributes.push(AddressAttribute::CacheInfo(lifetime));
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(MARK)));
    message
}

fn marked(message: &AddressMessage) -> Option<Vip> {
    let mark = AddressAttribute::Protocol(AddressProtocol::Other(MARK));
    if !message.attributes.contains(&mark) {
        return None;
    }
    let (mut own, mut local) = (None, None);
    for attribute in &message.attributes {
        if let AddressAttribute::Local(address) = attribute {
            local = Some(*address);
        } else if let AddressAttribute::Address(address) = attribute {
            own = Some(*address);
        }
    }
    // On a point-to-point interface the second is the other end.
    let address = local.or(own);
    Some(Vip { ifindex: message.header.index, address: address?, prefix: message.header.prefix_len })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vip(address: &str, prefix: u8) -> Vip {
        Vip { ifindex: 3, address: address.parse().unwrap(), prefix }
    }

    #[test]
    fn an_added_address_is_recognised_as_ours() {
        for vip in [vip("192.0.2.150", 24), vip("2001:db8::150", 64)] {
            assert_eq!(marked(&addition(&vip)), Some(vip));
            assert_eq!(marked(&identity(&vip)), None, "without the mark");
        }
    }

    #[test]
    fn an_ipv6_address_is_deprecated_and_makes_no_route() {
        let message = addition(&vip("2001:db8::150", 64));
        let flags = AddressFlags::Nodad | AddressFlags::Noprefixroute;
        assert!(message.attributes.contains(&AddressAttribute::Flags(flags)));
        let preferred = message.attributes.iter().find_map(|attribute| {
            if let AddressAttribute::CacheInfo(info) = attribute { Some(info.ifa_preferred) } else { None }
        });
        assert_eq!(preferred, Some(0));
    }
}
