//! Keys by which values compare whose stored form does not: intervals of equal length and JSON numbers of equal value.

use super::{Args, Function};
use crate::decode::canonical_jsonb;
use arrow::array::{Array, ArrayRef, AsArray, Decimal128Builder, StringBuilder, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{IntervalMonthDayNano, IntervalMonthDayNanoType};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::Volatility;
use datafusion::logical_expr::expr::ScalarFunction;
use quiver_base::{Result, SqlType};
use std::sync::Arc;

const INTERVAL_KEY: &str = "interval_key";
const JSONB_KEY: &str = "jsonb_key";

/// greatest or least of intervals.
pub(crate) fn interval_extreme(name: &'static str) -> Function {
    let greatest = name == "interval_greatest";
    Function::new(name, Volatility::Immutable, SqlType::Interval, move |args| choose(args, greatest))
}

/// What a value of the type compares by; `None` if by itself.
pub(crate) fn key(ty: &SqlType, value: Expr) -> Option<Expr> {
    let function = match ty {
        SqlType::Interval => interval_key(),
        SqlType::Jsonb => jsonb_key(),
        _ => return None,
    };
    Some(Expr::ScalarFunction(ScalarFunction::new_udf(function.udf(), vec![value])))
}

/// The type whose key an expression is.
pub(crate) fn is_key(expr: &Expr) -> Option<SqlType> {
    match expr {
        Expr::ScalarFunction(function) => match function.func.name() {
            INTERVAL_KEY => Some(SqlType::Interval),
            JSONB_KEY => Some(SqlType::Jsonb),
            _ => None,
        },
        _ => None,
    }
}

/// In nanoseconds, with months of 30 days of 24 hours.
fn length(value: IntervalMonthDayNano) -> i128 {
    const DAY: i128 = 86_400_000_000_000;
    (i128::from(value.months) * 30 + i128::from(value.days)) * DAY + i128::from(value.nanoseconds)
}

fn interval_key() -> Function {
    let ty = SqlType::Numeric(Some((38, 0)));
    Function::new(INTERVAL_KEY, Volatility::Immutable, ty, |args| {
        let intervals = args.array(0).as_primitive::<IntervalMonthDayNanoType>();
        let mut out = Decimal128Builder::with_capacity(args.rows()).with_precision_and_scale(38, 0)?;
        for row in 0..args.rows() {
            match intervals.is_null(row) {
                true => out.append_null(),
                false => out.append_value(length(intervals.value(row))),
            }
        }
        Ok(Arc::new(out.finish()))
    })
}

fn jsonb_key() -> Function {
    Function::new(JSONB_KEY, Volatility::Immutable, SqlType::Text, |args| {
        let texts = args.text(0)?;
        let mut out = StringBuilder::new();
        for text in &texts {
            match text {
                Some(text) => out.append_value(plain_numbers(&canonical_jsonb(text)?)),
                None => out.append_null(),
            }
        }
        Ok(Arc::new(out.finish()))
    })
}

/// JSON whose numbers have no zeros at the end of their fraction.
fn plain_numbers(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_length(rest),
            '-' | '0'..='9' => rest
                .find(|c: char| !matches!(c, '-' | '+' | '.' | 'e' | 'E' | '0'..='9'))
                .unwrap_or(rest.len()),
            other => other.len_utf8(),
        };
        let (part, after) = rest.split_at(length);
        let number = first != '"' && part.contains('.') && !part.contains(['e', 'E']);
        let part = if number { part.trim_end_matches('0').trim_end_matches('.') } else { part };
        out.push_str(if part == "-0" { "0" } else { part });
        rest = after;
    }
    out
}

/// How long the string at the beginning is, with its quotes.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn choose(args: &Args<'_>, greatest: bool) -> Result<ArrayRef> {
    let all: Vec<ArrayRef> =
        (0..args.count()).map(|at| args.cast(at, &SqlType::Interval)).collect::<Result<_>>()?;
    let Some(first) = all.first() else { return Ok(args.array(0).clone()) };
    let mut best = first.clone();
    for candidate in &all[1..] {
        let (old, new) = (
            best.as_primitive::<IntervalMonthDayNanoType>(),
            candidate.as_primitive::<IntervalMonthDayNanoType>(),
        );
        let count = args.rows();
        let picks = (0..count).map(|row| {
            let better = match (old.is_valid(row), new.is_valid(row)) {
                (_, false) => false,
                (false, true) => true,
                (true, true) if greatest => length(new.value(row)) > length(old.value(row)),
                (true, true) => length(new.value(row)) < length(old.value(row)),
            };
            u32::try_from(if better { count + row } else { row }).unwrap_or(u32::MAX)
        });
        let picks = UInt32Array::from_iter_values(picks);
        let both = arrow::compute::concat(&[best.as_ref(), candidate.as_ref()])?;
        best = take(&both, &picks, None)?;
    }
    Ok(best)
}
