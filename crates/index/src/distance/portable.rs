//! Kernels in plain Rust: for CPUs without the others, and what the others are tested against.

/// Independent sums, so that the compiler may use whatever vector registers the target has.
const LANES: usize = 16;

/// An f16, given as its bits.
#[inline(always)]
pub(crate) fn widen(half: u16) -> f32 {
    half::f16::from_bits(half).to_f32_const()
}

#[inline(always)]
fn fold<T: Copy>(a: &[f32], b: &[T], to_f32: impl Fn(T) -> f32, term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (blocks_a, blocks_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 =
        blocks_a.remainder().iter().zip(blocks_b.remainder()).map(|(x, y)| term(*x, to_f32(*y))).sum();
    for (block_a, block_b) in blocks_a.zip(blocks_b) {
        for lane in 0..LANES {
            sums[lane] += term(block_a[lane], to_f32(block_b[lane]));
        }
    }
    rest + sums.iter().sum::<f32>()
}

pub(crate) fn l2_squared(a: &[f32], b: &[f32]) -> f32 {
    fold(a, b, f32::from, |x, y| (x - y) * (x - y))
}

pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    fold(a, b, f32::from, |x, y| x * y)
}

pub(crate) fn l1(a: &[f32], b: &[f32]) -> f32 {
    fold(a, b, f32::from, |x, y| (x - y).abs())
}

pub(crate) fn dot_and_norms(a: &[f32], b: &[f32]) -> (f32, f32, f32) {
    (dot(a, b), dot(a, a), dot(b, b))
}

pub(crate) fn l2_squared_f16(a: &[f32], b: &[u16]) -> f32 {
    fold(a, b, widen, |x, y| (x - y) * (x - y))
}

pub(crate) fn dot_f16(a: &[f32], b: &[u16]) -> f32 {
    fold(a, b, widen, |x, y| x * y)
}

pub(crate) fn l1_f16(a: &[f32], b: &[u16]) -> f32 {
    fold(a, b, widen, |x, y| (x - y).abs())
}

pub(crate) fn dot_and_norms_f16(a: &[f32], b: &[u16]) -> (f32, f32, f32) {
    (dot_f16(a, b), dot(a, a), fold(a, b, widen, |_, y| y * y))
}

/// Adds up what `count` says of each word of both, the last one filled up with zeros.
#[inline(always)]
fn fold_words(a: &[u8], b: &[u8], mut count: impl FnMut(u64, u64)) {
    let ((words_a, rest_a), (words_b, rest_b)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (x, y) in words_a.iter().zip(words_b) {
        count(u64::from_le_bytes(*x), u64::from_le_bytes(*y));
    }
    for (x, y) in rest_a.iter().zip(rest_b) {
        count((*x).into(), (*y).into());
    }
}

#[inline(always)]
pub(crate) fn hamming(a: &[u8], b: &[u8]) -> u32 {
    let mut differ = 0;
    fold_words(a, b, |x, y| differ += (x ^ y).count_ones());
    differ
}

#[inline(always)]
pub(crate) fn common_bits(a: &[u8], b: &[u8]) -> (u32, u32) {
    let (mut both, mut either) = (0, 0);
    fold_words(a, b, |x, y| {
        both += (x & y).count_ones();
        either += (x | y).count_ones();
    });
    (both, either)
}

pub(crate) fn dot_u8_i8(a: &[u8], b: &[i8]) -> i32 {
    a.iter().zip(b).map(|(x, y)| i32::from(*x) * i32::from(*y)).sum()
}

pub(crate) fn dot4_u8_i8(codes: [&[u8]; 4], query: &[i8]) -> [i32; 4] {
    codes.map(|codes| dot_u8_i8(codes, query))
}

pub(crate) fn l1_u8(a: &[u8], b: &[u8]) -> i32 {
    a.iter().zip(b).map(|(x, y)| i32::from(x.abs_diff(*y))).sum()
}

/// Numbers of `WIDTH` bits, `8 / WIDTH` to a byte: the `i`th lowest of byte `j` belongs to `query[i * plane.len() + j]`.
pub(crate) fn dot_packed<const WIDTH: i32>(plane: &[u8], query: &[i8]) -> i32 {
    dot_packed_from::<WIDTH>(plane, query, 0)
}

/// [`dot_packed`] of the bytes from `start` on: what is left when vector registers have taken the rest.
pub(crate) fn dot_packed_from<const WIDTH: i32>(plane: &[u8], query: &[i8], start: usize) -> i32 {
    let stretches = query.chunks_exact(plane.len().max(1));
    let stretch = |(at, stretch): (usize, &[i8])| -> i32 {
        let value = |byte: u8| i32::from(byte >> (at as i32 * WIDTH)) & ((1 << WIDTH) - 1);
        plane[start..].iter().zip(&stretch[start..]).map(|(byte, y)| value(*byte) * i32::from(*y)).sum()
    };
    stretches.enumerate().map(stretch).sum()
}
