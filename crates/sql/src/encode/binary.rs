//! The binary forms of values that are more than their bytes in network order.

use crate::calendar::{POSTGRES_EPOCH_DAYS, POSTGRES_EPOCH_US};
use arrow::datatypes::IntervalMonthDayNano;

/// date: days since 2000.
pub(super) fn put_date(days: i32, out: &mut Vec<u8>) {
    out.extend_from_slice(&days.saturating_sub(POSTGRES_EPOCH_DAYS).to_be_bytes());
}

/// timestamp and timestamptz: microseconds since 2000.
pub(super) fn put_timestamp(timestamp_us: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&timestamp_us.saturating_sub(POSTGRES_EPOCH_US).to_be_bytes());
}

/// interval: microseconds, days, months.
pub(super) fn put_interval(value: IntervalMonthDayNano, out: &mut Vec<u8>) {
    out.extend_from_slice(&(value.nanoseconds / 1_000).to_be_bytes());
    out.extend_from_slice(&value.days.to_be_bytes());
    out.extend_from_slice(&value.months.to_be_bytes());
}

/// numeric: groups of four decimal digits around the point. `digits` is the unscaled value as decimal text.
pub(super) fn put_numeric(digits: &str, scale: i8, trim: bool, out: &mut Vec<u8>) {
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, digits),
    };
    let (whole, fraction) = split_at_point(digits, scale, trim);
    let display_scale = fraction.len() as i16;
    let mut groups = Vec::with_capacity(whole.len() / 4 + fraction.len() / 4 + 2);
    let lead = whole.len() % 4;
    if lead > 0 {
        groups.push(group(&whole.as_bytes()[..lead]));
    }
    groups.extend(whole.as_bytes()[lead..].chunks(4).map(group));
    let mut weight = groups.len() as i16 - 1;
    for chunk in fraction.as_bytes().chunks(4) {
        let padding = 10_i16.pow(4 - chunk.len() as u32);
        groups.push(group(chunk) * padding);
    }
    let zeros = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..zeros);
    weight -= zeros as i16;
    while groups.last() == Some(&0) {
        groups.pop();
    }
    if groups.is_empty() {
        weight = 0;
    }
    let sign: u16 = if negative { 0x4000 } else { 0 };
    out.extend_from_slice(&(groups.len() as i16).to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&display_scale.to_be_bytes());
    for group in groups {
        out.extend_from_slice(&group.to_be_bytes());
    }
}

/// The digits before the point (without zeros in front) and after it.
fn split_at_point(digits: &str, scale: i8, trim: bool) -> (String, String) {
    if scale <= 0 {
        let zeros = "0".repeat(usize::from(scale.unsigned_abs()));
        return (format!("{digits}{zeros}").trim_start_matches('0').to_owned(), String::new());
    }
    let scale = usize::from(scale.unsigned_abs());
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    let fraction = if trim { fraction.trim_end_matches('0') } else { fraction };
    (whole.trim_start_matches('0').to_owned(), fraction.to_owned())
}

fn group(digits: &[u8]) -> i16 {
    digits.iter().fold(0, |value, digit| value * 10 + i16::from(digit - b'0'))
}
