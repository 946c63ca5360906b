use crate::input::TrackOutcome;
use crate::parameters::TrackParameters;

/// What is believed of an interface or a script, with hysteresis.
#[derive(Debug, Default)]
pub(crate) struct Track {
    state: TrackState,
    /// Good outcomes since the last bad one, and the other way round.
    passed: u32,
    failed: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum TrackState {
    /// Nothing has been seen yet.
    #[default]
    Unknown,
    Good,
    /// Why, for people; of the last bad outcome.
    Failed(String),
}

impl Track {
    pub(crate) fn state(&self) -> &TrackState {
        &self.state
    }

    /// The first outcome decides at once, after that `rise` or `fall` of them in a row.
    pub(crate) fn handle_outcome(&mut self, outcome: TrackOutcome, own: &TrackParameters) {
        let first = self.state == TrackState::Unknown;
        match outcome {
            TrackOutcome::Passed => {
                (self.passed, self.failed) = (self.passed.saturating_add(1), 0);
                if first || self.passed >= own.rise {
                    self.state = TrackState::Good;
                }
            }
            TrackOutcome::Failed(reason) => {
                (self.passed, self.failed) = (0, self.failed.saturating_add(1));
                let has_failed = matches!(self.state, TrackState::Failed(_));
                if first || has_failed || self.failed >= own.fall {
                    self.state = TrackState::Failed(reason);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::TrackKind;

    fn script(rise: u32, fall: u32) -> TrackParameters {
        TrackParameters { kind: TrackKind::Script, name: "disk".to_owned(), rise, fall }
    }

    /// The verdict after each outcome of a row: `+` passed, `-` failed; `?` unknown, `G` good, `F` failed.
    fn verdicts(own: &TrackParameters, outcomes: &str) -> String {
        let mut track = Track::default();
        let verdict = |letter| {
            let failed = || TrackOutcome::Failed("exit status 1".to_owned());
            track.handle_outcome(if letter == '+' { TrackOutcome::Passed } else { failed() }, own);
            match track.state() {
                TrackState::Unknown => '?',
                TrackState::Good => 'G',
                TrackState::Failed(_) => 'F',
            }
        };
        outcomes.chars().map(verdict).collect()
    }

    #[test]
    fn nothing_is_known_before_the_first_outcome() {
        assert_eq!(Track::default().state(), &TrackState::Unknown);
    }

    #[test]
    fn the_first_outcome_decides_at_once() {
        assert_eq!(verdicts(&script(3, 3), "+"), "G");
        assert_eq!(verdicts(&script(3, 3), "-"), "F");
    }

    #[test]
    fn it_fails_after_fall_bad_outcomes_in_a_row_and_rises_after_rise_good_ones() {
        assert_eq!(verdicts(&script(3, 2), "+--+++"), "GGFFFG");
        assert_eq!(verdicts(&script(1, 1), "+-+-"), "GFGF");
    }

    #[test]
    fn outcomes_that_take_turns_change_nothing() {
        assert_eq!(verdicts(&script(2, 2), "+-+-+-+-"), "GGGGGGGG");
        assert_eq!(verdicts(&script(2, 2), "-+-+-+-+"), "FFFFFFFF");
    }

    #[test]
    fn the_reason_is_that_of_the_last_bad_outcome() {
        let own = script(2, 1);
        let mut track = Track::default();
        for reason in ["exit status 1", "no result within 1s"] {
            track.handle_outcome(TrackOutcome::Failed(reason.to_owned()), &own);
        }
        track.handle_outcome(TrackOutcome::Passed, &own);
        assert_eq!(track.state(), &TrackState::Failed("no result within 1s".to_owned()));
    }
}
