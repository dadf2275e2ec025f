//! to_char of dates, times and intervals: PostgreSQL's template patterns. Numbers have patterns of their own (`number_format`).

use super::dates::{iso_week, of_local};
use super::{Args, Function};
use crate::calendar::{DAY_US, days_from_civil, offset_at_s};
use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::datatypes::{IntervalMonthDayNano, IntervalMonthDayNanoType, TimestampMicrosecondType};
use chrono::{DateTime, TimeZone};
use chrono_tz::{OffsetName, Tz};
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::fmt::Write;
use std::sync::Arc;

/// Patterns in capitals. Of those that fit the longest is meant.
const PATTERNS: [&str; 60] = [
    "A.D.", "A.M.", "AD", "AM", "B.C.", "BC", "CC", "D", "DAY", "DD", "DDD", "DY", "FF1", "FF2", "FF3",
    "FF4", "FF5", "FF6", "HH", "HH12", "HH24", "I", "ID", "IDDD", "IW", "IY", "IYY", "IYYY", "J", "MI", "MM",
    "MON", "MONTH", "MS", "OF", "P.M.", "PM", "Q", "RM", "SS", "SSSS", "SSSSS", "TH", "TZ", "TZH", "TZM",
    "US", "W", "WW", "Y", "Y,YYY", "YY", "YYY", "YYYY", "FM", "TM", "FX", "SP", "\"", "\\\"",
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
const ROMAN: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

/// The function; `zone` is where timestamptz is shown.
pub(super) fn function(zone: Tz) -> Function {
    Function::new("to_char", Volatility::Stable, SqlType::Text, move |args| to_char(args, zone))
}

fn to_char(args: &Args<'_>, zone: Tz) -> Result<ArrayRef> {
    match args.ty(0) {
        SqlType::Timestamptz(_) => rows(args, &SqlType::Timestamptz(None), |us| Moment::zoned(us, zone)),
        SqlType::Timestamp(_) | SqlType::Date => rows(args, &SqlType::Timestamp(None), Moment::local),
        SqlType::Interval(_) => {
            let spans = args.array(0).as_primitive::<IntervalMonthDayNanoType>();
            shown(args, |row| spans.is_valid(row).then(|| Moment::span(spans.value(row))))
        }
        SqlType::Int2
        | SqlType::Int4
        | SqlType::Int8
        | SqlType::Float4
        | SqlType::Float8
        | SqlType::Numeric(_) => super::number_format::numbers_to_char(args),
        other => Err(Error::unsupported(format!("to_char({other}, text)"))),
    }
}

fn rows(args: &Args<'_>, to: &SqlType, of: impl Fn(i64) -> Moment) -> Result<ArrayRef> {
    let values = args.cast(0, to)?;
    let values = values.as_primitive::<TimestampMicrosecondType>();
    shown(args, |row| values.is_valid(row).then(|| of(values.value(row))))
}

fn shown(args: &Args<'_>, value: impl Fn(usize) -> Option<Moment>) -> Result<ArrayRef> {
    let templates = args.text(1)?;
    let mut out = StringBuilder::new();
    for row in 0..args.rows() {
        let template = if templates.is_valid(row) { templates.value(row) } else { "" };
        match value(row).filter(|_| !template.is_empty()) {
            Some(moment) => out.append_value(moment.format(template)?),
            None => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// What patterns show of a point in time, or of a span.
#[derive(Debug, Default)]
struct Moment {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    us: i64,
    /// Days since 1970, as if a span's parts were a date.
    days: i64,
    day_of_year: i64,
    is_span: bool,
    /// The zone's abbreviation and seconds ahead of UTC.
    zone: Option<(String, i32)>,
}

impl Moment {
    fn local(local_us: i64) -> Moment {
        let date = of_local(local_us);
        let days = local_us.div_euclid(DAY_US);
        let day = days - days_from_civil(date.year, u32::try_from(date.month).unwrap_or(1), 1) + 1;
        let first = days_from_civil(date.year, 1, 1);
        let moment = Moment { year: date.year, month: date.month, day, ..Moment::default() };
        Moment { days, day_of_year: days - first + 1, ..moment }.at(local_us.rem_euclid(DAY_US))
    }

    fn zoned(instant_us: i64, zone: Tz) -> Moment {
        let offset_s = offset_at_s(zone, instant_us);
        let name = DateTime::from_timestamp_micros(instant_us).and_then(|instant| {
            zone.offset_from_utc_datetime(&instant.naive_utc()).abbreviation().map(str::to_owned)
        });
        let local = Moment::local(instant_us + i64::from(offset_s) * 1_000_000);
        Moment { zone: Some((name.unwrap_or_default(), offset_s)), ..local }
    }

    fn span(span: IntervalMonthDayNano) -> Moment {
        let (year, month) = (i64::from(span.months / 12), i64::from(span.months % 12));
        let day = i64::from(span.days);
        let of_calendar = days_from_civil(year, u32::try_from(month).unwrap_or(0).max(1), 1) + day - 1;
        let moment = Moment { year, month, day, is_span: true, ..Moment::default() };
        let day_of_year = (year * 12 + month) * 30 + day;
        Moment { days: of_calendar, day_of_year, ..moment }.at(span.nanoseconds / 1000)
    }

    fn at(self, time_us: i64) -> Moment {
        let seconds = time_us / 1_000_000;
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        Moment { hour, minute, second, us: time_us % 1_000_000, ..self }
    }

    /// By a template. Text in double quotes and what is no pattern is copied.
    fn format(&self, template: &str) -> Result<String> {
        let mut out = String::with_capacity(template.len() + 8);
        let (mut rest, mut fill) = (template, true);
        while let Some(first) = rest.chars().next() {
            let pattern = PATTERNS
                .iter()
                .filter(|it| rest.get(..it.len()).is_some_and(|start| start.eq_ignore_ascii_case(it)))
                .max_by_key(|it| it.len());
            let Some(pattern) = pattern else {
                out.push(first);
                rest = &rest[first.len_utf8()..];
                continue;
            };
            let (written, after) = rest.split_at(pattern.len());
            rest = after;
            match *pattern {
                "FM" | "TM" => {
                    fill = false;
                    continue;
                }
                "FX" | "SP" => continue,
                "\\\"" => out.push('"'),
                "\"" => {
                    let end = rest.find('"').unwrap_or(rest.len());
                    out.push_str(&rest[..end]);
                    rest = rest.get(end + 1..).unwrap_or("");
                }
                pattern => self.push(&mut out, pattern, written, fill)?,
            }
            fill = true;
        }
        Ok(out)
    }

    fn push(&self, out: &mut String, pattern: &str, written: &str, fill: bool) -> Result<()> {
        if self.is_span && !is_of_spans(pattern) {
            let message = "invalid format specification for an interval value";
            return Err(Error::new(SqlState::INVALID_DATETIME_FORMAT, message)
                .with_hint("Intervals are not tied to specific calendar dates."));
        }
        let Some((number, width)) = self.number(pattern) else {
            self.push_word(out, pattern, written, fill);
            return Ok(());
        };
        // A sign has a place of its own, but before a day.
        let signed = number < 0 && !matches!(pattern, "DD" | "DDD");
        let width = if fill { width + usize::from(signed) } else { 0 };
        let _ = write!(out, "{number:0width$}");
        Ok(())
    }

    /// A number and how many digits it fills; `None` of what is no number.
    fn number(&self, pattern: &str) -> Option<(i64, usize)> {
        // There is no year 0.
        let year = if self.year <= 0 && !self.is_span { 1 - self.year } else { self.year };
        let (iso_year, iso_week) = iso_week(self.days);
        let iso_year = if iso_year <= 0 && !self.is_span { 1 - iso_year } else { iso_year };
        let weekday = (self.days + 4).rem_euclid(7);
        Some(match pattern {
            "YYYY" => (year, 4),
            "YYY" => (year % 1000, 3),
            "YY" => (year % 100, 2),
            "Y" => (year % 10, 1),
            "IYYY" => (iso_year, 4),
            "IYY" => (iso_year % 1000, 3),
            "IY" => (iso_year % 100, 2),
            "I" => (iso_year % 10, 1),
            "CC" if self.is_span => (self.year / 100, 2),
            "CC" if self.year > 0 => ((self.year - 1) / 100 + 1, 2),
            "CC" => (self.year / 100 - 1, 2),
            "MM" => (self.month, 2),
            "DD" => (self.day, 2),
            "DDD" => (self.day_of_year, 3),
            "IDDD" => ((iso_week - 1) * 7 + (weekday + 6) % 7 + 1, 3),
            "D" => (weekday + 1, 1),
            "ID" => ((weekday + 6) % 7 + 1, 1),
            "J" => (self.days + 2_440_588, 1),
            "IW" => (iso_week, 2),
            "WW" => ((self.day_of_year - 1) / 7 + 1, 2),
            "W" => ((self.day - 1) / 7 + 1, 1),
            "HH24" => (self.hour, 2),
            "HH12" | "HH" => (if self.hour % 12 == 0 { 12 } else { self.hour % 12 }, 2),
            "MI" => (self.minute, 2),
            "SS" => (self.second, 2),
            "SSSS" | "SSSSS" => (self.hour * 3_600 + self.minute * 60 + self.second, 1),
            "MS" | "FF3" => (self.us / 1_000, 3),
            "US" | "FF6" => (self.us, 6),
            "FF1" => (self.us / 100_000, 1),
            "FF2" => (self.us / 10_000, 2),
            "FF4" => (self.us / 100, 4),
            "FF5" => (self.us / 10, 5),
            _ => return None,
        })
    }

    fn push_word(&self, out: &mut String, pattern: &str, written: &str, fill: bool) {
        let name = |names: &[&'static str], at: i64| {
            usize::try_from(at).ok().and_then(|at| names.get(at).copied()).unwrap_or_default()
        };
        let afternoon = self.hour.rem_euclid(24) >= 12;
        let (word, width) = match pattern {
            "MONTH" => (name(&MONTHS, self.month - 1).to_owned(), 9),
            "MON" => (name(&MONTHS, self.month - 1).chars().take(3).collect(), 0),
            "DAY" => (name(&DAYS, (self.days + 4).rem_euclid(7)).to_owned(), 9),
            "DY" => (name(&DAYS, (self.days + 4).rem_euclid(7)).chars().take(3).collect(), 0),
            "RM" => (name(&ROMAN, self.month - 1).to_owned(), 4),
            "AM" | "PM" => (if afternoon { "PM" } else { "AM" }.to_owned(), 0),
            "A.M." | "P.M." => (if afternoon { "P.M." } else { "A.M." }.to_owned(), 0),
            "AD" | "BC" => (if self.year > 0 { "AD" } else { "BC" }.to_owned(), 0),
            "A.D." | "B.C." => (if self.year > 0 { "A.D." } else { "B.C." }.to_owned(), 0),
            "Q" if self.month == 0 => (String::new(), 0),
            "Q" => (((self.month - 1) / 3 + 1).to_string(), 0),
            "Y,YYY" => (format!("{},{:03}", self.year / 1000, self.year.abs() % 1000), 0),
            "TH" => (ordinal_suffix(out).to_uppercase(), 0),
            _ => (self.zone_word(pattern), 0),
        };
        // As the pattern is written.
        let is_lower = |at: usize| written.chars().nth(at).is_some_and(char::is_lowercase);
        let word = match (is_lower(0), is_lower(1)) {
            (true, _) => word.to_lowercase(),
            (false, true) => word,
            (false, false) => word.to_uppercase(),
        };
        let width = if fill { width } else { 0 };
        let _ = write!(out, "{word:<width$}");
    }

    fn zone_word(&self, pattern: &str) -> String {
        let Some((name, offset_s)) = &self.zone else { return String::new() };
        let sign = if *offset_s < 0 { '-' } else { '+' };
        let (hours, minutes) = (offset_s.abs() / 3_600, offset_s.abs() / 60 % 60);
        match pattern {
            "TZ" => name.clone(),
            "TZH" => format!("{sign}{hours:02}"),
            "TZM" => format!("{minutes:02}"),
            _ if minutes == 0 => format!("{sign}{hours:02}"),
            _ => format!("{sign}{hours:02}:{minutes:02}"),
        }
    }
}

/// Whether a span has what a pattern shows.
fn is_of_spans(pattern: &str) -> bool {
    const DATES: [&str; 14] =
        ["A.D.", "AD", "B.C.", "BC", "MONTH", "MON", "DAY", "DY", "D", "ID", "TZ", "TZH", "TZM", "OF"];
    !DATES.contains(&pattern)
}

/// The ending of the number that the text ends with.
fn ordinal_suffix(text: &str) -> &'static str {
    let start = text.rfind(|c: char| !c.is_ascii_digit()).map_or(0, |at| at + 1);
    let number: u64 = text.get(start..).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What PostgreSQL 16 prints.
    #[test]
    fn templates_print_as_in_postgresql() {
        let value = chrono::NaiveDate::from_ymd_opt(2024, 5, 6)
            .and_then(|it| it.and_hms_micro_opt(17, 8, 9, 123_456))
            .map(|it| it.and_utc().timestamp_micros());
        let moment = Moment::local(value.expect("a time"));
        let of = |template| moment.format(template).expect("known patterns");
        assert_eq!(of("YYYY-MM-DD HH24:MI:SS.MS"), "2024-05-06 17:08:09.123");
        assert_eq!(of("Dy, DD Mon YYYY"), "Mon, 06 May 2024");
        assert_eq!(of("FMMonth FMDD, HH12:MI PM"), "May 6, 05:08 PM");
        assert_eq!(of("Month|"), "May      |");
        assert_eq!(of("YYYY\"T\"DDD Q"), "2024T127 2");
        assert_eq!(of("IYYY-IW-ID FMDDth RM|cc ad"), "2024-19-1 6th V   |21 ad");
        assert_eq!(of("TZ"), "");
    }

    #[test]
    fn spans_have_no_names() {
        let span = Moment::span(IntervalMonthDayNano::new(14, -3, 90_061_000_000_000));
        assert_eq!(span.format("YYYY MM DD HH24:MI:SS").expect("numbers"), "0001 02 -3 25:01:01");
        assert!(span.format("Day").is_err());
    }
}
