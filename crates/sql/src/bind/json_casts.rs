//! Casts of jsonb to numbers and booleans: of a scalar of that kind only.

use super::cast_kernel::{CastContext, CastStyle, cast_array};
use arrow::array::{ArrayRef, AsArray, BooleanArray, StringArray};
use arrow::datatypes::DataType;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

pub(super) fn booleans(array: &ArrayRef) -> Result<ArrayRef> {
    let texts = arrow::compute::cast(array, &DataType::Utf8)?;
    let value = |text: &str| match text {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(cannot_cast(other, &SqlType::Bool)),
    };
    let values = texts.as_string::<i32>().iter().map(|text| text.map(value).transpose());
    Ok(Arc::new(values.collect::<Result<BooleanArray>>()?))
}

/// Through numeric, which a JSON number is.
pub(super) fn numbers(array: &ArrayRef, to: &SqlType, style: &CastStyle) -> Result<ArrayRef> {
    let texts = arrow::compute::cast(array, &DataType::Utf8)?;
    let texts: &StringArray = texts.as_string();
    for text in texts.iter().flatten() {
        if !text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
            return Err(cannot_cast(text, to));
        }
    }
    let texts: ArrayRef = Arc::new(texts.clone());
    let of_text =
        |array: &ArrayRef, to: &SqlType| cast_array(array, &SqlType::Text, to, CastContext::Explicit, style);
    if matches!(to, SqlType::Float4 | SqlType::Float8) {
        return of_text(&texts, to);
    }
    let open = SqlType::Numeric(None);
    let numbers = of_text(&texts, &open)?;
    cast_array(&numbers, &open, to, CastContext::Explicit, style)
}

/// 22023.
fn cannot_cast(text: &str, to: &SqlType) -> Error {
    let kind = match text.bytes().next() {
        Some(b'n') => "null",
        Some(b'"') => "string",
        Some(b't' | b'f') => "boolean",
        Some(b'[') => "array",
        Some(b'{') => "object",
        _ => "numeric",
    };
    let to = super::types::without_modifier(to);
    Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("cannot cast jsonb {kind} to type {to}"))
}
