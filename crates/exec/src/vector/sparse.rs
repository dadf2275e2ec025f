//! The text and binary forms of `sparsevec`, read as pgvector reads them, error texts included.

use super::number::{read_integer, read_number, skip_space};
use super::parse::{out_of_range, syntax, too_short, wrong_format};
use super::{check_element, check_expected_dim};
use quiver_base::sparse::{NNZ_MAX, encode};
use quiver_base::{Error, Result, SqlState, SqlType};

const NAME: &str = "sparsevec";

/// Reads `{1:1.5,3:2}/5` (positions from 1) into the bytes of [`quiver_base::sparse`]. `dim`: what the column wants.
pub fn parse_sparse(text: &str, dim: Option<u32>) -> Result<Vec<u8>> {
    let bytes = text.as_bytes();
    let error = || syntax(NAME, text);
    check_nnz(bytes.iter().filter(|byte| **byte == b',').count() + 1)?;
    let mut at = skip_space(bytes, 0);
    if bytes.get(at) != Some(&b'{') {
        return Err(error().with_detail("Vector contents must start with \"{\"."));
    }
    at = skip_space(bytes, at + 1);
    let mut elements = Vec::new();
    if bytes.get(at) == Some(&b'}') {
        at += 1;
    } else {
        at = parse_elements(text, at, &mut elements)?;
    }
    at = skip_space(bytes, at);
    if bytes.get(at) != Some(&b'/') {
        return Err(error().with_detail("Unexpected end of input."));
    }
    let (found, end) = read_integer(bytes, at + 1).ok_or_else(error)?;
    if skip_space(bytes, end) != bytes.len() {
        return Err(error().with_detail("Junk after closing."));
    }
    let found = check_dim(found, dim)?;
    // Stable, so that of two elements at one place the first is looked at first, as it does not matter which.
    elements.sort_by_key(|(index, _)| *index);
    finish(found, &elements)
}

/// Elements up to and with the closing brace; zeros are left out.
fn parse_elements(text: &str, mut at: usize, elements: &mut Vec<(i32, f32)>) -> Result<usize> {
    let bytes = text.as_bytes();
    let error = || syntax(NAME, text);
    loop {
        let (index, end) = read_integer(bytes, at).ok_or_else(error)?;
        at = skip_space(bytes, end);
        if bytes.get(at) != Some(&b':') {
            return Err(error());
        }
        at = skip_space(bytes, at + 1);
        let number = read_number(text, at).ok_or_else(error)?;
        if number.overflow || number.underflow {
            return Err(out_of_range(NAME, &text[at..number.end]));
        }
        check_element(NAME, number.value)?;
        if number.value != 0.0 {
            elements.push((index.saturating_sub(1), number.value));
        }
        at = skip_space(bytes, number.end);
        match bytes.get(at) {
            Some(b',') => at += 1,
            Some(b'}') => return Ok(at + 1),
            _ => return Err(error()),
        }
    }
}

/// Reads the binary form into the bytes of [`quiver_base::sparse`].
pub fn read_sparse(bytes: &[u8], dim: Option<u32>) -> Result<Vec<u8>> {
    let word = |at: usize| -> Result<[u8; 4]> {
        let found = bytes.get(at * 4..at * 4 + 4).ok_or_else(too_short)?;
        found.try_into().map_err(|_| too_short())
    };
    let (found, nnz, unused) =
        (i32::from_be_bytes(word(0)?), i32::from_be_bytes(word(1)?), i32::from_be_bytes(word(2)?));
    // The checks come in pgvector's order: the dimension itself, the elements, what the column wants.
    check_dim(found, None)?;
    let Ok(nnz) = usize::try_from(nnz) else {
        return Err(data_error("sparsevec cannot have negative number of elements"));
    };
    check_nnz(nnz)?;
    if nnz > found as usize {
        let message = "sparsevec cannot have more elements than dimensions";
        return Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message));
    }
    let dim = check_dim(found, dim)?;
    if unused != 0 {
        return Err(data_error(format!("expected unused to be 0, not {unused}")));
    }
    let mut elements: Vec<(i32, f32)> = Vec::with_capacity(nnz.min(bytes.len() / 8));
    for at in 0..nnz {
        let index = i32::from_be_bytes(word(3 + at)?);
        check_index(elements.last().map(|(index, _)| *index), index, dim)?;
        elements.push((index, 0.0));
    }
    for (at, (_, value)) in elements.iter_mut().enumerate() {
        *value = f32::from_be_bytes(word(3 + nnz + at)?);
        check_element(NAME, *value)?;
        if *value == 0.0 {
            return Err(data_error("binary representation of sparsevec cannot contain zero values"));
        }
    }
    if bytes.len() != (3 + 2 * nnz) * 4 {
        return Err(wrong_format());
    }
    finish(dim, &elements)
}

/// Checks positions (from 0, sorted) and encodes.
fn finish(dim: u32, elements: &[(i32, f32)]) -> Result<Vec<u8>> {
    let mut previous = None;
    let mut checked = Vec::with_capacity(elements.len());
    for (index, value) in elements {
        checked.push((check_index(previous, *index, dim)?, *value));
        previous = Some(*index);
    }
    Ok(encode(dim, &checked))
}

fn check_index(previous: Option<i32>, index: i32, dim: u32) -> Result<u32> {
    let inside = u32::try_from(index).ok().filter(|index| *index < dim);
    let inside = inside.ok_or_else(|| data_error("sparsevec index out of bounds"))?;
    match previous {
        Some(previous) if index < previous => Err(data_error("sparsevec indices must be in ascending order")),
        Some(previous) if index == previous => {
            Err(data_error("sparsevec indices must not contain duplicates"))
        }
        _ => Ok(inside),
    }
}

fn check_dim(found: i32, expected: Option<u32>) -> Result<u32> {
    let Some(found) = u32::try_from(found).ok().filter(|found| *found >= 1) else {
        return Err(data_error("sparsevec must have at least 1 dimension"));
    };
    if found > SqlType::SPARSEVEC_DIM_MAX {
        return Err(Error::new(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            format!("sparsevec cannot have more than {} dimensions", SqlType::SPARSEVEC_DIM_MAX),
        ));
    }
    if let Some(expected) = expected {
        check_expected_dim(expected as usize, found as usize)?;
    }
    Ok(found)
}

/// 54000 for too many elements.
pub fn check_nnz(nnz: usize) -> Result<()> {
    if nnz <= NNZ_MAX {
        return Ok(());
    }
    Err(Error::new(
        SqlState::PROGRAM_LIMIT_EXCEEDED,
        format!("sparsevec cannot have more than {NNZ_MAX} non-zero elements"),
    ))
}

fn data_error(message: impl Into<String>) -> Error {
    Error::new(SqlState::DATA_EXCEPTION, message)
}
