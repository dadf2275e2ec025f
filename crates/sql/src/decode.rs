//! Values from the text and binary forms that clients send, into Arrow builders: parameters, COPY, typed literals.

mod array;
mod binary;
mod builder;
mod datetime;
mod interval;
mod json;
mod json_tree;
mod number;
mod precision;
#[cfg(test)]
mod tests;
mod vector;

pub(crate) use builder::{ColumnBuilder, DateOrder, InputStyle, utf8, value_from_binary, value_from_text};
pub(crate) use datetime::abbreviated_offset_s;
pub(crate) use json::{canonical_jsonb, put_string};
pub(crate) use json_tree::Json;
pub(crate) use number::{bool_word, parse_int, parse_numeric};
pub(crate) use precision::rounded;
