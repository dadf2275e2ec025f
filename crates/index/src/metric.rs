//! The distances pgvector's hnsw knows, as scores to order by and as the numbers SQL shows.
//! Knows nothing of files or graphs.

use crate::distance;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How two vectors are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Metric {
    /// Euclidean distance, `<->`. Its score is the square.
    L2,
    /// Negative inner product, `<#>`.
    InnerProduct,
    /// One minus the cosine of the angle, `<=>`. NaN when either vector is zero.
    Cosine,
    /// Sum of absolute differences, `<+>`.
    L1,
    /// One minus the share of ones that two vectors of zeros and ones have in common, `<%>`. (Their Hamming distance, `<~>`, is the
    /// square of L2.)
    Jaccard,
}

impl Metric {
    /// A number that orders neighbours as the distance does, cheaper where that is possible: less is nearer.
    pub fn score(self, a: &[f32], b: &[f32]) -> f32 {
        match self {
            Metric::L2 => distance::l2_squared(a, b),
            Metric::InnerProduct => -distance::dot(a, b),
            // Taken to f64 before the subtraction: near zero a difference in f32 would keep no digits.
            Metric::Cosine | Metric::Jaccard => self.of_products(distance::dot_and_norms(a, b)) as f32,
            Metric::L1 => distance::l1(a, b),
        }
    }

    /// What SQL shows for a score.
    pub fn distance(self, score: f32) -> f64 {
        match self {
            Metric::L2 => f64::from(score).sqrt(),
            Metric::InnerProduct | Metric::L1 | Metric::Jaccard => f64::from(score),
            // `clamp` keeps NaN, as pgvector does.
            Metric::Cosine => f64::from(score).clamp(0.0, 2.0),
        }
    }

    /// What SQL shows for two vectors: pgvector's arithmetic, which keeps more digits of a cosine than the
    /// score does.
    pub fn distance_between(self, a: &[f32], b: &[f32]) -> f64 {
        match self {
            Metric::Cosine | Metric::Jaccard => self.of_products(distance::dot_and_norms(a, b)),
            _ => self.distance(self.score(a, b)),
        }
    }

    /// [`score`](Self::score) and [`distance_between`](Self::distance_between) of two vectors.
    pub(crate) fn score_and_distance(self, a: &[f32], b: &[f32]) -> (f32, f64) {
        if let Metric::Cosine | Metric::Jaccard = self {
            let distance = self.distance_between(a, b);
            return (distance as f32, distance);
        }
        let score = self.score(a, b);
        (score, self.distance(score))
    }

    /// A score that no vector is above whose distance, as SQL shows it, is not above this one.
    pub fn score_bound(self, distance: f64) -> f32 {
        if distance.is_nan() {
            return f32::INFINITY;
        }
        let score = if self == Metric::L2 { distance.max(0.0).powi(2) } else { distance };
        ((score + score.abs() * 1e-6) as f32).next_up()
    }

    /// A cosine or Jaccard distance, from the inner products `(a·b, a·a, b·b)`.
    pub(crate) fn of_products(self, (dot, norm_a, norm_b): (f32, f32, f32)) -> f64 {
        let (dot, norm_a, norm_b) = (f64::from(dot), f64::from(norm_a), f64::from(norm_b));
        match self {
            Metric::Jaccard => Metric::jaccard(dot, norm_a + norm_b - dot),
            _ => 1.0 - (dot / (norm_a * norm_b).sqrt()).clamp(-1.0, 1.0),
        }
    }

    /// Nothing in common is as far as can be, even for two vectors without a one.
    pub fn jaccard(both: f64, either: f64) -> f64 {
        if both == 0.0 { 1.0 } else { 1.0 - both / either }
    }

    /// The number a file holds for this metric.
    pub(crate) fn to_code(self) -> u8 {
        match self {
            Metric::L2 => 1,
            Metric::InnerProduct => 2,
            Metric::Cosine => 3,
            Metric::L1 => 4,
            Metric::Jaccard => 5,
        }
    }

    /// The metric a file's number stands for.
    pub(crate) fn from_code(code: u8) -> Option<Metric> {
        Some(match code {
            1 => Metric::L2,
            2 => Metric::InnerProduct,
            3 => Metric::Cosine,
            4 => Metric::L1,
            5 => Metric::Jaccard,
            _ => return None,
        })
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Metric::L2 => "l2",
            Metric::InnerProduct => "inner product",
            Metric::Cosine => "cosine",
            Metric::L1 => "l1",
            Metric::Jaccard => "jaccard",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_pgvector_shows() {
        assert_eq!(Metric::L2.distance_between(&[0.0, 0.0], &[3.0, 4.0]), 5.0);
        assert_eq!(Metric::InnerProduct.distance_between(&[1.0, 2.0], &[3.0, 4.0]), -11.0);
        assert_eq!(Metric::L1.distance_between(&[0.0, 0.0], &[3.0, -4.0]), 7.0);
        assert_eq!(Metric::Cosine.distance_between(&[1.0, 2.0], &[2.0, 4.0]), 0.0);
        assert_eq!(Metric::Cosine.distance_between(&[1.0, 0.0], &[0.0, 2.0]), 1.0);
        assert_eq!(Metric::Cosine.distance_between(&[1.0, 1.0], &[-1.0, -1.0]), 2.0);
        assert_eq!(Metric::Cosine.distance_between(&[1.0, 1.0], &[1.1, 1.1]), 0.0, "clamped");
        assert_eq!(Metric::Jaccard.distance_between(&[1.0, 1.0, 0.0], &[0.0, 1.0, 1.0]), 1.0 - 1.0 / 3.0);
        assert_eq!(Metric::Jaccard.distance_between(&[0.0, 0.0], &[0.0, 0.0]), 1.0);
    }

    #[test]
    fn a_bound_of_scores_is_above_those_of_nearer_vectors() {
        let vectors = [[0.0f32, 0.0], [1.0, 0.0], [-1.0, 0.3], [1e-20, 1e-22], [3e18, -1e18], [0.7, 0.1]];
        for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine, Metric::L1, Metric::Jaccard] {
            for (a, b) in vectors.iter().flat_map(|a| vectors.iter().map(move |b| (a, b))) {
                let bound = metric.score_bound(metric.distance_between(a, b));
                let score = metric.score(a, b);
                assert!(score.is_nan() || score <= bound, "{metric} of {a:?} and {b:?}: {score} and {bound}");
            }
        }
        assert_eq!(Metric::L2.score_bound(f64::NAN), f32::INFINITY);
        assert!(Metric::L2.score_bound(2.0) < 4.0001 && Metric::InnerProduct.score_bound(-2.0) < -1.9999);
    }

    #[test]
    fn a_zero_vector_has_no_angle() {
        assert!(Metric::Cosine.score(&[0.0, 0.0], &[1.0, 0.0]).is_nan());
        assert!(Metric::Cosine.distance(f32::NAN).is_nan());
        assert!(Metric::Cosine.distance_between(&[1.0], &[0.0]).is_nan());
    }

    #[test]
    fn codes_are_stable() {
        for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine, Metric::L1, Metric::Jaccard] {
            assert_eq!(Metric::from_code(metric.to_code()), Some(metric));
        }
        assert_eq!(Metric::from_code(0), None);
        assert_eq!(Metric::from_code(6), None);
    }
}
