use std::fs;
use std::io;
use std::mem::size_of;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use agent_wire::map::{
    ADVERTS, LAYOUT_VERSION, LEASES, OUTCOMES, ROUTERS, RouterConfig, RouterKey, TRANSMIT, VIPS, VipGate, VipKey,
};
use aya::maps::MapInfo;

use super::Mode;

/// The maps that outlive the agent.
pub(super) const MAPS: [&str; 6] = [ROUTERS, VIPS, LEASES, ADVERTS, OUTCOMES, TRANSMIT];
/// The name of the XDP program, in the object and as a pin.
pub(super) const PROGRAM: &str = "vipd";
/// A symbolic link, the one thing besides pins that a BPF file system holds, to the layout's version.
const LAYOUT: &str = "layout";
const LINK_PREFIX: &str = "link_";

/// Key and value sizes in octets: aya adopts a pinned map of any size, and the kernel then reads past the value.
const SIZES: [(&str, usize, usize); 5] = [
    (ROUTERS, size_of::<RouterKey>(), size_of::<RouterConfig>()),
    (VIPS, size_of::<VipKey>(), size_of::<VipGate>()),
    (LEASES, 4, 8),
    (OUTCOMES, 4, 8),
    (TRANSMIT, 4, 4),
];

/// Makes the folder, and empties it when what is pinned there has another layout.
pub(super) fn prepare(dir: &Path) -> io::Result<()> {
    let layout = LAYOUT_VERSION.to_string();
    let layout_path = dir.join(LAYOUT);
    let pinned = fs::read_link(&layout_path).ok();
    if pinned.as_deref() != Some(Path::new(&layout)) || !sizes_fit(dir) {
        remove(dir)?;
        fs::create_dir_all(dir)?;
        symlink(&layout, &layout_path)?;
    }
    Ok(())
}

fn sizes_fit(dir: &Path) -> bool {
    SIZES.iter().all(|&(name, key, value)| {
        // A map that is missing is made anew.
        let path = dir.join(name);
        !path.exists()
            || MapInfo::from_pin(&path)
                .is_ok_and(|info| info.key_size() as usize == key && info.value_size() as usize == value)
    })
}

/// Where the link to an interface is pinned; the kernel allows no dot in such a name.
pub(super) fn link_path(dir: &Path, interface: &str, ifindex: u32, mode: Mode) -> PathBuf {
    dir.join(format!("{LINK_PREFIX}{}_{ifindex}_{}", interface.replace('.', "-"), mode.as_str()))
}

/// Detaches the program wherever it is attached by a pinned link that is not among `kept`.
pub(super) fn remove_links(dir: &Path, kept: &[PathBuf]) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(LINK_PREFIX) && !kept.contains(&entry.path()) {
            remove_file(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes everything that vipd has pinned in a folder, which detaches the program and forgets the gates.
///
/// What others keep there stays. A folder that is not there counts as removed.
pub fn remove(dir: &Path) -> io::Result<()> {
    match remove_links(dir, &[]) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        done => done?,
    }
    for name in MAPS.into_iter().chain([PROGRAM, LAYOUT]) {
        remove_file(&dir.join(name))?;
    }
    match fs::remove_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        done => done,
    }
}

/// Removes a file; one that is not there counts as removed.
pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
