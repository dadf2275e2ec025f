//! Graphs built, frozen and searched: recall, filters, damage, and what a walk visits.

#![allow(clippy::unwrap_used)] // tests

use super::format::NO_LINK;
use super::*;
use crate::{Effort, Neighbor, Strategy, VectorIndex, compare_scores, exact_search, search_segment};
use proptest::prelude::{Just, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy as _;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::collections::HashSet;
use std::sync::atomic::Ordering;

mod extend;
mod packed;
mod rival;

const METRICS: [Metric; 4] = [Metric::L2, Metric::InnerProduct, Metric::Cosine, Metric::L1];

fn column(dim: usize, rows: &[Option<Vec<f32>>]) -> VectorColumn {
    let mut out = Vec::new();
    VectorColumn::write(&mut out, dim as u16, rows.iter().map(Option::as_deref)).unwrap();
    VectorColumn::open(Mapped::from_bytes(out)).unwrap()
}

fn build_bytes(vectors: &VectorColumn, metric: Metric, threads: usize) -> Vec<u8> {
    let control = BuildControl { threads, ..BuildControl::unlimited() };
    let mut out = Vec::new();
    let stats = HnswGraph::build(vectors, metric, HnswParams::default(), None, &control, &mut out).unwrap();
    assert_eq!(stats.file_bytes, out.len() as u64);
    assert_eq!(control.done_rows.load(Ordering::Relaxed), u64::from(stats.nodes));
    out
}

fn build(vectors: &VectorColumn, metric: Metric) -> HnswGraph {
    let graph = HnswGraph::open(Mapped::from_bytes(build_bytes(vectors, metric, 2))).unwrap();
    graph.verify().unwrap();
    graph
}

/// Vectors around `clusters` centres, always the same ones, of different lengths.
fn clustered(rng: &mut StdRng, rows: usize, dim: usize, clusters: usize) -> Vec<Option<Vec<f32>>> {
    let mut fixed = StdRng::seed_from_u64(99);
    let centres: Vec<Vec<f32>> =
        (0..clusters).map(|_| (0..dim).map(|_| fixed.random_range(-1.0..1.0)).collect()).collect();
    (0..rows)
        .map(|_| {
            let centre = &centres[rng.random_range(0..clusters)];
            let size = rng.random_range(0.5..1.5);
            Some(centre.iter().map(|x| size * (x + rng.random_range(-0.4..0.4))).collect())
        })
        .collect()
}

fn recall(found: &[Neighbor], truth: &[Neighbor]) -> f64 {
    let truth: HashSet<u32> = truth.iter().map(|neighbor| neighbor.row).collect();
    found.iter().filter(|neighbor| truth.contains(&neighbor.row)).count() as f64 / truth.len().max(1) as f64
}

/// Least recall@10 at ef 100 on these clusters. Inner products of vectors of different lengths are no metric: long
/// ones are everybody's neighbours, and a cluster's rim is hard to reach. The same vectors normalised are fine.
fn floor(metric: Metric) -> f64 {
    if metric == Metric::InnerProduct { 0.85 } else { 0.98 }
}

fn assert_ordered(neighbors: &[Neighbor]) {
    assert!(neighbors.is_sorted_by(|a, b| compare_scores(a.score, b.score).then(a.row.cmp(&b.row)).is_lt()));
}

/// Every node that the lowest level's links lead to from the entry point.
fn reachable(graph: &HnswGraph) -> usize {
    let degree = graph.file.header.degree();
    let links = graph.file.numbers(Section::Links);
    let entry = graph.file.numbers(Section::UpperNodes).first().copied().unwrap_or(0);
    let mut seen = HashSet::from([entry]);
    let mut waiting = vec![entry];
    while let Some(node) = waiting.pop() {
        let own = &links[node as usize * degree..(node as usize + 1) * degree];
        waiting.extend(own.iter().take_while(|link| **link != NO_LINK).filter(|link| seen.insert(**link)));
    }
    seen.len()
}

#[test]
fn recall_holds_for_every_metric_and_share() {
    let mut rng = StdRng::seed_from_u64(1);
    let rows = clustered(&mut rng, 5000, 32, 40);
    let queries = clustered(&mut rng, 50, 32, 40);
    let vectors = column(32, &rows);
    for metric in METRICS {
        let graph = build(&vectors, metric);
        assert_eq!(reachable(&graph), 5000, "{metric}");
        for percent in [100, 50, 20, 10, 2] {
            let allowed = RowSet::from_fn(5000, |_| rng.random_range(0..100) < percent);
            let mut sum = 0.0;
            for query in queries.iter().flatten() {
                let truth = exact_search(&vectors, metric, query, 10, Some(&allowed));
                let outcome = graph.search(&vectors, query, 10, Effort::new(100, 1), Some(&allowed));
                assert_ordered(&outcome.neighbors);
                assert_eq!(outcome.neighbors.len(), 10);
                assert!(outcome.neighbors.iter().all(|neighbor| allowed.contains(neighbor.row)));
                sum += recall(&outcome.neighbors, &truth);
            }
            assert!(sum / 50.0 >= floor(metric), "{metric}, {percent} %: {}", sum / 50.0);
        }
    }
}

#[test]
fn a_graph_over_some_rows_finds_those() {
    let mut rng = StdRng::seed_from_u64(21);
    let rows = clustered(&mut rng, 6000, 24, 30);
    let vectors = column(24, &rows);
    let only = RowSet::from_fn(6000, |row| row % 3 == 1);
    for metric in METRICS {
        let (params, control) = (HnswParams::default(), BuildControl::unlimited());
        let mut out = Vec::new();
        let stats = HnswGraph::build(&vectors, metric, params, Some(&only), &control, &mut out).unwrap();
        assert!(stats.nodes <= 2000);
        let graph = HnswGraph::open(Mapped::from_bytes(out)).unwrap();
        graph.verify().unwrap();
        let mut sum = 0.0;
        for query in rows.iter().flatten().step_by(200) {
            let truth = exact_search(&vectors, metric, query, 10, Some(&only));
            let outcome = graph.search(&vectors, query, 10, Effort::new(60, 1), Some(&only));
            assert_eq!(outcome.neighbors.len(), 10);
            assert!(outcome.neighbors.iter().all(|neighbor| only.contains(neighbor.row)));
            sum += recall(&outcome.neighbors, &truth);
        }
        assert!(sum / 30.0 >= floor(metric), "{metric}: {}", sum / 30.0);
    }
}

#[test]
fn the_graph_is_really_walked() {
    let mut rng = StdRng::seed_from_u64(2);
    let rows = clustered(&mut rng, 30_000, 128, 50);
    let vectors = column(128, &rows);
    // One thread: two build another graph every time, and 850 rows are more than the query's cluster holds.
    let graph = HnswGraph::open(Mapped::from_bytes(build_bytes(&vectors, Metric::L2, 1))).unwrap();
    let query = rows[7].as_deref().unwrap();
    let outcome = graph.search(&vectors, query, 10, Effort::new(40, 1), None);
    assert_eq!(outcome.strategy, Strategy::Graph);
    assert_eq!(outcome.neighbors[0], Neighbor { row: 7, score: 0.0 });
    assert!(outcome.visited < 3000, "{}", outcome.visited);
    let half = RowSet::from_fn(30_000, |row| row % 2 == 0);
    assert_eq!(
        graph.search(&vectors, query, 10, Effort::new(40, 1), Some(&half)).strategy,
        Strategy::FilteredGraph
    );
    let few = RowSet::from_fn(30_000, |row| row % 1000 == 0);
    assert_eq!(graph.search(&vectors, query, 10, Effort::new(40, 1), Some(&few)).strategy, Strategy::Exact);
    let some = RowSet::from_fn(30_000, |row| row % 100 == 0);
    assert_eq!(
        graph.search(&vectors, query, 10, Effort::new(40, 1), Some(&some)).strategy,
        Strategy::ExactByCodes
    );
    assert_eq!(graph.search(&vectors, query, 15_000, Effort::new(40, 1), None).strategy, Strategy::Exact);
    // More candidates than a sorted array is good for, however cheap it would be to look at everything.
    let question = Question { vectors: &vectors, query, k: 850, effort: Effort::new(1100, 1), allowed: None };
    let outcome =
        search::with_scorer(&graph, &question, &mut walk::Scratch::take(), &question.plan(&graph)).unwrap();
    assert_eq!(outcome.strategy, Strategy::Graph);
    let truth = exact_search(&vectors, Metric::L2, query, 850, None);
    assert!(recall(&outcome.neighbors, &truth) > 0.95, "{}", recall(&outcome.neighbors, &truth));
    let (index, effort) = (VectorIndex::Hnsw(graph), Effort::new(40, 1));
    // What no codes tell of is walked, or compared in full.
    let params = HnswParams { quantization: Quantization::None, ..HnswParams::default() };
    let mut whole = Vec::new();
    HnswGraph::build(&vectors, Metric::L2, params, None, &BuildControl::unlimited(), &mut whole).unwrap();
    let whole = HnswGraph::open(Mapped::from_bytes(whole)).unwrap();
    assert_eq!(whole.search(&vectors, query, 10, Effort::new(160, 1), None).strategy, Strategy::Graph);
    assert_eq!(whole.search(&vectors, query, 10, Effort::new(40, 1), Some(&some)).strategy, Strategy::Exact);
    let forced = search_segment(&vectors, Some(&index), Metric::L2, query, 10, effort, None, true);
    assert_eq!(forced.strategy, Strategy::Exact);
    let other = search_segment(&vectors, Some(&index), Metric::L1, query, 10, effort, None, false);
    assert_eq!(other.strategy, Strategy::Exact, "a graph of another metric is not used");
}

#[test]
fn a_filter_far_from_the_query_keeps_its_recall() {
    let mut rng = StdRng::seed_from_u64(3);
    let rows = clustered(&mut rng, 20_000, 32, 20);
    let vectors = column(32, &rows);
    let graph = build(&vectors, Metric::L2);
    let (mut sum, mut walked) = (0.0, 0);
    for query in rows.iter().take(40).flatten() {
        // Only the far half is allowed: the walk starts where nothing is.
        let mut scores: Vec<f32> =
            (0..20_000).map(|row| Metric::L2.score(query, vectors.floats(row).unwrap())).collect();
        let all = scores.clone();
        let (_, median, _) = scores.select_nth_unstable_by(10_000, f32::total_cmp);
        let allowed = RowSet::from_fn(20_000, |row| all[row as usize] > *median);
        let outcome = graph.search(&vectors, query, 10, Effort::new(100, 1), Some(&allowed));
        assert_eq!(outcome.neighbors.len(), 10);
        walked += usize::from(outcome.strategy == Strategy::FilteredGraph);
        sum += recall(&outcome.neighbors, &exact_search(&vectors, Metric::L2, query, 10, Some(&allowed)));
    }
    assert!(sum / 40.0 >= 0.98, "{} ({walked} walked)", sum / 40.0);
}

#[test]
fn duplicates_share_a_node() {
    let mut rng = StdRng::seed_from_u64(4);
    let mut rows = clustered(&mut rng, 2000, 32, 10);
    rows.splice(500..500, vec![Some(vec![0.25; 32]); 10_000]);
    for metric in METRICS {
        let vectors = column(32, &rows);
        let graph = build(&vectors, metric);
        assert_eq!((graph.rows(), graph.nodes()), (12_000, 2001));
        assert_eq!(reachable(&graph), 2001);
        let found = graph.search(&vectors, &[0.25; 32], 40, Effort::new(40, 1), None).neighbors;
        let truth = exact_search(&vectors, metric, &[0.25; 32], 40, None);
        if metric != Metric::InnerProduct {
            assert_eq!(found, truth, "{metric}");
        }
        let mut sum = 0.0;
        for query in clustered(&mut rng, 30, 32, 10).iter().flatten() {
            let found = graph.search(&vectors, query, 10, Effort::new(100, 1), None).neighbors;
            sum += recall(&found, &exact_search(&vectors, metric, query, 10, None));
        }
        assert!(sum / 30.0 >= floor(metric), "{metric}: {}", sum / 30.0);
    }
}

#[test]
fn all_rows_alike_and_directions_alike() {
    let same = column(20, &vec![Some(vec![0.5; 20]); 10_000]);
    for metric in METRICS {
        let graph = build(&same, metric);
        assert_eq!(graph.nodes(), 1);
        let rows: Vec<u32> = graph
            .search(&same, &[1.0; 20], 5, Effort::new(5, 1), None)
            .neighbors
            .iter()
            .map(|n| n.row)
            .collect();
        assert_eq!(rows, [0, 1, 2, 3, 4]);
    }
    // Different vectors of one direction: every cosine is the same, and pruning keeps but one link each.
    let rows: Vec<_> = (1..=5000).map(|size| Some(vec![size as f32; 20])).collect();
    let vectors = column(20, &rows);
    let graph = build(&vectors, Metric::Cosine);
    assert_eq!(reachable(&graph), 5000);
    assert_eq!(graph.search(&vectors, &[1.0; 20], 10, Effort::new(40, 1), None).neighbors.len(), 10);
}

#[test]
fn nulls_and_zero_vectors_are_not_lost() {
    let mut rng = StdRng::seed_from_u64(5);
    let mut rows = clustered(&mut rng, 3000, 24, 10);
    for at in 0..600 {
        rows[at * 5] = None;
        rows[at * 5 + 1] = Some(vec![0.0; 24]);
    }
    let vectors = column(24, &rows);
    let query = rows[2].as_deref().unwrap();
    let graph = build(&vectors, Metric::Cosine);
    assert_eq!(graph.nodes(), 1800);
    let found = graph.search(&vectors, query, 2500, Effort::new(40, 1), None).neighbors;
    assert_eq!(found.len(), 2400, "all but the NULLs");
    assert_ordered(&found);
    assert!(found[..1800].iter().all(|n| !n.score.is_nan()));
    assert!(found[1800..].iter().all(|n| n.score.is_nan()));
    assert!(
        graph.search(&vectors, query, 10, Effort::new(40, 1), None).neighbors.iter().all(|n| n.row % 5 > 1)
    );
    // A query without a direction: every score is NaN, and rows come in their order.
    let found = graph.search(&vectors, &[0.0; 24], 4, Effort::new(40, 1), None).neighbors;
    assert_eq!(found.iter().map(|n| n.row).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(build(&vectors, Metric::L2).nodes(), 1801, "zero vectors are one node");
}

#[test]
fn the_empty_and_the_small() {
    for rows in [vec![], vec![None, None], vec![Some(vec![1.0; 40])], vec![None, Some(vec![1.0; 40])]] {
        let vectors = column(40, &rows);
        for metric in METRICS {
            let graph = build(&vectors, metric);
            let wanted = rows.iter().flatten().count();
            let outcome = graph.search(&vectors, &[0.5; 40], 3, Effort::new(10, 1), None);
            assert_eq!(outcome.neighbors.len(), wanted, "{metric} {rows:?}");
            assert!(graph.search(&vectors, &[0.5; 40], 0, Effort::new(10, 1), None).neighbors.is_empty());
        }
    }
}

#[test]
fn stray_values_leave_the_others_their_resolution() {
    let mut rng = StdRng::seed_from_u64(6);
    let mut rows = clustered(&mut rng, 4000, 32, 30);
    rows[0] = Some(vec![1e6; 32]);
    rows[1] = Some(vec![f32::MAX; 32]);
    rows.iter_mut().flatten().for_each(|vector| vector[3] = 17.0);
    let vectors = column(32, &rows);
    let graph = build(&vectors, Metric::L2);
    let mut sum = 0.0;
    for query in rows[100..150].iter().flatten() {
        let found = graph.search(&vectors, query, 10, Effort::new(60, 1), None).neighbors;
        sum += recall(&found, &exact_search(&vectors, Metric::L2, query, 10, None));
    }
    assert!(sum / 50.0 >= 0.98, "{}", sum / 50.0);
}

#[test]
fn one_thread_builds_the_same_file_again() {
    let rows = clustered(&mut StdRng::seed_from_u64(7), 1500, 24, 10);
    let vectors = column(24, &rows);
    assert_eq!(build_bytes(&vectors, Metric::L2, 1), build_bytes(&vectors, Metric::L2, 1));
}

#[test]
fn recall_is_no_less_than_that_of_hnsw_rs() {
    struct Reference<'a>(&'a VectorColumn);
    impl anndists::dist::Distance<u32> for Reference<'_> {
        fn eval(&self, a: &[u32], b: &[u32]) -> f32 {
            Metric::L2.score(self.0.floats(a[0]).unwrap(), self.0.floats(b[0]).unwrap())
        }
    }
    let mut rng = StdRng::seed_from_u64(8);
    let rows: Vec<_> =
        (0..6000).map(|_| Some((0..48).map(|_| rng.random_range(-1.0..1.0)).collect())).collect();
    let vectors = column(48, &rows);
    let (stored, queries) = (0..5900u32, 5900..6000u32);
    let allowed = RowSet::from_fn(6000, |row| stored.contains(&row));
    let vectors_of_stored = column(48, &rows[..5900]);
    let graph = build(&vectors_of_stored, Metric::L2);
    let reference = hnsw_rs::prelude::Hnsw::<u32, _>::new(16, 5900, 16, 64, Reference(&vectors));
    stored.for_each(|row| reference.insert((&[row], row as usize)));
    let (mut own, mut others) = (0.0, 0.0);
    for query in queries {
        let truth = exact_search(&vectors, Metric::L2, vectors.floats(query).unwrap(), 10, Some(&allowed));
        own += recall(
            &graph
                .search(&vectors_of_stored, vectors.floats(query).unwrap(), 10, Effort::new(40, 1), None)
                .neighbors,
            &truth,
        );
        let found = reference.search(&[query], 10, 40);
        let found: Vec<_> =
            found.iter().map(|n| Neighbor { row: n.d_id as u32, score: n.distance }).collect();
        others += recall(&found, &truth);
    }
    assert!(own >= others - 1.0, "own {own} %, hnsw_rs {others} %");
}

