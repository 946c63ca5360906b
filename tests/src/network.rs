//! The hosts and the switch between them.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};

use crate::namespace::Namespace;
use crate::run::{Run, mount_bpffs};

/// The floating address.
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 150);
/// The length of its prefix.
pub const PREFIX: u8 = 24;
/// The only interface of every host.
pub const INTERFACE: &str = "eth0";

/// A machine: a namespace with one interface that is plugged into the switch.
#[derive(Clone, Debug)]
pub struct Host {
    pub name: String,
    pub address: Ipv4Addr,
    pub namespace: Namespace,
    switch: Namespace,
}

impl Host {
    /// Pulls the cable: both ends lose their carrier.
    pub fn link_down(&self) -> Result<()> {
        self.switch.ip(&["link", "set", &self.name, "down"]).map(drop)
    }

    pub fn link_up(&self) -> Result<()> {
        self.switch.ip(&["link", "set", &self.name, "up"]).map(drop)
    }

    /// Keeps it from the other hosts that are isolated, or ends that; everybody else still reaches it.
    pub fn isolate(&self, isolated: bool) -> Result<()> {
        let state = if isolated { "on" } else { "off" };
        self.switch.run("bridge", &["link", "set", "dev", &self.name, "isolated", state]).map(drop)
    }

    /// The hardware address of its interface, as text.
    pub fn mac(&self) -> Result<String> {
        let link = self.namespace.ip(&["-o", "link", "show", INTERFACE])?;
        let mut words = link.split_whitespace().skip_while(|word| *word != "link/ether");
        Ok(words.nth(1).context("an interface without a MAC address")?.to_owned())
    }
}

/// Two database hosts, one client host and one host of a stranger, on one switch.
#[derive(Debug)]
pub struct Network {
    /// Where every cable ends; an interface there has the name of its host.
    pub switch: Namespace,
    pub databases: [Host; 2],
    pub client: Host,
    pub stranger: Host,
}

impl Network {
    pub fn create(run: &Run) -> Result<Self> {
        mount_bpffs()?;
        let switch = Namespace::create(run.namespace("switch"))?;
        switch.ip(&["link", "add", "bridge", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0"])?;
        switch.ip(&["link", "set", "bridge", "up"])?;
        let host = |name: &str, last: u8| plug_in(run, &switch, name, Ipv4Addr::new(10, 77, 0, last));
        let databases = [host("db1", 1)?, host("db2", 2)?];
        let (client, stranger) = (host("client", 10)?, host("stranger", 66)?);
        Ok(Self { switch, databases, client, stranger })
    }
}

fn plug_in(run: &Run, switch: &Namespace, name: &str, address: Ipv4Addr) -> Result<Host> {
    let namespace = Namespace::create(run.namespace(name))?;
    switch.ip(&["link", "add", name, "type", "veth", "peer", "name", INTERFACE, "netns", namespace.name()])?;
    // Native XDP on one end of a veth pair needs a NAPI on the other, which generic receive offload brings.
    switch.run("ethtool", &["-K", name, "gro", "on"])?;
    namespace.run("ethtool", &["-K", INTERFACE, "gro", "on"])?;
    switch.ip(&["link", "set", name, "master", "bridge"])?;
    switch.ip(&["link", "set", name, "up"])?;
    namespace.ip(&["address", "add", &format!("{address}/{PREFIX}"), "dev", INTERFACE])?;
    namespace.ip(&["link", "set", INTERFACE, "up"])?;
    Ok(Host { name: name.to_owned(), address, namespace, switch: switch.clone() })
}
