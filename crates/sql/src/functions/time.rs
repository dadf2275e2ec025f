//! Clocks, time zones, intervals.

use super::session::FunctionContext;
use super::{Args, Function};
use crate::bind::{CastContext, cast_array};
use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, IntervalMonthDayNanoBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{IntervalMonthDayNano, IntervalMonthDayNanoType};
use chrono_tz::Tz;
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

fn instants(args: &Args<'_>, us: i64) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(vec![us; args.rows()]).with_timezone("+00:00"))
}

pub(super) fn functions(context: &Arc<FunctionContext>) -> Vec<Function> {
    let mut list = Vec::new();
    for name in ["now", "transaction_timestamp", "current_timestamp"] {
        let session = context.session.clone();
        list.push(Function::new(name, Volatility::Stable, SqlType::Timestamptz(None), move |args| {
            Ok(instants(args, session.transaction_start_us()))
        }));
    }
    let session = context.session.clone();
    list.push(Function::new(
        "statement_timestamp",
        Volatility::Stable,
        SqlType::Timestamptz(None),
        move |args| Ok(instants(args, session.statement_start_us())),
    ));
    list.push(Function::new("clock_timestamp", Volatility::Volatile, SqlType::Timestamptz(None), |args| {
        Ok(instants(args, now_us()))
    }));
    let (session, style) = (context.session.clone(), context.style.clone());
    list.push(Function::new("localtimestamp", Volatility::Stable, SqlType::Timestamp(None), move |args| {
        let now = instants(args, session.transaction_start_us());
        cast_array(
            &now,
            &SqlType::Timestamptz(None),
            &SqlType::Timestamp(None),
            CastContext::Explicit,
            &style,
        )
    }));
    let (session, style) = (context.session.clone(), context.style.clone());
    list.push(Function::new("current_date", Volatility::Stable, SqlType::Date, move |args| {
        let now = instants(args, session.transaction_start_us());
        let date =
            cast_array(&now, &SqlType::Timestamptz(None), &SqlType::Date, CastContext::Explicit, &style)?;
        Ok(Arc::new(date.as_primitive::<arrow::datatypes::Date32Type>().clone()) as Arc<Date32Array>
            as ArrayRef)
    }));
    let started = context.session.started_us;
    list.push(Function::new(
        "pg_postmaster_start_time",
        Volatility::Stable,
        SqlType::Timestamptz(None),
        move |args| Ok(instants(args, started)),
    ));
    list.push(super::to_char::function(context.style.input.time_zone));
    list.extend(super::zones::functions(context));
    list.push(scaled("interval_mul", |part, factor| part * factor));
    list.push(scaled("interval_div", |part, factor| part / factor));
    list
}

/// A time zone by name.
pub(super) fn zone(name: &str) -> Result<Tz> {
    let found = chrono_tz::TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(name));
    found.copied().ok_or_else(|| {
        Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("time zone \"{name}\" not recognized"))
    })
}

/// An interval times or divided by a number; fractions of months become days, of days time.
fn scaled(name: &str, scale: fn(f64, f64) -> f64) -> Function {
    let by_division = name == "interval_div";
    Function::new(name, Volatility::Immutable, SqlType::Interval(None), move |args| {
        let intervals = args.array(0).as_primitive::<IntervalMonthDayNanoType>();
        let factors = args.float8(1)?;
        let mut out = IntervalMonthDayNanoBuilder::with_capacity(args.rows());
        for row in 0..args.rows() {
            if intervals.is_null(row) || factors.is_null(row) {
                out.append_null();
                continue;
            }
            let (value, factor) = (intervals.value(row), factors.value(row));
            if by_division && factor == 0.0 {
                return Err(Error::new(SqlState::DIVISION_BY_ZERO, "division by zero"));
            }
            out.append_value(scaled_value(value, factor, scale)?);
        }
        Ok(Arc::new(out.finish()))
    })
}

/// An interval's parts multiplied or divided by a number; 22008 past its range.
fn scaled_value(
    value: IntervalMonthDayNano,
    factor: f64,
    scale: fn(f64, f64) -> f64,
) -> Result<IntervalMonthDayNano> {
    // Remainders are rounded to microseconds where they go down a unit, as PostgreSQL does.
    let rounded = |x: f64| (x * 1e6).round_ties_even() / 1e6;
    let (months, days) = (scale(f64::from(value.months), factor), scale(f64::from(value.days), factor));
    let (whole_months, mut whole_days) = (months.trunc(), days.trunc());
    let extra_days = rounded((months - whole_months) * 30.0);
    let mut seconds = rounded((days - whole_days + extra_days - extra_days.trunc()) * 86_400.0);
    if seconds.abs() >= 86_400.0 {
        whole_days += (seconds / 86_400.0).trunc();
        seconds -= (seconds / 86_400.0).trunc() * 86_400.0;
    }
    whole_days += extra_days.trunc();
    #[allow(clippy::cast_precision_loss)] // as PostgreSQL computes it
    let micros = scale((value.nanoseconds / 1000) as f64, factor) + seconds * 1e6;
    let fits = whole_months.abs() <= f64::from(i32::MAX)
        && whole_days.abs() <= f64::from(i32::MAX)
        && micros.abs() < 9.2e15;
    if !fits {
        return Err(out_of_range());
    }
    #[allow(clippy::cast_possible_truncation)] // checked above
    Ok(IntervalMonthDayNano::new(
        whole_months as i32,
        whole_days as i32,
        (micros.round_ties_even() as i64) * 1000,
    ))
}

/// An interval divided by a number that is not 0; 22008 past its range.
pub(super) fn divided(value: IntervalMonthDayNano, factor: f64) -> Result<IntervalMonthDayNano> {
    scaled_value(value, factor, |part, factor| part / factor)
}

/// 22008.
pub(super) fn out_of_range() -> Error {
    Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range")
}
