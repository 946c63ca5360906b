//! `vipd import`: the configuration of another VRRP daemon as a vipd.toml, with a remark for all that has no equal.

mod blocks;
mod check;
mod files;
mod instance;
mod lexer;
mod script;
mod sections;
mod translation;
mod writer;

use std::fmt;

use self::blocks::Reader;
use self::translation::Translation;

pub use self::files::{Error, read_keepalived};

/// Longest text of all files together, in bytes.
const MAX_TEXT: usize = 1 << 20;
/// Most files that one import reads.
const MAX_FILES: usize = 256;
/// How deep includes may stand in one another.
const MAX_INCLUDES: usize = 16;
/// How deep blocks may stand in one another; keepalived itself uses four.
const MAX_DEPTH: usize = 32;
/// Most remarks that are kept.
const MAX_REMARKS: usize = 1000;

/// The text of one file and the name by which messages call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub name: String,
    pub text: String,
}

/// What an `include` line asks for.
#[derive(Clone, Copy, Debug)]
pub struct Include<'a> {
    /// The name of the file that holds the line.
    pub from: &'a str,
    /// A path, which may have wildcards and is relative to that file.
    pub pattern: &'a str,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
}

/// Something that has no equal, or that the user must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    pub place: Place,
    pub text: String,
}

/// Why nothing was imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {}", Printable(reason))]
pub struct ImportError {
    pub place: Place,
    pub reason: String,
}

/// A finished import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The text of a vipd.toml; it holds no password.
    pub toml: String,
    /// In the order of the files.
    pub remarks: Vec<Remark>,
    /// How many `[[virtual_router]]` there are.
    pub routers: usize,
}

/// Translates a keepalived.conf; `includes` finds the files of an `include` line or says why it cannot.
pub fn keepalived(
    main: Source,
    includes: &mut dyn FnMut(Include<'_>) -> Result<Vec<Source>, String>,
) -> Result<Imported, ImportError> {
    let mut reader = Reader::new(includes);
    let statements = reader.read(main)?;
    Ok(Translation::new(reader.into_notes()).run(&statements))
}

/// Text from a file without what would steer a terminal.
struct Printable<'a>(&'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        self.0.chars().try_for_each(|letter| f.write_char(if letter.is_control() { '\u{fffd}' } else { letter }))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", Printable(&self.file), self.line, self.column)
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, Printable(&self.text))
    }
}
