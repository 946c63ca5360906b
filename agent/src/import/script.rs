//! `vrrp_script` and `vrrp_track_process`.

use std::time::Duration;

use super::blocks::{Notes, Statement};
use super::check::{self, Subject};
use super::lexer::{Position, Word};
use super::translation::{number, seconds};
use super::writer::{Document, list, quoted};
use crate::config::duration;

/// What only a shell understands.
const SHELL_SIGNS: [char; 14] = ['|', '&', ';', '<', '>', '$', '`', '*', '?', '(', ')', '~', '\n', '\\'];

/// A script or process check of keepalived.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) name: String,
    pub(super) at: Position,
    pub(super) weight: i32,
    /// Its part is taken by `[mysql]`.
    pub(super) is_server: bool,
    /// `None`: nothing that vipd could run.
    command: Option<String>,
    interval: Duration,
    timeout: Option<Duration>,
    rise: u32,
    fall: u32,
    user: Option<String>,
}

impl Check {
    fn new(statement: &Statement) -> Self {
        Self {
            name: statement.value().map(|word| word.text.clone()).unwrap_or_default(),
            at: statement.at(),
            weight: 0,
            is_server: false,
            command: None,
            interval: Duration::from_secs(1),
            timeout: None,
            rise: 1,
            fall: 1,
            user: None,
        }
    }

    /// Whether it becomes a `[[script]]`.
    pub(super) fn is_script(&self) -> bool {
        !self.is_server && self.command.is_some()
    }

    pub(super) fn read_script(statement: &Statement, notes: &mut Notes) -> Self {
        let mut check = Self::new(statement);
        for child in statement.children() {
            let at = child.at();
            match child.keyword() {
                "script" => check.command = Some(command(child.arguments())),
                "interval" => check.interval = limited(child, notes, 100).unwrap_or(check.interval),
                "timeout" => check.timeout = limited(child, notes, 10),
                "rise" => check.rise = number(child, 1..=100, notes).unwrap_or(1),
                "fall" => check.fall = number(child, 1..=100, notes).unwrap_or(1),
                "weight" => check.weight = weight(child.arguments(), notes).unwrap_or(0),
                "user" => {
                    check.user = child.value().map(|word| word.text.clone());
                    if let Some(group) = child.words.get(2) {
                        notes.add(group.at, "user: a group has no equal; the groups of the user count");
                    }
                }
                "init_fail" => notes.add(at, "init_fail: no equal; a script counts once it has run"),
                other => notes.add(at, format!("{other}: unknown in a vrrp_script; not imported")),
            }
        }
        let name = &check.name;
        let Some(command) = &check.command else {
            notes.add(check.at, format!("vrrp_script {name}: has no script; not imported"));
            return check;
        };
        match check::subject(command) {
            Subject::Server => {
                check.is_server = true;
                notes.add(
                    check.at,
                    format!(
                        "vrrp_script {name} asks for the database server: the section [mysql] takes its part, with \
                         probes of its own; set user and password_file there (vipd grants prints the account)"
                    ),
                );
            }
            Subject::Perhaps => notes.add(
                check.at,
                format!(
                    "vrrp_script {name} became a [[script]]; if it only checks the database server, remove it and add \
                     the section [mysql]"
                ),
            ),
            Subject::Other => {}
        }
        if check.is_server {
            return check;
        }
        if command.contains(SHELL_SIGNS) {
            notes.add(
                check.at,
                format!("vrrp_script {name} needs a shell, and vipd runs commands without one: /bin/sh -c is written before it"),
            );
        }
        if check.user.is_none() {
            notes.add(
                check.at,
                format!(
                    "vrrp_script {name} names no user: keepalived runs it as script_user, keepalived_script or root, vipd as \
                     nobody unless its key user names another"
                ),
            );
        }
        check
    }

    pub(super) fn read_process(statement: &Statement, notes: &mut Notes) -> Self {
        let mut check = Self::new(statement);
        for child in statement.children() {
            match child.keyword() {
                "process" => {
                    check.is_server = child.value().is_some_and(|word| check::is_server_process(&word.text));
                }
                "weight" => check.weight = weight(child.arguments(), notes).unwrap_or(0),
                other => notes.add(child.at(), format!("{other}: no equal for a tracked process; not imported")),
            }
        }
        let text = if check.is_server {
            "is the database server: the section [mysql] takes its part; set user and password_file there"
        } else {
            "no equal; write a [[script]] that looks for the process, as in: pgrep -x NAME"
        };
        notes.add(check.at, format!("{} {}: {text}", statement.keyword(), check.name));
        check
    }

    pub(super) fn write(&self, document: &mut Document, origin: &str) {
        let Some(command) = &self.command else { return };
        let at = self.at;
        document.line(at, "");
        document.comment(at, &format!("{origin}: vrrp_script {}", self.name));
        document.line(at, "[[script]]");
        document.line(at, &format!("name = {}", quoted(&self.name)));
        let command = if command.contains(SHELL_SIGNS) { list(&["/bin/sh", "-c", command]) } else { quoted(command) };
        document.line(at, &format!("command = {command}"));
        if let Some(user) = &self.user {
            document.line(at, &format!("user = {}", quoted(user)));
        }
        document.line(at, &format!("interval = \"{}\"", duration::display(self.interval)));
        // keepalived's default is the interval.
        document.line(at, &format!("timeout = \"{}\"", duration::display(self.timeout.unwrap_or(self.interval))));
        document.line(at, &format!("rise = {}", self.rise));
        document.line(at, &format!("fall = {}", self.fall));
        document.line(at, &format!("weight = {}", if self.weight > 0 { -self.weight } else { self.weight }));
    }
}

/// A command as one line; a single word in quotes is the whole command.
fn command(words: &[Word]) -> String {
    if let [only] = words {
        return only.text.clone();
    }
    let quote = |word: &Word| {
        if word.text.contains(char::is_whitespace) { format!("'{}'", word.text) } else { word.text.clone() }
    };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// A time of at least `least` milliseconds and at most an hour.
fn limited(statement: &Statement, notes: &mut Notes, least: u64) -> Option<Duration> {
    let time = seconds(statement, notes)?;
    let allowed = time.clamp(Duration::from_millis(least), Duration::from_secs(3600));
    if allowed != time {
        let allowed = duration::display(allowed);
        notes.add(statement.at(), format!("{}: vipd allows {least}ms..=1h; {allowed} is written", statement.keyword()));
    }
    Some(allowed)
}

/// A weight and its `reverse`, which has no equal.
pub(super) fn weight(words: &[Word], notes: &mut Notes) -> Option<i32> {
    let first = words.first()?;
    if let Some(word) = words.iter().find(|word| word.text == "reverse") {
        notes.add(word.at, "weight .. reverse: no equal; read as if it were not reversed");
    }
    let weight = first.text.parse::<i32>().ok().filter(|weight| (-253..=253).contains(weight));
    if weight.is_none() {
        notes.add(first.at, "weight: a number of -253..=253 is wanted; 0 is taken");
    }
    weight
}
