//! Values in the text and binary forms that PostgreSQL sends: results, COPY, casts to text.

mod column;

pub(crate) use column::{ColumnEncoder, ObjectNames, OutputStyle};
