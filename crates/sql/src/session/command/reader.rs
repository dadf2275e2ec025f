//! Reads a statement's tokens one after the other: what the parsers written by hand share.

use super::lexer::{Token, tokens};
use quiver_base::{Error, Result, SqlState};

/// A statement being read.
pub(crate) struct Reader<'a> {
    pub(super) sql: &'a str,
    pub(super) offset: usize,
    pub(super) tokens: Vec<(Token, usize, usize)>,
    pub(super) at: usize,
}

impl<'a> Reader<'a> {
    /// A statement, and its byte offset in the query string.
    pub(crate) fn new(sql: &'a str, offset: usize) -> Result<Reader<'a>> {
        Ok(Reader { sql, offset, tokens: tokens(sql)?, at: 0 })
    }

    /// The statement must end here.
    pub(crate) fn end(&self) -> Result<()> {
        if self.at_end() { Ok(()) } else { Err(self.syntax_error()) }
    }

    /// What comes next.
    pub(crate) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _, _)| token)
    }

    /// Takes a keyword if it comes next.
    pub(crate) fn word(&mut self, wanted: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(word)) if word == wanted);
        self.at += usize::from(found);
        found
    }

    /// Takes keywords if all of them come next.
    pub(crate) fn words(&mut self, wanted: &[&str]) -> bool {
        let start = self.at;
        let found = wanted.iter().all(|word| self.word(word));
        if !found {
            self.at = start;
        }
        found
    }

    /// Takes a symbol if it comes next.
    pub(crate) fn symbol(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(&Token::Symbol(wanted));
        self.at += usize::from(found);
        found
    }

    /// An identifier.
    pub(crate) fn name(&mut self) -> Result<String> {
        match self.peek() {
            Some(Token::Word(name) | Token::Quoted(name)) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.syntax_error()),
        }
    }

    /// A keyword that must come.
    pub(crate) fn expect_word(&mut self, wanted: &str) -> Result<()> {
        if self.word(wanted) { Ok(()) } else { Err(self.syntax_error()) }
    }

    /// Whether nothing is left.
    pub(crate) fn at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// Takes whatever comes next.
    pub(crate) fn skip(&mut self) {
        self.at += 1;
    }

    /// Where what comes next stands, in characters from 1.
    pub(crate) fn position(&self) -> u32 {
        let byte = self.tokens.get(self.at).map_or(self.sql.len(), |(_, start, _)| *start);
        self.sql[..byte].chars().count() as u32 + 1
    }

    /// 42601 at what comes next.
    pub(crate) fn syntax_error(&self) -> Error {
        let error = |what: String| Error::new(SqlState::SYNTAX_ERROR, format!("syntax error at {what}"));
        let (error, byte) = match self.tokens.get(self.at) {
            Some((_, start, end)) => (error(format!("or near \"{}\"", &self.sql[*start..*end])), *start),
            None => (error("end of input".to_owned()), self.sql.len()),
        };
        error.with_position(self.sql[..byte].chars().count() as u32 + 1)
    }

    /// A name that may have dots in it.
    pub(crate) fn dotted_name(&mut self) -> Result<String> {
        let mut name = self.name()?;
        while self.symbol('.') {
            name.push('.');
            name.push_str(&self.name()?);
        }
        Ok(name)
    }

    /// Values after TO, joined as they are kept; `None` for DEFAULT.
    pub(crate) fn values(&mut self, name: &str) -> Result<Option<String>> {
        if self.word("default") {
            return Ok(None);
        }
        let mut values = vec![self.value()?.ok_or_else(|| self.syntax_error())?];
        while self.symbol(',') {
            values.push(self.value()?.ok_or_else(|| self.syntax_error())?);
        }
        let is_list = matches!(name.to_ascii_lowercase().as_str(), "search_path" | "datestyle");
        match values.len() {
            1 if !is_list => Ok(values.pop()),
            _ if is_list && name.eq_ignore_ascii_case("search_path") => {
                Ok(Some(values.iter().map(|value| quote_if_needed(value)).collect::<Vec<_>>().join(", ")))
            }
            _ if is_list => Ok(Some(values.join(", "))),
            _ => Err(Error::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("SET {name} takes only one argument"),
            )),
        }
    }

    /// A word, string or number with its sign.
    pub(crate) fn value(&mut self) -> Result<Option<String>> {
        let negative = self.symbol('-');
        if !negative {
            self.symbol('+');
        }
        let value = match self.peek() {
            Some(Token::Number(number)) if negative => format!("-{number}"),
            Some(Token::Number(value)) => value.clone(),
            Some(Token::Word(value) | Token::Quoted(value) | Token::Text(value)) if !negative => {
                value.clone()
            }
            _ => return Err(self.syntax_error()),
        };
        self.at += 1;
        Ok(Some(value))
    }
}

/// Puts an identifier in quotes unless it reads as itself without.
fn quote_if_needed(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    if begins && name.chars().all(plain) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}
