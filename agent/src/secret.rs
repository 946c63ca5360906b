//! Passwords and keys, which never show in a log, a message or the status.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Longest file that is read as a secret, in bytes.
const MAX_LENGTH: u64 = 4096;

/// Permission bits that let the group or others read, write or execute a file.
const SHARED: u32 = 0o077;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {operation} {}", path.display())]
    Io {
        operation: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} has mode {mode:04o}: others must not reach a secret; run: chmod 0600 {}", path.display(), path.display())]
    Shared { path: PathBuf, mode: u32 },
    #[error("{} is longer than {MAX_LENGTH} bytes: it is no password or key", path.display())]
    TooLong { path: PathBuf },
    #[error("{} is not UTF-8 text", path.display())]
    NotText { path: PathBuf },
    #[error("{} is empty", path.display())]
    Empty { path: PathBuf },
}

/// A password or key; its content is only reached by [`Secret::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    #[must_use]
    pub fn new(content: impl Into<String>) -> Self {
        Self(content.into())
    }

    /// The content, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Reads a secret from its file and drops line ends at its end; a file that others can reach is refused.
    ///
    /// A relative path is looked up in `$CREDENTIALS_DIRECTORY` (systemd.exec(5), `LoadCredential=`).
    pub fn read(path: &Path) -> Result<Self, Error> {
        let path = locate(path);
        let io = |operation: &'static str| {
            let path = path.clone();
            move |source| Error::Io { operation, path, source }
        };
        let file = File::open(&path).map_err(io("open"))?;
        // The check and the reading are of one open file, so that no exchange fits in between.
        let mode = file.metadata().map_err(io("examine"))?.mode() & 0o7777;
        if mode & SHARED != 0 && !is_credential(&path) {
            return Err(Error::Shared { path, mode });
        }
        let mut bytes = Vec::new();
        file.take(MAX_LENGTH + 1).read_to_end(&mut bytes).map_err(io("read"))?;
        if bytes.len() as u64 > MAX_LENGTH {
            return Err(Error::TooLong { path });
        }
        let Ok(mut content) = String::from_utf8(bytes) else { return Err(Error::NotText { path }) };
        content.truncate(content.trim_end_matches(['\r', '\n']).len());
        if content.is_empty() { Err(Error::Empty { path }) } else { Ok(Self(content)) }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Where the file of a secret is: a relative path is a credential of systemd, where there are any.
#[must_use]
pub fn locate(path: &Path) -> PathBuf {
    match std::env::var_os("CREDENTIALS_DIRECTORY") {
        Some(directory) if path.is_relative() => Path::new(&directory).join(path),
        Some(_) | None => path.to_owned(),
    }
}

/// systemd keeps its credentials apart by the directory and an access list, which shows as mode 0440.
fn is_credential(path: &Path) -> bool {
    std::env::var_os("CREDENTIALS_DIRECTORY").is_some_and(|directory| path.starts_with(directory))
}

/// Says what is wrong with the file of a secret, if it is there and something is.
#[must_use]
pub fn complaint(path: &Path) -> Option<String> {
    if !locate(path).exists() {
        return None;
    }
    Secret::read(path).err().map(|error| match &error {
        Error::Io { source, .. } => format!("{error}: {source}"),
        Error::Shared { .. } | Error::TooLong { .. } | Error::NotText { .. } | Error::Empty { .. } => error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(name: &str, content: &[u8], mode: u32) -> PathBuf {
        let path = std::env::temp_dir().join(format!("vipd-secret-{}-{name}", std::process::id()));
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn the_line_end_is_not_part_of_it() {
        let path = file("line-end", b"s3cret \r\n\n", 0o600);
        assert_eq!(Secret::read(&path).unwrap().expose(), "s3cret ");
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn it_does_not_show() {
        assert_eq!(format!("{:?}", Some(Secret::new("s3cret"))), "Some(Secret(..))");
    }

    #[test]
    fn a_file_that_others_can_reach_is_refused() {
        for mode in [0o640, 0o604, 0o620, 0o601] {
            let path = file("shared", b"s3cret\n", mode);
            let message = Secret::read(&path).unwrap_err().to_string();
            assert!(message.contains(&format!("mode {mode:04o}")) && message.contains("chmod 0600"), "{message}");
            assert!(!message.contains("s3cret"));
            assert!(complaint(&path).is_some());
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        let empty = file("empty", b"\n", 0o600);
        assert!(matches!(Secret::read(&empty), Err(Error::Empty { .. })));
        let long = file("long", &[b'x'; 5000], 0o600);
        assert!(matches!(Secret::read(&long), Err(Error::TooLong { .. })));
        let binary = file("binary", &[0xff, 0xfe], 0o600);
        assert!(matches!(Secret::read(&binary), Err(Error::NotText { .. })));
        assert!(matches!(Secret::read(Path::new("/nonexistent/vipd")), Err(Error::Io { .. })));
        assert_eq!(complaint(Path::new("/nonexistent/vipd")), None);
        for path in [empty, long, binary] {
            fs::remove_file(path).unwrap();
        }
    }
}
