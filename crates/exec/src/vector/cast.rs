//! Casts between pgvector's types, bit strings, arrays and integers, a column at a time, with pgvector's and PostgreSQL's
//! checks. What goes through text is not done here.

use super::{BitLength, Dense, Vectors, check_expected_dim, check_nnz};
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, FixedSizeListArray, Float16Array, Float32Array,
    Int32Array, Int64Array, ListArray, StringArray, StringBuilder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use half::f16;
use quiver_base::bits::{BitsRef, byte_count, encode};
use quiver_base::sparse::{self, SparseRef};
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

/// Whether PostgreSQL has a cast between two types of which one is a vector or a bit string.
pub fn has_cast(from: &SqlType, to: &SqlType) -> bool {
    use SqlType::{Array, Bit, Halfvec, Int4, Int8, Sparsevec, Varbit, Vector};
    match (from, to) {
        (Vector(_) | Halfvec(_) | Sparsevec(_), Vector(_) | Halfvec(_) | Sparsevec(_)) => true,
        (Array(item), Vector(_) | Halfvec(_) | Sparsevec(_)) => {
            matches!(**item, Int4 | SqlType::Float4 | SqlType::Float8 | SqlType::Numeric(_))
        }
        (Vector(_) | Halfvec(_), Array(item)) => matches!(**item, SqlType::Float4),
        (Bit(_) | Varbit(_), Bit(_) | Varbit(_)) => true,
        (Bit(_), Int4 | Int8) | (Int4 | Int8, Bit(_)) => true,
        _ => false,
    }
}

/// Casts a column; only for types that [`has_cast`] has a cast for. `explicit`: bit strings are cut and padded to their
/// length instead of refused.
pub fn cast_vectors(array: &ArrayRef, from: &SqlType, to: &SqlType, explicit: bool) -> Result<ArrayRef> {
    match (from, to) {
        (SqlType::Sparsevec(_), SqlType::Sparsevec(dim)) => sparse_to_sparse(array, *dim),
        (SqlType::Sparsevec(_), SqlType::Vector(dim) | SqlType::Halfvec(dim)) => {
            sparse_to_dense(array, to, *dim)
        }
        (_, SqlType::Sparsevec(dim)) => dense_to_sparse(array, from, *dim),
        (SqlType::Int4 | SqlType::Int8, SqlType::Bit(length)) => {
            integer_to_bit(array, from, length.unwrap_or(1))
        }
        (SqlType::Bit(_), SqlType::Int4 | SqlType::Int8) => bit_to_integer(array, to),
        (SqlType::Bit(_) | SqlType::Varbit(_), _) => bit_to_bit(array, to, explicit),
        _ => dense_to_dense(array, from, to),
    }
}

/// Text, a numeric array or a vector as `vector(dim)`, or as `vector` if `dim` is `None`.
pub fn to_vector(array: &ArrayRef, dim: Option<u16>) -> Result<ArrayRef> {
    dense_to_dense(array, &SqlType::Vector(None), &SqlType::Vector(dim))
}

/// A vector's text form.
pub fn to_text(array: &ArrayRef) -> Result<StringArray> {
    if let DataType::Utf8 = array.data_type() {
        return Ok(array.as_string::<i32>().clone());
    }
    let vectors = Vectors::from_array(array)?;
    let mut out = StringBuilder::new();
    let mut text = String::new();
    for row in 0..array.len() {
        match vectors.row(row) {
            Some(vector) => {
                text.clear();
                super::write(&mut text, vector);
                out.append_value(&text);
            }
            None => out.append_null(),
        }
    }
    Ok(out.finish())
}

