use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use agent_wire::checksum::ChecksumForm;
use agent_wire::map::MAX_PEERS;
use agent_wire::vrrp::Version;
use agent_wire::{Centiseconds, Priority, Vrid};

use super::document::{Field, Section};
use super::tracking::{tracked_interfaces, tracked_scripts};
use super::{AddressWithPrefix, Authentication, Script, VirtualRouter};

const HOUR: Duration = Duration::from_secs(3600);
/// As many as the count field of an advertisement can name (RFC 9568 §5.2.5).
const MAX_IPV4_ADDRESSES: usize = 255;
/// As many as fit a packet of 1500 bytes: (1500 - 40 - 8) / 16.
const MAX_IPV6_ADDRESSES: usize = 90;
/// As many as fit with a trailer of 28 bytes.
const MAX_SIGNED_IPV6_ADDRESSES: usize = 89;
/// `IFNAMSIZ` without the final zero (linux/if.h).
const MAX_INTERFACE_NAME: usize = 15;
const MAX_ANNOUNCEMENTS: usize = 32;
/// Stands in for a refused one, so that the rest of the file is still read.
const PLACEHOLDER_VRID: Vrid = match Vrid::new(1) {
    Some(vrid) => vrid,
    None => panic!("1 is a VRID"),
};

const DEFAULT_REPEAT: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_millis(1100),
    Duration::from_secs(5),
];

pub(super) fn read_all(root: &Section<'_>, scripts: &[Script]) -> Vec<VirtualRouter> {
    let sections = root.sections("virtual_router");
    if sections.is_empty() {
        root.refuse("there is no [[virtual_router]]", "add one with interface, vrid and addresses");
    }
    let mut routers: Vec<VirtualRouter> = Vec::new();
    for section in sections {
        section.begin();
        let router = read(&section, scripts);
        section.refuse_unknown();
        // What stands in for a refused value must not be compared.
        if section.is_sound() {
            check_against(&section, &router, &routers);
            routers.push(router);
        }
    }
    routers
}

fn read(section: &Section<'_>, scripts: &[Script]) -> VirtualRouter {
    let interface = section.required("interface", "the name of a network interface, as in \"eth0\"");
    let interface = interface.and_then(|field| interface_name(&field)).unwrap_or_default();
    let vrid = section
        .required("vrid", "allowed is 1..=255, the same on both nodes")
        .and_then(|field| field.integer(1..=255_u8, "choose a number that no other virtual router on this LAN has"));
    let vrid = vrid.and_then(Vrid::new);
    let version = version(section);
    let addresses = addresses(section, version);
    let is_ipv6 = addresses.first().map(|address| address.address.is_ipv6());
    let source_field = section.optional("source_address");
    let source_address = source_field.as_ref().and_then(|field| host_address(field, is_ipv6));
    if let Some(field) = source_field.filter(|_| addresses.iter().any(|it| Some(it.address) == source_address)) {
        field.refuse("must not be one of the virtual addresses", "name this host's own address, or remove the key");
    }
    let default_name = format!("{interface}-{}", vrid.map_or(0, Vrid::as_u8));
    let announce = section.section_or_empty("announce");
    let router = VirtualRouter {
        name: section.text("name", &default_name),
        interface,
        vrid: vrid.unwrap_or(PLACEHOLDER_VRID),
        priority: Priority::new(section.integer(
            "priority",
            100,
            1..=254,
            "0 and 255 have a meaning of their own in VRRP; 100 is usual",
        )),
        version,
        advertisement_interval: advertisement_interval(section, version),
        peers: peers(section, is_ipv6, &addresses, source_address),
        addresses,
        source_address,
        preempt_mode: section.boolean("preempt", true),
        preempt_delay: section.duration("preempt_delay", Duration::ZERO, Duration::ZERO..=HOUR, "\"0s\" is no delay"),
        startup_delay: section.duration("startup_delay", Duration::ZERO, Duration::ZERO..=HOUR, "\"0s\" is no delay"),
        checksum_form: section.choice(
            "checksum",
            ChecksumForm::PseudoHeader,
            &[("pseudo-header", ChecksumForm::PseudoHeader), ("rfc9568", ChecksumForm::MessageOnly)],
        ),
        authentication: authentication(section, version),
        track_interfaces: tracked_interfaces(section),
        track_scripts: tracked_scripts(section, scripts),
        announce_repeat: announce.optional("repeat").map_or_else(|| DEFAULT_REPEAT.to_vec(), |field| repeat(&field)),
        announce_refresh: announce.duration(
            "refresh",
            Duration::from_secs(60),
            Duration::from_secs(1)..=HOUR,
            "\"60s\" is usual",
        ),
    };
    announce.refuse_unknown();
    let signed = matches!(router.authentication, Some(Authentication::HmacSha256 { .. }));
    if signed && router.is_ipv6() && router.addresses.len() > MAX_SIGNED_IPV6_ADDRESSES {
        section.refuse(
            format!("with hmac-sha256 an advertisement names at most {MAX_SIGNED_IPV6_ADDRESSES} IPv6 addresses"),
            "spread them over several virtual routers",
        );
    }
    router
}

