//! pgvector's cast functions and the parts of its aggregates, as functions; and keys that sort as vectors and bit strings do.

use super::{Args, Function};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Float64Array, Float64Builder, Int64Array,
    ListArray, ListBuilder, StringArray, new_null_array,
};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::logical_expr::Volatility;
use quiver_base::bits::BitsRef;
use quiver_base::sparse::SparseRef;
use quiver_base::{Error, Result, SqlState, SqlType};
use quiver_exec::vector::{
    Dense, Vectors, cast_vectors, check_expected_dim, dense_column, halves, sparse_values,
};
use std::sync::Arc;

/// `name(value, typmod, explicit)`.
fn cast_function(name: &str, to: SqlType) -> Function {
    let result = to.clone();
    Function::new(name, Volatility::Immutable, result, move |args| {
        if args.array(0).data_type() == &DataType::Null {
            return Ok(new_null_array(&to.arrow_type(), args.rows()));
        }
        let is_null = |row: usize| (1..args.count()).any(|index| args.array(index).is_null(row));
        let nulls = (0..args.rows()).map(is_null).collect::<BooleanArray>();
        let values = arrow::compute::nullif(args.array(0), &nulls)?;
        let modifiers: Option<Int64Array> = (args.count() > 1).then(|| args.int8(1)).transpose()?;
        let modifier = |row: usize| modifiers.as_ref().filter(|it| it.is_valid(row)).map(|it| it.value(row));
        // An array of reals has no dimensions to check. What a vector has is looked at before its elements are.
        let checked = !matches!(to, SqlType::Array(_));
        let is_whole = |row: usize| match values.as_list_opt::<i32>() {
            // The cast itself says what is wrong with none, or with a NULL among them.
            Some(list) => list.value_length(row) > 0 && list.value(row).null_count() == 0,
            None => true,
        };
        for row in (0..values.len()).filter(|row| checked && values.is_valid(*row) && is_whole(*row)) {
            if let Some(dim) = modifier(row).and_then(|dim| usize::try_from(dim).ok()) {
                check_expected_dim(dim, dimensions(&values, row)?)?;
            }
        }
        cast_vectors(&values, args.ty(0), &to, true)
    })
}

fn dimensions(array: &ArrayRef, row: usize) -> Result<usize> {
    if let Some(list) = array.as_list_opt::<i32>() {
        return Ok(usize::try_from(list.value_length(row)).unwrap_or(0));
    }
    Ok(SparseRef::read(sparse_values(array)?.value(row))?.dim() as usize)
}

/// A running sum of `avg`: how many, then one sum an element.
fn state(list: &ListArray, row: usize, name: &str) -> Result<Vec<f64>> {
    let values = list.value(row);
    let values: &Float64Array = values.as_primitive::<Float64Type>();
    if values.is_empty() || values.null_count() > 0 {
        return Err(Error::new(SqlState::INTERNAL_ERROR, format!("{name}: expected state array")));
    }
    Ok(values.values().to_vec())
}

fn states(args: &Args<'_>, index: usize) -> Result<ListArray> {
    Ok(args.cast(index, &floats())?.as_list::<i32>().clone())
}

fn floats() -> SqlType {
    SqlType::Array(Box::new(SqlType::Float8))
}

