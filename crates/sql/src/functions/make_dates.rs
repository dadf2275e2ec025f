//! make_date, make_time, make_timestamp, make_timestamptz and make_interval: dates and times put together from their parts.

use super::Function;
use super::dates::{HOUR_US, out_of_range};
use super::session::FunctionContext;
use super::{Args, time};
use crate::calendar::{DAY_US, days_from_civil, days_in_month, instant_of_local_us};
use arrow::array::*;
use arrow::datatypes::IntervalMonthDayNano;
use chrono_tz::Tz;
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

pub(super) fn functions(context: &Arc<FunctionContext>) -> Vec<Function> {
    let zone = context.style.input.time_zone;
    vec![
        Function::new("make_date", Volatility::Immutable, SqlType::Date, |args| {
            let dates = days(args)?.into_iter().map(|day| match day {
                Some(day) => i32::try_from(day).map(Some).map_err(|_| out_of_range("date")),
                None => Ok(None),
            });
            Ok(Arc::new(dates.collect::<Result<Date32Array>>()?))
        }),
        Function::new("make_time", Volatility::Immutable, SqlType::Time(None), |args| {
            let times = (0..args.rows()).map(|row| clock(args, 0, row)).collect::<Result<Vec<_>>>()?;
            Ok(Arc::new(times.into_iter().collect::<Time64MicrosecondArray>()))
        }),
        Function::new("make_timestamp", Volatility::Immutable, SqlType::Timestamp(None), |args| {
            Ok(Arc::new(moments(args)?.into_iter().collect::<TimestampMicrosecondArray>()))
        }),
        Function::new("make_timestamptz", Volatility::Stable, SqlType::Timestamptz(None), move |args| {
            let names = if args.count() > 6 { Some(args.text(6)?) } else { None };
            let mut out = Vec::with_capacity(args.rows());
            for (row, local) in moments(args)?.into_iter().enumerate() {
                out.push(match (local, &names) {
                    (None, _) => None,
                    (Some(local), None) => Some(instant_of_local_us(zone, local)),
                    (Some(_), Some(names)) if names.is_null(row) => None,
                    (Some(local), Some(names)) => Some(in_zone(local, names.value(row))?),
                });
            }
            Ok(Arc::new(TimestampMicrosecondArray::from(out).with_timezone("+00:00")))
        }),
        Function::new("make_interval", Volatility::Immutable, SqlType::Interval(None), interval),
    ]
}

/// A local time of a zone that is given by name or by its distance from Greenwich.
fn in_zone(local_us: i64, name: &str) -> Result<i64> {
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        let message = format!("invalid input syntax for type numeric time zone: \"{name}\"");
        return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
            .with_hint("Numeric time zones must have \"-\" or \"+\" as first character."));
    }
    let zone = |zone: Tz| instant_of_local_us(zone, local_us);
    match offset_s(name) {
        Some(offset) => Ok(local_us - offset * 1_000_000),
        None => time::zone(name).map(zone),
    }
}

/// `+05:30` in seconds.
fn offset_s(text: &str) -> Option<i64> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let mut parts = text.strip_prefix(['+', '-'])?.splitn(3, ':');
    let mut part = |limit: i64| match parts.next() {
        Some(text) => text.parse::<i64>().ok().filter(|it| (0..=limit).contains(it)),
        None => Some(0),
    };
    Some(sign * (part(15)? * 3600 + part(59)? * 60 + part(59)?))
}

fn days(args: &Args<'_>) -> Result<Vec<Option<i64>>> {
    let (years, months, days) = (args.int8(0)?, args.int8(1)?, args.int8(2)?);
    (0..args.rows())
        .map(|row| match years.is_null(row) || months.is_null(row) || days.is_null(row) {
            true => Ok(None),
            false => civil(years.value(row), months.value(row), days.value(row)).map(Some),
        })
        .collect()
}

fn civil(year: i64, month: i64, day: i64) -> Result<i64> {
    let bad = || {
        let message = format!("date field value out of range: {year}-{month:02}-{day:02}");
        Error::new(SqlState::DATETIME_FIELD_OVERFLOW, message)
    };
    // -1 is the year before 1.
    let astronomical = if year < 0 { year + 1 } else { year };
    let month = u32::try_from(month).ok().filter(|it| (1..=12).contains(it) && year != 0).ok_or_else(bad)?;
    // The least integer has no year of the other era.
    if !(1..=31).contains(&day) || year == i64::from(i32::MIN) {
        return Err(bad());
    }
    // PostgreSQL's first day is in November of 4714 BC.
    if !(-4_713..5_874_898).contains(&astronomical) {
        let message = format!("date out of range: {year}-{month:02}-{day:02}");
        return Err(Error::new(SqlState::DATETIME_FIELD_OVERFLOW, message));
    }
    let day = u32::try_from(day).ok().filter(|it| (1..=days_in_month(astronomical, month)).contains(it));
    Ok(days_from_civil(astronomical, month, day.ok_or_else(bad)?))
}

