//! One-byte codes of rows that come a few at a time: each has a scale of its own, so that nothing has to be learned from others first. They
//! say for certain that most rows are not among the nearest. Knows neither where the vectors lie nor who asks.
//!
//! A row `v` is `scale * code + error` with codes from -127 to 127, a query `unit * rounded + rest`; so `v . q` is `scale * unit * (code . rounded)`,
//! wrong by at most `|scale * code| * |rest| + |error| * |q|`.

use crate::{Metric, distance};
use std::ops::Range;

/// What is added to a code so that it is not negative.
const MIDDLE: u8 = 128;
/// The farthest code from the middle.
const FARTHEST: f32 = 127.0;
/// Squares of lengths between which sums of products keep their digits.
const SQUARES: Range<f32> = 1e-30..1e30;

/// Sums that are kept apart while a row is rounded.
const LANES: usize = 8;
/// Of so many numbers the squares of codes add up to whole numbers that each lane's f32 holds.
const EXACT_NUMBERS: usize = LANES * 1024;

/// Codes of rows of one dimension, by position.
#[derive(Clone, Debug)]
pub struct RowCodes {
    dim: usize,
    codes: Vec<u8>,
    measures: Vec<Measures>,
}

/// What is known of one row. Nothing, if its error is infinite.
#[derive(Clone, Copy, Debug)]
struct Measures {
    scale: f32,
    /// How long what the code stands for is, rounded up.
    length: f32,
    /// How long the difference between it and the row is, rounded up.
    error: f32,
    /// One divided by the length of the row.
    inverse: f32,
}

impl Measures {
    const UNKNOWN: Measures = Measures { scale: 0.0, length: 0.0, error: f32::INFINITY, inverse: 0.0 };
}

impl RowCodes {
    /// None yet, of rows of so many dimensions.
    pub fn new(dim: usize) -> RowCodes {
        RowCodes { dim, codes: Vec::new(), measures: Vec::new() }
    }

    /// Dimensions of each row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Rows that have one.
    pub fn len(&self) -> usize {
        self.measures.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.measures.is_empty()
    }

    /// Bytes for so many rows.
    pub fn bytes_of(dim: usize, rows: usize) -> usize {
        rows * (dim + size_of::<Measures>())
    }

    /// Makes room for so many rows more.
    pub fn reserve(&mut self, rows: usize) {
        self.codes.reserve_exact(rows * self.dim);
        self.measures.reserve_exact(rows);
    }

    /// Adds a row. One of another dimension, or with numbers that are none, is ruled out by nothing.
    pub fn push(&mut self, vector: &[f32]) {
        let start = self.codes.len();
        self.codes.resize(start + self.dim, MIDDLE);
        let is_row = vector.len() == self.dim;
        let measures = is_row.then(|| encode(vector, &mut self.codes[start..])).flatten();
        self.measures.push(measures.unwrap_or(Measures::UNKNOWN));
    }

    /// Adds rows of others.
    pub fn extend(&mut self, other: &RowCodes, rows: Range<usize>) {
        self.codes.extend_from_slice(&other.codes[rows.start * other.dim..rows.end * other.dim]);
        self.measures.extend_from_slice(&other.measures[rows]);
    }

    /// Calls `look` with each of these rows that is not surely farther than a bound, a score as [`Metric::score`] computes it, which `look` gives
    /// anew each time. Returns how many rows there were. Nothing is known of a row that has no code.
    pub fn sift(
        &self,
        asked: &AskedCodes,
        mut rows: impl Iterator<Item = u32>,
        bound: f32,
        mut look: impl FnMut(u32) -> f32,
    ) -> u64 {
        let (mut four, mut total) = ([0; 4], 0);
        let mut limit = asked.limit(bound);
        loop {
            let mut count = 0;
            for (place, row) in four.iter_mut().zip(&mut rows) {
                (*place, count) = (row, count + 1);
            }
            let is_out = self.rule_out(four, asked, &limit);
            for (row, _) in four.into_iter().zip(is_out).take(count).filter(|(_, is_out)| !is_out) {
                let bound = look(row);
                if bound < limit.given {
                    limit = asked.limit(bound);
                }
            }
            total += count as u64;
            if count < four.len() {
                return total;
            }
        }
    }

