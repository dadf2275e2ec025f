//! Arithmetic that fails where PostgreSQL's fails: integers past their range, division by zero; and days as integers.

use super::{Args, Function};
use crate::bind::out_of_range;
use crate::calendar::{FIRST_DAY, LAST_DAY};
use arrow::array::{Array, ArrayRef, AsArray, Date32Array, Float64Array};
use arrow::compute::kernels::numeric;
use arrow::datatypes::{
    DataType, Date32Type, Decimal256Type, Int32Type, TimeUnit, TimestampMicrosecondType, i256,
};
use arrow::error::ArrowError;
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

/// `+ - * / %` of two operands of the type `ty`: an integer type, or double precision for `/`.
pub(crate) fn int_math(operator: &'static str, ty: &SqlType) -> Function {
    let result = ty.clone();
    let name = format!("{}_{operator}", ty.to_string().replace(' ', "_"));
    Function::new(&name, Volatility::Immutable, ty.clone(), move |args| {
        let left = args.cast(0, &result)?;
        let right = args.cast(1, &result)?;
        if matches!(operator, "/" | "%") {
            check_zero(&left, &right)?;
        }
        let computed = match operator {
            "+" => numeric::add(&left, &right),
            "-" => numeric::sub(&left, &right),
            "*" => numeric::mul(&left, &right),
            "/" => numeric::div(&left, &right),
            _ => numeric::rem(&left, &right),
        };
        let computed = computed.map_err(|error| match error {
            ArrowError::DivideByZero => division_by_zero(),
            ArrowError::ArithmeticOverflow(_) => out_of_range(&result),
            other => other.into(),
        })?;
        if matches!(result, SqlType::Float4 | SqlType::Float8) {
            check_range(&computed, &left, &right, operator)?;
        }
        Ok(computed)
    })
    .operator(operator)
}

/// 22003 where finite operands give infinity, or others than zero give zero.
fn check_range(result: &ArrayRef, left: &ArrayRef, right: &ArrayRef, operator: &str) -> Result<()> {
    let floats = |array: &ArrayRef| -> Result<Float64Array> {
        Ok(arrow::compute::cast(array, &DataType::Float64)?.as_primitive().clone())
    };
    let values = floats(result)?;
    if !values.values().iter().any(|value| value.is_infinite() || *value == 0.0) {
        return Ok(());
    }
    let (left, right) = (floats(left)?, floats(right)?);
    for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
        let (left, right) = (left.value(row), right.value(row));
        let vanishes = match operator {
            "/" => left == 0.0 || right.is_infinite(),
            _ => left == 0.0 || right == 0.0,
        };
        let unbounded = left.is_infinite() || right.is_infinite();
        super::exact::in_range(values.value(row), unbounded, vanishes)?;
    }
    Ok(())
}

fn division_by_zero() -> Error {
    Error::new(SqlState::DIVISION_BY_ZERO, "division by zero")
}

/// Floats divide by zero without complaint in Arrow. NULL / 0 is NULL.
fn check_zero(left: &ArrayRef, right: &ArrayRef) -> Result<()> {
    let right = arrow::compute::cast(right, &DataType::Float64)?;
    let right: &Float64Array = right.as_primitive();
    let zero =
        (0..right.len()).any(|row| right.is_valid(row) && left.is_valid(row) && right.value(row) == 0.0);
    if zero { Err(division_by_zero()) } else { Ok(()) }
}

