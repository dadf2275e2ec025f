//! Pieces of binary values: fixed-size words and numeric, with PostgreSQL's words for malformed ones.

use super::number::Decimal;
use quiver_base::{Error, Result, SqlState};

/// 08P01: the value ends too early.
pub(crate) fn too_short() -> Error {
    Error::new(SqlState::PROTOCOL_VIOLATION, "insufficient data left in message")
}

/// 22P03: the value is longer than its type.
pub(crate) fn wrong_format() -> Error {
    Error::new(SqlState::INVALID_BINARY_REPRESENTATION, "incorrect binary data format")
}

/// All of a value as a word of N bytes.
pub(crate) fn word<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    match bytes.len() {
        length if length < N => Err(too_short()),
        length if length > N => Err(wrong_format()),
        _ => bytes.try_into().map_err(|_| wrong_format()),
    }
}

/// Reads words off the front.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes }
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or_else(too_short)?;
        self.bytes = rest;
        Ok(taken)
    }

    pub(crate) fn i16(&mut self) -> Result<i16> {
        Ok(i16::from_be_bytes(word(self.take(2)?)?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_be_bytes(word(self.take(2)?)?))
    }

    pub(crate) fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(word(self.take(4)?)?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(word(self.take(8)?)?))
    }

    /// Fails if something is left.
    pub(crate) fn end(&self) -> Result<()> {
        if self.bytes.is_empty() { Ok(()) } else { Err(wrong_format()) }
    }
}

/// numeric: groups of four decimal digits.
pub(crate) fn read_numeric(bytes: &[u8]) -> Result<Decimal> {
    let mut reader = Reader::new(bytes);
    let count = reader.u16()?;
    let weight = i64::from(reader.i16()?);
    let sign = reader.u16()?;
    let display_scale = i64::from(reader.u16()?);
    let invalid = |what: &str| {
        Error::new(
            SqlState::INVALID_BINARY_REPRESENTATION,
            format!("invalid {what} in external \"numeric\" value"),
        )
    };
    let negative = match sign {
        0 => false,
        0x4000 => true,
        0xC000 => return Err(Error::unsupported("the numeric value NaN")),
        0xD000 | 0xF000 => return Err(Error::unsupported("an infinite numeric value")),
        _ => return Err(invalid("sign")),
    };
    if display_scale > 0x3fff {
        return Err(invalid("scale"));
    }
    let mut digits = String::with_capacity(usize::from(count) * 4);
    for _ in 0..count {
        let group = reader.i16()?;
        if !(0..10_000).contains(&group) {
            return Err(invalid("digit"));
        }
        digits.push_str(&format!("{group:04}"));
    }
    reader.end()?;
    // The last group's last digit stands 4 * (count - 1 - weight) places after the point.
    let scale = 4 * (i64::from(count) - 1 - weight);
    Ok(Decimal { negative, digits: digits.trim_start_matches('0').to_owned(), scale })
}
