//! The interfaces that priorities depend on.

use agent_core::{Input, Parameters, TrackId, TrackKind, TrackOutcome};

use crate::interfaces::Interfaces;

/// The tracked interfaces, and what was last told of them.
pub(super) struct TrackedInterfaces {
    tracks: Vec<Tracked>,
}

struct Tracked {
    id: TrackId,
    name: String,
    told: Option<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    Down,
    Missing,
}

impl TrackedInterfaces {
    pub(super) fn new(parameters: &Parameters) -> Self {
        let tracks = parameters.tracks.iter().enumerate();
        let tracks = tracks.filter(|(_, track)| track.kind == TrackKind::Interface);
        let tracked = |(index, track): (usize, &agent_core::TrackParameters)| Tracked {
            id: TrackId(index),
            name: track.name.clone(),
            told: None,
        };
        Self { tracks: tracks.map(tracked).collect() }
    }

    /// What is different from what was told last, for the core and, in a sentence, for people.
    pub(super) fn look(&mut self, interfaces: &Interfaces) -> Vec<(Input, Option<String>)> {
        // Half of the truth would miss interfaces.
        if !interfaces.is_known() {
            return Vec::new();
        }
        self.tracks.iter_mut().filter_map(|tracked| tracked.look(interfaces)).collect()
    }
}

impl Tracked {
    fn look(&mut self, interfaces: &Interfaces) -> Option<(Input, Option<String>)> {
        let state = match interfaces.link(&self.name) {
            Some((_, link)) if link.up => State::Up,
            Some(_) => State::Down,
            None => State::Missing,
        };
        let before = self.told.replace(state);
        if before == Some(state) {
            return None;
        }
        let name = &self.name;
        let (outcome, sentence) = match state {
            State::Up => {
                (TrackOutcome::Passed, before.map(|_| format!("tracked interface {name} can carry traffic again")))
            }
            State::Down => (TrackOutcome::Failed("down".to_owned()), Some(format!("tracked interface {name} is down"))),
            State::Missing => {
                let sentence = format!("tracked interface {name} does not exist");
                (TrackOutcome::Failed("no such interface".to_owned()), Some(sentence))
            }
        };
        Some((Input::Track { track: self.id, outcome }, sentence))
    }
}
