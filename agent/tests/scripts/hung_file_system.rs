//! A file system that takes every request and answers none: whoever asks it for anything cannot even be killed.
#![expect(unsafe_code, reason = "mount and umount2 have no wrapper in std")]

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::thread;

use nix::sched::{CloneFlags, unshare};

/// FUSE_INIT, the one request that is answered (include/uapi/linux/fuse.h).
const INIT: u32 = 26;
const INIT_REPLY: usize = 16 + 64;

/// Mounted for the calling thread and those it starts; everybody it holds is let go on drop.
pub(crate) struct HungFileSystem {
    folder: PathBuf,
    server: Option<thread::JoinHandle<()>>,
}

impl HungFileSystem {
    /// `None`, said aloud, where the test lacks the privileges for it.
    pub(crate) fn mount(folder: &Path) -> Option<Self> {
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse");
        let Some(device) = device.ok().filter(|_| nix::unistd::geteuid().is_root()) else {
            eprintln!("SKIPPED: a file system that hangs needs root and /dev/fuse");
            return None;
        };
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount("none", Path::new("/"), "none", libc::MS_REC | libc::MS_PRIVATE, "");
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", device.as_raw_fd());
        mount("vipd-test", folder, "fuse", libc::MS_NOSUID | libc::MS_NODEV, &options);
        let server = thread::spawn(move || serve(device));
        Some(Self { folder: folder.to_owned(), server: Some(server) })
    }
}

/// Takes requests until the file system is gone.
fn serve(mut device: File) {
    let mut request = vec![0; 1 << 17];
    while let Ok(length) = device.read(&mut request) {
        let header = request.get(..length.min(40)).unwrap();
        let opcode = u32::from_ne_bytes(header[4..8].try_into().unwrap());
        if opcode != INIT {
            continue;
        }
        let mut reply = vec![0; INIT_REPLY];
        reply[0..4].copy_from_slice(&u32::try_from(INIT_REPLY).unwrap().to_ne_bytes());
        reply[8..16].copy_from_slice(&header[8..16]);
        // Version 7.31, writes of up to 4096 bytes.
        for (at, value) in [(16, 7_u32), (20, 31), (36, 4096)] {
            reply[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        assert_eq!(device.write(&reply).unwrap(), INIT_REPLY);
    }
}

fn mount(source: &str, target: &Path, kind: &str, flags: libc::c_ulong, options: &str) {
    let [source, target, kind, options] =
        [source, target.to_str().unwrap(), kind, options].map(|text| CString::new(text).unwrap());
    // SAFETY: four texts that end in a zero byte and live through the call.
    let mounted =
        unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast()) };
    assert_eq!(mounted, 0, "{}", std::io::Error::last_os_error());
}

impl Drop for HungFileSystem {
    fn drop(&mut self) {
        let folder = CString::new(self.folder.to_str().unwrap()).unwrap();
        // The first ends what hangs, and may find it busy for that.
        for flags in [libc::MNT_FORCE, libc::MNT_DETACH] {
            // SAFETY: a text that ends in a zero byte and lives through the call.
            unsafe { libc::umount2(folder.as_ptr(), flags) };
        }
        self.server.take().map(thread::JoinHandle::join);
    }
}
