//! Decimal numbers of any length, for what numerics are computed with before they are rounded.

use super::Args;
use arrow::array::AsArray;
use arrow::datatypes::{Decimal256Type, i256};
use num_bigint::{BigInt, Sign};
use quiver_base::{Error, Result, SqlType};
use std::fmt;

/// `digits` times ten to the power of `-scale`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decimals {
    digits: BigInt,
    scale: i64,
}

/// An argument's values, without zeros at the end of their fractions.
pub(super) fn decimals(args: &Args<'_>, index: usize) -> Result<Vec<Option<Decimals>>> {
    let array = args.cast(index, &SqlType::Numeric(None))?;
    let values = array.as_primitive::<Decimal256Type>();
    Ok(values
        .iter()
        .map(|value| value.map(|value| of_stored(value, SqlType::NUMERIC_SCALE_DEFAULT)))
        .collect())
}

/// A stored number of some scale.
pub(super) fn of_stored(value: i256, scale: i8) -> Decimals {
    let digits = BigInt::from_signed_bytes_le(&value.to_le_bytes());
    Decimals { digits, scale: i64::from(scale) }.shortened()
}

fn ten_to(power: i64) -> BigInt {
    BigInt::from(10).pow(u32::try_from(power.max(0)).unwrap_or(0))
}

/// The quotient of whole numbers, rounded half away from zero.
fn divide(a: &BigInt, b: &BigInt) -> BigInt {
    let negative = (a.sign() == Sign::Minus) != (b.sign() == Sign::Minus);
    let (a, b) = (BigInt::from(a.magnitude().clone()), BigInt::from(b.magnitude().clone()));
    let quotient: BigInt = (a * 2 + &b) / (b * 2);
    if negative { -quotient } else { quotient }
}

impl From<i64> for Decimals {
    fn from(value: i64) -> Decimals {
        Decimals { digits: BigInt::from(value), scale: 0 }
    }
}

impl Decimals {
    pub(super) fn new(digits: BigInt, scale: i64) -> Decimals {
        Decimals { digits, scale }
    }

    fn shortened(mut self) -> Decimals {
        let ten = BigInt::from(10);
        if self.is_zero() {
            return Decimals::from(0);
        }
        while self.scale > 0 && &self.digits % &ten == BigInt::ZERO {
            self.digits /= &ten;
            self.scale -= 1;
        }
        self
    }

    /// As a numeric is stored.
    ///
    /// # Errors
    /// 0A000 if it has too many digits.
    pub(super) fn stored(&self) -> Result<i256> {
        let digits = self.rounded(i64::from(SqlType::NUMERIC_SCALE_DEFAULT)).digits;
        let too_long = || Error::unsupported("a number with more than 56 digits before the point");
        if digits.magnitude() >= ten_to(SqlType::NUMERIC_PRECISION_MAX.into()).magnitude() {
            return Err(too_long());
        }
        let bytes = digits.to_signed_bytes_le();
        let filler = if digits.sign() == Sign::Minus { 0xFF } else { 0 };
        let mut all = [filler; 32];
        all.get_mut(..bytes.len()).ok_or_else(too_long)?.copy_from_slice(&bytes);
        Ok(i256::from_le_bytes(all))
    }

    /// How many digits are after the point.
    pub(super) fn scale(&self) -> i64 {
        self.scale
    }

    pub(super) fn is_zero(&self) -> bool {
        self.digits == BigInt::ZERO
    }

    pub(super) fn is_negative(&self) -> bool {
        self.digits.sign() == Sign::Minus
    }

    pub(super) fn negated(&self) -> Decimals {
        Decimals { digits: -&self.digits, scale: self.scale }
    }

    /// Without its sign.
    pub(super) fn magnitude(&self) -> Decimals {
        Decimals { digits: BigInt::from(self.digits.magnitude().clone()), scale: self.scale }
    }

    /// Its value if it is whole and small.
    pub(super) fn to_integer(&self) -> Option<i32> {
        let whole = self.clone().shortened();
        if whole.scale > 0 { None } else { i32::try_from(&whole.digits).ok() }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.clone().shortened().scale == 0
    }

    pub(super) fn is_odd(&self) -> bool {
        self.is_whole() && self.truncated(0).digits.bit(0)
    }

    /// With so many digits after the point, rounded half away from zero.
    pub(super) fn rounded(&self, scale: i64) -> Decimals {
        let digits = match scale >= self.scale {
            true => &self.digits * ten_to(scale - self.scale),
            false => divide(&self.digits, &ten_to(self.scale - scale)),
        };
        Decimals { digits, scale }
    }

    /// Without the digits after a place: that many after the point, or before it if it is below zero.
    pub(super) fn truncated(&self, place: i64) -> Decimals {
        let dropped = (self.scale - place).max(0);
        let digits = &self.digits / ten_to(dropped);
        match place < 0 {
            true => Decimals { digits: digits * ten_to(-place), scale: 0 },
            false => Decimals { digits, scale: self.scale - dropped },
        }
    }

    /// In base 10,000: the weight of the first digit that counts, and that digit.
    pub(super) fn first_place(&self) -> (i64, u32) {
        let text = self.digits.magnitude().to_string();
        if text == "0" {
            return (0, 0);
        }
        // The decimal weight of the first digit, then of the group of four that it is in.
        let weight = i64::try_from(text.len()).unwrap_or(0) - 1 - self.scale;
        let place = weight.div_euclid(4);
        let count = usize::try_from(weight.rem_euclid(4) + 1).unwrap_or(1);
        let group: String = text.chars().chain("000".chars()).take(count).collect();
        (place, group.parse().unwrap_or(0))
    }

