//! generate_series as a list: of integers, numerics and points in time.

use super::session::FunctionContext;
use super::{Args, Function};
use crate::bind::{CastContext, CastStyle, cast_array};
use crate::calendar::{
    DAY_US, civil_from_days, days_from_civil, days_in_month, instant_of_local_us, offset_at_s,
};
use arrow::array::*;
use arrow::datatypes::{
    Decimal256Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, TimestampMicrosecondType, i256,
};
use chrono_tz::Tz;
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

/// Items of one list at most; in FROM, series of integers are made as they are read instead.
const LIMIT: usize = 50_000_000;

pub(super) fn functions(context: &Arc<FunctionContext>) -> Vec<Function> {
    let style = context.style.clone();
    vec![Function::typed(
        "generate_series_list",
        Volatility::Stable,
        |types| Ok(SqlType::Array(Box::new(item_type(types)))),
        move |args| match item_type(args.types) {
            SqlType::Numeric(_) => numerics(args),
            ty @ (SqlType::Timestamp(_) | SqlType::Timestamptz(_)) => times(args, &ty, &style),
            ty => integers(args, &ty),
        },
    )]
}

fn item_type(types: &[SqlType]) -> SqlType {
    let has = |wanted: fn(&SqlType) -> bool| types.iter().any(wanted);
    if has(|ty| matches!(ty, SqlType::Timestamptz(_) | SqlType::Date)) {
        return SqlType::Timestamptz(None);
    }
    if has(|ty| matches!(ty, SqlType::Timestamp(_))) {
        return SqlType::Timestamp(None);
    }
    if has(|ty| matches!(ty, SqlType::Numeric(_))) {
        return SqlType::Numeric(None);
    }
    if types.contains(&SqlType::Int8) { SqlType::Int8 } else { SqlType::Int4 }
}

fn too_long() -> Error {
    Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "generate_series is too long here")
}

fn no_step() -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, "step size cannot equal zero")
}

/// Collects the items of every row: from `start` on, as long as `next` gives one.
struct Items<T> {
    values: Vec<T>,
    counts: Vec<usize>,
}

impl<T: Copy + PartialOrd> Items<T> {
    fn new(rows: usize) -> Self {
        Items { values: Vec::new(), counts: Vec::with_capacity(rows) }
    }

    fn push_row(&mut self, start: T, stop: T, up: bool, next: impl Fn(T) -> Result<Option<T>>) -> Result<()> {
        let before = self.values.len();
        let mut at = start;
        while if up { at <= stop } else { at >= stop } {
            self.values.push(at);
            // Wide items reach the same memory sooner.
            if self.values.len() * size_of::<T>() > LIMIT * size_of::<i64>() {
                return Err(too_long());
            }
            match next(at)? {
                Some(following) => at = following,
                None => break,
            }
        }
        self.counts.push(self.values.len() - before);
        Ok(())
    }
}

fn list(item: &SqlType, items: ArrayRef, counts: Vec<usize>) -> Result<ArrayRef> {
    let offsets = arrow::buffer::OffsetBuffer::from_lengths(counts);
    Ok(Arc::new(ListArray::try_new(Arc::new(item.field("item", true)), offsets, items, None)?))
}

fn integers(args: &Args<'_>, item: &SqlType) -> Result<ArrayRef> {
    let (start, stop) = (args.int8(0)?, args.int8(1)?);
    let step = if args.count() > 2 { Some(args.int8(2)?) } else { None };
    let mut items = Items::<i64>::new(args.rows());
    for row in 0..args.rows() {
        if start.is_null(row) || stop.is_null(row) || step.as_ref().is_some_and(|step| step.is_null(row)) {
            items.counts.push(0);
            continue;
        }
        let step = step.as_ref().map_or(1, |step| step.value(row));
        if step == 0 {
            return Err(no_step());
        }
        items.push_row(start.value(row), stop.value(row), step > 0, |at| Ok(at.checked_add(step)))?;
    }
    let values = PrimitiveArray::<Int64Type>::from(items.values);
    list(item, arrow::compute::cast(&values, &item.arrow_type())?, items.counts)
}

