//! A column that grows by values in text or binary form.

use arrow::array::{ArrayRef, new_null_array};
use chrono_tz::Tz;
use datafusion::scalar::ScalarValue;
use quiver_base::{Error, Result, SqlType};

/// What a text form means beyond its letters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InputStyle {
    /// The zone of a timestamptz that names none.
    pub time_zone: Tz,
    /// What `now` and `today` mean: the transaction's start, in microseconds since 1970.
    pub now_us: i64,
}

/// Builds an array of one SQL type.
#[derive(Debug)]
pub(crate) struct ColumnBuilder {
    ty: SqlType,
    rows: usize,
}

impl ColumnBuilder {
    /// An empty column with room for `rows`.
    pub(crate) fn new(ty: &SqlType, _rows: usize) -> ColumnBuilder {
        ColumnBuilder { ty: ty.clone(), rows: 0 }
    }

    /// Appends NULL.
    pub(crate) fn append_null(&mut self) {
        self.rows += 1;
    }

    /// Appends a value in text form; 22P02, 22003, 22007, 22008, 22000 (vectors) with PostgreSQL's words.
    pub(crate) fn append_text(&mut self, _text: &str, _style: &InputStyle) -> Result<()> {
        Err(Error::unsupported("this value"))
    }

    /// Appends a value in binary form; 22P03 and 08P01.
    pub(crate) fn append_binary(&mut self, _bytes: &[u8]) -> Result<()> {
        Err(Error::unsupported("this value"))
    }

    /// Rows so far.
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// The array, of type `ty.arrow_type()`; the builder is empty again.
    pub(crate) fn finish(&mut self) -> ArrayRef {
        new_null_array(&self.ty.arrow_type(), self.rows)
    }
}

/// One value from its text form.
pub(crate) fn value_from_text(ty: &SqlType, text: &str, style: &InputStyle) -> Result<ScalarValue> {
    let mut column = ColumnBuilder::new(ty, 1);
    column.append_text(text, style)?;
    ScalarValue::try_from_array(&column.finish(), 0).map_err(quiver_exec::from_datafusion)
}

/// One value from its binary form.
pub(crate) fn value_from_binary(ty: &SqlType, bytes: &[u8]) -> Result<ScalarValue> {
    let mut column = ColumnBuilder::new(ty, 1);
    column.append_binary(bytes)?;
    ScalarValue::try_from_array(&column.finish(), 0).map_err(quiver_exec::from_datafusion)
}
