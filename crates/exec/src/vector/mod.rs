//! pgvector's `vector` as values: its text form, its checks and errors, and casts between Arrow's list types and text.
//! Knows no plans and no storage.

mod cast;
mod format;
mod parse;
mod rows;

pub use cast::{to_real_array, to_text, to_vector};
pub use format::{format, write};
pub use parse::{parse, parse_dim};
pub use rows::Vectors;

use arrow::array::{FixedSizeListArray, Float32Array};
use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

/// A constant `vector(n)`.
pub fn scalar(values: &[f32]) -> ScalarValue {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let values = Arc::new(Float32Array::from(values.to_vec()));
    let dim = values.len() as i32;
    ScalarValue::FixedSizeList(Arc::new(FixedSizeListArray::new(item, dim, values, None)))
}

/// The most dimensions, as in pgvector.
pub const DIM_MAX: usize = SqlType::VECTOR_DIM_MAX as usize;

/// `vector(expected)` got `actual` dimensions.
pub fn check_expected_dim(expected: usize, actual: usize) -> Result<()> {
    if expected == actual {
        return Ok(());
    }
    Err(Error::new(SqlState::DATA_EXCEPTION, format!("expected {expected} dimensions, not {actual}")))
}

/// Two operands must have as many dimensions.
pub fn check_same_dim(a: usize, b: usize) -> Result<()> {
    if a == b {
        return Ok(());
    }
    Err(Error::new(SqlState::DATA_EXCEPTION, format!("different vector dimensions {a} and {b}")))
}

/// A dimension count that a vector can have.
pub fn check_dim(dim: usize) -> Result<()> {
    if dim < 1 {
        return Err(Error::new(SqlState::DATA_EXCEPTION, "vector must have at least 1 dimension"));
    }
    if dim > DIM_MAX {
        return Err(too_many_dimensions());
    }
    Ok(())
}

/// Numbers that a vector can hold.
pub fn check_elements(values: &[f32]) -> Result<()> {
    values.iter().try_for_each(|value| check_element(*value))
}

fn check_element(value: f32) -> Result<()> {
    if value.is_finite() {
        return Ok(());
    }
    let message =
        if value.is_nan() { "NaN not allowed in vector" } else { "infinite value not allowed in vector" };
    Err(Error::new(SqlState::DATA_EXCEPTION, message))
}

fn too_many_dimensions() -> Error {
    Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, format!("vector cannot have more than {DIM_MAX} dimensions"))
}

#[cfg(test)]
mod tests;
