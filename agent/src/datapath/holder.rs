//! A network interface of the agent's own that carries no traffic.
#![expect(unsafe_code, reason = "the libraries at hand have no safe way to make a TUN interface")]

use std::ffi::c_char;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;

use nix::net::if_::if_nametoindex;

/// The kernel puts the first free number for `%d`.
const NAME: &[u8] = b"vipd%d";

/// A TUN interface that stays down; the kernel removes it with the last descriptor, even when the agent is killed.
#[derive(Debug)]
pub(super) struct Holder {
    ifindex: u32,
    _file: File,
}

impl Holder {
    /// Makes the interface in the network namespace of the calling thread; needs `CAP_NET_ADMIN`.
    pub(super) fn open() -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
        let mut ifr_name = [0 as c_char; libc::IFNAMSIZ];
        for (cell, octet) in ifr_name.iter_mut().zip(NAME) {
            *cell = octet.cast_signed() as c_char;
        }
        let flags = (libc::IFF_TUN | libc::IFF_NO_PI) as i16;
        let mut request = libc::ifreq { ifr_name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags } };
        // SAFETY: TUNSETIFF reads and writes one `ifreq`, which lives through the call.
        let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        let name = request.ifr_name.map(|letter| letter.to_ne_bytes()[0]);
        let name = name.split(|octet| *octet == 0).next().unwrap_or_default();
        let ifindex = if_nametoindex(name)?;
        Ok(Self { ifindex, _file: file })
    }

    pub(super) const fn ifindex(&self) -> u32 {
        self.ifindex
    }
}
