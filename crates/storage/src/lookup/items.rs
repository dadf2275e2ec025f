//! What an index of items has for a value: codes of a list's items; of a document (jsonb as its text), codes of its leaves with the
//! path of keys that leads to them, and of the keys at its top. Knows no filters.
//!
//! A document that contains another one has all of its leaves: levels of arrays are left out of paths, as in PostgreSQL's
//! jsonb_path_ops.

use crate::key::key_hash;
use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringArray};
use quiver_base::Result;

/// The code of whatever could not be read: always a candidate.
pub(super) const UNREADABLE: u64 = u64::MAX;

/// Codes of a column's items by row.
pub(crate) enum ItemCoder<'a> {
    /// Of lists.
    Lists {
        /// The column.
        lists: &'a ListArray,
        /// The code of an item by its place among all.
        code: Box<dyn Fn(usize) -> u64 + 'a>,
    },
    /// Of documents.
    Documents(&'a StringArray),
}

impl<'a> ItemCoder<'a> {
    /// For a column of lists or documents; `None` for others.
    pub(crate) fn new(column: &'a ArrayRef) -> Result<Option<ItemCoder<'a>>> {
        if let Some(lists) = column.as_list_opt::<i32>() {
            return Ok(Some(ItemCoder::Lists { lists, code: super::hash(lists.values())? }));
        }
        Ok(column.as_string_opt::<i32>().map(ItemCoder::Documents))
    }

    /// The codes of a row, each once. NULL has none.
    pub(crate) fn of(&self, row: usize) -> Vec<u64> {
        let mut codes = match self {
            ItemCoder::Lists { lists, code } if lists.is_valid(row) => {
                let offsets = lists.value_offsets();
                let places = offsets[row] as usize..offsets[row + 1] as usize;
                places.filter(|at| lists.values().is_valid(*at)).map(code).collect()
            }
            ItemCoder::Documents(texts) if texts.is_valid(row) => {
                let mut found = Document::default();
                match found.read(texts.value(row)) {
                    Some(()) => [found.leaves, found.keys].concat(),
                    None => vec![UNREADABLE],
                }
            }
            _ => Vec::new(),
        };
        codes.sort_unstable();
        codes.dedup();
        codes
    }
}

/// The codes of a document's leaves; `None` if it cannot be read.
pub(super) fn leaves(document: &str) -> Option<Vec<u64>> {
    let mut found = Document::default();
    found.read(document)?;
    Some(found.leaves)
}

/// The code of a key at the top of a document, or of a string in an array at its top.
pub(super) fn key(name: &str) -> u64 {
    chained(0, b'k', name.as_bytes())
}

fn chained(path: u64, tag: u8, bytes: &[u8]) -> u64 {
    let mut all = Vec::with_capacity(bytes.len() + 9);
    all.extend(path.to_le_bytes());
    all.push(tag);
    all.extend(bytes);
    // The last code is taken.
    key_hash(&all).min(UNREADABLE - 1)
}

#[derive(Default)]
struct Document {
    leaves: Vec<u64>,
    keys: Vec<u64>,
}

/// An array or an object that has begun.
struct Open {
    /// Of the keys down to it.
    path: u64,
    is_object: bool,
}

impl Document {
    fn read(&mut self, text: &str) -> Option<()> {
        let mut tokens = Tokens { text, at: 0 };
        let mut open: Vec<Open> = Vec::new();
        let mut path = 0;
        loop {
            let opened = tokens.eat("{").then_some(true).or_else(|| tokens.eat("[").then_some(false));
            if let Some(is_object) = opened {
                open.push(Open { path, is_object });
                if is_object && !tokens.eat("}") {
                    path = self.enter(&mut tokens, &open)?;
                    continue;
                }
                if !is_object && !tokens.eat("]") {
                    continue;
                }
                open.pop();
            } else {
                self.leaf(&mut tokens, path, &open)?;
            }
            // A value has ended, and with it perhaps what it is in.
            loop {
                let Some(inner) = open.last() else { return tokens.is_at_end().then_some(()) };
                if tokens.eat(",") {
                    path = if inner.is_object { self.enter(&mut tokens, &open)? } else { inner.path };
                    break;
                }
                if !tokens.eat(if inner.is_object { "}" } else { "]" }) {
                    return None;
                }
                open.pop();
            }
        }
    }

    /// Reads a key: the path of its value.
    fn enter(&mut self, tokens: &mut Tokens<'_>, open: &[Open]) -> Option<u64> {
        let name = tokens.string()?;
        if open.len() == 1 {
            self.keys.push(key(&name));
        }
        tokens.eat(":").then(|| chained(open.last().map_or(0, |object| object.path), b'/', name.as_bytes()))
    }