#[test]
fn any_damaged_byte_is_found() {
    let mut rows = clustered(&mut StdRng::seed_from_u64(9), 150, 20, 4);
    rows[3] = None;
    rows[4] = rows[5].clone();
    for dim in [20, 8] {
        let rows: Vec<_> = rows.iter().map(|row| row.as_ref().map(|row| row[..dim].to_vec())).collect();
        let good = build_bytes(&column(dim, &rows), Metric::L2, 1);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x20;
            let opened = HnswGraph::open(Mapped::from_bytes(&bad));
            assert_eq!(opened.is_err(), at < 256, "byte {at}");
            if let Ok(graph) = opened {
                assert!(graph.verify().is_err(), "byte {at}");
            }
        }
        for len in (0..good.len()).step_by(7) {
            assert!(HnswGraph::open(Mapped::from_bytes(&good[..len])).is_err(), "cut to {len}");
        }
    }
}

/// The directions of sentence embeddings: few of their dimensions matter, and none of their neighbours is close.
fn spread_out(rng: &mut StdRng, rows: usize, dim: usize) -> Vec<Option<Vec<f32>>> {
    let mut fixed = StdRng::seed_from_u64(98);
    let basis: Vec<Vec<f32>> =
        (0..16).map(|_| (0..dim).map(|_| fixed.random_range(-1.0..1.0)).collect()).collect();
    let row = |rng: &mut StdRng| {
        let mut row: Vec<f32> = (0..dim).map(|_| rng.random_range(-0.6..0.6)).collect();
        for direction in &basis {
            let share: f32 = rng.random_range(-1.0..1.0);
            row.iter_mut().zip(direction).for_each(|(value, along)| *value += share * along);
        }
        Some(row)
    };
    (0..rows).map(|_| row(rng)).collect()
}

