//! How a `bit` or `bit varying` value is carried: its length in bits u32, little-endian, then the bits, the first one in
//! the highest place of the first byte; what is left of the last byte is zero. Equal values have equal bytes.

use crate::{Error, Result};
use std::cmp::Ordering;

/// Bytes before the bits.
pub const HEADER: usize = 4;

/// The longest string there can be, as in PostgreSQL.
pub const LENGTH_MAX: u32 = i32::MAX as u32 - 7;

/// A value in its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BitsRef<'a> {
    len: u32,
    bytes: &'a [u8],
}

impl<'a> BitsRef<'a> {
    /// Reads what [`encode`] wrote; XX001 if the lengths do not fit together.
    pub fn read(stored: &'a [u8]) -> Result<BitsRef<'a>> {
        let corrupt = || Error::corrupt("a bit string of the wrong length");
        let (header, bytes) = stored.split_at_checked(HEADER).ok_or_else(corrupt)?;
        let len = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
        if bytes.len() != byte_count(len) {
            return Err(corrupt());
        }
        Ok(BitsRef { len, bytes })
    }

    /// Bits.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bits, packed.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// One bit, counted from the left; false past the end.
    pub fn bit(&self, at: u32) -> bool {
        at < self.len && self.bytes[(at / 8) as usize] >> (7 - at % 8) & 1 == 1
    }

    /// PostgreSQL's order: byte by byte, then the shorter one first.
    pub fn compare(&self, other: &BitsRef<'_>) -> Ordering {
        let common = self.bytes.len().min(other.bytes.len());
        self.bytes[..common].cmp(&other.bytes[..common]).then(self.len.cmp(&other.len))
    }
}

/// Bytes that so many bits take.
pub fn byte_count(len: u32) -> usize {
    (len as usize).div_ceil(8)
}

/// The bytes of a value: as many of the packed bits as `len` says, zeros where there are fewer.
pub fn encode(len: u32, packed: &[u8]) -> Vec<u8> {
    let count = byte_count(len);
    let mut stored = Vec::with_capacity(HEADER + count);
    stored.extend(len.to_le_bytes());
    stored.extend_from_slice(&packed[..packed.len().min(count)]);
    stored.resize(HEADER + count, 0);
    if !len.is_multiple_of(8)
        && let Some(last) = stored.last_mut()
    {
        *last &= 0xff << (8 - len % 8);
    }
    stored
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // tests
    use super::*;

    #[test]
    fn values_come_back_with_clean_ends() {
        let stored = encode(5, &[0xff, 0xff]);
        let bits = BitsRef::read(&stored).unwrap();
        assert_eq!((bits.len(), bits.bytes()), (5, [0xf8].as_slice()));
        assert!(bits.bit(4) && !bits.bit(5) && !bits.bit(500));
        assert_eq!(encode(12, &[0xab]), [12, 0, 0, 0, 0xab, 0]);
        assert!(BitsRef::read(&encode(0, &[])).unwrap().is_empty());
    }

    #[test]
    fn bytes_of_the_wrong_length_are_corrupt() {
        for bytes in [&[][..], &[8, 0, 0], &[8, 0, 0, 0], &[8, 0, 0, 0, 1, 2], &[0xff; 9]] {
            assert_eq!(BitsRef::read(bytes).unwrap_err().state().code(), "XX001");
        }
    }

    #[test]
    fn shorter_ones_come_first_among_equal_bytes() {
        let sorted =
            [(1, 0x00), (1, 0x80), (3, 0x80), (8, 0x80), (2, 0xc0)].map(|(len, byte)| encode(len, &[byte]));
        for (a, b) in sorted.iter().zip(&sorted[1..]) {
            assert_eq!(BitsRef::read(a).unwrap().compare(&BitsRef::read(b).unwrap()), Ordering::Less);
        }
    }
}
