//! Keys by which values compare whose stored form does not sort or equal as they do: intervals, jsonb, arrays.

use super::json_key::document_key;
use super::{Args, Function};
use crate::bind::{CastContext, CastStyle, cast_array};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, Decimal128Builder, Float64Array, ListArray, StringArray,
    UInt32Array, make_comparator,
};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::{Float32Type, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType};
use arrow::row::{RowConverter, SortField};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, ScalarUDF, Volatility};
use quiver_base::{Result, SqlType};
use std::sync::{Arc, LazyLock};

const INTERVAL_KEY: &str = "interval_key";
const JSONB_KEY: &str = "jsonb_key";
const ARRAY_KEY: &str = "array_key";

/// greatest or least of values that compare by their keys.
pub(crate) fn extreme(greatest: bool, ty: &SqlType) -> Function {
    let name = format!("{} of {ty}", if greatest { "greatest" } else { "least" });
    let returned = ty.clone();
    Function::typed(
        &name,
        Volatility::Immutable,
        move |_| Ok(returned.clone()),
        move |args| choose(args, greatest),
    )
}

/// Whether values of the type compare by keys.
pub(crate) fn has_key(ty: &SqlType) -> bool {
    match ty {
        SqlType::Interval(_) | SqlType::Jsonb => true,
        SqlType::Array(item) => !crate::catalog::is_vector_like(item),
        _ => false,
    }
}

/// Whether even equal values of the type may be stored in different forms.
pub(crate) fn has_several_forms(ty: &SqlType) -> bool {
    match ty {
        SqlType::Array(item) => {
            matches!(**item, SqlType::Float4 | SqlType::Float8) || has_several_forms(item)
        }
        ty => has_key(ty),
    }
}

/// What a value of the type compares by; `None` if by itself.
pub(crate) fn key(ty: &SqlType, value: Expr) -> Option<Expr> {
    let function = match ty {
        SqlType::Interval(_) => interval_key(),
        SqlType::Jsonb => jsonb_key(),
        ty if has_key(ty) => array_key(),
        _ => return None,
    };
    Some(Expr::ScalarFunction(ScalarFunction::new_udf(function.udf(), vec![value])))
}

/// Whether an expression is the key of another.
pub(crate) fn is_key(expr: &Expr) -> bool {
    match expr {
        Expr::ScalarFunction(function) => {
            matches!(function.func.name(), INTERVAL_KEY | JSONB_KEY | ARRAY_KEY)
        }
        _ => false,
    }
}

/// A key that the frame of a window may end at, which wants text or a number: bytes as their digits.
pub(crate) fn frame_key(expr: Expr) -> Expr {
    match &expr {
        Expr::ScalarFunction(function) if matches!(function.func.name(), JSONB_KEY | ARRAY_KEY) => {
            let digits = Function::new("key_digits", Volatility::Immutable, SqlType::Text, |args| {
                let keys = args.array(0).as_binary::<i32>();
                let hex = |key: &[u8]| key.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
                Ok(Arc::new(keys.iter().map(|key| key.map(hex)).collect::<StringArray>()))
            });
            Expr::ScalarFunction(ScalarFunction::new_udf(digits.udf(), vec![expr]))
        }
        _ => expr,
    }
}

/// In nanoseconds, with months of 30 days of 24 hours.
pub(super) fn length(value: IntervalMonthDayNano) -> i128 {
    const DAY: i128 = 86_400_000_000_000;
    (i128::from(value.months) * 30 + i128::from(value.days)) * DAY + i128::from(value.nanoseconds)
}

fn interval_key() -> Function {
    let ty = SqlType::Numeric(Some((38, 0)));
    Function::new(INTERVAL_KEY, Volatility::Immutable, ty, |args| lengths(args.array(0)))
}

fn lengths(intervals: &ArrayRef) -> Result<ArrayRef> {
    let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
    let mut out = Decimal128Builder::with_capacity(intervals.len()).with_precision_and_scale(38, 0)?;
    for value in intervals {
        out.append_option(value.map(length));
    }
    Ok(Arc::new(out.finish()))
}

fn jsonb_key() -> Function {
    Function::new(JSONB_KEY, Volatility::Immutable, SqlType::Bytea, |args| documents(args.array(0)))
}

fn documents(texts: &ArrayRef) -> Result<ArrayRef> {
    let mut out = BinaryBuilder::new();
    for text in texts.as_string::<i32>() {
        out.append_option(text.map(document_key).transpose()?);
    }
    Ok(Arc::new(out.finish()))
}

fn array_key() -> Function {
    Function::new(ARRAY_KEY, Volatility::Immutable, SqlType::Bytea, |args| {
        array_keys(args.array(0), args.ty(0))
    })
}