#[test]
fn coarser_codes_find_as_much() {
    let kinds = |all: &[u8]| -> Vec<Quantization> {
        [Quantization::Sq8].into_iter().chain(all.iter().map(|bits| Quantization::Rabitq(*bits))).collect()
    };
    for (metric, rows_of, kinds) in [
        (Metric::L2, 0, kinds(&[1, 3, 8])),
        (Metric::Cosine, 1, kinds(&[2, 4])),
        (Metric::InnerProduct, 1, kinds(&[1])),
    ] {
        let make = |rng: &mut StdRng, rows| match rows_of {
            0 => clustered(rng, rows, 64, 40),
            _ => spread_out(rng, rows, 64),
        };
        let mut rng = StdRng::seed_from_u64(13);
        let vectors = column(64, &make(&mut rng, 4000));
        let queries = make(&mut rng, 100);
        let measure = |quantization: Quantization| {
            let params = HnswParams { quantization, ..HnswParams::default() };
            let mut out = Vec::new();
            HnswGraph::build(&vectors, metric, params, None, &BuildControl::unlimited(), &mut out).unwrap();
            let graph = HnswGraph::open(Mapped::from_bytes(out)).unwrap();
            graph.verify().unwrap();
            assert_eq!(graph.params(), params);
            [(10, 20), (10, 60), (100, 125)].map(|(k, ef)| {
                let hits = queries.iter().flatten().map(|query| {
                    let truth = exact_search(&vectors, metric, query, k, None);
                    let ef = plan::effort(&graph.file.header, k, ef);
                    let question =
                        Question { vectors: &vectors, query, k, effort: Effort::new(ef, 1), allowed: None };
                    let scratch = &mut walk::Scratch::take();
                    let found =
                        search::with_scorer(&graph, &question, scratch, &question.plan(&graph)).unwrap();
                    recall(&found.neighbors, &truth)
                });
                hits.sum::<f64>() / 100.0
            })
        };
        let whole = measure(Quantization::None);
        for quantization in &kinds {
            for (coded, whole) in measure(*quantization).into_iter().zip(whole) {
                assert!(coded >= whole - 0.005, "{metric}, {quantization}: {coded} against {whole}");
            }
        }
    }
}

