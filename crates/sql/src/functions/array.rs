//! Arrays: comparison with ANY and ALL, subscripts, and PostgreSQL's names for what DataFusion calls otherwise.

use super::ordering::unsigned_zeros;
use super::{Args, Function};
use arrow::array::*;
use arrow::compute::kernels::cmp;
use arrow::compute::{SortOptions, take};
use arrow::datatypes::Int32Type;
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

/// ANY or ALL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantifier {
    /// True if one comparison is.
    Any,
    /// True if every one is.
    All,
}

/// `x op ANY (array)` and `x op ALL (array)`; operands are already of matching types.
pub(crate) fn compare_array(operator: &'static str, quantifier: Quantifier) -> Function {
    let word = if quantifier == Quantifier::Any { "any" } else { "all" };
    Function::new(&format!("{operator} {word}"), Volatility::Immutable, SqlType::Bool, move |args| {
        let list = match args.array(1).as_list_opt::<i32>() {
            Some(list) => list.clone(),
            None => return Ok(new_null_array(&SqlType::Bool.arrow_type(), args.rows())),
        };
        Ok(Arc::new(compare(args.array(0), &list, operator, quantifier)?))
    })
    .operator(if quantifier == Quantifier::Any { "= ANY" } else { "<> ALL" })
}

fn compare(
    left: &ArrayRef,
    list: &ListArray,
    operator: &str,
    quantifier: Quantifier,
) -> Result<BooleanArray> {
    let mut owner = UInt32Builder::new();
    let mut item = UInt32Builder::new();
    for row in 0..list.len() {
        let (start, end) = (list.value_offsets()[row], list.value_offsets()[row + 1]);
        for position in start..end {
            owner.append_value(u32::try_from(row).unwrap_or(u32::MAX));
            item.append_value(u32::try_from(position).unwrap_or(u32::MAX));
        }
    }
    let left_items = take(left, &owner.finish(), None)?;
    let right_items = take(list.values(), &item.finish(), None)?;
    let right_items = arrow::compute::cast(&right_items, left_items.data_type())?;
    let (left_items, right_items) = (unsigned_zeros(&left_items), unsigned_zeros(&right_items));
    let equal: BooleanArray = match operator {
        "=" => cmp::eq(&left_items, &right_items)?,
        "<>" => cmp::neq(&left_items, &right_items)?,
        "<" => cmp::lt(&left_items, &right_items)?,
        "<=" => cmp::lt_eq(&left_items, &right_items)?,
        ">" => cmp::gt(&left_items, &right_items)?,
        ">=" => cmp::gt_eq(&left_items, &right_items)?,
        "~~" => arrow::compute::kernels::comparison::like(&left_items, &right_items)?,
        "!~~" => arrow::compute::kernels::comparison::nlike(&left_items, &right_items)?,
        "~~*" => arrow::compute::kernels::comparison::ilike(&left_items, &right_items)?,
        "!~~*" => arrow::compute::kernels::comparison::nilike(&left_items, &right_items)?,
        "~" | "!~" | "~*" | "!~*" => super::regex::matches(&left_items, &right_items, operator)?,
        other => return Err(Error::unsupported(format!("{other} with ANY or ALL"))),
    };
    let decisive = quantifier == Quantifier::Any;
    let mut out = BooleanBuilder::with_capacity(list.len());
    let mut position = 0;
    for row in 0..list.len() {
        let count = (list.value_offsets()[row + 1] - list.value_offsets()[row]) as usize;
        let results = position..position + count;
        position += count;
        if list.is_null(row) {
            out.append_null();
            continue;
        }
        let mut unknown = false;
        let mut decided = false;
        for index in results {
            match equal.is_null(index) {
                true => unknown = true,
                false => decided |= equal.value(index) == decisive,
            }
        }
        match (decided, unknown) {
            (true, _) => out.append_value(decisive),
            (false, true) => out.append_null(),
            (false, false) => out.append_value(!decisive),
        }
    }
    Ok(out.finish())
}

