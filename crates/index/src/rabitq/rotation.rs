//! A rotation that looks random and costs `n log n`: signs, Hadamard transforms, and halves added to each other.
//! Knows no codes.

/// Rounds, each over a block at one end. After two, one coordinate is spread over all; the others are for vectors that
/// these happen to line up.
const ROUNDS: usize = 4;
/// Dimensions are padded to a multiple of this: whole bytes of a plane of one bit.
const PADDING: usize = 8;

/// A rotation, and a padding with zeros before it.
#[derive(Clone, Debug)]
pub(super) struct Rotation {
    dims: usize,
    /// The largest power of two that is not more than `dims`.
    block: usize,
    /// For each round and dimension: the sign bit, or zero.
    signs: Vec<u32>,
}

impl Rotation {
    /// Dimensions after padding.
    pub(super) fn dims_of(dim: usize) -> usize {
        dim.next_multiple_of(PADDING).max(PADDING)
    }

    pub(super) fn new(dim: usize, seed: u64) -> Rotation {
        let dims = Rotation::dims_of(dim);
        let signs = (0..(ROUNDS * dims) as u64).map(|at| ((mix(seed, at) >> 63) as u32) << 31).collect();
        Rotation { dims, block: 1 << dims.ilog2(), signs }
    }

    pub(super) fn dims(&self) -> usize {
        self.dims
    }

    /// Pads and rotates.
    pub(super) fn apply(&self, vector: &[f32]) -> Vec<f32> {
        let mut values = Vec::with_capacity(self.dims);
        values.extend_from_slice(vector);
        values.resize(self.dims, 0.0);
        for (round, signs) in self.signs.chunks_exact(self.dims).enumerate() {
            for (value, sign) in values.iter_mut().zip(signs) {
                *value = f32::from_bits(value.to_bits() ^ sign);
            }
            let start = if round % 2 == 0 { 0 } else { self.dims - self.block };
            hadamard(&mut values[start..start + self.block]);
            if self.block < self.dims {
                // Two blocks may hardly overlap: this joins them.
                add_halves(&mut values);
            }
        }
        values
    }
}

/// The Walsh-Hadamard transform of a power of two of values, scaled to keep lengths.
fn hadamard(values: &mut [f32]) {
    let scale = 1.0 / (values.len() as f32).sqrt();
    // The three shortest steps at once, on registers of eight.
    for eight in values.as_chunks_mut::<8>().0 {
        *eight = hadamard_of_eight(*eight, scale);
    }
    let mut half = 8;
    while half < values.len() {
        for pair in values.chunks_exact_mut(2 * half) {
            let (left, right) = pair.split_at_mut(half);
            for (a, b) in left.iter_mut().zip(right) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
}

#[inline(always)]
fn hadamard_of_eight(v: [f32; 8], scale: f32) -> [f32; 8] {
    let step = |v: [f32; 8], half: usize| -> [f32; 8] {
        std::array::from_fn(|at| if at & half == 0 { v[at] + v[at + half] } else { v[at - half] - v[at] })
    };
    step(step(step(v, 1), 2), 4).map(|value| value * scale)
}

fn add_halves(values: &mut [f32]) {
    let (left, right) = values.split_at_mut(values.len() / 2);
    for (a, b) in left.iter_mut().zip(right) {
        (*a, *b) = ((*a + *b) * std::f32::consts::FRAC_1_SQRT_2, (*a - *b) * std::f32::consts::FRAC_1_SQRT_2);
    }
}

/// SplitMix64 of a number under a seed (Steele, Lea and Flood, OOPSLA 2014).
fn mix(seed: u64, at: u64) -> u64 {
    let mut z = seed.wrapping_add(at.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_angles_stay_and_a_coordinate_spreads() {
        for dim in [1, 3, 8, 17, 64, 100, 384, 504, 512, 768, 1000] {
            let rotation = Rotation::new(dim, 5);
            let value = |seed, at| (mix(seed, at as u64) >> 40) as f32 / (1 << 24) as f32 - 0.5;
            let a: Vec<f32> = (0..dim).map(|at| value(1, at)).collect();
            let b: Vec<f32> = (0..dim).map(|at| value(2, at)).collect();
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
            let (ra, rb) = (rotation.apply(&a), rotation.apply(&b));
            assert_eq!(ra.len(), Rotation::dims_of(dim));
            assert!((dot(&a, &b) - dot(&ra, &rb)).abs() < 1e-3, "{dim}");
            assert!((dot(&a, &a) - dot(&ra, &ra)).abs() < 1e-3, "{dim}");
            for at in [0, dim / 2, dim - 1] {
                let mut one = vec![0.0; dim];
                one[at] = 1.0;
                let largest = rotation.apply(&one).iter().fold(0.0f32, |most, value| most.max(value.abs()));
                let even = 1.0 / (ra.len() as f32).sqrt();
                assert!(dim < 64 || largest < 5.0 * even, "{dim}: {largest} against {even}");
            }
            assert_eq!(rotation.apply(&a), Rotation::new(dim, 5).apply(&a));
        }
    }
}
