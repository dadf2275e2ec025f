//! Functions of the digits of a numeric: scale, min_scale, trim_scale, div, factorial.

use super::{Args, Function};
use arrow::array::{Array, ArrayRef, AsArray, Decimal256Array, Int32Array};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, i256};
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

/// A numeric without digits after the point.
pub(super) const WHOLE: SqlType = SqlType::Numeric(Some((SqlType::NUMERIC_PRECISION_MAX, 0)));

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new("scale", Volatility::Immutable, SqlType::Int4, |args| {
            // A type that says its scale has it in every value; one that does not keeps no zeros at the end.
            match args.ty(0) {
                SqlType::Numeric(Some((_, scale))) => of_digits(args, |_| i32::from(*scale)),
                _ => of_digits(args, needed),
            }
        }),
        Function::new("min_scale", Volatility::Immutable, SqlType::Int4, |args| of_digits(args, needed)),
        Function::typed(
            "trim_scale",
            Volatility::Immutable,
            |_| Ok(SqlType::Numeric(None)),
            |args| args.cast(0, &SqlType::Numeric(None)),
        ),
        Function::new("div", Volatility::Immutable, WHOLE, quotient),
        Function::new("factorial", Volatility::Immutable, WHOLE, |args| {
            let values = args.int8(0)?;
            let factorials = values.iter().map(|value| value.map(factorial).transpose());
            let factorials = factorials.collect::<Result<Decimal256Array>>()?;
            Ok(Arc::new(factorials.with_precision_and_scale(SqlType::NUMERIC_PRECISION_MAX, 0)?))
        }),
    ]
}

/// A number's digits as an integer, and how many of them are after the point.
struct Digits {
    value: i256,
    scale: i8,
}

fn of_digits(args: &Args<'_>, of: impl Fn(Digits) -> i32) -> Result<ArrayRef> {
    let ty = match args.ty(0) {
        ty @ SqlType::Numeric(_) => ty.clone(),
        _ => SqlType::Numeric(None),
    };
    let array = args.cast(0, &ty)?;
    let value = |row: usize| match array.data_type() {
        DataType::Decimal128(_, scale) => Digits {
            value: i256::from_i128(array.as_primitive::<Decimal128Type>().value(row)),
            scale: *scale,
        },
        DataType::Decimal256(_, scale) => {
            Digits { value: array.as_primitive::<Decimal256Type>().value(row), scale: *scale }
        }
        _ => Digits { value: i256::ZERO, scale: 0 },
    };
    let answers = (0..array.len()).map(|row| array.is_valid(row).then(|| of(value(row))));
    Ok(Arc::new(answers.collect::<Int32Array>()))
}

/// How many digits after the point are no zeros at the end.
fn needed(digits: Digits) -> i32 {
    let ten = i256::from_i128(10);
    let (mut value, mut scale) = (digits.value, i32::from(digits.scale));
    while scale > 0 && value.wrapping_rem(ten) == i256::ZERO {
        value = value.wrapping_div(ten);
        scale -= 1;
    }
    scale
}

/// The quotient of two numerics, cut to an integer.
fn quotient(args: &Args<'_>) -> Result<ArrayRef> {
    let (left, right) = (args.cast(0, &SqlType::Numeric(None))?, args.cast(1, &SqlType::Numeric(None))?);
    let (left, right) = (left.as_primitive::<Decimal256Type>(), right.as_primitive::<Decimal256Type>());
    let pairs = left.iter().zip(right.iter());
    let quotients = pairs.map(|(left, right)| match (left, right) {
        (Some(_), Some(i256::ZERO)) => Err(Error::new(SqlState::DIVISION_BY_ZERO, "division by zero")),
        // Both count the same units.
        (Some(left), Some(right)) => Ok(Some(left.wrapping_div(right))),
        _ => Ok(None),
    });
    let quotients = quotients.collect::<Result<Decimal256Array>>()?;
    Ok(Arc::new(quotients.with_precision_and_scale(SqlType::NUMERIC_PRECISION_MAX, 0)?))
}

fn factorial(n: i64) -> Result<i256> {
    /// The last whose digits a numeric holds here.
    const LAST: i64 = 57;
    let problem = match n {
        ..0 => "factorial of a negative number is undefined",
        0..=LAST => return Ok((2..=n).fold(i256::ONE, |it, n| it.wrapping_mul(i256::from_i128(n.into())))),
        _ => "value overflows numeric format",
    };
    Err(Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, problem))
}
