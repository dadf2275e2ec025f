//! Functions of numeric whose results are rounded: division, roots, logarithms and powers, each to as many digits as
//! PostgreSQL gives (numeric.c: 16 that count at least), as far as a numeric has room for them here.

use super::decimals::{Decimals, decimals};
use super::{Args, Function};
use arrow::array::{ArrayRef, Decimal256Builder};
use datafusion::logical_expr::Volatility;
use num_bigint::BigInt;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

/// Digits that count, of every result.
const DIGITS: i64 = 16;

/// Digits of one place of PostgreSQL's numbers.
const PLACE: i64 = 4;

/// Digits after the point while a logarithm or a power is computed.
const WORK: i64 = 110;

/// ln(10), about.
const LN_10: f64 = std::f64::consts::LN_10;

/// log10(e), about.
const LOG10_E: f64 = std::f64::consts::LOG10_E;

/// `numeric / numeric`.
pub(crate) fn numeric_division() -> Function {
    two("numeric_div", quotient).operator("/")
}

/// A function of one numeric; `None` if there is none of that name.
pub(super) fn of_one(name: &str, args: &Args<'_>) -> Option<Result<ArrayRef>> {
    let body: fn(&Decimals) -> Result<Decimals> = match name {
        "ln" => |x| logarithm(x).map(|(ln, digits)| ln.rounded(digits)),
        "log" | "log10" => |x| logarithm_to(&Decimals::from(10), x),
        "exp" => exponential,
        "sqrt" => root,
        _ => return None,
    };
    Some(each(args, 1, |values| body(&values[0])))
}

/// A function of two numerics.
pub(super) fn of_two(name: &str, args: &Args<'_>) -> Option<Result<ArrayRef>> {
    let body = match name {
        "log" => logarithm_to,
        "power" | "pow" => power,
        _ => return None,
    };
    Some(each(args, 2, |values| body(&values[0], &values[1])))
}

fn two(name: &str, body: fn(&Decimals, &Decimals) -> Result<Decimals>) -> Function {
    Function::new(name, Volatility::Immutable, SqlType::Numeric(None), move |args| {
        each(args, 2, |values| body(&values[0], &values[1]))
    })
}

