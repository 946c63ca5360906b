//! Words, braces and line ends of a keepalived.conf.

/// A position in one of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// Index among the files read.
    pub(super) file: usize,
    /// Counted from 1.
    pub(super) line: usize,
    /// Counted from 1, in characters.
    pub(super) column: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) at: Position,
    /// Stands in the file as it is here: no quotes, no escapes, no definition.
    pub(super) is_plain: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(Word),
    Open(Position),
    Close(Position),
    LineEnd,
}

/// Why a text cannot be cut into tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) at: Position,
    pub(super) reason: &'static str,
}

struct Cursor<'t> {
    rest: std::iter::Peekable<std::str::Chars<'t>>,
    at: Position,
}

impl Cursor<'_> {
    fn next(&mut self) -> Option<char> {
        let letter = self.rest.next()?;
        if letter == '\n' {
            self.at.line += 1;
            self.at.column = 1;
        } else {
            self.at.column += 1;
        }
        Some(letter)
    }

    fn peek(&mut self) -> Option<char> {
        self.rest.peek().copied()
    }

    fn skip_line(&mut self) {
        while self.peek().is_some_and(|letter| letter != '\n') {
            self.next();
        }
    }
}

/// Cuts a text into tokens; `#` and `!` begin a comment wherever they stand outside of quotes.
pub(super) fn tokens(text: &str, file: usize) -> Result<Vec<Token>, Fault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut cursor = Cursor { rest: text.chars().peekable(), at: Position { file, line: 1, column: 1 } };
    let mut tokens = Vec::new();
    while let Some(letter) = cursor.peek() {
        let at = cursor.at;
        match letter {
            '\0' => return Err(Fault { at, reason: "a NUL byte: this is no text file" }),
            '#' | '!' => cursor.skip_line(),
            '\n' => {
                cursor.next();
                tokens.push(Token::LineEnd);
            }
            '{' | '}' => {
                cursor.next();
                tokens.push(if letter == '{' { Token::Open(at) } else { Token::Close(at) });
            }
            _ if letter.is_whitespace() => {
                cursor.next();
            }
            _ => tokens.extend(word(&mut cursor)?.map(Token::Word)),
        }
    }
    tokens.push(Token::LineEnd);
    Ok(tokens)
}

/// Reads one word; `None`: only a backslash that joins two lines.
fn word(cursor: &mut Cursor<'_>) -> Result<Option<Word>, Fault> {
    let at = cursor.at;
    let mut word = Word { text: String::new(), at, is_plain: true };
    let mut is_quoted = false;
    while let Some(letter) = cursor.peek() {
        match letter {
            '"' | '\'' if letter == '"' || word.text.is_empty() => {
                word.is_plain = false;
                is_quoted = true;
                cursor.next();
                quoted(cursor, letter, &mut word.text)?;
            }
            '\\' => {
                cursor.next();
                match cursor.peek() {
                    Some('\n') if word.text.is_empty() && !is_quoted => {
                        cursor.next();
                        return Ok(None);
                    }
                    // The next word begins at the backslash again and joins the lines.
                    Some('\n') => {
                        cursor.next();
                        break;
                    }
                    Some(next) if "#!\"'\\{} ".contains(next) => {
                        word.is_plain = false;
                        word.text.push(next);
                        cursor.next();
                    }
                    _ => word.text.push('\\'),
                }
            }
            '{' if word.text.ends_with('$') => {
                while let Some(inner) = cursor.peek().filter(|inner| !inner.is_whitespace() && *inner != '\0') {
                    word.text.push(inner);
                    cursor.next();
                    if inner == '}' {
                        break;
                    }
                }
            }
            '#' | '!' | '{' | '}' | '\0' => break,
            _ if letter.is_whitespace() => break,
            _ => {
                word.text.push(letter);
                cursor.next();
            }
        }
    }
    Ok(Some(word))
}

fn quoted(cursor: &mut Cursor<'_>, quote: char, text: &mut String) -> Result<(), Fault> {
    let at = Position { column: cursor.at.column - 1, ..cursor.at };
    loop {
        match cursor.next() {
            None | Some('\n') => return Err(Fault { at, reason: "this quote is not closed on its line" }),
            Some('\0') => return Err(Fault { at, reason: "a NUL byte in quotes: this is no text file" }),
            Some(letter) if letter == quote => return Ok(()),
            Some('\\') => match cursor.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('r') => text.push('\r'),
                // A line that goes on.
                Some('\n') => {}
                Some(letter @ ('"' | '\'' | '\\')) => text.push(letter),
                Some('\0') | None => return Err(Fault { at, reason: "this quote is not closed on its line" }),
                Some(letter) => text.extend(['\\', letter]),
            },
            Some(letter) => text.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let show = |token| match token {
            Token::Word(word) => word.text,
            Token::Open(_) => "<".to_owned(),
            Token::Close(_) => ">".to_owned(),
            Token::LineEnd => ";".to_owned(),
        };
        tokens(text, 0).unwrap().into_iter().map(show).collect()
    }

    #[test]
    fn a_comment_begins_anywhere_but_in_quotes() {
        assert_eq!(
            words("state MASTER # 主节点\n! x\nscript \"a # b ! c\"!d"),
            ["state", "MASTER", ";", ";", "script", "a # b ! c", ";"]
        );
    }

    #[test]
    fn braces_need_no_space() {
        assert_eq!(words("a{b}c"), ["a", "<", "b", ">", "c", ";"]);
        assert_eq!(words("x ${V}y"), ["x", "${V}y", ";"]);
    }

    #[test]
    fn quotes_and_backslashes_are_undone() {
        assert_eq!(words(r#"a "b \"c\" \\ d" 'e "f"' \#g it's"#), ["a", "b \"c\" \\ d", "e \"f\"", "#g", "it's", ";"]);
        assert_eq!(words("a \\\nb"), ["a", "b", ";"]);
    }

    #[test]
    fn a_position_counts_characters() {
        let tokens = tokens("\n 中 b", 3).unwrap();
        let Token::Word(word) = &tokens[2] else { panic!("{tokens:?}") };
        assert_eq!(word.at, Position { file: 3, line: 2, column: 4 });
    }

    #[test]
    fn an_open_quote_and_a_nul_byte_are_refused() {
        let fault = tokens("a\nb \"c\nd\"", 0).unwrap_err();
        assert_eq!((fault.at.line, fault.at.column), (2, 3));
        assert_eq!(tokens("a\0", 0).unwrap_err().at.column, 2);
    }
}
