//! The text forms of single values, digit for digit as PostgreSQL prints them.

use crate::calendar::{DAY_US, civil_from_days, offset_at_s};
use chrono_tz::Tz;
use std::io::Write;

/// Writing to a `Vec` cannot fail.
const VEC_WRITES: &str = "a Vec takes all bytes";

/// An integer.
pub(crate) fn put_int(value: i64, out: &mut Vec<u8>) {
    write!(out, "{value}").expect(VEC_WRITES);
}

/// float4: the fewest digits that read back as the same value.
pub(crate) fn put_float4(value: f32, out: &mut Vec<u8>) {
    if !put_special(f64::from(value), out) {
        put_shortest(format_args!("{value:e}"), 6, out);
    }
}

/// float8: the fewest digits that read back as the same value.
pub(crate) fn put_float8(value: f64, out: &mut Vec<u8>) {
    if !put_special(value, out) {
        put_shortest(format_args!("{value:e}"), 15, out);
    }
}

fn put_special(value: f64, out: &mut Vec<u8>) -> bool {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"Infinity" } else { b"-Infinity" });
    } else if value == 0.0 {
        out.extend_from_slice(if value.is_sign_negative() { b"-0" } else { b"0" });
    } else {
        return false;
    }
    true
}

/// `scientific` is Rust's `-1.25e-7`; PostgreSQL writes exponents below -4 and from `limit` on as `e-07`, others plainly.
fn put_shortest(scientific: std::fmt::Arguments<'_>, limit: i32, out: &mut Vec<u8>) {
    let mut buffer = [0_u8; 40];
    let mut rest = &mut buffer[..];
    rest.write_fmt(scientific).expect("a float has at most 25 characters");
    let length = 40 - rest.len();
    let text = &buffer[..length];
    let split = text.iter().position(|byte| *byte == b'e').unwrap_or(length);
    let exponent = parse_exponent(&text[(split + 1).min(length)..]);
    let (negative, mantissa) = match text[..split].split_first() {
        Some((b'-', mantissa)) => (true, mantissa),
        _ => (false, &text[..split]),
    };
    if negative {
        out.push(b'-');
    }
    if exponent < -4 || exponent >= limit {
        out.extend_from_slice(mantissa);
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(out, "e{sign}{:02}", exponent.abs()).expect(VEC_WRITES);
        return;
    }
    let digits = mantissa.iter().copied().filter(|byte| *byte != b'.');
    let count = mantissa.len() as i32 - i32::from(mantissa.len() > 1);
    put_plain(digits, count, exponent, out);
}

fn parse_exponent(text: &[u8]) -> i32 {
    let (sign, digits) = match text.split_first() {
        Some((b'-', digits)) => (-1, digits),
        _ => (1, text),
    };
    sign * digits.iter().fold(0, |value, digit| value * 10 + i32::from(digit - b'0'))
}

fn put_plain(digits: impl Iterator<Item = u8>, count: i32, exponent: i32, out: &mut Vec<u8>) {
    if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.extend(std::iter::repeat_n(b'0', (-exponent - 1) as usize));
        out.extend(digits);
        return;
    }
    for (position, digit) in (0..).zip(digits) {
        if position == exponent + 1 {
            out.push(b'.');
        }
        out.push(digit);
    }
    out.extend(std::iter::repeat_n(b'0', (exponent + 1 - count).max(0) as usize));
}

/// numeric: `digits` is the unscaled value as decimal text. `trim` drops zeros at the end, for numerics without a scale.
pub(crate) fn put_decimal(digits: &str, scale: i8, trim: bool, out: &mut Vec<u8>) {
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, digits),
    };
    if negative {
        out.push(b'-');
    }
    if scale <= 0 {
        out.extend_from_slice(digits.as_bytes());
        if digits != "0" {
            out.extend(std::iter::repeat_n(b'0', usize::from(scale.unsigned_abs())));
        }
        return;
    }
    let scale = usize::from(scale.unsigned_abs());
    let whole = digits.len().saturating_sub(scale);
    out.extend_from_slice(if whole == 0 { b"0" } else { &digits.as_bytes()[..whole] });
    let kept = if trim { digits[whole..].trim_end_matches('0') } else { &digits[whole..] };
    if !kept.is_empty() {
        out.push(b'.');
        out.extend(std::iter::repeat_n(b'0', scale.saturating_sub(digits.len())));
        out.extend_from_slice(kept.as_bytes());
    }
}

/// date, from days since 1970.
pub(crate) fn put_date(days: i32, out: &mut Vec<u8>) {
    let before_christ = put_day(i64::from(days), out);
    put_era(before_christ, out);
}

fn put_day(days: i64, out: &mut Vec<u8>) -> bool {
    let (year, month, day) = civil_from_days(days);
    let shown = if year <= 0 { 1 - year } else { year };
    write!(out, "{shown:04}-{month:02}-{day:02}").expect(VEC_WRITES);
    year <= 0
}

fn put_era(before_christ: bool, out: &mut Vec<u8>) {
    if before_christ {
        out.extend_from_slice(b" BC");
    }
}

