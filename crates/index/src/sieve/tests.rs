//! What codes rule out never belongs to the answer: sieved answers and ranges against comparing everything.

#![allow(clippy::unwrap_used)] // tests

use super::*;
use crate::{
    BuildControl, HnswGraph, HnswParams, Mapped, VectorIndex, compare_scores, exact_search, range_segment,
};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use rand::{Rng, SeedableRng, rngs::StdRng};

const METRICS: [Metric; 5] = [Metric::L2, Metric::InnerProduct, Metric::Cosine, Metric::L1, Metric::Jaccard];

fn column(dim: usize, rows: &[Option<Vec<f32>>]) -> VectorColumn {
    let mut out = Vec::new();
    VectorColumn::write(&mut out, dim as u16, rows.iter().map(Option::as_deref)).unwrap();
    VectorColumn::open(Mapped::from_bytes(out)).unwrap()
}

fn graph(vectors: &VectorColumn, metric: Metric, only: Option<&RowSet>) -> HnswGraph {
    let (params, control) = (HnswParams::default(), BuildControl::unlimited());
    let mut out = Vec::new();
    HnswGraph::build(vectors, metric, params, only, &control, &mut out).unwrap();
    HnswGraph::open(Mapped::from_bytes(out)).unwrap()
}

/// Rows of every kind: NULLs, zeros, copies, strays, and vectors far from zero that are close to each other.
fn rows(rng: &mut StdRng, count: usize, dim: usize, offset: f32) -> Vec<Option<Vec<f32>>> {
    let mut rows: Vec<Option<Vec<f32>>> = Vec::new();
    for _ in 0..count {
        let fresh = |rng: &mut StdRng| Some((0..dim).map(|_| offset + rng.random_range(-1.0..1.0)).collect());
        let row = match rng.random_range(0..20) {
            0 => None,
            1 => Some(vec![0.0; dim]),
            2 | 3 if !rows.is_empty() => rows[rng.random_range(0..rows.len())].clone(),
            4 => Some((0..dim).map(|_| 40.0 * rng.random_range(-1.0f32..1.0)).collect()),
            5 if rng.random_bool(0.2) => Some(vec![f32::MAX; dim]),
            _ => fresh(rng),
        };
        rows.push(row);
    }
    rows
}

/// What a range should find, one row after the other.
fn brute(
    vectors: &VectorColumn,
    metric: Metric,
    query: &[f32],
    radius: Bound<f64>,
    allowed: Option<&RowSet>,
) -> Vec<u32> {
    let inside = |row: &u32| is_inside(metric.distance_between(query, vectors.floats(*row).unwrap()), radius);
    let mut rows: Vec<u32> = allowed_rows(vectors, allowed).filter(inside).collect();
    rows.sort_by(|a, b| {
        let score = |row: u32| metric.score(query, vectors.floats(row).unwrap());
        compare_scores(score(*a), score(*b)).then(a.cmp(b))
    });
    rows
}

proptest! {
    #[test]
    fn nothing_that_belongs_is_ruled_out(
        seed in any::<u64>(),
        dim in 17usize..70,
        count in 1usize..250,
        metric in proptest::sample::select(METRICS.to_vec()),
        offset in proptest::sample::select(vec![0.0f32, 0.3, 100.0]),
        k in 1usize..30,
        share in 0.1f64..1.0,
        partial in any::<bool>(),
    ) {
        let mut rng = StdRng::seed_from_u64(seed);
        let rows = rows(&mut rng, count, dim, offset);
        let vectors = column(dim, &rows);
        let count = count as u32;
        let only = partial.then(|| RowSet::from_fn(count, |row| row % 3 != 0));
        let graph = graph(&vectors, metric, only.as_ref());
        let allowed = RowSet::from_fn(count, |_| rng.random_bool(share));
        let allowed = (share < 0.9).then_some(&allowed);
        let own = rows[rng.random_range(0..rows.len())].clone().filter(|_| rng.random_bool(0.5));
        let query = own.unwrap_or_else(|| (0..dim).map(|_| offset + rng.random_range(-1.0..1.0)).collect());
        let truth = exact_search(&vectors, metric, &query, k, allowed);
        if let Some(sketch) = graph.sketch(&vectors, &query) {
            let found = sieved_outcome(&sketch, &vectors, metric, &query, k, allowed, None).neighbors;
            prop_assert_eq!(
                found.iter().map(|n| n.row).collect::<Vec<_>>(),
                truth.iter().map(|n| n.row).collect::<Vec<_>>()
            );
            for row in allowed_rows(&vectors, allowed) {
                let Some(code) = sketch.code(row) else { continue };
                let (lower, upper) = sketch.bounds(code, f64::INFINITY).unwrap();
                let score = f64::from(metric.score(&query, vectors.floats(row).unwrap()));
                prop_assert!(lower <= score, "{} below {} of row {}", lower, score, row);
                prop_assert!(upper >= score || upper > 1e38, "{} above {} of row {}", upper, score, row);
            }
        }
        let index = VectorIndex::Hnsw(graph);
        let last = truth.last().map_or(0.0, |last| metric.distance_between(&query, vectors.floats(last.row).unwrap()));
        for radius in [
            Bound::Included(last), Bound::Excluded(last), Bound::Included(last * 1.1), Bound::Excluded(-1.0),
            Bound::Included(f64::NAN), Bound::Excluded(f64::NAN), Bound::Excluded(f64::INFINITY), Bound::Unbounded,
        ] {
            let wanted = brute(&vectors, metric, &query, radius, allowed);
            for index in [None, Some(&index)] {
                let found = range_segment(&vectors, index, metric, &query, radius, allowed);
                let found_rows: Vec<u32> = found.iter().map(|n| n.row).collect();
                prop_assert_eq!(&found_rows, &wanted, "{:?}, index {}", radius, index.is_some());
                for neighbor in found {
                    let score = metric.score(&query, vectors.floats(neighbor.row).unwrap());
                    prop_assert!(compare_scores(score, neighbor.score).is_eq());
                }
            }
        }
    }
}

#[test]
fn few_are_compared_in_full() {
    let mut rng = StdRng::seed_from_u64(1);
    let centres: Vec<Vec<f32>> =
        (0..40).map(|_| (0..96).map(|_| rng.random_range(-1.0..1.0)).collect()).collect();
    let rows: Vec<_> = (0..5000)
        .map(|row| {
            Some(
                centres[row % 40]
                    .iter()
                    .map(|value| value + rng.random_range(-0.5..0.5))
                    .collect::<Vec<f32>>(),
            )
        })
        .collect();
    let vectors = column(96, &rows);
    for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
        let graph = graph(&vectors, metric, None);
        let query = rows[7].as_deref().unwrap();
        let sketch = graph.sketch(&vectors, query).unwrap();
        let outcome = sieved_outcome(&sketch, &vectors, metric, query, 10, None, None);
        assert_eq!(outcome.strategy, Strategy::ExactByCodes);
        let compared = outcome.visited - 5000;
        assert!((10..100).contains(&compared), "{metric}: {compared}");
    }
}
