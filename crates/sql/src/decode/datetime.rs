//! Dates, times and timestamps from text: the ISO forms, and the others that PostgreSQL reads.

use super::builder::{DateOrder, InputStyle};
use super::number::trim;
use crate::calendar::{
    DAY_US, FIRST_DAY, LAST_DAY, days_from_civil, days_in_month, iana_zone, instant_of_local_us, offset_at_s,
};
use chrono_tz::Tz;
use quiver_base::{Error, Result, SqlState};

/// The only type whose text may be bare digits of a clock.
const TIME: &str = "time";

/// date, as days since 1970.
pub(crate) fn parse_date(text: &str, style: &InputStyle) -> Result<i32> {
    let fields = Fields::read(text, "date", style)?;
    let days = match fields.special {
        Some(special) => special.local_us(style).div_euclid(DAY_US),
        None => fields.day(text, "date")?,
    };
    if !(FIRST_DAY..=LAST_DAY).contains(&days) {
        return Err(Error::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("date out of range: \"{text}\"")));
    }
    i32::try_from(days).map_err(|_| out_of_range(text))
}

/// time, as microseconds since midnight.
pub(crate) fn parse_time(text: &str, style: &InputStyle) -> Result<i64> {
    let fields = Fields::read(text, TIME, style)?;
    match (fields.special, fields.time_us) {
        (Some(special), _) => Ok(special.local_us(style).rem_euclid(DAY_US)),
        (None, Some(time_us)) => Ok(time_us),
        (None, None) => Err(invalid(TIME, text)),
    }
}

/// timestamp, as microseconds since 1970; a zone in the text is ignored.
pub(crate) fn parse_timestamp(text: &str, style: &InputStyle) -> Result<i64> {
    const NAME: &str = "timestamp";
    let fields = Fields::read(text, NAME, style)?;
    match fields.special {
        Some(special) => Ok(special.local_us(style)),
        None => fields.local_us(text, NAME),
    }
}

/// timestamptz, as microseconds since 1970.
pub(crate) fn parse_timestamptz(text: &str, style: &InputStyle) -> Result<i64> {
    const NAME: &str = "timestamp with time zone";
    let fields = Fields::read(text, NAME, style)?;
    if let Some(special) = fields.special {
        return Ok(special.instant_us(style));
    }
    let local_us = fields.local_us(text, NAME)?;
    match fields.zone {
        Some(Zone::Fixed(offset_s)) => {
            local_us.checked_sub(i64::from(offset_s) * 1_000_000).ok_or_else(|| overflow(text))
        }
        Some(Zone::Named(zone)) => Ok(instant_of_local_us(zone, local_us)),
        None => Ok(instant_of_local_us(style.time_zone, local_us)),
    }
}

/// `invalid input syntax for type …`, 22007.
pub(crate) fn invalid(type_name: &str, text: &str) -> Error {
    Error::new(
        SqlState::INVALID_DATETIME_FORMAT,
        format!("invalid input syntax for type {type_name}: \"{text}\""),
    )
}

fn out_of_range(text: &str) -> Error {
    Error::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("date/time field value out of range: \"{text}\""))
}

fn overflow(text: &str) -> Error {
    Error::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("timestamp out of range: \"{text}\""))
}

#[derive(Clone, Copy, Debug)]
enum Zone {
    /// Seconds east of Greenwich.
    Fixed(i32),
    Named(Tz),
}

/// A word that stands for a moment.
#[derive(Clone, Copy, Debug)]
enum Special {
    Epoch,
    Now,
    /// Midnight, so many days from today.
    Day(i64),
}

impl Special {
    /// As wall-clock time in the session's zone.
    fn local_us(self, style: &InputStyle) -> i64 {
        let now_local_us = style.now_us + i64::from(offset_at_s(style.time_zone, style.now_us)) * 1_000_000;
        match self {
            Special::Epoch => 0,
            Special::Now => now_local_us,
            Special::Day(ahead) => (now_local_us.div_euclid(DAY_US) + ahead) * DAY_US,
        }
    }

    fn instant_us(self, style: &InputStyle) -> i64 {
        match self {
            Special::Epoch => 0,
            Special::Now => style.now_us,
            Special::Day(_) => instant_of_local_us(style.time_zone, self.local_us(style)),
        }
    }
}

/// What was found in a text.
#[derive(Debug, Default)]
struct Fields {
    special: Option<Special>,
    /// Parts of a date in the order they came; a month given by name apart.
    numbers: Vec<(i64, usize)>,
    month: Option<u32>,
    before_christ: bool,
    time_us: Option<i64>,
    afternoon: Option<bool>,
    zone: Option<Zone>,
    order: DateOrder,
}

