//! Words, strings, numbers and symbols of a statement with their places: as much of SQL's tokens as commands of the session have.

use quiver_base::{Error, Result, SqlState};

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    /// A keyword or identifier, folded to lower case.
    Word(String),
    /// A quoted identifier.
    Quoted(String),
    /// A string.
    Text(String),
    /// A number, unsigned.
    Number(String),
    /// Anything else, one character.
    Symbol(char),
}

/// Tokens with the bytes they span.
pub(super) fn tokens(sql: &str) -> Result<Vec<(Token, usize, usize)>> {
    let mut lexer = Lexer { sql, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blank();
        let start = lexer.at;
        match lexer.token()? {
            Some(token) => tokens.push((token, start, lexer.at)),
            None => return Ok(tokens),
        }
    }
}

/// The first word, in lower case, without looking at the rest.
pub(super) fn first_word(sql: &str) -> String {
    let mut lexer = Lexer { sql, at: 0 };
    lexer.skip_blank();
    lexer.word().to_ascii_lowercase()
}

struct Lexer<'a> {
    sql: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.sql[self.at..]
    }

    /// Blanks and comments.
    fn skip_blank(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if trimmed.starts_with("--") {
                self.at += trimmed.find('\n').unwrap_or(trimmed.len());
            } else if trimmed.starts_with("/*") {
                self.at += comment_length(trimmed);
            } else {
                return;
            }
        }
    }

    fn word(&self) -> &'a str {
        let rest = self.rest();
        let inside = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
        let begins = |c: char| c.is_alphabetic() || c == '_';
        let end = rest.find(|c| !inside(c)).unwrap_or(rest.len());
        if rest.starts_with(begins) { &rest[..end] } else { "" }
    }

    fn token(&mut self) -> Result<Option<Token>> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(None) };
        if rest.starts_with("e'") || rest.starts_with("E'") {
            self.at += 1;
            return self.quoted('\'', true).map(|text| Some(Token::Text(text)));
        }
        let word = self.word();
        if !word.is_empty() {
            self.at += word.len();
            return Ok(Some(Token::Word(word.to_lowercase())));
        }
        if first.is_ascii_digit() || (first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit())) {
            let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
            let end = rest.find(|c| !inside(c)).unwrap_or(rest.len());
            self.at += end;
            return Ok(Some(Token::Number(rest[..end].to_owned())));
        }
        match first {
            '\'' => self.quoted('\'', false).map(|text| Some(Token::Text(text))),
            '"' => self.quoted('"', false).map(|text| Some(Token::Quoted(text))),
            '$' => Ok(Some(self.dollar())),
            _ => {
                self.at += first.len_utf8();
                Ok(Some(Token::Symbol(first)))
            }
        }
    }

    /// A string in single quotes or an identifier in double quotes; a doubled quote stands for one.
    fn quoted(&mut self, quote: char, escapes: bool) -> Result<String> {
        let mut text = String::new();
        let mut characters = self.rest().char_indices().skip(1).peekable();
        while let Some((at, c)) = characters.next() {
            match c {
                '\\' if escapes => match characters.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, 'r')) => text.push('\r'),
                    Some((_, c)) => text.push(c),
                    None => break,
                },
                c if c == quote => match characters.peek() {
                    Some((_, next)) if *next == quote => {
                        characters.next();
                        text.push(quote);
                    }
                    _ => {
                        self.at += at + 1;
                        return Ok(text);
                    }
                },
                c => text.push(c),
            }
        }
        let what = if quote == '"' { "quoted identifier" } else { "quoted string" };
        Err(Error::new(SqlState::SYNTAX_ERROR, format!("unterminated {what} at or near \"{}\"", self.rest())))
    }

    /// `$tag$text$tag$`, or the sign of a parameter.
    fn dollar(&mut self) -> Token {
        let rest = self.rest();
        let tag = rest[1..].find('$').map(|end| &rest[..end + 2]);
        let tag = tag.filter(|tag| tag[1..tag.len() - 1].chars().all(|c| c.is_alphanumeric() || c == '_'));
        if let Some((tag, end)) = tag.and_then(|tag| Some((tag, rest[tag.len()..].find(tag)?))) {
            self.at += tag.len() * 2 + end;
            return Token::Text(rest[tag.len()..tag.len() + end].to_owned());
        }
        self.at += 1;
        Token::Symbol('$')
    }
}

/// Comments nest.
fn comment_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0_usize, 0);
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => {
                depth += 1;
                at += 2;
            }
            b"*/" => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    text.len()
}
