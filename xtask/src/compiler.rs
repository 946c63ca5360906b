//! The compiler of the BPF object: one that has the sources of `core` beside it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command;

/// The LLVM that compiler and bpf-linker share; bitcode of another major version is not readable.
pub(crate) const LLVM: &str = "22";

/// The Debian packages of a compiler with its library's sources.
pub(crate) const PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];

pub(crate) struct Compiler {
    pub(crate) rustc: PathBuf,
    pub(crate) description: String,
}

impl Compiler {
    /// A rustup nightly with the component `rust-src`, else Debian's `/usr/bin/rustc`.
    pub(crate) fn find() -> Option<Self> {
        Self::nightly().or_else(Self::debian)
    }

    fn nightly() -> Option<Self> {
        let rustc = command::output(Command::new("rustup").args(["which", "--toolchain", "nightly", "rustc"]))
            .map(PathBuf::from)?;
        Self::examine(rustc)
    }

    fn debian() -> Option<Self> {
        Self::examine(PathBuf::from("/usr/bin/rustc"))
    }

    fn examine(rustc: PathBuf) -> Option<Self> {
        // Outside the tree, so that its rust-toolchain.toml says nothing.
        let sysroot = command::output(Command::new(&rustc).args(["--print", "sysroot"]).current_dir("/"))?;
        if !Path::new(&sysroot).join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file() {
            return None;
        }
        let version = command::output(Command::new(&rustc).arg("-vV").current_dir("/"))?;
        let llvm = version.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
        if llvm.split('.').next() != Some(LLVM) {
            return None;
        }
        let description = format!("{} with sources, LLVM {llvm}", version.lines().next().unwrap_or("rustc"));
        Some(Self { rustc, description })
    }
}
