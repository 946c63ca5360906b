//! What the priority and the candidacy of a router depend on beyond its configuration.

use agent_wire::Priority;

use super::Node;
use crate::health::{Failure, ServerState};
use crate::input::{RouterId, TrackId, TrackOutcome};
use crate::parameters::{TrackKind, TrackWeight};
use crate::snapshot::{PartSource, PriorityPart};
use crate::time::Instant;
use crate::tracking::TrackState;
use crate::transition::Reason;

impl Node {
    pub(super) fn handle_track(&mut self, now: Instant, id: TrackId, outcome: TrackOutcome) {
        let (Some(track), Some(own)) = (self.tracks.get_mut(id.0), self.parameters.tracks.get(id.0)) else { return };
        track.handle_outcome(outcome, own);
        for index in 0..self.routers.len() {
            let (priority, _) = self.effective_priority(index);
            let own = &mut self.parameters.routers[index];
            let before = core::mem::replace(&mut own.priority, priority);
            if before != priority {
                self.routers[index].election.change_priority(now, before, own);
            }
        }
    }

    /// The priority that goes for the router, and the router of the group that it comes from.
    fn effective_priority(&self, index: usize) -> (Priority, usize) {
        if !self.is_grouped() {
            return (self.own_priority(index), index);
        }
        // The routers of a group prefer the same host: with the same priority, and that is the lowest.
        let all = (0..self.routers.len()).map(|index| (self.own_priority(index), index));
        all.min_by_key(|(priority, _)| priority.as_u8()).unwrap_or((self.own_priority(index), index))
    }

    fn own_priority(&self, index: usize) -> Priority {
        let failed = self.tracked(index).filter(|(_, state)| matches!(state, TrackState::Failed(_)));
        let sum: i32 = failed.map(|(own, _)| own.weight).sum();
        let priority = sum.saturating_add(i32::from(self.routers[index].configured.as_u8())).clamp(1, 254);
        u8::try_from(priority).map_or(self.routers[index].configured, Priority::new)
    }

    fn tracked(&self, index: usize) -> impl Iterator<Item = (&TrackWeight, &TrackState)> {
        let tracks = self.parameters.routers[index].tracks.iter();
        tracks.filter_map(|own| Some((own, self.tracks.get(own.track.0)?.state())))
    }

    /// Why the tracks of a router keep it from being a candidate, and in words for people.
    pub(super) fn track_fault(&self, index: usize) -> Option<(Reason, String)> {
        self.tracked(index).find_map(|(own, state)| {
            let (reason, why) = self.fault(own, state)?;
            Some((reason, format!("{}: {why}", self.parameters.tracks.get(own.track.0)?)))
        })
    }

    fn fault<'a>(&self, own: &TrackWeight, state: &'a TrackState) -> Option<(Reason, &'a str)> {
        let kind = self.parameters.tracks.get(own.track.0)?.kind;
        if own.weight != 0 {
            return None;
        }
        match (kind, state) {
            (_, TrackState::Good) => None,
            (TrackKind::Interface, TrackState::Unknown) => Some((Reason::InterfaceDown, "not known yet")),
            (TrackKind::Interface, TrackState::Failed(why)) => Some((Reason::InterfaceDown, why)),
            (TrackKind::Script, TrackState::Unknown) => Some((Reason::ScriptUnknown, "no result yet")),
            (TrackKind::Script, TrackState::Failed(why)) => Some((Reason::ScriptFailed, why)),
        }
    }

    /// Why the server keeps every router of this host from being a candidate, or from staying Active.
    pub(super) fn server_fault(&self, active: bool) -> Option<Reason> {
        let own = self.parameters.server.as_ref()?;
        match self.health.state() {
            ServerState::Failed(Failure::Died(_)) => return Some(Reason::ServerDied),
            ServerState::Failed(Failure::Probe(_)) => return Some(Reason::ServerFailed),
            ServerState::Unknown if !active => return Some(Reason::ServerUnknown),
            ServerState::Degraded(_) if !active => return Some(Reason::ServerDegraded),
            ServerState::Unknown | ServerState::Degraded(_) | ServerState::Healthy => {}
        }
        if active { None } else { self.eligibility.verdict(own).err() }
    }

    pub(super) fn priority_parts(&self, index: usize, active: bool) -> Vec<PriorityPart> {
        let configured = self.routers[index].configured;
        let part = |source, value| PriorityPart { source, value, reason: None, fault: false };
        let mut parts = vec![part(PartSource::Configured, i32::from(configured.as_u8()))];
        parts.extend(self.tracked(index).map(|(own, state)| {
            let (value, reason) = match state {
                TrackState::Unknown => (0, Some("not known yet".to_owned())),
                TrackState::Good => (0, None),
                TrackState::Failed(why) => (own.weight, Some(why.clone())),
            };
            let fault = self.fault(own, state).is_some();
            PriorityPart { source: PartSource::Track(own.track), value, reason, fault }
        }));
        let (priority, from) = self.effective_priority(index);
        let lower = i32::from(priority.as_u8()) - i32::from(self.own_priority(index).as_u8());
        if lower != 0 {
            parts.push(part(PartSource::Group(RouterId(from)), lower));
        }
        if self.parameters.server.is_some() {
            let fault = self.server_fault(active);
            let reason = fault.map(Reason::as_str).or(self.health.state().reason()).map(str::to_owned);
            parts.push(PriorityPart { source: PartSource::Server, value: 0, reason, fault: fault.is_some() });
        }
        parts
    }
}