/// Builds `double precision[]`.
fn sums(rows: usize, of: impl Fn(usize) -> Result<Option<Vec<f64>>>) -> Result<ArrayRef> {
    let mut out =
        ListBuilder::new(Float64Builder::new()).with_field(Arc::new(SqlType::Float8.field("item", true)));
    for row in 0..rows {
        let values = of(row)?;
        if values.iter().flatten().any(|value| value.is_infinite()) {
            return Err(Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow"));
        }
        out.values().append_slice(values.as_deref().unwrap_or_default());
        out.append(values.is_some());
    }
    Ok(Arc::new(out.finish()))
}

fn add(mut sums: Vec<f64>, count: f64, more: impl ExactSizeIterator<Item = f64>) -> Result<Vec<f64>> {
    if sums[0] == 0.0 {
        sums.truncate(1);
        sums.resize(more.len() + 1, 0.0);
    }
    check_expected_dim(sums.len() - 1, more.len())?;
    sums[0] += count;
    sums[1..].iter_mut().zip(more).for_each(|(sum, value)| *sum += value);
    Ok(sums)
}

fn accumulate(kind: Dense) -> Function {
    let name = format!("{}_accum", kind.name());
    let own = name.clone();
    Function::new(&name, Volatility::Immutable, floats(), move |args| {
        let (before, vectors) = (states(args, 0)?, Vectors::from_array(args.array(1))?);
        sums(args.rows(), |row| match (before.is_valid(row), vectors.row(row)) {
            (true, Some(vector)) => {
                let values = vector.iter().map(|value| f64::from(*value));
                add(state(&before, row, &own)?, 1.0, values).map(Some)
            }
            _ => Ok(None),
        })
    })
}

fn merge(kind: Dense) -> Function {
    let name = format!("{}_combine", kind.name());
    let own = name.clone();
    Function::new(&name, Volatility::Immutable, floats(), move |args| {
        let (left, right) = (states(args, 0)?, states(args, 1)?);
        sums(args.rows(), |row| {
            if left.is_null(row) || right.is_null(row) {
                return Ok(None);
            }
            let (a, b) = (state(&left, row, &own)?, state(&right, row, &own)?);
            if b[0] == 0.0 {
                return Ok(Some(a));
            }
            add(a, b[0], b[1..].iter().copied()).map(Some)
        })
    })
}

fn mean(kind: Dense) -> Function {
    let name = format!("{}_avg", kind.name());
    let own = name.clone();
    let ty = match kind {
        Dense::Vector => SqlType::Vector(None),
        Dense::Halfvec => SqlType::Halfvec(None),
    };
    let result = ty.arrow_type();
    Function::new(&name, Volatility::Immutable, ty, move |args| {
        let sums = states(args, 0)?;
        dense_column(&result, args.rows(), |row| {
            if sums.is_null(row) {
                return Ok(None);
            }
            let sums = state(&sums, row, &own)?;
            if sums[0] == 0.0 {
                return Ok(None);
            }
            let values: Vec<f32> = sums[1..].iter().map(|sum| (sum / sums[0]) as f32).collect();
            kind.check_dim(values.len())?;
            let values = if kind == Dense::Halfvec { halves(&values)? } else { values };
            values.iter().try_for_each(|value| kind.check_element(*value))?;
            Ok(Some(values))
        })
    })
}

/// Bytes that sort as the values do.
fn order_key(args: &Args<'_>) -> Result<ArrayRef> {
    let array = args.array(0);
    let mut out = BinaryBuilder::new();
    let mut key = Vec::new();
    let dense = match args.ty(0) {
        SqlType::Vector(_) | SqlType::Halfvec(_) => Some(Vectors::from_array(array)?),
        _ => None,
    };
    for row in 0..array.len() {
        if array.is_null(row) {
            out.append_null();
            continue;
        }
        key.clear();
        match (&dense, args.ty(0)) {
            (Some(vectors), _) => put_dense(vectors.row(row).unwrap_or_default(), &mut key),
            (None, SqlType::Sparsevec(_)) => {
                put_sparse(&SparseRef::read(sparse_values(array)?.value(row))?, &mut key)
            }
            (None, _) => put_bits(&BitsRef::read(sparse_values(array)?.value(row))?, &mut key),
        }
        out.append_value(&key);
    }
    Ok(Arc::new(out.finish()))
}

/// A float's bits so that they sort as numbers; the two zeros are one.
fn sortable(value: f32) -> [u8; 4] {
    let bits = (value + 0.0).to_bits();
    (if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }).to_be_bytes()
}

fn put_dense(vector: &[f32], key: &mut Vec<u8>) {
    for value in vector {
        key.push(1);
        key.extend(sortable(*value));
    }
    key.push(0);
}

/// What is below zero at an early place is less than at a late one, what is above zero more; the end is a zero that goes on
/// until the dimension.
fn put_sparse(value: &SparseRef<'_>, key: &mut Vec<u8>) {
    for (index, element) in value.iter() {
        if element < 0.0 {
            key.push(0);
            key.extend(index.to_be_bytes());
            key.push(1);
        } else {
            key.push(1);
            key.extend((!index).to_be_bytes());
        }
        key.extend(sortable(element));
    }
    key.push(0);
    key.extend(value.dim().to_be_bytes());
    key.push(0);
}

