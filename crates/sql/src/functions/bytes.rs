//! Functions of `bytea` that text has under the same names, and those of single bytes. The pass that types a plan puts
//! `bytea_…` where the first argument is one.

use super::{Args, Function};
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, Int32Array};
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

pub(super) fn functions() -> Vec<Function> {
    let function = |name: &str, ty: SqlType, body: fn(&Args<'_>) -> Result<ArrayRef>| {
        Function::new(name, Volatility::Immutable, ty, body)
    };
    vec![
        function("bytea_substr", SqlType::Bytea, substring),
        function("bytea_btrim", SqlType::Bytea, |args| trimmed(args, true, true)),
        function("bytea_ltrim", SqlType::Bytea, |args| trimmed(args, true, false)),
        function("bytea_rtrim", SqlType::Bytea, |args| trimmed(args, false, true)),
        function("bytea_strpos", SqlType::Int4, position),
        function("bytea_concat", SqlType::Bytea, |args| {
            bytes_of(args, |row, value| {
                let other = args.array(1).as_binary::<i32>();
                Ok(other.is_valid(row).then(|| [value, other.value(row)].concat()))
            })
        }),
        function("bytea_overlay", SqlType::Bytea, overlay),
        function("bytea_get_bit", SqlType::Int4, get_bit),
        function("bytea_set_bit", SqlType::Bytea, set_bit),
        function("bytea_like", SqlType::Bool, like),
        function("bytea_like_escape", SqlType::Bytea, like_escape),
        function("get_byte", SqlType::Int4, get_byte),
        function("set_byte", SqlType::Bytea, set_byte),
    ]
}

