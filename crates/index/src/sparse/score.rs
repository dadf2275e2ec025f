//! Scores of sparse vectors from what two of them have in common and what each is by itself.

use super::{SparseVector, totals};
use crate::Metric;

/// A score under way. Sums are f64: what is common is taken from what is not, and near zero f32 would keep no digits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scorer {
    metric: Metric,
    squares: f64,
    sums: f64,
    met: f64,
}

impl Scorer {
    pub(super) fn new(metric: Metric, query: &SparseVector) -> Scorer {
        let (squares, sums) = totals(&query.values);
        Scorer { metric, squares, sums, met: 0.0 }
    }

    /// What two values at one place add.
    pub(super) fn common(&self, a: f32, b: f32) -> f64 {
        let (a, b) = (f64::from(a), f64::from(b));
        match self.metric {
            Metric::L1 => (a - b).abs() - a.abs() - b.abs(),
            _ => a * b,
        }
    }

    pub(super) fn meet(&mut self, a: f32, b: f32) {
        self.met += self.common(a, b);
    }

    /// The same with what was met so far.
    pub(super) fn after(&self, met: f64) -> Scorer {
        Scorer { met, ..*self }
    }

    /// The score against a vector with these sums of squares and of absolute values.
    pub(super) fn finish(&self, squares: f64, sums: f64) -> f64 {
        match self.metric {
            Metric::L2 => (self.squares + squares - 2.0 * self.met).max(0.0),
            Metric::L1 => (self.sums + sums + self.met).max(0.0),
            Metric::InnerProduct => -self.met,
            Metric::Cosine | Metric::Jaccard => {
                1.0 - (self.met / (self.squares * squares).sqrt()).clamp(-1.0, 1.0)
            }
        }
    }
}
