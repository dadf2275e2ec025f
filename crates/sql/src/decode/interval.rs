//! Intervals from text: PostgreSQL's words, ISO 8601 durations, the standard's `1-2` and clock forms.

use super::datetime::{fraction_us, invalid};
use super::number::trim;
use arrow::datatypes::IntervalMonthDayNano;
use quiver_base::{Error, Result, SqlState};

/// interval.
pub(crate) fn parse_interval(text: &str) -> Result<IntervalMonthDayNano> {
    let trimmed = trim(text);
    let mut sum = Sum::default();
    let understood = match trimmed.strip_prefix(['P', 'p']) {
        Some(iso) => sum.iso(iso),
        None => sum.words(trimmed),
    };
    match understood {
        Some(()) => sum.finish(text),
        None => Err(invalid("interval", text)),
    }
}

/// An interval of months, days and microseconds as Arrow carries it.
pub(crate) fn interval_value(months: i64, days: i64, micros: i64) -> Option<IntervalMonthDayNano> {
    Some(IntervalMonthDayNano::new(
        i32::try_from(months).ok()?,
        i32::try_from(days).ok()?,
        micros.checked_mul(1_000)?,
    ))
}

#[derive(Debug, Default)]
struct Sum {
    months: f64,
    days: f64,
    /// Whole microseconds, apart from fractions of larger units.
    micros: f64,
    any: bool,
    /// Units that have been given, of which each may be once.
    seen: u16,
}

impl Sum {
    /// Adds `count` units; the fraction of a month spills into days, that of a day into time, as in PostgreSQL.
    fn add(&mut self, count: f64, unit: Unit) {
        self.any = true;
        match unit {
            Unit::Months(each) => {
                let months = count * each;
                self.months += months.trunc();
                // A fraction of years is rounded to months; one of months becomes days.
                if each > 1.0 {
                    self.months += (months.fract()).round();
                } else {
                    self.add_days(months.fract() * 30.0);
                }
            }
            Unit::Days(each) => self.add_days(count * each),
            Unit::Micros(each) => self.micros += (count * each).round(),
        }
    }

    fn add_days(&mut self, days: f64) {
        self.days += days.trunc();
        self.micros += (days.fract() * 86_400_000_000.0).round();
    }

    fn finish(self, text: &str) -> Result<IntervalMonthDayNano> {
        let error = || {
            Error::new(
                SqlState::INTERVAL_FIELD_OVERFLOW,
                format!("interval field value out of range: \"{text}\""),
            )
        };
        let limited = |value: f64| (value.abs() < 9.2e18).then_some(value as i64);
        let parts = limited(self.months).zip(limited(self.days)).zip(limited(self.micros));
        let ((months, days), micros) = parts.ok_or_else(error)?;
        interval_value(months, days, micros).ok_or_else(error)
    }

    /// Takes note of units; `None` if one has been given before.
    fn once(&mut self, bits: u16) -> Option<()> {
        let again = self.seen & bits != 0;
        self.seen |= bits;
        (!again).then_some(())
    }

    /// `1 year 2 mons -3 days 04:05:06.7 ago`.
    fn words(&mut self, text: &str) -> Option<()> {
        let mut rest = text.strip_prefix('@').unwrap_or(text).trim_start();
        let mut ago = false;
        while !rest.is_empty() {
            let (negative, number, after) = signed_number(rest)?;
            let sign = if negative { -1.0 } else { 1.0 };
            if after.starts_with(':') {
                self.once(Unit::CLOCK)?;
                rest = self.clock(rest, negative)?.trim_start();
            } else if let Some(months) = after.strip_prefix('-') {
                let end = months.find(|c: char| !c.is_ascii_digit()).unwrap_or(months.len());
                let months_value: f64 = months[..end].parse().ok()?;
                if !(months[end..].is_empty() || months[end..].starts_with(char::is_whitespace)) {
                    return None;
                }
                self.once(Unit::Months(1.0).bit())?;
                self.add(sign * (number.parse::<f64>().ok()? * 12.0 + months_value), Unit::Months(1.0));
                rest = months[end..].trim_start();
            } else {
                let value = sign * number.parse::<f64>().ok()?;
                let after = after.trim_start();
                let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
                let unit = match &after[..end] {
                    // A number alone counts seconds, before a clock it counts days.
                    "" if after.is_empty() => Unit::Micros(1e6),
                    "" if is_clock(after) => Unit::Days(1.0),
                    "" => return None,
                    word => Unit::named(&word.to_ascii_lowercase())?,
                };
                self.once(unit.bit())?;
                self.add(value, unit);
                rest = after[end..].trim_start();
            }
            if rest.eq_ignore_ascii_case("ago") {
                ago = true;
                rest = "";
            }
        }
        if ago {
            (self.months, self.days, self.micros) = (-self.months, -self.days, -self.micros);
        }
        self.any.then_some(())
    }

