//! Lists: recall, filters, damage.

#![allow(clippy::unwrap_used)] // tests
use super::*;
use crate::{Strategy, exact_search};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

fn column(rows: &[Option<Vec<f32>>]) -> VectorColumn {
    let dim = rows.iter().flatten().next().map_or(1, Vec::len) as u16;
    let mut out = Vec::new();
    VectorColumn::write(&mut out, dim, rows.iter().map(Option::as_deref)).unwrap();
    VectorColumn::open(Mapped::from_bytes(out)).unwrap()
}

/// Vectors around a few places, some missing.
fn clustered(rows: usize, dim: usize, seed: u64) -> Vec<Option<Vec<f32>>> {
    let mut rng = StdRng::seed_from_u64(seed);
    let places: Vec<Vec<f32>> =
        (0..40).map(|_| (0..dim).map(|_| rng.random_range(-1.0..1.0)).collect()).collect();
    (0..rows)
        .map(|row| {
            let place = &places[rng.random_range(0..places.len())];
            let vector = place.iter().map(|value| value + rng.random_range(-0.3..0.3)).collect();
            (row % 50 != 7).then_some(vector)
        })
        .collect()
}

fn bytes(vectors: &VectorColumn, metric: Metric, lists: u16, only: Option<&RowSet>) -> Vec<u8> {
    let mut out = Vec::new();
    let params = IvfParams { lists };
    IvfIndex::build(vectors, metric, params, only, &BuildControl::unlimited(), &mut out).unwrap();
    out
}

fn build(vectors: &VectorColumn, metric: Metric, lists: u16, only: Option<&RowSet>) -> IvfIndex {
    let index = IvfIndex::open(Mapped::from_bytes(bytes(vectors, metric, lists, only))).unwrap();
    index.verify().unwrap();
    index
}

#[test]
fn more_probes_find_more_and_all_lists_find_all() {
    let vectors = column(&clustered(4000, 12, 1));
    for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
        let index = build(&vectors, metric, 50, None);
        assert_eq!(index.lists(), 50);
        let mut found = [0usize; 4];
        for query in clustered(60, 12, 2).into_iter().flatten() {
            let near: Vec<u32> =
                exact_search(&vectors, metric, &query, 10, None).iter().map(|n| n.row).collect();
            for (at, probes) in [1usize, 5, 15, 50].into_iter().enumerate() {
                let outcome = index.search(&vectors, &query, 10, probes, None);
                assert_eq!(outcome.neighbors.len(), 10);
                found[at] += outcome.neighbors.iter().filter(|n| near.contains(&n.row)).count();
                let strategy = if probes == 50 { Strategy::Exact } else { Strategy::Lists };
                assert_eq!(outcome.strategy, strategy);
            }
        }
        let wanted = clustered(60, 12, 2).into_iter().flatten().count() * 10;
        assert!(found.is_sorted(), "{metric}: {found:?}");
        assert!(found[0] * 100 > wanted * 30, "{metric}: {found:?} of {wanted}");
        assert!(found[2] * 100 > wanted * 95, "{metric}: {found:?} of {wanted}");
        assert_eq!(found[3], wanted, "{metric}");
    }
}

#[test]
fn a_filtered_search_is_never_short() {
    let vectors = column(&clustered(3000, 8, 3));
    let index = build(&vectors, Metric::L2, 60, None);
    for share in [1u32, 2, 7, 40, 700] {
        let allowed = RowSet::from_fn(vectors.rows(), |row| row % share == 0);
        let qualify =
            (0..vectors.rows()).filter(|row| allowed.contains(*row) && vectors.is_present(*row)).count();
        for query in clustered(10, 8, 4).into_iter().flatten() {
            for k in [1, 10, 400] {
                let outcome = index.search(&vectors, &query, k, 1, Some(&allowed));
                assert_eq!(outcome.neighbors.len(), k.min(qualify), "share {share}, k {k}");
                assert!(outcome.neighbors.iter().all(|n| allowed.contains(n.row)));
                assert!(outcome.neighbors.is_sorted_by(|a, b| a.score <= b.score));
            }
        }
    }
}

#[test]
fn only_some_rows_are_listed() {
    let vectors = column(&clustered(500, 6, 5));
    let only = RowSet::from_fn(500, |row| row % 5 == 0);
    let index = build(&vectors, Metric::Cosine, 10, Some(&only));
    let listed: Vec<u32> = (0..10).flat_map(|list| index.file.list(list).to_vec()).collect();
    assert!(listed.iter().all(|row| only.contains(*row)));
    assert_eq!(listed.len(), (0..500).filter(|row| only.contains(*row) && vectors.is_present(*row)).count());
}

#[test]
fn few_rows_none_and_zeros() {
    let empty = column(&[None, None]);
    assert_eq!(build(&empty, Metric::L2, 100, None).lists(), 0);
    assert!(build(&empty, Metric::L2, 100, None).search(&empty, &[1.0], 3, 1, None).neighbors.is_empty());
    let zeros = column(&[Some(vec![0.0, 0.0]), Some(vec![1.0, 0.0]), Some(vec![f32::MAX, f32::MAX])]);
    let index = build(&zeros, Metric::Cosine, 100, None);
    assert_eq!(index.lists(), 1);
    assert_eq!(index.search(&zeros, &[1.0, 0.0], 3, 1, None).neighbors.len(), 3);
    let same = column(&vec![Some(vec![1.0, 2.0]); 40]);
    assert_eq!(build(&same, Metric::L2, 7, None).search(&same, &[1.0, 2.0], 40, 1, None).neighbors.len(), 40);
}

#[test]
fn any_damaged_byte_is_found() {
    let vectors = column(&clustered(60, 3, 6));
    let good = bytes(&vectors, Metric::L2, 4, None);
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        let opened = IvfIndex::open(Mapped::from_bytes(&bad));
        if let Ok(index) = opened {
            assert!(index.verify().is_err(), "byte {at}");
            index.search(&vectors, &[0.1, 0.2, 0.3], 5, 2, None);
        }
    }
    for len in 0..good.len() {
        assert!(IvfIndex::open(Mapped::from_bytes(&good[..len])).is_err(), "cut to {len}");
    }
}

#[test]
fn a_build_can_be_stopped() {
    let vectors = column(&clustered(200, 3, 7));
    let control = BuildControl::unlimited();
    control.cancel.store(true, std::sync::atomic::Ordering::Relaxed);
    let built = IvfIndex::build(&vectors, Metric::L2, IvfParams::default(), None, &control, &mut Vec::new());
    assert_eq!(built.unwrap_err().state(), quiver_base::SqlState::QUERY_CANCELED);
}