    #[inline]
    fn rule_out(&self, rows: [u32; 4], asked: &AskedCodes, limit: &Limit) -> [bool; 4] {
        let code = |row: u32| {
            let start = row as usize * self.dim;
            self.codes.get(start..start + self.dim).unwrap_or(&self.codes[..self.dim.min(self.codes.len())])
        };
        let products = distance::dot4_u8_i8(rows.map(code), &asked.rounded);
        std::array::from_fn(|at| {
            let measures = self.measures.get(rows[at] as usize).unwrap_or(&Measures::UNKNOWN);
            asked.is_beyond(products[at], measures, limit)
        })
    }
}

/// Rounds a row; `None` if sums of its numbers' products would have no digits.
fn encode(vector: &[f32], codes: &mut [u8]) -> Option<Measures> {
    let square = distance::dot(vector, vector);
    // The largest of the numbers without their signs, by their bits: NaN and infinity are above all others.
    let bits = vector.iter().map(|x| (x.to_bits() & i32::MAX as u32) as i32).fold(0, i32::max);
    let largest = f32::from_bits(bits as u32);
    if largest == 0.0 {
        return Some(Measures { scale: 0.0, length: 0.0, error: 0.0, inverse: f32::INFINITY });
    }
    if !SQUARES.contains(&square) {
        return None;
    }
    let (scale, inverse) = (largest / FARTHEST, FARTHEST / largest);
    let (mut lost, mut length) = (0.0, 0.0);
    for (codes, numbers) in codes.chunks_mut(EXACT_NUMBERS).zip(vector.chunks(EXACT_NUMBERS)) {
        let (block_lost, block_length) = encode_block(numbers, scale, inverse, codes);
        (lost, length) = (lost + block_lost, length + block_length);
    }
    // Of each difference so much may be lost where it is taken, and so much of the sum.
    let rounding = 2e-5 * scale * (vector.len() as f32).sqrt();
    let error = (lost.sqrt() as f32 + rounding) * (1.0 + 3e-4);
    let length = (length.sqrt() * f64::from(scale)) as f32 * (1.0 + 1e-6);
    Some(Measures { scale, length, error, inverse: 1.0 / square.sqrt() })
}

/// Rounds some numbers: the square of what they lost, and that of the codes. In lanes and without a conversion, for compilers to use vectors.
fn encode_block(numbers: &[f32], scale: f32, inverse: f32, codes: &mut [u8]) -> (f64, f64) {
    let (mut lost, mut length) = ([0.0f32; LANES], [0.0f32; LANES]);
    let mut eight = |numbers: &[f32; LANES]| {
        let rounded = numbers.map(|x| distance::round_even(x * inverse));
        for at in 0..LANES {
            let rest = numbers[at] - scale * rounded[at];
            lost[at] += rest * rest;
            length[at] += rounded[at] * rounded[at];
        }
        rounded.map(|whole| distance::whole_byte(whole).wrapping_add(MIDDLE))
    };
    let (whole, rest) = numbers.as_chunks();
    let (whole_codes, rest_codes) = codes.as_chunks_mut();
    whole.iter().zip(whole_codes).for_each(|(numbers, codes)| *codes = eight(numbers));
    // Zeros add nothing.
    let mut last = [0.0; LANES];
    last[..rest.len()].copy_from_slice(rest);
    rest_codes.copy_from_slice(&eight(&last)[..rest.len()]);
    let sum = |lanes: [f32; LANES]| lanes.into_iter().map(f64::from).sum();
    (sum(lost), sum(length))
}

/// A query that is compared with codes.
#[derive(Clone, Debug)]
pub struct AskedCodes {
    metric: Metric,
    rounded: Vec<i8>,
    /// What has to be taken from a product, as codes are counted from zero.
    middle: i32,
    unit: f64,
    /// How long the query is, how long what its rounding lost, and one divided by the first.
    length: f64,
    rest: f64,
    inverse: f64,
    /// How much of itself, and of the product of both lengths, a sum may be wrong by that is added up in f32.
    relative: f64,
}

/// A score, made ready to be compared with codes.
#[derive(Clone, Copy, Debug)]
struct Limit {
    given: f32,
    score: f64,
    /// For L2: its root, a little larger.
    root: f64,
}

