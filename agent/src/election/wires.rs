//! The ways out of the virtual routers, followed as their interfaces come, change and go.

use std::net::IpAddr;
use std::time::Duration;

use agent_core::{Input, Instant, InterfaceState, Parameters, RouterId};
use agent_wire::MacAddress;

use super::{RouterSettings, Settings};
use crate::advert_socket::{self, AdvertSocket, Route};
use crate::authentication::Signer;
use crate::causes::chain;
use crate::datapath::{self, Datapath};
use crate::interfaces::{self, Held, Interfaces};
use crate::vip::{Vip, promote_secondaries};

/// After a failure to open an interface the next attempt waits this long; twice as long after each further one.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LAST: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot open interface {interface}")]
    Socket {
        interface: String,
        #[source]
        source: advert_socket::Error,
    },
    #[error(transparent)]
    Datapath(#[from] datapath::Error),
    #[error(transparent)]
    Interfaces(#[from] interfaces::Error),
}

/// The ways out of all routers, in their order.
pub(super) struct Wires {
    pub(super) interfaces: Interfaces,
    wires: Vec<Wire>,
    /// How the datapath sees the routers; an index of 0 is that of an interface which is not there.
    routers: Vec<datapath::Router>,
    /// What could not be opened, and when it is tried again.
    failed: Option<(Vec<(usize, Place)>, Instant)>,
    retry_after: Duration,
    followed: bool,
}

/// One router's way out.
pub(super) struct Wire {
    name: String,
    own: RouterSettings,
    /// Where the virtual addresses go; `None`: there is no such interface.
    ifindex: Option<u32>,
    /// `None`: not open.
    place: Option<Place>,
    pub(super) socket: Option<AdvertSocket>,
    pub(super) signer: Option<Signer>,
    /// The virtual addresses, as an advertisement lists them.
    pub(super) addresses: Vec<IpAddr>,
    told: Told,
}

/// Where advertisements leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    ifindex: u32,
    source: IpAddr,
}

/// What the core was last told.
#[derive(Default)]
struct Told {
    state: Option<InterfaceState>,
    up: Option<bool>,
    mac: Option<MacAddress>,
    addresses: Option<(Vec<IpAddr>, Vec<IpAddr>)>,
}

impl Wires {
    /// Opens what is there; a router whose interface or source address is missing waits for it.
    pub(super) fn open(settings: &Settings) -> Result<(Self, Datapath), Error> {
        let interfaces = Interfaces::open()?;
        let routers = settings.datapath.routers.clone();
        let wires = settings.routers.iter().zip(&settings.parameters.routers).map(|(own, parameters)| Wire {
            name: parameters.name.clone(),
            own: own.clone(),
            ifindex: None,
            place: None,
            socket: None,
            signer: own.authentication.signer(parameters.advertisement_interval),
            addresses: in_order(own.addresses.iter().map(|&(address, _)| address)),
            told: Told::default(),
        });
        let wires = wires.collect();
        let mut wires = Self { interfaces, wires, routers, failed: None, retry_after: RETRY_FIRST, followed: false };
        for index in 0..wires.wires.len() {
            wires.look_for_interface(index);
            if let Ok(place) = wires.find(index) {
                wires.open_one(index, place)?;
            }
        }
        let datapath =
            Datapath::open(datapath::Settings { routers: wires.routers.clone(), ..settings.datapath.clone() })?;
        Ok((wires, datapath))
    }

    pub(super) fn get_mut(&mut self, router: RouterId) -> &mut Wire {
        &mut self.wires[router.0]
    }

    /// Tells the decisions from where the routers advertise, as far as that is known.
    pub(super) fn fill(&self, parameters: &mut Parameters) {
        for (wire, own) in self.wires.iter().zip(&mut parameters.routers) {
            own.source_address = wire.place.map_or(own.source_address, |place| place.source);
        }
    }

    /// The interfaces that are there.
    pub(super) fn indices(&self) -> Vec<u32> {
        self.wires.iter().filter_map(|wire| wire.ifindex).collect()
    }

    /// The virtual addresses of a router on its interface; none where that is missing.
    pub(super) fn vips(&self, router: RouterId) -> Vec<Vip> {
        let wire = &self.wires[router.0];
        let of = |ifindex| wire.own.addresses.iter().map(move |&(address, prefix)| Vip { ifindex, address, prefix });
        wire.ifindex.into_iter().flat_map(of).collect()
    }

    /// Those virtual addresses of a router that are among these.
    pub(super) fn vips_among(&self, router: RouterId, addresses: &[IpAddr]) -> Vec<Vip> {
        let mut vips = self.vips(router);
        vips.retain(|vip| addresses.contains(&vip.address));
        vips
    }

    /// These addresses as the kernel has them: somebody else may have chosen another prefix.
    pub(super) fn strays(&self, router: RouterId, addresses: &[IpAddr]) -> Vec<Vip> {
        let held = self.wires[router.0].ifindex.into_iter().flat_map(|ifindex| self.interfaces.held(ifindex));
        held.filter(|held| addresses.contains(&held.address))
            .map(|Held { ifindex, address, prefix }| Vip { ifindex, address, prefix })
            .collect()
    }

