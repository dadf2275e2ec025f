//! Which arrays have items of others: `@>`, `<@` and `&&`. NULL is no item that another one has.

use super::{Args, Function};
use arrow::array::{Array, ArrayRef, AsArray, BooleanBuilder, Float32Array, Float64Array, ListArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlType};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

/// The items of two columns of arrays, comparable with each other.
struct Items<'a> {
    lists: &'a ListArray,
    rows: Rows,
}

impl Items<'_> {
    fn places(&self, row: usize) -> Range<usize> {
        let offsets = self.lists.value_offsets();
        offsets[row] as usize..offsets[row + 1] as usize
    }

    /// Those of a row that are not NULL.
    fn of(&self, row: usize) -> impl Iterator<Item = &[u8]> {
        self.places(row).filter(|at| self.lists.values().is_valid(*at)).map(|at| self.rows.row(at).data())
    }

    fn has_null(&self, row: usize) -> bool {
        self.places(row).any(|at| self.lists.values().is_null(at))
    }
}

/// -0 as 0.
fn zeros_alike(values: &ArrayRef) -> ArrayRef {
    match values.data_type() {
        DataType::Float32 => {
            let sum: Float32Array = values.as_primitive::<Float32Type>().unary(|value| value + 0.0);
            Arc::new(sum)
        }
        DataType::Float64 => {
            let sum: Float64Array = values.as_primitive::<Float64Type>().unary(|value| value + 0.0);
            Arc::new(sum)
        }
        _ => values.clone(),
    }
}

/// What `check` says of the items of each row's two arrays; NULL where one of them is.
fn pairs(args: &Args<'_>, check: fn(&Items<'_>, &Items<'_>, usize) -> bool) -> Result<ArrayRef> {
    let (left, right) = (args.array(0), args.array(1));
    let (Some(left), Some(right)) = (left.as_list_opt::<i32>(), right.as_list_opt::<i32>()) else {
        return Err(Error::internal("operands of @> or && are not arrays"));
    };
    let converter = RowConverter::new(vec![SortField::new(left.value_type())]);
    let converter =
        converter.map_err(|error| Error::unsupported(format!("comparing array items: {error}")))?;
    let items = |lists: &ListArray| {
        converter
            .convert_columns(&[zeros_alike(lists.values())])
            .map_err(|error| Error::internal(format!("array items do not compare: {error}")))
    };
    let left = Items { lists: left, rows: items(left)? };
    let right = Items { lists: right, rows: items(right)? };
    let mut out = BooleanBuilder::with_capacity(args.rows());
    for row in 0..args.rows() {
        let known = left.lists.is_valid(row) && right.lists.is_valid(row);
        out.append_option(known.then(|| check(&left, &right, row)));
    }
    Ok(Arc::new(out.finish()))
}

fn has_all(left: &Items<'_>, right: &Items<'_>, row: usize) -> bool {
    if right.has_null(row) {
        return false;
    }
    let own: HashSet<&[u8]> = left.of(row).collect();
    right.of(row).all(|item| own.contains(item))
}

fn has_any(left: &Items<'_>, right: &Items<'_>, row: usize) -> bool {
    let own: HashSet<&[u8]> = left.of(row).collect();
    right.of(row).any(|item| own.contains(item))
}

pub(super) fn functions() -> Vec<Function> {
    let test = |name: &str, check: fn(&Items<'_>, &Items<'_>, usize) -> bool| {
        Function::new(name, Volatility::Immutable, SqlType::Bool, move |args| pairs(args, check))
    };
    vec![
        test("arraycontains", has_all),
        test("arraycontained", |left, right, row| has_all(right, left, row)),
        test("arrayoverlap", has_any),
    ]
}