/// Of each array its items in turn, NULL after all others, then what says that it ends, and its dimensions.
fn array_keys(arrays: &ArrayRef, ty: &SqlType) -> Result<ArrayRef> {
    let Some(lists) = arrays.as_list_opt::<i32>() else {
        return Ok(arrow::array::new_null_array(&SqlType::Bytea.arrow_type(), arrays.len()));
    };
    let (mut leaves, mut leaf_type) = (lists.values().clone(), ty);
    let mut levels = vec![lists.clone()];
    loop {
        if let SqlType::Array(item) = leaf_type {
            leaf_type = item;
        }
        let Some(inner) = leaves.as_list_opt::<i32>().cloned() else { break };
        leaves = inner.values().clone();
        levels.push(inner);
    }
    let leaves = comparable(leaves, leaf_type)?;
    let options = SortOptions { descending: false, nulls_first: false };
    let converter =
        RowConverter::new(vec![SortField::new_with_options(leaves.data_type().clone(), options)])?;
    let rows = converter.convert_columns(&[leaves])?;
    let mut out = BinaryBuilder::new();
    for row in 0..lists.len() {
        if lists.is_null(row) {
            out.append_null();
            continue;
        }
        let mut key = Vec::new();
        let mut range = row..row + 1;
        let mut dimensions = Vec::with_capacity(levels.len());
        for level in &levels {
            let count = range.len().max(1);
            range = items(level, range);
            dimensions.push(range.len() / count);
        }
        for leaf in range {
            // A row begins with a byte that is not 0, also for NULL.
            key.extend(rows.row(leaf).as_ref());
        }
        key.push(0);
        key.push(u8::try_from(dimensions.len()).unwrap_or(u8::MAX));
        for dimension in dimensions {
            key.extend(u32::try_from(dimension).unwrap_or(u32::MAX).to_be_bytes());
        }
        out.append_value(key);
    }
    Ok(Arc::new(out.finish()))
}

/// Where the items of neighbouring lists are.
fn items(lists: &ListArray, range: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let at = |row: usize| usize::try_from(lists.value_offsets()[row]).unwrap_or(0);
    at(range.start)..at(range.end)
}

/// Values whose stored forms compare as they do.
fn comparable(values: ArrayRef, ty: &SqlType) -> Result<ArrayRef> {
    let wider = |to: SqlType| cast_array(&values, ty, &to, CastContext::Explicit, &CastStyle::utc());
    Ok(match ty {
        SqlType::Interval(_) => lengths(&values)?,
        SqlType::Jsonb => documents(&values)?,
        SqlType::Numeric(_) => wider(SqlType::Numeric(None))?,
        SqlType::Bpchar(_) => wider(SqlType::Text)?,
        SqlType::Float4 | SqlType::Float8 => {
            let floats = wider(SqlType::Float8)?;
            let floats: Float64Array = floats.as_primitive::<Float64Type>().unary(one_form);
            Arc::new(floats)
        }
        _ => values,
    })
}

/// A float whose zero has no sign.
pub(crate) fn one_zero(value: Expr) -> ScalarFunction {
    static UDF: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let returns = |types: &[SqlType]| Ok(types[0].clone());
        let body = |args: &Args<'_>| Ok(unsigned_zeros(args.array(0)));
        Function::typed("one_zero", Volatility::Immutable, returns, body).udf()
    });
    ScalarFunction::new_udf(UDF.clone(), vec![value])
}

/// Floats whose zeros have no sign; anything else as it is.
pub(super) fn unsigned_zeros(values: &ArrayRef) -> ArrayRef {
    if let Some(reals) = values.as_primitive_opt::<Float32Type>() {
        return Arc::new(reals.unary::<_, Float32Type>(|value| value + 0.0));
    }
    match values.as_primitive_opt::<Float64Type>() {
        Some(doubles) => Arc::new(doubles.unary::<_, Float64Type>(|value| value + 0.0)),
        None => values.clone(),
    }
}

/// There is one zero and one NaN.
fn one_form(value: f64) -> f64 {
    match value {
        0.0 => 0.0,
        value if value.is_nan() => f64::NAN,
        value => value,
    }
}

/// By what values compare here.
fn keys_of(values: &ArrayRef, ty: &SqlType) -> Result<ArrayRef> {
    match ty {
        SqlType::Interval(_) => lengths(values),
        SqlType::Jsonb => documents(values),
        ty => array_keys(values, ty),
    }
}

fn choose(args: &Args<'_>, greatest: bool) -> Result<ArrayRef> {
    let mut best = args.array(0).clone();
    for at in 1..args.count() {
        let candidate = arrow::compute::cast(args.array(at), best.data_type())?;
        let (old, new) = (keys_of(&best, args.ty(0))?, keys_of(&candidate, args.ty(0))?);
        let compare = make_comparator(&new, &old, SortOptions::default())?;
        let count = args.rows();
        let picks = (0..count).map(|row| {
            let better = match (old.is_valid(row), new.is_valid(row)) {
                (_, false) => false,
                (false, true) => true,
                (true, true) if greatest => compare(row, row).is_gt(),
                (true, true) => compare(row, row).is_lt(),
            };
            u32::try_from(if better { count + row } else { row }).unwrap_or(u32::MAX)
        });
        let picks = UInt32Array::from_iter_values(picks);
        let both = arrow::compute::concat(&[best.as_ref(), candidate.as_ref()])?;
        best = take(&both, &picks, None)?;
    }
    Ok(best)
}
