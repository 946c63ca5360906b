//! Reads values out of a TOML document and notes every problem on the way, with its line.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::duration;
use super::problem::Problem;

/// The text of a file and what was found wrong in it.
#[derive(Debug)]
pub(super) struct Findings<'d> {
    text: &'d str,
    problems: RefCell<Vec<Problem>>,
}

impl<'d> Findings<'d> {
    pub(super) fn new(text: &'d str) -> Self {
        Self { text, problems: RefCell::default() }
    }

    pub(super) fn note(&self, at: usize, key: &str, found: Option<String>, allowed: impl Display, fix: impl Display) {
        let line = self.line(at);
        let (allowed, fix) = (allowed.to_string(), fix.to_string());
        self.problems.borrow_mut().push(Problem { line, key: key.to_owned(), found, allowed, fix });
    }

    pub(super) fn count(&self) -> usize {
        self.problems.borrow().len()
    }

    /// All problems in the order of the file.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.line);
        problems
    }

    fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().get(..at).unwrap_or(self.text.as_bytes());
        1 + before.iter().filter(|&&byte| byte == b'\n').count()
    }

    /// The value as it was written, on one line and not too long.
    fn excerpt(&self, span: &Range<usize>) -> String {
        const MAX_CHARS: usize = 60;
        let text = self.text.get(span.clone()).unwrap_or_default();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if text.chars().count() <= MAX_CHARS {
            return text;
        }
        text.chars().take(MAX_CHARS).chain("..".chars()).collect()
    }
}

/// A table of the document, or the place where one could stand.
#[derive(Debug)]
pub(super) struct Section<'d> {
    path: String,
    at: usize,
    table: Option<&'d DeTable<'d>>,
    known: RefCell<Vec<&'static str>>,
    findings: &'d Findings<'d>,
    problems_before: Cell<usize>,
}

impl<'d> Section<'d> {
    pub(super) fn root(table: &'d Spanned<DeTable<'d>>, findings: &'d Findings<'d>) -> Self {
        Self::new(String::new(), 0, Some(table.get_ref()), findings)
    }

    fn new(path: String, at: usize, table: Option<&'d DeTable<'d>>, findings: &'d Findings<'d>) -> Self {
        let problems_before = Cell::new(findings.count());
        Self { path, at, table, known: RefCell::default(), findings, problems_before }
    }

    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// From here on problems count against this section.
    pub(super) fn begin(&self) {
        self.problems_before.set(self.findings.count());
    }

    /// Whether no problem was noted since [`Section::begin`].
    pub(super) fn is_sound(&self) -> bool {
        self.findings.count() == self.problems_before.get()
    }

