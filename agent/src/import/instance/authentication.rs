use super::super::blocks::{Notes, Statement};
use super::super::lexer::{Position, Word};

/// Where a password stands; itself it is not kept.
#[derive(Clone, Debug)]
pub(super) struct Password {
    at: Position,
    /// Stands in the file in one piece, so that a command can take it out.
    is_plain: bool,
}

/// Finds `auth_type PASS` with `auth_pass`; both may stand on one line.
pub(super) fn read(statement: &Statement, notes: &mut Notes) -> Option<Password> {
    let mut kind = None;
    let mut password: Option<Password> = None;
    let inline = Some(statement.arguments()).into_iter();
    for line in inline.chain(statement.children().iter().map(|child| child.words.as_slice())) {
        let mut words = line.iter();
        while let Some(word) = words.next() {
            match word.text.as_str() {
                "auth_type" => kind = words.next(),
                "auth_pass" => password = words.next().map(|it| Password { at: word.at, is_plain: fits_sed(word, it) }),
                // Not told: it may be a password.
                _ => notes.add(word.at, "unknown in authentication; not imported"),
            }
        }
    }
    match (kind.map(|word| word.text.as_str()), password) {
        (Some("PASS"), Some(password)) => Some(password),
        (Some("PASS") | None, None) => {
            notes.add(statement.at(), "authentication: there is no auth_pass; not imported");
            None
        }
        (None, Some(_)) => {
            notes.add(statement.at(), "authentication: there is no auth_type; not imported");
            None
        }
        (Some(_), _) => {
            notes.add(
                statement.at(),
                "authentication: only PASS has an equal; with AH set auth_type PASS on the keepalived host first",
            );
            None
        }
    }
}

fn fits_sed(keyword: &Word, password: &Word) -> bool {
    let same_line = (keyword.at.file, keyword.at.line) == (password.at.file, password.at.line);
    keyword.is_plain
        && password.is_plain
        && same_line
        && password.text.is_ascii()
        && !password.text.contains("auth_pass")
}

impl Password {
    pub(super) const fn at(&self) -> Position {
        self.at
    }

    /// Chooses a file that no other router has.
    pub(super) fn key_file(&self, name: &str, taken: &mut Vec<String>) -> String {
        let fit = |letter: char| if letter.is_ascii_alphanumeric() || "_.-".contains(letter) { letter } else { '-' };
        let name: String = name.chars().map(fit).collect();
        let path = |suffix: &str| format!("/etc/vipd/vrrp-{name}{suffix}.pass");
        let mut chosen = path("");
        while taken.contains(&chosen) {
            chosen = path(&format!("-{}", taken.len()));
            if taken.contains(&chosen) {
                taken.push(chosen.clone());
            }
        }
        taken.push(chosen.clone());
        chosen
    }

    /// Says how the password comes into its file, without telling it.
    pub(super) fn explain(&self, path: &str, notes: &mut Notes) {
        let line = self.at.line;
        let text = if self.is_plain {
            // keepalived, too, takes the first 8 bytes.
            let pattern = r"s/.*auth_pass[[:space:]]\{1,\}\([^[:space:]#!{}]\{1,8\}\).*/\1/p";
            let file = notes.file(self.at).replace('\'', r"'\''");
            format!(
                "auth_pass is not copied into vipd.toml; write its file with: \
                 sed -n '{line}{pattern}' '{file}' | install -D -m 600 /dev/stdin {path}"
            )
        } else {
            format!("auth_pass is not copied into vipd.toml; write its first 8 bytes to {path}, mode 0600")
        };
        notes.add(self.at, text);
    }
}
