//! How the numbers of a vector column are stored, and what they are worth. Knows no file.

use crate::distance;
use crate::mapped::{as_bytes, as_numbers};
use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};

/// The zeros and ones of each byte.
static BITS: [[f32; 8]; 256] = {
    let mut all = [[0.0; 8]; 256];
    let mut at = 0;
    while at < 256 * 8 {
        all[at / 8][at % 8] = (((at / 8) >> (7 - at % 8)) & 1) as f32;
        at += 1;
    }
    all
};

/// What a column's vectors are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Element {
    /// f32, little-endian.
    #[default]
    F32,
    /// f16, little-endian.
    F16,
    /// Zeros and ones, the first in the highest place of the first byte; zeros fill up the last byte.
    Bit,
}

impl Element {
    /// All there are.
    pub const ALL: [Element; 3] = [Element::F32, Element::F16, Element::Bit];

    /// Bytes of a vector of so many dimensions.
    pub fn row_bytes(self, dim: u16) -> usize {
        let dim = usize::from(dim);
        match self {
            Element::F32 => dim * 4,
            Element::F16 => dim * 2,
            Element::Bit => dim.div_ceil(8),
        }
    }

    /// Appends a vector's bytes. Its numbers are taken for what the element can be: rounded to f16, and ones unless they are zero.
    pub fn pack(self, vector: &[f32], out: &mut Vec<u8>) {
        match self {
            Element::F32 => out.extend_from_slice(as_bytes(vector)),
            Element::F16 => {
                vector.iter().for_each(|x| out.extend_from_slice(&f16::from_f32(*x).to_le_bytes()))
            }
            Element::Bit => out.extend(vector.chunks(8).map(|eight| {
                let place = |(at, x): (usize, &f32)| u8::from(*x != 0.0) << (7 - at);
                eight.iter().enumerate().map(place).sum::<u8>()
            })),
        }
    }

    /// A vector's bytes alone; see [`Element::pack`].
    pub fn packed(self, vector: &[f32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.pack(vector, &mut bytes);
        bytes
    }

    /// The vector of `dim` dimensions that these bytes are, in place of what `out` held.
    pub fn widen(self, bytes: &[u8], dim: u16, out: &mut Vec<f32>) {
        out.clear();
        match self {
            Element::F32 => out.extend(bytes.as_chunks::<4>().0.iter().map(|x| f32::from_le_bytes(*x))),
            Element::F16 => match as_numbers::<u16>(bytes) {
                Some(halves) => {
                    out.resize(halves.len(), 0.0);
                    halves.reinterpret_cast::<f16>().convert_to_f32_slice(out);
                }
                None => {
                    let halves = bytes.as_chunks::<2>().0.iter().map(|x| u16::from_le_bytes(*x));
                    out.extend(halves.map(distance::widen));
                }
            },
            Element::Bit => {
                bytes.iter().for_each(|byte| out.extend_from_slice(&BITS[usize::from(*byte)]));
                out.truncate(dim.into());
            }
        }
    }

    /// The number a file holds for it.
    pub(crate) fn to_code(self) -> u8 {
        match self {
            Element::F32 => 0,
            Element::F16 => 1,
            Element::Bit => 2,
        }
    }

    /// What a file's number stands for.
    pub(crate) fn from_code(code: u8) -> Option<Element> {
        Element::ALL.into_iter().find(|element| element.to_code() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_packed_comes_back(vector in proptest::collection::vec(-70_000.0f32..70_000.0, 0..100)) {
            for element in Element::ALL {
                let (mut bytes, mut back) = (vec![7], vec![1.0]);
                element.pack(&vector, &mut bytes);
                let dim = vector.len() as u16;
                prop_assert_eq!(bytes.len(), 1 + element.row_bytes(dim));
                element.widen(&bytes[1..], dim, &mut back);
                // At an even address too.
                let (aligned, mut again) = (bytes[1..].to_vec(), Vec::new());
                element.widen(&aligned, dim, &mut again);
                prop_assert_eq!(&again, &back);
                let wanted: Vec<f32> = vector.iter().map(|x| match element {
                    Element::F32 => *x,
                    Element::F16 => f16::from_f32(*x).to_f32(),
                    Element::Bit => f32::from(u8::from(*x != 0.0)),
                }).collect();
                prop_assert_eq!(back, wanted);
            }
        }
    }

    #[test]
    fn bits_lie_as_in_a_bit_string() {
        let bytes = Element::Bit.packed(&[1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0]);
        assert_eq!(bytes, [0b1000_0010, 0b1000_0000]);
        assert_eq!(Element::from_code(3), None);
    }
}