/// A dense column or `real[]` of the given Arrow type from one optional list of elements a row. Elements of `halfvec` are
/// rounded by whoever computes them.
pub fn dense_column(
    ty: &DataType,
    rows: usize,
    compute: impl Fn(usize) -> Result<Option<Vec<f32>>>,
) -> Result<ArrayRef> {
    let (DataType::FixedSizeList(item, _) | DataType::List(item)) = ty else {
        return Err(Error::internal(format!("{ty} carries no vector")));
    };
    let dim = match ty {
        DataType::FixedSizeList(_, dim) => Some(usize::try_from(*dim).unwrap_or(0)),
        _ => None,
    };
    let mut floats: Vec<f32> = Vec::with_capacity(rows * dim.unwrap_or(0));
    let (mut ends, mut valid) = (vec![0_i32], Vec::with_capacity(rows));
    for row in 0..rows {
        let vector = compute(row)?;
        valid.push(vector.is_some());
        match (vector, dim) {
            (Some(vector), dim) => {
                check_expected_dim(dim.unwrap_or(vector.len()), vector.len())?;
                floats.extend_from_slice(&vector);
            }
            (None, Some(dim)) => floats.resize(floats.len() + dim, 0.0),
            (None, None) => {}
        }
        ends.push(i32::try_from(floats.len()).map_err(|_| too_much())?);
    }
    let items: ArrayRef = match item.data_type() {
        DataType::Float16 => Arc::new(floats.into_iter().map(f16::from_f32).collect::<Float16Array>()),
        _ => Arc::new(Float32Array::from(floats)),
    };
    let nulls = valid.contains(&false).then(|| NullBuffer::from(valid));
    Ok(match ty {
        DataType::FixedSizeList(_, dim) => {
            Arc::new(FixedSizeListArray::try_new(item.clone(), *dim, items, nulls)?)
        }
        _ => Arc::new(ListArray::try_new(item.clone(), OffsetBuffer::new(ends.into()), items, nulls)?),
    })
}

fn too_much() -> Error {
    Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "too many vector elements in one batch")
}

fn dense_to_dense(array: &ArrayRef, from: &SqlType, to: &SqlType) -> Result<ArrayRef> {
    let target = to.arrow_type();
    if *array.data_type() == target && from == to {
        return Ok(array.clone());
    }
    let vectors = Vectors::reading(array, dense(to))?;
    let narrows = dense(to) == Dense::Halfvec && dense(from) != Dense::Halfvec;
    dense_column(&target, array.len(), |row| {
        let Some(vector) = vectors.row(row) else { return Ok(None) };
        if narrows { halves(vector).map(Some) } else { Ok(Some(vector.to_vec())) }
    })
}

/// Which of the two dense types' words an error has.
fn dense(ty: &SqlType) -> Dense {
    if matches!(ty, SqlType::Halfvec(_)) { Dense::Halfvec } else { Dense::Vector }
}

/// Elements rounded to half floats; 22003 for one that is too large.
pub fn halves(vector: &[f32]) -> Result<Vec<f32>> {
    let half = |value: &f32| {
        let rounded = Dense::Halfvec.rounded(*value);
        if rounded.is_infinite() && !value.is_infinite() {
            let mut text = super::format(&[*value]);
            text.retain(|letter| !matches!(letter, '[' | ']'));
            return Err(super::parse::out_of_range("halfvec", &text));
        }
        Ok(rounded)
    };
    vector.iter().map(half).collect()
}

/// The values of a column of `sparsevec`.
pub fn sparse_values(array: &ArrayRef) -> Result<&BinaryArray> {
    array.as_binary_opt::<i32>().ok_or_else(|| {
        Error::internal(format!("{} carries no sparsevec and no bit string", array.data_type()))
    })
}

fn sparse_to_sparse(array: &ArrayRef, dim: Option<u32>) -> Result<ArrayRef> {
    if let Some(dim) = dim {
        for bytes in sparse_values(array)?.iter().flatten() {
            check_expected_dim(dim as usize, SparseRef::read(bytes)?.dim() as usize)?;
        }
    }
    Ok(array.clone())
}

fn sparse_to_dense(array: &ArrayRef, to: &SqlType, dim: Option<u16>) -> Result<ArrayRef> {
    let kind = dense(to);
    let values = sparse_values(array)?;
    dense_column(&to.arrow_type(), array.len(), |row| {
        if values.is_null(row) {
            return Ok(None);
        }
        let value = SparseRef::read(values.value(row))?;
        kind.check_dim(value.dim() as usize)?;
        check_expected_dim(dim.map_or(value.dim() as usize, usize::from), value.dim() as usize)?;
        let mut vector = vec![0.0; value.dim() as usize];
        for (index, element) in value.iter() {
            vector[index as usize] = element;
        }
        if kind == Dense::Halfvec { halves(&vector).map(Some) } else { Ok(Some(vector)) }
    })
}