fn numerics(args: &Args<'_>) -> Result<ArrayRef> {
    let item = SqlType::Numeric(None);
    let column = |index| Ok::<_, Error>(args.cast(index, &item)?.as_primitive::<Decimal256Type>().clone());
    let (start, stop) = (column(0)?, column(1)?);
    let step = if args.count() > 2 { Some(column(2)?) } else { None };
    let unit = i256::from_i128(10i128.pow(SqlType::NUMERIC_SCALE_DEFAULT.unsigned_abs().into()));
    let mut items = Items::<i256>::new(args.rows());
    for row in 0..args.rows() {
        if start.is_null(row) || stop.is_null(row) || step.as_ref().is_some_and(|step| step.is_null(row)) {
            items.counts.push(0);
            continue;
        }
        let step = step.as_ref().map_or(unit, |step| step.value(row));
        if step == i256::ZERO {
            return Err(no_step());
        }
        items.push_row(
            start.value(row),
            stop.value(row),
            step > i256::ZERO,
            |at| Ok(at.checked_add(step)),
        )?;
    }
    let values = PrimitiveArray::<Decimal256Type>::from(items.values)
        .with_precision_and_scale(SqlType::NUMERIC_PRECISION_MAX, SqlType::NUMERIC_SCALE_DEFAULT)?;
    list(&item, Arc::new(values), items.counts)
}

fn times(args: &Args<'_>, item: &SqlType, style: &CastStyle) -> Result<ArrayRef> {
    if args.count() < 3 {
        return Err(Error::new(
            SqlState::UNDEFINED_FUNCTION,
            format!("function generate_series({}, {}) does not exist", args.ty(0), args.ty(1)),
        ));
    }
    let cast = |index: usize, to: &SqlType| {
        cast_array(args.array(index), args.ty(index), to, CastContext::Explicit, style)
    };
    let (start, stop, step) = (cast(0, item)?, cast(1, item)?, cast(2, &SqlType::Interval(None))?);
    let (start, stop) =
        (start.as_primitive::<TimestampMicrosecondType>(), stop.as_primitive::<TimestampMicrosecondType>());
    let step = step.as_primitive::<IntervalMonthDayNanoType>();
    let zone = if *item == SqlType::Timestamptz(None) { style.input.time_zone } else { Tz::UTC };
    let mut items = Items::<i64>::new(args.rows());
    for row in 0..args.rows() {
        if start.is_null(row) || stop.is_null(row) || step.is_null(row) {
            items.counts.push(0);
            continue;
        }
        let step = step.value(row);
        let length = i128::from(step.months) * 30 * i128::from(DAY_US)
            + i128::from(step.days) * i128::from(DAY_US)
            + i128::from(step.nanoseconds / 1000);
        if length == 0 {
            return Err(no_step());
        }
        items.push_row(start.value(row), stop.value(row), length > 0, |at| {
            let out_of_range = || Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "timestamp out of range");
            later(at, step, zone).map(Some).ok_or_else(out_of_range)
        })?;
    }
    let values = PrimitiveArray::<TimestampMicrosecondType>::from(items.values);
    list(item, arrow::compute::cast(&values, &item.arrow_type())?, items.counts)
}

/// A point in time an interval later: months and days by the zone's calendar, the rest as it passes.
pub(super) fn later(at_us: i64, step: IntervalMonthDayNano, zone: Tz) -> Option<i64> {
    let mut at = at_us;
    if step.months != 0 || step.days != 0 {
        let local = at.checked_add(i64::from(offset_at_s(zone, at)) * 1_000_000)?;
        let (year, month, day) = civil_from_days(local.div_euclid(DAY_US));
        let months = year * 12 + i64::from(month) - 1 + i64::from(step.months);
        let (year, month) = (months.div_euclid(12), u32::try_from(months.rem_euclid(12)).ok()? + 1);
        let day = day.min(days_in_month(year, month));
        let days = days_from_civil(year, month, day).checked_add(i64::from(step.days))?;
        let local = days.checked_mul(DAY_US)?.checked_add(local.rem_euclid(DAY_US))?;
        at = instant_of_local_us(zone, local);
    }
    at.checked_add(step.nanoseconds / 1000)
}