/// Hours, minutes and seconds as microseconds.
fn clock(args: &Args<'_>, from: usize, row: usize) -> Result<Option<i64>> {
    let (hours, minutes, seconds) = (args.int8(from)?, args.int8(from + 1)?, args.float8(from + 2)?);
    if hours.is_null(row) || minutes.is_null(row) || seconds.is_null(row) {
        return Ok(None);
    }
    let (hour, minute, second) = (hours.value(row), minutes.value(row), seconds.value(row));
    let fits = (0..=24).contains(&hour) && (0..60).contains(&minute) && (0.0..=60.0).contains(&second);
    if !fits {
        let message = format!("time field value out of range: {hour}:{minute:02}:{:0>2}", general(second));
        return Err(Error::new(SqlState::DATETIME_FIELD_OVERFLOW, message));
    }
    #[allow(clippy::cast_possible_truncation)] // at most a minute
    Ok(Some(hour * HOUR_US + minute * 60_000_000 + (second * 1e6).round_ties_even() as i64))
}

/// As C's `%g` prints a number.
fn general(value: f64) -> String {
    if !value.is_finite() {
        return if value.is_nan() { "NaN".to_owned() } else { format!("{value}").replace("inf", "Infinity") };
    }
    let scientific = format!("{value:.5e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let short = |digits: &str| match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => digits.to_owned(),
    };
    if (-4..6).contains(&exponent) {
        let places = usize::try_from(5 - exponent).unwrap_or(0);
        return short(&format!("{value:.places$}"));
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", short(mantissa), exponent.abs())
}

fn moments(args: &Args<'_>) -> Result<Vec<Option<i64>>> {
    let days = days(args)?;
    (0..args.rows())
        .map(|row| match days[row] {
            Some(day) => match clock(args, 3, row)? {
                Some(time) => {
                    let moment = day.checked_mul(DAY_US).and_then(|day| day.checked_add(time));
                    moment.map(Some).ok_or_else(|| out_of_range("timestamp"))
                }
                None => Ok(None),
            },
            None => Ok(None),
        })
        .collect()
}

/// `make_interval(years, months, weeks, days, hours, mins, secs)`.
fn interval(args: &Args<'_>) -> Result<ArrayRef> {
    let int = |index: usize| if args.count() > index { args.int8(index).map(Some) } else { Ok(None) };
    let whole = (0..6).map(int).collect::<Result<Vec<_>>>()?;
    let seconds = if args.count() > 6 { Some(args.float8(6)?) } else { None };
    let mut out = IntervalMonthDayNanoBuilder::with_capacity(args.rows());
    for row in 0..args.rows() {
        if (0..args.count()).any(|index| args.array(index).is_null(row)) {
            out.append_null();
            continue;
        }
        let at = |index: usize| whole[index].as_ref().map_or(0, |values| values.value(row));
        let second = seconds.as_ref().map_or(0.0, |values| values.value(row));
        let small = |value: i64| i32::try_from(value).map_err(|_| out_of_range("interval"));
        #[allow(clippy::cast_possible_truncation)] // the cast saturates
        let second_us = (second * 1e6).round() as i64;
        let time_us = (at(4) * HOUR_US + at(5) * 60_000_000)
            .checked_add(second_us)
            .filter(|_| second.is_finite())
            .ok_or_else(|| out_of_range("interval"))?;
        out.append_value(IntervalMonthDayNano::new(
            small(at(0) * 12 + at(1))?,
            small(at(2) * 7 + at(3))?,
            time_us.checked_mul(1000).ok_or_else(|| out_of_range("interval"))?,
        ));
    }
    Ok(Arc::new(out.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_print_as_in_c() {
        for (value, shown) in [
            (123_456_789.125, "1.23457e+08"),
            (5e-324, "4.94066e-324"),
            (-0.75, "-0.75"),
            (61.0, "61"),
            (100_000.0, "100000"),
            (0.0, "0"),
        ] {
            assert_eq!(general(value), shown);
        }
    }

    #[test]
    fn zones_are_names_or_distances() {
        assert_eq!(offset_s("+05:30"), Some(19_800));
        assert_eq!(offset_s("-8"), Some(-28_800));
        assert_eq!(offset_s("UTC"), None);
        assert!(in_zone(0, "5").is_err() && in_zone(0, "nowhere").is_err());
    }
}