/// `date - date`, `date + integer`, `date - integer`, `timestamp - timestamp`.
pub(crate) fn date_math(operator: &'static str, left: &SqlType, right: &SqlType) -> Option<Function> {
    let integer = matches!(right, SqlType::Int2 | SqlType::Int4 | SqlType::Int8);
    let function = match (left, operator, right) {
        (SqlType::Date, "-", SqlType::Date) => {
            Function::new("date_mi", Volatility::Immutable, SqlType::Int4, |args| {
                let (left, right) = (days(args, 0)?, days(args, 1)?);
                Ok(numeric::sub(&left, &right)?)
            })
        }
        (SqlType::Date, "+" | "-", _) if integer => {
            let name = if operator == "+" { "date_pli" } else { "date_mii" };
            Function::new(name, Volatility::Immutable, SqlType::Date, move |args| {
                let (left, right) = (args.cast(0, &SqlType::Date)?, args.int8(1)?);
                let days = left.as_primitive::<Date32Type>().iter().zip(&right).map(|(day, count)| {
                    let (Some(day), Some(count)) = (day, count) else { return Ok(None) };
                    let count = if operator == "+" { Some(count) } else { count.checked_neg() };
                    let moved = count.and_then(|count| i64::from(day).checked_add(count));
                    let moved = moved.filter(|day| (FIRST_DAY..=LAST_DAY).contains(day));
                    let moved = moved
                        .and_then(|day| i32::try_from(day).ok())
                        .ok_or_else(|| Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "date out of range"))?;
                    Ok(Some(moved))
                });
                Ok(Arc::new(days.collect::<Result<Date32Array>>()?))
            })
        }
        (SqlType::Timestamp(_), "-", SqlType::Timestamp(_))
        | (SqlType::Timestamptz(_), "-", SqlType::Timestamptz(_)) => {
            // PostgreSQL's names for these types: calls are resolved by them.
            let name = if *left == SqlType::Timestamp(None) { "timestamp_mi" } else { "timestamptz_mi" };
            Function::new(name, Volatility::Immutable, SqlType::Interval(None), timestamp_difference)
        }
        _ => return None,
    };
    Some(function.operator(operator))
}

fn days(args: &Args<'_>, index: usize) -> Result<ArrayRef> {
    let days = args.cast(index, &SqlType::Date)?;
    Ok(Arc::new(days.as_primitive::<Date32Type>().reinterpret_cast::<Int32Type>()))
}