    pub(super) fn optional(&self, key: &'static str) -> Option<Field<'d>> {
        self.known.borrow_mut().push(key);
        let (_, value) = self.table?.iter().find(|(name, _)| name.get_ref() == key)?;
        Some(Field { path: self.path_of(key), value, findings: self.findings })
    }

    /// As [`Section::optional`], with its absence noted as a problem.
    pub(super) fn required(&self, key: &'static str, allowed: &str) -> Option<Field<'d>> {
        let field = self.optional(key);
        if field.is_none() {
            let allowed = format!("missing; {allowed}");
            let fix = format!("add {key} = .. to {}", if self.path.is_empty() { "the file" } else { &self.path });
            self.findings.note(self.at, &self.path_of(key), None, allowed, fix);
        }
        field
    }

    /// Notes a problem of the section as a whole, at its first line.
    pub(super) fn refuse(&self, allowed: impl Display, fix: impl Display) {
        self.findings.note(self.at, &self.path, None, allowed, fix);
    }

    pub(super) fn section(&self, key: &'static str) -> Option<Self> {
        self.optional(key)?.into_section()
    }

    /// As [`Section::section`]; an absent one has no keys.
    pub(super) fn section_or_empty(&self, key: &'static str) -> Self {
        self.section(key).unwrap_or_else(|| Self::new(self.path_of(key), self.at, None, self.findings))
    }

    /// The tables of an array of tables.
    pub(super) fn sections(&self, key: &'static str) -> Vec<Self> {
        let fields = self.optional(key).map(|field| field.elements()).unwrap_or_default();
        fields.into_iter().filter_map(Field::into_section).collect()
    }

    pub(super) fn boolean(&self, key: &'static str, default: bool) -> bool {
        self.optional(key).and_then(|field| field.boolean()).unwrap_or(default)
    }

    pub(super) fn integer<T: TryFrom<i64> + PartialOrd + Display>(
        &self,
        key: &'static str,
        default: T,
        allowed: RangeInclusive<T>,
        fix: &str,
    ) -> T {
        self.optional(key).and_then(|field| field.integer(allowed, fix)).unwrap_or(default)
    }

    pub(super) fn duration(
        &self,
        key: &'static str,
        default: Duration,
        allowed: RangeInclusive<Duration>,
        fix: &str,
    ) -> Duration {
        self.optional(key).and_then(|field| field.duration(allowed, fix)).unwrap_or(default)
    }

    /// A text that is not empty.
    pub(super) fn text(&self, key: &'static str, default: &str) -> String {
        self.optional(key).and_then(|field| field.text()).unwrap_or(default).to_owned()
    }

    pub(super) fn path(&self, key: &'static str) -> Option<PathBuf> {
        self.optional(key)?.text().map(PathBuf::from)
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(&self, key: &'static str, default: T, choices: &[(&str, T)]) -> T {
        self.optional(key).and_then(|field| field.choice(choices)).unwrap_or(default)
    }

    /// Notes every key that nobody asked for; to be called last.
    pub(super) fn refuse_unknown(&self) {
        let known = self.known.borrow();
        for (name, _) in self.table.into_iter().flatten() {
            let key: &str = name.get_ref();
            if known.contains(&key) {
                continue;
            }
            let nearest = known.iter().min_by_key(|candidate| distance(key, candidate));
            let fix = match nearest.filter(|candidate| distance(key, candidate) <= 2.max(candidate.len() / 3)) {
                Some(candidate) => format!("did you mean {candidate}?"),
                None => format!("remove it; known here: {}", known.join(", ")),
            };
            self.findings.note(name.span().start, &self.path_of(key), None, "unknown key", fix);
        }
    }
}

/// A value of the document.
#[derive(Debug)]
pub(super) struct Field<'d> {
    path: String,
    value: &'d Spanned<DeValue<'d>>,
    findings: &'d Findings<'d>,
}

impl<'d> Field<'d> {
    pub(super) fn refuse(&self, allowed: impl Display, fix: impl Display) {
        let span = self.value.span();
        self.findings.note(span.start, &self.path, Some(self.findings.excerpt(&span)), allowed, fix);
    }

    fn refuse_type(&self, wanted: &str) {
        let found = self.value.get_ref().type_str();
        self.refuse(format!("{wanted} is wanted, this is of type {found}"), "change the value");
    }

    pub(super) fn text(&self) -> Option<&'d str> {
        match self.value.get_ref().as_str() {
            Some(text) if !text.trim().is_empty() => Some(text),
            Some(_) => {
                self.refuse("must not be empty", "fill it in, or remove the key");
                None
            }
            None => {
                self.refuse_type("a text in quotes");
                None
            }
        }
    }

    fn boolean(&self) -> Option<bool> {
        let value = self.value.get_ref().as_bool();
        if value.is_none() {
            self.refuse_type("true or false");
        }
        value
    }

    pub(super) fn integer<T: TryFrom<i64> + PartialOrd + Display>(
        &self,
        allowed: RangeInclusive<T>,
        fix: &str,
    ) -> Option<T> {
        let Some(integer) = self.value.get_ref().as_integer() else {
            self.refuse_type("a whole number without quotes");
            return None;
        };
        let value =
            i64::from_str_radix(integer.as_str(), integer.radix()).ok().and_then(|value| T::try_from(value).ok());
        let value = value.filter(|value| allowed.contains(value));
        if value.is_none() {
            self.refuse(format!("allowed is {}..={}", allowed.start(), allowed.end()), fix);
        }
        value
    }

    pub(super) fn duration(&self, allowed: RangeInclusive<Duration>, fix: &str) -> Option<Duration> {
        let Some(text) = self.value.get_ref().as_str() else {
            self.refuse_type("a duration in quotes with its unit, as in \"100ms\", \"1s\" or \"1m\",");
            return None;
        };
        let Some(value) = duration::parse(text) else {
            self.refuse(
                "a number with its unit (us, ms, s, m, h) is wanted",
                "write it as in \"100ms\", \"1.5s\" or \"1m\"",
            );
            return None;
        };
        if !allowed.contains(&value) {
            let (from, to) = (duration::display(*allowed.start()), duration::display(*allowed.end()));
            self.refuse(format!("allowed is {from}..={to}"), fix);
            return None;
        }
        Some(value)
    }

    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = choices.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let words: Vec<_> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            self.refuse(format!("allowed is {}", words.join(" or ")), "choose one of them");
        }
        found.map(|(_, choice)| *choice)
    }

    pub(super) fn elements(&self) -> Vec<Self> {
        let Some(array) = self.value.get_ref().as_array() else {
            self.refuse_type("a list");
            return Vec::new();
        };
        let element = |(index, value)| Self { path: format!("{}[{index}]", self.path), value, findings: self.findings };
        array.iter().enumerate().map(element).collect()
    }

    pub(super) fn is_list(&self) -> bool {
        self.value.get_ref().is_array()
    }

    pub(super) fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    pub(super) fn section(&self) -> Option<Section<'d>> {
        Self { path: self.path.clone(), value: self.value, findings: self.findings }.into_section()
    }

    fn into_section(self) -> Option<Section<'d>> {
        let Some(table) = self.value.get_ref().as_table() else {
            self.refuse_type("a section");
            return None;
        };
        Some(Section::new(self.path, self.value.span().start, Some(table), self.findings))
    }
}

/// How many letters differ (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, letter) in left.chars().enumerate() {
        let mut above_left = index;
        let mut beside = index + 1;
        for (cell, other) in row.iter_mut().skip(1).zip(&right) {
            let above = *cell;
            beside = (above + 1).min(beside + 1).min(above_left + usize::from(letter != *other));
            above_left = above;
            *cell = beside;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelling_is_near() {
        assert_eq!(distance("vrid", "vrid"), 0);
        assert_eq!(distance("vird", "vrid"), 2);
        assert_eq!(distance("adress", "address"), 1);
        assert_eq!(distance("", "peer"), 4);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