/// Bytes with a mark after zeros, so that the end is less than whatever goes on; then the length.
fn put_bits(bits: &BitsRef<'_>, key: &mut Vec<u8>) {
    for byte in bits.bytes() {
        key.push(*byte);
        if *byte == 0 {
            key.push(1);
        }
    }
    key.extend([0, 0]);
    key.extend(bits.len().to_be_bytes());
}

pub(super) fn functions() -> Vec<Function> {
    let (vector, halfvec, sparsevec) =
        (SqlType::Vector(None), SqlType::Halfvec(None), SqlType::Sparsevec(None));
    let reals = SqlType::Array(Box::new(SqlType::Float4));
    let mut all: Vec<Function> = [
        ("vector", &vector),
        ("halfvec", &halfvec),
        ("sparsevec", &sparsevec),
        ("array_to_vector", &vector),
        ("array_to_halfvec", &halfvec),
        ("array_to_sparsevec", &sparsevec),
        ("vector_to_float4", &reals),
        ("halfvec_to_float4", &reals),
        ("vector_to_halfvec", &halfvec),
        ("vector_to_sparsevec", &sparsevec),
        ("halfvec_to_vector", &vector),
        ("halfvec_to_sparsevec", &sparsevec),
        ("sparsevec_to_vector", &vector),
        ("sparsevec_to_halfvec", &halfvec),
    ]
    .map(|(name, to)| cast_function(name, to.clone()))
    .into();
    for kind in [Dense::Vector, Dense::Halfvec] {
        all.extend([accumulate(kind), merge(kind), mean(kind)]);
    }
    all.push(Function::new("order_key", Volatility::Immutable, SqlType::Bytea, order_key));
    all.push(Function::new("order_key_text", Volatility::Immutable, SqlType::Text, |args| {
        let keys = order_key(args)?;
        let hex = |key: &[u8]| key.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let texts = keys.as_binary::<i32>().iter().map(|key| key.map(hex));
        Ok(Arc::new(texts.collect::<StringArray>()))
    }));
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // tests
    use super::*;
    use proptest::prelude::*;
    use quiver_base::{bits, sparse};

    fn sparse_of(values: &[f32]) -> Vec<u8> {
        let all = (0..).zip(values.iter().copied());
        sparse::encode(values.len() as u32, &all.filter(|(_, value)| *value != 0.0).collect::<Vec<_>>())
    }

    fn key(put: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
        let mut key = Vec::new();
        put(&mut key);
        key
    }

    proptest! {
        #[test]
        fn keys_sort_as_values(
            a in proptest::collection::vec(-2_i8..3, 1..6),
            b in proptest::collection::vec(-2_i8..3, 1..6),
        ) {
            let floats = |values: &[i8]| values.iter().map(|value| f32::from(*value)).collect::<Vec<_>>();
            let (a, b) = (floats(&a), floats(&b));
            let expected = a.partial_cmp(&b).unwrap();
            prop_assert_eq!(key(|out| put_dense(&a, out)).cmp(&key(|out| put_dense(&b, out))), expected);
            let (a, b) = (sparse_of(&a), sparse_of(&b));
            let (a, b) = (SparseRef::read(&a).unwrap(), SparseRef::read(&b).unwrap());
            prop_assert_eq!(a.compare(&b), expected);
            prop_assert_eq!(key(|out| put_sparse(&a, out)).cmp(&key(|out| put_sparse(&b, out))), expected);
        }

        #[test]
        fn bit_keys_sort_as_bits(
            (a, la, b, lb) in (any::<[u8; 3]>(), 0_u32..25, any::<[u8; 3]>(), 0_u32..25),
            zero in any::<bool>(),
        ) {
            let a = bits::encode(la, if zero { &[0; 3] } else { &a });
            let b = bits::encode(lb, if zero { &[0; 3] } else { &b });
            let (a, b) = (BitsRef::read(&a).unwrap(), BitsRef::read(&b).unwrap());
            let keys = key(|out| put_bits(&a, out)).cmp(&key(|out| put_bits(&b, out)));
            prop_assert_eq!(keys, a.compare(&b));
        }
    }
}
