//! Statements with their blocks, over all included files.

use std::collections::HashMap;

use super::lexer::{self, Position, Token, Word};
use super::{ImportError, Include, MAX_DEPTH, MAX_FILES, MAX_INCLUDES, MAX_REMARKS, MAX_TEXT, Place, Remark, Source};

/// Most text that definitions put in, over all files, in bytes.
const MAX_EXPANDED: usize = 1 << 20;

/// The beginning of the first file.
pub(super) const START: Position = Position { file: 0, line: 1, column: 1 };

/// One line of words, and the block that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    /// At least one.
    pub(super) words: Vec<Word>,
    pub(super) block: Option<Vec<Statement>>,
}

impl Statement {
    pub(super) fn keyword(&self) -> &str {
        self.words.first().map_or("", |word| &word.text)
    }

    pub(super) fn at(&self) -> Position {
        self.words.first().map_or(START, |word| word.at)
    }

    /// The words after the keyword.
    pub(super) fn arguments(&self) -> &[Word] {
        self.words.get(1..).unwrap_or_default()
    }

    /// The first word after the keyword.
    pub(super) fn value(&self) -> Option<&Word> {
        self.words.get(1)
    }

    /// The statements of the block; none without a block.
    pub(super) fn children(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }
}

/// Remarks up to a limit, with the names of the files.
#[derive(Debug, Default)]
pub(super) struct Notes {
    files: Vec<String>,
    remarks: Vec<(Position, String)>,
    left_out: usize,
}

impl Notes {
    pub(super) fn place(&self, at: Position) -> Place {
        Place { file: self.file(at).to_owned(), line: at.line, column: at.column }
    }

    pub(super) fn file(&self, at: Position) -> &str {
        self.files.get(at.file).map_or("", String::as_str)
    }

    pub(super) fn add(&mut self, at: Position, text: impl Into<String>) {
        if self.remarks.len() < MAX_REMARKS {
            self.remarks.push((at, text.into()));
        } else {
            self.left_out += 1;
        }
    }

    pub(super) fn into_remarks(mut self) -> Vec<Remark> {
        self.remarks.sort_by_key(|(at, _)| (at.file, at.line, at.column));
        let mut remarks: Vec<_> =
            self.remarks.iter().map(|(at, text)| Remark { place: self.place(*at), text: text.clone() }).collect();
        if let (Some(last), 1..) = (remarks.last(), self.left_out) {
            let text = format!("{} further remarks are left out", self.left_out);
            remarks.push(Remark { place: last.place.clone(), text });
        }
        remarks
    }
}

/// Reads files and their includes.
pub(super) struct Reader<'f> {
    includes: &'f mut dyn FnMut(Include<'_>) -> Result<Vec<Source>, String>,
    notes: Notes,
    text: usize,
    expanded: usize,
    /// The files that are being read, each included by the one before.
    stack: Vec<String>,
    definitions: HashMap<String, Vec<Word>>,
}

/// A block that has been opened.
struct Level {
    statements: Vec<Statement>,
    opened: Position,
}