    /// `[+-]HH:MM[:SS[.f]]`.
    fn clock<'a>(&mut self, text: &'a str, negative: bool) -> Option<&'a str> {
        let text = text.strip_prefix(['+', '-']).unwrap_or(text);
        let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, ':' | '.')).unwrap_or(text.len());
        let parts: Vec<&str> = text[..end].split(':').collect();
        let (hours, minutes, seconds) = match parts[..] {
            // Two fields with a fraction are minutes and seconds.
            [minutes, seconds] if seconds.contains('.') => ("0", minutes, seconds),
            [hours, minutes] => (hours, minutes, "0"),
            [hours, minutes, seconds] => (hours, minutes, seconds),
            _ => return None,
        };
        let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
        let [hours, minutes, seconds] = [hours, minutes, seconds].map(|part| part.parse::<i64>().ok());
        let (hours, minutes, seconds) = (hours?, minutes?, seconds?);
        if minutes >= 60 || seconds > 60 {
            return None;
        }
        let whole = hours as f64 * 3.6e9 + (minutes * 60_000_000 + seconds * 1_000_000) as f64;
        let micros = whole + fraction_us(fraction)? as f64;
        self.add(if negative { -micros } else { micros }, Unit::Micros(1.0));
        Some(&text[end..])
    }

    /// After the P: `1Y2M3DT4H5M6.7S`, `1W`.
    fn iso(&mut self, text: &str) -> Option<()> {
        let mut rest = text;
        let mut in_time = false;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix(['T', 't']) {
                in_time = true;
                rest = after;
                continue;
            }
            let (negative, number, after) = signed_number(rest)?;
            let value = number.parse::<f64>().ok()? * if negative { -1.0 } else { 1.0 };
            let letter = after.chars().next()?.to_ascii_uppercase();
            let unit = match (letter, in_time) {
                ('Y', false) => Unit::Months(12.0),
                ('M', false) => Unit::Months(1.0),
                ('W', false) => Unit::Days(7.0),
                ('D', false) => Unit::Days(1.0),
                ('H', true) => Unit::Micros(3.6e9),
                ('M', true) => Unit::Micros(6e7),
                ('S', true) => Unit::Micros(1e6),
                _ => return None,
            };
            self.add(value, unit);
            rest = &after[1..];
        }
        self.any.then_some(())
    }
}

#[derive(Clone, Copy, Debug)]
enum Unit {
    Months(f64),
    Days(f64),
    Micros(f64),
}

impl Unit {
    /// Hours, minutes and seconds.
    const CLOCK: u16 = 0b1_1111;

    /// A bit for each unit.
    fn bit(self) -> u16 {
        let each = |units: &[f64], unit: f64| units.iter().position(|it| *it == unit).unwrap_or(0);
        1 << match self {
            Unit::Micros(unit) => each(&[1.0, 1e3, 1e6, 6e7, 3.6e9], unit),
            Unit::Days(unit) => 5 + each(&[1.0, 7.0], unit),
            Unit::Months(unit) => 7 + each(&[1.0, 12.0, 120.0, 1_200.0, 12_000.0], unit),
        }
    }

    fn named(lower: &str) -> Option<Unit> {
        Some(match lower {
            "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecond" | "microseconds"
            | "microsec" => Unit::Micros(1.0),
            "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecond" | "milliseconds"
            | "millisec" => Unit::Micros(1e3),
            "s" | "sec" | "secs" | "second" | "seconds" => Unit::Micros(1e6),
            "m" | "min" | "mins" | "minute" | "minutes" => Unit::Micros(6e7),
            "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Micros(3.6e9),
            "d" | "day" | "days" => Unit::Days(1.0),
            "w" | "week" | "weeks" => Unit::Days(7.0),
            "mon" | "mons" | "month" | "months" => Unit::Months(1.0),
            "y" | "yr" | "yrs" | "year" | "years" => Unit::Months(12.0),
            "dec" | "decs" | "decade" | "decades" => Unit::Months(120.0),
            "c" | "cent" | "century" | "centuries" => Unit::Months(1_200.0),
            "mil" | "mils" | "millennium" | "millennia" => Unit::Months(12_000.0),
            _ => return None,
        })
    }
}

/// Whether hours and minutes come next.
fn is_clock(text: &str) -> bool {
    signed_number(text).is_some_and(|(_, _, after)| after.starts_with(':'))
}

/// A sign, the digits with at most one point, and what follows.
fn signed_number(text: &str) -> Option<(bool, &str, &str)> {
    let negative = text.starts_with('-');
    let body = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = body.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(body.len());
    let number = &body[..end];
    let has_digit = number.bytes().any(|byte| byte.is_ascii_digit());
    (has_digit && number.len() < 40).then_some((negative, number, &body[end..]))
}
