//! Announcements without a system call and a socket buffer each: one run of the BPF program `announce` with live frames
//! sends them all.
//!
//! The kernel reports success even where the driver took none of the frames, so no burst is believed: the interface's
//! own count of sent packets must have moved by as many.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::time::Instant;

use agent_wire::MacAddress;
use agent_wire::map::{ANNOUNCEMENTS, Announcement, CURSOR};
use aya::Ebpf;
use aya::maps::{Array, MapData};
use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp, XdpMode};
use nix::ifaddrs::getifaddrs;

use crate::causes::chain;

use super::holder::Holder;
use super::program::{missing, octets, typed};
use super::{Error, Router};

/// From how many addresses of one router on live frames are worth it: below, setting a run up costs more than it
/// saves (measured on a veth, see `docs/datapath.md`).
pub(super) const WORTH_IT: usize = 50;
const PROGRAM: &str = "announce";
/// Frames per batch: a veth has room for 256, and batches of 256 lost some.
const BATCH: u32 = 64;

/// The loaded program with its list, and what is known of the interfaces.
pub(super) struct LiveFrames {
    list: Array<MapData, Announcement>,
    cursor: Array<MapData, u32>,
    /// What the list holds.
    written: Vec<Announcement>,
    /// Where the list of each router begins.
    starts: Vec<usize>,
    /// By index, the interfaces that were tried.
    tried: BTreeSet<u32>,
    /// By index, the interfaces that have sent every frame so far.
    trusted: BTreeMap<u32, String>,
    /// The program of the object stays attached to it as long as it can run.
    _holder: Holder,
}

impl LiveFrames {
    /// Loads the program of an object, writes the list and tries every interface that it is worth it on.
    pub(super) fn open(object: &mut Ebpf, routers: &[Router]) -> Result<Self, Error> {
        let holder = Holder::open().map_err(|error| Error::program("make an interface for", PROGRAM, error))?;
        let program = program_of(object)?;
        program.load().map_err(|error| Error::program("load the program", PROGRAM, error))?;
        // A run of a program that is attached nowhere waits 16 to 30 ms for the kernel's grace periods.
        program
            .attach_to_if_index(holder.ifindex(), XdpMode::Skb)
            .map_err(|error| Error::program("attach to an interface of its own", PROGRAM, error))?;
        let (list, cursor) = (typed(object, ANNOUNCEMENTS)?, typed(object, CURSOR)?);
        let starts = routers.iter().scan(0, |next, router| {
            let start = *next;
            *next += router.addresses.len();
            Some(start)
        });
        let (starts, tried, trusted) = (starts.collect(), BTreeSet::new(), BTreeMap::new());
        let mut live = Self { list, cursor, written: Vec::new(), starts, tried, trusted, _holder: holder };
        live.follow(object, routers);
        Ok(live)
    }

    /// Tries every interface that it is worth it on and that is not known yet.
    pub(super) fn follow(&mut self, object: &mut Ebpf, routers: &[Router]) {
        for (index, router) in routers.iter().enumerate().filter(|(_, router)| router.addresses.len() >= WORTH_IT) {
            if router.ifindex != 0 && self.tried.insert(router.ifindex) {
                self.try_out(object, index, router);
            }
        }
    }

    /// Announces this host's own address once, which is true at any time, and writes the router's list in advance.
    fn try_out(&mut self, object: &mut Ebpf, index: usize, router: &Router) {
        let Some(mac) = hardware_address(&router.interface) else { return };
        let Some(&start) = self.starts.get(index) else { return };
        self.trusted.insert(router.ifindex, router.interface.clone());
        if self.send(object, start, router.ifindex, mac, &[router.source])
            && let Err(error) = self.write(start, &entries(router.ifindex, mac, &router.addresses))
        {
            self.distrust(router.ifindex, &chain(&error));
        }
    }

    /// Sends one announcement for each address; `false`: not all are known to have left, so another way must be taken.
    pub(super) fn announce(
        &mut self,
        object: &mut Ebpf,
        router: usize,
        ifindex: u32,
        mac: MacAddress,
        addresses: &[IpAddr],
    ) -> bool {
        let start = self.starts.get(router).copied();
        addresses.len() >= WORTH_IT && start.is_some_and(|start| self.send(object, start, ifindex, mac, addresses))
    }