fn each(args: &Args<'_>, count: usize, body: impl Fn(&[Decimals]) -> Result<Decimals>) -> Result<ArrayRef> {
    let columns = (0..count).map(|at| decimals(args, at)).collect::<Result<Vec<_>>>()?;
    let mut out = builder(args.rows())?;
    for row in 0..args.rows() {
        let values: Option<Vec<Decimals>> = columns.iter().map(|column| column[row].clone()).collect();
        match values {
            Some(values) => out.append_value(body(&values)?.stored()?),
            None => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// Collects numerics of any precision.
pub(super) fn builder(rows: usize) -> Result<Decimal256Builder> {
    Ok(Decimal256Builder::with_capacity(rows)
        .with_precision_and_scale(SqlType::NUMERIC_PRECISION_MAX, SqlType::NUMERIC_SCALE_DEFAULT)?)
}

/// div_var with the scale of select_div_scale.
pub(super) fn quotient(a: &Decimals, b: &Decimals) -> Result<Decimals> {
    if b.is_zero() {
        return Err(Error::new(SqlState::DIVISION_BY_ZERO, "division by zero"));
    }
    let ((weight_a, first_a), (weight_b, first_b)) = (a.first_place(), b.first_place());
    let weight = weight_a - weight_b - i64::from(first_a <= first_b);
    let digits = (DIGITS - weight * PLACE).max(a.scale()).max(b.scale()).max(0);
    Ok(a.divided(b, digits))
}

fn root(x: &Decimals) -> Result<Decimals> {
    if x.is_negative() {
        let message = "cannot take square root of a negative number";
        return Err(Error::new(SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION, message));
    }
    let (weight, _) = x.first_place();
    let digits = (DIGITS - (weight * PLACE / 2 + 1)).max(x.scale()).max(0);
    Ok(x.square_root(digits))
}

/// The decimal weight of ln(x), about: estimate_ln_dweight.
fn weight_of_logarithm(x: &Decimals) -> i64 {
    if x.is_zero() || x.is_negative() {
        return 0;
    }
    let value = x.to_f64();
    if (0.9..=1.1).contains(&value) {
        let rest = x.minus(&Decimals::from(1));
        let (weight, first) = rest.first_place();
        return if rest.is_zero() { 0 } else { weight * PLACE + truncated(f64::from(first).log10()) };
    }
    truncated((x.log10() * LN_10).abs().log10())
}

#[allow(clippy::cast_possible_truncation)] // weights are small
fn truncated(value: f64) -> i64 {
    value as i64
}

fn check_logarithm(x: &Decimals) -> Result<()> {
    let message = match () {
        () if x.is_zero() => "cannot take logarithm of zero",
        () if x.is_negative() => "cannot take logarithm of a negative number",
        () => return Ok(()),
    };
    Err(Error::new(SqlState::INVALID_ARGUMENT_FOR_LOGARITHM, message))
}

/// ln(x), and how many digits after the point PostgreSQL gives.
fn logarithm(x: &Decimals) -> Result<(Decimals, i64)> {
    check_logarithm(x)?;
    let digits = (DIGITS - weight_of_logarithm(x)).max(x.scale()).max(0);
    Ok((x.ln(WORK), digits))
}

fn logarithm_to(base: &Decimals, x: &Decimals) -> Result<Decimals> {
    check_logarithm(base)?;
    check_logarithm(x)?;
    let ln_base = base.ln(WORK);
    if ln_base.is_zero() {
        return Err(Error::new(SqlState::DIVISION_BY_ZERO, "division by zero"));
    }
    let weight = weight_of_logarithm(x) - weight_of_logarithm(base);
    let digits = (DIGITS - weight).max(base.scale()).max(x.scale()).max(0);
    Ok(x.ln(WORK).divided(&ln_base, digits))
}

fn overflow() -> Error {
    Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")
}

fn exponential(x: &Decimals) -> Result<Decimals> {
    raised(x, x.scale())
}

/// e to the power of x, with so many digits after the point at least.
fn raised(x: &Decimals, least: i64) -> Result<Decimals> {
    let value = x.to_f64();
    if value.abs() >= 6000.0 {
        return if value > 0.0 { Err(overflow()) } else { Ok(Decimals::from(0)) };
    }
    let digits = (DIGITS - truncated(value * LOG10_E)).max(least).max(0);
    Ok(x.exp(WORK).rounded(digits))
}

fn power(base: &Decimals, exponent: &Decimals) -> Result<Decimals> {
    let undefined = |message: &str| Err(Error::new(SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION, message));
    if base.is_zero() && exponent.is_negative() {
        return undefined("zero raised to a negative power is undefined");
    }
    if base.is_negative() && !exponent.is_whole() {
        return undefined("a negative number raised to a non-integer power yields a complex result");
    }
    if let Some(whole) = exponent.to_integer() {
        return whole_power(base, whole, exponent.scale());
    }
    if base.is_zero() {
        return Ok(Decimals::from(0));
    }
    let least = base.scale().max(exponent.scale());
    let result = raised(&base.magnitude().ln(WORK).times(exponent), least)?;
    Ok(if base.is_negative() && exponent.is_odd() { result.negated() } else { result })
}

/// power_var_int.
fn whole_power(base: &Decimals, exponent: i32, least: i64) -> Result<Decimals> {
    if base.is_zero() {
        return Ok(Decimals::from(i64::from(exponent == 0)));
    }
    let weight = f64::from(exponent) * base.magnitude().log10();
    if weight > 131_072.0 {
        return Err(overflow());
    }
    let digits = (DIGITS - truncated(weight)).max(base.scale()).max(least).max(0);
    if weight > 80.0 {
        // No numeric of this server holds it.
        return Ok(Decimals::new(BigInt::from(10).pow(80), 0));
    }
    if weight < -100.0 {
        return Ok(Decimals::from(0));
    }
    let product = base.magnitude().power(exponent.unsigned_abs(), WORK);
    let result = match exponent < 0 {
        true => Decimals::from(1).divided(&product, digits.min(WORK)),
        false => product.rounded(digits),
    };
    Ok(if base.is_negative() && exponent % 2 != 0 { result.negated() } else { result })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Decimals {
        text.parse().expect("a number")
    }

    /// What PostgreSQL 16 gives.
    #[test]
    fn results_have_the_digits_of_postgresql() {
        let shown = |result: Result<Decimals>| result.expect("a number").to_string();
        let ln = |text| shown(logarithm(&number(text)).map(|(ln, digits)| ln.rounded(digits)));
        assert_eq!(ln("10"), "2.3025850929940457");
        assert_eq!(ln("1.5"), "0.4054651081081644");
        assert_eq!(ln("12345678901234567890.123456789"), "43.959837789202521");
        assert_eq!(ln("9223372036854775808"), "43.668272375276554");
        assert_eq!(shown(logarithm_to(&number("10"), &number("1.1"))), "0.04139268515822504");
        assert_eq!(
            shown(logarithm_to(&number("1.5"), &number("9223372036854775808"))),
            "107.699211355141651"
        );
        assert_eq!(shown(root(&number("9223372036854775808"))), "3037000499.9760497");
        assert_eq!(shown(root(&number("1.5"))), "1.224744871391589");
        assert_eq!(shown(power(&number("1.1"), &number("1.5"))), "1.1536897329871667");
        assert_eq!(shown(power(&number("2"), &number("0.5"))), "1.4142135623730950");
        assert_eq!(shown(power(&number("2"), &number("-2"))), "0.2500000000000000");
        assert_eq!(shown(quotient(&number("10"), &number("3"))), "3.3333333333333333");
        assert_eq!(shown(quotient(&number("-4"), &number("3"))), "-1.3333333333333333");
        assert_eq!(shown(quotient(&number("1"), &number("3"))), "0.33333333333333333333");
        assert_eq!(shown(exponential(&number("1"))), "2.7182818284590452");
        assert!(power(&number("0"), &number("-1")).is_err());
        assert!(exponential(&number("10000")).is_err());
    }
}