/// The type that operands of different number types meet in.
pub(super) fn common(types: &[SqlType]) -> SqlType {
    let rank = |ty: &SqlType| match ty {
        SqlType::Int2 => 1,
        SqlType::Int4 => 2,
        SqlType::Int8 => 3,
        SqlType::Numeric(_) => 4,
        SqlType::Float4 => 5,
        SqlType::Float8 => 6,
        _ => 0,
    };
    let widest = types.iter().max_by_key(|ty| rank(ty)).cloned().unwrap_or(SqlType::Int4);
    match widest {
        SqlType::Numeric(_) => SqlType::Numeric(None),
        ty if rank(&ty) == 0 => SqlType::Int4,
        ty => ty,
    }
}

fn item_type(ty: &SqlType) -> SqlType {
    match ty {
        SqlType::Array(item) => (**item).clone(),
        SqlType::Int2Vector => SqlType::Int2,
        SqlType::OidVector => SqlType::Oid,
        _ => SqlType::Text,
    }
}

/// 42804 for pgvector's types and bit strings, which have no elements in PostgreSQL's eyes.
fn check_subscriptable(ty: &SqlType) -> Result<()> {
    if !crate::catalog::is_vector_like(ty) {
        return Ok(());
    }
    let ty = crate::bind::without_modifier(ty);
    let message = format!("cannot subscript type {ty} because it does not support subscripting");
    Err(Error::new(SqlState::DATATYPE_MISMATCH, message))
}

/// int2vector and oidvector count from 0, as in PostgreSQL.
fn first_subscript(ty: &SqlType) -> i64 {
    if matches!(ty, SqlType::Int2Vector | SqlType::OidVector) { 0 } else { 1 }
}

fn list(args: &Args<'_>, index: usize) -> Result<Option<ListArray>> {
    let array = match args.ty(index) {
        SqlType::Unknown => args.cast(index, &SqlType::Array(Box::new(SqlType::Text)))?,
        _ => args.array(index).clone(),
    };
    Ok(array.as_list_opt::<i32>().cloned())
}

/// The lengths of an array in each of its dimensions; none of an empty one.
fn dimensions(list: &ListArray, row: usize) -> Vec<i64> {
    let length = i64::from(list.value_length(row));
    if length == 0 {
        return Vec::new();
    }
    let mut found = vec![length];
    let first = usize::try_from(list.value_offsets()[row]).unwrap_or(0);
    if let Some(inner) = list.values().as_list_opt::<i32>() {
        found.extend(dimensions(inner, first));
    }
    found
}

fn of_dimension(args: &Args<'_>, value: impl Fn(i64, &SqlType) -> i64) -> Result<ArrayRef> {
    let wanted = args.int8(1)?;
    integers(args, |row, dimensions| {
        let wanted = if wanted.is_valid(row) { usize::try_from(wanted.value(row)).ok()? } else { 0 };
        let length = dimensions.get(wanted.checked_sub(1)?)?;
        Some(value(*length, args.ty(0)))
    })
}

fn integers(args: &Args<'_>, value: impl Fn(usize, &[i64]) -> Option<i64>) -> Result<ArrayRef> {
    let Some(list) = list(args, 0)? else {
        return Ok(new_null_array(&SqlType::Int4.arrow_type(), args.rows()));
    };
    let mut out = PrimitiveBuilder::<Int32Type>::with_capacity(args.rows());
    for row in 0..list.len() {
        let found = if list.is_null(row) { None } else { value(row, &dimensions(&list, row)) };
        out.append_option(found.and_then(|n| i32::try_from(n).ok()));
    }
    Ok(Arc::new(out.finish()))
}

