//! What codes promise: right on average, wrong by no more than they say, and less wrong with more bits.

#![allow(clippy::unwrap_used)] // tests

use super::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

const METRICS: [Metric; 3] = [Metric::L2, Metric::InnerProduct, Metric::Cosine];

/// Vectors around a few centres, away from zero.
fn vectors(rng: &mut StdRng, count: usize, dim: usize) -> Vec<Vec<f32>> {
    let centres: Vec<Vec<f32>> =
        (0..5).map(|_| (0..dim).map(|_| rng.random_range(-1.0..1.4)).collect()).collect();
    let near = |centre: &Vec<f32>, rng: &mut StdRng| {
        centre.iter().map(|value| value + rng.random_range(-0.7..0.7)).collect()
    };
    (0..count).map(|at| near(&centres[at % 5], rng)).collect()
}

/// The errors of all pairs, each with its deviation and the centre's distance from the query.
struct Errors {
    /// Beyond what rounding in f32 explains.
    errors: Vec<(f64, f64)>,
    certain: f64,
}

impl Errors {
    /// Of pairs of 60 queries and 300 vectors, encoded around the origin or around the centre of their fifth.
    fn of(metric: Metric, dim: usize, bits: u8, around_centres: bool) -> Errors {
        let mut rng = StdRng::seed_from_u64(dim as u64);
        let base = vectors(&mut rng, 300, dim);
        let queries: Vec<Vec<f32>> = base
            .iter()
            .take(60)
            .map(|vector| vector.iter().map(|value| value + rng.random_range(-0.3..0.3)).collect())
            .collect();
        let coder =
            Coder::new(metric, bits, 17, Coder::mean(metric, dim, base.iter().map(|v| &v[..]))).unwrap();
        assert_eq!(coder.code_bytes(), Coder::bytes_of(dim, bits));
        let part = |part: usize| base.iter().skip(part).step_by(5).map(|vector| &vector[..]);
        let centres: Vec<Centre> = (0..5)
            .map(|at| match around_centres {
                true => coder.centre(&Coder::mean(metric, dim, part(at))),
                false => coder.origin(),
            })
            .collect();
        let mut code = vec![0; coder.code_bytes()];
        let (mut errors, mut certain) = (Vec::new(), 0.0);
        for (at, vector) in base.iter().enumerate() {
            coder.encode(vector, &centres[at % 5], &mut code);
            for query in &queries {
                let asked = coder.query(query);
                let estimate = asked.score(asked.aim(&centres[at % 5]), &code);
                let truth = metric.score(query, vector);
                let error = f64::from(estimate.score) - f64::from(truth);
                let rounding = f64::from(estimate.rounding).min(error.abs());
                errors.push((error - error.signum() * rounding, f64::from(estimate.deviation)));
                certain = f64::from(asked.certain());
            }
        }
        Errors { errors, certain }
    }

    fn mean(&self) -> f64 {
        self.errors.iter().map(|(error, _)| error).sum::<f64>() / self.errors.len() as f64
    }

    fn root_mean_square(&self) -> f64 {
        (self.errors.iter().map(|(error, _)| error * error).sum::<f64>() / self.errors.len() as f64).sqrt()
    }

    /// The share of errors of not more than so many deviations.
    fn within(&self, deviations: f64) -> f64 {
        let inside = self.errors.iter().filter(|(error, own)| error.abs() <= deviations * own);
        inside.count() as f64 / self.errors.len() as f64
    }
}

#[test]
fn estimates_are_right_on_average_and_within_their_bounds() {
    for metric in METRICS {
        for dim in [40, 96, 200] {
            for bits in 1..=BITS_MAX {
                for around_centres in [false, true] {
                    let errors = Errors::of(metric, dim, bits, around_centres);
                    let named = format!("{metric}, {dim}, {bits} bits, centres {around_centres}");
                    assert!(errors.mean().abs() <= 0.1 * errors.root_mean_square() + 1e-5, "{named}");
                    assert!(errors.within(1.0) >= 0.66, "{named}: {}", errors.within(1.0));
                    assert!(errors.within(2.0) >= 0.94, "{named}: {}", errors.within(2.0));
                    assert_eq!(errors.within(errors.certain), 1.0, "{named}");
                }
            }
        }
    }
}

#[test]
fn every_bit_makes_errors_smaller() {
    for metric in METRICS {
        let errors: Vec<f64> =
            (1..=BITS_MAX).map(|bits| Errors::of(metric, 128, bits, true).root_mean_square()).collect();
        // To the sixth bit each almost halves them; then the query's own rounding remains.
        assert!(errors[..6].is_sorted_by(|more, less| 0.7 * more > *less), "{metric}: {errors:?}");
        assert!(errors[7] < errors[5], "{metric}: {errors:?}");
    }
}

#[test]
fn around_centres_errors_are_smaller() {
    for metric in METRICS {
        let near = Errors::of(metric, 128, 2, true).root_mean_square();
        let far = Errors::of(metric, 128, 2, false).root_mean_square();
        assert!(near < 0.8 * far, "{metric}: {near} against {far}");
    }
}

#[test]
fn a_vector_at_its_centre_is_exact() {
    let point = vec![0.5f32; 24];
    for metric in [Metric::L2, Metric::InnerProduct] {
        let coder = Coder::new(metric, 3, 1, vec![0.1; 24]).unwrap();
        let centre = coder.centre(&point);
        let mut code = vec![0; coder.code_bytes()];
        coder.encode(&point, &centre, &mut code);
        let query = vec![-0.25f32; 24];
        let asked = coder.query(&query);
        let estimate = asked.score(asked.aim(&centre), &code);
        assert!((estimate.score - metric.score(&query, &point)).abs() < 1e-4, "{metric}");
        assert_eq!(estimate.deviation, 0.0);
    }
}

#[test]
fn only_metrics_of_inner_products_and_one_to_eight_bits() {
    for metric in [Metric::L1, Metric::Jaccard] {
        assert_eq!(Coder::new(metric, 4, 0, vec![0.0; 8]).unwrap_err().state().code(), "0A000");
    }
    for bits in [0, 9] {
        assert_eq!(Coder::new(Metric::L2, bits, 0, vec![0.0; 8]).unwrap_err().state().code(), "22023");
    }
}

#[test]
fn the_same_seed_makes_the_same_codes() {
    let mut rng = StdRng::seed_from_u64(3);
    let vector = vectors(&mut rng, 1, 50).remove(0);
    let code = |seed| {
        let coder = Coder::new(Metric::L2, 5, seed, vec![0.0; 50]).unwrap();
        let mut code = vec![0; coder.code_bytes()];
        coder.encode(&vector, &coder.origin(), &mut code);
        code
    };
    assert_eq!(code(1), code(1));
    assert_ne!(code(1), code(2));
}
