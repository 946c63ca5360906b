//! A vipd.toml with the origin of each section.

use std::fmt::Write as _;

use super::lexer::Position;

/// Text that grows line by line; each line knows the statement it came from.
#[derive(Debug, Default)]
pub(super) struct Document {
    text: String,
    origins: Vec<Position>,
}

impl Document {
    /// `line` must hold no line end of its own.
    pub(super) fn line(&mut self, at: Position, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        self.origins.push(at);
    }

    /// A comment, whatever letters stand in it.
    pub(super) fn comment(&mut self, at: Position, comment: &str) {
        let comment: String = comment.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        self.line(at, &format!("# {comment}"));
    }

    /// The statement that a line of the text, counted from 1, came from.
    pub(super) fn origin(&self, line: usize) -> Option<Position> {
        self.origins.get(line.checked_sub(1)?).copied()
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// A TOML basic string.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            _ if letter.is_control() => {
                let written = write!(out, "\\u{:04X}", u32::from(letter));
                debug_assert!(written.is_ok(), "writing to a String cannot fail");
            }
            _ => out.push(letter),
        }
    }
    out.push('"');
    out
}

/// A TOML array of strings.
pub(super) fn list<T: AsRef<str>>(texts: &[T]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| quoted(text.as_ref())).collect();
    format!("[{}]", texts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_survives_toml() {
        for text in ["", "a \"b\" \\c", "line\nend\ttab", "\u{7f}\u{1}\u{85}", "中文"] {
            let document: toml::Table = format!("key = {}", quoted(text)).parse().unwrap();
            assert_eq!(document["key"].as_str(), Some(text));
        }
    }
}