fn dense_to_sparse(array: &ArrayRef, from: &SqlType, dim: Option<u32>) -> Result<ArrayRef> {
    let from_array = matches!(from, SqlType::Array(_));
    let vectors = Vectors::of_any_length(array)?;
    let mut out = BinaryBuilder::new();
    for row in 0..array.len() {
        let Some(vector) = vectors.row(row) else {
            out.append_null();
            continue;
        };
        if vector.is_empty() {
            return Err(Error::new(SqlState::DATA_EXCEPTION, "sparsevec must have at least 1 dimension"));
        }
        check_expected_dim(dim.map_or(vector.len(), |dim| dim as usize), vector.len())?;
        let elements: Vec<(u32, f32)> =
            (0..).zip(vector.iter().copied()).filter(|(_, value)| *value != 0.0).collect();
        if from_array {
            check_nnz(elements.len())?;
            elements.iter().try_for_each(|(_, value)| super::check_element("sparsevec", *value))?;
        }
        out.append_value(sparse::encode(vector.len() as u32, &elements));
    }
    Ok(Arc::new(out.finish()))
}

fn bit_to_bit(array: &ArrayRef, to: &SqlType, explicit: bool) -> Result<ArrayRef> {
    let Some(limit) = BitLength::of(to) else { return Ok(array.clone()) };
    let mut out = BinaryBuilder::new();
    for bytes in sparse_values(array)?.iter() {
        let Some(bytes) = bytes else {
            out.append_null();
            continue;
        };
        let value = BitsRef::read(bytes)?;
        if !explicit {
            limit.check(value.len())?;
        }
        let length = match limit {
            BitLength::Exactly(Some(length)) => length,
            BitLength::AtMost(Some(length)) => length.min(value.len()),
            _ => value.len(),
        };
        out.append_value(encode(length, value.bytes()));
    }
    Ok(Arc::new(out.finish()))
}

/// The lowest bits, the sign repeated in front of them.
fn integer_to_bit(array: &ArrayRef, from: &SqlType, length: u32) -> Result<ArrayRef> {
    let width = if *from == SqlType::Int4 { 32 } else { 64 };
    let wide = cast(array, &DataType::Int64)?;
    let mut out = BinaryBuilder::new();
    for value in wide.as_primitive::<Int64Type>() {
        let Some(value) = value else {
            out.append_null();
            continue;
        };
        let mut packed = vec![if value < 0 { 0xff } else { 0 }; byte_count(length)];
        for place in 0..length.min(width) {
            let at = length - 1 - place;
            let bit = (value >> place & 1) as u8;
            let (byte, shift) = ((at / 8) as usize, 7 - at % 8);
            packed[byte] = packed[byte] & !(1 << shift) | bit << shift;
        }
        out.append_value(encode(length, &packed));
    }
    Ok(Arc::new(out.finish()))
}

fn bit_to_integer(array: &ArrayRef, to: &SqlType) -> Result<ArrayRef> {
    let width = if *to == SqlType::Int4 { 32 } else { 64 };
    let read = |bytes: &[u8]| -> Result<i64> {
        let value = BitsRef::read(bytes)?;
        if value.len() > width {
            return Err(Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("{to} out of range")));
        }
        let bits = (0..value.len()).fold(0_u64, |bits, at| bits << 1 | u64::from(value.bit(at)));
        Ok(if width == 32 { i64::from(bits as u32 as i32) } else { bits as i64 })
    };
    let values = sparse_values(array)?.iter().map(|bytes| bytes.map(read).transpose());
    let values = values.collect::<Result<Vec<Option<i64>>>>()?;
    Ok(match to {
        SqlType::Int4 => {
            Arc::new(values.into_iter().map(|it| it.map(|it| it as i32)).collect::<Int32Array>())
        }
        _ => Arc::new(Int64Array::from(values)),
    })
}
