use std::collections::BTreeSet;
use std::fmt;
use std::hash::Hash;
use std::io;
use std::mem::{offset_of, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_core::{Advert, Gate, Instant, RouterId};
use agent_wire::map::{
    self, ADVERTS, AdvertSeen, GATE_REFUSE, GATE_SERVE, LEASES, OUTCOMES, ROUTERS, RouterConfig, RouterKey, TRANSMIT,
    Transmit, VIPS, VipGate, VipKey,
};
use agent_wire::{MacAddress, Priority};
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, RingBuf};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::{XdpLink, XdpLinkId};
use aya::programs::{ProgramError, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader, Pod};

use super::kernel_log::KernelLog;
use super::live_frames::{self, LiveFrames};
use super::{Counters, Error, Mode, Position, Router, path_text, pins};
use crate::causes::chain;
use crate::readiness::Readiness;

/// The BPF object as it was built; empty where it was not.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("VIPD_BPF_OBJECT_PATH"));

/// The attached XDP program, by its maps.
pub(super) struct Program {
    mode: Mode,
    adverts: RingBuf<MapData>,
    /// Taken from the ring, but not handed in yet.
    seen: Vec<Advert>,
    readiness: Readiness,
    vips: HashMap<MapData, VipKey, VipGate>,
    leases: Array<MapData, u64>,
    outcomes: PerCpuArray<MapData, u64>,
    routers: HashMap<MapData, RouterKey, RouterConfig>,
    /// Holds the programs; dropped before the interface that `live_frames` keeps for one of them.
    object: Ebpf,
    live_frames: Option<LiveFrames>,
    log: Option<KernelLog>,
}

/// Whose program the pinned links hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Links {
    /// Perhaps that of an agent before this one.
    TakenOver,
    /// This one's.
    Own,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// Whether this binary was built with its BPF programs.
#[must_use]
pub const fn has_programs() -> bool {
    !OBJECT.is_empty()
}

impl Program {
    /// Loads the program with its maps, pins both and attaches it to every interface of the routers; on failure
    /// nothing of it is left.
    pub(super) fn attach(mode: Mode, routers: &[Router], gates: &[Position], dir: &Path) -> Result<Self, Error> {
        if OBJECT.is_empty() {
            return Err(Error::BuiltWithoutBpf);
        }
        let attached = Self::attach_pinned(mode, routers, gates, dir);
        if attached.is_err()
            && let Err(error) = pins::remove(dir)
        {
            tracing::warn!(%error, dir = %dir.display(), "cannot remove the pins of a failed attempt");
        }
        attached
    }

    fn attach_pinned(mode: Mode, routers: &[Router], gates: &[Position], dir: &Path) -> Result<Self, Error> {
        pins::prepare(dir).map_err(|error| {
            Error::program("use (is a BPF file system mounted there?) the folder", path_text(dir), error)
        })?;
        let paths: Vec<_> = pins::MAPS.iter().map(|&name| (name, dir.join(name))).collect();
        let mut loader = EbpfLoader::new();
        for (name, path) in &paths {
            loader.map_pin_path(name, path.as_path());
        }
        let mut object = loader.load(OBJECT).map_err(|error| Error::program("load", "the BPF object", error))?;

        // The kernel looks the maps up here; afterwards the program keeps them itself.
        xdp_of(&mut object)?.load().map_err(|error| Error::program("load", "the XDP program", error))?;
        let mut program = Self::of_maps(mode, object)?;
        program.configure(routers, gates)?;
        program.attach_links(routers, dir, Links::TakenOver)?;
        let pin = dir.join(pins::PROGRAM);
        pins::remove_file(&pin).map_err(|error| Error::program("remove the old pin", path_text(&pin), error))?;
        let xdp = xdp_of(&mut program.object)?;
        xdp.pin(&pin).map_err(|error| Error::program("pin", path_text(&pin), error))?;
        program.follow_log();
        program.open_live_frames(routers);
        Ok(program)
    }

    /// Attaches the program, which is loaded, to the interfaces that are new and lets go of those that have gone.
    ///
    /// To load it again would keep the thread for half a second in the kernel's verifier.
    pub(super) fn follow(&mut self, routers: &[Router], gates: &[Position], dir: &Path) -> Result<(), Error> {
        self.configure(routers, gates)?;
        self.attach_links(routers, dir, Links::Own)?;
        if let Some(live) = &mut self.live_frames {
            live.follow(&mut self.object, routers);
        }
        Ok(())
    }