/// A value of each row of the first argument; NULL gives NULL.
fn bytes_of(args: &Args<'_>, change: impl Fn(usize, &[u8]) -> Result<Option<Vec<u8>>>) -> Result<ArrayRef> {
    let values = args.array(0).as_binary::<i32>();
    let mut out = BinaryBuilder::new();
    for row in 0..args.rows() {
        match values.is_valid(row) {
            true => out.append_option(change(row, values.value(row))?),
            false => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// From a place that counts from 1 and may lie before the first byte, so many bytes.
fn substring(args: &Args<'_>) -> Result<ArrayRef> {
    let starts = args.int8(1)?;
    let counts = if args.count() > 2 { Some(args.int8(2)?) } else { None };
    bytes_of(args, |row, value| {
        if starts.is_null(row) || counts.as_ref().is_some_and(|counts| counts.is_null(row)) {
            return Ok(None);
        }
        let start = starts.value(row);
        let length = i64::try_from(value.len()).unwrap_or(i64::MAX);
        let end = match counts.as_ref().map(|counts| counts.value(row)) {
            Some(count) if count < 0 => {
                return Err(Error::new(SqlState::SUBSTRING_ERROR, "negative substring length not allowed"));
            }
            Some(count) => start.saturating_add(count),
            None => i64::MAX,
        };
        let place = |at: i64| usize::try_from((at - 1).clamp(0, length)).unwrap_or(0);
        Ok(Some(value[place(start)..place(end).max(place(start))].to_vec()))
    })
}

fn trimmed(args: &Args<'_>, left: bool, right: bool) -> Result<ArrayRef> {
    let sets = args.array(1).as_binary::<i32>();
    bytes_of(args, |row, value| {
        if sets.is_null(row) {
            return Ok(None);
        }
        let (set, mut value) = (sets.value(row), value);
        while left && value.first().is_some_and(|byte| set.contains(byte)) {
            value = &value[1..];
        }
        while right && value.last().is_some_and(|byte| set.contains(byte)) {
            value = &value[..value.len() - 1];
        }
        Ok(Some(value.to_vec()))
    })
}

fn position(args: &Args<'_>) -> Result<ArrayRef> {
    let (values, parts) = (args.array(0).as_binary::<i32>(), args.array(1).as_binary::<i32>());
    let found = values.iter().zip(parts.iter()).map(|(value, part)| {
        let (value, part) = (value?, part?);
        if part.is_empty() {
            return Some(1);
        }
        let at = value.windows(part.len()).position(|window| window == part);
        Some(at.map_or(0, |at| i32::try_from(at + 1).unwrap_or(i32::MAX)))
    });
    Ok(Arc::new(found.collect::<Int32Array>()))
}

/// The place of a byte; 2202E.
fn place(values: &BinaryArray, row: usize, at: i64) -> Result<usize> {
    let length = values.value(row).len();
    usize::try_from(at).ok().filter(|at| *at < length).ok_or_else(|| {
        let last = i64::try_from(length).unwrap_or(i64::MAX) - 1;
        let message = format!("index {at} out of valid range, 0..{last}");
        Error::new(SqlState::ARRAY_SUBSCRIPT_ERROR, message)
    })
}

fn get_byte(args: &Args<'_>) -> Result<ArrayRef> {
    let (values, places) = (args.cast(0, &SqlType::Bytea)?, args.int8(1)?);
    let values = values.as_binary::<i32>();
    let byte = |row: usize| -> Result<Option<i32>> {
        if values.is_null(row) || places.is_null(row) {
            return Ok(None);
        }
        let at = place(values, row, places.value(row))?;
        Ok(Some(i32::from(values.value(row)[at])))
    };
    Ok(Arc::new((0..args.rows()).map(byte).collect::<Result<Int32Array>>()?))
}

fn set_byte(args: &Args<'_>) -> Result<ArrayRef> {
    let (places, news) = (args.int8(1)?, args.int8(2)?);
    let values = args.array(0).as_binary::<i32>();
    bytes_of(args, |row, value| {
        if places.is_null(row) || news.is_null(row) {
            return Ok(None);
        }
        let at = place(values, row, places.value(row))?;
        let mut value = value.to_vec();
        value[at] = news.value(row).to_le_bytes()[0];
        Ok(Some(value))
    })
}

/// The places of the first argument from a place on, as many as the second has or the fourth says, replaced.
fn overlay(args: &Args<'_>) -> Result<ArrayRef> {
    let news = args.cast(1, &SqlType::Bytea)?;
    let news = news.as_binary::<i32>();
    let starts = args.int8(2)?;
    let counts = if args.count() > 3 { Some(args.int8(3)?) } else { None };
    bytes_of(args, |row, value| {
        let is_null = counts.as_ref().is_some_and(|counts| counts.is_null(row));
        if news.is_null(row) || starts.is_null(row) || is_null {
            return Ok(None);
        }
        let (new, start) = (news.value(row), starts.value(row));
        let length = |bytes: &[u8]| i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        let count = counts.as_ref().map_or(length(new), |counts| counts.value(row));
        if start <= 0 {
            return Err(Error::new(SqlState::SUBSTRING_ERROR, "negative substring length not allowed"));
        }
        let place = |at: i64| usize::try_from((at - 1).clamp(0, length(value))).unwrap_or(0);
        Ok(Some([&value[..place(start)], new, &value[place(start.saturating_add(count))..]].concat()))
    })
}

/// The place of a bit, as a byte and a bit of it; 2202E.
fn bit_place(value: &[u8], at: i64) -> Result<(usize, usize)> {
    let bits = i64::try_from(value.len()).unwrap_or(i64::MAX).saturating_mul(8);
    let place = usize::try_from(at).ok().filter(|_| at < bits).ok_or_else(|| {
        let message = format!("index {at} out of valid range, 0..{}", bits - 1);
        Error::new(SqlState::ARRAY_SUBSCRIPT_ERROR, message)
    })?;
    Ok((place / 8, place % 8))
}

fn get_bit(args: &Args<'_>) -> Result<ArrayRef> {
    let (values, places) = (args.cast(0, &SqlType::Bytea)?, args.int8(1)?);
    let values = values.as_binary::<i32>();
    let bit = |row: usize| -> Result<Option<i32>> {
        if values.is_null(row) || places.is_null(row) {
            return Ok(None);
        }
        let (byte, bit) = bit_place(values.value(row), places.value(row))?;
        Ok(Some(i32::from(values.value(row)[byte] >> bit & 1)))
    };
    Ok(Arc::new((0..args.rows()).map(bit).collect::<Result<Int32Array>>()?))
}

fn set_bit(args: &Args<'_>) -> Result<ArrayRef> {
    let (places, news) = (args.int8(1)?, args.int8(2)?);
    bytes_of(args, |row, value| {
        if places.is_null(row) || news.is_null(row) {
            return Ok(None);
        }
        let (byte, bit) = bit_place(value, places.value(row))?;
        let mut value = value.to_vec();
        match news.value(row) {
            0 => value[byte] &= !(1 << bit),
            1 => value[byte] |= 1 << bit,
            _ => return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, "new bit must be 0 or 1")),
        }
        Ok(Some(value))
    })
}

/// LIKE of bytes: `%`, `_` and the backslash are bytes too.
fn like(args: &Args<'_>) -> Result<ArrayRef> {
    let (values, patterns) = (args.cast(0, &SqlType::Bytea)?, args.cast(1, &SqlType::Bytea)?);
    let pairs = values.as_binary::<i32>().iter().zip(patterns.as_binary::<i32>());
    let matched = pairs.map(|(value, pattern)| match (value, pattern) {
        (Some(value), Some(pattern)) => matches_pattern(value, pattern).map(Some),
        _ => Ok(None),
    });
    Ok(Arc::new(matched.collect::<Result<BooleanArray>>()?))
}

/// Goes back to the last `%` where the rest does not match.
fn matches_pattern(value: &[u8], pattern: &[u8]) -> Result<bool> {
    let (mut at, mut step, mut back) = (0, 0, None);
    while at < value.len() {
        let (matched, width) = match pattern.get(step) {
            Some(b'%') => {
                back = Some((step + 1, at));
                step += 1;
                continue;
            }
            Some(b'_') => (true, 1),
            Some(b'\\') => match pattern.get(step + 1) {
                Some(byte) => (*byte == value[at], 2),
                None => return Err(ends_with_escape()),
            },
            Some(byte) => (*byte == value[at], 1),
            None => (false, 0),
        };
        if matched {
            (at, step) = (at + 1, step + width);
            continue;
        }
        let Some((after, from)) = back else { return Ok(false) };
        back = Some((after, from + 1));
        (at, step) = (from + 1, after);
    }
    Ok(pattern[step..].iter().all(|byte| *byte == b'%'))
}

fn ends_with_escape() -> Error {
    Error::new(SqlState::INVALID_ESCAPE_SEQUENCE, "LIKE pattern must not end with escape character")
}

/// The pattern with the backslash as its escape byte.
fn like_escape(args: &Args<'_>) -> Result<ArrayRef> {
    let escapes = args.cast(1, &SqlType::Bytea)?;
    let escapes = escapes.as_binary::<i32>();
    bytes_of(args, |row, pattern| {
        if escapes.is_null(row) {
            return Ok(None);
        }
        let escape = match escapes.value(row) {
            [] => None,
            [one] => Some(*one),
            _ => {
                let error = Error::new(SqlState::INVALID_ESCAPE_SEQUENCE, "invalid escape string");
                return Err(error.with_hint("Escape string must be empty or one character."));
            }
        };
        let (mut out, mut is_escaped) = (Vec::with_capacity(pattern.len()), false);
        for byte in pattern {
            if Some(*byte) == escape && !is_escaped {
                out.push(b'\\');
                is_escaped = true;
                continue;
            }
            if *byte == b'\\' && !is_escaped {
                out.push(b'\\');
            }
            out.push(*byte);
            is_escaped = false;
        }
        Ok(Some(out))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_bytes() {
        let of = |value: &[u8], pattern: &[u8]| matches_pattern(value, pattern).expect("a pattern");
        assert!(of(b"abcbc", b"a%bc") && of(b"", b"%") && of(b"a%", b"_\\%") && of(b"\xff\x00", b"__"));
        assert!(!of(b"abc", b"ab") && !of(b"ab", b"abc") && !of(b"ab", b"a\\_"));
        assert!(matches_pattern(b"a", b"\\").is_err());
    }
}
