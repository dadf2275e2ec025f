//! Times in zones other than the session's: AT TIME ZONE, date_add and date_subtract.

use super::series::later;
use super::session::FunctionContext;
use super::time::{out_of_range, zone};
use super::{Args, Function};
use crate::bind::{CastContext, cast_array};
use crate::calendar::{instant_of_local_us, offset_at_s};
use crate::decode::abbreviated_offset_s;
use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{IntervalMonthDayNano, IntervalMonthDayNanoType, TimestampMicrosecondType};
use chrono_tz::Tz;
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

pub(super) fn functions(context: &Arc<FunctionContext>) -> Vec<Function> {
    vec![at_time_zone(context), moved("date_add", 1, context), moved("date_subtract", -1, context)]
}

/// Where a time is looked at.
#[derive(Clone, Copy)]
enum Zone {
    Named(Tz),
    /// Seconds east of Greenwich.
    Fixed(i64),
}

impl Zone {
    fn instant_us(self, local_us: i64) -> Option<i64> {
        match self {
            Zone::Named(zone) => Some(instant_of_local_us(zone, local_us)),
            Zone::Fixed(east_s) => local_us.checked_sub(east_s * 1_000_000),
        }
    }

    /// An interval later, by the zone's calendar.
    fn later(self, instant_us: i64, step: IntervalMonthDayNano) -> Option<i64> {
        match self {
            Zone::Named(zone) => later(instant_us, step, zone),
            Zone::Fixed(_) => self.instant_us(later(self.local_us(instant_us)?, step, Tz::UTC)?),
        }
    }

    fn local_us(self, instant_us: i64) -> Option<i64> {
        let east_s = match self {
            Zone::Named(zone) => i64::from(offset_at_s(zone, instant_us)),
            Zone::Fixed(east_s) => east_s,
        };
        instant_us.checked_add(east_s * 1_000_000)
    }
}

/// A zone by an abbreviation, its name, or an offset as POSIX has it: to the west.
fn by_name(name: &str) -> Result<Zone> {
    if let Some(east_s) = abbreviated_offset_s(name) {
        return Ok(Zone::Fixed(east_s));
    }
    match posix_offset_s(name) {
        Some(west_s) => Ok(Zone::Fixed(-west_s)),
        None => zone(name).map(Zone::Named),
    }
}

/// `+05:30`, `-8`, or with letters before it: `UTC+3`.
fn posix_offset_s(name: &str) -> Option<i64> {
    let digits = name.trim_start_matches(|c: char| c.is_ascii_alphabetic());
    if name.len() - digits.len() == 1 || name.contains('/') {
        return None;
    }
    let (sign, digits) = match (digits.strip_prefix('-'), digits.strip_prefix('+')) {
        (Some(digits), _) => (-1, digits),
        (_, Some(digits)) => (1, digits),
        _ => (1, digits),
    };
    let parts = digits.split(':').map(|part| part.parse::<u8>().ok().map(i64::from));
    let parts = parts.collect::<Option<Vec<i64>>>()?;
    let seconds = match parts.as_slice() {
        [hours] => hours * 3_600,
        [hours, minutes] => hours * 3_600 + minutes * 60,
        [hours, minutes, seconds] => hours * 3_600 + minutes * 60 + seconds,
        _ => return None,
    };
    (seconds <= 167 * 3_600).then_some(sign * seconds)
}

/// A zone by what it is ahead of UTC.
fn by_interval(offset: IntervalMonthDayNano) -> Result<Zone> {
    if offset.months != 0 || offset.days != 0 {
        let message = "interval time zone must not include months or days";
        return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
    }
    Ok(Zone::Fixed(offset.nanoseconds / 1_000_000_000))
}

/// The zone of every row that wants one.
fn zones(args: &Args<'_>, index: usize, is_wanted: impl Fn(usize) -> bool) -> Result<Vec<Option<Zone>>> {
    if *args.ty(index) == SqlType::Interval(None) {
        let offsets = args.cast(index, &SqlType::Interval(None))?;
        let offsets = offsets.as_primitive::<IntervalMonthDayNanoType>().iter().enumerate();
        let wanted = offsets.map(|(row, offset)| offset.filter(|_| is_wanted(row)));
        return wanted.map(|offset| offset.map(by_interval).transpose()).collect();
    }
    let names = args.text(index)?;
    // Mostly one for all rows.
    let mut last: Option<(String, Zone)> = None;
    let mut zone = |name: &str| match &last {
        Some((known, zone)) if known == name => Ok(*zone),
        _ => {
            let zone = by_name(name)?;
            last = Some((name.to_owned(), zone));
            Ok(zone)
        }
    };
    let wanted = names.iter().enumerate().map(|(row, name)| name.filter(|_| is_wanted(row)));
    wanted.map(|name| name.map(&mut zone).transpose()).collect()
}