impl AskedCodes {
    /// Rounds a query. `None` if codes say nothing of it: for metrics that do not follow from an inner product, and for numbers whose products
    /// have no digits.
    pub fn new(metric: Metric, query: &[f32]) -> Option<AskedCodes> {
        let square = distance::dot(query, query);
        let follows = matches!(metric, Metric::L2 | Metric::InnerProduct | Metric::Cosine);
        if !follows || !SQUARES.contains(&square) {
            return None;
        }
        let largest = query.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        let (unit, inverse) = (largest / FARTHEST, FARTHEST / largest);
        let rounded: Vec<i8> = query.iter().map(|x| distance::round_even(x * inverse) as i8).collect();
        let (mut length, mut rest) = (0.0f64, 0.0f64);
        for (x, rounded) in query.iter().zip(&rounded) {
            length += f64::from(*x).powi(2);
            rest += (f64::from(*x) - f64::from(unit) * f64::from(*rounded)).powi(2);
        }
        Some(AskedCodes {
            metric,
            middle: i32::from(MIDDLE) * rounded.iter().map(|x| i32::from(*x)).sum::<i32>(),
            rounded,
            unit: unit.into(),
            length: length.sqrt() * (1.0 + 1e-12),
            rest: rest.sqrt() * (1.0 + 1e-12),
            inverse: 1.0 / length.sqrt(),
            // One after the other in at least sixteen lanes, as all kernels add.
            relative: (query.len() as f64 / 16.0 + 16.0) * f64::from(f32::EPSILON),
        })
    }

    /// A score that rows are to be compared with. That of NaN rules nothing out.
    fn limit(&self, given: f32) -> Limit {
        let score = f64::from(given);
        Limit { given, score, root: (score.max(0.0) / (1.0 - self.relative)).sqrt() * (1.0 + 1e-12) }
    }

