//! Busy loops on every processor.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::realtime;

/// How the loops compete.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// As any process does, without a pause.
    Normal,
    /// Before everything below [`realtime::STARVER`], the agents' election threads too: busy for `burst`, then idle.
    ///
    /// The kernel lets real-time threads have 950 ms of each second (`sched_rt_runtime_us`), so that a shorter burst
    /// is a whole one.
    Starving { burst: Duration, pause: Duration },
}

/// Threads that use up the processors until this value is dropped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts `per_processor` loops for each processor.
    pub fn start(kind: Kind, per_processor: usize) -> Result<Self> {
        let processors = std::thread::available_parallelism().context("count the processors")?.get();
        let stop = Arc::new(AtomicBool::new(false));
        let mut load = Self { stop, threads: Vec::new() };
        for _ in 0..processors * per_processor {
            let stop = Arc::clone(&load.stop);
            let thread = std::thread::Builder::new().name("load".to_owned()).spawn(move || run(kind, &stop));
            load.threads.push(thread.context("start a thread")?);
        }
        Ok(load)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                eprintln!("lab: a busy loop panicked");
            }
        }
    }
}

fn run(kind: Kind, stop: &AtomicBool) {
    let (burst, pause) = match kind {
        Kind::Normal => (Duration::from_millis(100), Duration::ZERO),
        Kind::Starving { burst, pause } => {
            if let Err(error) = realtime::take_priority(realtime::STARVER) {
                eprintln!("lab: {error:#}");
                return;
            }
            (burst, pause)
        }
    };
    let mut work = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let end = Instant::now() + burst;
        while Instant::now() < end {
            work = black_box(work.wrapping_mul(3).wrapping_add(1));
        }
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }
}
