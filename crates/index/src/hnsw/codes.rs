//! One-byte codes of vectors and how a query or a node is compared with them. Knows no graph.
//!
//! A code stands for `low[d] + step[d] * code`. A query is rounded to i8 after its dimensions are multiplied
//! by the steps, so that one integer inner product gives `query · vector` for every metric but L1, which needs
//! one step for all dimensions.

use crate::distance::{self, prefetch};
use crate::scorer::RowScorer;
use crate::{Metric, VectorColumn};

/// Rows looked at to find the range of each dimension.
const SAMPLE_ROWS: usize = 10_000;
/// Beyond this share of the sample at either end, values may be clipped.
const TAIL_SHARE: f64 = 0.005;
/// Where codes count from when a query's rounding is weighed: the middle of a byte.
pub(super) const MIDDLE: f64 = 127.5;

/// The range of every dimension.
#[derive(Clone, Debug)]
pub(super) struct Quantizer {
    metric: Metric,
    low: Vec<f32>,
    step: Vec<f32>,
    /// How long what a code stands for is that is [`MIDDLE`] everywhere, and the largest step.
    middle_length: f64,
    widest: f64,
}

/// What a query becomes: an i8 for each dimension, and how to turn an integer inner product into a score.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Form {
    offset: f32,
    factor: f32,
}

impl Quantizer {
    /// Learns the ranges from the nodes' vectors.
    pub(super) fn train(metric: Metric, vectors: &VectorColumn, rows: &[u32]) -> Quantizer {
        let dim = usize::from(vectors.dim());
        let stride = rows.len().div_ceil(SAMPLE_ROWS).max(1);
        let mut sample: Vec<Vec<f32>> = vec![Vec::with_capacity(rows.len() / stride + 1); dim];
        let (mut least, mut most) = (vec![f32::INFINITY; dim], vec![f32::NEG_INFINITY; dim]);
        let (mut buffer, mut vector) = (Vec::new(), Vec::new());
        for (at, row) in rows.iter().enumerate() {
            prepare(metric, vectors.widened(*row, &mut buffer), &mut vector);
            for (d, value) in vector.iter().enumerate() {
                least[d] = least[d].min(*value);
                most[d] = most[d].max(*value);
            }
            if at % stride == 0 {
                sample.iter_mut().zip(&vector).for_each(|(values, value)| values.push(*value));
            }
        }
        let mut step = Vec::with_capacity(dim);
        for (d, values) in sample.iter_mut().enumerate() {
            let (low, high) = range(values, least[d], most[d]);
            least[d] = low;
            step.push((high - low) / 255.0);
        }
        if metric == Metric::L1 {
            let widest = step.iter().copied().fold(0.0, f32::max);
            step.fill(widest);
        }
        Quantizer::of(metric, least, step)
    }

    /// Reads back what [`numbers`](Self::numbers) wrote.
    pub(super) fn from_numbers(metric: Metric, numbers: &[f32]) -> Quantizer {
        let (low, step) = numbers.split_at(numbers.len() / 2);
        Quantizer::of(metric, low.to_vec(), step.to_vec())
    }

    fn of(metric: Metric, low: Vec<f32>, step: Vec<f32>) -> Quantizer {
        let ranges = || low.iter().zip(&step).map(|(low, step)| (f64::from(*low), f64::from(*step)));
        let middle_length = ranges().map(|(low, step)| (low + step * MIDDLE).powi(2)).sum::<f64>().sqrt();
        let widest = ranges().map(|(_, step)| step).fold(0.0, f64::max);
        Quantizer { metric, low, step, middle_length, widest }
    }

    /// How long the middle of all codes is.
    pub(super) fn middle_length(&self) -> f64 {
        self.middle_length
    }

    /// The largest step.
    pub(super) fn widest(&self) -> f64 {
        self.widest
    }

    /// What the file holds.
    pub(super) fn numbers(&self) -> Vec<f32> {
        [&self.low[..], &self.step[..]].concat()
    }