    fn send(&mut self, object: &mut Ebpf, start: usize, ifindex: u32, mac: MacAddress, addresses: &[IpAddr]) -> bool {
        let Some(interface) = self.trusted.get(&ifindex).cloned() else { return false };
        let began = Instant::now();
        let before = sent_by(&interface);
        let run = self
            .write(start, &entries(ifindex, mac, addresses))
            .and_then(|()| self.run(object, start, addresses.len()));
        let after = sent_by(&interface);
        let moved = before.zip(after).map_or(0, |(before, after)| after.saturating_sub(before));
        match run {
            Ok(()) if moved >= addresses.len() as u64 => {
                tracing::debug!(interface, frames = addresses.len(), took = ?began.elapsed(), "announced by live frames");
                return true;
            }
            Ok(()) => self.distrust(ifindex, &format!("{moved} of {} frames left", addresses.len())),
            Err(error) => self.distrust(ifindex, &chain(&error)),
        }
        false
    }

    fn distrust(&mut self, ifindex: u32, reason: &str) {
        if let Some(interface) = self.trusted.remove(&ifindex) {
            tracing::debug!(interface, reason, "no live frames here: announcements leave by a packet socket");
        }
    }

    /// Writes what has changed.
    fn write(&mut self, start: usize, entries: &[Announcement]) -> Result<(), Error> {
        let failed = |error| Error::program("write the map", ANNOUNCEMENTS, error);
        for (index, entry) in (start..).zip(entries) {
            if self.written.get(index) != Some(entry) {
                self.list.set(position(index)?, entry, 0).map_err(failed)?;
                if self.written.len() <= index {
                    self.written.resize(index + 1, NOTHING);
                }
                self.written[index] = *entry;
            }
        }
        Ok(())
    }

    fn run(&mut self, object: &mut Ebpf, start: usize, count: usize) -> Result<(), Error> {
        let (start, repeat) = (position(start)?, position(count)?);
        self.cursor.set(0, start, 0).map_err(|error| Error::program("write the map", CURSOR, error))?;
        let options = TestRunOptions {
            data_in: Some(&[0; 64]),
            repeat,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::default()
        };
        let ran = program_of(object)?.test_run(options);
        ran.map(drop).map_err(|error| Error::program("run the program", PROGRAM, error))
    }
}

/// What a cell of the list holds before it is written: no frame.
const NOTHING: Announcement = Announcement { ifindex: 0, mac: [0; 6], family: 0, reserved: 0, address: [0; 16] };

fn entries(ifindex: u32, mac: MacAddress, addresses: &[IpAddr]) -> Vec<Announcement> {
    let entry = |address: &IpAddr| {
        let (family, address) = octets(*address);
        Announcement { ifindex, mac: mac.0, family, reserved: 0, address }
    };
    addresses.iter().map(entry).collect()
}

fn position(index: usize) -> Result<u32, Error> {
    u32::try_from(index).map_err(|error| Error::program("find a place in", ANNOUNCEMENTS, error))
}

fn program_of(object: &mut Ebpf) -> Result<&mut Xdp, Error> {
    let program = object.program_mut(PROGRAM).ok_or_else(|| missing("the program", PROGRAM))?;
    program.try_into().map_err(|error| Error::program("use the program", PROGRAM, error))
}

fn hardware_address(interface: &str) -> Option<MacAddress> {
    let entries = getifaddrs().ok()?.filter(|entry| entry.interface_name == interface);
    entries.filter_map(|entry| entry.address).find_map(|address| address.as_link_addr()?.addr()).map(MacAddress)
}

/// How many packets the interface has sent, in the network namespace of this thread.
fn sent_by(interface: &str) -> Option<u64> {
    packets_sent(&fs::read_to_string("/proc/thread-self/net/dev").ok()?, interface)
}

/// The tenth number of an interface's line in proc_net_dev.
fn packets_sent(table: &str, interface: &str) -> Option<u64> {
    let counts = table.lines().find_map(|line| line.trim_start().strip_prefix(interface)?.strip_prefix(':'))?;
    counts.split_ascii_whitespace().nth(9)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sent_packets_are_those_of_the_interface_itself() {
        let table = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
  eth10:       1       2    0    0    0     0          0         0        3       44    0    0    0     0       0          0
   eth1:       5       6    0    0    0     0          0         0        7        8    0    0    0     0       0          0
";
        assert_eq!(packets_sent(table, "eth1"), Some(8));
        assert_eq!(packets_sent(table, "eth10"), Some(44));
        assert_eq!(packets_sent(table, "eth"), None);
    }
}