    /// Whether a row's score is surely above the limit, from the product of its code and the rounded query. False also of whatever is not a
    /// number.
    #[inline(always)]
    fn is_beyond(&self, product: i32, row: &Measures, limit: &Limit) -> bool {
        let product = f64::from(row.scale) * self.unit * f64::from(product - self.middle);
        let (length, error) = (f64::from(row.length), f64::from(row.error));
        match self.metric {
            Metric::L2 => {
                let squares = length * length + self.length * self.length;
                // What the code stands for is this far at least; the row is that far, give or take the error. The length
                // is one part in a million too long at most.
                let coded = squares * (1.0 - 4e-6) - 2.0 * (product + length * self.rest);
                let needed = limit.root + error;
                coded > needed * needed && limit.score >= f64::NEG_INFINITY
            }
            Metric::InnerProduct => {
                let most = product + length * self.rest + error * self.length;
                let lost = self.relative * (length + error) * self.length + f64::from(f32::MIN_POSITIVE);
                -most - lost > limit.score
            }
            _ => {
                let most = (product + length * self.rest + error * self.length) * self.inverse;
                1.0 - most * f64::from(row.inverse) - (6.0 * self.relative + 1e-6) > limit.score
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;
    use proptest::prelude::*;

    const METRICS: [Metric; 3] = [Metric::L2, Metric::InnerProduct, Metric::Cosine];

    fn coded(dim: usize, rows: &[Vec<f32>]) -> RowCodes {
        let mut codes = RowCodes::new(dim);
        rows.iter().for_each(|row| codes.push(row));
        codes
    }

    fn ruled_out(codes: &RowCodes, asked: &AskedCodes, limit: f32) -> Vec<bool> {
        let limit = asked.limit(limit);
        let rows = 0..codes.len() as u32;
        rows.map(|row| codes.rule_out([row; 4], asked, &limit)[0]).collect()
    }

    fn numbers() -> impl Strategy<Value = f32> {
        prop_oneof![
            8 => -1.0f32..1.0,
            1 => Just(0.0),
            1 => prop_oneof![Just(1e-12f32), Just(-3e9), Just(1e-25), Just(f32::MAX), Just(f32::NAN), Just(f32::INFINITY)],
        ]
    }

    proptest! {
        #[test]
        fn no_row_is_ruled_out_that_is_no_farther(
            rows in (1usize..70).prop_flat_map(|dim| {
                proptest::collection::vec(proptest::collection::vec(numbers(), dim), 2..12)
            }),
            shift in prop_oneof![3 => Just(0.0f32), 1 => -100.0f32..100.0],
        ) {
            let dim = rows[0].len();
            let rows: Vec<Vec<f32>> = rows.iter().map(|row| row.iter().map(|x| x + shift).collect()).collect();
            let codes = coded(dim, &rows[1..]);
            for metric in METRICS {
                let Some(asked) = AskedCodes::new(metric, &rows[0]) else { continue };
                let scores: Vec<f32> = rows[1..].iter().map(|row| metric.score(&rows[0], row)).collect();
                for limit in scores.iter().flat_map(|score| [score.next_up(), *score]).chain([f32::INFINITY, f32::NAN]) {
                    for (score, is_out) in scores.iter().zip(ruled_out(&codes, &asked, limit)) {
                        prop_assert!(!is_out || *score > limit, "{metric}: {score} against {limit}");
                    }
                }
            }
        }
    }

    /// Rows at random around some centres, as embeddings lie.
    fn clustered(rows: usize, dim: usize) -> Vec<Vec<f32>> {
        let mut state = 7u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
        };
        let centres: Vec<Vec<f32>> = (0..20).map(|_| (0..dim).map(|_| next()).collect()).collect();
        (0..rows).map(|row| centres[row % 20].iter().map(|x| x + 0.5 * next()).collect()).collect()
    }

    #[test]
    fn most_rows_that_are_farther_are_ruled_out() {
        let rows = clustered(2_000, 96);
        let codes = coded(96, &rows);
        for metric in METRICS {
            let asked = AskedCodes::new(metric, &rows[5]).unwrap();
            let scores: Vec<f32> = rows.iter().map(|row| metric.score(&rows[5], row)).collect();
            let mut sorted = scores.clone();
            sorted.sort_by(f32::total_cmp);
            let out = ruled_out(&codes, &asked, sorted[10]).into_iter().filter(|out| *out).count();
            assert!((1_900..1_990).contains(&out), "{metric}: {out}");
        }
    }

    #[test]
    fn the_nearest_rows_are_looked_at_and_few_others() {
        let rows = clustered(2_001, 96);
        let codes = coded(96, &rows);
        for metric in METRICS {
            let asked = AskedCodes::new(metric, &rows[7]).unwrap();
            for k in [1, 10, 3_000] {
                let (mut top, mut looked) = (crate::TopK::new(k), 0);
                let sifted = codes.sift(&asked, 0..2_001, f32::INFINITY, |row| {
                    looked += 1;
                    top.push(metric.score(&rows[7], &rows[row as usize]), row);
                    top.bound().unwrap_or(f32::INFINITY)
                });
                let mut all = crate::TopK::new(k);
                rows.iter().zip(0..).for_each(|(row, at)| {
                    all.push(metric.score(&rows[7], row), at);
                });
                assert_eq!(top.into_neighbors(), all.into_neighbors(), "{metric} {k}");
                assert_eq!(sifted, 2_001);
                assert!(looked < 400 || k > 10, "{metric} {k}: {looked}");
            }
        }
    }

    #[test]
    fn rows_are_added_and_taken_over() {
        let rows = clustered(50, 33);
        let mut codes = coded(33, &rows[..20]);
        let rest = coded(33, &rows);
        codes.extend(&rest, 20..50);
        assert_eq!((codes.len(), &codes.codes), (50, &rest.codes));
        // Of another dimension, and beyond the last.
        codes.push(&[1.0]);
        let asked = AskedCodes::new(Metric::L2, &rows[0]).unwrap();
        assert_eq!(codes.rule_out([50, 51, 50, u32::MAX], &asked, &asked.limit(0.0)), [false; 4]);
        assert_eq!(codes.rule_out([0, 1, 0, 2], &asked, &asked.limit(0.0)), [false, true, false, true]);
        assert!(AskedCodes::new(Metric::L1, &rows[0]).is_none());
        assert!(AskedCodes::new(Metric::L2, &[0.0; 33]).is_none());
    }
}