    /// The nearest double, about.
    pub(super) fn to_f64(&self) -> f64 {
        self.to_string().parse().unwrap_or(0.0)
    }

    /// The logarithm of the magnitude, about.
    pub(super) fn log10(&self) -> f64 {
        let text = self.digits.magnitude().to_string();
        let kept = text.len().min(17);
        let leading: f64 = text[..kept].parse().unwrap_or(1.0);
        #[allow(clippy::cast_precision_loss)] // numbers of digits are small
        let rest = (text.len() - kept) as f64 - self.scale as f64;
        leading.log10() + rest
    }

    pub(super) fn minus(&self, other: &Decimals) -> Decimals {
        let scale = self.scale.max(other.scale);
        Decimals { digits: self.rounded(scale).digits - other.rounded(scale).digits, scale }
    }

    pub(super) fn times(&self, other: &Decimals) -> Decimals {
        Decimals { digits: &self.digits * &other.digits, scale: self.scale + other.scale }
    }

    /// The quotient with so many digits after the point.
    pub(super) fn divided(&self, other: &Decimals, scale: i64) -> Decimals {
        let shift = scale + other.scale - self.scale;
        let digits = match shift >= 0 {
            true => divide(&(&self.digits * ten_to(shift)), &other.digits),
            false => divide(&self.digits, &(&other.digits * ten_to(-shift))),
        };
        Decimals { digits, scale }
    }

    pub(super) fn square_root(&self, scale: i64) -> Decimals {
        // One digit more decides how to round: a root is never right between two numbers.
        let wide = self.rounded((2 * scale + 2).max(self.scale));
        let even = if wide.scale % 2 == 0 { wide } else { wide.rounded(wide.scale + 1) };
        Decimals { digits: even.digits.sqrt(), scale: even.scale / 2 }.rounded(scale)
    }

    /// A whole power, with so many digits after the point.
    pub(super) fn power(&self, exponent: u32, scale: i64) -> Decimals {
        let (mut result, mut square, mut left) = (Decimals::from(1), self.clone(), exponent);
        while left > 0 {
            if left % 2 == 1 {
                result = result.times(&square).kept(scale);
            }
            square = if left > 1 { square.times(&square).kept(scale) } else { square };
            left /= 2;
        }
        result
    }

    /// Without the digits after the point that are past so many.
    fn kept(self, scale: i64) -> Decimals {
        if self.scale > scale { self.rounded(scale) } else { self }
    }

    /// The natural logarithm of what is above zero.
    pub(super) fn ln(&self, scale: i64) -> Decimals {
        // Roots bring it so near to 1 that the series is short; each doubles what is lost.
        let work = scale + 12;
        let (mut x, mut factor) = (self.rounded(work), BigInt::from(2));
        let (low, high) = (ten_to(work) * 9 / 10, ten_to(work) * 11 / 10);
        while x.digits < low || x.digits > high {
            x = x.square_root(work);
            factor *= 2;
        }
        // 2 (z + z³/3 + z⁵/5 + …) with z = (x - 1) / (x + 1).
        let one = Decimals { digits: ten_to(work), scale: work };
        let z = x.minus(&one).divided(&x.minus(&one.negated()), work);
        let square = z.times(&z).rounded(work);
        let (mut sum, mut term, mut divisor) = (BigInt::ZERO, z, 1);
        while !term.is_zero() {
            sum += divide(&term.digits, &BigInt::from(divisor));
            term = term.times(&square).rounded(work);
            divisor += 2;
        }
        Decimals { digits: sum * factor, scale: work }.rounded(scale)
    }

    /// e to this power, with so many digits after the point.
    pub(super) fn exp(&self, scale: i64) -> Decimals {
        const HALVINGS: u32 = 12;
        // What is squared again loses as many digits as the result has before the point, and some.
        #[allow(clippy::cast_possible_truncation)] // an exponent below 6000
        let work = scale + 12 + (self.to_f64().abs() as i64) / 2;
        let mut x = self.rounded(work);
        let mut halvings = 0;
        while halvings < HALVINGS || x.digits.magnitude() > ten_to(work).magnitude() {
            x.digits = divide(&x.digits, &BigInt::from(2));
            halvings += 1;
        }
        let (mut sum, mut term, mut n) = (ten_to(work), x.clone(), 1);
        while !term.is_zero() {
            sum += &term.digits;
            n += 1;
            term = term.times(&x).rounded(work);
            term.digits = divide(&term.digits, &BigInt::from(n));
        }
        let mut result = Decimals { digits: sum, scale: work };
        for _ in 0..halvings {
            result = result.times(&result).rounded(work);
        }
        result.rounded(scale)
    }
}

impl fmt::Display for Decimals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = usize::try_from(self.scale).unwrap_or(0);
        let text = format!("{:0>width$}", self.digits.magnitude().to_string(), width = scale + 1);
        let (whole, fraction) = text.split_at(text.len() - scale);
        let sign = if self.is_negative() { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        write!(f, "{sign}{whole}{point}{fraction}")
    }
}

#[cfg(test)]
impl std::str::FromStr for Decimals {
    type Err = num_bigint::ParseBigIntError;

    fn from_str(text: &str) -> std::result::Result<Decimals, Self::Err> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = format!("{whole}{fraction}").parse()?;
        Ok(Decimals { digits, scale: i64::try_from(fraction.len()).unwrap_or(0) })
    }
}
