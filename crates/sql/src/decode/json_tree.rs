//! A JSON document as a tree whose numbers are the digits that were written: `1.50` stays `1.50`.

use super::json::{check_json, put_string};
use indexmap::IndexMap;
use quiver_base::{Error, Result, SqlState};

/// A document or a part of one. The last of doubled keys counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// As it was written.
    Number(String),
    String(String),
    Array(Vec<Json>),
    Object(IndexMap<String, Json>),
}

impl Json {
    /// Reads a document; 22P02 if it is none.
    pub(crate) fn parse(text: &str) -> Result<Json> {
        check_json(text)?;
        Reader { text, at: 0 }.value()
    }

    /// The text of a string.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Json::String(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is neither an array nor an object.
    pub(crate) fn is_scalar(&self) -> bool {
        !matches!(self, Json::Array(_) | Json::Object(_))
    }

    /// As jsonb is printed: a space after colons and commas, keys in jsonb's order.
    pub(crate) fn written(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, &Layout::Jsonb);
        out
    }

    /// Without any space, keys as they came.
    pub(crate) fn compact(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, &Layout::Compact);
        out
    }

    /// An object's members in jsonb's order: keys by length, then by bytes.
    pub(crate) fn sorted(members: &IndexMap<String, Json>) -> Vec<(&String, &Json)> {
        let mut sorted: Vec<(&String, &Json)> = members.iter().collect();
        sorted.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
        sorted
    }

    /// Writes what is no container.
    pub(crate) fn write_scalar(&self, out: &mut String) {
        match self {
            Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Json::Number(digits) => out.push_str(digits),
            Json::String(text) => put_string(text, out),
            _ => out.push_str("null"),
        }
    }

    fn write(&self, out: &mut String, layout: &Layout) {
        let (comma, colon) = match layout {
            Layout::Jsonb => (", ", ": "),
            Layout::Compact => (",", ":"),
        };
        match self {
            Json::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index > 0 { comma } else { "" });
                    item.write(out, layout);
                }
                out.push(']');
            }
            Json::Object(members) => {
                let members = match layout {
                    Layout::Jsonb => Json::sorted(members),
                    Layout::Compact => members.iter().collect(),
                };
                out.push('{');
                for (index, (key, value)) in members.into_iter().enumerate() {
                    out.push_str(if index > 0 { comma } else { "" });
                    put_string(key, out);
                    out.push_str(colon);
                    value.write(out, layout);
                }
                out.push('}');
            }
            scalar => scalar.write_scalar(out),
        }
    }
}

enum Layout {
    Jsonb,
    Compact,
}

/// Reads what has been checked already.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self) -> Result<Json> {
        match self.peek() {
            b'[' => {
                let mut items = Vec::new();
                self.each(b']', |reader| {
                    items.push(reader.value()?);
                    Ok(())
                })?;
                Ok(Json::Array(items))
            }
            b'{' => {
                let mut members = IndexMap::new();
                self.each(b'}', |reader| {
                    reader.peek();
                    let key = reader.string()?;
                    // The colon.
                    reader.peek();
                    reader.at += 1;
                    members.insert(key, reader.value()?);
                    Ok(())
                })?;
                Ok(Json::Object(members))
            }
            b'"' => self.string().map(Json::String),
            _ => Ok(match self.word() {
                "null" => Json::Null,
                "true" => Json::Bool(true),
                "false" => Json::Bool(false),
                number => Json::Number(number.to_owned()),
            }),
        }
    }

    /// Calls `read` at every item of the container that begins here.
    fn each(&mut self, end: u8, mut read: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.at += 1;
        while self.peek() != end && self.at < self.text.len() {
            read(self)?;
            if self.peek() == b',' {
                self.at += 1;
            }
        }
        self.at += 1;
        Ok(())
    }

    fn string(&mut self) -> Result<String> {
        let bytes = &self.text.as_bytes()[self.at..];
        let mut escaped = false;
        let inside = |byte: &&u8| {
            let goes_on = escaped || **byte != b'"';
            escaped = !escaped && **byte == b'\\';
            goes_on
        };
        let length = bytes.iter().skip(1).take_while(inside).count() + 2;
        let token = self.text.get(self.at..self.at + length).ok_or_else(broken)?;
        self.at += length;
        if !token.contains('\\') {
            return Ok(token[1..token.len() - 1].to_owned());
        }
        serde_json::from_str(token).map_err(|_| broken())
    }

    fn word(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let end = rest.find([',', ']', '}', ' ', '\t', '\n', '\r']).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// The next byte that is no blank; 0 at the end.
    fn peek(&mut self) -> u8 {
        let bytes = &self.text.as_bytes()[self.at.min(self.text.len())..];
        self.at += bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }
}

fn broken() -> Error {
    Error::new(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_written_as_it_was_read() {
        for text in
            [r#"{"a": 1.50, "bb": [1, {}, [], null, true], "c\"]": "x\ny"}"#, "1.0e5", r#""""#, "[[[]]]"]
        {
            assert_eq!(Json::parse(text).expect("JSON").written(), text);
        }
        assert_eq!(
            Json::parse(r#" { "b" : 1 , "a" : [ 2 ] } "#).expect("JSON").compact(),
            r#"{"b":1,"a":[2]}"#
        );
        assert_eq!(Json::parse(r#"{"a":1,"a":2}"#).expect("JSON").written(), r#"{"a": 2}"#);
        assert!(Json::parse("{").is_err());
    }
}
