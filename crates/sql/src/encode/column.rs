//! Reads one Arrow column value by value into an output buffer.

use arrow::array::Array;
use chrono_tz::Tz;
use quiver_base::{Error, Result, SqlType};
use std::fmt;
use std::sync::Arc;

/// Names behind oids, for regclass, regproc and regnamespace values.
pub(crate) trait ObjectNames: fmt::Debug + Send + Sync {
    /// The name as PostgreSQL prints it (schema-qualified if it is not in the search path, quoted if needed); `None`: the number is printed.
    fn name(&self, ty: &SqlType, oid: i64) -> Option<String>;
}

/// How values print.
#[derive(Clone, Debug)]
pub(crate) struct OutputStyle {
    /// The zone that timestamptz is shown in.
    pub time_zone: Tz,
    /// Names behind oids.
    pub names: Option<Arc<dyn ObjectNames>>,
}

/// A column about to be sent.
pub(crate) struct ColumnEncoder<'a> {
    array: &'a dyn Array,
}

impl<'a> ColumnEncoder<'a> {
    /// Fails if the array is not what carries the type.
    pub(crate) fn new(
        _ty: &SqlType,
        array: &'a dyn Array,
        _style: &'a OutputStyle,
    ) -> Result<ColumnEncoder<'a>> {
        Ok(ColumnEncoder { array })
    }

    /// Whether the value is NULL.
    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.array.is_null(row)
    }

    /// Appends the text form of a value that is not NULL.
    pub(crate) fn text(&self, _row: usize, _out: &mut Vec<u8>) -> Result<()> {
        Err(Error::unsupported("this value"))
    }

    /// Appends the binary form (without length word) of a value that is not NULL.
    pub(crate) fn binary(&self, _row: usize, _out: &mut Vec<u8>) -> Result<()> {
        Err(Error::unsupported("this value"))
    }
}