#[test]
fn filters_ranges_and_odd_rows_with_every_kind_of_code() {
    let mut rng = StdRng::seed_from_u64(14);
    let mut rows = clustered(&mut rng, 3000, 40, 10);
    rows[3] = None;
    rows[4] = rows[5].clone();
    rows[6] = Some(vec![0.0; 40]);
    let vectors = column(40, &rows);
    for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
        for quantization in
            [Quantization::None, Quantization::Rabitq(1), Quantization::Rabitq(4), Quantization::Rabitq(7)]
        {
            let params = HnswParams { quantization, ..HnswParams::default() };
            let mut out = Vec::new();
            HnswGraph::build(&vectors, metric, params, None, &BuildControl::unlimited(), &mut out).unwrap();
            let graph = VectorIndex::open(Mapped::from_bytes(out)).unwrap();
            for share in [2, 10, 50] {
                let allowed = RowSet::from_fn(3000, |row| row % 100 < share);
                let query = vectors.floats(9).unwrap();
                let truth = exact_search(&vectors, metric, query, 10, Some(&allowed));
                let effort = Effort::new(100, 1);
                let found =
                    search_segment(&vectors, Some(&graph), metric, query, 10, effort, Some(&allowed), false);
                assert!(recall(&found.neighbors, &truth) >= 0.9, "{metric}, {quantization}, {share} %");
                let radius = std::ops::Bound::Included(
                    metric.distance_between(query, vectors.floats(truth[9].row).unwrap()),
                );
                let range =
                    |index| crate::range_segment(&vectors, index, metric, query, radius, Some(&allowed));
                assert_eq!(range(Some(&graph)), range(None), "{metric}, {quantization}");
            }
        }
    }
}

