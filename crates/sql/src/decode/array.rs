//! Arrays of one dimension from text and binary.

use super::binary::Reader;
use super::builder::{ColumnBuilder, InputStyle};
use crate::oids;
use quiver_base::{Error, Result, SqlState, SqlType};

/// Reads `{1,NULL,"a b"}`, appending the items. What is wrong with the braces is found before what is wrong with an item.
pub(crate) fn parse_array(text: &str, items: &mut ColumnBuilder, style: &InputStyle) -> Result<()> {
    let nested = matches!(items.ty(), SqlType::Array(_));
    let mut reader =
        Items { text, rest: text.trim_start_matches(is_space), nested, found: Vec::new(), depth: 0 };
    let bounds = reader.bounds()?;
    if !reader.eat('{') {
        let detail = match bounds.is_empty() {
            true => "Array value must start with \"{\" or dimension information.",
            false => "Array contents must start with \"{\".",
        };
        return Err(reader.malformed(detail));
    }
    let count = reader.level(1)?;
    reader.end()?;
    if let [(lower, upper), ..] = bounds.as_slice()
        && upper - lower + 1 != i64::try_from(count).unwrap_or(i64::MAX)
    {
        return Err(reader.malformed("Specified array dimensions do not match array contents."));
    }
    for item in &reader.found {
        match item {
            Some(text) => items.append_text(text, style)?,
            None => items.append_null(),
        }
    }
    if reader.depth > 1 && !reader.found.is_empty() {
        return Err(Error::unsupported("an array of more than one dimension"));
    }
    if bounds.iter().any(|(lower, _)| *lower != 1) && !reader.found.is_empty() {
        return Err(Error::unsupported("an array literal whose first subscript is not 1"));
    }
    Ok(())
}

fn is_space(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\x0b'
}

struct Items<'a> {
    text: &'a str,
    rest: &'a str,
    /// Whether each item is an array itself, read by its own rules.
    nested: bool,
    found: Vec<Option<String>>,
    depth: usize,
}

impl Items<'_> {
    /// `[1:3][0:1]=` before the braces.
    fn bounds(&mut self) -> Result<Vec<(i64, i64)>> {
        let mut bounds = Vec::new();
        while self.eat('[') {
            let missing = "\"[\" must introduce explicitly-specified array dimensions.";
            let first = self.subscript().ok_or_else(|| self.malformed(missing))?;
            let bound = match self.eat(':') {
                true => {
                    (first, self.subscript().ok_or_else(|| self.malformed("Missing array dimension value."))?)
                }
                false => (1, first),
            };
            if !self.eat(']') {
                return Err(self.malformed("Missing \"]\" after array dimensions."));
            }
            if bound.1 < bound.0 {
                let message = "upper bound cannot be less than lower bound";
                return Err(Error::new(SqlState::ARRAY_SUBSCRIPT_ERROR, message));
            }
            bounds.push(bound);
            self.skip_space();
        }
        if !bounds.is_empty() && !self.eat('=') {
            return Err(self.malformed("Missing \"=\" after array dimensions."));
        }
        self.skip_space();
        Ok(bounds)
    }

    fn subscript(&mut self) -> Option<i64> {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let sign = usize::from(self.rest.starts_with(['-', '+']));
        let length = sign + digits(&self.rest[sign..]);
        let (number, rest) = self.rest.split_at(length);
        let number = number.parse::<i32>().ok()?;
        self.rest = rest;
        Some(number.into())
    }

    /// What is between a pair of braces, the closing one too: how many items or arrays of them.
    fn level(&mut self, depth: usize) -> Result<usize> {
        self.depth = self.depth.max(depth);
        self.skip_space();
        if self.eat('}') {
            return Ok(0);
        }
        let (mut count, mut inner) = (0, None);
        loop {
            self.skip_space();
            let is_array = self.rest.starts_with('{') && !self.nested;
            let found = match is_array {
                true => {
                    self.eat('{');
                    Some(self.level(depth + 1)?)
                }
                false => {
                    let item = self.item()?;
                    self.found.push(item);
                    None
                }
            };
            if count > 0 && inner != found {
                let detail = "Multidimensional arrays must have sub-arrays with matching dimensions.";
                return Err(self.malformed(detail));
            }
            inner = found;
            count += 1;
            self.skip_space();
            if self.eat('}') {
                return Ok(count);
            }
            if !self.eat(',') {
                return Err(self.unexpected());
            }
        }
    }

    fn item(&mut self) -> Result<Option<String>> {
        match self.rest.chars().next() {
            Some('"') => self.quoted().map(Some),
            Some('{') => self.sub_array().map(Some),
            Some(',' | '}') | None => Err(self.unexpected()),
            Some(_) => {
                let value = self.bare()?;
                Ok(if value.eq_ignore_ascii_case("null") { None } else { Some(value) })
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