    fn leaf(&mut self, tokens: &mut Tokens<'_>, path: u64, open: &[Open]) -> Option<()> {
        let code = if let Some(text) = tokens.string() {
            if open.is_empty() || open.len() == 1 && !open[0].is_object {
                self.keys.push(key(&text));
            }
            chained(path, b's', text.as_bytes())
        } else if let Some(word) = ["true", "false", "null"].into_iter().find(|word| tokens.eat(word)) {
            chained(path, b'w', word.as_bytes())
        } else {
            chained(path, b'n', number(tokens.number()?)?.as_bytes())
        };
        self.leaves.push(code);
        Some(())
    }
}

/// One text of all that stand for the same number: its digits without zeros at either end, and the exponent of the first.
fn number(text: &str) -> Option<String> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0');
    let zeros = digits.len() - significant.len();
    let exponent = exponent.checked_add(whole.len() as i64 - zeros as i64)?;
    let significant = significant.trim_end_matches('0');
    Some(match significant {
        "" => "0".to_owned(),
        significant => format!("{sign}{significant}e{exponent}"),
    })
}

/// The tokens of a document.
struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    fn rest(&mut self) -> &'a str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let trimmed = rest.trim_ascii_start();
        self.at += rest.len() - trimmed.len();
        trimmed
    }

    fn is_at_end(&mut self) -> bool {
        self.rest().is_empty()
    }

    fn eat(&mut self, token: &str) -> bool {
        let is_next = self.rest().starts_with(token);
        if is_next {
            self.at += token.len();
        }
        is_next
    }

    /// A string without its quotes and escapes.
    fn string(&mut self) -> Option<String> {
        let rest = self.rest();
        let mut escaped = false;
        let inner = rest.strip_prefix('"')?;
        let end = inner.bytes().position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })?;
        self.at += end + 2;
        let raw = inner.get(..end)?;
        if raw.contains('\\') {
            serde_json::from_str(rest.get(..end + 2)?).ok()
        } else {
            Some(raw.to_owned())
        }
    }

    fn number(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        let end = rest.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'));
        let number = rest.get(..end.unwrap_or(rest.len())).filter(|number| !number.is_empty())?;
        self.at += number.len();
        Some(number)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;
    use std::sync::Arc;

    fn contains(whole: &str, part: &str) -> bool {
        let (whole, part) = (leaves(whole).unwrap(), leaves(part).unwrap());
        part.iter().all(|code| whole.contains(code))
    }

    #[test]
    fn documents_have_the_leaves_of_what_they_contain() {
        let whole = r#"{"a": 1, "b": {"c": [1, {"d": null}, "x\"y"]}, "e": {}, "f": [], "t": true}"#;
        let parts = [
            whole,
            "{}",
            r#"{"a":1.0}"#,
            r#"{"a": 10e-1}"#,
            r#"{"b": {"c": [{"d": null}]}}"#,
            r#"{"b": {"c": ["x\u0022y"]}}"#,
            r#"{"t": true, "e": {}}"#,
        ];
        assert!(parts.iter().all(|part| contains(whole, part)));
        let others = [r#"{"a": 2}"#, r#"{"a": "1"}"#, r#"{"c": 1}"#, r#"{"b": 1}"#, r#"{"t": "true"}"#];
        assert!(!others.iter().any(|part| contains(whole, part)));
        assert!(contains(r#"["x", 5]"#, r#""x""#));
    }

    #[test]
    fn numbers_are_equal_whatever_their_text() {
        for alike in [["100", "1e2"], ["0.50", "5E-1"], ["-0", "0.00"], ["120.0", "1.2e+2"]] {
            assert_eq!(number(alike[0]), number(alike[1]), "{alike:?}");
        }
        for different in [["1", "-1"], ["1", "10"], ["0.1", "0.01"], ["12", "1.2"]] {
            assert_ne!(number(different[0]), number(different[1]), "{different:?}");
        }
    }

    #[test]
    fn keys_are_those_at_the_top() {
        let column: ArrayRef = Arc::new(StringArray::from(vec![
            Some(r#"{"a": {"b": "c"}}"#),
            Some(r#"["a", ["b"], 1]"#),
            Some(r#""a""#),
            None,
            Some("{\"a\": "),
        ]));
        let coder = ItemCoder::new(&column).unwrap().unwrap();
        let has = |row: usize, name: &str| coder.of(row).contains(&key(name));
        assert!(has(0, "a") && has(1, "a") && has(2, "a"));
        assert!(!has(0, "b") && !has(0, "c") && !has(1, "b"));
        assert_eq!((coder.of(3), coder.of(4)), (vec![], vec![UNREADABLE]));
    }

    #[test]
    fn depth_is_no_matter() {
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(leaves(&deep), leaves("1"));
    }
}
