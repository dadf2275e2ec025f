//! to_date and to_timestamp: dates and times read by a template.

use super::session::FunctionContext;
use super::{Args, Function};
use crate::calendar::{DAY_US, days_from_civil, days_in_month, instant_of_local_us};
use arrow::array::{Array, Date32Array, TimestampMicrosecondArray};
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

/// Patterns, longest first where one begins with another, with the digits they take at most; 0 for words.
const PATTERNS: [(&str, usize); 21] = [
    ("HH24", 2),
    ("HH12", 2),
    ("YYYY", 4),
    ("MONTH", 0),
    ("SSSS", 5),
    ("DDD", 3),
    ("MON", 0),
    ("DAY", 0),
    ("HH", 2),
    ("MI", 2),
    ("SS", 2),
    ("MS", 3),
    ("US", 6),
    ("YY", 2),
    ("MM", 2),
    ("DD", 2),
    ("DY", 0),
    ("AM", 0),
    ("PM", 0),
    ("FM", 0),
    ("TH", 0),
];

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const FULL_MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

pub(super) fn functions(context: &Arc<FunctionContext>) -> Vec<Function> {
    let zone = context.style.input.time_zone;
    vec![
        Function::new("to_date", Volatility::Stable, SqlType::Date, |args| {
            let times = read_column(args)?;
            let days = times.into_iter().map(|time| time.map(|it| it.div_euclid(DAY_US)));
            let days: Vec<Option<i32>> = days.map(|day| day.and_then(|it| i32::try_from(it).ok())).collect();
            Ok(Arc::new(Date32Array::from(days)))
        }),
        Function::new("to_timestamp", Volatility::Stable, SqlType::Timestamptz(None), move |args| {
            if args.count() == 1 {
                return of_epoch(args);
            }
            let times =
                read_column(args)?.into_iter().map(|time| time.map(|it| instant_of_local_us(zone, it)));
            Ok(Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("+00:00")))
        }),
    ]
}

/// Seconds since 1970.
fn of_epoch(args: &Args<'_>) -> Result<arrow::array::ArrayRef> {
    let seconds = args.float8(0)?;
    let times = seconds.iter().map(|seconds| {
        let Some(seconds) = seconds else { return Ok(None) };
        if seconds.is_nan() || seconds.abs() > 9_223_371_331_200.0 {
            let message = format!("timestamp out of range: \"{seconds}\"");
            return Err(Error::new(SqlState::DATETIME_FIELD_OVERFLOW, message));
        }
        #[allow(clippy::cast_possible_truncation)] // checked
        Ok(Some((seconds * 1e6).round() as i64))
    });
    let times = times.collect::<Result<Vec<Option<i64>>>>()?;
    Ok(Arc::new(TimestampMicrosecondArray::from(times).with_timezone("+00:00")))
}

fn read_column(args: &Args<'_>) -> Result<Vec<Option<i64>>> {
    let (texts, formats) = (args.text(0)?, args.text(1)?);
    (0..args.rows())
        .map(|row| match texts.is_null(row) || formats.is_null(row) {
            true => Ok(None),
            false => read(texts.value(row), formats.value(row)).map(Some),
        })
        .collect()
}

/// What a text has said.
#[derive(Debug)]
struct Found {
    year: i64,
    month: i64,
    day: i64,
    day_of_year: Option<i64>,
    hour: i64,
    afternoon: Option<bool>,
    minute: i64,
    second: i64,
    micros: i64,
}

fn invalid(message: String) -> Error {
    Error::new(SqlState::INVALID_DATETIME_FORMAT, message)
}