/// `timezone(zone, t)`, which AT TIME ZONE means: a timestamp in that zone as an instant, and the other way round.
fn at_time_zone(context: &Arc<FunctionContext>) -> Function {
    let style = context.style.clone();
    let returns = |types: &[SqlType]| {
        Ok(match types.get(1) {
            Some(SqlType::Timestamp(_)) => SqlType::Timestamptz(None),
            Some(SqlType::Time(_)) => return Err(Error::unsupported("the type time with time zone")),
            _ => SqlType::Timestamp(None),
        })
    };
    Function::typed("timezone", Volatility::Stable, returns, move |args| {
        let is_local = *args.ty(1) == SqlType::Timestamp(None);
        let (from, to) = match args.ty(1) {
            SqlType::Timestamp(_) => (SqlType::Timestamp(None), SqlType::Timestamp(None)),
            SqlType::Unknown => (SqlType::Text, SqlType::Timestamptz(None)),
            ty => (ty.clone(), SqlType::Timestamptz(None)),
        };
        let times = cast_array(args.array(1), &from, &to, CastContext::Explicit, &style)?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        // A row without a time has none in whatever zone.
        let zones = zones(args, 0, |row| times.is_valid(row))?;
        let moved = times.iter().zip(zones).map(|(time, zone)| match (time, zone) {
            (Some(time), Some(zone)) => {
                let moved = if is_local { zone.instant_us(time) } else { zone.local_us(time) };
                moved.map(Some).ok_or_else(timestamp_out_of_range)
            }
            _ => Ok(None),
        });
        let moved = moved.collect::<Result<TimestampMicrosecondArray>>()?;
        Ok(if is_local { Arc::new(moved.with_timezone("+00:00")) as ArrayRef } else { Arc::new(moved) })
    })
}

fn timestamp_out_of_range() -> Error {
    Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "timestamp out of range")
}

/// `date_add(t, interval, zone)`: by the calendar of a zone, the session's if none is named.
fn moved(name: &str, sign: i32, context: &Arc<FunctionContext>) -> Function {
    let own = context.style.input.time_zone;
    let style = context.style.clone();
    Function::new(name, Volatility::Stable, SqlType::Timestamptz(None), move |args| {
        let times = cast_array(
            args.array(0),
            args.ty(0),
            &SqlType::Timestamptz(None),
            CastContext::Explicit,
            &style,
        )?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let steps = args.cast(1, &SqlType::Interval(None))?;
        let steps = steps.as_primitive::<IntervalMonthDayNanoType>();
        let names = if args.count() > 2 { Some(args.text(2)?) } else { None };
        let moved = (0..args.rows()).map(|row| {
            let known = names.as_ref().is_none_or(|names| names.is_valid(row));
            if times.is_null(row) || steps.is_null(row) || !known {
                return Ok(None);
            }
            let zone = names.as_ref().map_or(Ok(Zone::Named(own)), |names| by_name(names.value(row)))?;
            let step = negated(steps.value(row), sign).ok_or_else(out_of_range)?;
            zone.later(times.value(row), step).map(Some).ok_or_else(timestamp_out_of_range)
        });
        let moved = moved.collect::<Result<TimestampMicrosecondArray>>()?;
        Ok(Arc::new(moved.with_timezone("+00:00")))
    })
}

fn negated(step: IntervalMonthDayNano, sign: i32) -> Option<IntervalMonthDayNano> {
    let (months, days) = (step.months.checked_mul(sign)?, step.days.checked_mul(sign)?);
    Some(IntervalMonthDayNano::new(months, days, step.nanoseconds.checked_mul(sign.into())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_to_the_west() {
        assert_eq!(posix_offset_s("+05:30"), Some(19_800));
        assert_eq!(posix_offset_s("UTC-3"), Some(-10_800));
        assert_eq!(posix_offset_s("8"), Some(28_800));
        for name in ["", "Europe/Berlin", "x", "1:2:3:4"] {
            assert_eq!(posix_offset_s(name), None, "{name}");
        }
    }
}
