//! The configuration file: read, checked in full and turned into the settings of each part.

mod database;
mod document;
pub mod duration;
mod other_sections;
mod problem;
mod tracking;
mod virtual_router;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_core::{Parameters, RouterParameters, ServerParameters, TrackWeight, Writers};
use agent_wire::checksum::ChecksumForm;
use agent_wire::vrrp::Version;
use agent_wire::{Priority, Vrid};
use toml::de::DeTable;

use self::document::{Findings, Section};
pub use self::problem::{Error, Problem};
use crate::{authentication, secret};

/// Where the configuration is looked for unless it is named.
pub const DEFAULT_PATH: &str = "/etc/vipd/vipd.toml";
/// Where the agent answers unless the configuration says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/vipd/vipd.sock";
/// Where BPF programs and maps are pinned unless the configuration says otherwise.
pub const DEFAULT_PIN_DIR: &str = "/sys/fs/bpf/vipd";

/// A configuration in which no problem was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file it was read from.
    pub path: PathBuf,
    pub node_name: String,
    /// At least one; in the order of the file.
    pub virtual_routers: Vec<VirtualRouter>,
    pub scripts: Vec<Script>,
    /// `None`: plain VRRP, no server behind the addresses.
    pub mysql: Option<Mysql>,
    pub peer: Option<Peer>,
    pub witness: Option<Witness>,
    pub gateway: Option<Gateway>,
    pub datapath_mode: DatapathMode,
    pub control: Control,
    pub notify: Option<Notify>,
}

/// One `[[virtual_router]]`: its addresses, peers and source are of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualRouter {
    pub name: String,
    pub interface: String,
    pub vrid: Vrid,
    pub priority: Priority,
    pub version: Version,
    pub advertisement_interval: Duration,
    /// At least one.
    pub addresses: Vec<AddressWithPrefix>,
    /// Empty: advertisements are multicast.
    pub peers: Vec<IpAddr>,
    /// `None`: the interface's primary address of the family.
    pub source_address: Option<IpAddr>,
    pub preempt_mode: bool,
    pub preempt_delay: Duration,
    pub startup_delay: Duration,
    pub checksum_form: ChecksumForm,
    pub authentication: Option<Authentication>,
    pub track_interfaces: Vec<TrackedInterface>,
    pub track_scripts: Vec<String>,
    pub announce_repeat: Vec<Duration>,
    pub announce_refresh: Duration,
}

/// An address as it is added to an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressWithPrefix {
    pub address: IpAddr,
    /// In bits.
    pub prefix: u8,
}

/// How advertisements are authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// Version 3: a keyed trailer.
    HmacSha256 { key_file: PathBuf },
    /// Version 2: a text of up to 8 bytes that everybody on the LAN can read.
    Pass { key_file: PathBuf },
}

/// An interface that a virtual router depends on beside its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackedInterface {
    pub name: String,
    /// Added to the priority while it is down; 0: the router is no candidate then.
    pub weight: i32,
}

/// One `[[script]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    pub name: String,
    /// The program, by its absolute path, and its arguments.
    pub command: Vec<String>,
    /// Exists on this host.
    pub user: String,
    pub interval: Duration,
    pub timeout: Duration,
    pub rise: u32,
    pub fall: u32,
    /// Added to the priority while the script fails; 0: the router is no candidate then.
    pub weight: i32,
}

/// The `[mysql]` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mysql {
    pub endpoint: Endpoint,
    pub user: String,
    /// `None`: without a password, for accounts that the server knows by the socket's credentials.
    pub password_file: Option<PathBuf>,
    pub probe_interval: Duration,
    pub probe_timeout: Duration,
    pub fall: u32,
    pub rise: u32,
    pub write_probe: bool,
    pub writers: Writers,
    pub require_replication: bool,
    pub catch_up_lag: Duration,
    pub drain_timeout: Duration,
    pub durability: Durability,
}

/// Where the server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// What was not yet received by the standby is lost with its server.
    Async,
    /// A commit is acknowledged when the standby has it.
    SemiSync,
}

/// The `[peer]` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub address: SocketAddr,
    pub listen: SocketAddr,
    pub secret_file: PathBuf,
}

/// The `[witness]` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    pub etcd: Vec<String>,
}

/// The `[gateway]` section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gateway {
    pub address: IpAddr,
}

