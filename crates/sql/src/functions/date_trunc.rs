//! date_trunc: times cut down to a unit, by the calendar of a zone.

use super::Args;
use super::dates::{HOUR_US, of_local, unit};
use crate::bind::{CastContext, CastStyle, cast_array};
use crate::calendar::{DAY_US, days_from_civil, instant_of_local_us, offset_at_s};
use arrow::array::*;
use arrow::datatypes::{IntervalMonthDayNano, IntervalMonthDayNanoType, TimestampMicrosecondType};
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

/// `date_bin(stride, source, origin)`: the beginning of the stride, counted from the origin, that a time lies in.
pub(super) fn binned(args: &Args<'_>) -> Result<ArrayRef> {
    let is_local = [1, 2].iter().all(|index| *args.ty(*index) == SqlType::Timestamp(None));
    let ty = if is_local { SqlType::Timestamp(None) } else { SqlType::Timestamptz(None) };
    let (strides, sources, origins) =
        (args.cast(0, &SqlType::Interval(None))?, args.cast(1, &ty)?, args.cast(2, &ty)?);
    let strides = strides.as_primitive::<IntervalMonthDayNanoType>();
    let sources = sources.as_primitive::<TimestampMicrosecondType>();
    let origins = origins.as_primitive::<TimestampMicrosecondType>();
    let begin = |row: usize| {
        let is_null = strides.is_null(row) || sources.is_null(row) || origins.is_null(row);
        if is_null {
            Ok(None)
        } else {
            bin(strides.value(row), sources.value(row), origins.value(row)).map(Some)
        }
    };
    let begins = (0..args.rows()).map(begin).collect::<Result<TimestampMicrosecondArray>>()?;
    Ok(if is_local { Arc::new(begins) as ArrayRef } else { Arc::new(begins.with_timezone("+00:00")) })
}

fn bin(stride: IntervalMonthDayNano, source_us: i64, origin_us: i64) -> Result<i64> {
    if stride.months != 0 {
        let message = "timestamps cannot be binned into intervals containing months or years";
        return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message));
    }
    let out_of_range =
        |what: &str| Error::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("{what} out of range"));
    let stride_us = i64::from(stride.days).checked_mul(DAY_US);
    let stride_us = stride_us.and_then(|us| us.checked_add(stride.nanoseconds / 1_000));
    let stride_us = stride_us.ok_or_else(|| out_of_range("interval"))?;
    if stride_us <= 0 {
        let message = "stride must be greater than zero";
        return Err(Error::new(SqlState::DATETIME_FIELD_OVERFLOW, message));
    }
    let since = source_us.checked_sub(origin_us).ok_or_else(|| out_of_range("interval"))?;
    let whole = since.checked_sub(since.rem_euclid(stride_us));
    whole.and_then(|whole| origin_us.checked_add(whole)).ok_or_else(|| out_of_range("timestamp"))
}

