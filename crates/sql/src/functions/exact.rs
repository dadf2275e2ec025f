//! Functions of doubles and characters that fail, round or print where PostgreSQL's do and DataFusion's give something else.

use super::{Args, Function, numeric_math};
use arrow::array::{Array, ArrayRef, Float64Array, Float64Builder, StringArray};
use arrow::datatypes::Float64Type;
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

pub(super) fn functions() -> Vec<Function> {
    let root = |x: f64| {
        if x < 0.0 {
            let message = "cannot take square root of a negative number";
            return Err(Error::new(SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION, message));
        }
        Ok(x.sqrt())
    };
    let log = |base: f64, x: f64| {
        let base = logarithm(base, f64::ln)?;
        let quotient = logarithm(x, f64::ln)? / base;
        if base == 0.0 {
            return Err(Error::new(SqlState::DIVISION_BY_ZERO, "division by zero"));
        }
        Ok(quotient)
    };
    vec![
        of_number("ln", |x| logarithm(x, f64::ln), |_, _| Ok(0.0)),
        of_number("log10", |x| logarithm(x, f64::log10), |_, _| Ok(0.0)),
        of_number("log", |x| logarithm(x, f64::log10), log),
        of_number("exp", |x| in_range(x.exp(), x.is_infinite(), x.is_infinite()), |_, _| Ok(0.0)),
        of_number("sqrt", root, |_, _| Ok(0.0)),
        of_number("power", Ok, power),
        of_number("pow", Ok, power),
        one("round_even", |x| Ok(x.round_ties_even())),
        Function::new("to_hex_int4", Volatility::Immutable, SqlType::Text, |args| {
            let values = args.int8(0)?;
            #[allow(clippy::cast_possible_truncation)] // the argument is an integer of four bytes
            let digits = values.iter().map(|value| value.map(|value| format!("{:x}", value as i32)));
            Ok(Arc::new(digits.collect::<StringArray>()))
        }),
        Function::new("chr", Volatility::Immutable, SqlType::Text, |args| {
            let codes = args.int8(0)?;
            let texts =
                codes.iter().map(|code| code.map(character).transpose()).collect::<Result<Vec<_>>>()?;
            Ok(Arc::new(StringArray::from(texts)))
        }),
    ]
}

/// A function of one number or two: of numerics a numeric, of anything else a double.
fn of_number(name: &'static str, one: fn(f64) -> Result<f64>, two: fn(f64, f64) -> Result<f64>) -> Function {
    let exact = |types: &[SqlType]| types.iter().all(|ty| matches!(ty, SqlType::Numeric(_)));
    let returns =
        move |types: &[SqlType]| Ok(if exact(types) { SqlType::Numeric(None) } else { SqlType::Float8 });
    Function::typed(name, Volatility::Immutable, returns, move |args| {
        let computed = match (exact(args.types), args.count()) {
            (true, 1) => numeric_math::of_one(name, args),
            (true, _) => numeric_math::of_two(name, args),
            _ => None,
        };
        match (computed, args.count()) {
            (Some(computed), _) => computed,
            (None, 1) => apply(&args.float8(0)?, one),
            (None, _) => apply_two(args, two),
        }
    })
}

fn one(name: &str, body: fn(f64) -> Result<f64>) -> Function {
    Function::new(name, Volatility::Immutable, SqlType::Float8, move |args| apply(&args.float8(0)?, body))
}

fn apply(values: &Float64Array, body: fn(f64) -> Result<f64>) -> Result<ArrayRef> {
    let results: Float64Array = values.try_unary::<_, Float64Type, Error>(body)?;
    Ok(Arc::new(results))
}

fn apply_two(args: &Args<'_>, body: fn(f64, f64) -> Result<f64>) -> Result<ArrayRef> {
    let (left, right) = (args.float8(0)?, args.float8(1)?);
    let mut out = Float64Builder::with_capacity(args.rows());
    for row in 0..args.rows() {
        match left.is_null(row) || right.is_null(row) {
            true => out.append_null(),
            false => out.append_value(body(left.value(row), right.value(row))?),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// 22003 for a result that no finite operand should give: infinity, or zero where there is something left.
pub(super) fn in_range(result: f64, may_overflow: bool, may_underflow: bool) -> Result<f64> {
    let problem = if result.is_infinite() && !may_overflow {
        "overflow"
    } else if result == 0.0 && !may_underflow {
        "underflow"
    } else {
        return Ok(result);
    };
    Err(Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("value out of range: {problem}")))
}

fn logarithm(x: f64, log: fn(f64) -> f64) -> Result<f64> {
    let message = match x {
        0.0 => "cannot take logarithm of zero",
        x if x < 0.0 => "cannot take logarithm of a negative number",
        x => return Ok(log(x)),
    };
    Err(Error::new(SqlState::INVALID_ARGUMENT_FOR_LOGARITHM, message))
}

fn power(base: f64, exponent: f64) -> Result<f64> {
    let undefined = |message: &str| Err(Error::new(SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION, message));
    if base == 0.0 && exponent < 0.0 {
        return undefined("zero raised to a negative power is undefined");
    }
    if base < 0.0 && exponent.is_finite() && exponent.fract() != 0.0 {
        return undefined("a negative number raised to a non-integer power yields a complex result");
    }
    let unbounded = base.is_infinite() || exponent.is_infinite();
    in_range(base.powf(exponent), unbounded, unbounded || base == 0.0)
}

fn character(code: i64) -> Result<String> {
    let refused = |message: String| Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message));
    if code == 0 {
        return refused("null character not permitted".to_owned());
    }
    if code < 0 {
        return refused("character number must be positive".to_owned());
    }
    match u32::try_from(code).ok().and_then(char::from_u32) {
        Some(character) => Ok(character.to_string()),
        None => refused(format!("requested character too large for encoding: {code}")),
    }
}