/// A file as version 1 wrote it: what version 2 adds is cut off.
fn as_version_1(bytes: &[u8]) -> Vec<u8> {
    let graph = HnswGraph::open(Mapped::from_bytes(bytes)).unwrap();
    let mut old = bytes[..graph.file.start(Section::CodeErrors)].to_vec();
    old[8] = 1;
    old[22..24].fill(0);
    old[192..252].fill(0);
    let checksum = crc32c::crc32c(&old[..252]);
    old[252..256].copy_from_slice(&checksum.to_le_bytes());
    old
}

#[test]
fn a_file_of_version_1_is_opened_and_searched() {
    let mut rng = StdRng::seed_from_u64(12);
    let mut rows = clustered(&mut rng, 3000, 40, 10);
    rows[3] = None;
    rows[4] = rows[5].clone();
    for (dim, metric) in [(40, Metric::L2), (40, Metric::L1), (40, Metric::Cosine), (8, Metric::L2)] {
        let rows: Vec<_> = rows.iter().map(|row| row.as_ref().map(|row| row[..dim].to_vec())).collect();
        let vectors = column(dim, &rows);
        let bytes = build_bytes(&vectors, metric, 1);
        let graph = HnswGraph::open(Mapped::from_bytes(&bytes)).unwrap();
        let old = HnswGraph::open(Mapped::from_bytes(as_version_1(&bytes))).unwrap();
        old.verify().unwrap();
        assert!(old.sketch(&vectors, vectors.floats(9).unwrap()).is_none());
        assert_eq!(
            graph.sketch(&vectors, vectors.floats(9).unwrap()).is_some(),
            dim == 40 && metric != Metric::L1
        );
        let few = RowSet::from_fn(3000, |row| row % 10 == 0);
        for allowed in [None, Some(&few)] {
            let found = |graph: &HnswGraph| {
                graph.search(&vectors, vectors.floats(9).unwrap(), 10, Effort::new(40, 1), allowed).neighbors
            };
            let truth = exact_search(&vectors, metric, vectors.floats(9).unwrap(), 10, allowed);
            assert!(recall(&found(&old), &truth) >= 0.9, "{metric}");
            assert!(recall(&found(&graph), &truth) >= 0.9, "{metric}");
        }
    }
}

