//! pgvector's `vector` from text and binary, with its words.

use super::number::syntax_error;
use quiver_base::{Error, Result, SqlState, SqlType};

/// Reads `[1,2.5,-3]` into `values`, appending. `dim`: what the column wants.
pub(crate) fn parse_vector(text: &str, dim: Option<u16>, values: &mut Vec<f32>) -> Result<usize> {
    let begin = values.len();
    let error = || syntax_error("vector", text);
    let bytes = text.as_bytes();
    let mut at = skip_space(bytes, 0);
    if bytes.get(at) != Some(&b'[') {
        return Err(error().with_detail("Vector contents must start with \"[\"."));
    }
    at = skip_space(bytes, at + 1);
    if bytes.get(at) == Some(&b']') {
        return Err(Error::new(SqlState::DATA_EXCEPTION, "vector must have at least 1 dimension"));
    }
    loop {
        if values.len() - begin == usize::from(SqlType::VECTOR_DIM_MAX) {
            return Err(too_many());
        }
        at = skip_space(bytes, at);
        let end = number_end(bytes, at);
        values.push(parse_item(&text[at..end], error)?);
        at = skip_space(bytes, end);
        match bytes.get(at) {
            Some(b',') => at += 1,
            Some(b']') => break,
            _ => return Err(error()),
        }
    }
    if skip_space(bytes, at + 1) != bytes.len() {
        return Err(error().with_detail("Junk after closing right brace."));
    }
    let found = values.len() - begin;
    check_dim(dim, found)?;
    Ok(found)
}

/// Reads the binary form into `values`, appending.
pub(crate) fn read_vector(bytes: &[u8], dim: Option<u16>, values: &mut Vec<f32>) -> Result<usize> {
    let [dim_high, dim_low, unused_high, unused_low, floats @ ..] = bytes else {
        return Err(super::binary::too_short());
    };
    let found = usize::from(u16::from_be_bytes([*dim_high, *dim_low]));
    if found == 0 {
        return Err(Error::new(SqlState::DATA_EXCEPTION, "vector must have at least 1 dimension"));
    }
    if found > usize::from(SqlType::VECTOR_DIM_MAX) {
        return Err(too_many());
    }
    check_dim(dim, found)?;
    let unused = i16::from_be_bytes([*unused_high, *unused_low]);
    if unused != 0 {
        return Err(Error::new(SqlState::DATA_EXCEPTION, format!("expected unused to be 0, not {unused}")));
    }
    if floats.len() < found * 4 {
        return Err(super::binary::too_short());
    }
    if floats.len() > found * 4 {
        return Err(super::binary::wrong_format());
    }
    for float in floats.chunks_exact(4) {
        let value = f32::from_be_bytes([float[0], float[1], float[2], float[3]]);
        check_item(value)?;
        values.push(value);
    }
    Ok(found)
}

fn too_many() -> Error {
    Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "vector cannot have more than 16000 dimensions")
}

/// pgvector's check of a column's dimension.
pub(crate) fn check_dim(expected: Option<u16>, found: usize) -> Result<()> {
    match expected {
        Some(dim) if usize::from(dim) != found => {
            Err(Error::new(SqlState::DATA_EXCEPTION, format!("expected {dim} dimensions, not {found}")))
        }
        _ => Ok(()),
    }
}

/// pgvector's check of one component.
pub(crate) fn check_item(value: f32) -> Result<()> {
    if value.is_nan() {
        return Err(Error::new(SqlState::DATA_EXCEPTION, "NaN not allowed in vector"));
    }
    if value.is_infinite() {
        return Err(Error::new(SqlState::DATA_EXCEPTION, "infinite value not allowed in vector"));
    }
    Ok(())
}

fn parse_item(text: &str, error: impl Fn() -> Error) -> Result<f32> {
    let value: f32 = text.parse().map_err(|_| error())?;
    let named = text.bytes().any(|byte| matches!(byte, b'n' | b'N'));
    if value.is_infinite() && !named {
        return Err(Error::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("\"{text}\" is out of range for type vector"),
        ));
    }
    check_item(value)?;
    Ok(value)
}

fn skip_space(bytes: &[u8], at: usize) -> usize {
    let space = |byte: &&u8| byte.is_ascii_whitespace() || **byte == 0x0b;
    at + bytes.get(at..).unwrap_or_default().iter().take_while(space).count()
}

fn number_end(bytes: &[u8], at: usize) -> usize {
    let inside = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'+' | b'-');
    at + bytes.get(at..).unwrap_or_default().iter().take_while(inside).count()
}