    fn of_maps(mode: Mode, mut loaded: Ebpf) -> Result<Self, Error> {
        let object = &mut loaded;
        let mut transmit: Array<MapData, u32> = typed(object, TRANSMIT)?;
        // A veth whose other end has no XDP delivers what is redirected but not what is sent back.
        let way = if mode == Mode::Native { Transmit::Redirect } else { Transmit::Back };
        transmit.set(0, way as u32, 0).map_err(|error| Error::program("write the map", TRANSMIT, error))?;
        let adverts: RingBuf<MapData> = typed(object, ADVERTS)?;
        let readiness = Readiness::of(&adverts).map_err(|error| Error::program("watch the map", ADVERTS, error))?;
        let (vips, leases, outcomes) = (typed(object, VIPS)?, typed(object, LEASES)?, typed(object, OUTCOMES)?);
        let routers = typed(object, ROUTERS)?;
        let (seen, object, live_frames, log) = (Vec::new(), loaded, None, None);
        Ok(Self { mode, adverts, seen, readiness, vips, leases, outcomes, routers, object, live_frames, log })
    }

    /// Makes the maps say what the configuration says; they may be those of an agent before.
    fn configure(&mut self, routers: &[Router], positions: &[Position]) -> Result<(), Error> {
        let mut gates = Vec::new();
        for ((lease, router), position) in (0_u32..).zip(routers).zip(positions) {
            let until = position.lease_until.as_nanos();
            self.leases.set(lease, until, 0).map_err(|error| Error::program("write the map", LEASES, error))?;
            if router.ifindex == 0 {
                continue;
            }
            for address in &router.addresses {
                let key = vip_key(router.ifindex, *address);
                // The counts go on.
                let before = self.vips.get(&key, 0).unwrap_or_default();
                gates.push((key, VipGate { position: position_of(position.gate), lease, ..before }));
            }
        }
        replace(&mut self.vips, VIPS, &gates)?;
        let here = (0_u32..).zip(routers).filter(|(_, router)| router.ifindex != 0);
        let entries: Vec<_> = here.map(|(index, router)| router_entry(index, router)).collect();
        let as_before =
            entries.iter().all(|(key, config)| self.routers.get(key, 0).is_ok_and(|before| before == *config));
        replace(&mut self.routers, ROUTERS, &entries)?;
        if !as_before {
            // What is in the ring was checked by, and has the indices of, another configuration.
            take(&mut self.adverts, &mut Vec::new());
        }
        Ok(())
    }

    /// Attaches to every interface of the routers, and detaches from all others.
    fn attach_links(&mut self, routers: &[Router], dir: &Path, links: Links) -> Result<(), Error> {
        let mode = self.mode;
        let xdp = xdp_of(&mut self.object)?;
        let mut kept = Vec::new();
        let here = routers.iter().filter(|router| router.ifindex != 0);
        for (interface, ifindex) in here.map(|router| (&router.interface, router.ifindex)).collect::<BTreeSet<_>>() {
            let path = pins::link_path(dir, interface, ifindex, mode);
            // A link that was made in another mode would stand in the way.
            if !path.exists() {
                let others = [Mode::Native, Mode::Generic].map(|other| pins::link_path(dir, interface, ifindex, other));
                others
                    .iter()
                    .try_for_each(|other| pins::remove_file(other))
                    .map_err(|error| Error::program("remove the pinned link to", interface, error))?;
            }
            if links == Links::TakenOver || !path.exists() {
                attach_link(mode, interface, ifindex, &path, xdp)?;
            }
            kept.push(path);
        }
        pins::remove_links(dir, &kept).map_err(|error| Error::program("remove the old links in", path_text(dir), error))
    }

    fn follow_log(&mut self) {
        match KernelLog::follow(&mut self.object) {
            Ok(log) => self.log = log,
            Err(error) => tracing::warn!(error = chain(&error), "the BPF programs have a log, but it stays unread"),
        }
    }

    /// The packet sockets announce as well, so that this may fail.
    fn open_live_frames(&mut self, routers: &[Router]) {
        if routers.iter().all(|router| router.addresses.len() < live_frames::WORTH_IT) {
            return;
        }
        match LiveFrames::open(&mut self.object, routers) {
            Ok(live) => self.live_frames = Some(live),
            Err(error) => tracing::debug!(error = chain(&error), "no live frames: packet sockets announce"),
        }
    }

    /// `false`: another way to announce must be taken.
    pub(super) fn announce(&mut self, id: RouterId, ifindex: u32, mac: MacAddress, addresses: &[IpAddr]) -> bool {
        let object = &mut self.object;
        self.live_frames.as_mut().is_some_and(|live| live.announce(object, id.0, ifindex, mac, addresses))
    }

