//! The text and binary forms of `bit` and `bit varying`, read as PostgreSQL reads them, error texts included.

use super::parse::{too_short, wrong_format};
use quiver_base::bits::{LENGTH_MAX, encode};
use quiver_base::{Error, Result, SqlState, SqlType};

/// Which of the two types a bit string is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BitLength {
    /// `bit(n)`: exactly so many; any number if it is not given.
    Exactly(Option<u32>),
    /// `bit varying(n)`: at most so many.
    AtMost(Option<u32>),
}

impl BitLength {
    /// Of a bit type; `None` for all others.
    pub fn of(ty: &SqlType) -> Option<BitLength> {
        match ty {
            SqlType::Bit(length) => Some(BitLength::Exactly(*length)),
            SqlType::Varbit(length) => Some(BitLength::AtMost(*length)),
            _ => None,
        }
    }

    /// Whether a string of this length fits: 22026 and 22001.
    pub fn check(self, length: u32) -> Result<()> {
        match self {
            BitLength::Exactly(Some(wanted)) if wanted != length => Err(Error::new(
                SqlState::STRING_DATA_LENGTH_MISMATCH,
                format!("bit string length {length} does not match type bit({wanted})"),
            )),
            BitLength::AtMost(Some(most)) if length > most => Err(Error::new(
                SqlState::STRING_DATA_RIGHT_TRUNCATION,
                format!("bit string too long for type bit varying({most})"),
            )),
            _ => Ok(()),
        }
    }

    /// Reads `101`, `b101` or `x1F` into the bytes of [`quiver_base::bits`].
    pub fn parse(self, text: &str) -> Result<Vec<u8>> {
        let (digits, hex) = match text.as_bytes() {
            [b'b' | b'B', ..] => (&text[1..], false),
            [b'x' | b'X', ..] => (&text[1..], true),
            _ => (text, false),
        };
        let length = digits.len() * if hex { 4 } else { 1 };
        let length = u32::try_from(length).ok().filter(|length| *length <= LENGTH_MAX).ok_or_else(|| {
            let message = format!("bit string length exceeds the maximum allowed ({LENGTH_MAX})");
            Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message)
        })?;
        self.check(length)?;
        let mut packed = vec![0_u8; quiver_base::bits::byte_count(length)];
        let (per_digit, radix, kind) = if hex { (4, 16, "hexadecimal") } else { (1, 2, "binary") };
        for (at, digit) in digits.chars().enumerate() {
            let value = digit.to_digit(radix).ok_or_else(|| {
                let message = format!("\"{digit}\" is not a valid {kind} digit");
                Error::new(SqlState::INVALID_TEXT_REPRESENTATION, message)
            })?;
            let bit = at * per_digit;
            packed[bit / 8] |= (value as u8) << (8 - per_digit - bit % 8);
        }
        Ok(encode(length, &packed))
    }

    /// Reads the binary form: a length word and the bits.
    pub fn read(self, bytes: &[u8]) -> Result<Vec<u8>> {
        let [a, b, c, d, packed @ ..] = bytes else { return Err(too_short()) };
        let length = i32::from_be_bytes([*a, *b, *c, *d]);
        let length = u32::try_from(length).ok().filter(|length| *length <= LENGTH_MAX);
        let length = length.ok_or_else(|| {
            Error::new(SqlState::INVALID_BINARY_REPRESENTATION, "invalid length in external bit string")
        })?;
        self.check(length)?;
        match packed.len().cmp(&quiver_base::bits::byte_count(length)) {
            std::cmp::Ordering::Less => Err(too_short()),
            std::cmp::Ordering::Greater => Err(wrong_format()),
            std::cmp::Ordering::Equal => Ok(encode(length, packed)),
        }
    }
}