#[test]
fn a_damaged_file_is_searched_without_harm() {
    let mut rng = StdRng::seed_from_u64(10);
    let mut rows = clustered(&mut rng, 3000, 40, 4);
    rows[3] = None;
    rows[4] = rows[5].clone();
    for (dim, metric) in [(40, Metric::L2), (40, Metric::L1), (8, Metric::Cosine)] {
        let rows: Vec<_> = rows.iter().map(|row| row.as_ref().map(|row| row[..dim].to_vec())).collect();
        let vectors = column(dim, &rows);
        let good = build_bytes(&vectors, metric, 1);
        let half = RowSet::from_fn(3000, |row| row % 4 != 0);
        for _ in 0..40 {
            let mut bad = good.clone();
            let share = rng.random_range(0.0..0.3);
            bad[256..].iter_mut().for_each(|byte| {
                if rng.random_bool(share) {
                    *byte = rng.random();
                }
            });
            let graph = HnswGraph::open(Mapped::from_bytes(&bad)).unwrap();
            assert!(graph.verify().is_err());
            for allowed in [None, Some(&half)] {
                let outcome =
                    graph.search(&vectors, vectors.floats(9).unwrap(), 10, Effort::new(40, 1), allowed);
                assert!(outcome.neighbors.iter().all(|n| vectors.is_present(n.row)));
            }
        }
    }
}