impl<'f> Reader<'f> {
    pub(super) fn new(includes: &'f mut dyn FnMut(Include<'_>) -> Result<Vec<Source>, String>) -> Self {
        Self { includes, notes: Notes::default(), text: 0, expanded: 0, stack: Vec::new(), definitions: HashMap::new() }
    }

    pub(super) fn into_notes(self) -> Notes {
        self.notes
    }

    pub(super) fn read(&mut self, main: Source) -> Result<Vec<Statement>, ImportError> {
        self.read_file(main, 0)
    }

    fn refuse<T>(&self, at: Position, reason: impl Into<String>) -> Result<T, ImportError> {
        Err(ImportError { place: self.notes.place(at), reason: reason.into() })
    }

    fn read_file(&mut self, source: Source, outer_depth: usize) -> Result<Vec<Statement>, ImportError> {
        let file = self.notes.files.len();
        let start = Position { file, line: 1, column: 1 };
        self.notes.files.push(source.name.clone());
        self.text = self.text.saturating_add(source.text.len());
        if self.text > MAX_TEXT {
            return self.refuse(start, format!("the files are longer than {MAX_TEXT} bytes together"));
        }
        if self.notes.files.len() > MAX_FILES {
            return self.refuse(start, format!("more than {MAX_FILES} files are included"));
        }
        let tokens = match lexer::tokens(&source.text, file) {
            Ok(tokens) => tokens,
            Err(fault) => return self.refuse(fault.at, fault.reason),
        };
        self.stack.push(source.name);
        let statements = self.read_tokens(tokens, start, outer_depth)?;
        self.stack.pop();
        Ok(statements)
    }

    fn read_tokens(
        &mut self,
        tokens: Vec<Token>,
        start: Position,
        outer_depth: usize,
    ) -> Result<Vec<Statement>, ImportError> {
        let mut levels = Vec::new();
        let mut level = Level { statements: Vec::new(), opened: start };
        let mut words: Vec<Word> = Vec::new();
        for token in tokens {
            match token {
                Token::Word(word) => words.push(word),
                Token::LineEnd => self.end_line(&mut words, &mut level, outer_depth + levels.len())?,
                Token::Open(at) => {
                    self.end_line(&mut words, &mut level, outer_depth + levels.len())?;
                    let Some(owner) = level.statements.last_mut().filter(|owner| owner.block.is_none()) else {
                        return self.refuse(at, "this { belongs to no keyword");
                    };
                    owner.block = Some(Vec::new());
                    if outer_depth + levels.len() >= MAX_DEPTH {
                        return self.refuse(at, format!("more than {MAX_DEPTH} blocks in one another"));
                    }
                    levels.push(std::mem::replace(&mut level, Level { statements: Vec::new(), opened: at }));
                }
                Token::Close(at) => {
                    self.end_line(&mut words, &mut level, outer_depth + levels.len())?;
                    let Some(outer) = levels.pop() else {
                        return self.refuse(at, "this } closes nothing");
                    };
                    let inner = std::mem::replace(&mut level, outer);
                    if let Some(owner) = level.statements.last_mut() {
                        owner.block = Some(inner.statements);
                    }
                }
            }
        }
        if levels.is_empty() { Ok(level.statements) } else { self.refuse(level.opened, "this { is never closed") }
    }

    fn end_line(&mut self, words: &mut Vec<Word>, level: &mut Level, depth: usize) -> Result<(), ImportError> {
        let words = std::mem::take(words);
        let Some(first) = words.first() else { return Ok(()) };
        let at = first.at;
        if let Some((name, value)) = first.text.strip_prefix('$').and_then(|text| text.split_once('=')) {
            self.define(name, value, &words)?;
            return Ok(());
        }
        let words = self.expand(words)?;
        let statement = Statement { words, block: None };
        if !matches!(
            statement.keyword(),
            "include" | "include_r" | "include_m" | "include_w" | "include_b" | "include_a"
        ) {
            if !statement.words.is_empty() {
                level.statements.push(statement);
            }
            return Ok(());
        }
        let Some(pattern) = statement.value() else { return self.refuse(at, "include names no file") };
        if self.stack.len() >= MAX_INCLUDES {
            return self.refuse(at, format!("more than {MAX_INCLUDES} files in one another: a cycle of includes?"));
        }
        let from = self.stack.last().cloned().unwrap_or_default();
        let found = (self.includes)(Include { from: &from, pattern: &pattern.text });
        let sources = match found {
            Ok(sources) => sources,
            Err(reason) => return self.refuse(at, reason),
        };
        if sources.is_empty() {
            self.notes.add(at, format!("no file matches {}", pattern.text));
        }
        for source in sources {
            if self.stack.contains(&source.name) {
                return self.refuse(at, format!("{} includes itself: a cycle", source.name));
            }
            level.statements.extend(self.read_file(source, depth)?);
        }
        Ok(())
    }

    fn define(&mut self, name: &str, value: &str, words: &[Word]) -> Result<(), ImportError> {
        let Some(first) = words.first() else { return Ok(()) };
        let mut definition = Vec::new();
        if !value.is_empty() {
            definition.push(Word { text: value.to_owned(), at: first.at, is_plain: false });
        }
        definition.extend(words.iter().skip(1).cloned());
        let definition = self.expand(definition)?;
        self.notes.add(first.at, format!("definition ${name}: put in where it is used; vipd.toml has none"));
        self.definitions.insert(name.to_owned(), definition);
        Ok(())
    }

    /// Puts definitions in; what is not defined stays as it is.
    fn expand(&mut self, words: Vec<Word>) -> Result<Vec<Word>, ImportError> {
        let mut expanded = Vec::with_capacity(words.len());
        for word in words {
            if !word.text.contains('$') {
                expanded.push(word);
                continue;
            }
            let whole = word
                .text
                .strip_prefix('$')
                .map(|name| name.strip_prefix('{').and_then(|name| name.strip_suffix('}')).unwrap_or(name));
            let definition = whole.and_then(|name| self.definitions.get(name)).cloned();
            if let Some(definition) = definition {
                self.pay(&definition, word.at)?;
                expanded.extend(definition.into_iter().map(|it| Word { at: word.at, is_plain: false, ..it }));
            } else {
                let text = self.expand_within(&word)?;
                expanded.push(Word { is_plain: false, text, ..word });
            }
        }
        Ok(expanded)
    }

    /// Counts what a definition puts in against the limit of all files.
    fn pay(&mut self, definition: &[Word], at: Position) -> Result<(), ImportError> {
        self.expanded += definition.iter().map(|word| word.text.len() + 1).sum::<usize>();
        if self.expanded > MAX_EXPANDED {
            return self.refuse(at, format!("definitions put in more than {MAX_EXPANDED} bytes"));
        }
        Ok(())
    }

    fn expand_within(&mut self, word: &Word) -> Result<String, ImportError> {
        let mut text = String::new();
        let mut rest = word.text.as_str();
        let mut is_unknown = false;
        while let Some((before, after)) = rest.split_once('$') {
            text.push_str(before);
            let inner = after.strip_prefix('{').unwrap_or(after);
            let end = inner.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(inner.len());
            let (name, tail) = inner.split_at(end);
            let tail = if inner.len() == after.len() { Some(tail) } else { tail.strip_prefix('}') };
            if let (Some(definition), Some(tail)) = (self.definitions.get(name).cloned(), tail) {
                self.pay(&definition, word.at)?;
                let words: Vec<_> = definition.iter().map(|word| word.text.as_str()).collect();
                text.push_str(&words.join(" "));
                rest = tail;
            } else {
                is_unknown = true;
                text.push('$');
                rest = after;
            }
        }
        text.push_str(rest);
        if is_unknown {
            // The name is not told: it may be a part of a password.
            self.notes.add(word.at, "holds a $ that begins no definition made before; kept as it stands");
        }
        Ok(text)
    }
}
