//! `vipd init`: the configuration of this host and of its twin, from options or from answers.

mod dialogue;
mod files;
mod host;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

use crate::config::{self, AddressWithPrefix, Config};

pub use self::dialogue::Dialogue;
pub use self::host::{HostAddress, addresses_of_this_host};

/// Where the password of the agent's account is expected.
const PASSWORD_FILE: &str = "/etc/vipd/mysql.pass";
const ENDPOINT: &str = "/run/mysqld/mysqld.sock";
const USER: &str = "vipd";
pub const VRID: u8 = 51;

/// What the command line said; the rest is asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub interface: Option<String>,
    pub peer_interface: Option<String>,
    /// With or without a prefix.
    pub address: Option<String>,
    pub source: Option<IpAddr>,
    pub peer: Option<IpAddr>,
    pub endpoint: Option<String>,
    pub vrid: Option<u8>,
    /// Replaces files that are there.
    pub force: bool,
}

/// All that the two files say.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pair {
    address: AddressWithPrefix,
    vrid: u8,
    endpoint: String,
    this: Side,
    twin: Side,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Side {
    interface: String,
    source: IpAddr,
}

/// Asks for what is missing, checks both configurations and writes them; what is left to do, for the user.
pub fn run(path: &Path, options: &Options, host: &[HostAddress], dialogue: &mut Dialogue<'_>) -> Result<String> {
    let twin_path = twin_of(path);
    if !options.force {
        for file in [path, &twin_path] {
            ensure!(!file.exists(), "{} is there already: --force replaces it", file.display());
        }
    }
    let pair = settle(options, host, dialogue)?;
    let this = pair.text(&pair.this, &pair.twin);
    let twin = pair.text(&pair.twin, &pair.this);
    for (text, file) in [(&this, path), (&twin, &twin_path)] {
        if let Err(problems) = Config::parse(text, file) {
            return Err(config::Error::Refused { path: file.to_owned(), problems }.into());
        }
    }
    files::write(&[(path, &this), (&twin_path, &twin)])?;
    Ok(pair.next_steps(path, &twin_path))
}

/// `vipd.twin.toml` beside `vipd.toml`.
fn twin_of(path: &Path) -> PathBuf {
    path.with_extension("twin.toml")
}

/// Fills in what the options leave open.
fn settle(options: &Options, host: &[HostAddress], dialogue: &mut Dialogue<'_>) -> Result<Pair> {
    let given = options.address.as_deref().map(parse_address).transpose()?;
    dialogue.begin(&missing(options));
    let near = given.map(|(address, _)| address).or(options.peer);
    let interface = match &options.interface {
        Some(interface) => interface.clone(),
        None => {
            let proposal = host::interface_towards(host, near);
            dialogue
                .ask("interface", "The interface that the clients come in by", proposal, |text| Ok(text.to_owned()))?
        }
    };
    let here: Vec<&HostAddress> = host.iter().filter(|held| held.interface == interface).collect();
    let source = match options.source {
        Some(source) => source,
        None => {
            let proposal = host::primary(&here, near).map(|address| address.to_string());
            dialogue.ask("source", "The own address of this host on it", proposal, parse)?
        }
    };
    let peer = match options.peer {
        Some(peer) => peer,
        None => dialogue.ask("peer", "The own address of the other host", None, parse)?,
    };
    let (address, prefix) = match given {
        Some(given) => given,
        None => dialogue.ask("address", "The virtual address, which is free now", None, parse_address)?,
    };
    let prefix = prefix.or_else(|| host::prefix_of_network(&here, address));
    let Some(prefix) = prefix else {
        bail!(
            "{address} is in no network of {interface}: say the length of its prefix, as in {address}/{}",
            if address.is_ipv4() { 24 } else { 64 }
        );
    };
    let endpoint = match &options.endpoint {
        Some(endpoint) => endpoint.clone(),
        None => {
            let what = "The server on this host: the path of its socket, or its address and port";
            dialogue.ask("endpoint", what, Some(ENDPOINT.to_owned()), |text| Ok(text.to_owned()))?
        }
    };
    let twin_interface = options.peer_interface.clone().unwrap_or_else(|| interface.clone());
    Ok(Pair {
        address: AddressWithPrefix { address, prefix },
        vrid: options.vrid.unwrap_or(VRID),
        endpoint,
        this: Side { interface, source },
        twin: Side { interface: twin_interface, source: peer },
    })
}