/// `[1:2][1:3]`.
fn array_dims(args: &Args<'_>) -> Result<ArrayRef> {
    let Some(list) = list(args, 0)? else {
        return Ok(new_null_array(&SqlType::Text.arrow_type(), args.rows()));
    };
    let first = first_subscript(args.ty(0));
    let dims = (0..list.len()).map(|row| {
        let dimensions = if list.is_valid(row) { dimensions(&list, row) } else { Vec::new() };
        let shown: String =
            dimensions.iter().map(|length| format!("[{first}:{}]", length - 1 + first)).collect();
        (!shown.is_empty()).then_some(shown)
    });
    Ok(Arc::new(dims.collect::<StringArray>()))
}

/// What is made of the places at which each row's array has an item; an item that is NULL is found where one is.
fn places<T>(
    args: &Args<'_>,
    of: impl Fn(&mut dyn Iterator<Item = i32>) -> Result<T>,
) -> Result<Vec<Option<T>>> {
    let Some(list) = list(args, 0)? else { return Ok((0..args.rows()).map(|_| None).collect()) };
    let item = match args.ty(0) {
        SqlType::Array(item) => (**item).clone(),
        _ => SqlType::Text,
    };
    let wanted = args.cast(1, &item)?;
    let starts = if args.count() > 2 { Some(args.int8(2)?) } else { None };
    let equal = make_comparator(list.values(), &wanted, SortOptions::default())?;
    let row = |row: usize| {
        if list.is_null(row) {
            return Ok(None);
        }
        let first = match &starts {
            Some(starts) if starts.is_null(row) => {
                let message = "initial position must not be null";
                return Err(Error::new(SqlState::NULL_VALUE_NOT_ALLOWED, message));
            }
            Some(starts) => usize::try_from(starts.value(row) - 1).unwrap_or(0),
            None => 0,
        };
        let start = usize::try_from(list.value_offsets()[row]).unwrap_or(0);
        let length = usize::try_from(list.value_length(row)).unwrap_or(0);
        let found = (first..length).filter(|at| equal(start + at, row).is_eq());
        of(&mut found.filter_map(|at| i32::try_from(at + 1).ok())).map(Some)
    };
    (0..args.rows()).map(row).collect()
}

/// `array[n]`.
fn subscript(args: &Args<'_>) -> Result<ArrayRef> {
    let item = item_type(args.ty(0));
    let Some(list) = list(args, 0)? else {
        return Ok(new_null_array(&item.arrow_type(), args.rows()));
    };
    let subscripts = args.int8(1)?;
    let first = first_subscript(args.ty(0));
    let mut indices = UInt32Builder::with_capacity(args.rows());
    for row in 0..list.len() {
        let position = if subscripts.is_valid(row) { subscripts.value(row) - first } else { -1 };
        let inside = list.is_valid(row) && position >= 0 && position < i64::from(list.value_length(row));
        let index = i64::from(list.value_offsets()[row]) + position;
        indices.append_option(if inside { u32::try_from(index).ok() } else { None });
    }
    Ok(take(list.values(), &indices.finish(), None)?)
}

/// `array[a:b]`.
fn slice(args: &Args<'_>) -> Result<ArrayRef> {
    let Some(list) = list(args, 0)? else {
        return Ok(args.array(0).clone());
    };
    let (from, to) = (args.int8(1)?, args.int8(2)?);
    let mut indices = UInt32Builder::new();
    let mut lengths = Vec::with_capacity(list.len());
    for row in 0..list.len() {
        let count = i64::from(list.value_length(row));
        let mut length = 0;
        if list.is_valid(row) && from.is_valid(row) && to.is_valid(row) {
            let start = from.value(row).max(1);
            let end = to.value(row).min(count);
            for position in start..=end {
                let index = i64::from(list.value_offsets()[row]) + position - 1;
                indices.append_value(u32::try_from(index).unwrap_or(0));
                length += 1;
            }
        }
        lengths.push(length);
    }
    let items = take(list.values(), &indices.finish(), None)?;
    let field = match list.data_type() {
        arrow::datatypes::DataType::List(field) => field.clone(),
        _ => return Err(Error::internal("a list is no list")),
    };
    let offsets = arrow::buffer::OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(field, offsets, items, list.nulls().cloned())?))
}

