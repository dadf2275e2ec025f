//! json is checked and kept as written; jsonb is brought to PostgreSQL's canonical text: keys by length then bytes, the last of
//! doubled keys, one space after `:` and `,`, numbers as numeric prints them.

use super::number::parse_decimal;
use quiver_base::{Error, Result, SqlState};
use std::collections::BTreeMap;

/// Deeper nesting is refused, so that reading it cannot exhaust the stack.
const DEPTH_MAX: usize = 1_000;

/// Fails with 22P02 if a text is not JSON.
pub(crate) fn check_json(text: &str) -> Result<()> {
    Parser::new(text, false).document().map(|_| ())
}

/// The canonical text of a jsonb.
pub(crate) fn canonical_jsonb(text: &str) -> Result<String> {
    Parser::new(text, true).document()
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    canonical: bool,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str, canonical: bool) -> Self {
        Parser { text, at: 0, canonical, depth: 0 }
    }

    fn document(mut self) -> Result<String> {
        let mut out = String::with_capacity(if self.canonical { self.text.len() } else { 0 });
        self.value(&mut out)?;
        self.space();
        if self.at == self.text.len() { Ok(out) } else { Err(self.unexpected("end of input")) }
    }

    fn value(&mut self, out: &mut String) -> Result<()> {
        self.space();
        match self.peek() {
            Some(b'{') => self.nested(out, Self::object),
            Some(b'[') => self.nested(out, Self::array),
            Some(b'"') => {
                let value = self.string()?;
                if self.canonical {
                    put_string(&value, out);
                }
                Ok(())
            }
            Some(b'-' | b'0'..=b'9') => self.number(out),
            _ => self.word(out),
        }
    }

    fn nested(&mut self, out: &mut String, read: fn(&mut Self, &mut String) -> Result<()>) -> Result<()> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Error::new(SqlState::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded"));
        }
        self.at += 1;
        read(self, out)?;
        self.depth -= 1;
        Ok(())
    }

    fn object(&mut self, out: &mut String) -> Result<()> {
        let mut members: BTreeMap<(usize, String), String> = BTreeMap::new();
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
        } else {
            loop {
                self.space();
                if self.peek() != Some(b'"') {
                    return Err(self.unexpected("string"));
                }
                let key = self.string()?;
                self.space();
                self.expect(b':', "\":\"")?;
                let mut value = String::new();
                self.value(&mut value)?;
                if self.canonical {
                    members.insert((key.len(), key), value);
                }
                self.space();
                if self.comma_or(b'}')? {
                    break;
                }
            }
        }
        if self.canonical {
            out.push('{');
            for (position, ((_, key), value)) in members.iter().enumerate() {
                if position > 0 {
                    out.push_str(", ");
                }
                put_string(key, out);
                out.push_str(": ");
                out.push_str(value);
            }
            out.push('}');
        }
        Ok(())
    }

    fn array(&mut self, out: &mut String) -> Result<()> {
        let put = |text: &str, out: &mut String, canonical: bool| {
            if canonical {
                out.push_str(text);
            }
        };
        put("[", out, self.canonical);
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
        } else {
            loop {
                self.value(out)?;
                self.space();
                if self.comma_or(b']')? {
                    break;
                }
                put(", ", out, self.canonical);
            }
        }
        put("]", out, self.canonical);
        Ok(())
    }

    /// Whether the end came, and not a comma.
    fn comma_or(&mut self, end: u8) -> Result<bool> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(false)
            }
            Some(byte) if byte == end => {
                self.at += 1;
                Ok(true)
            }
            _ => Err(self.unexpected(&format!("\",\" or \"{}\"", char::from(end)))),
        }
    }

    fn expect(&mut self, byte: u8, what: &str) -> Result<()> {
        if self.peek() != Some(byte) {
            return Err(self.unexpected(what));
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, out: &mut String) -> Result<()> {
        for word in ["true", "false", "null"] {
            let after = self.text.as_bytes().get(self.at + word.len());
            if self.text[self.at..].starts_with(word) && !after.is_some_and(|byte| is_word(*byte)) {
                self.at += word.len();
                if self.canonical {
                    out.push_str(word);
                }
                return Ok(());
            }
        }
        Err(self.unexpected("JSON value"))
    }

    fn number(&mut self, out: &mut String) -> Result<()> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let inside = |byte: &u8| is_word(*byte) || matches!(byte, b'+' | b'-' | b'.');
        let length = bytes[start..].iter().take_while(|byte| inside(byte)).count();
        let token = &self.text[start..start + length];
        if !is_number(token) {
            return Err(self.invalid_token(token));
        }
        self.at += length;
        if self.canonical {
            put_number(token, out)?;
        }
        Ok(())
    }

    fn string(&mut self) -> Result<String> {
        let mut value = String::new();
        self.at += 1;
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.find(|c: char| c == '"' || c == '\\' || c < ' ').unwrap_or(rest.len());
            value.push_str(&rest[..plain]);
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(value);
                }
                Some(b'\\') => self.escape(&mut value)?,
                Some(byte) => {
                    return Err(error(format!("Character with value 0x{byte:02x} must be escaped.")));
                }
                None => return Err(self.invalid_token(&self.text[self.text.len() - rest.len()..])),
            }
        }
    }

    fn escape(&mut self, value: &mut String) -> Result<()> {
        let letter = self.text.as_bytes().get(self.at + 1).copied();
        self.at += 2;
        value.push(match letter {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(value),
            _ => return Err(error("Escape sequence is invalid.".to_owned())),
        });
        Ok(())
    }

    fn unicode(&mut self, value: &mut String) -> Result<()> {
        let first = self.hex4()?;
        let code = match first {
            0xD800..0xDC00 => {
                let second = match self.text[self.at..].starts_with("\\u") {
                    true => {
                        self.at += 2;
                        self.hex4()?
                    }
                    false => 0,
                };
                if !(0xDC00..0xE000).contains(&second) {
                    return Err(error("Unicode low surrogate must follow a high surrogate.".to_owned()));
                }
                0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)
            }
            _ => first,
        };
        match char::from_u32(code) {
            // PostgreSQL's text cannot hold it; json, which keeps what was written, can.
            Some('\0') if self.canonical => {
                Err(Error::new(SqlState::INVALID_TEXT_REPRESENTATION, "unsupported Unicode escape sequence")
                    .with_detail("\\u0000 cannot be converted to text."))
            }
            Some(c) => {
                value.push(c);
                Ok(())
            }
            None => Err(error("Unicode low surrogate must follow a high surrogate.".to_owned())),
        }
    }

    fn hex4(&mut self) -> Result<u32> {
        let digits = self
            .text
            .get(self.at..self.at + 4)
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        self.at += 4;
        code.ok_or_else(|| error("\"\\u\" must be followed by four hexadecimal digits.".to_owned()))
    }

    fn space(&mut self) {
        let blank = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        self.at += self.text.as_bytes()[self.at..].iter().take_while(blank).count();
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The token here is not what should be here.
    fn unexpected(&self, expected: &str) -> Error {
        let rest = &self.text[self.at..];
        let Some(first) = rest.chars().next() else {
            return error("The input string ended unexpectedly.".to_owned());
        };
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let token = if end == 0 { &rest[..first.len_utf8()] } else { &rest[..end] };
        if end > 0 && !matches!(token, "true" | "false" | "null") && !first.is_ascii_digit() {
            return self.invalid_token(token);
        }
        match expected {
            "end of input" => error(format!("Expected end of input, but found \"{token}\".")),
            _ => error(format!("Expected {expected}, but found \"{token}\".")),
        }
    }

    fn invalid_token(&self, token: &str) -> Error {
        error(format!("Token \"{token}\" is invalid."))
    }
}

fn error(detail: String) -> Error {
    Error::new(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type json")
        .with_detail(detail)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// JSON's grammar for numbers.
fn is_number(token: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let body = token.strip_prefix('-').unwrap_or(token);
    let (mantissa, exponent) = match body.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (body, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

/// As numeric prints it: no exponent, the scale as written.
fn put_number(token: &str, out: &mut String) -> Result<()> {
    if !token.contains(['e', 'E']) && token != "-0" {
        out.push_str(token);
        return Ok(());
    }
    let number = parse_decimal(token)?;
    if number.digits.len() as i64 + number.scale.abs() > 131_072 {
        return Err(Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format"));
    }
    let mut digits = if number.digits.is_empty() { "0".to_owned() } else { number.digits };
    if number.scale < 0 && digits != "0" {
        digits.push_str(&"0".repeat(number.scale.unsigned_abs() as usize));
    }
    let scale = number.scale.max(0) as usize;
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    if number.negative && padded.bytes().any(|digit| digit != b'0') {
        out.push('-');
    }
    out.push_str(whole);
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    Ok(())
}

/// A JSON string with PostgreSQL's escapes.
pub(crate) fn put_string(value: &str, out: &mut String) {
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}