pub(super) fn interface_name(field: &Field<'_>) -> Option<String> {
    let name = field.text()?;
    let unfit = |letter: char| letter.is_whitespace() || letter == '/' || letter == '\0';
    if name.len() > MAX_INTERFACE_NAME || name.contains(unfit) || name == "." || name == ".." {
        field.refuse("no interface can have this name: 1 to 15 bytes without space or /", "see: ip link");
        return None;
    }
    Some(name.to_owned())
}

fn version(section: &Section<'_>) -> Version {
    let number = section.integer("version", 3, 2..=3_u8, "3 unless a peer only speaks VRRPv2");
    if number == 2 { Version::V2 } else { Version::V3 }
}

fn advertisement_interval(section: &Section<'_>, version: Version) -> Duration {
    let v3 = || Duration::from_millis(10)..=Duration::from_millis(40_950);
    let (default, allowed) = match version {
        Version::V2 => (Duration::from_secs(1), Duration::from_secs(1)..=Duration::from_secs(255)),
        Version::V3 => (Duration::from_millis(100), v3()),
    };
    let fix = match version {
        Version::V2 => "VRRPv2 counts whole seconds; use version 3 for less",
        Version::V3 => "\"100ms\" suits most networks",
    };
    let Some(field) = section.optional("advertisement_interval") else { return default };
    let Some(interval) = field.duration(allowed, fix) else { return default };
    match version {
        Version::V2 if interval.subsec_nanos() != 0 => {
            field.refuse("allowed is 1s..=255s in steps of 1s", fix);
            default
        }
        Version::V3 if Centiseconds::from_duration(interval).is_none() => {
            field.refuse("allowed is 10ms..=40.95s in steps of 10ms", "VRRPv3 counts hundredths of a second");
            default
        }
        Version::V2 | Version::V3 => interval,
    }
}

fn addresses(section: &Section<'_>, version: Version) -> Vec<AddressWithPrefix> {
    let Some(list) = section.required("addresses", "a list of virtual addresses, as in [\"192.0.2.10/24\"]") else {
        return Vec::new();
    };
    let mut addresses: Vec<AddressWithPrefix> = Vec::new();
    let fields = list.elements();
    if fields.is_empty() {
        list.refuse("must name at least one", "write it as in [\"192.0.2.10/24\"]");
    }
    for field in fields {
        let Some(text) = field.text() else { continue };
        let Some(address) = address_with_prefix(text) else {
            field.refuse(
                "an IPv4 or IPv6 address with a prefix of 0..=32 or 0..=128 is wanted",
                "write it as in \"192.0.2.10/24\" or \"2001:db8::10/64\"",
            );
            continue;
        };
        if let Some(reason) = unfit_as_virtual(address) {
            field.refuse(reason, "choose a free host address of the network");
            continue;
        }
        if version == Version::V2 && address.address.is_ipv6() {
            field.refuse("VRRPv2 carries IPv4 only", "use version = 3");
            continue;
        }
        if let Some(first) = addresses.first().filter(|first| first.address.is_ipv6() != address.address.is_ipv6()) {
            field.refuse(
                format!("of another family than {first}: one virtual router has one family"),
                "move it to a [[virtual_router]] of its own; it may have the same vrid",
            );
            continue;
        }
        if addresses.iter().any(|other| other.address == address.address) {
            field.refuse("this address is in the list already", "remove one of them");
            continue;
        }
        addresses.push(address);
    }
    let is_ipv6 = addresses.first().is_some_and(|address| address.address.is_ipv6());
    let limit = if is_ipv6 { MAX_IPV6_ADDRESSES } else { MAX_IPV4_ADDRESSES };
    if addresses.len() > limit {
        list.refuse(
            format!("{} addresses; an advertisement names at most {limit}", addresses.len()),
            "spread them over several virtual routers",
        );
    }
    addresses
}

/// Takes `address/prefix`; a bare address is a host's.
fn address_with_prefix(text: &str) -> Option<AddressWithPrefix> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv6() { 128 } else { 32 };
    let digits = |prefix: &&str| prefix.bytes().all(|byte| byte.is_ascii_digit());
    let prefix = match prefix {
        Some(prefix) => Some(prefix).filter(digits)?.parse().ok().filter(|prefix| *prefix <= longest)?,
        None => longest,
    };
    Some(AddressWithPrefix { address, prefix })
}

fn unfit_as_virtual(AddressWithPrefix { address, prefix }: AddressWithPrefix) -> Option<&'static str> {
    if let Some(reason) = unfit_as_host(address) {
        return Some(reason);
    }
    let IpAddr::V4(address) = address else { return None };
    // Networks of /31 and /32 have neither (RFC 3021).
    if !(1..=30).contains(&prefix) {
        return None;
    }
    let host_mask = u32::MAX >> prefix;
    match address.to_bits() & host_mask {
        0 => Some("this is the address of the network itself"),
        host if host == host_mask => Some("this is the broadcast address of the network"),
        _ => None,
    }
}

