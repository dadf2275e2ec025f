//! Values in the text and binary forms that PostgreSQL sends: results, COPY, casts to text.

mod binary;
mod column;
mod list;
pub(crate) mod scalar;
#[cfg(test)]
mod tests;
mod vector;
#[cfg(test)]
mod vector_tests;

pub(crate) use column::{ColumnEncoder, ObjectNames, OutputStyle};
pub(crate) use list::put_sized;
