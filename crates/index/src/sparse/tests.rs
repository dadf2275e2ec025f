//! Inverted lists: the same answers as comparing everything, and damage.

#![allow(clippy::unwrap_used)] // tests
use super::*;
use proptest::prelude::*;
use proptest::strategy::Strategy;

const METRICS: [Metric; 4] = [Metric::L2, Metric::InnerProduct, Metric::Cosine, Metric::L1];

fn vector(pairs: std::collections::BTreeMap<u32, i8>) -> SparseVector {
    let pairs: Vec<(u32, f32)> = pairs
        .into_iter()
        .filter(|(_, v)| *v != 0)
        .map(|(place, value)| (place, f32::from(value) / 4.0))
        .collect();
    SparseVector {
        dim: 40,
        places: pairs.iter().map(|(place, _)| *place).collect(),
        values: pairs.iter().map(|(_, value)| *value).collect(),
    }
}

fn some_vector() -> impl Strategy<Value = SparseVector> {
    proptest::collection::btree_map(0u32..40, any::<i8>(), 0..8).prop_map(vector)
}

fn bytes(rows: &[Option<SparseVector>]) -> Vec<u8> {
    let mut builder = SparseBuilder::new(&MemoryBudget::unlimited());
    for row in rows {
        builder.push(row.as_ref().map(|v| (&v.places[..], &v.values[..]))).unwrap();
    }
    let mut out = Vec::new();
    builder.write(&mut out).unwrap();
    out
}

fn dense(vector: &SparseVector) -> Vec<f32> {
    let mut out = vec![0.0; vector.dim as usize];
    vector.places.iter().zip(&vector.values).for_each(|(place, value)| out[*place as usize] = *value);
    out
}

proptest! {
    #[test]
    fn scores_are_those_of_dense_vectors(a in some_vector(), b in some_vector()) {
        for metric in METRICS {
            let (sparse, dense) = (a.score(metric, &b), f64::from(metric.score(&dense(&a), &dense(&b))));
            prop_assert!(sparse.is_nan() && dense.is_nan() || (sparse - dense).abs() <= dense.abs() * 1e-5 + 1e-5);
        }
    }

    #[test]
    fn a_search_compares_everything(
        rows in proptest::collection::vec(proptest::option::weighted(0.9, some_vector()), 0..150),
        query in some_vector(),
        k in 1usize..20,
        share in 1u32..4,
    ) {
        let index = SparseIndex::open(Mapped::from_bytes(bytes(&rows))).unwrap();
        index.verify().unwrap();
        let allowed = RowSet::from_fn(rows.len() as u32, |row| row % share == 0);
        for metric in METRICS {
            let mut top = TopK::new(k);
            for (row, vector) in rows.iter().enumerate().filter(|(row, _)| allowed.contains(*row as u32)) {
                if let Some(vector) = vector {
                    top.push(query.score(metric, vector) as f32, row as u32);
                }
            }
            let scores = |list: &[crate::Neighbor]| list.iter().map(|n| n.score).collect::<Vec<_>>();
            let (found, truth) = (index.search(metric, &query, k, Some(&allowed)).neighbors, top.into_neighbors());
            prop_assert_eq!(found.len(), truth.len());
            for (a, b) in scores(&found).into_iter().zip(scores(&truth)) {
                prop_assert!(a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-5 * b.abs() + 1e-6);
            }
        }
    }
}

#[test]
fn any_damaged_byte_is_found() {
    let rows: Vec<_> = (0..70u32)
        .map(|row| {
            let pairs = [(row % 11, 5i8), (20 + row % 7, -3)].into_iter().collect();
            (row % 5 != 0).then(|| vector(pairs))
        })
        .collect();
    let good = bytes(&rows);
    let query = vector([(3, 4i8), (22, 9)].into_iter().collect());
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        if let Ok(index) = SparseIndex::open(Mapped::from_bytes(&bad)) {
            assert!(index.verify().is_err(), "byte {at}");
            index.search(Metric::L2, &query, 5, None);
        }
    }
    for len in 0..good.len() {
        assert!(SparseIndex::open(Mapped::from_bytes(&good[..len])).is_err(), "cut to {len}");
    }
}