#[test]
fn a_build_can_be_stopped_and_bounded() {
    let rows = clustered(&mut StdRng::seed_from_u64(11), 1000, 20, 4);
    let vectors = column(20, &rows);
    let build = |control: &BuildControl, params| {
        HnswGraph::build(&vectors, Metric::L2, params, None, control, &mut Vec::new()).unwrap_err()
    };
    let control = BuildControl::unlimited();
    control.cancel.store(true, Ordering::Relaxed);
    assert_eq!(build(&control, HnswParams::default()).state().code(), "57014");
    let control = BuildControl { memory: MemoryBudget::new(10_000), ..BuildControl::unlimited() };
    assert_eq!(build(&control, HnswParams::default()).state().code(), "53200");
    assert_eq!(control.memory.used_bytes(), 0);
    let control = BuildControl::unlimited();
    assert_eq!(build(&control, HnswParams { m: 1, ..HnswParams::default() }).state().code(), "22023");
}

fn small_table() -> impl proptest::strategy::Strategy<Value = (usize, Vec<Option<Vec<f32>>>)> {
    (1usize..30).prop_flat_map(|dim| {
        let value = prop_oneof![Just(0.0f32), Just(1.0), -1.0f32..1.0];
        let vector = proptest::collection::vec(value, dim);
        (Just(dim), proptest::collection::vec(proptest::option::weighted(0.9, vector), 1..120))
    })
}

