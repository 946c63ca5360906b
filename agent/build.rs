//! Finds the BPF object that the agent embeds.

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;

/// Exports `VIPD_BPF_OBJECT_PATH`: a copy of the object, or an empty file where none was built.
///
/// The object is `VIPD_BPF_OBJECT` when that is set, else what `cargo xtask build-ebpf` left in the target folder.
fn main() -> Result<(), Box<dyn Error>> {
    let embedded = PathBuf::from(env::var("OUT_DIR")?).join("vipd.bpf.o");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=VIPD_BPF_OBJECT");
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_DIR");
    let mut object = None;
    for candidate in candidates()? {
        if candidate.is_file() {
            println!("cargo::rerun-if-changed={}", candidate.display());
            object = Some(candidate);
            break;
        }
        // Cargo takes a missing file for a changed one each time; the folder changes when the file appears.
        if let Some(folder) = candidate.parent()
            && fs::create_dir_all(folder).is_ok()
        {
            println!("cargo::rerun-if-changed={}", folder.display());
        }
    }
    match object {
        Some(object) => {
            fs::copy(&object, &embedded)?;
        }
        None => {
            println!("cargo::warning=no BPF object: this agent's datapath is `socket`; run `cargo xtask build`");
            fs::write(&embedded, [])?;
        }
    }
    println!("cargo::rustc-env=VIPD_BPF_OBJECT_PATH={}", embedded.display());
    Ok(())
}

fn candidates() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    if let Some(named) = env::var_os("VIPD_BPF_OBJECT") {
        return Ok(vec![PathBuf::from(named)]);
    }
    let mut root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    root.pop();
    let mut targets = Vec::new();
    if let Some(target) = env::var_os("CARGO_TARGET_DIR") {
        targets.push(root.join(target));
    }
    targets.push(root.join("target"));
    Ok(targets.into_iter().map(|target| target.join("bpf/vipd.bpf.o")).collect())
}