/// The `[datapath]` section's `mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatapathMode {
    /// The best that works: native XDP, generic XDP, socket.
    Auto,
    Native,
    Generic,
    Socket,
}

/// The `[control]` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    pub socket: PathBuf,
    pub pin_dir: PathBuf,
    pub metrics: Option<SocketAddr>,
}

/// The `[notify]` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// The program, by its absolute path, and its arguments.
    pub command: Option<Vec<String>>,
    pub webhook: Option<String>,
    pub email: Option<Email>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    pub to: Vec<String>,
    pub from: String,
    /// `host:port`.
    pub smtp: String,
}

impl Email {
    /// Host and port of the mail server; 25 where there is none.
    #[must_use]
    pub fn server(&self) -> (&str, u16) {
        let parts = self.smtp.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = parts.unwrap_or((&self.smtp, 25));
        (host.trim_start_matches('[').trim_end_matches(']'), port)
    }
}

impl Config {
    /// Reads and checks a file; a refusal lists every problem in it.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path).map_err(|problems| Error::Refused { path: path.to_owned(), problems })
    }

    /// Checks the text of a configuration; `path` is only noted.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Vec<Problem>> {
        let (document, errors) = DeTable::parse_recoverable(text);
        let findings = Findings::new(text);
        for error in &errors {
            let at = error.span().map_or(0, |span| span.start);
            findings.note(at, "", None, error.message(), "correct the TOML syntax (https://toml.io)");
        }
        if !errors.is_empty() {
            return Err(findings.into_problems());
        }
        let config = Self::read(&Section::root(&document, &findings), path);
        let problems = findings.into_problems();
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    fn read(root: &Section<'_>, path: &Path) -> Self {
        let scripts = tracking::read_scripts(root);
        let virtual_routers = virtual_router::read_all(root, &scripts);
        let config = Self {
            path: path.to_owned(),
            node_name: other_sections::read_node_name(root),
            virtual_routers,
            scripts,
            mysql: database::read(root),
            peer: other_sections::read_peer(root),
            witness: other_sections::read_witness(root),
            gateway: other_sections::read_gateway(root),
            datapath_mode: other_sections::read_datapath_mode(root),
            control: other_sections::read_control(root),
            notify: other_sections::read_notify(root),
        };
        // What stands in for a refused value must not be compared.
        if root.is_sound() {
            config.check_group(root);
        }
        root.refuse_unknown();
        config
    }

    /// With one writer the routers of a host are Active together, so that they cannot prefer different hosts.
    fn check_group(&self, root: &Section<'_>) {
        let one_writer = self.mysql.as_ref().is_some_and(|mysql| mysql.writers == Writers::Active);
        let Some(first) = self.virtual_routers.first().filter(|_| one_writer) else { return };
        for (router, section) in self.virtual_routers.iter().zip(root.sections("virtual_router")) {
            if router.priority != first.priority {
                section.refuse(
                    format!(
                        "priority {} here and {} in \"{}\": with writers = \"active\" one host holds all addresses",
                        router.priority.as_u8(),
                        first.priority.as_u8(),
                        first.name
                    ),
                    "give all virtual routers of this host the same priority, or set writers = \"both\"",
                );
            }
        }
    }

    /// What the decisions need; the source of a router that names none is unspecified until its interface is known.
    #[must_use]
    pub fn parameters(&self) -> Parameters {
        let tracks = self.tracks();
        let routers = self.virtual_routers.iter().map(|router| router.parameters(self.weights(router, &tracks)));
        Parameters { routers: routers.collect(), server: self.mysql.as_ref().map(Mysql::parameters), tracks }
    }

    /// Settings that are valid but that this version does not act on, one sentence per section.
    #[must_use]
    pub fn not_in_effect(&self) -> Vec<String> {
        let semi_sync = self.mysql.as_ref().is_some_and(|mysql| mysql.durability == Durability::SemiSync);
        let untracked = self.scripts.iter().filter(|script| !self.is_tracked(script));
        let untracked = untracked.map(|script| {
            format!("[[script]] {:?}: never run, no virtual router names it in track_scripts", script.name)
        });
        [
            ("[peer]", self.peer.is_some()),
            ("[witness]", self.witness.is_some()),
            ("[gateway]", self.gateway.is_some()),
            ("mysql.replication.durability = \"semi-sync\"", semi_sync),
        ]
        .into_iter()
        .filter(|(_, present)| *present)
        .map(|(section, _)| format!("{section}: not in effect, this version of vipd does not act on it yet"))
        .chain(untracked)
        .collect()
    }

    /// What works, but not with everybody; one sentence each.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let is_link_local =
            |own: &AddressWithPrefix| matches!(own.address, IpAddr::V6(address) if address.is_unicast_link_local());
        let lacking = self.virtual_routers.iter().filter(|router| router.is_ipv6());
        let lacking = lacking.filter(|router| !router.addresses.iter().any(is_link_local));
        let sentence = |router: &VirtualRouter| {
            format!(
                "virtual router {:?}: its addresses have no link-local one, which the standard wants first and keepalived demands \
                 (RFC 9568 section 5.2.9): add one, such as \"fe80::{:x}/64\"",
                router.name,
                router.vrid.as_u8()
            )
        };
        lacking.map(sentence).collect()
    }

    /// What is wrong with the files of secrets that exist; the agent would refuse to start.
    #[must_use]
    pub fn complaints_about_secrets(&self) -> Vec<String> {
        let password = self.mysql.as_ref().and_then(|mysql| mysql.password_file.as_ref());
        let peer = self.peer.as_ref().map(|peer| &peer.secret_file);
        let files = password.into_iter().chain(peer).filter_map(|path| secret::complaint(path));
        let keys = self.virtual_routers.iter().filter_map(|router| match router.authentication.as_ref()? {
            Authentication::HmacSha256 { key_file } => {
                authentication::complaint(key_file, authentication::Authentication::read_keys)
            }
            Authentication::Pass { key_file } => {
                authentication::complaint(key_file, authentication::Authentication::read_password)
            }
        });
        files.chain(keys).collect()
    }
}