/// The options that were left out and have to be known.
fn missing(options: &Options) -> Vec<&'static str> {
    let given = [
        ("interface", options.interface.is_some()),
        ("source", options.source.is_some()),
        ("peer", options.peer.is_some()),
        ("address", options.address.is_some()),
        ("endpoint", options.endpoint.is_some()),
    ];
    given.into_iter().filter(|(_, given)| !given).map(|(name, _)| name).collect()
}

fn parse(text: &str) -> Result<IpAddr> {
    text.parse().map_err(|_| anyhow::anyhow!("{text:?} is no IPv4 or IPv6 address, such as 192.0.2.1"))
}

/// An address, with the length of a prefix or without.
fn parse_address(text: &str) -> Result<(IpAddr, Option<u8>)> {
    let Some((address, prefix)) = text.split_once('/') else { return Ok((parse(text)?, None)) };
    let address = parse(address)?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    match prefix.parse() {
        Ok(prefix) if (1..=longest).contains(&prefix) => Ok((address, Some(prefix))),
        Ok(_) | Err(_) => bail!("{text:?}: the length of the prefix is 1..={longest}, as in {address}/{}", longest - 8),
    }
}

impl Pair {
    fn text(&self, own: &Side, other: &Side) -> String {
        let Self { address, vrid, endpoint, .. } = self;
        let Side { interface, source } = own;
        let (peer, endpoint) = (other.source, toml::Value::from(endpoint.as_str()));
        let interface = toml::Value::from(interface.as_str());
        format!(
            "# One of two hosts; on the other one source_address and peers are exchanged. Keys that are not here have their\n\
             # defaults. After a change: vipd check-config FILE\n\n\
             [[virtual_router]]\n\
             name = \"mysql\"\n\
             interface = {interface}\n\
             # The same on both hosts, and used by no other virtual router on this network.\n\
             vrid = {vrid}\n\
             # What the clients connect to.\n\
             addresses = [\"{address}\"]\n\
             # This host and the other one. Without peers, advertisements are multicast.\n\
             source_address = \"{source}\"\n\
             peers = [\"{peer}\"]\n\
             # The higher one is preferred, 1..=254; with equal ones the address stays where it is.\n\
             # priority = 100\n\
             # How often the Active host speaks. The other takes over after about 3.6 times as long; 10ms is the shortest.\n\
             # advertisement_interval = \"100ms\"\n\n\
             [mysql]\n\
             endpoint = {endpoint}\n\
             user = \"{USER}\"\n\
             password_file = \"{PASSWORD_FILE}\"\n\n\
             [mysql.replication]\n\
             # Only the host that holds the address is writable. \"both\" leaves read_only alone.\n\
             # writers = \"active\"\n"
        )
    }

    fn next_steps(&self, path: &Path, twin: &Path) -> String {
        let peer = self.twin.source;
        format!(
            "Written: {} for this host, {} for {peer}.\n\n\
             1. scp {} {peer}:{}\n\
             2. On the server that is written to now: vipd grants | mariadb, after you have put a password into it.\n   \
             The same password into {PASSWORD_FILE} of both hosts, mode 0600.\n\
             3. Both servers replicate from each other and start with read_only.\n\
             4. On both hosts: vipd doctor; systemctl enable --now vipd && vipd status\n",
            path.display(),
            twin.display(),
            twin.display(),
            path.display(),
        )
    }
}

#[cfg(test)]
mod tests;
