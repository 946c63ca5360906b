//! Waiting for a file descriptor of the kernel's to have something to read.
#![expect(unsafe_code, reason = "tokio leaves it to the caller that a registered descriptor stays open")]

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Tells when an object such as a socket, timer or ring buffer can be read.
///
/// It holds a duplicate of the descriptor, so that the object itself stays free to use.
#[derive(Debug)]
pub struct Readiness(AsyncFd<OwnedFd>);

impl Readiness {
    /// Watches the open file behind `object`; needs a tokio runtime with I/O enabled.
    pub fn of(object: &impl AsFd) -> io::Result<Self> {
        let descriptor = object.as_fd().try_clone_to_owned()?;
        // SAFETY: an `OwnedFd` stays open and the same until it is dropped, and it is private to the `AsyncFd`.
        let registered = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?;
        Ok(Self(registered))
    }

    /// Calls `attempt`, which must not block, until it gives something other than [`io::ErrorKind::WouldBlock`];
    /// safe to cancel.
    pub async fn read<T>(&self, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            let mut guard = self.0.readable().await?;
            if let Ok(outcome) = guard.try_io(|_| attempt()) {
                return outcome;
            }
        }
    }
}
