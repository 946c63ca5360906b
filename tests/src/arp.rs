//! Who answers for the virtual address on the wire.

use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::socket::{MsgFlags, recv, send};

use crate::network::{Host, INTERFACE};
use crate::packet_socket::{self, ARP};

/// The pause between two requests.
const PERIOD: Duration = Duration::from_millis(10);
const REPLY: [u8; 2] = [0, 2];

/// An ARP reply for the address.
#[derive(Clone, Debug)]
pub struct Answer {
    pub at: Instant,
    /// The hardware address that it names, as text.
    pub mac: String,
}

/// Asks for an address by broadcast each 10 ms and writes down who answers.
#[derive(Debug)]
pub struct ArpProbe {
    answers: Arc<Mutex<Vec<Answer>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Result<()>>>>,
}

impl ArpProbe {
    pub fn start(from: &Host, address: Ipv4Addr) -> Result<Self> {
        let answers = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let mac = octets(&from.mac()?)?;
        let source = from.address;
        let (shared, ended) = (Arc::clone(&answers), Arc::clone(&stop));
        let probe = move || -> Result<()> {
            let socket = packet_socket::open(INTERFACE, ARP)?;
            while !ended.load(Ordering::Relaxed) {
                send(socket.as_raw_fd(), &request(mac, source, address), MsgFlags::empty())
                    .context("send a request")?;
                std::thread::sleep(PERIOD);
                let mut frame = [0_u8; 128];
                while let Ok(length) = recv(socket.as_raw_fd(), &mut frame, MsgFlags::MSG_DONTWAIT) {
                    if let Some(mac) = replied(frame.get(..length).unwrap_or_default(), address) {
                        let answer = Answer { at: Instant::now(), mac };
                        shared.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
                    }
                }
            }
            Ok(())
        };
        let thread = from.namespace.spawn("arp-probe", probe)?;
        Ok(Self { answers, stop, thread: Some(thread) })
    }

    /// All answers so far.
    pub fn answers(&self) -> Vec<Answer> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for ArpProbe {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Ok(Ok(Err(error)))) = self.thread.take().map(JoinHandle::join) {
            eprintln!("lab: the ARP probe: {error:#}");
        }
    }
}

/// A broadcast request (RFC 826) in an Ethernet frame.
fn request(mac: [u8; 6], source: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let header = [0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1];
    [&[0xff; 6][..], &mac, &header, &mac, &source.octets(), &[0; 6], &target.octets()].concat()
}

/// The hardware address that a reply for `address` names.
fn replied(frame: &[u8], address: Ipv4Addr) -> Option<String> {
    let is_reply = frame.get(12..14)? == [0x08, 0x06] && frame.get(20..22)? == REPLY;
    if !is_reply || frame.get(28..32)? != address.octets() {
        return None;
    }
    let mac: Vec<String> = frame.get(22..28)?.iter().map(|octet| format!("{octet:02x}")).collect();
    Some(mac.join(":"))
}

fn octets(mac: &str) -> Result<[u8; 6]> {
    let octets: Vec<u8> = mac.split(':').map(|octet| u8::from_str_radix(octet, 16)).collect::<Result<_, _>>()?;
    octets.try_into().ok().context("a MAC address has six octets")
}