fn unfit_as_host(address: IpAddr) -> Option<&'static str> {
    if address.is_unspecified() {
        Some("the unspecified address is no host's")
    } else if address.is_multicast() {
        Some("a multicast address is no host's")
    } else if address.is_loopback() {
        Some("a loopback address does not leave the host")
    } else if address == Ipv4Addr::BROADCAST {
        Some("the broadcast address is no host's")
    } else {
        None
    }
}

/// Takes an address of a host in the family of the virtual addresses, where that is known.
fn host_address(field: &Field<'_>, is_ipv6: Option<bool>) -> Option<IpAddr> {
    let Ok(address) = field.text()?.parse::<IpAddr>() else {
        field.refuse("an IPv4 or IPv6 address without prefix is wanted", "write it as in \"192.0.2.2\"");
        return None;
    };
    if let Some(reason) = unfit_as_host(address) {
        field.refuse(reason, "name the address of a host");
        return None;
    }
    if is_ipv6.is_some_and(|is_ipv6| is_ipv6 != address.is_ipv6()) {
        let wanted = if address.is_ipv6() { "IPv4" } else { "IPv6" };
        field.refuse(
            format!("must be {wanted} as the virtual addresses are"),
            "advertisements travel in the family of the virtual addresses",
        );
        return None;
    }
    Some(address)
}

fn peers(
    section: &Section<'_>,
    is_ipv6: Option<bool>,
    addresses: &[AddressWithPrefix],
    source: Option<IpAddr>,
) -> Vec<IpAddr> {
    let Some(list) = section.optional("peers") else { return Vec::new() };
    let mut peers = Vec::new();
    let fields = list.elements();
    if fields.len() > MAX_PEERS {
        list.refuse(
            format!("{} peers; a virtual router has at most {MAX_PEERS}", fields.len()),
            "name the nodes that may hold the addresses, or leave peers out for multicast",
        );
        return peers;
    }
    for field in fields {
        let Some(peer) = host_address(&field, is_ipv6) else { continue };
        if Some(peer) == source {
            field.refuse("this is the source_address of this node", "name only the other nodes");
        } else if addresses.iter().any(|address| address.address == peer) {
            field.refuse("this is one of the virtual addresses", "name the peer's own address");
        } else if peers.contains(&peer) {
            field.refuse("this peer is in the list already", "remove one of them");
        } else {
            peers.push(peer);
        }
    }
    peers
}

fn authentication(section: &Section<'_>, version: Version) -> Option<Authentication> {
    #[derive(Clone, Copy)]
    enum Kind {
        Hmac,
        Pass,
    }
    let section = section.section("authentication")?;
    let kind = section.required("type", "\"hmac-sha256\" (version 3) or \"pass\" (version 2)");
    let key_file = section.required("key_file", "the path of a file with the key");
    section.refuse_unknown();
    let key_file = key_file.and_then(|field| field.text()).map(PathBuf::from)?;
    let field = kind?;
    match (field.choice(&[("hmac-sha256", Kind::Hmac), ("pass", Kind::Pass)])?, version) {
        (Kind::Hmac, Version::V3) => Some(Authentication::HmacSha256 { key_file }),
        (Kind::Pass, Version::V2) => Some(Authentication::Pass { key_file }),
        (Kind::Hmac, Version::V2) => {
            field.refuse("this needs version 3", "use version = 3, or type = \"pass\" where security does not matter");
            None
        }
        (Kind::Pass, Version::V3) => {
            field.refuse("VRRPv3 has no such authentication (RFC 9568 §9)", "use type = \"hmac-sha256\"");
            None
        }
    }
}

fn repeat(list: &Field<'_>) -> Vec<Duration> {
    let fields = list.elements();
    let fix = "write it as in [\"0ms\", \"20ms\", \"100ms\", \"500ms\"]";
    let times: Vec<_> =
        fields.iter().filter_map(|field| field.duration(Duration::ZERO..=HOUR, "an hour is the longest")).collect();
    if times.len() != fields.len() {
        return DEFAULT_REPEAT.to_vec();
    }
    if times.len() > MAX_ANNOUNCEMENTS || times.first() != Some(&Duration::ZERO) || !times.is_sorted() {
        list.refuse(format!("1 to {MAX_ANNOUNCEMENTS} times that begin with \"0ms\" and rise are wanted"), fix);
    }
    times
}

/// Compares a router with those before it.
fn check_against(section: &Section<'_>, router: &VirtualRouter, others: &[VirtualRouter]) {
    for other in others {
        if other.name == router.name {
            section
                .refuse(format!("another virtual router is named \"{}\" too", router.name), "give each its own name");
        }
        let same_election =
            (&other.interface, other.vrid, other.is_ipv6()) == (&router.interface, router.vrid, router.is_ipv6());
        if same_election {
            section.refuse(
                format!(
                    "\"{}\" has interface {} and vrid {} of this family too",
                    other.name,
                    router.interface,
                    router.vrid.as_u8()
                ),
                "give each its own vrid",
            );
        }
        for address in &router.addresses {
            if other.addresses.iter().any(|it| it.address == address.address) {
                section.refuse(
                    format!("{} belongs to \"{}\" too", address.address, other.name),
                    "an address moves with one virtual router only",
                );
            }
        }
    }
}
