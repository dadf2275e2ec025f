//! The text and binary forms of pgvector's dense types, read as `vector_in` and `halfvec_recv` read them, error texts
//! included.

use super::number::{read_number, skip_space};
use super::{DIM_MAX, Dense, check_expected_dim};
use quiver_base::{Error, Result, SqlState};

/// Reads `[1,2.5,-3e4]`.
pub fn parse(text: &str) -> Result<Vec<f32>> {
    let mut values = Vec::with_capacity((text.len() / 8).min(DIM_MAX));
    Dense::Vector.parse(text, None, &mut values)?;
    Ok(values)
}

impl Dense {
    /// Reads `[1,2.5,-3e4]` and appends its elements to `values`; how many they are, which must be `dim` if that is given.
    pub fn parse(self, text: &str, dim: Option<u16>, values: &mut Vec<f32>) -> Result<usize> {
        let bytes = text.as_bytes();
        let mut at = skip_space(bytes, 0);
        if bytes.get(at) != Some(&b'[') {
            return Err(self.syntax(text).with_detail("Vector contents must start with \"[\"."));
        }
        at = skip_space(bytes, at + 1);
        if bytes.get(at) == Some(&b']') {
            return Err(self.no_dimension());
        }
        let mut count = 0;
        loop {
            if count == DIM_MAX {
                return Err(self.too_many_dimensions());
            }
            at = skip_space(bytes, at);
            let (value, end) = self.element(text, at)?;
            values.push(value);
            count += 1;
            at = skip_space(bytes, end);
            match bytes.get(at) {
                Some(b',') => at += 1,
                Some(b']') => break,
                _ => return Err(self.syntax(text)),
            }
        }
        if skip_space(bytes, at + 1) != bytes.len() {
            return Err(self.syntax(text).with_detail("Junk after closing right brace."));
        }
        check_dim(dim, count)?;
        Ok(count)
    }

    fn element(self, text: &str, at: usize) -> Result<(f32, usize)> {
        let number = read_number(text, at).ok_or_else(|| self.syntax(text))?;
        let value = self.rounded(number.value);
        if number.overflow || (value.is_infinite() && !number.value.is_infinite()) {
            return Err(self.out_of_range(&text[at..number.end]));
        }
        self.check_element(value)?;
        Ok((value, number.end))
    }

    /// Reads the binary form and appends its elements to `values`; how many they are.
    pub fn read(self, bytes: &[u8], dim: Option<u16>, values: &mut Vec<f32>) -> Result<usize> {
        let [dim_high, dim_low, unused_high, unused_low, items @ ..] = bytes else { return Err(too_short()) };
        // The dimension is a signed word.
        let found = i16::from_be_bytes([*dim_high, *dim_low]);
        let found = usize::try_from(found).unwrap_or(0);
        self.check_dim(found)?;
        check_dim(dim, found)?;
        let unused = i16::from_be_bytes([*unused_high, *unused_low]);
        if unused != 0 {
            return Err(Error::new(
                SqlState::DATA_EXCEPTION,
                format!("expected unused to be 0, not {unused}"),
            ));
        }
        let width = self.width();
        let first = values.len();
        match self {
            Dense::Vector => {
                let (items, _) = items.as_chunks();
                values.extend(items.iter().take(found).map(|item| f32::from_be_bytes(*item)));
            }
            Dense::Halfvec => {
                let (items, _) = items.as_chunks();
                values.extend(items.iter().take(found).map(|item| half::f16::from_be_bytes(*item).to_f32()));
            }
        }
        // All at once, since one after the other they take longer to look at than to read.
        let read = &values[first..];
        if !read.iter().fold(true, |all, value| all & value.is_finite()) {
            read.iter().try_for_each(|value| self.check_element(*value))?;
        }
        match items.len() {
            length if length < found * width => Err(too_short()),
            length if length > found * width => Err(wrong_format()),
            _ => Ok(found),
        }
    }

    fn syntax(self, text: &str) -> Error {
        syntax(self.name(), text)
    }

    fn out_of_range(self, text: &str) -> Error {
        out_of_range(self.name(), text)
    }
}

fn check_dim(expected: Option<u16>, found: usize) -> Result<()> {
    expected.map_or(Ok(()), |expected| check_expected_dim(usize::from(expected), found))
}

/// 22P02.
pub(super) fn syntax(name: &str, text: &str) -> Error {
    let message = format!("invalid input syntax for type {name}: \"{text}\"");
    Error::new(SqlState::INVALID_TEXT_REPRESENTATION, message)
}

/// 22003 for one number.
pub(super) fn out_of_range(name: &str, text: &str) -> Error {
    Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("\"{text}\" is out of range for type {name}"))
}

/// 08P01: the value ends too early.
pub(super) fn too_short() -> Error {
    Error::new(SqlState::PROTOCOL_VIOLATION, "insufficient data left in message")
}

/// 22P03: the value is longer than it says.
pub(super) fn wrong_format() -> Error {
    Error::new(SqlState::INVALID_BINARY_REPRESENTATION, "incorrect binary data format")
}