/// Whole days and the rest, as PostgreSQL's timestamp_mi gives it.
fn timestamp_difference(args: &Args<'_>) -> Result<ArrayRef> {
    const DAY_US: i64 = 86_400_000_000;
    // What DataFusion's functions give may count nanoseconds and carry a zone or none.
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    let left = arrow::compute::cast(args.array(0), &micros)?;
    let right = arrow::compute::cast(args.array(1), &micros)?;
    let (left, right) =
        (left.as_primitive::<TimestampMicrosecondType>(), right.as_primitive::<TimestampMicrosecondType>());
    let mut out = arrow::array::IntervalMonthDayNanoBuilder::with_capacity(args.rows());
    for row in 0..args.rows() {
        if left.is_null(row) || right.is_null(row) {
            out.append_null();
            continue;
        }
        let us = left
            .value(row)
            .checked_sub(right.value(row))
            .ok_or_else(|| Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range"))?;
        let days = i32::try_from(us / DAY_US)
            .map_err(|_| Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range"))?;
        out.append_value(arrow::datatypes::IntervalMonthDayNano::new(0, days, (us % DAY_US) * 1000));
    }
    Ok(Arc::new(out.finish()))
}

/// A shift of a smallint, by as many bits as the processor looks at.
fn shift(name: &str, of: fn(i32, u32) -> i32) -> Function {
    Function::new(name, Volatility::Immutable, SqlType::Int2, move |args| {
        let (values, counts) = (args.int8(0)?, args.int8(1)?);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // bits past the type are lost
        let shifted = values
            .iter()
            .zip(counts.iter())
            .map(|(value, count)| Some(of(value? as i32, count? as u32) as i16));
        Ok(Arc::new(shifted.collect::<arrow::array::Int16Array>()))
    })
}

pub(super) fn functions() -> Vec<Function> {
    let mut list = vec![
        rounding("floor", Rounding::Down),
        rounding("ceil", Rounding::Up),
        rounding("ceiling", Rounding::Up),
    ];
    list.extend(vec![
        absolute(),
        truncation(),
        shift("int2shl", i32::wrapping_shl),
        shift("int2shr", i32::wrapping_shr),
        Function::typed(
            "mod",
            Volatility::Immutable,
            |types| Ok(super::array::common(types)),
            |args| {
                let ty = super::array::common(args.types);
                let left = args.cast(0, &ty)?;
                let right = args.cast(1, &ty)?;
                check_zero(&left, &right)?;
                Ok(numeric::rem(&left, &right)?)
            },
        ),
    ]);
    list
}

/// abs of any number; 22003 for the least integer.
fn absolute() -> Function {
    let returns = |types: &[SqlType]| Ok(types.first().cloned().unwrap_or(SqlType::Float8));
    Function::typed("abs", Volatility::Immutable, returns, |args| {
        let (values, ty) = (args.array(0), args.ty(0));
        let negated = numeric::neg(values).map_err(|_| out_of_range(ty))?;
        let negative = arrow::compute::kernels::cmp::lt(values, &negated)?;
        Ok(arrow::compute::kernels::zip::zip(&negative, &negated, values)?)
    })
}

/// trunc of a double, or of a numeric to so many digits after the point.
fn truncation() -> Function {
    let exact = |types: &[SqlType]| matches!(types.first(), Some(SqlType::Numeric(_)));
    let returns =
        move |types: &[SqlType]| Ok(if exact(types) { SqlType::Numeric(None) } else { SqlType::Float8 });
    Function::typed("trunc", Volatility::Immutable, returns, move |args| {
        if !exact(args.types) {
            return Ok(Arc::new(args.float8(0)?.unary::<_, arrow::datatypes::Float64Type>(f64::trunc)));
        }
        let places = if args.count() > 1 { Some(args.int8(1)?) } else { None };
        let mut out = super::numeric_math::builder(args.rows())?;
        for (row, value) in super::decimals::decimals(args, 0)?.into_iter().enumerate() {
            let place = places.as_ref().map_or(Some(0), |it| it.is_valid(row).then(|| it.value(row)));
            match (value, place) {
                (Some(value), Some(place)) => out.append_value(value.truncated(place).stored()?),
                _ => out.append_null(),
            }
        }
        Ok(Arc::new(out.finish()))
    })
}

#[derive(Clone, Copy)]
enum Rounding {
    Down,
    Up,
}

/// floor and ceil: of a numeric a numeric without digits after the point, of anything else a double.
fn rounding(name: &'static str, direction: Rounding) -> Function {
    Function::typed(
        name,
        Volatility::Immutable,
        |types| {
            Ok(match types.first() {
                Some(SqlType::Numeric(_)) => super::digits::WHOLE,
                _ => SqlType::Float8,
            })
        },
        move |args| {
            if !matches!(args.ty(0), SqlType::Numeric(_)) {
                let round = match direction {
                    Rounding::Down => f64::floor,
                    Rounding::Up => f64::ceil,
                };
                return Ok(Arc::new(args.float8(0)?.unary::<_, arrow::datatypes::Float64Type>(round)));
            }
            let values = args.cast(0, &SqlType::Numeric(None))?;
            let unit = i256::from_i128(10i128.pow(SqlType::NUMERIC_SCALE_DEFAULT.unsigned_abs().into()));
            let whole = values.as_primitive::<Decimal256Type>().unary::<_, Decimal256Type>(|value| {
                let quotient = value.wrapping_div(unit);
                let back = quotient.wrapping_mul(unit);
                match direction {
                    Rounding::Down if back > value => quotient.wrapping_sub(i256::ONE),
                    Rounding::Up if back < value => quotient.wrapping_add(i256::ONE),
                    _ => quotient,
                }
            });
            Ok(Arc::new(whole.with_precision_and_scale(SqlType::NUMERIC_PRECISION_MAX, 0)?))
        },
    )
}
