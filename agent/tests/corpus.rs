//! Every file of the fuzzers' corpora, and of the crashes they once found, through the same functions.

use std::fs;
use std::path::Path;

#[path = "../../fuzz/src/lib.rs"]
pub mod targets;

/// Limits of one corpus in the tree; `cargo xtask fuzz` minimises it.
const FILES: usize = 200;
const BYTES: usize = 200 * 1024;

#[test]
fn every_file_of_every_corpus_passes_its_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, target) in targets::TARGETS {
        let (mut files, mut bytes) = (0, 0);
        for entry in fs::read_dir(folder.join(name)).unwrap_or_else(|error| panic!("no corpus of {name}: {error}")) {
            let path = entry.unwrap().path();
            let content = fs::read(&path).unwrap();
            (files, bytes) = (files + 1, bytes + content.len());
            // The harness prints it when the target panics.
            println!("{}", path.display());
            target(&content);
        }
        assert!(files > 0, "the corpus of {name} is empty");
        assert!(files <= FILES && bytes <= BYTES, "{name}: {files} files, {bytes} bytes; minimise it");
    }
}
