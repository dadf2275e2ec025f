//! Bytes that sort as PostgreSQL sorts jsonb: by type, size and parts (compareJsonbContainers), numbers by their value.

use crate::decode::Json;
use quiver_base::Result;

const NULL: u8 = 0;
const STRING: u8 = 1;
const NUMBER: u8 = 2;
const BOOL: u8 = 3;
const ARRAY: u8 = 0x10;
const OBJECT: u8 = 0x11;

/// The key of a document.
pub(super) fn document_key(text: &str) -> Result<Vec<u8>> {
    let document = Json::parse(text)?;
    let mut out = Vec::with_capacity(text.len() + 8);
    if document.is_scalar() {
        // To PostgreSQL it is an array of one item that sorts before other arrays of one.
        begin(ARRAY, 1, &mut out);
        out.push(0);
        push(&document, &mut out);
        return Ok(out);
    }
    match &document {
        Json::Array(items) => {
            begin(ARRAY, items.len(), &mut out);
            out.push(1);
            items.iter().for_each(|item| push(item, &mut out));
        }
        object => push(object, &mut out),
    }
    Ok(out)
}

fn begin(kind: u8, count: usize, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend(u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
}

fn push(value: &Json, out: &mut Vec<u8>) {
    match value {
        Json::Null => out.push(NULL),
        Json::Bool(value) => out.extend([BOOL, u8::from(*value)]),
        Json::String(text) => push_string(text, out),
        Json::Number(digits) => {
            out.push(NUMBER);
            out.extend(number_key(digits));
        }
        Json::Array(items) => {
            begin(ARRAY, items.len(), out);
            items.iter().for_each(|item| push(item, out));
        }
        Json::Object(members) => {
            begin(OBJECT, members.len(), out);
            for (key, value) in Json::sorted(members) {
                push_string(key, out);
                push(value, out);
            }
        }
    }
}

/// A jsonb string has no zero bytes, so that one ends it.
fn push_string(text: &str, out: &mut Vec<u8>) {
    out.push(STRING);
    out.extend(text.as_bytes());
    out.push(0);
}

/// A number's sign, then its magnitude as a power of ten and digits; those of a negative one turned over.
pub(super) fn number_key(number: &str) -> Vec<u8> {
    let (negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0');
    let leading = digits.len() - significant.len();
    let significant = significant.trim_end_matches('0');
    if significant.is_empty() {
        return vec![1];
    }
    // The place of the first digit that counts.
    let place = i64::try_from(whole.len()).unwrap_or(0) - i64::try_from(leading).unwrap_or(0) + exponent;
    let place = i32::try_from(place).unwrap_or(if place < 0 { i32::MIN } else { i32::MAX });
    let magnitude = (place.cast_unsigned() ^ 0x8000_0000).to_be_bytes();
    // No digit is a zero byte, which ends them.
    let magnitude = magnitude.into_iter().chain(significant.bytes()).chain([0]);
    match negative {
        true => std::iter::once(0).chain(magnitude.map(|byte| !byte)).collect(),
        false => std::iter::once(2).chain(magnitude).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_postgresql_sorts_documents() {
        let sorted = [
            "[]",
            "null",
            r#""a""#,
            r#""aa""#,
            r#""b""#,
            "-10",
            "-1.5",
            "-1.25",
            "0",
            "0.001",
            "0.5",
            "1",
            "1.05",
            "2",
            "10",
            "100.5",
            "false",
            "true",
            "[null]",
            "[1]",
            "[1, 2]",
            "[1, 3]",
            "[1, 2, 3]",
            "{}",
            r#"{"a": 2}"#,
            r#"{"aa": 1}"#,
            r#"{"b": 1}"#,
            r#"{"a": 1, "b": 1}"#,
        ];
        let keys: Vec<Vec<u8>> = sorted.iter().map(|it| document_key(it).expect("JSON")).collect();
        for (at, pair) in keys.windows(2).enumerate() {
            assert!(pair[0] < pair[1], "{} {}", sorted[at], sorted[at + 1]);
        }
        assert_eq!(number_key("1.50"), number_key("1.5"));
        assert_eq!(number_key("-0.0"), number_key("0"));
        assert_eq!(number_key("1e2"), number_key("100"));
    }
}