    pub(super) const fn mode(&self) -> Mode {
        self.mode
    }

    pub(super) fn set_gate(&mut self, id: RouterId, router: &Router, gate: Gate) -> Result<(), Error> {
        if router.ifindex == 0 {
            return Ok(());
        }
        let position = position_of(gate);
        let lease = lease_of(id)?;
        for address in &router.addresses {
            let key = vip_key(router.ifindex, *address);
            let before = self.vips.get(&key, 0).unwrap_or_default();
            let moved = self.vips.insert(key, VipGate { position, lease, ..before }, 0);
            moved.map_err(|error| Error::program("move the gate of", address.to_string(), error))?;
        }
        Ok(())
    }

    pub(super) fn renew_lease(&mut self, id: RouterId, until: Instant) -> Result<(), Error> {
        let renewed = self.leases.set(lease_of(id)?, until.as_nanos(), 0);
        renewed.map_err(|error| Error::program("renew", format!("lease {}", id.0), error))
    }

    /// Appends what is in the ring.
    pub(super) fn drain(&mut self, adverts: &mut Vec<Advert>) {
        adverts.append(&mut self.seen);
        take(&mut self.adverts, adverts);
    }

    /// Waits until there is something to drain; safe to cancel.
    pub(super) async fn ready(&mut self) -> Result<(), Error> {
        let Self { adverts, seen, readiness, .. } = self;
        // The kernel wakes only a reader that had read everything, so readiness may be let go of only when the ring is
        // empty.
        let found = readiness.read(|| {
            take(adverts, seen);
            if seen.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        found.await.map_err(|error| Error::program("wait for", "the ring of advertisements", error))
    }

    pub(super) fn counters(&self) -> Counters {
        Counters::read(|outcome| {
            let per_cpu = self.outcomes.get(&outcome.index(), 0);
            per_cpu.map_or(0, |counts| counts.iter().sum())
        })
    }
}

/// Moves what is in the ring.
fn take(ring: &mut RingBuf<MapData>, adverts: &mut Vec<Advert>) {
    while let Some(record) = ring.next() {
        adverts.extend(advert_of(&record));
    }
}

fn lease_of(id: RouterId) -> Result<u32, Error> {
    u32::try_from(id.0).map_err(|error| Error::program("find", format!("lease {}", id.0), error))
}

const fn position_of(gate: Gate) -> u32 {
    match gate {
        Gate::Serve => GATE_SERVE,
        Gate::Refuse => GATE_REFUSE,
    }
}

fn xdp_of(object: &mut Ebpf) -> Result<&mut Xdp, Error> {
    let program = object.program_mut(pins::PROGRAM).ok_or_else(|| missing("the program", pins::PROGRAM))?;
    program.try_into().map_err(|error| Error::program("use", "the XDP program", error))
}

/// Attaches to one interface: by exchange of the program in a pinned link, else by a new link, which is then pinned.
fn attach_link(mode: Mode, interface: &str, ifindex: u32, path: &PathBuf, xdp: &mut Xdp) -> Result<(), Error> {
    if path.exists() {
        match take_over(path, xdp) {
            Ok(id) => {
                // Dropped it stays, by its pin.
                return xdp
                    .take_link(id)
                    .map(drop)
                    .map_err(|error| Error::program("keep the link to", interface, error));
            }
            Err(error) => {
                tracing::warn!(%error, interface, "cannot take over the pinned link, attaching anew");
                pins::remove_file(path).map_err(|error| Error::program("remove", path_text(path), error))?;
            }
        }
    }
    let flags = match mode {
        Mode::Native => XdpMode::Driver,
        Mode::Generic | Mode::Socket => XdpMode::Skb,
    };
    let id = attach_when_free(ifindex, flags, xdp)
        .map_err(|error| Error::program("attach the XDP program (is another one attached?) to", interface, error))?;
    let link = xdp.take_link(id).map_err(|error| Error::program("keep the link to", interface, error))?;
    let link =
        FdLink::try_from(link).map_err(|error| Error::program("pin (kernel 5.9) the link to", interface, error))?;
    link.pin(path).map(drop).map_err(|error| Error::program("pin the link to", interface, error))
}

/// Attaches once the interface is free: the kernel detaches a link whose pin was removed a moment later.
fn attach_when_free(ifindex: u32, flags: XdpMode, xdp: &mut Xdp) -> Result<XdpLinkId, ProgramError> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        match xdp.attach_to_if_index(ifindex, flags) {
            Err(ProgramError::SyscallError(error))
                if attempts < 40 && matches!(error.io_error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST)) =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            attached => return attached,
        }
    }
}