/// The subscripts of a dimension as a list, backwards if asked: generate_subscripts before it is unnested.
fn subscripts(args: &Args<'_>) -> Result<ArrayRef> {
    let Some(list) = list(args, 0)? else {
        let ty = SqlType::Array(Box::new(SqlType::Int4));
        return Ok(new_null_array(&ty.arrow_type(), args.rows()));
    };
    let wanted = args.int8(1)?;
    let backwards = if args.count() > 2 { Some(args.bool(2)?) } else { None };
    let mut out = ListBuilder::new(PrimitiveBuilder::<Int32Type>::new())
        .with_field(Arc::new(SqlType::Int4.field("item", true)));
    let first = i32::try_from(first_subscript(args.ty(0))).unwrap_or(1);
    for row in 0..args.rows() {
        let dimensions = if list.is_valid(row) { dimensions(&list, row) } else { Vec::new() };
        let place = usize::try_from(wanted.value(row)).ok().and_then(|wanted| wanted.checked_sub(1));
        let length = place.and_then(|place| dimensions.get(place)).map_or(0, |length| *length);
        let end = i32::try_from(length).unwrap_or(i32::MAX).saturating_add(first);
        match backwards.as_ref().is_some_and(|it| it.value(row)) {
            true => out.values().append_slice(&(first..end).rev().collect::<Vec<_>>()),
            false => out.values().append_slice(&(first..end).collect::<Vec<_>>()),
        }
        out.append(true);
    }
    Ok(Arc::new(out.finish()))
}

pub(super) fn functions() -> Vec<Function> {
    let of_dimension = |name: &str, value: fn(i64, &SqlType) -> i64| {
        Function::new(name, Volatility::Immutable, SqlType::Int4, move |args| of_dimension(args, value))
    };
    vec![
        of_dimension("array_length", |length, _| length),
        of_dimension("array_upper", |length, ty| length - 1 + first_subscript(ty)),
        of_dimension("array_lower", |_, ty| first_subscript(ty)),
        Function::new("cardinality", Volatility::Immutable, SqlType::Int4, |args| {
            integers(args, |_, dimensions| {
                Some(if dimensions.is_empty() { 0 } else { dimensions.iter().product() })
            })
        }),
        Function::new("array_ndims", Volatility::Immutable, SqlType::Int4, |args| {
            integers(args, |_, dimensions| i64::try_from(dimensions.len()).ok().filter(|count| *count > 0))
        }),
        Function::new("array_dims", Volatility::Immutable, SqlType::Text, array_dims),
        Function::new("array_position", Volatility::Immutable, SqlType::Int4, |args| {
            let found = places(args, |places| Ok(places.next()))?;
            Ok(Arc::new(found.into_iter().map(Option::flatten).collect::<Int32Array>()))
        }),
        Function::new(
            "array_positions",
            Volatility::Immutable,
            SqlType::Array(Box::new(SqlType::Int4)),
            |args| {
                let item = Arc::new(SqlType::Int4.field("item", true));
                let mut out = ListBuilder::new(PrimitiveBuilder::<Int32Type>::new()).with_field(item);
                for found in places(args, |places| Ok(places.collect::<Vec<i32>>()))? {
                    found.iter().flatten().for_each(|place| out.values().append_value(*place));
                    out.append(found.is_some());
                }
                Ok(Arc::new(out.finish()))
            },
        ),
        Function::typed(
            "array_subscript",
            Volatility::Immutable,
            |types| check_subscriptable(&types[0]).map(|()| item_type(&types[0])),
            subscript,
        ),
        Function::typed(
            "array_slice_pg",
            Volatility::Immutable,
            |types| check_subscriptable(&types[0]).map(|()| types[0].clone()),
            slice,
        ),
        Function::new(
            "generate_subscripts_list",
            Volatility::Immutable,
            SqlType::Array(Box::new(SqlType::Int4)),
            subscripts,
        ),
    ]
}
