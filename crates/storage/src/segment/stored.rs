//! How Arrow types are stored where Parquet cannot hold them: an interval is 16 bytes, months i32, days i32, nanoseconds
//! i64, little-endian; also inside arrays. Everything else is stored as it is.

use arrow::array::{Array, ArrayData, ArrayRef, make_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit};
use quiver_base::{Error, Result};
use std::sync::Arc;

const INTERVAL_BYTES: i32 = 16;

/// Field metadata that says so, for whoever reads the file without Quiver.
const ENCODING_KEY: &str = "quiver.encoding";
const INTERVAL_ENCODING: &str = "interval: months i32, days i32, nanoseconds i64, little-endian";

/// The field that a column is stored under. Always nullable: what a column forbids may change later.
pub(super) fn stored_field(field: &Field) -> Field {
    let data_type = stored_type(field.data_type());
    let mut metadata = field.metadata().clone();
    if data_type != *field.data_type() {
        metadata.insert(ENCODING_KEY.to_owned(), INTERVAL_ENCODING.to_owned());
    }
    Field::new(field.name(), data_type, true).with_metadata(metadata)
}

fn stored_type(data_type: &DataType) -> DataType {
    let item =
        |field: &FieldRef| Arc::new(field.as_ref().clone().with_data_type(stored_type(field.data_type())));
    match data_type {
        DataType::Interval(IntervalUnit::MonthDayNano) => DataType::FixedSizeBinary(INTERVAL_BYTES),
        DataType::List(field) => DataType::List(item(field)),
        DataType::FixedSizeList(field, width) => DataType::FixedSizeList(item(field), *width),
        other => other.clone(),
    }
}

/// The field that a stored one was made from, nullable.
pub(super) fn original_field(stored: &Field) -> Field {
    let mut metadata = stored.metadata().clone();
    match metadata.remove(ENCODING_KEY) {
        Some(_) => Field::new(stored.name(), original_type(stored.data_type()), true).with_metadata(metadata),
        None => stored.clone(),
    }
}

fn original_type(stored: &DataType) -> DataType {
    let item =
        |field: &FieldRef| Arc::new(field.as_ref().clone().with_data_type(original_type(field.data_type())));
    match stored {
        DataType::FixedSizeBinary(INTERVAL_BYTES) => DataType::Interval(IntervalUnit::MonthDayNano),
        DataType::List(field) => DataType::List(item(field)),
        other => other.clone(),
    }
}

/// The same values under another type: between an interval and its stored form, between types that differ only in the
/// names and metadata of what is nested, and to a wider type of a column that was altered without a rewrite.
pub(super) fn convert(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if array.data_type() == to {
        return Ok(array.clone());
    }
    if !array.data_type().is_nested() && !is_interval(array.data_type()) && !is_interval(to) {
        return Ok(cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() })?);
    }
    Ok(make_array(convert_data(array.to_data(), to)?))
}

fn is_interval(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(_))
}

fn convert_data(data: ArrayData, to: &DataType) -> Result<ArrayData> {
    if data.data_type() == to {
        return Ok(data);
    }
    let children = match (data.data_type(), to) {
        (DataType::Interval(_), DataType::FixedSizeBinary(INTERVAL_BYTES))
        | (DataType::FixedSizeBinary(INTERVAL_BYTES), DataType::Interval(IntervalUnit::MonthDayNano)) => {
            Vec::new()
        }
        (DataType::List(_), DataType::List(item))
        | (DataType::FixedSizeList(..), DataType::FixedSizeList(item, _)) => data
            .child_data()
            .iter()
            .map(|child| convert_data(child.clone(), item.data_type()))
            .collect::<Result<_>>()?,
        (from, to) => return Err(Error::internal(format!("a stored {from} cannot be read as {to}"))),
    };
    let builder = data.into_builder().data_type(to.clone()).child_data(children).align_buffers(true);
    Ok(builder.build()?)
}