/// Finds `control.socket` in a file, whatever else is wrong with the file.
pub fn socket_of(path: &Path) -> Result<PathBuf, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let (document, _errors) = DeTable::parse_recoverable(&text);
    let findings = Findings::new(&text);
    Ok(other_sections::read_control(&Section::root(&document, &findings)).socket)
}

impl VirtualRouter {
    /// Whether its addresses are IPv6.
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        self.addresses.iter().any(|address| address.address.is_ipv6())
    }

    fn parameters(&self, tracks: Vec<TrackWeight>) -> RouterParameters {
        let v6 = self.addresses.first().is_some_and(|own| own.address.is_ipv6());
        let unspecified = if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        RouterParameters {
            name: self.name.clone(),
            vrid: self.vrid,
            version: self.version,
            priority: self.priority,
            advertisement_interval: self.advertisement_interval,
            source_address: self.source_address.unwrap_or(unspecified),
            sole_peer: match self.peers.as_slice() {
                [peer] => Some(*peer),
                [] | [_, _, ..] => None,
            },
            preempt_mode: self.preempt_mode,
            preempt_delay: self.preempt_delay,
            startup_delay: self.startup_delay,
            announce_repeat: self.announce_repeat.clone(),
            announce_refresh: self.announce_refresh,
            tracks,
        }
    }
}

impl Mysql {
    fn parameters(&self) -> ServerParameters {
        ServerParameters {
            fall: self.fall,
            rise: self.rise,
            writers: self.writers,
            require_replication: self.require_replication,
            catch_up_lag: self.catch_up_lag,
        }
    }

    /// Reads the password; an account without `password_file` has an empty one.
    pub fn password(&self) -> Result<secret::Secret, secret::Error> {
        match &self.password_file {
            Some(path) => secret::Secret::read(path),
            None => Ok(secret::Secret::new("")),
        }
    }
}

impl std::fmt::Display for AddressWithPrefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ledger: RFC9568-5.2.9-1, RFC5798-5.2.9-1 (negative)
    #[test]
    fn ipv6_addresses_without_a_link_local_one_are_remarked_upon() {
        let remarks = |addresses: &str| {
            let text = format!("[[virtual_router]]\ninterface = \"eth0\"\nvrid = 51\naddresses = [{addresses}]\n");
            Config::parse(&text, Path::new("vipd.toml")).unwrap().remarks()
        };
        assert!(remarks("\"2001:db8::9/64\"")[0].contains("fe80::33/64"));
        assert!(remarks("\"2001:db8::9/64\", \"fe80::9/64\"").is_empty());
        assert!(remarks("\"192.0.2.10/24\"").is_empty());
    }
}
