//! What one-byte codes say for certain: bounds of the scores of nodes, from how far each code is from its vector and from
//! what the query lost when it was rounded. Knows no links.

use super::codes::{Codes, MIDDLE, Quantizer};
use crate::Metric;
use crate::distance::{self, prefetch};
use crate::sieve::{BLOCK, Sketch};
use std::borrow::Cow;

/// Of one node: how long the difference between its vector and what its code stands for is, and how far its code is
/// from the middle of all codes. Both rounded up.
pub(super) type CodeError = [f32; 2];

/// Measures the code of a prepared vector.
pub(super) fn code_error(quantizer: &Quantizer, vector: &[f32], codes: &[u8]) -> CodeError {
    let (mut lost, mut reach) = (0.0f64, 0.0f64);
    for ((value, code), (low, step)) in vector.iter().zip(codes).zip(quantizer.ranges()) {
        lost += (f64::from(*value) - f64::from(low) - f64::from(step) * f64::from(*code)).powi(2);
        reach += (f64::from(*code) - MIDDLE).powi(2);
    }
    [lost, reach].map(|square| (square.sqrt() as f32).next_up())
}

/// A query and the codes of all nodes.
pub(super) struct ScalarSieve<'a, N> {
    codes: Codes<'a>,
    errors: &'a [CodeError],
    query: Cow<'a, [i8]>,
    /// From row to node.
    node: N,
    is_l2: bool,
    offset: f64,
    factor: f64,
    /// Of each unit of a code's distance from the middle, and of each unit of its error: how wrong the score may be.
    per_reach: f64,
    per_error: f64,
    /// How wrong it may be in any case.
    always: f64,
    /// How much of itself a sum of squares may be wrong by, when it is added up in f32.
    relative: f64,
}

impl<'a, N: Fn(u32) -> Option<u32>> ScalarSieve<'a, N> {
    /// Keeps account, in f64, of what a prepared query lost when it was rounded by [`Quantizer::round`]. For metrics that follow from an inner
    /// product.
    pub(super) fn new(
        metric: Metric,
        quantizer: &Quantizer,
        codes: Codes<'a>,
        errors: &'a [CodeError],
        prepared: &[f32],
        (query, unit): (Cow<'a, [i8]>, f32),
        node: N,
    ) -> ScalarSieve<'a, N> {
        let unit = f64::from(unit);
        let (mut at_middle, mut lost, mut norm) = (0.0f64, 0.0f64, 0.0f64);
        for ((value, rounded), (low, step)) in prepared.iter().zip(&*query).zip(quantizer.ranges()) {
            let (value, low, step) = (f64::from(*value), f64::from(low), f64::from(step));
            let rest = value * step - unit * f64::from(*rounded);
            at_middle += value * low + rest * MIDDLE;
            lost += rest * rest;
            norm += value * value;
        }
        let (lost, length) = (lost.sqrt(), norm.sqrt());
        // Of sums in f32, one after the other in at least sixteen lanes, as all kernels add.
        let relative = (prepared.len() as f64 / 16.0 + 16.0) * f64::from(f32::EPSILON);
        let is_l2 = metric == Metric::L2;
        let (offset, factor) = match metric {
            Metric::L2 => (norm - 2.0 * at_middle, 2.0 * unit),
            Metric::Cosine => (1.0 - at_middle, unit),
            _ => (-at_middle, unit),
        };
        let weight = if is_l2 { 2.0 } else { 1.0 };
        // A sum of products of any sign is wrong by its share of the product of both lengths; a length is at most that
        // of the middle, of the code from there, and of the code's error together.
        let share = if is_l2 { 0.0 } else { relative * length };
        ScalarSieve {
            codes,
            errors,
            query,
            node,
            is_l2,
            offset,
            factor,
            per_reach: weight * lost + share * quantizer.widest(),
            per_error: length + share,
            always: share * quantizer.middle_length()
                + if metric == Metric::Cosine { 2.0 * relative } else { 0.0 },
            relative,
        }
    }

    /// Error and reach of a node's code; infinite if nothing is known of it.
    #[inline(always)]
    fn error(&self, node: u32) -> [f64; 2] {
        self.errors.get(node as usize).map_or([f64::INFINITY; 2], |pair| pair.map(f64::from))
    }

    /// A number that the score is surely not below: minus infinity if the code says nothing.
    #[inline(always)]
    fn lower(&self, product: f64, term: f64, error: f64, reach: f64) -> f64 {
        let score = self.offset + term - self.factor * product;
        let lower = match self.is_l2 {
            true => {
                // By the triangle inequality the vector is as far as its code, give or take the error.
                let nearest = ((score - self.l2_margin(term, reach)).max(0.0).sqrt() - error).max(0.0);
                nearest * nearest * (1.0 - self.relative)
            }
            false => score - self.margin(error, reach),
        };
        // Also false for what is no number.
        let is_known = score.abs() + error + reach < f64::INFINITY;
        if is_known { lower } else { f64::NEG_INFINITY }
    }

    #[inline(always)]
    fn margin(&self, error: f64, reach: f64) -> f64 {
        self.per_reach * reach + self.per_error * error + self.always
    }

    /// How wrong the distance of a code may be. The term is as good as an f32.
    #[inline(always)]
    fn l2_margin(&self, term: f64, reach: f64) -> f64 {
        self.per_reach * reach + f64::from(f32::EPSILON) * (term + self.offset.abs())
    }
}

impl<N: Fn(u32) -> Option<u32>> Sketch for ScalarSieve<'_, N> {
    #[inline(always)]
    fn code(&self, row: u32) -> Option<u32> {
        (self.node)(row)
    }

    #[inline(always)]
    fn prefetch(&self, node: u32) {
        // The rest lies close together, in the order of the rows, and comes without being asked for.
        prefetch(self.codes.get(node));
    }

    #[inline(always)]
    fn bounds(&self, node: u32, limit: f64) -> Option<(f64, f64)> {
        let product = f64::from(distance::dot_u8_i8(self.codes.get(node), &self.query));
        let [error, reach] = self.error(node);
        let term = f64::from(self.codes.term(node));
        let lower = self.lower(product, term, error, reach);
        if lower > limit {
            return None;
        }
        if lower == f64::NEG_INFINITY {
            return Some((f64::NEG_INFINITY, f64::INFINITY));
        }
        let score = self.offset + term - self.factor * product;
        if !self.is_l2 {
            return Some((lower, score + self.margin(error, reach)));
        }
        let farthest = (score + self.l2_margin(term, reach)).max(0.0).sqrt() + error;
        Some((lower, farthest * farthest * (1.0 + self.relative)))
    }

    #[inline(always)]
    fn lowers(&self, nodes: &[u32], lowers: &mut [f64; BLOCK]) {
        // Beyond the last node the first, again.
        let node = |at: usize| nodes.get(at).or(nodes.first()).copied().unwrap_or(0);
        let (mut products, mut terms) = ([0.0; BLOCK], [0.0; BLOCK]);
        let (mut errors, mut reaches) = ([0.0; BLOCK], [0.0; BLOCK]);
        for at in (0..BLOCK).step_by(4) {
            let four = std::array::from_fn(|more| node(at + more));
            for (more, product) in self.codes.products(four, &self.query).into_iter().enumerate() {
                products[at + more] = f64::from(product);
                terms[at + more] = f64::from(self.codes.term(four[more]));
                [errors[at + more], reaches[at + more]] = self.error(four[more]);
            }
        }
        for at in 0..BLOCK {
            lowers[at] = self.lower(products[at], terms[at], errors[at], reaches[at]);
        }
    }
}
