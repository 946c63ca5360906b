//! An interface as it is at one moment.

use std::io;
use std::net::IpAddr;

use agent_wire::MacAddress;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use nix::sys::socket::SockaddrStorage;

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
}