/// A text by its template, in microseconds since 1970 of its own zone.
fn read(text: &str, format: &str) -> Result<i64> {
    // What a text does not say of the year is 1 BC.
    let mut found = Found {
        year: 0,
        month: 1,
        day: 1,
        day_of_year: None,
        hour: 0,
        afternoon: None,
        minute: 0,
        second: 0,
        micros: 0,
    };
    let (mut text, mut format) = (text.trim_start(), format);
    let mut exact = false;
    while let Some(first) = format.chars().next() {
        let pattern = PATTERNS
            .iter()
            .find(|(it, _)| format.get(..it.len()).is_some_and(|start| start.eq_ignore_ascii_case(it)));
        if let Some((pattern, width)) = pattern {
            let written;
            (written, format) = format.split_at(pattern.len());
            text = if *width == 0 {
                word(&mut found, pattern, written, text)?
            } else {
                text = text.trim_start();
                // Beside another number, or after FX, a number has its width.
                let fixed = PATTERNS.iter().any(|(it, width)| {
                    *width > 0 && format.get(..it.len()).is_some_and(|at| at.eq_ignore_ascii_case(it))
                });
                if !text.starts_with(|c: char| c.is_ascii_digit() || c == '-' && *pattern == "YYYY") {
                    let shown: String = text.chars().take(*width).collect();
                    return Err(invalid(format!("invalid value \"{shown}\" for \"{written}\""))
                        .with_detail("Value must be an integer."));
                }
                number(&mut found, pattern, text, if fixed || exact { *width } else { usize::MAX })?
            };
        } else if format.get(..2).is_some_and(|it| it.eq_ignore_ascii_case("FX")) {
            exact = true;
            format = &format[2..];
        } else if let Some(quoted) = format.strip_prefix('"') {
            let end = quoted.find('"').unwrap_or(quoted.len());
            text = skip(text, quoted[..end].chars().count());
            format = quoted.get(end + 1..).unwrap_or("");
        } else if first.is_ascii_alphabetic() {
            return Err(Error::unsupported(format!("the template \"{format}\" of to_date or to_timestamp")));
        } else {
            format = &format[first.len_utf8()..];
            let separator = text.chars().next().is_some_and(|it| !it.is_alphanumeric());
            text = if separator { skip(text, 1) } else { text };
        }
    }
    found.instant()
}

fn skip(text: &str, count: usize) -> &str {
    text.char_indices().nth(count).map_or("", |(at, _)| &text[at..])
}

fn number<'a>(found: &mut Found, pattern: &str, text: &'a str, width: usize) -> Result<&'a str> {
    let sign = usize::from(text.starts_with('-') && pattern == "YYYY");
    let digits = text[sign..].bytes().take_while(u8::is_ascii_digit).take(width.min(9)).count();
    let end = sign + digits;
    let value: i64 = text[..end].parse().map_err(|_| invalid(format!("invalid value for \"{pattern}\"")))?;
    match pattern {
        // There is no year 0.
        "YYYY" => found.year = if value < 0 { value + 1 } else { value },
        "YY" => found.year = if value < 70 { 2000 + value } else { 1900 + value },
        "MM" => found.month = value,
        "DD" => found.day = value,
        "DDD" => found.day_of_year = Some(value),
        "HH24" => found.hour = value,
        "HH12" | "HH" => {
            if !(1..=12).contains(&value) {
                let error = format!("hour \"{value}\" is invalid for the 12-hour clock");
                return Err(
                    invalid(error).with_hint("Use the 24-hour clock, or give an hour between 1 and 12.")
                );
            }
            found.hour = value;
            found.afternoon.get_or_insert(false);
        }
        "MI" => found.minute = value,
        "SS" => found.second = value,
        "SSSS" => {
            found.hour = value / 3600;
            found.minute = value / 60 % 60;
            found.second = value % 60;
        }
        // Digits of a fraction: `5` is half a second.
        _ => {
            let missing = u32::try_from(6_usize.saturating_sub(digits)).unwrap_or(0);
            found.micros = if digits <= 6 { value * 10_i64.pow(missing) } else { value / 10_i64.pow(3) };
        }
    }
    Ok(&text[end..])
}

