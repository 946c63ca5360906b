//! Who runs a script.

use std::ffi::CString;
use std::io;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, User, getgrouplist};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("user {name:?} of a script does not exist on this host: create it, or name another")]
    Unknown { name: String },
    #[error("user {name:?} of a script cannot be looked up")]
    Lookup {
        name: String,
        #[source]
        source: io::Error,
    },
}

/// A user of this host with all groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub(super) name: String,
    pub(super) uid: Uid,
    pub(super) gid: Gid,
    pub(super) groups: Vec<Gid>,
}

impl Account {
    /// Asks the name services, which may take time.
    pub fn find(name: &str) -> Result<Self, Error> {
        let failed = |errno: Errno| Error::Lookup { name: name.to_owned(), source: errno.into() };
        let user = User::from_name(name).map_err(failed)?.ok_or_else(|| Error::Unknown { name: name.to_owned() })?;
        let text = CString::new(name).map_err(|_| Error::Unknown { name: name.to_owned() })?;
        let groups = getgrouplist(&text, user.gid).map_err(failed)?;
        Ok(Self { name: name.to_owned(), uid: user.uid, gid: user.gid, groups })
    }
}