    /// What has changed since the core was told; `troubles` takes what a person should know.
    pub(super) fn follow(
        &mut self,
        now: Instant,
        datapath: &mut Datapath,
        troubles: &mut Vec<String>,
    ) -> Result<Vec<Input>, Error> {
        let mut inputs = Vec::new();
        if !self.interfaces.drain()? && self.failed.is_none() && self.followed {
            return Ok(inputs);
        }
        self.followed = true;
        if !self.interfaces.is_known() {
            // Half of the truth would look like the work of others.
            for index in 0..self.wires.len() {
                self.tell_addresses(index, (Vec::new(), Vec::new()), &mut inputs);
            }
            return Ok(inputs);
        }
        let mut to_open = Vec::new();
        for index in 0..self.wires.len() {
            self.look_for_interface(index);
            // A link that is down says more than the addresses that it takes along.
            self.tell_link(index, true, &mut inputs);
            match self.find(index) {
                Ok(place) if self.wires[index].place == Some(place) => {
                    self.tell_state(index, InterfaceState::Ready { source: place.source }, &mut inputs, troubles);
                }
                Ok(place) => {
                    // One that was made anew in the meantime was missing for a moment.
                    if self.wires[index].place.is_some_and(|before| before.ifindex != place.ifindex) {
                        self.close(index);
                        self.tell_state(index, InterfaceState::Missing, &mut inputs, troubles);
                    }
                    to_open.push((index, place));
                }
                Err(state) => {
                    self.close(index);
                    self.tell_state(index, state, &mut inputs, troubles);
                }
            }
        }
        let waits = self.failed.as_ref().is_some_and(|(failed, again_at)| *failed == to_open && now < *again_at);
        if to_open.is_empty() {
            self.failed = None;
        } else if !waits {
            match self.open_again(&to_open, datapath) {
                Ok(()) => (self.failed, self.retry_after) = (None, RETRY_FIRST),
                Err(error) => {
                    let again = self.retry_after;
                    troubles.push(format!("{}; tried again in {} s", chain(&error), again.as_secs()));
                    (self.failed, self.retry_after) =
                        (Some((to_open.clone(), now + again)), (again * 2).min(RETRY_LAST));
                }
            }
        }
        for (index, place) in to_open {
            let is_open = self.wires[index].place == Some(place);
            let state = if is_open { InterfaceState::Ready { source: place.source } } else { InterfaceState::Unusable };
            self.tell_state(index, state, &mut inputs, troubles);
        }
        for index in 0..self.wires.len() {
            self.tell_link(index, false, &mut inputs);
            let seen = self.look_for_addresses(index);
            self.tell_addresses(index, seen, &mut inputs);
        }
        Ok(inputs)
    }

    /// Where the advertisements of a router should leave now.
    fn find(&self, index: usize) -> Result<Place, InterfaceState> {
        let wire = &self.wires[index];
        let (ifindex, _) = self.interfaces.link(&wire.own.interface).ok_or(InterfaceState::Missing)?;
        let virtual_addresses: Vec<IpAddr> =
            self.wires.iter().flat_map(|wire| wire.addresses.iter().copied()).collect();
        let held: Vec<IpAddr> = self.interfaces.held(ifindex).map(|held| held.address).collect();
        let before = wire.place.map(|place| place.source);
        let source = match wire.own.source {
            // Elsewhere on this host it will do as well.
            Some(source) => self.interfaces.is_local(source).then_some(source),
            None => before
                .filter(|source| held.contains(source))
                .or_else(|| primary_address(&held, wire.addresses.first()?.is_ipv6(), &virtual_addresses)),
        };
        source.map(|source| Place { ifindex, source }).ok_or(InterfaceState::NoSource)
    }

    fn look_for_interface(&mut self, index: usize) {
        let wire = &mut self.wires[index];
        wire.ifindex = self.interfaces.link(&wire.own.interface).map(|(ifindex, _)| ifindex);
    }

    fn open_again(&mut self, places: &[(usize, Place)], datapath: &mut Datapath) -> Result<(), Error> {
        let opened = places.iter().try_for_each(|&(index, place)| self.open_one(index, place));
        let opened = opened.and_then(|()| Ok(datapath.reopen(self.routers.clone())?));
        if opened.is_err() {
            for &(index, _) in places {
                self.close(index);
            }
            datapath.reopen(self.routers.clone())?;
        }
        opened
    }

    fn open_one(&mut self, index: usize, place: Place) -> Result<(), Error> {
        let wire = &mut self.wires[index];
        let interface = wire.own.interface.clone();
        if let Err(error) = promote_secondaries(&interface) {
            tracing::warn!(error = chain(&error), "removing an address may take others of its network along");
        }
        let Place { ifindex, source } = place;
        let route = Route { interface: interface.clone(), ifindex, source, peers: wire.own.peers.clone() };
        let socket = AdvertSocket::open(&route).map_err(|source| Error::Socket { interface, source })?;
        (wire.socket, wire.place) = (Some(socket), Some(place));
        (self.routers[index].ifindex, self.routers[index].source) = (ifindex, source);
        Ok(())
    }

