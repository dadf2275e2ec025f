//! Arrays of one dimension from text and binary.

use super::binary::Reader;
use super::builder::{ColumnBuilder, InputStyle};
use crate::oids;
use quiver_base::{Error, Result, SqlState, SqlType};

/// Reads `{1,NULL,"a b"}`, appending the items.
pub(crate) fn parse_array(text: &str, items: &mut ColumnBuilder, style: &InputStyle) -> Result<()> {
    let mut reader = Items { text, rest: text.trim_start_matches(is_space) };
    if has_bounds(reader.rest) {
        return Err(Error::unsupported("an array literal with explicit bounds"));
    }
    if reader.rest.starts_with('[') {
        return Err(reader.malformed("\"[\" must introduce explicitly-specified array dimensions."));
    }
    if !reader.eat('{') {
        return Err(reader.malformed("Array value must start with \"{\" or dimension information."));
    }
    // The whole text is taken apart before an item is read.
    let parts = reader.parts(matches!(items.ty(), SqlType::Array(_)))?;
    for part in parts {
        match part {
            Some(text) => items.append_text(&text, style)?,
            None => items.append_null(),
        }
    }
    Ok(())
}

/// Whether it begins with bounds of dimensions, as in `[2:3]={1,2}`.
fn has_bounds(text: &str) -> bool {
    let Some((bounds, _)) = text.split_once('=') else { return false };
    let bounds = bounds.trim_end_matches(is_space);
    let inside = |c: char| c.is_ascii_digit() || matches!(c, '[' | ']' | ':' | '+' | '-');
    bounds.starts_with('[') && bounds.ends_with(']') && bounds.chars().all(inside) && !bounds.contains("[]")
}

fn is_space(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\x0b'
}

struct Items<'a> {
    text: &'a str,
    rest: &'a str,
}

impl Items<'_> {
    /// The texts of all items, `None` for NULL; those of arrays with braces around if `nested`.
    fn parts(&mut self, nested: bool) -> Result<Vec<Option<String>>> {
        let mut parts = Vec::new();
        self.skip_space();
        if self.eat('}') {
            return self.end().map(|()| parts);
        }
        loop {
            parts.push(self.item(nested)?);
            self.skip_space();
            if self.eat('}') {
                return self.end().map(|()| parts);
            }
            if !self.eat(',') {
                return Err(self.unexpected());
            }
        }
    }

    fn item(&mut self, nested: bool) -> Result<Option<String>> {
        self.skip_space();
        match self.rest.chars().next() {
            Some('"') => self.quoted().map(Some),
            Some('{') if nested => self.sub_array().map(Some),
            Some('{') => Err(Error::unsupported("an array of more than one dimension")),
            Some(',' | '}') | None => Err(self.unexpected()),
            Some(_) => {
                let value = self.bare()?;
                Ok((!value.eq_ignore_ascii_case("null")).then_some(value))
            }
        }
    }

    /// The text of a sub-array, up to its closing brace, read as an item of its own.
    fn sub_array(&mut self) -> Result<String> {
        let mut depth = 0_usize;
        let mut in_quotes = false;
        let mut escaped = false;
        for (at, c) in self.rest.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_quotes = !in_quotes,
                '{' if !in_quotes => depth += 1,
                '}' if !in_quotes => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let (own, rest) = self.rest.split_at(at + 1);
                self.rest = rest;
                return Ok(own.to_owned());
            }
        }
        Err(self.malformed("Unexpected end of input."))
    }

    fn quoted(&mut self) -> Result<String> {
        let mut value = String::new();
        let mut characters = self.rest.char_indices().skip(1);
        while let Some((at, c)) = characters.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(value);
                }
                '\\' => match characters.next() {
                    Some((_, c)) => value.push(c),
                    None => break,
                },
                c => value.push(c),
            }
        }
        Err(self.malformed("Unexpected end of input."))
    }

    fn bare(&mut self) -> Result<String> {
        let mut value = String::new();
        let mut kept = 0;
        let mut characters = self.rest.char_indices();
        while let Some((at, c)) = characters.next() {
            match c {
                ',' | '}' => {
                    self.rest = &self.rest[at..];
                    // Blanks at the end do not belong to it, escaped ones do.
                    value.truncate(kept);
                    return Ok(value);
                }
                '{' | '"' => {
                    self.rest = &self.rest[at..];
                    return Err(self.unexpected());
                }
                '\\' => match characters.next() {
                    Some((_, c)) => {
                        value.push(c);
                        kept = value.len();
                    }
                    None => break,
                },
                c => {
                    value.push(c);
                    if !is_space(c) {
                        kept = value.len();
                    }
                }
            }
        }
        Err(self.malformed("Unexpected end of input."))
    }

    fn end(&mut self) -> Result<()> {
        self.skip_space();
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed("Junk after closing right brace.")) }
    }

    fn eat(&mut self, wanted: char) -> bool {
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches(is_space);
    }

    fn unexpected(&self) -> Error {
        match self.rest.chars().next() {
            Some(c @ (',' | '{' | '}' | '"')) => self.malformed(&format!("Unexpected \"{c}\" character.")),
            Some(_) => self.malformed("Unexpected array element."),
            None => self.malformed("Unexpected end of input."),
        }
    }

    fn malformed(&self, detail: &str) -> Error {
        Error::new(
            SqlState::INVALID_TEXT_REPRESENTATION,
            format!("malformed array literal: \"{}\"", self.text),
        )
        .with_detail(detail)
    }
}

/// Reads the binary form, appending the items.
pub(crate) fn read_array(bytes: &[u8], items: &mut ColumnBuilder) -> Result<()> {
    let invalid = |message: &str| Error::new(SqlState::INVALID_BINARY_REPRESENTATION, message);
    let mut reader = Reader::new(bytes);
    let dimensions = reader.i32()?;
    let flags = reader.i32()?;
    let item_oid = reader.i32()? as u32;
    if !matches!(flags, 0 | 1) {
        return Err(invalid("invalid array flags"));
    }
    let wanted = oids::type_oid(items.ty());
    if item_oid != wanted {
        return Err(Error::new(
            SqlState::DATATYPE_MISMATCH,
            format!("binary data has array element type {item_oid} instead of expected {wanted}"),
        ));
    }
    match dimensions {
        0 => return reader.end(),
        1 => {}
        2.. => return Err(Error::unsupported("an array of more than one dimension")),
        _ => return Err(invalid(&format!("invalid number of dimensions: {dimensions}"))),
    }
    let count = reader.i32()?;
    reader.i32()?;
    if count < 0 {
        return Err(invalid("invalid array length"));
    }
    for _ in 0..count {
        match reader.i32()? {
            -1 => items.append_null(),
            length => {
                let length = usize::try_from(length).map_err(|_| super::binary::too_short())?;
                items.append_binary(reader.take(length)?)?;
            }
        }
    }
    reader.end()
}
