//! Casts between `vector`, text and arrays, a column at a time.

use super::{Vectors, check_expected_dim, write};
use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListBuilder, Float32Builder, ListBuilder, StringArray, StringBuilder,
};
use arrow::datatypes::DataType;
use quiver_base::Result;
use std::sync::Arc;

/// Text, a numeric array or a vector as `vector(dim)`, or as `vector` if `dim` is `None`.
pub fn to_vector(array: &ArrayRef, dim: Option<u16>) -> Result<ArrayRef> {
    let Some(dim) = dim else { return to_list(array) };
    if let DataType::FixedSizeList(item, actual) = array.data_type()
        && *item.data_type() == DataType::Float32
        && *actual == i32::from(dim)
    {
        return Ok(array.clone());
    }
    let vectors = Vectors::from_array(array)?;
    let values = Float32Builder::with_capacity(array.len() * usize::from(dim));
    let mut out = FixedSizeListBuilder::with_capacity(values, i32::from(dim), array.len());
    for row in 0..array.len() {
        match vectors.row(row) {
            Some(vector) => {
                check_expected_dim(usize::from(dim), vector.len())?;
                out.values().append_slice(vector);
                out.append(true);
            }
            None => {
                out.values().append_slice(&vec![0.0; usize::from(dim)]);
                out.append(false);
            }
        }
    }
    Ok(Arc::new(out.finish()))
}

/// A vector as `real[]`.
pub fn to_real_array(array: &ArrayRef) -> Result<ArrayRef> {
    to_list(array)
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
                write(&mut text, vector);
                out.append_value(&text);
            }
            None => out.append_null(),
        }
    }
    Ok(out.finish())
}

fn to_list(array: &ArrayRef) -> Result<ArrayRef> {
    let vectors = Vectors::from_array(array)?;
    let mut out = ListBuilder::with_capacity(Float32Builder::new(), array.len());
    for row in 0..array.len() {
        if let Some(vector) = vectors.row(row) {
            out.values().append_slice(vector);
        }
        out.append(vectors.row(row).is_some());
    }
    Ok(Arc::new(out.finish()))
}