impl Fields {
    fn read(text: &str, type_name: &str, style: &InputStyle) -> Result<Fields> {
        let mut fields = Fields { order: style.date_order, ..Fields::default() };
        let mut rest = trim(text);
        if rest.is_empty() {
            return Err(invalid(type_name, text));
        }
        while let Some(first) = rest.chars().next() {
            rest = match first {
                c if c.is_ascii_whitespace() || c == ',' || c == '_' => &rest[1..],
                c if c.is_ascii_alphabetic() => fields.word(rest).ok_or_else(|| invalid(type_name, text))?,
                c if c.is_ascii_digit() => fields.digits(rest, text, type_name)?,
                '+' | '-' if fields.time_us.is_some() || fields.has_date() => {
                    fields.offset(rest, text).ok_or_else(|| invalid(type_name, text))??
                }
                _ => return Err(invalid(type_name, text)),
            };
        }
        fields.apply_meridian(text)?;
        Ok(fields)
    }

    fn has_date(&self) -> bool {
        self.numbers.len() + usize::from(self.month.is_some()) >= 3
    }

    /// A word at the front; returns what follows it.
    fn word<'a>(&mut self, rest: &'a str) -> Option<&'a str> {
        let inside = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '/');
        let end = rest.find(|c| !inside(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let lower = word.to_ascii_lowercase();
        if lower == "t" && after.starts_with(|c: char| c.is_ascii_digit()) {
            return Some(after);
        }
        if let Some(month) = month_by_name(&lower) {
            self.month = Some(month);
            return Some(after.strip_prefix(['-', '.']).unwrap_or(after));
        }
        match lower.as_str() {
            "epoch" => self.special = Some(Special::Epoch),
            "now" => self.special = Some(Special::Now),
            "today" => self.special = Some(Special::Day(0)),
            "tomorrow" => self.special = Some(Special::Day(1)),
            "yesterday" => self.special = Some(Special::Day(-1)),
            "allballs" => self.time_us = Some(0),
            "am" => self.afternoon = Some(false),
            "pm" => self.afternoon = Some(true),
            "bc" => self.before_christ = true,
            "ad" | "at" | "on" => {}
            _ if is_weekday(&lower) => {}
            _ => self.zone = Some(zone_by_name(word)?),
        }
        Some(after)
    }

    /// Digits at the front: a time if a colon follows, a date or a part of one otherwise.
    fn digits<'a>(&mut self, rest: &'a str, text: &str, type_name: &str) -> Result<&'a str> {
        let run = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        match rest.as_bytes().get(run) {
            Some(b':') => self.clock(rest, text, type_name),
            Some(b'-' | b'/') if self.numbers.is_empty() => self.joined_date(rest, text, type_name),
            Some(b'.') if !self.has_date() && self.numbers.is_empty() && run <= 2 => {
                self.joined_date(rest, text, type_name)
            }
            _ if (self.has_date() || type_name == TIME) && self.time_us.is_none() && matches!(run, 4 | 6) => {
                self.packed_clock(rest, run, text)
            }
            _ => {
                self.plain_number(&rest[..run]).ok_or_else(|| match run {
                    10.. if type_name != TIME => out_of_range(text),
                    _ => invalid(type_name, text),
                })?;
                Ok(rest[run..].trim_start_matches(['-', '/', '.']))
            }
        }
    }

    fn plain_number(&mut self, digits: &str) -> Option<()> {
        if digits.len() > 9 || self.has_date() {
            return None;
        }
        if digits.len() == 8 && self.numbers.is_empty() && self.month.is_none() {
            self.order = DateOrder::Ymd;
            for (part, length) in [(&digits[..4], 4), (&digits[4..6], 2), (&digits[6..], 2)] {
                self.numbers.push((part.parse().ok()?, length));
            }
            return Some(());
        }
        if digits.len() == 6 && self.numbers.is_empty() && self.month.is_none() {
            self.order = DateOrder::Ymd;
            for part in [&digits[..2], &digits[2..4], &digits[4..]] {
                self.numbers.push((part.parse().ok()?, 2));
            }
            return Some(());
        }
        self.numbers.push((digits.parse().ok()?, digits.len()));
        Some(())
    }

    /// `2024-01-31`, `1/31/2024`, `31.1.2024`, `31-Jan-2024`.
    fn joined_date<'a>(&mut self, rest: &'a str, text: &str, type_name: &str) -> Result<&'a str> {
        let error = || invalid(type_name, text);
        let separator = rest.chars().find(|c| !c.is_ascii_digit()).ok_or_else(error)?;
        let mut rest = rest;
        for part in 0..3 {
            if part > 0 {
                rest = rest.strip_prefix(separator).ok_or_else(error)?;
            }
            let inside = |c: char| if part == 1 { c.is_ascii_alphanumeric() } else { c.is_ascii_digit() };
            let end = rest.find(|c| !inside(c)).unwrap_or(rest.len());
            let field = &rest[..end];
            match month_by_name(&field.to_ascii_lowercase()) {
                Some(month) => self.month = Some(month),
                None if field.is_empty() || field.len() > 9 => return Err(error()),
                None => self.numbers.push((field.parse().map_err(|_| error())?, field.len())),
            }
            rest = &rest[end..];
        }
        Ok(rest)
    }

    /// `HH:MM[:SS[.fraction]]`.
    fn clock<'a>(&mut self, rest: &'a str, text: &str, type_name: &str) -> Result<&'a str> {
        let error = || invalid(type_name, text);
        if self.time_us.is_some() {
            return Err(error());
        }
        let end = rest.find(|c: char| !c.is_ascii_digit() && !matches!(c, ':' | '.')).unwrap_or(rest.len());
        let mut parts = rest[..end].split(':');
        let number = |part: Option<&str>| part.and_then(|part| part.parse::<i64>().ok());
        let hours = number(parts.next()).ok_or_else(error)?;
        let minutes = number(parts.next()).ok_or_else(error)?;
        let (seconds, micros) = match parts.next() {
            Some(part) => {
                let (whole, fraction) = part.split_once('.').unwrap_or((part, ""));
                (number(Some(whole)).ok_or_else(error)?, fraction_us(fraction).ok_or_else(error)?)
            }
            None => (0, 0),
        };
        if parts.next().is_some() {
            return Err(error());
        }
        self.set_time(hours, minutes, seconds, micros, text)?;
        Ok(&rest[end..])
    }

    /// `HHMM` and `HHMMSS[.fraction]` after a date.
    fn packed_clock<'a>(&mut self, rest: &'a str, run: usize, text: &str) -> Result<&'a str> {
        let two = |at: usize| rest.get(at..at + 2).and_then(|part| part.parse::<i64>().ok()).unwrap_or(0);
        let seconds = if run == 6 { two(4) } else { 0 };
        let mut end = run;
        let mut micros = 0;
        if let Some(fraction) = rest[run..].strip_prefix('.') {
            let length = fraction.find(|c: char| !c.is_ascii_digit()).unwrap_or(fraction.len());
            micros = fraction_us(&fraction[..length]).unwrap_or(0);
            end += 1 + length;
        }
        self.set_time(two(0), two(2), seconds, micros, text)?;
        Ok(&rest[end..])
    }

    fn set_time(&mut self, hours: i64, minutes: i64, seconds: i64, micros: i64, text: &str) -> Result<()> {
        let time_us = hours
            .checked_mul(3_600)
            .and_then(|s| s.checked_add(minutes * 60 + seconds))
            .and_then(|s| s.checked_mul(1_000_000))
            .map(|us| us + micros);
        match time_us {
            Some(us) if hours <= 24 && minutes < 60 && seconds <= 60 && us <= DAY_US => {
                self.time_us = Some(us);
                Ok(())
            }
            _ => Err(out_of_range(text)),
        }
    }

    /// `+02`, `-0330`, `+05:30:15`.
    fn offset<'a>(&mut self, rest: &'a str, text: &str) -> Option<Result<&'a str>> {
        let east = rest.starts_with('+');
        let body = &rest[1..];
        let end = body.find(|c: char| !c.is_ascii_digit() && c != ':').unwrap_or(body.len());
        let written = &body[..end];
        let parts: Vec<&str> = if written.contains(':') {
            written.split(':').collect()
        } else {
            match written.len() {
                1 | 2 => vec![written],
                3 => vec![&written[..1], &written[1..]],
                4 => vec![&written[..2], &written[2..]],
                6 => vec![&written[..2], &written[2..4], &written[4..]],
                _ => return None,
            }
        };
        let mut offset_s = 0_i64;
        for (part, weight) in parts.iter().zip([3_600, 60, 1]) {
            let value: i64 = part.parse().ok()?;
            if value >= 60 {
                return Some(Err(zone_out_of_range(text)));
            }
            offset_s += value * weight;
        }
        if parts.len() > 3 || offset_s >= 16 * 3_600 {
            return Some(Err(zone_out_of_range(text)));
        }
        let offset_s = if east { offset_s } else { -offset_s } as i32;
        self.zone = Some(Zone::Fixed(offset_s));
        Some(Ok(&body[end..]))
    }

    fn apply_meridian(&mut self, text: &str) -> Result<()> {
        let (Some(afternoon), Some(time_us)) = (self.afternoon, self.time_us) else { return Ok(()) };
        let hour = time_us / 3_600_000_000;
        if hour > 12 {
            return Err(out_of_range(text));
        }
        let shift = match (afternoon, hour) {
            (true, 12) | (false, 0..12) => 0,
            (true, _) => 12,
            (false, _) => -12,
        };
        self.time_us = Some(time_us + shift * 3_600_000_000);
        Ok(())
    }

    /// The date as a day since 1970.
    fn day(&self, text: &str, type_name: &str) -> Result<i64> {
        let (year, month, day) = self.parts().ok_or_else(|| match self.numbers[..] {
            // A number alone is a month, or a day where days come first.
            [(number, ..=2)] if self.month.is_none() && !self.may_be_first(number) => {
                out_of_range(text).with_hint("Perhaps you need a different \"datestyle\" setting.")
            }
            _ => invalid(type_name, text),
        })?;
        let (year, digits) = year;
        let year = match (digits, self.before_christ) {
            (_, true) if year > 0 => 1 - year,
            (..=2, false) if year < 70 => year + 2_000,
            (..=2, false) if year < 100 => year + 1_900,
            (_, false) if year > 0 => year,
            _ => return Err(out_of_range(text)),
        };
        if !(1..=12).contains(&month) {
            return Err(out_of_range(text).with_hint("Perhaps you need a different \"datestyle\" setting."));
        }
        let month = month as u32;
        if day < 1 || day > i64::from(days_in_month(year, month)) || year > 5_874_897 {
            return Err(out_of_range(text));
        }
        Ok(days_from_civil(year, month, day as u32))
    }

    fn may_be_first(&self, number: i64) -> bool {
        match self.order {
            DateOrder::Mdy => (1..=12).contains(&number),
            DateOrder::Dmy => (1..=31).contains(&number),
            DateOrder::Ymd => true,
        }
    }

    /// ((year, its digits), month, day).
    fn parts(&self) -> Option<((i64, usize), i64, i64)> {
        if let Some(month) = self.month {
            let [first, second] = self.numbers[..] else { return None };
            let year_first = first.1 > 2 || self.order == DateOrder::Ymd;
            let (year, day) = if year_first { (first, second) } else { (second, first) };
            return Some((year, i64::from(month), day.0));
        }
        let [first, second, third] = self.numbers[..] else { return None };
        if first.1 > 2 || self.order == DateOrder::Ymd {
            return Some((first, second.0, third.0));
        }
        match self.order {
            DateOrder::Dmy => Some((third, second.0, first.0)),
            _ => Some((third, first.0, second.0)),
        }
    }

    fn local_us(&self, text: &str, type_name: &str) -> Result<i64> {
        let day = self.day(text, type_name)?;
        if day < FIRST_DAY {
            return Err(overflow(text));
        }
        day.checked_mul(DAY_US)
            .and_then(|us| us.checked_add(self.time_us.unwrap_or(0)))
            .ok_or_else(|| overflow(text))
    }
}

