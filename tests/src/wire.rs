//! What the database hosts send: advertisements and announcements, seen at the switch.

use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::sys::socket::{LinkAddr, recvfrom, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};

use crate::network::Network;
use crate::{packet_socket, realtime};

/// `PACKET_OUTGOING` of packet(7): a frame that the switch sends to the host.
const OUTGOING: u8 = 4;

/// A frame that a host sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub at: Instant,
    /// The number of the database host.
    pub host: usize,
    pub what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Advertisement {
        vrid: u8,
        priority: u8,
    },
    /// Gratuitous ARP, request or reply.
    Announcement {
        address: Ipv4Addr,
    },
}

/// Listens at the switch's end of both hosts' cables.
#[derive(Debug)]
pub struct Wire {
    sent: Arc<Mutex<Vec<Sent>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<Result<()>>>>,
}

impl Wire {
    pub fn start(network: &Network) -> Result<Self> {
        let mut wire = Self { sent: Arc::default(), stop: Arc::default(), threads: Vec::new() };
        for (number, host) in network.databases.iter().enumerate() {
            let (sent, stop) = (Arc::clone(&wire.sent), Arc::clone(&wire.stop));
            let port = host.name.clone();
            let listen = move || listen(&port, number, &sent, &stop);
            wire.threads.push(network.switch.spawn(&format!("wire-{}", host.name), listen)?);
        }
        Ok(wire)
    }

    /// What was sent since the last call.
    pub fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut *self.sent.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if let Ok(Ok(Err(error)) | Err(error)) = thread.join() {
                eprintln!("lab: at the switch: {error:#}");
            }
        }
    }
}

/// When a host first announced the address, from `since` on.
pub fn first_announcement(sent: &[Sent], host: usize, address: Ipv4Addr, since: Instant) -> Option<Instant> {
    first(sent, host, since, |what| what == What::Announcement { address })
}

/// When a host first resigned, from `since` on.
pub fn first_resignation(sent: &[Sent], host: usize, vrid: u8, since: Instant) -> Option<Instant> {
    first(sent, host, since, |what| what == What::Advertisement { vrid, priority: 0 })
}

fn first(sent: &[Sent], host: usize, since: Instant, is_it: impl Fn(What) -> bool) -> Option<Instant> {
    sent.iter().filter(|sent| sent.host == host && sent.at >= since && is_it(sent.what)).map(|sent| sent.at).min()
}

fn listen(port: &str, host: usize, sent: &Mutex<Vec<Sent>>, stop: &AtomicBool) -> Result<()> {
    realtime::take_priority(realtime::OBSERVER)?;
    let socket = packet_socket::open(port, packet_socket::ALL)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(100)).context("set a time-out")?;
    let mut frame = [0; 128];
    while !stop.load(Ordering::Relaxed) {
        let (length, from) = match recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut frame) {
            Ok(received) => received,
            // A port without a carrier reports ENETDOWN once and goes on.
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ENETDOWN) => continue,
            Err(error) => return Err(error).with_context(|| format!("listen at {port}")),
        };
        let at = Instant::now();
        if from.is_some_and(|from| from.pkttype() == OUTGOING) {
            continue;
        }
        if let Some(what) = frame.get(..length).and_then(read) {
            sent.lock().unwrap_or_else(PoisonError::into_inner).push(Sent { at, host, what });
        }
    }
    Ok(())
}

/// What an Ethernet frame is, if it is one of those.
fn read(frame: &[u8]) -> Option<What> {
    match frame.get(12..14)? {
        // IPv4 without options, protocol 112.
        [0x08, 0x00] if *frame.get(14)? == 0x45 && *frame.get(23)? == 112 => {
            Some(What::Advertisement { vrid: *frame.get(35)?, priority: *frame.get(36)? })
        }
        // IPv6 without extension headers.
        [0x86, 0xdd] if *frame.get(20)? == 112 => {
            Some(What::Advertisement { vrid: *frame.get(55)?, priority: *frame.get(56)? })
        }
        [0x08, 0x06] => {
            let (sender, target) = (frame.get(28..32)?, frame.get(38..42)?);
            let address: [u8; 4] = sender.try_into().ok()?;
            (sender == target).then(|| What::Announcement { address: address.into() })
        }
        _ => None,
    }
}

/// The longest silence between two advertisements of one host for one virtual router.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silence {
    last: Option<(usize, Instant)>,
    pub longest: Duration,
}

impl Silence {
    /// Takes the next advertisement of the virtual router, of whichever host.
    pub fn note(&mut self, host: usize, at: Instant) {
        if let Some((before, last)) = self.last
            && before == host
        {
            self.longest = self.longest.max(at.saturating_duration_since(last));
        }
        self.last = Some((host, at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_is_that_of_one_host_and_not_the_pause_of_a_takeover() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut silence = Silence::default();
        for (host, when) in [(0, 0), (0, 10), (0, 35), (1, 100), (1, 110)] {
            silence.note(host, at(when));
        }
        assert_eq!(silence.longest, Duration::from_millis(25));
    }

    #[test]
    fn a_gratuitous_arp_is_one_whose_sender_and_target_are_the_same() {
        let mut frame = vec![0xff; 12];
        frame.extend([
            0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 77, 0, 150, 0, 0, 0, 0, 0, 0, 10, 77, 0, 150,
        ]);
        assert_eq!(read(&frame), Some(What::Announcement { address: Ipv4Addr::new(10, 77, 0, 150) }));
        frame[41] = 1;
        assert_eq!(read(&frame), None);
    }
}
