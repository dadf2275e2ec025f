//! Values from the text and binary forms that clients send, into Arrow builders: parameters, COPY, typed literals.

mod builder;

pub(crate) use builder::{ColumnBuilder, InputStyle, value_from_binary, value_from_text};
