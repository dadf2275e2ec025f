//! How a `sparsevec` value is carried: its dimension u32, how many elements are not zero u32, their 0-based positions
//! u32 each in ascending order, their values f32 each; little-endian. Zeros are never stored, so equal values have equal
//! bytes.

use crate::{Error, Result};
use std::cmp::Ordering;

/// The most elements that are not zero, as in pgvector.
pub const NNZ_MAX: usize = 16_000;

const HEADER: usize = 8;

/// A value in its bytes.
#[derive(Clone, Copy, Debug)]
pub struct SparseRef<'a> {
    dim: u32,
    indices: &'a [u8],
    values: &'a [u8],
}

impl<'a> SparseRef<'a> {
    /// Reads what [`encode`] wrote; XX001 if the lengths do not fit together.
    pub fn read(bytes: &'a [u8]) -> Result<SparseRef<'a>> {
        let corrupt = || Error::corrupt("a sparsevec of the wrong length");
        let (header, rest) = bytes.split_at_checked(HEADER).ok_or_else(corrupt)?;
        let dim = word(header, 0);
        let nnz = word(header, 1) as usize;
        if !rest.len().is_multiple_of(8) || rest.len() / 8 != nnz {
            return Err(corrupt());
        }
        let (indices, values) = rest.split_at(nnz * 4);
        Ok(SparseRef { dim, indices, values })
    }

    /// Dimensions.
    pub fn dim(&self) -> u32 {
        self.dim
    }

    /// Elements that are not zero.
    pub fn nnz(&self) -> usize {
        self.indices.len() / 4
    }

    /// The 0-based position of a stored element.
    pub fn index(&self, at: usize) -> u32 {
        word(self.indices, at)
    }

    /// The value of a stored element.
    pub fn value(&self, at: usize) -> f32 {
        f32::from_bits(word(self.values, at))
    }

    /// Position and value of every stored element.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u32, f32)> + use<'a> {
        let this = *self;
        (0..this.nnz()).map(move |at| (this.index(at), this.value(at)))
    }

    /// pgvector's order: as if all elements were there, then the smaller dimension first.
    pub fn compare(&self, other: &SparseRef<'_>) -> Ordering {
        let sign = |value: f32| if value < 0.0 { Ordering::Less } else { Ordering::Greater };
        let common = self.nnz().min(other.nnz());
        for at in 0..common {
            let order = match self.index(at).cmp(&other.index(at)) {
                Ordering::Less => sign(self.value(at)),
                Ordering::Greater => sign(other.value(at)).reverse(),
                Ordering::Equal => self.value(at).total_cmp(&other.value(at)),
            };
            if order != Ordering::Equal {
                return order;
            }
        }
        if self.nnz() < other.nnz() && other.index(common) < self.dim {
            return sign(other.value(common)).reverse();
        }
        if self.nnz() > other.nnz() && self.index(common) < other.dim {
            return sign(self.value(common));
        }
        self.dim.cmp(&other.dim)
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let start = at * 4;
    u32::from_le_bytes([bytes[start], bytes[start + 1], bytes[start + 2], bytes[start + 3]])
}

/// The bytes of a value. The elements are in ascending order, inside the dimension, finite and not zero.
pub fn encode(dim: u32, elements: &[(u32, f32)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + elements.len() * 8);
    bytes.extend(dim.to_le_bytes());
    bytes.extend((elements.len() as u32).to_le_bytes());
    elements.iter().for_each(|(index, _)| bytes.extend(index.to_le_bytes()));
    elements.iter().for_each(|(_, value)| bytes.extend(value.to_le_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // tests
    use super::*;

    #[test]
    fn values_come_back() {
        let bytes = encode(7, &[(0, 1.5), (6, -2.0)]);
        let value = SparseRef::read(&bytes).unwrap();
        assert_eq!((value.dim(), value.nnz()), (7, 2));
        assert_eq!(value.iter().collect::<Vec<_>>(), [(0, 1.5), (6, -2.0)]);
    }

    #[test]
    fn bytes_of_the_wrong_length_are_corrupt() {
        let bytes = encode(7, &[(0, 1.5), (6, -2.0)]);
        for cut in 0..bytes.len() {
            assert_eq!(SparseRef::read(&bytes[..cut]).unwrap_err().state().code(), "XX001");
        }
    }

    #[test]
    fn order_is_that_of_the_whole_vector() {
        let dense = |values: &[f32]| {
            let all = (0..).zip(values.iter().copied());
            let elements: Vec<_> = all.filter(|(_, value)| *value != 0.0).collect();
            encode(values.len() as u32, &elements)
        };
        let vectors: [&[f32]; 9] = [
            &[0.0, -1.0],
            &[0.0, 0.0],
            &[0.0, 0.0, -1.0],
            &[0.0, 0.0, 1.0],
            &[0.0, 1.0],
            &[1.0],
            &[1.0, -1.0],
            &[1.0, 0.0],
            &[2.0],
        ];
        for a in vectors {
            for b in vectors {
                let (left, right) = (dense(a), dense(b));
                let order = SparseRef::read(&left).unwrap().compare(&SparseRef::read(&right).unwrap());
                assert_eq!(Some(order), a.partial_cmp(b), "{a:?} {b:?}");
            }
        }
    }
}
