//! One way to read dense vectors out of whatever Arrow type carries them.

use super::{Dense, parse};
use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, ListArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::ColumnarValue;
use quiver_base::{Error, Result, SqlState};
use std::sync::Arc;

/// Vectors of a batch, row by row, without copying where the array already holds f32.
#[derive(Debug)]
pub struct Vectors {
    kind: Kind,
    /// One vector that stands for every row.
    constant: bool,
}

#[derive(Debug)]
enum Kind {
    Null,
    Fixed(FixedSizeListArray, Float32Array),
    List(ListArray, Float32Array),
    Parsed(Vec<Option<Vec<f32>>>),
}

impl Vectors {
    /// Reads a function's argument.
    pub fn new(value: &ColumnarValue) -> Result<Vectors> {
        match value {
            ColumnarValue::Array(array) => Self::from_array(array),
            ColumnarValue::Scalar(scalar) => Self::from_scalar(scalar),
        }
    }

    /// Reads a constant.
    pub fn from_scalar(scalar: &ScalarValue) -> Result<Vectors> {
        let array = scalar.to_array().map_err(crate::from_datafusion)?;
        Ok(Vectors { kind: Self::from_array(&array)?.kind, constant: true })
    }

    /// Reads a column: `vector`, `halfvec`, a numeric array, text, or NULLs.
    pub fn from_array(array: &ArrayRef) -> Result<Vectors> {
        Self::reading(array, Dense::Vector)
    }

    /// The same with the words of one type in errors.
    pub fn reading(array: &ArrayRef, kind: Dense) -> Result<Vectors> {
        let vectors = Self::of_any_length(array)?;
        if let Kind::List(list, values) = &vectors.kind {
            for row in (0..list.len()).filter(|row| list.is_valid(*row)) {
                let range = list.value_offsets()[row] as usize..list.value_offsets()[row + 1] as usize;
                kind.check_dim(range.len())?;
                values.values()[range].iter().try_for_each(|value| kind.check_element(*value))?;
            }
        }
        Ok(vectors)
    }

    /// The same without checks of dimensions and elements; NULLs among them are 22004 all the same.
    pub(super) fn of_any_length(array: &ArrayRef) -> Result<Vectors> {
        let kind = match array.data_type() {
            DataType::Null => Kind::Null,
            DataType::FixedSizeList(item, _)
                if matches!(item.data_type(), DataType::Float32 | DataType::Float16) =>
            {
                let list = array.as_fixed_size_list();
                let values = cast(list.values(), &DataType::Float32)?;
                Kind::Fixed(list.clone(), values.as_primitive::<Float32Type>().clone())
            }
            DataType::List(item) if *item.data_type() == DataType::Float32 => Self::list(array.as_list())?,
            DataType::List(item) if item.data_type().is_nested() => {
                return Err(Error::new(SqlState::DATA_EXCEPTION, "array must be 1-D"));
            }
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _) => {
                let target = DataType::List(Arc::new(Field::new("item", DataType::Float32, true)));
                Self::list(cast(array, &target)?.as_list())?
            }
            DataType::Utf8 => Self::parsed(array.as_string::<i32>().iter())?,
            DataType::LargeUtf8 => Self::parsed(array.as_string::<i64>().iter())?,
            DataType::Utf8View => Self::parsed(array.as_string_view().iter())?,
            other => {
                return Err(Error::new(
                    SqlState::CANNOT_COERCE,
                    format!("cannot cast type {other} to vector"),
                ));
            }
        };
        Ok(Vectors { kind, constant: false })
    }

    /// The vector of a row; `None` is NULL.
    pub fn row(&self, row: usize) -> Option<&[f32]> {
        let row = if self.constant { 0 } else { row };
        match &self.kind {
            Kind::Null => None,
            Kind::Fixed(list, values) => {
                let start = list.value_offset(row) as usize;
                let end = start + list.value_length() as usize;
                list.is_valid(row).then(|| &values.values()[start..end])
            }
            Kind::List(list, values) => {
                let (start, end) =
                    (list.value_offsets()[row] as usize, list.value_offsets()[row + 1] as usize);
                list.is_valid(row).then(|| &values.values()[start..end])
            }
            Kind::Parsed(rows) => rows[row].as_deref(),
        }
    }

    fn list(list: &ListArray) -> Result<Kind> {
        let values = list.values().as_primitive::<Float32Type>().clone();
        for row in (0..list.len()).filter(|row| values.null_count() > 0 && list.is_valid(*row)) {
            let (start, end) = (list.value_offsets()[row] as usize, list.value_offsets()[row + 1] as usize);
            if (start..end).any(|at| values.is_null(at)) {
                return Err(Error::new(SqlState::NULL_VALUE_NOT_ALLOWED, "array must not contain nulls"));
            }
        }
        Ok(Kind::List(list.clone(), values))
    }

    fn parsed<'a>(texts: impl Iterator<Item = Option<&'a str>>) -> Result<Kind> {
        Ok(Kind::Parsed(texts.map(|text| text.map(parse).transpose()).collect::<Result<_>>()?))
    }
}
