//! The begin and the end of each fault.

use std::time::Duration;

use agent_core::{Death, Input, Instant, Node, RouterId, ServerReport};

use crate::faults::{Fault, Strike};
use crate::host::Inbox;
use crate::world::{What, World};

/// No lifetime: what an administrator adds stays.
const FOR_EVER: Duration = Duration::from_secs(1_000_000);

impl World {
    pub(crate) fn begin(&mut self, strike: Strike) {
        let now = self.now;
        let until = now + Duration::from_micros(strike.lasts);
        let one_writer = self.configuration.is_one_writer();
        let host = &mut self.hosts[strike.host];
        let troubles = &mut host.troubles;
        match strike.fault {
            Fault::ServerDies => {
                troubles.server_dead += 1;
                host.writable = !one_writer;
                host.receiver_stopped = false;
                host.role_free_at = now;
                host.inbox.inputs.push(Input::Server(ServerReport::Died(Death::ProcessExited)));
            }
            Fault::ServerHangs => troubles.server_hung += 1,
            Fault::AgentSleeps => host.asleep_until = host.asleep_until.max(until),
            Fault::HostPauses { keeps_frames } => {
                host.paused_until = host.paused_until.max(until);
                self.watch.pause(strike.host, keeps_frames);
            }
            Fault::AgentIsKilled => {
                troubles.agent_off += 1;
                self.end_life(strike.host);
            }
            Fault::AgentIsStopped => {
                troubles.agent_off += 1;
                host.inbox.inputs.push(Input::Shutdown);
            }
            Fault::LinkDown => {
                troubles.link_down += 1;
                host.tell_interface();
            }
            Fault::InterfaceVanishes => {
                troubles.interface_gone += 1;
                host.meddled = true;
                host.tell_interface();
                for router in 0..host.kernel.len() {
                    host.kernel[router].address_until = None;
                    host.tell_addresses(now, router);
                }
            }
            Fault::SourceAddressGone => {
                troubles.source_gone += 1;
                host.tell_interface();
            }
            Fault::Cut { to } => self.lan.cut(strike.host, to),
            Fault::SendsFail => troubles.sends_fail += 1,
            Fault::AddressRemoved { router } => self.meddle(strike.host, router, None),
            Fault::AddressAdded { router } => self.meddle(strike.host, router, Some(now + FOR_EVER)),
            Fault::NewHardwareAddress => {
                let routers = (0..host.kernel.len()).map(RouterId);
                host.inbox.news.extend(routers.map(|router| Input::HardwareAddressChanged { router }));
            }
            Fault::TrackFails { track } => {
                troubles.tracks[track] += 1;
                self.tell_interface_track(strike.host, track);
            }
            Fault::AddressStepsFail => troubles.address_steps_fail += 1,
            Fault::ServerStepsFail => troubles.server_steps_fail += 1,
            Fault::ServerStepsAreSlow => troubles.server_steps_slow += 1,
            Fault::ServerStepsAreLost => troubles.server_steps_lost += 1,
        }
        self.drive(strike.host);
    }

    pub(crate) fn end(&mut self, strike: Strike) {
        let now = self.now;
        let host = &mut self.hosts[strike.host];
        let troubles = &mut host.troubles;
        match strike.fault {
            Fault::ServerDies => troubles.server_dead -= 1,
            Fault::ServerHangs => troubles.server_hung -= 1,
            Fault::AgentSleeps => {}
            Fault::HostPauses { .. } => {
                if !host.is_paused(now) {
                    // The kernel stamps them when it takes them.
                    let frames = std::mem::take(&mut host.held_frames).into_iter();
                    host.inbox.adverts.extend(frames.map(|advert| agent_core::Advert { arrived_at: now, ..advert }));
                }
            }
            Fault::AgentIsKilled | Fault::AgentIsStopped => {
                troubles.agent_off -= 1;
                self.start_agent(strike.host);
            }
            Fault::LinkDown => {
                troubles.link_down -= 1;
                host.tell_interface();
            }
            Fault::InterfaceVanishes => {
                troubles.interface_gone -= 1;
                host.tell_interface();
                for router in 0..host.kernel.len() {
                    host.tell_addresses(now, router);
                    host.inbox.news.push(Input::HardwareAddressChanged { router: RouterId(router) });
                }
            }
            Fault::SourceAddressGone => {
                troubles.source_gone -= 1;
                host.tell_interface();
            }
            Fault::Cut { to } => self.lan.mend(strike.host, to),
            Fault::SendsFail => troubles.sends_fail -= 1,
            Fault::AddressRemoved { .. } | Fault::AddressAdded { .. } | Fault::NewHardwareAddress => {}
            Fault::TrackFails { track } => {
                troubles.tracks[track] -= 1;
                self.tell_interface_track(strike.host, track);
            }
            Fault::AddressStepsFail => troubles.address_steps_fail -= 1,
            Fault::ServerStepsFail => troubles.server_steps_fail -= 1,
            Fault::ServerStepsAreSlow => troubles.server_steps_slow -= 1,
            Fault::ServerStepsAreLost => troubles.server_steps_lost -= 1,
        }
        self.drive(strike.host);
    }

    /// Starts the agent of a host, unless it runs or something holds it down.
    pub(crate) fn start_agent(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        if host.agent.is_some() || host.troubles.agent_off > 0 {
            return;
        }
        if host.is_paused(self.now) {
            let wait = host.paused_until.saturating_since(self.now);
            self.schedule(wait, What::StartAgent(index));
            return;
        }
        host.life += 1;
        host.inbox = Inbox::default();
        host.wake_at = None;
        host.tell_interface();
        for router in 0..host.kernel.len() {
            // What an earlier life left behind is removed before anything else.
            host.kernel[router].address_until = None;
            host.tell_addresses(self.now, router);
        }
        host.agent = Some(Node::new(self.now, self.configuration.parameters(index)));
        for track in 0..self.configuration.tracks.len() {
            self.tell_interface_track(index, track);
        }
        self.watch.forget(index);
        self.drive(index);
    }

    /// The agent is gone, and with it all that it asked for.
    pub(crate) fn end_life(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        host.agent = None;
        host.life += 1;
        host.inbox = Inbox::default();
        host.asleep_until = Instant::from_nanos(0);
        host.addresses_free_at = self.now;
        host.role_free_at = self.now;
        host.receiver_free_at = self.now;
        self.watch.forget(index);
    }

    fn meddle(&mut self, index: usize, router: usize, until: Option<Instant>) {
        let host = &mut self.hosts[index];
        if host.has_interface() && host.has_address(self.now, router) != until.is_some() {
            host.meddled = true;
            host.kernel[router].address_until = until;
            host.tell_addresses(self.now, router);
        }
    }

    fn tell_interface_track(&mut self, host: usize, track: usize) {
        if !self.configuration.tracks[track].script {
            self.hosts[host].tell_track(track);
        }
    }
}
