//! When the machine itself stood still: what no program on it can help.
//!
//! The host of a virtual machine can take a processor away, and the kernel can be busy in a place where it lets nobody in.
//! A timer of the highest priority on each processor notices both.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::realtime;

/// The pause between two looks at the clock.
const PERIOD: Duration = Duration::from_millis(1);

/// Watches each processor until this value is dropped.
#[derive(Debug)]
pub struct Stalls {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<()>>>,
}

/// What was seen of all processors.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// How often a processor stood still for longer than asked for.
    pub count: usize,
    pub longest: Duration,
}

impl Stalls {
    pub fn watch(longer_than: Duration) -> Result<Self> {
        let processors = std::thread::available_parallelism().context("count the processors")?.get();
        let mut stalls = Self { seen: Arc::default(), stop: Arc::default(), threads: Vec::new() };
        for processor in 0..processors {
            let (seen, stop) = (Arc::clone(&stalls.seen), Arc::clone(&stalls.stop));
            let thread = std::thread::Builder::new().name(format!("stalls-{processor}"));
            let watch = move || watch(processor, longer_than, &seen, &stop);
            stalls.threads.push(thread.spawn(watch).context("start a thread")?);
        }
        Ok(stalls)
    }

    pub fn seen(&self) -> Seen {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if let Ok(Err(error)) = thread.join() {
                eprintln!("lab: who watches the processors: {error:#}");
            }
        }
    }
}

fn watch(processor: usize, longer_than: Duration, seen: &Mutex<Seen>, stop: &AtomicBool) -> Result<()> {
    let mut one = CpuSet::new();
    one.set(processor).context("name a processor")?;
    sched_setaffinity(Pid::from_raw(0), &one).context("stay on a processor")?;
    realtime::take_priority(realtime::OBSERVER)?;
    let mut looked = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(PERIOD);
        let now = Instant::now();
        let stood = (now - looked).saturating_sub(PERIOD);
        looked = now;
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.longest = seen.longest.max(stood);
        seen.count += usize::from(stood > longer_than);
    }
    Ok(())
}
