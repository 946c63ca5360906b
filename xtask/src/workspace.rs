//! Where things lie in the source tree.

use std::env;
use std::path::PathBuf;

/// The folder of the workspace's `Cargo.toml`.
pub(crate) fn root() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}

/// Cargo's target folder: `CARGO_TARGET_DIR`, else `target/`.
pub(crate) fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// Programs that `setup` built for this tree alone.
pub(crate) fn tools() -> PathBuf {
    root().join(".tools")
}

/// The BPF object that `agent/build.rs` embeds.
pub(crate) fn bpf_object() -> PathBuf {
    target().join("bpf/vipd.bpf.o")
}

/// The agent's binary of the release profile.
pub(crate) fn release_agent() -> PathBuf {
    target().join("release/vipd")
}
