//! Real-time priority for those who watch, and for loads that starve others.
#![expect(unsafe_code, reason = "the scheduler has no safe interface in the libraries at hand")]

use std::io;

use anyhow::{Context as _, Result};

/// Below whoever watches and above the agents' 40: what starves them.
pub const STARVER: i32 = 60;
/// Above everything else in the lab.
pub const OBSERVER: i32 = 70;

/// Puts the calling thread under `SCHED_FIFO`; what it starts is not (sched(7)).
pub fn take_priority(priority: i32) -> Result<()> {
    let parameters = libc::sched_param { sched_priority: priority };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: 0 names the calling thread, and `parameters` lives through the call.
    let result = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()).context("take real-time priority") }
}
