//! One system test at a time, and none without root.

use std::io::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::run::is_root;

static TURN: Mutex<()> = Mutex::new(());

/// Waits for this test's turn; `None` without root, which is said past the capture of the test runner.
pub fn turn() -> Option<MutexGuard<'static, ()>> {
    if is_root() {
        return Some(TURN.lock().unwrap_or_else(PoisonError::into_inner));
    }
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test");
    writeln!(std::io::stderr(), "SKIPPED {name}: it makes network namespaces and needs root").ok();
    None
}