/// `date_trunc(unit, source)` and `date_trunc(unit, source, zone)`.
pub(super) fn truncated(args: &Args<'_>, style: &CastStyle) -> Result<ArrayRef> {
    let units = args.text(0)?;
    if *args.ty(1) == SqlType::Interval(None) {
        let values = args.array(1).as_primitive::<IntervalMonthDayNanoType>();
        let mut out = IntervalMonthDayNanoBuilder::with_capacity(args.rows());
        for row in 0..args.rows() {
            match units.is_null(row) || values.is_null(row) {
                true => out.append_null(),
                false => out.append_value(truncated_interval(units.value(row), values.value(row))?),
            }
        }
        return Ok(Arc::new(out.finish()));
    }
    let local_only = *args.ty(1) == SqlType::Timestamp(None);
    let from = match args.ty(1) {
        SqlType::Unknown => &SqlType::Text,
        ty => ty,
    };
    let to = if local_only { SqlType::Timestamp(None) } else { SqlType::Timestamptz(None) };
    let values = cast_array(args.array(1), from, &to, CastContext::Explicit, style)?;
    let values = values.as_primitive::<TimestampMicrosecondType>();
    let zones = if args.count() > 2 { Some(args.text(2)?) } else { None };
    let mut out = TimestampMicrosecondBuilder::with_capacity(args.rows());
    for row in 0..args.rows() {
        let no_zone = zones.as_ref().is_some_and(|zones| zones.is_null(row));
        if units.is_null(row) || values.is_null(row) || no_zone {
            out.append_null();
            continue;
        }
        let unit = units.value(row);
        out.append_value(match local_only {
            true => truncated_local(unit, values.value(row))?,
            false => {
                let zone = match &zones {
                    Some(zones) => super::time::zone(zones.value(row))?,
                    None => style.input.time_zone,
                };
                let instant = values.value(row);
                let local = instant + i64::from(offset_at_s(zone, instant)) * 1_000_000;
                instant_of_local_us(zone, truncated_local(unit, local)?)
            }
        });
    }
    let out = out.finish();
    Ok(match local_only {
        true => Arc::new(out),
        false => Arc::new(out.with_timezone("+00:00")),
    })
}

fn not_recognized(unit: &str, ty: &str) -> Error {
    let message = format!("unit \"{unit}\" not recognized for type {ty}");
    Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

fn truncated_local(name: &str, local_us: i64) -> Result<i64> {
    let parts = of_local(local_us);
    let days = parts.days.unwrap_or(0);
    let year = parts.year;
    let first = |year: i64, month: i64| days_from_civil(year, u32::try_from(month).unwrap_or(1), 1) * DAY_US;
    let down = |step: i64| local_us.div_euclid(step) * step;
    Ok(match unit(name) {
        "microseconds" => local_us,
        "milliseconds" => down(1_000),
        "second" => down(1_000_000),
        "minute" => down(60_000_000),
        "hour" => down(HOUR_US),
        "day" => days * DAY_US,
        "week" => (days - (days + 3).rem_euclid(7)) * DAY_US,
        "month" => first(year, parts.month),
        "quarter" => first(year, (parts.month - 1) / 3 * 3 + 1),
        "year" => first(year, 1),
        "decade" => first(year.div_euclid(10) * 10, 1),
        "century" => first((year - 1).div_euclid(100) * 100 + 1, 1),
        "millennium" => first((year - 1).div_euclid(1000) * 1000 + 1, 1),
        _ => return Err(not_recognized(name, "timestamp without time zone")),
    })
}

fn truncated_interval(name: &str, it: IntervalMonthDayNano) -> Result<IntervalMonthDayNano> {
    let months = |step: i32| IntervalMonthDayNano::new(it.months / step * step, 0, 0);
    let time = |step_us: i64| {
        IntervalMonthDayNano::new(it.months, it.days, it.nanoseconds / (step_us * 1000) * step_us * 1000)
    };
    Ok(match unit(name) {
        "microseconds" => it,
        "milliseconds" => time(1_000),
        "second" => time(1_000_000),
        "minute" => time(60_000_000),
        "hour" => time(HOUR_US),
        "day" => IntervalMonthDayNano::new(it.months, it.days, 0),
        "month" => months(1),
        "quarter" => months(3),
        "year" => months(12),
        "decade" => months(120),
        "century" => months(1_200),
        "millennium" => months(12_000),
        _ => return Err(not_recognized(name, "interval")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_begin_on_monday_and_centuries_with_their_first_year() {
        let at = |year, month, day| days_from_civil(year, month, day) * DAY_US;
        assert_eq!(truncated_local("week", at(2024, 2, 29) + HOUR_US).expect("a unit"), at(2024, 2, 26));
        assert_eq!(truncated_local("century", at(2000, 5, 5)).expect("a unit"), at(1901, 1, 1));
        assert!(truncated_local("fortnight", 0).is_err());
    }
}
