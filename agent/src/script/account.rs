//! Who runs a script, and which programs that may be.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, User, getgrouplist};

/// Others than the owner may write there.
const GROUP_WRITES: u32 = 0o020;
const ALL_WRITE: u32 = 0o002;
/// Whoever may write in the folder may still not replace what belongs to others.
const STICKY: u32 = 0o1000;

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

    /// The program itself, where nobody but root and this user could have put another in its place.
    pub(super) fn program(&self, path: &Path) -> Result<PathBuf, String> {
        let program =
            fs::canonicalize(path).map_err(|error| format!("cannot be started: {}: {error}", path.display()))?;
        for part in program.ancestors() {
            let shown = part.display();
            let metadata = fs::metadata(part).map_err(|error| format!("cannot be started: {shown}: {error}"))?;
            let (mode, owner) = (metadata.mode(), Uid::from_raw(metadata.uid()));
            if part == program && !metadata.is_file() {
                return Err(format!("refused: {shown} is no file"));
            }
            if ![Uid::from_raw(0), Uid::effective(), self.uid].contains(&owner) {
                return Err(format!("refused: {shown} belongs neither to root nor to {} (chown root)", self.name));
            }
            let group_writes = mode & GROUP_WRITES != 0 && metadata.gid() != 0;
            let kept = metadata.is_dir() && mode & STICKY != 0;
            if (mode & ALL_WRITE != 0 || group_writes) && !kept {
                return Err(format!("refused: others can write {shown} (chmod go-w)"));
            }
        }
        Ok(program)
    }
}