    /// Encodes a prepared vector.
    pub(super) fn encode(&self, vector: &[f32], codes: &mut [u8]) {
        for (d, code) in codes.iter_mut().take(self.low.len()).enumerate() {
            let scaled = if self.step[d] > 0.0 { (vector[d] - self.low[d]) / self.step[d] } else { 0.0 };
            *code = (scaled + 0.5) as u8; // saturates
        }
    }

    /// The square of the norm of what a code stands for: the part of L2 that no query changes.
    pub(super) fn term(&self, codes: &[u8]) -> f32 {
        let values = self.ranges().zip(codes);
        let square = |((low, step), code): ((f32, f32), &u8)| {
            (f64::from(low) + f64::from(step) * f64::from(*code)).powi(2)
        };
        values.map(square).sum::<f64>() as f32
    }

    /// The lowest value and the step of every dimension.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (f32, f32)> {
        self.low.iter().copied().zip(self.step.iter().copied())
    }

    /// Rounds a prepared query; returns what one stands for. `out` is as long as a code with its padding.
    pub(super) fn round(&self, query: &[f32], out: &mut [i8]) -> f32 {
        let scaled = |d: usize| query[d] * self.step[d];
        let dims = 0..self.low.len();
        let largest = dims.clone().map(|d| scaled(d).abs()).fold(0.0, f32::max);
        let unit = largest / 127.0;
        let inverse = if unit > 0.0 && unit.is_finite() { 1.0 / unit } else { 0.0 };
        for d in dims {
            out[d] = distance::round_even(scaled(d) * inverse) as i8;
        }
        unit
    }

    /// Rounds a prepared query, with what makes scores of it.
    pub(super) fn form(&self, query: &[f32], out: &mut [i8]) -> Form {
        let unit = self.round(query, out);
        self.form_of(query, unit)
    }

    fn form_of(&self, query: &[f32], unit: f32) -> Form {
        let constant = distance::dot(query, &self.low);
        match self.metric {
            Metric::L2 => Form { offset: distance::dot(query, query) - 2.0 * constant, factor: 2.0 * unit },
            Metric::Cosine => Form { offset: 1.0 - constant, factor: unit },
            _ => Form { offset: -constant, factor: unit },
        }
    }

    /// Of a rounded query whose scores are only compared with one another. What is the same in all of them is left
    /// out, and told beside it: for a query far away it would take all their digits.
    pub(super) fn search_form(&self, query: &[f32], unit: f32) -> (Form, f32) {
        let form = self.form_of(query, unit);
        (Form { offset: 0.0, ..form }, form.offset)
    }

    /// The one step of L1.
    pub(super) fn l1_step(&self) -> f32 {
        self.step.first().copied().unwrap_or(0.0)
    }
}

/// The range to encode: everything, but at most three times what holds all but the tails, so that one stray
/// vector does not take the resolution of all others.
fn range(values: &mut [f32], least: f32, most: f32) -> (f32, f32) {
    if values.is_empty() {
        return (0.0, 0.0);
    }
    let tail = ((values.len() - 1) as f64 * TAIL_SHARE) as usize;
    let last = values.len() - 1;
    let low = *values.select_nth_unstable_by(tail, f32::total_cmp).1;
    let high = *values.select_nth_unstable_by(last - tail, f32::total_cmp).1;
    let spread = high - low;
    if spread > 0.0 { (least.max(low - spread), most.min(high + spread)) } else { (least, most) }
}

/// Brings a vector into the form that is encoded: cosine looks at directions only.
pub(super) fn prepare(metric: Metric, vector: &[f32], out: &mut Vec<f32>) {
    out.clear();
    if metric == Metric::Cosine {
        let norm = distance::norm(vector);
        out.extend(vector.iter().map(|x| x / norm));
    } else {
        out.extend_from_slice(vector);
    }
}

