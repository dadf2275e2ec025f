//! Numbers of one to eight bits as planes of eight, four, two and one bits, and their inner product with a rounded query.
//! Knows nothing of what the numbers stand for.

use crate::distance;

/// Where the planes of a code lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planes {
    dims: usize,
    bits: u8,
}

impl Planes {
    /// `dims` is a multiple of eight.
    pub(super) fn new(dims: usize, bits: u8) -> Planes {
        Planes { dims, bits }
    }

    pub(super) fn bits(self) -> u8 {
        self.bits
    }

    /// Bytes of all planes.
    pub(super) fn bytes(self) -> usize {
        self.dims / 8 * usize::from(self.bits)
    }

    /// Half of the largest number.
    pub(super) fn middle(self) -> f32 {
        ((1u32 << self.bits) - 1) as f32 / 2.0
    }

    /// Packs numbers of `bits` bits, whose highest bits go into the widest plane.
    pub(super) fn pack(self, levels: &[u8], out: &mut [u8]) {
        out.fill(0);
        let (mut rest, mut left) = (out, self.bits);
        for width in self.widths() {
            left -= width;
            let (plane, behind) = rest.split_at_mut(self.dims / 8 * usize::from(width));
            let mask = u8::MAX >> (8 - width);
            for (at, stretch) in levels.chunks_exact(plane.len()).enumerate() {
                for (byte, level) in plane.iter_mut().zip(stretch) {
                    *byte |= (level >> left & mask) << (at as u8 * width);
                }
            }
            rest = behind;
        }
    }

    /// The inner product of packed numbers and a query of as many dimensions.
    #[inline(always)]
    pub(super) fn dot(self, planes: &[u8], query: &[i8]) -> i32 {
        let eighth = self.dims / 8;
        if self.bits == 8 {
            return distance::dot_u8_i8(planes, query);
        }
        let (mut sum, mut rest) = (0i32, planes);
        let mut take = |width: usize| {
            let (plane, behind) = rest.split_at_checked(eighth * width).unwrap_or_default();
            rest = behind;
            plane
        };
        if self.bits & 4 != 0 {
            sum = distance::dot_u4_i8(take(4), query);
        }
        if self.bits & 2 != 0 {
            sum = (sum << 2) + distance::dot_u2_i8(take(2), query);
        }
        if self.bits & 1 != 0 {
            sum = (sum << 1) + distance::dot_u1_i8(take(1), query);
        }
        sum
    }

    /// Widths of the planes: the binary digits of the number of bits.
    fn widths(self) -> impl Iterator<Item = u8> {
        [8, 4, 2, 1].into_iter().filter(move |width| self.bits & width != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_what_is_multiplied() {
        for bits in 1..=8u8 {
            for dims in [8usize, 24, 64, 384, 1000] {
                let planes = Planes::new(dims, bits);
                let number = |at: usize, by: usize| (at * by + at / 7) as u8;
                let levels: Vec<u8> = (0..dims).map(|at| number(at, 37) & (255 >> (8 - bits))).collect();
                let query: Vec<i8> = (0..dims).map(|at| number(at, 91) as i8).collect();
                let mut packed = vec![0; planes.bytes()];
                planes.pack(&levels, &mut packed);
                let want: i32 = levels.iter().zip(&query).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum();
                assert_eq!(planes.dot(&packed, &query), want, "{bits} bits, {dims} dimensions");
                assert_eq!(packed.len(), dims * usize::from(bits) / 8);
            }
        }
    }
}
