//! to_char of dates and times: PostgreSQL's template patterns. Numbers have patterns of their own (`number_format`).

use super::{Args, Function};
use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::datatypes::TimestampMicrosecondType;
use chrono::{DateTime, Datelike, NaiveDateTime, Timelike};
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlType};
use std::fmt::Write;
use std::sync::Arc;

/// Patterns, longest first where one begins with another.
const PATTERNS: [&str; 36] = [
    "HH24", "HH12", "YYYY", "Month", "MONTH", "month", "IYYY", "SSSS", "DDD", "Mon", "MON", "mon", "Day",
    "DAY", "day", "HH", "MI", "SS", "MS", "US", "YY", "MM", "DD", "Dy", "DY", "dy", "AM", "PM", "am", "pm",
    "IW", "Q", "D", "J", "TH", "th",
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// The function; `zone` is where timestamptz is shown.
pub(super) fn function(zone: chrono_tz::Tz) -> Function {
    Function::new("to_char", Volatility::Stable, SqlType::Text, move |args| to_char(args, zone))
}

fn to_char(args: &Args<'_>, zone: chrono_tz::Tz) -> Result<ArrayRef> {
    let is_zoned = match args.ty(0) {
        SqlType::Timestamptz => true,
        SqlType::Timestamp | SqlType::Date => false,
        SqlType::Int2
        | SqlType::Int4
        | SqlType::Int8
        | SqlType::Float4
        | SqlType::Float8
        | SqlType::Numeric(_) => return super::number_format::numbers_to_char(args),
        other => return Err(Error::unsupported(format!("to_char({other}, text)"))),
    };
    let to = if is_zoned { SqlType::Timestamptz } else { SqlType::Timestamp };
    let values = args.cast(0, &to)?;
    let values = values.as_primitive::<TimestampMicrosecondType>();
    let templates = args.text(1)?;
    let mut out = StringBuilder::new();
    for row in 0..args.rows() {
        if values.is_null(row) || templates.is_null(row) || templates.value(row).is_empty() {
            out.append_null();
            continue;
        }
        let instant = DateTime::from_timestamp_micros(values.value(row)).ok_or_else(|| {
            Error::new(quiver_base::SqlState::DATETIME_FIELD_OVERFLOW, "timestamp out of range")
        })?;
        let local = if is_zoned { instant.with_timezone(&zone).naive_local() } else { instant.naive_utc() };
        out.append_value(format(local, templates.value(row))?);
    }
    Ok(Arc::new(out.finish()))
}

/// One value by a template. Text in double quotes and what is no pattern is copied.
fn format(value: NaiveDateTime, template: &str) -> Result<String> {
    let mut out = String::with_capacity(template.len() + 8);
    let mut rest = template;
    let mut fill = true;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("FM") {
            fill = false;
            rest = after;
        } else if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').unwrap_or(quoted.len());
            out.push_str(&quoted[..end]);
            rest = quoted.get(end + 1..).unwrap_or("");
        } else if let Some(pattern) = PATTERNS.iter().find(|it| rest.starts_with(**it)) {
            push(&mut out, value, pattern, fill);
            fill = true;
            rest = &rest[pattern.len()..];
        } else if first.is_ascii_alphabetic() {
            return Err(Error::unsupported(format!("to_char template \"{template}\"")));
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    Ok(out)
}

fn push(out: &mut String, value: NaiveDateTime, pattern: &str, fill: bool) {
    let hour12 = match value.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let month = MONTHS[value.month0() as usize];
    let day = DAYS[value.weekday().num_days_from_sunday() as usize];
    let week = value.iso_week();
    // The year before 1 is 1 BC.
    let in_era = |year: i32| i64::from(if year <= 0 { 1 - year } else { year });
    let (number, width) = match pattern {
        "YYYY" => (in_era(value.year()), 4),
        "YY" => (in_era(value.year()) % 100, 2),
        "IYYY" => (in_era(week.year()), 4),
        "IW" => (i64::from(week.week()), 2),
        "MM" => (i64::from(value.month()), 2),
        "DD" => (i64::from(value.day()), 2),
        "DDD" => (i64::from(value.ordinal()), 3),
        "D" => (i64::from(value.weekday().number_from_sunday()), 1),
        "J" => (i64::from(value.num_days_from_ce()) + 1_721_425, 1),
        "TH" | "th" => {
            let number: String = out
                .chars()
                .rev()
                .take_while(char::is_ascii_digit)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .collect();
            let number: u64 = number.parse().unwrap_or(0);
            let suffix = match (number % 100, number % 10) {
                (11..=13, _) => "th",
                (_, 1) => "st",
                (_, 2) => "nd",
                (_, 3) => "rd",
                _ => "th",
            };
            out.push_str(&if pattern == "TH" { suffix.to_uppercase() } else { suffix.to_owned() });
            return;
        }
        "Q" => (i64::from(value.month0() / 3 + 1), 1),
        "HH24" => (i64::from(value.hour()), 2),
        "HH12" | "HH" => (i64::from(hour12), 2),
        "MI" => (i64::from(value.minute()), 2),
        "SS" => (i64::from(value.second()), 2),
        "SSSS" => (i64::from(value.num_seconds_from_midnight()), 1),
        "MS" => (i64::from(value.nanosecond() / 1_000_000), 3),
        "US" => (i64::from(value.nanosecond() / 1_000), 6),
        _ => {
            let half = if value.hour() < 12 { "am" } else { "pm" };
            let (word, length) = match pattern {
                "Month" | "MONTH" | "month" => (month, 9),
                "Mon" | "MON" | "mon" => (&month[..3], 0),
                "Day" | "DAY" | "day" => (day, 9),
                "Dy" | "DY" | "dy" => (&day[..3], 0),
                _ => (half, 0),
            };
            let word = if pattern.chars().all(|c| c.is_ascii_uppercase()) {
                word.to_uppercase()
            } else if pattern.chars().all(|c| c.is_ascii_lowercase()) {
                word.to_lowercase()
            } else {
                word.to_owned()
            };
            let length = if fill { length } else { 0 };
            let _ = write!(out, "{word:<length$}");
            return;
        }
    };
    let width = if fill { width } else { 0 };
    let _ = write!(out, "{number:0width$}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What PostgreSQL 16 prints.
    #[test]
    fn templates_print_as_in_postgresql() {
        let value = chrono::NaiveDate::from_ymd_opt(2024, 5, 6)
            .and_then(|it| it.and_hms_micro_opt(17, 8, 9, 123_456));
        let value = value.expect("a time");
        let of = |template| format(value, template).expect("known patterns");
        assert_eq!(of("YYYY-MM-DD HH24:MI:SS.MS"), "2024-05-06 17:08:09.123");
        assert_eq!(of("Dy, DD Mon YYYY"), "Mon, 06 May 2024");
        assert_eq!(of("FMMonth FMDD, HH12:MI PM"), "May 6, 05:08 PM");
        assert_eq!(of("Month|"), "May      |");
        assert_eq!(of("YYYY\"T\"DDD Q"), "2024T127 2");
        assert!(format(value, "TZ").is_err());
    }
}