proptest! {
    /// Whatever the shape: exact search is a sort, and the graph gives as many rows, all of them allowed.
    #[test]
    fn never_short_and_never_wrong(
        (dim, rows) in small_table(),
        metric in prop_oneof![Just(METRICS[0]), Just(METRICS[1]), Just(METRICS[2]), Just(METRICS[3])],
        k in 0usize..140,
        ef in 0usize..50,
        seed in any::<u64>(),
        share in 0.0f64..1.1,
    ) {
        let vectors = column(dim, &rows);
        let graph = build(&vectors, metric);
        let mut rng = StdRng::seed_from_u64(seed);
        let query: Vec<f32> = (0..dim).map(|_| rng.random_range(-1.0..1.0)).collect();
        let allowed = (share <= 1.0).then(|| RowSet::from_fn(rows.len() as u32, |_| rng.random_bool(share)));
        let mut truth: Vec<Neighbor> = (0..rows.len() as u32)
            .filter(|row| allowed.as_ref().is_none_or(|allowed| allowed.contains(*row)))
            .filter_map(|row| Some(Neighbor { row, score: metric.score(&query, rows[row as usize].as_ref()?) }))
            .collect();
        truth.sort_by(|a, b| compare_scores(a.score, b.score).then(a.row.cmp(&b.row)));
        truth.truncate(k);
        let rows_of = |neighbors: &[Neighbor]| neighbors.iter().map(|n| n.row).collect::<Vec<_>>();
        let (index, effort) = (VectorIndex::Hnsw(graph), Effort::new(ef, 1));
        let exact = search_segment(&vectors, None, metric, &query, k, effort, allowed.as_ref(), false);
        prop_assert_eq!(rows_of(&exact.neighbors), rows_of(&truth));
        let found = search_segment(&vectors, Some(&index), metric, &query, k, effort, allowed.as_ref(), false);
        prop_assert_eq!(found.neighbors.len(), truth.len());
        assert_ordered(&found.neighbors);
        for neighbor in &found.neighbors {
            prop_assert!(allowed.as_ref().is_none_or(|allowed| allowed.contains(neighbor.row)));
            let score = metric.score(&query, rows[neighbor.row as usize].as_ref().unwrap());
            prop_assert!(compare_scores(score, neighbor.score).is_eq());
        }
    }
}