fn take_over(path: &Path, xdp: &mut Xdp) -> Result<XdpLinkId, Box<dyn std::error::Error + Send + Sync>> {
    let link = XdpLink::try_from(FdLink::from(PinnedLink::from_pin(path)?))?;
    Ok(xdp.attach_to_link(link)?)
}

pub(super) fn missing(kind: &'static str, name: &'static str) -> Error {
    Error::program("find in the BPF object", kind, io::Error::new(io::ErrorKind::NotFound, name))
}

/// Takes a map out of the object in the type that the code uses it in.
pub(super) fn typed<T: TryFrom<Map, Error = MapError>>(object: &mut Ebpf, name: &'static str) -> Result<T, Error> {
    let map = object.take_map(name).ok_or_else(|| missing("the map", name))?;
    T::try_from(map).map_err(|error| Error::program("use the map", name, error))
}

/// Makes a map hold these entries and no others; those that stay are never absent.
fn replace<K: Pod + Eq + Hash, V: Pod>(
    map: &mut HashMap<MapData, K, V>,
    name: &'static str,
    entries: &[(K, V)],
) -> Result<(), Error> {
    let failed = |error| Error::program("write the map", name, error);
    for (key, value) in entries {
        map.insert(key, value, 0).map_err(failed)?;
    }
    let kept: std::collections::HashSet<&K> = entries.iter().map(|(key, _)| key).collect();
    let stale = map.keys().filter(|key| key.as_ref().is_ok_and(|key| !kept.contains(key)));
    let stale = stale.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    stale.iter().try_for_each(|key| map.remove(key)).map_err(failed)
}

fn router_entry(index: u32, router: &Router) -> (RouterKey, RouterConfig) {
    let family = if router.source.is_ipv6() { 6 } else { 4 };
    let key = RouterKey { ifindex: router.ifindex, vrid: router.vrid.as_u8(), family, reserved: [0; 2] };
    (key, router.demands(index))
}

fn vip_key(ifindex: u32, address: IpAddr) -> VipKey {
    let (family, address) = octets(address);
    VipKey { ifindex, family, reserved: [0; 3], address }
}

/// The family, 4 or 6, and the octets as the maps hold them.
pub(super) fn octets(address: IpAddr) -> (u8, [u8; 16]) {
    (if address.is_ipv6() { 6 } else { 4 }, map::octets(address))
}

/// Reads a record of the ring; one of another size is none of ours.
fn advert_of(record: &[u8]) -> Option<Advert> {
    if record.len() != size_of::<AdvertSeen>() {
        return None;
    }
    let arrived_ns = u64::from_ne_bytes(field(record, offset_of!(AdvertSeen, arrived_ns))?);
    let router = u32::from_ne_bytes(field(record, offset_of!(AdvertSeen, router))?);
    let interval_ms = u32::from_ne_bytes(field(record, offset_of!(AdvertSeen, interval_ms))?);
    let source: [u8; 16] = field(record, offset_of!(AdvertSeen, source))?;
    let [family] = field(record, offset_of!(AdvertSeen, family))?;
    let [priority] = field(record, offset_of!(AdvertSeen, priority))?;
    let source = match (family, source) {
        (4, [a, b, c, d, ..]) => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        _ => IpAddr::V6(Ipv6Addr::from(source)),
    };
    Some(Advert {
        router: RouterId(router as usize),
        source,
        priority: Priority::new(priority),
        interval: Duration::from_millis(interval_ms.into()),
        arrived_at: Instant::from_nanos(arrived_ns),
    })
}

fn field<const N: usize>(record: &[u8], at: usize) -> Option<[u8; N]> {
    record.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_the_ring_is_read_field_by_field() {
        let mut record = [0; 40];
        record[0..8].copy_from_slice(&7_000_000_001_u64.to_ne_bytes());
        record[8..12].copy_from_slice(&3_u32.to_ne_bytes());
        record[12..16].copy_from_slice(&100_u32.to_ne_bytes());
        record[16..20].copy_from_slice(&[192, 0, 2, 7]);
        record[38] = 4;
        record[39] = 254;
        let expected = Advert {
            router: RouterId(3),
            source: IpAddr::from([192, 0, 2, 7]),
            priority: Priority::new(254),
            interval: Duration::from_millis(100),
            arrived_at: Instant::from_nanos(7_000_000_001),
        };
        assert_eq!(advert_of(&record), Some(expected));
        assert_eq!(advert_of(&record[..39]), None);
    }
}
