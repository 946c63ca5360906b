//! Several files, written all or not at all.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Writes every text beside its file first, so that a full disk leaves what was there; then renames them.
pub(super) fn write(files: &[(&Path, &str)]) -> Result<()> {
    let mut fresh = Vec::new();
    let written = files.iter().try_for_each(|(path, text)| {
        let beside = beside(path);
        fresh.push(beside.clone());
        write_one(&beside, text).with_context(|| format!("cannot write {}", path.display()))
    });
    let renamed = written.and_then(|()| {
        files.iter().zip(&fresh).try_for_each(|((path, _), beside)| {
            fs::rename(beside, path).with_context(|| format!("cannot write {}", path.display()))
        })
    });
    if renamed.is_err() {
        // What was renamed is not there any more, and what cannot be removed was named above.
        fresh.iter().for_each(|beside| drop(fs::remove_file(beside)));
    }
    renamed
}

fn write_one(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}
