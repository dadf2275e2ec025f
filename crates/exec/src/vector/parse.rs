//! A vector's text form, read as pgvector's `vector_in` reads it, error texts included.

use super::{DIM_MAX, check_element, check_expected_dim, too_many_dimensions};
use quiver_base::{Error, Result, SqlState};

/// Reads `[1,2.5,-3e4]`.
pub fn parse(text: &str) -> Result<Vec<f32>> {
    let bytes = text.as_bytes();
    let mut at = skip_space(bytes, 0);
    if bytes.get(at) != Some(&b'[') {
        return Err(syntax(text).with_detail("Vector contents must start with \"[\"."));
    }
    at = skip_space(bytes, at + 1);
    if bytes.get(at) == Some(&b']') {
        return Err(Error::new(SqlState::DATA_EXCEPTION, "vector must have at least 1 dimension"));
    }
    let mut values = Vec::with_capacity((bytes.len() / 8).min(DIM_MAX));
    loop {
        if values.len() == DIM_MAX {
            return Err(too_many_dimensions());
        }
        at = skip_space(bytes, at);
        let end = number_end(bytes, at).ok_or_else(|| syntax(text))?;
        let value = number(&text[at..end])?;
        check_element(value)?;
        values.push(value);
        at = skip_space(bytes, end);
        match bytes.get(at) {
            Some(b',') => at += 1,
            Some(b']') => break,
            _ => return Err(syntax(text)),
        }
    }
    if skip_space(bytes, at + 1) != bytes.len() {
        return Err(syntax(text).with_detail("Junk after closing right brace."));
    }
    Ok(values)
}

/// Reads a `vector(dim)`.
pub fn parse_dim(text: &str, dim: usize) -> Result<Vec<f32>> {
    let values = parse(text)?;
    check_expected_dim(dim, values.len())?;
    Ok(values)
}

fn syntax(text: &str) -> Error {
    Error::new(
        SqlState::INVALID_TEXT_REPRESENTATION,
        format!("invalid input syntax for type vector: \"{text}\""),
    )
}

fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)) {
        at += 1;
    }
    at
}

/// Where the longest number that `strtof` would read ends; `None` if there is none.
fn number_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    if matches!(bytes.get(at), Some(b'+' | b'-')) {
        at += 1;
    }
    for word in [b"infinity".as_slice(), b"inf", b"nan"] {
        if bytes.get(at..at + word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word)) {
            return Some(at + word.len());
        }
    }
    let digits_from = |mut at: usize| {
        let start = at;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        (at, at - start)
    };
    let (after_whole, whole_digits) = digits_from(at);
    at = after_whole;
    let mut fraction_digits = 0;
    if bytes.get(at) == Some(&b'.') {
        let (after_fraction, digits) = digits_from(at + 1);
        fraction_digits = digits;
        if whole_digits + fraction_digits > 0 {
            at = after_fraction;
        }
    }
    if whole_digits + fraction_digits == 0 {
        return None;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let (after_exponent, digits) = digits_from(at + 1 + sign);
        if digits > 0 {
            at = after_exponent;
        }
    }
    Some(at)
}

fn number(text: &str) -> Result<f32> {
    let value: f32 = text.parse().map_err(|_| syntax(text))?;
    let named = text.bytes().any(|byte| matches!(byte, b'n' | b'N'));
    let overflow = value.is_infinite() && !named;
    let underflow = value == 0.0 && mantissa_is_nonzero(text);
    if overflow || underflow {
        return Err(Error::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("\"{text}\" is out of range for type vector"),
        ));
    }
    Ok(value)
}

fn mantissa_is_nonzero(text: &str) -> bool {
    text.bytes().take_while(|byte| !matches!(byte, b'e' | b'E')).any(|byte| matches!(byte, b'1'..=b'9'))
}
