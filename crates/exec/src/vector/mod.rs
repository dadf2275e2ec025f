//! pgvector's types as values: their text and binary forms, checks and errors, and casts between Arrow's list types and text.
//! Knows no plans and no storage.

mod bits;
mod cast;
mod format;
mod number;
mod parse;
mod rows;
mod sparse;

pub use bits::BitLength;
pub use cast::{cast_vectors, dense_column, halves, has_cast, sparse_values, to_text, to_vector};
pub use format::{format, write};
pub use parse::parse;
pub use rows::Vectors;
pub use sparse::{check_nnz, parse_sparse, read_sparse};

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

/// pgvector's two dense types. Elements of both are handled as f32, which holds every half float.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dense {
    /// `vector`.
    Vector,
    /// `halfvec`.
    Halfvec,
}

impl Dense {
    /// The type's name.
    pub fn name(self) -> &'static str {
        match self {
            Dense::Vector => "vector",
            Dense::Halfvec => "halfvec",
        }
    }

    /// Bytes of an element.
    fn width(self) -> usize {
        match self {
            Dense::Vector => 4,
            Dense::Halfvec => 2,
        }
    }

    /// The nearest number that an element can be; infinite if there is none.
    pub fn rounded(self, value: f32) -> f32 {
        match self {
            Dense::Vector => value,
            Dense::Halfvec => half::f16::from_f32(value).to_f32(),
        }
    }

    /// A dimension count that a value can have.
    pub fn check_dim(self, dim: usize) -> Result<()> {
        if dim < 1 {
            return Err(self.no_dimension());
        }
        if dim > DIM_MAX {
            return Err(self.too_many_dimensions());
        }
        Ok(())
    }

    /// A number that an element can be.
    pub fn check_element(self, value: f32) -> Result<()> {
        check_element(self.name(), value)
    }

    fn no_dimension(self) -> Error {
        let message = format!("{} must have at least 1 dimension", self.name());
        Error::new(SqlState::DATA_EXCEPTION, message)
    }

    fn too_many_dimensions(self) -> Error {
        let message = format!("{} cannot have more than {DIM_MAX} dimensions", self.name());
        Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message)
    }
}

/// A dimension count that a vector can have.
pub fn check_dim(dim: usize) -> Result<()> {
    Dense::Vector.check_dim(dim)
}

fn check_element(name: &str, value: f32) -> Result<()> {
    if value.is_finite() {
        return Ok(());
    }
    let what = if value.is_nan() { "NaN" } else { "infinite value" };
    Err(Error::new(SqlState::DATA_EXCEPTION, format!("{what} not allowed in {name}")))
}

#[cfg(test)]
mod tests;