/// time, from microseconds since midnight.
pub(crate) fn put_time(time_us: i64, out: &mut Vec<u8>) {
    let seconds = time_us / 1_000_000;
    write!(out, "{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60).expect(VEC_WRITES);
    put_fraction(time_us % 1_000_000, out);
}

fn put_fraction(micros: i64, out: &mut Vec<u8>) {
    if micros != 0 {
        write!(out, ".{micros:06}").expect(VEC_WRITES);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

/// timestamp, from microseconds since 1970.
pub(crate) fn put_timestamp(timestamp_us: i64, out: &mut Vec<u8>) {
    let before_christ = put_moment(timestamp_us, out);
    put_era(before_christ, out);
}

fn put_moment(timestamp_us: i64, out: &mut Vec<u8>) -> bool {
    let before_christ = put_day(timestamp_us.div_euclid(DAY_US), out);
    out.push(b' ');
    put_time(timestamp_us.rem_euclid(DAY_US), out);
    before_christ
}

/// timestamptz in a zone, from microseconds since 1970.
pub(crate) fn put_timestamptz(timestamp_us: i64, zone: Tz, out: &mut Vec<u8>) {
    let offset_s = offset_at_s(zone, timestamp_us);
    let before_christ = put_moment(timestamp_us.saturating_add(i64::from(offset_s) * 1_000_000), out);
    let (sign, ahead_s) = if offset_s < 0 { ('-', -offset_s) } else { ('+', offset_s) };
    write!(out, "{sign}{:02}", ahead_s / 3_600).expect(VEC_WRITES);
    if ahead_s % 3_600 != 0 {
        write!(out, ":{:02}", ahead_s / 60 % 60).expect(VEC_WRITES);
    }
    if ahead_s % 60 != 0 {
        write!(out, ":{:02}", ahead_s % 60).expect(VEC_WRITES);
    }
    put_era(before_christ, out);
}

/// interval in the `postgres` style.
pub(crate) fn put_interval(months: i32, days: i32, time_us: i64, out: &mut Vec<u8>) {
    let mut writer = IntervalWriter { out, first: true, after_negative: false };
    writer.unit(months / 12, "year");
    writer.unit(months % 12, "mon");
    writer.unit(days, "day");
    let IntervalWriter { out, first, after_negative } = writer;
    if time_us == 0 && !first {
        return;
    }
    if !first {
        out.push(b' ');
    }
    if time_us < 0 {
        out.push(b'-');
    } else if after_negative {
        out.push(b'+');
    }
    let size_us = time_us.unsigned_abs();
    let seconds = size_us / 1_000_000;
    write!(out, "{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60).expect(VEC_WRITES);
    put_fraction((size_us % 1_000_000) as i64, out);
}

struct IntervalWriter<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
    after_negative: bool,
}

impl IntervalWriter<'_> {
    /// A sign is written where it is needed: on what is negative, and on what is positive after something negative.
    fn unit(&mut self, count: i32, name: &str) {
        if count == 0 {
            return;
        }
        let space = if self.first { "" } else { " " };
        let plus = if self.after_negative && count > 0 { "+" } else { "" };
        let plural = if count == 1 { "" } else { "s" };
        write!(self.out, "{space}{plus}{count} {name}{plural}").expect(VEC_WRITES);
        self.first = false;
        self.after_negative = count < 0;
    }
}

/// interval in the `iso_8601` style.
pub(crate) fn put_interval_iso(months: i32, days: i32, time_us: i64, out: &mut Vec<u8>) {
    if months == 0 && days == 0 && time_us == 0 {
        out.extend_from_slice(b"PT0S");
        return;
    }
    out.push(b'P');
    for (count, letter) in [(months / 12, 'Y'), (months % 12, 'M'), (days, 'D')] {
        if count != 0 {
            write!(out, "{count}{letter}").expect(VEC_WRITES);
        }
    }
    if time_us == 0 {
        return;
    }
    out.push(b'T');
    let (hours, minutes) = (time_us / 3_600_000_000, time_us / 60_000_000 % 60);
    for (count, letter) in [(hours, 'H'), (minutes, 'M')] {
        if count != 0 {
            write!(out, "{count}{letter}").expect(VEC_WRITES);
        }
    }
    let left_us = time_us % 60_000_000;
    if left_us != 0 {
        let sign = if left_us < 0 { "-" } else { "" };
        write!(out, "{sign}{}", left_us.abs() / 1_000_000).expect(VEC_WRITES);
        put_fraction(left_us.abs() % 1_000_000, out);
        out.push(b'S');
    }
}

/// bytea in the `hex` form.
pub(crate) fn put_bytea(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(2 + bytes.len() * 2);
    out.extend_from_slice(b"\\x");
    put_hex(bytes, out);
}

fn put_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

/// bytea in the `escape` form.
pub(crate) fn put_bytea_escape(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x20..=0x7e => out.push(*byte),
            _ => write!(out, "\\{byte:03o}").expect(VEC_WRITES),
        }
    }
}

/// uuid.
pub(crate) fn put_uuid(bytes: &[u8], out: &mut Vec<u8>) {
    let mut start = 0;
    for length in [4, 2, 2, 2, 6] {
        if start > 0 {
            out.push(b'-');
        }
        put_hex(&bytes[start..start + length], out);
        start += length;
    }
}

/// Puts the array item that `out[start..]` holds into quotes if its text needs them.
pub(crate) fn quote_array_item(out: &mut Vec<u8>, start: usize) {
    let text = &out[start..];
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | b'{' | b'}' | b',' | b' ' | 9..=13);
    if !text.is_empty() && !text.iter().any(special) && !text.eq_ignore_ascii_case(b"null") {
        return;
    }
    let text = out.split_off(start);
    out.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}
