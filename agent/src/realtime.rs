//! What keeps the election on time on a loaded host.
#![expect(unsafe_code, reason = "the scheduler has no safe interface in the libraries at hand")]

use std::io;

use nix::sys::mman::{MlockAllFlags, mlockall};

/// Above the interrupt threads' default of 50 nothing of ours belongs.
const PRIORITY: i32 = 40;

/// Asks for SCHED_FIFO and locked memory; a host that does not permit them runs without.
pub fn prefer_this_thread() {
    if let Err(error) = schedule_first_in_first_out() {
        tracing::warn!(%error, "no real-time scheduling: a loaded host may delay advertisements (CAP_SYS_NICE)");
    }
    if let Err(error) = lock_memory() {
        tracing::warn!(%error, "memory is not locked: a swapping host may delay advertisements (CAP_IPC_LOCK)");
    }
}

/// Puts the calling thread under SCHED_FIFO; threads it starts later do not inherit it (sched(7)).
pub fn schedule_first_in_first_out() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: PRIORITY };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: 0 names the calling thread, and `parameters` lives through the call.
    let result = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Locks what the process has mapped, and what it maps later once it is touched, into memory.
pub fn lock_memory() -> io::Result<()> {
    mlockall(
        MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT),
    )
    .map_err(io::Error::from)
}
