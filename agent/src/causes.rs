//! What an error and its causes say.

use std::error::Error;

/// The error and its causes in one line; a cause that its effect already repeats is not said twice.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !sentence.ends_with(&text) {
            sentence = format!("{sentence}: {text}");
        }
        cause = error.source();
    }
    sentence
}
