use std::time::Duration;

use agent_core::{TrackId, TrackKind, TrackParameters, TrackWeight};
use nix::unistd::User;

use super::document::{Field, Section};
use super::virtual_router::interface_name;
use super::{Config, Script, TrackedInterface, VirtualRouter};

const HOUR: Duration = Duration::from_secs(3600);
/// Of little use to anybody else, so that a script can do little harm.
const DEFAULT_USER: &str = "nobody";
const MAX_TRACKS: usize = 32;
/// What a shell would act upon.
const SHELL_SIGNS: [char; 8] = ['|', '&', ';', '<', '>', '$', '`', '\\'];

pub(super) fn read_scripts(root: &Section<'_>) -> Vec<Script> {
    let mut scripts: Vec<Script> = Vec::new();
    for section in root.sections("script") {
        let name = section.required("name", "each script has a name");
        let text = name.as_ref().and_then(Field::text).unwrap_or_default().to_owned();
        if let Some(field) = name.filter(|_| scripts.iter().any(|script| script.name == text)) {
            field.refuse("another script has this name", "give each its own name");
        }
        let command = section.required("command", "a command line, or a list of a program and its arguments");
        scripts.push(Script {
            name: text,
            command: command.and_then(|field| command_line(&field)).unwrap_or_default(),
            user: user(&section),
            interval: section.duration(
                "interval",
                Duration::from_secs(1),
                Duration::from_millis(100)..=HOUR,
                "\"1s\" suits most scripts",
            ),
            timeout: section.duration(
                "timeout",
                Duration::from_secs(1),
                Duration::from_millis(10)..=HOUR,
                "\"1s\" suits most scripts",
            ),
            rise: section.integer("rise", 2, 1..=100, "2 suits most scripts"),
            fall: section.integer("fall", 2, 1..=100, "2 suits most scripts"),
            weight: section.integer("weight", 0, -253..=253, "0 makes a failed script disqualify the node"),
        });
        section.refuse_unknown();
    }
    scripts
}

/// The program, by its path, and its arguments.
pub(super) fn command_line(field: &Field<'_>) -> Option<Vec<String>> {
    let words: Vec<String> = if field.is_list() {
        let elements = field.elements();
        let words: Vec<_> = elements.iter().filter_map(Field::text).map(str::to_owned).collect();
        if words.len() != elements.len() {
            return None;
        }
        words
    } else {
        let text = field.text()?;
        match split(text) {
            Ok(words) => words,
            Err(why) => {
                field.refuse(why, "write it as a list, as in [\"/bin/sh\", \"-c\", \"test -e /run/ready\"]");
                return None;
            }
        }
    };
    if !words.first().is_some_and(|program| program.starts_with('/')) {
        field.refuse("the program is wanted by its absolute path", "write it as in \"/usr/local/bin/check-disk\"");
        return None;
    }
    if words.iter().any(|word| word.contains('\0')) {
        field.refuse("no argument can contain a zero byte", "remove it");
        return None;
    }
    Some(words)
}

