use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Counted from 1.
    pub line: usize,
    /// The path to the key, as in `virtual_router[0].vrid`; empty for a fault of the syntax.
    pub key: String,
    /// The value as it stands in the file; `None`: there is none, or none of use here.
    pub found: Option<String>,
    /// What is allowed there.
    pub allowed: String,
    /// What to do.
    pub fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}", self.key)?;
            if let Some(found) = &self.found {
                write!(f, " = {found}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.allowed)?;
        if self.fix.is_empty() { Ok(()) } else { write!(f, "; {}", self.fix) }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read the configuration {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{}", list(path, problems))]
    Refused { path: PathBuf, problems: Vec<Problem> },
}

fn list(path: &Path, problems: &[Problem]) -> String {
    let mut lines: Vec<String> =
        problems.iter().map(|problem| format!("{}:{}: {problem}", path.display(), problem.line)).collect();
    let plural = if problems.len() == 1 { "" } else { "s" };
    lines.push(format!("{} problem{plural} in the configuration", problems.len()));
    lines.join("\n")
}