fn zone_out_of_range(text: &str) -> Error {
    Error::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("time zone displacement out of range: \"{text}\""))
}

/// A fraction's digits as microseconds, rounded.
pub(super) fn fraction_us(digits: &str) -> Option<i64> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let kept = &digits[..digits.len().min(6)];
    let mut micros = format!("{kept:0<6}").parse::<i64>().ok()?;
    if digits.as_bytes().get(6).is_some_and(|digit| *digit >= b'5') {
        micros += 1;
    }
    Some(micros)
}

fn month_by_name(lower: &str) -> Option<u32> {
    const MONTHS: [&str; 12] = [
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
    if lower == "sept" {
        return Some(9);
    }
    (1..).zip(MONTHS).find_map(|(number, name)| (lower == name || lower == &name[..3]).then_some(number))
}

fn is_weekday(lower: &str) -> bool {
    const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    DAYS.iter().any(|day| lower == *day || lower == &day[..3])
        || matches!(lower, "tues" | "wednes" | "thurs" | "thur")
}

/// A zone by its IANA name or a usual abbreviation.
fn zone_by_name(name: &str) -> Option<Zone> {
    match abbreviated_offset_s(name) {
        Some(offset_s) => i32::try_from(offset_s).ok().map(Zone::Fixed),
        None => iana_zone(name).map(Zone::Named),
    }
}

/// What a usual abbreviation of a zone is ahead of UTC.
pub(crate) fn abbreviated_offset_s(name: &str) -> Option<i64> {
    let hours = match name.to_ascii_lowercase().as_str() {
        "z" | "utc" | "gmt" | "zulu" | "ut" => 0,
        "wet" => 0,
        "cet" | "met" | "west" | "bst" => 1,
        "cest" | "mest" | "eet" | "sast" => 2,
        "eest" | "msk" => 3,
        "jst" | "kst" => 9,
        "aest" => 10,
        "est" | "cdt" => -5,
        "edt" => -4,
        "cst" | "mdt" => -6,
        "mst" | "pdt" => -7,
        "pst" => -8,
        _ => return None,
    };
    Some(hours * 3_600)
}
