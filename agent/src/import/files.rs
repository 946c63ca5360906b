//! Reads a keepalived.conf and its includes from disk.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{ImportError, Imported, Include, MAX_FILES, MAX_TEXT, Place, Source, keepalived};

/// Why a file was not imported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Refused(#[from] ImportError),
}

/// Translates a keepalived.conf on disk; an `include` is relative to the file that holds it.
pub fn read_keepalived(path: &Path) -> Result<Imported, Error> {
    let bytes = read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let main = source(path, bytes)?;
    let mut refusal = None;
    let imported = keepalived(main, &mut |include| {
        included(include).map_err(|error| match error {
            Error::Read { path, source } => format!("cannot read {}: {source}", path.display()),
            Error::Refused(fault) => {
                // Its own place says more than that of the include line.
                let reason = fault.reason.clone();
                refusal = Some(fault);
                reason
            }
        })
    });
    match (imported, refusal) {
        (Err(_), Some(fault)) => Err(fault.into()),
        (imported, _) => Ok(imported?),
    }
}

fn included(Include { from, pattern }: Include<'_>) -> Result<Vec<Source>, Error> {
    // Joining an absolute pattern leaves only the pattern.
    let folder = Path::new(from).parent().unwrap_or(Path::new(""));
    let folder = glob::Pattern::escape(&folder.to_string_lossy());
    let pattern = Path::new(&folder).join(pattern);
    let refuse = |reason: String| Error::Read { path: pattern.clone(), source: io::Error::other(reason) };
    let found = glob::glob(&pattern.to_string_lossy()).map_err(|error| refuse(error.msg.to_owned()))?;
    let mut sources = Vec::new();
    for path in found.take(MAX_FILES + 1) {
        let path =
            path.map_err(|error| Error::Read { path: error.path().to_owned(), source: io::Error::from(error) })?;
        let bytes = read(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
        sources.push(source(&path, bytes)?);
    }
    Ok(sources)
}

/// Reads one byte more than is allowed at most, so that a device or a huge file does no harm.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_TEXT as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn source(path: &Path, bytes: Vec<u8>) -> Result<Source, ImportError> {
    let name = path.display().to_string();
    // A character may be cut in two at the limit.
    if bytes.len() > MAX_TEXT {
        let reason = format!("the file is longer than {MAX_TEXT} bytes");
        return Err(ImportError { place: Place { file: name, line: 1, column: 1 }, reason });
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source { name, text }),
        Err(error) => {
            let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
            let good = String::from_utf8_lossy(good);
            let line = good.matches('\n').count() + 1;
            let column = good.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            let reason = "no UTF-8 text; convert the file, as in: iconv -f GB18030 -t UTF-8".to_owned();
            Err(ImportError { place: Place { file: name, line, column }, reason })
        }
    }
}
