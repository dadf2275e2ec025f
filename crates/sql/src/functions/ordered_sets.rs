//! What percentile_disc, percentile_cont and mode take of the sorted array of their values.

use super::{Args, Function};
use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::Float64Type;
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

fn array(item: SqlType) -> SqlType {
    SqlType::Array(Box::new(item))
}

fn item_of(types: &[SqlType]) -> SqlType {
    match types.first() {
        Some(SqlType::Array(item)) => (**item).clone(),
        _ => SqlType::Text,
    }
}

pub(super) fn functions() -> Vec<Function> {
    // Several fractions give an array of as many values.
    let discrete = |types: &[SqlType]| {
        Ok(match types.get(1) {
            Some(SqlType::Array(_)) => array(item_of(types)),
            _ => item_of(types),
        })
    };
    vec![
        Function::typed("mode_of", Volatility::Immutable, |types| Ok(item_of(types)), mode),
        Function::typed("percentile_disc_of", Volatility::Immutable, discrete, percentile_disc),
        Function::new("percentile_cont_of", Volatility::Immutable, array(SqlType::Float8), percentile_cont),
    ]
}

/// Where the values of a row are among the items of all rows; NULL counts for nothing.
fn places(lists: &ListArray, row: usize) -> Vec<usize> {
    if lists.is_null(row) {
        return Vec::new();
    }
    let at = |row: usize| usize::try_from(lists.value_offsets()[row]).unwrap_or(0);
    (at(row)..at(row + 1)).filter(|place| lists.values().is_valid(*place)).collect()
}

fn picked(lists: &ListArray, places: impl Iterator<Item = Option<usize>>) -> Result<ArrayRef> {
    let indices: UInt32Array =
        places.map(|place| place.and_then(|place| u32::try_from(place).ok())).collect();
    Ok(take(lists.values(), &indices, None)?)
}

/// The most frequent value, the first of them in the order.
fn mode(args: &Args<'_>) -> Result<ArrayRef> {
    let lists = args.array(0).as_list::<i32>();
    let compare = make_comparator(lists.values(), lists.values(), SortOptions::default())?;
    let mode_of = |row: usize| {
        let mut best: Option<(usize, usize)> = None;
        let places = places(lists, row);
        for run in places.chunk_by(|a, b| compare(*a, *b).is_eq()) {
            if best.is_none_or(|(_, count)| run.len() > count) {
                best = Some((run[0], run.len()));
            }
        }
        best.map(|(place, _)| place)
    };
    picked(lists, (0..args.rows()).map(mode_of))
}

fn checked(fraction: f64) -> Result<f64> {
    if (0.0..=1.0).contains(&fraction) {
        return Ok(fraction);
    }
    let message = format!("percentile value {fraction} is not between 0 and 1");
    Err(Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message))
}

/// The first value that so large a share of all values does not come after.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)] // counts of rows
fn discrete(places: &[usize], fraction: f64) -> Option<usize> {
    let number = (fraction * places.len() as f64).ceil() as usize;
    places.get(number.max(1) - 1).copied()
}

fn percentile_disc(args: &Args<'_>) -> Result<ArrayRef> {
    let lists = args.array(0).as_list::<i32>();
    if !matches!(args.ty(1), SqlType::Array(_)) {
        let fractions = args.float8(1)?;
        let mut found = Vec::with_capacity(args.rows());
        for row in 0..args.rows() {
            let fraction = fractions.is_valid(row).then(|| checked(fractions.value(row))).transpose()?;
            found.push(fraction.and_then(|fraction| discrete(&places(lists, row), fraction)));
        }
        return picked(lists, found.into_iter());
    }
    let mut found = Vec::new();
    let shape = each_fraction(args, |places, fraction| {
        found.push(fraction.and_then(|fraction| discrete(places, fraction)));
    })?;
    let items = picked(lists, found.into_iter())?;
    let field = Arc::new(item_of(&[args.ty(0).clone()]).field("item", true));
    Ok(Arc::new(ListArray::try_new(field, shape.0, items, Some(shape.1))?))
}

fn percentile_cont(args: &Args<'_>) -> Result<ArrayRef> {
    let lists = args.array(0).as_list::<i32>();
    let values = lists.values().as_primitive::<Float64Type>();
    let mut found = Float64Builder::new();
    let shape = each_fraction(args, |places, fraction| {
        found.append_option(fraction.and_then(|fraction| continuous(values, places, fraction)));
    })?;
    let field = Arc::new(SqlType::Float8.field("item", true));
    Ok(Arc::new(ListArray::try_new(field, shape.0, Arc::new(found.finish()), Some(shape.1))?))
}

/// Between the two values that the share falls between.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)] // counts of rows
fn continuous(values: &Float64Array, places: &[usize], fraction: f64) -> Option<f64> {
    let place = fraction * (places.len().checked_sub(1)? as f64);
    let (low, high) = (place.floor(), place.ceil());
    let value = |at: f64| places.get(at as usize).map(|place| values.value(*place));
    let (first, second) = (value(low)?, value(high)?);
    Some(if low == high { first } else { first + (place - low) * (second - first) })
}

/// Calls for each fraction of each row; the offsets of the rows, and which of them have values at all.
fn each_fraction(
    args: &Args<'_>,
    mut take: impl FnMut(&[usize], Option<f64>),
) -> Result<(OffsetBuffer<i32>, NullBuffer)> {
    let lists = args.array(0).as_list::<i32>();
    let fractions = args.cast(1, &array(SqlType::Float8))?;
    let fractions = fractions.as_list::<i32>();
    let (mut lengths, mut valid) = (Vec::new(), Vec::new());
    for row in 0..args.rows() {
        let places = places(lists, row);
        let known = !places.is_empty() && fractions.is_valid(row);
        valid.push(known);
        if !known {
            lengths.push(0);
            continue;
        }
        let wanted = fractions.value(row);
        let wanted = wanted.as_primitive::<Float64Type>();
        for fraction in wanted {
            take(&places, fraction.map(checked).transpose()?);
        }
        lengths.push(wanted.len());
    }
    Ok((OffsetBuffer::from_lengths(lengths), NullBuffer::from(valid)))
}