    fn close(&mut self, index: usize) {
        let wire = &mut self.wires[index];
        (wire.socket, wire.place) = (None, None);
        self.routers[index].ifindex = 0;
    }

    fn tell_state(&mut self, index: usize, state: InterfaceState, inputs: &mut Vec<Input>, troubles: &mut Vec<String>) {
        let wire = &mut self.wires[index];
        let before = wire.told.state.replace(state);
        if before == Some(state) {
            return;
        }
        let (name, interface) = (&wire.name, &wire.own.interface);
        let what = match (state, wire.own.source) {
            (InterfaceState::Ready { source }, _) => {
                // The first is no news.
                before.map(|_| format!("has interface {interface} and advertises from {source}"))
            }
            (InterfaceState::Missing, _) => Some(format!("waits for interface {interface}, which does not exist")),
            (InterfaceState::NoSource, Some(source)) => {
                Some(format!("waits for its source_address {source}, which this host does not have"))
            }
            (InterfaceState::NoSource, None) => Some(format!(
                "waits for an address of interface {interface} to advertise from: give it one, or set source_address"
            )),
            (InterfaceState::Unusable, _) => Some(format!("waits until interface {interface} can be opened")),
        };
        troubles.extend(what.map(|what| format!("virtual router {name:?} {what}")));
        inputs.push(Input::Interface { router: RouterId(index), state });
    }

    fn tell_link(&mut self, index: usize, only_loss: bool, inputs: &mut Vec<Input>) {
        let wire = &mut self.wires[index];
        let Some((_, link)) = self.interfaces.link(&wire.own.interface) else { return };
        if only_loss && link.up {
            return;
        }
        let router = RouterId(index);
        if wire.told.up.replace(link.up) != Some(link.up) {
            inputs.push(Input::Link { router, up: link.up });
        }
        if wire.told.mac.replace(link.mac).is_some_and(|before| before != link.mac) {
            inputs.push(Input::HardwareAddressChanged { router });
        }
    }

    /// Which virtual addresses of a router are local, and which are not.
    fn look_for_addresses(&self, index: usize) -> (Vec<IpAddr>, Vec<IpAddr>) {
        let wire = &self.wires[index];
        let Some(ifindex) = wire.ifindex else { return (Vec::new(), Vec::new()) };
        let held: Vec<IpAddr> = self.interfaces.held(ifindex).map(|held| held.address).collect();
        wire.addresses.iter().partition(|address| held.contains(address))
    }

    fn tell_addresses(&mut self, index: usize, seen: (Vec<IpAddr>, Vec<IpAddr>), inputs: &mut Vec<Input>) {
        let told = &mut self.wires[index].told.addresses;
        if told.as_ref() != Some(&seen) {
            *told = Some(seen.clone());
            let (local, missing) = seen;
            inputs.push(Input::Addresses { router: RouterId(index), local, missing });
        }
    }
}

/// As an advertisement lists them: over IPv6 the link-local one goes first (RFC 9568 §5.2.9).
fn in_order(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let (mut first, others): (Vec<IpAddr>, Vec<IpAddr>) =
        addresses.partition(|address| matches!(address, IpAddr::V6(address) if address.is_unicast_link_local()));
    first.extend(others);
    first
}

/// The address that advertisements come from when the configuration names none: the first of the family that is not
/// itself virtual, for IPv6 a link-local one (RFC 9568 §5.1.2.1).
fn primary_address(held: &[IpAddr], v6: bool, virtual_addresses: &[IpAddr]) -> Option<IpAddr> {
    held.iter().copied().find(|address| {
        let of_family = match address {
            IpAddr::V4(_) => !v6,
            IpAddr::V6(address) => v6 && address.is_unicast_link_local(),
        };
        of_family && !virtual_addresses.contains(address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ledger: RFC9568-5.2.9-1, RFC5798-5.2.9-1 (positive)
    #[test]
    fn a_link_local_address_goes_first() {
        let order = |addresses: [&str; 3]| in_order(addresses.map(|address| address.parse().unwrap()).into_iter());
        let wanted: Vec<IpAddr> = ["fe80::9", "2001:db8::9", "2001:db8::8"].map(|text| text.parse().unwrap()).to_vec();
        assert_eq!(order(["2001:db8::9", "fe80::9", "2001:db8::8"]), wanted);
        assert_eq!(order(["fe80::9", "2001:db8::9", "2001:db8::8"]), wanted);
    }

    #[test]
    fn virtual_addresses_are_not_primary() {
        let held = ["192.0.2.9", "192.0.2.1", "2001:db8::1", "fe80::1"].map(|address| address.parse().unwrap());
        let primary = |v6, vip: &str| primary_address(&held, v6, &[vip.parse().unwrap()]);
        assert_eq!(primary(false, "192.0.2.9"), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(primary(true, "2001:db8::9"), Some("fe80::1".parse().unwrap()));
        assert_eq!(primary(true, "fe80::1"), None);
    }
}
