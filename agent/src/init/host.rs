//! What this host's own addresses suggest.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use nix::sys::socket::SockaddrStorage;

/// An address of an interface, and the length of its network's prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAddress {
    pub interface: String,
    pub address: IpAddr,
    pub prefix: u8,
}

/// The addresses of this host, without those that no other host can reach.
pub fn addresses_of_this_host() -> Result<Vec<HostAddress>> {
    let found = nix::ifaddrs::getifaddrs().context("cannot list the addresses of this host")?;
    let held = found.filter_map(|found| {
        let address = ip(found.address.as_ref()?)?;
        let mask = ip(found.netmask.as_ref()?)?;
        let prefix = match mask {
            IpAddr::V4(mask) => mask.to_bits().count_ones(),
            IpAddr::V6(mask) => mask.to_bits().count_ones(),
        };
        let prefix = u8::try_from(prefix).ok()?;
        (!address.is_loopback()).then_some(HostAddress { interface: found.interface_name, address, prefix })
    });
    Ok(held.collect())
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| address.ip().into());
    v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
}

/// The interface whose network holds the address; without one, the only interface that there is.
pub(super) fn interface_towards(host: &[HostAddress], near: Option<IpAddr>) -> Option<String> {
    if let Some(held) = near.and_then(|near| host.iter().find(|held| held.reaches(near))) {
        return Some(held.interface.clone());
    }
    let first = host.first()?;
    host.iter().all(|held| held.interface == first.interface).then(|| first.interface.clone())
}

/// The first address that shares a network with that one, or the first at all.
pub(super) fn primary(here: &[&HostAddress], near: Option<IpAddr>) -> Option<IpAddr> {
    let neighbour = near.and_then(|near| here.iter().find(|held| held.reaches(near)));
    neighbour.or(here.first()).map(|held| held.address)
}

/// The length of the prefix of the network that holds the address.
pub(super) fn prefix_of_network(here: &[&HostAddress], address: IpAddr) -> Option<u8> {
    here.iter().find(|held| held.reaches(address)).map(|held| held.prefix)
}

impl HostAddress {
    /// Whether the other address is in the same network.
    #[must_use]
    pub fn reaches(&self, other: IpAddr) -> bool {
        let same = |one: u128, other: u128, width: u8| {
            let host_bits = u32::from(width.saturating_sub(self.prefix));
            one.checked_shr(host_bits).unwrap_or(0) == other.checked_shr(host_bits).unwrap_or(0)
        };
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => same(own.to_bits().into(), other.to_bits().into(), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => same(own.to_bits(), other.to_bits(), 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}