/// Compares one fixed thing with points by their number.
pub(super) trait Scorer {
    /// Less is nearer. The point exists.
    fn score(&self, point: u32) -> f32;
    /// Four at once, which may cost less.
    fn scores(&self, points: [u32; 4]) -> [f32; 4] {
        points.map(|point| self.score(point))
    }
    /// As scores are compared here, one of [`Metric::score`].
    fn limit(&self, score: f32) -> f32 {
        score
    }
    /// Asks for the memory that `score` will read.
    fn prefetch(&self, point: u32);
}

/// Codes of one kind, all nodes'.
#[derive(Clone, Copy)]
pub(super) struct Codes<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) stride: usize,
    /// What L2 adds for each node; empty for other metrics.
    pub(super) terms: &'a [f32],
}

impl Codes<'_> {
    #[inline(always)]
    pub(super) fn get(&self, node: u32) -> &[u8] {
        let start = node as usize * self.stride;
        self.bytes.get(start..start + self.stride).unwrap_or_default()
    }

    #[inline(always)]
    pub(super) fn term(&self, node: u32) -> f32 {
        self.terms.get(node as usize).copied().unwrap_or(0.0)
    }

    #[inline(always)]
    pub(super) fn prefetch(&self, node: u32) {
        prefetch(self.get(node));
        if let Some(term) = self.terms.get(node as usize..node as usize + 1) {
            prefetch(term);
        }
    }

    /// The inner products of four codes and a rounded query.
    #[inline(always)]
    pub(super) fn products(&self, nodes: [u32; 4], query: &[i8]) -> [i32; 4] {
        distance::dot4_u8_i8(nodes.map(|node| self.get(node)), query)
    }

    /// The score of a node for a rounded query.
    #[inline(always)]
    pub(super) fn score(&self, node: u32, query: &[i8], form: Form) -> f32 {
        let product = distance::dot_u8_i8(self.get(node), query) as f32;
        form.offset + self.term(node) - form.factor * product
    }
}

/// A query against codes, for every metric but L1.
pub(super) struct ProductScorer<'a> {
    pub(super) codes: Codes<'a>,
    pub(super) query: &'a [i8],
    pub(super) form: Form,
    /// What is left out of all scores.
    pub(super) left_out: f32,
}

impl Scorer for ProductScorer<'_> {
    #[inline(always)]
    fn score(&self, node: u32) -> f32 {
        self.codes.score(node, self.query, self.form)
    }

    #[inline(always)]
    fn scores(&self, nodes: [u32; 4]) -> [f32; 4] {
        let products = self.codes.products(nodes, self.query);
        let score = |at: usize| {
            self.form.offset + self.codes.term(nodes[at]) - self.form.factor * products[at] as f32
        };
        [score(0), score(1), score(2), score(3)]
    }

    fn limit(&self, score: f32) -> f32 {
        // What is left out may be large, and then the difference of what both have lost of their digits.
        score - self.left_out + (score.abs() + self.left_out.abs()) * 1e-6
    }

    #[inline(always)]
    fn prefetch(&self, node: u32) {
        self.codes.prefetch(node);
    }
}

/// A query against codes, for L1.
pub(super) struct L1Scorer<'a> {
    pub(super) codes: Codes<'a>,
    pub(super) query: &'a [u8],
    pub(super) step: f32,
}

impl Scorer for L1Scorer<'_> {
    #[inline(always)]
    fn score(&self, node: u32) -> f32 {
        distance::l1_u8(self.codes.get(node), self.query) as f32 * self.step
    }

    #[inline(always)]
    fn prefetch(&self, node: u32) {
        self.codes.prefetch(node);
    }
}

/// A query against the vectors themselves.
pub(super) struct FullScorer<'a, R> {
    pub(super) asked: RowScorer<'a>,
    /// From node to row.
    pub(super) row: R,
}

impl<R: Fn(u32) -> u32> Scorer for FullScorer<'_, R> {
    #[inline(always)]
    fn score(&self, node: u32) -> f32 {
        self.asked.score((self.row)(node))
    }

    #[inline(always)]
    fn prefetch(&self, node: u32) {
        self.asked.prefetch((self.row)(node));
    }
}