/// Splits at white space; what stands in single or double quotes stays together.
fn split(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in text.chars() {
        match quote {
            Some(open) if letter == open => quote = None,
            Some(_) => word.get_or_insert_default().push(letter),
            None if letter == '"' || letter == '\'' => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            None if letter.is_whitespace() => words.extend(word.take()),
            None if SHELL_SIGNS.contains(&letter) => {
                return Err("no shell reads this, so | & ; < > $ ` and \\ mean nothing outside of quotes");
            }
            None => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    if quote.is_some() { Err("a quote is not closed") } else { Ok(words) }
}

fn user(section: &Section<'_>) -> String {
    let field = section.optional("user");
    let name = match &field {
        Some(field) => field.text().unwrap_or(DEFAULT_USER),
        None => DEFAULT_USER,
    };
    if matches!(User::from_name(name), Ok(Some(_))) {
        return name.to_owned();
    }
    let fix = "create it (adduser --system), or name a user of this host: it should own nothing of value";
    match &field {
        Some(field) => field.refuse("this host has no such user", fix),
        None => section.refuse("user is missing and this host has no user \"nobody\"", fix),
    }
    name.to_owned()
}

pub(super) fn tracked_interfaces(section: &Section<'_>) -> Vec<TrackedInterface> {
    let mut tracked: Vec<TrackedInterface> = Vec::new();
    for field in track_list(section, "track_interfaces") {
        let Some(entry) = tracked_interface(&field) else { continue };
        if tracked.iter().any(|other| other.name == entry.name) {
            field.refuse("this interface is in the list already", "remove one of them");
            continue;
        }
        tracked.push(entry);
    }
    tracked
}

fn track_list<'d>(section: &Section<'d>, key: &'static str) -> Vec<Field<'d>> {
    let Some(list) = section.optional(key) else { return Vec::new() };
    let fields = list.elements();
    if fields.len() <= MAX_TRACKS {
        return fields;
    }
    list.refuse(format!("{} entries; allowed are up to {MAX_TRACKS}", fields.len()), "leave some of them out");
    Vec::new()
}

fn tracked_interface(field: &Field<'_>) -> Option<TrackedInterface> {
    if !field.is_table() {
        return Some(TrackedInterface { name: interface_name(field)?, weight: 0 });
    }
    let section = field.section()?;
    let name = section.required("interface", "the name of a network interface, as in \"eth1\"");
    let weight = section.integer("weight", 0, -253..=253, "0 makes an interface that is down disqualify the node");
    section.refuse_unknown();
    Some(TrackedInterface { name: interface_name(&name?)?, weight })
}

pub(super) fn tracked_scripts(section: &Section<'_>, scripts: &[Script]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for field in track_list(section, "track_scripts") {
        let Some(name) = field.text() else { continue };
        if !scripts.iter().any(|script| script.name == name) {
            field.refuse("no [[script]] has this name", "add the script, or correct the name");
        } else if names.iter().any(|other| other == name) {
            field.refuse("this script is in the list already", "remove one of them");
        }
        names.push(name.to_owned());
    }
    names
}

impl Config {
    /// What any priority depends on: the interfaces, then the scripts, each once.
    pub(super) fn tracks(&self) -> Vec<TrackParameters> {
        let mut tracks: Vec<TrackParameters> = Vec::new();
        for tracked in self.virtual_routers.iter().flat_map(|router| &router.track_interfaces) {
            if tracks.iter().all(|track| track.name != tracked.name) {
                let (kind, name) = (TrackKind::Interface, tracked.name.clone());
                tracks.push(TrackParameters { kind, name, rise: 1, fall: 1 });
            }
        }
        let scripts = self.scripts.iter().filter(|script| self.is_tracked(script));
        tracks.extend(scripts.map(|script| TrackParameters {
            kind: TrackKind::Script,
            name: script.name.clone(),
            rise: script.rise,
            fall: script.fall,
        }));
        tracks
    }

    pub(super) fn weights(&self, router: &VirtualRouter, tracks: &[TrackParameters]) -> Vec<TrackWeight> {
        let find = |kind, name: &str| tracks.iter().position(|track| track.kind == kind && track.name == name);
        let interfaces = router.track_interfaces.iter().filter_map(|tracked| {
            let track = TrackId(find(TrackKind::Interface, &tracked.name)?);
            Some(TrackWeight { track, weight: tracked.weight })
        });
        let scripts = router.track_scripts.iter().filter_map(|name| {
            let track = TrackId(find(TrackKind::Script, name)?);
            let weight = self.scripts.iter().find(|script| script.name == *name)?.weight;
            Some(TrackWeight { track, weight })
        });
        interfaces.chain(scripts).collect()
    }

    /// Whether any virtual router depends on the script; others are never run.
    #[must_use]
    pub fn is_tracked(&self, script: &Script) -> bool {
        self.virtual_routers.iter().any(|router| router.track_scripts.contains(&script.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_split_at_spaces_and_not_within_quotes() {
        let words = |text| split(text).unwrap();
        assert_eq!(words("/bin/check  -p \t/var/lib"), ["/bin/check", "-p", "/var/lib"]);
        assert_eq!(words("/bin/check 'two words' \"it's\" ''"), ["/bin/check", "two words", "it's", ""]);
        assert_eq!(words("/bin/check --name='a b'c '$HOME|'"), ["/bin/check", "--name=a bc", "$HOME|"]);
        assert_eq!(words("  "), Vec::<String>::new());
    }

    #[test]
    fn what_only_a_shell_would_understand_is_refused() {
        for text in
            ["/bin/a | /bin/b", "/bin/a && /bin/b", "/bin/a > /dev/null", "/bin/a $HOME", "/bin/a; b", "/bin/a\\ b"]
        {
            assert!(split(text).unwrap_err().contains("no shell"), "{text}");
        }
        assert_eq!(split("/bin/a 'b"), Err("a quote is not closed"));
    }
}
