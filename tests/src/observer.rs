//! Who holds the virtual address: seen in both hosts, by nobody's word.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::network::Host;
use crate::realtime;

/// The pause between two looks.
const PERIOD: Duration = Duration::from_millis(5);

/// When a host had the address for certain: from the first look that found it to the last one.
///
/// `to` is `None` while it still has it.
#[derive(Clone, Copy, Debug)]
pub struct Holding {
    pub host: usize,
    pub from: Instant,
    pub to: Option<Instant>,
}

/// Looks at the addresses of every host each 5 ms.
#[derive(Debug)]
pub struct Observer {
    holdings: Arc<Mutex<Vec<Holding>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Observer {
    pub fn start(hosts: &[Host], address: impl Into<IpAddr>) -> Result<Self> {
        let address = address.into();
        let holdings = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for (number, host) in hosts.iter().enumerate() {
            let (holdings, stop) = (Arc::clone(&holdings), Arc::clone(&stop));
            let name = format!("observe-{}", host.name);
            threads.push(host.namespace.spawn(&name, move || watch(number, address, &holdings, &stop))?);
        }
        Ok(Self { holdings, stop, threads })
    }

    /// All holdings so far.
    pub fn holdings(&self) -> Vec<Holding> {
        self.holdings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The hosts that have the address now.
    pub fn holders(&self) -> Vec<usize> {
        self.holdings().iter().filter(|holding| holding.to.is_none()).map(|holding| holding.host).collect()
    }

    /// The longest time since `since` in which both hosts had the address.
    pub fn longest_overlap(&self, since: Instant) -> Duration {
        let now = Instant::now();
        let holdings = self.holdings();
        let mut longest = Duration::ZERO;
        for one in holdings.iter().filter(|holding| holding.host == 0) {
            for other in holdings.iter().filter(|holding| holding.host == 1) {
                let from = one.from.max(other.from).max(since);
                let to = one.to.unwrap_or(now).min(other.to.unwrap_or(now));
                longest = longest.max(to.saturating_duration_since(from));
            }
        }
        longest
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if let Ok(Err(error)) = thread.join() {
                eprintln!("lab: an observer: {error:#}");
            }
        }
    }
}

fn watch(host: usize, address: IpAddr, holdings: &Mutex<Vec<Holding>>, stop: &AtomicBool) {
    // A look that comes late sees less; without the privilege it comes when it can.
    realtime::take_priority(realtime::OBSERVER).ok();
    let mut held = false;
    let mut last_seen = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let looked = Instant::now();
        let holds = has(address);
        if holds != held {
            let mut holdings = holdings.lock().unwrap_or_else(PoisonError::into_inner);
            if holds {
                holdings.push(Holding { host, from: Instant::now(), to: None });
            } else if let Some(last) = holdings.iter_mut().rev().find(|holding| holding.host == host) {
                last.to = Some(last_seen);
            }
            held = holds;
        }
        if holds {
            last_seen = looked;
        }
        std::thread::sleep(PERIOD);
    }
}

/// Whether an interface of the calling thread's namespace has the address.
fn has(address: IpAddr) -> bool {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return false };
    let mut addresses = interfaces.filter_map(|interface| interface.address);
    addresses.any(|found| {
        let v4 = found.as_sockaddr_in().map(|found| IpAddr::V4(found.ip()));
        v4.or_else(|| found.as_sockaddr_in6().map(|found| IpAddr::V6(found.ip()))) == Some(address)
    })
}
