//! Questions and answers on a terminal.

use std::io::{BufRead, Write};

use anyhow::{Context as _, Result, bail};

/// After so many answers that are none, the user has something else in mind.
const ATTEMPTS: usize = 3;

/// Where questions go and answers come from; without one, what is not given is missing.
pub struct Dialogue<'a> {
    parties: Option<(&'a mut dyn BufRead, &'a mut dyn Write)>,
    missing: Vec<&'static str>,
}

impl<'a> Dialogue<'a> {
    pub fn with(answers: &'a mut dyn BufRead, questions: &'a mut dyn Write) -> Self {
        Self { parties: Some((answers, questions)), missing: Vec::new() }
    }

    /// Nobody is there to ask.
    #[must_use]
    pub const fn none() -> Self {
        Self { parties: None, missing: Vec::new() }
    }

    /// Says which options are missing, so that an error can name all of them.
    pub(super) fn begin(&mut self, missing: &[&'static str]) {
        self.missing = missing.to_vec();
    }

    /// Asks until the answer is one; an empty line takes the proposal.
    pub(super) fn ask<T>(
        &mut self,
        option: &'static str,
        question: &str,
        proposal: Option<String>,
        parse: impl Fn(&str) -> Result<T>,
    ) -> Result<T> {
        let Some((answers, questions)) = &mut self.parties else {
            let missing: Vec<String> = self.missing.iter().map(|option| format!("--{option}")).collect();
            bail!("there is no terminal to ask on: give {}", missing.join(", "));
        };
        for _ in 0..ATTEMPTS {
            match &proposal {
                Some(proposal) => write!(questions, "{question} [{proposal}]: ")?,
                None => write!(questions, "{question}: ")?,
            }
            questions.flush()?;
            let mut line = String::new();
            if answers.read_line(&mut line).context("cannot read the answer")? == 0 {
                bail!("no answer for --{option}");
            }
            let answer = match (line.trim(), &proposal) {
                ("", Some(proposal)) => proposal,
                ("", None) => continue,
                (answer, _) => answer,
            };
            match parse(answer) {
                Ok(answer) => return Ok(answer),
                Err(error) => writeln!(questions, "  {error:#}")?,
            }
        }
        bail!("no answer for --{option} after {ATTEMPTS} attempts");
    }
}