fn word<'a>(found: &mut Found, pattern: &str, written: &str, text: &'a str) -> Result<&'a str> {
    let lower = text.to_ascii_lowercase();
    let begins = |words: &[&str]| words.iter().position(|word| lower.starts_with(word));
    let after = |length: usize| &text[length.min(text.len())..];
    match pattern {
        "MONTH" | "MON" => {
            let text = text.trim_start();
            let lower = text.to_ascii_lowercase();
            let full = FULL_MONTHS.iter().position(|word| pattern == "MONTH" && lower.starts_with(word));
            let short = MONTHS.iter().position(|word| lower.starts_with(word));
            let (month, length) = match (full, short) {
                (Some(month), _) => (month, FULL_MONTHS[month].len()),
                (None, Some(month)) => (month, 3),
                (None, None) => {
                    let shown = text.split(|c: char| c.is_ascii_whitespace()).next().unwrap_or(text);
                    return Err(invalid(format!("invalid value \"{shown}\" for \"{written}\"")).with_detail(
                        "The given value did not match any of the allowed values for this field.",
                    ));
                }
            };
            found.month = i64::try_from(month).unwrap_or(0) + 1;
            Ok(&text[length..])
        }
        "AM" | "PM" => match begins(&["am", "pm"]) {
            Some(half) => {
                found.afternoon = Some(half == 1);
                Ok(after(2))
            }
            None => Err(invalid(format!("invalid value \"{}\" for \"{written}\"", text.trim()))),
        },
        // The day of the week says nothing that the date does not.
        "DAY" | "DY" => Ok(after(lower.bytes().take_while(u8::is_ascii_alphabetic).count())),
        "TH" => Ok(after(if begins(&["st", "nd", "rd", "th"]).is_some() { 2 } else { 0 })),
        _ => Ok(text),
    }
}

impl Found {
    fn instant(&self) -> Result<i64> {
        let out_of_range = || {
            let message = format!(
                "date/time field value out of range: \"{:04}-{:02}-{:02}\"",
                self.year, self.month, self.day
            );
            Error::new(SqlState::DATETIME_FIELD_OVERFLOW, message)
        };
        let hour = match self.afternoon {
            Some(afternoon) if self.hour <= 12 => self.hour % 12 + if afternoon { 12 } else { 0 },
            _ => self.hour,
        };
        let month =
            u32::try_from(self.month).ok().filter(|it| (1..=12).contains(it)).ok_or_else(out_of_range)?;
        let day = u32::try_from(self.day).ok();
        let day =
            day.filter(|it| (1..=days_in_month(self.year, month)).contains(it)).ok_or_else(out_of_range)?;
        let fits =
            (0..24).contains(&hour) && (0..60).contains(&self.minute) && (0..60).contains(&self.second);
        if !fits || self.year > 294_276 {
            return Err(out_of_range());
        }
        let days = match self.day_of_year {
            Some(day) if (1..=366).contains(&day) => days_from_civil(self.year, 1, 1) + day - 1,
            Some(_) => return Err(out_of_range()),
            None => days_from_civil(self.year, month, day),
        };
        Ok(days * DAY_US + ((hour * 60 + self.minute) * 60 + self.second) * 1_000_000 + self.micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_by_their_template() {
        let day = days_from_civil(2024, 2, 29) * DAY_US;
        for (text, format) in [
            ("2024-02-29", "YYYY-MM-DD"),
            ("29 Feb 2024", "DD Mon YYYY"),
            ("20240229", "YYYYMMDD"),
            ("February 29th, 2024", "FMMonth DDth, YYYY"),
            ("2024 060", "YYYY DDD"),
        ] {
            assert_eq!(read(text, format).expect(text), day, "{text}");
        }
        let afternoon = read("2024-02-29 01:04:05.5 PM", "YYYY-MM-DD HH12:MI:SS.MS PM").expect("a time");
        assert_eq!(afternoon - day, ((13 * 60 + 4) * 60 + 5) * 1_000_000 + 500_000);
        assert!(read("2024-13-01", "YYYY-MM-DD").is_err());
        assert!(read("x", "YYYY").is_err());
        assert!(read("2024", "Q").is_err());
    }
}
