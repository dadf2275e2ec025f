//! Trigonometry that fails where PostgreSQL's does, and that of degrees, which is exact at multiples of 30 and 45; and the error function.

use super::{Function, erf};
use arrow::datatypes::Float64Type;
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

pub(super) fn functions() -> Vec<Function> {
    vec![
        one("sin", |x| finite(x, f64::sin)),
        one("cos", |x| finite(x, f64::cos)),
        one("tan", |x| finite(x, f64::tan)),
        one("cot", |x| finite(x, |x| 1.0 / x.tan())),
        one("asin", |x| within_one(x, f64::asin)),
        one("acos", |x| within_one(x, f64::acos)),
        one("acosh", |x| match x {
            x if x < 1.0 => Err(out_of_range()),
            // Its square has no place in a double.
            x if x > 1e9 => Ok(x.ln() + std::f64::consts::LN_2),
            x => Ok(x.acosh()),
        }),
        one("atanh", |x| match x {
            // What the limit is, without what the C library may report of it.
            1.0 => Ok(f64::INFINITY),
            -1.0 => Ok(f64::NEG_INFINITY),
            // As the C library does: by the magnitude, so that both signs are alike.
            x => within_one(x, |x| {
                let a = x.abs();
                let twice = a + a;
                let sum = if a < 0.5 { twice + twice * a / (1.0 - a) } else { twice / (1.0 - a) };
                (0.5 * sum.ln_1p()).copysign(x)
            }),
        }),
        one("sind", |x| reduced(x, sine)),
        one("cosd", |x| reduced(x, cosine)),
        one("tand", |x| reduced(x, tangent)),
        one("cotd", |x| reduced(x, cotangent)),
        one("asind", |x| within_one(x, |x| if x < 0.0 { -arc_sine(-x) } else { arc_sine(x) })),
        one("acosd", |x| within_one(x, arc_cosine)),
        one("atand", |x| Ok(x.atan() / 1.0_f64.atan() * 45.0)),
        Function::new("atan2d", Volatility::Immutable, SqlType::Float8, |args| {
            let (y, x) = (args.float8(0)?, args.float8(1)?);
            let degrees = arrow::compute::binary::<_, _, _, Float64Type>(&y, &x, |y, x| {
                y.atan2(x) / 1.0_f64.atan() * 45.0
            })?;
            Ok(Arc::new(degrees))
        }),
        one("erf", |x| Ok(erf::erf(x))),
        one("erfc", |x| Ok(erf::erfc(x))),
    ]
}

fn one(name: &str, body: fn(f64) -> Result<f64>) -> Function {
    Function::new(name, Volatility::Immutable, SqlType::Float8, move |args| {
        Ok(Arc::new(args.float8(0)?.try_unary::<_, Float64Type, Error>(body)?))
    })
}

fn out_of_range() -> Error {
    Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "input is out of range")
}

fn finite(x: f64, body: fn(f64) -> f64) -> Result<f64> {
    if x.is_infinite() { Err(out_of_range()) } else { Ok(body(x)) }
}

fn within_one(x: f64, body: fn(f64) -> f64) -> Result<f64> {
    if x.abs() > 1.0 { Err(out_of_range()) } else { Ok(body(x)) }
}

/// An angle brought between 0 and 90 degrees, and what has become of its signs.
struct Reduced {
    angle: f64,
    /// Of functions that are odd.
    sign: f64,
    /// Of the half of the circle: cosines change theirs beyond 90 degrees.
    half: f64,
}

fn reduced(x: f64, body: fn(&Reduced) -> f64) -> Result<f64> {
    if x.is_nan() {
        return Ok(x);
    }
    if x.is_infinite() {
        return Err(out_of_range());
    }
    let mut it = Reduced { angle: x % 360.0, sign: 1.0, half: 1.0 };
    if it.angle < 0.0 {
        (it.angle, it.sign) = (-it.angle, -it.sign);
    }
    if it.angle > 180.0 {
        (it.angle, it.sign) = (360.0 - it.angle, -it.sign);
    }
    if it.angle > 90.0 {
        (it.angle, it.half) = (180.0 - it.angle, -it.half);
    }
    Ok(body(&it))
}

fn sine(it: &Reduced) -> f64 {
    it.sign * sine_of_quarter(it.angle)
}

fn cosine(it: &Reduced) -> f64 {
    it.half * cosine_of_quarter(it.angle)
}

fn tangent(it: &Reduced) -> f64 {
    let result = it.sign * it.half * (sine_of_quarter(it.angle) / cosine_of_quarter(it.angle) / tan_45());
    // There is no negative zero.
    if result == 0.0 { 0.0 } else { result }
}

fn cotangent(it: &Reduced) -> f64 {
    let at_45 = cosine_of_quarter(45.0) / sine_of_quarter(45.0);
    let result = it.sign * it.half * (cosine_of_quarter(it.angle) / sine_of_quarter(it.angle) / at_45);
    if result == 0.0 { 0.0 } else { result }
}

fn tan_45() -> f64 {
    sine_of_quarter(45.0) / cosine_of_quarter(45.0)
}

const RADIANS: f64 = 0.017_453_292_519_943_295;

/// 0 to 30 degrees, exact at both ends.
fn sine_to_30(x: f64) -> f64 {
    (x * RADIANS).sin() / (30.0 * RADIANS).sin() / 2.0
}

/// 0 to 60 degrees, exact at both ends.
fn cosine_to_60(x: f64) -> f64 {
    let one_minus = 1.0 - (x * RADIANS).cos();
    1.0 - one_minus / (1.0 - (60.0 * RADIANS).cos()) / 2.0
}

fn sine_of_quarter(x: f64) -> f64 {
    if x <= 30.0 { sine_to_30(x) } else { cosine_to_60(90.0 - x) }
}

fn cosine_of_quarter(x: f64) -> f64 {
    if x <= 60.0 { cosine_to_60(x) } else { sine_to_30(90.0 - x) }
}

/// Of 0 to 1, exact at 0, 0.5 and 1.
fn arc_sine(x: f64) -> f64 {
    if x <= 0.5 { x.asin() / 0.5_f64.asin() * 30.0 } else { 90.0 - x.acos() / 0.5_f64.acos() * 60.0 }
}

fn arc_cosine(x: f64) -> f64 {
    match x {
        x if x < 0.0 => 90.0 + arc_sine(-x),
        x if x <= 0.5 => 90.0 - x.asin() / 0.5_f64.asin() * 30.0,
        x => x.acos() / 0.5_f64.acos() * 60.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degrees_are_exact_where_they_can_be() {
        let of = |x: f64, body: fn(&Reduced) -> f64| reduced(x, body).expect("an angle");
        assert_eq!(
            [0.0, 30.0, 90.0, 150.0, 210.0, 270.0].map(|x| of(x, sine)),
            [0.0, 0.5, 1.0, 0.5, -0.5, -1.0]
        );
        assert_eq!([0.0, 60.0, 90.0, 120.0, 180.0].map(|x| of(x, cosine)), [1.0, 0.5, 0.0, -0.5, -1.0]);
        assert_eq!([45.0, 135.0, 225.0].map(|x| of(x, tangent)), [1.0, -1.0, 1.0]);
        assert_eq!(of(45.0, cotangent), 1.0);
        assert_eq!([0.0, 0.5, 1.0].map(arc_sine), [0.0, 30.0, 90.0]);
        assert_eq!([-1.0, -0.5, 0.0, 0.5, 1.0].map(arc_cosine), [180.0, 120.0, 90.0, 60.0, 0.0]);
        assert!(reduced(f64::INFINITY, sine).is_err());
    }
}
