//! Graphs and lists over vectors of f16 and of bits.

use super::*;
use crate::{Element, IvfIndex, IvfParams, range_segment};
use std::ops::Bound;

fn packed(element: Element, dim: usize, rows: &[Option<Vec<f32>>]) -> VectorColumn {
    let pack = |row: &Option<Vec<f32>>| row.as_ref().map(|row| element.packed(row));
    let rows: Vec<Option<Vec<u8>>> = rows.iter().map(pack).collect();
    let mut out = Vec::new();
    VectorColumn::write_packed(&mut out, dim as u16, element, rows.iter().map(Option::as_deref)).unwrap();
    VectorColumn::open(Mapped::from_bytes(out)).unwrap()
}

/// Bits around a few patterns, as zeros and ones.
fn bits(rng: &mut StdRng, rows: usize, dim: usize) -> Vec<Option<Vec<f32>>> {
    let patterns: Vec<Vec<bool>> =
        (0..40).map(|_| (0..dim).map(|_| rng.random_bool(0.4)).collect()).collect();
    let noisy = |pattern: &[bool], rng: &mut StdRng| {
        let bit = |bit: &bool| f32::from(u8::from(*bit ^ rng.random_bool(0.12)));
        pattern.iter().map(bit).collect::<Vec<f32>>()
    };
    (0..rows).map(|row| Some(noisy(&patterns[row % 40], rng))).collect()
}

#[test]
fn bits_are_found_by_hamming_and_jaccard() {
    let mut rng = StdRng::seed_from_u64(31);
    let rows = bits(&mut rng, 4000, 99);
    let queries = bits(&mut rng, 50, 99);
    let floats = column(99, &rows);
    for element in [Element::F32, Element::Bit] {
        let vectors = packed(element, 99, &rows);
        for metric in [Metric::L2, Metric::Jaccard] {
            let graph = build(&vectors, metric);
            let is_coded = element == Element::F32 && metric == Metric::L2;
            assert_eq!(graph.file.header.codes == CodeKind::Full, !is_coded);
            let mut found = 0;
            for query in queries.iter().flatten() {
                let truth = exact_search(&vectors, metric, query, 10, None);
                assert_eq!(truth, exact_search(&floats, metric, query, 10, None));
                let outcome = graph.search(&vectors, query, 10, Effort::new(100, 1), None);
                // Many are equally far: what counts is how far.
                found += outcome.neighbors.iter().filter(|n| n.score <= truth[9].score).count();
            }
            assert!(found >= 475, "{element:?} {metric}: {found} of 500");
        }
    }
}

#[test]
fn codes_of_bits_are_possible() {
    let mut rng = StdRng::seed_from_u64(32);
    let vectors = packed(Element::Bit, 64, &bits(&mut rng, 2000, 64));
    for quantization in [Quantization::Sq8, Quantization::Rabitq(4)] {
        let params = HnswParams { quantization, ..HnswParams::default() };
        let mut out = Vec::new();
        HnswGraph::build(&vectors, Metric::L2, params, None, &BuildControl::unlimited(), &mut out).unwrap();
        let graph = HnswGraph::open(Mapped::from_bytes(out)).unwrap();
        graph.verify().unwrap();
        let query = vectors.widened(17, &mut Vec::new()).to_vec();
        let outcome = graph.search(&vectors, &query, 5, Effort::new(60, 1), None);
        let truth = exact_search(&vectors, Metric::L2, &query, 5, None);
        let scores = |found: &[Neighbor]| found.iter().map(|found| found.score).collect::<Vec<_>>();
        assert_eq!(scores(&outcome.neighbors), scores(&truth), "{quantization}");
    }
}

#[test]
fn halves_are_found_by_every_metric_and_kind_of_codes() {
    let mut rng = StdRng::seed_from_u64(33);
    let rows = clustered(&mut rng, 3000, 40, 30);
    let queries = clustered(&mut rng, 30, 40, 30);
    let vectors = packed(Element::F16, 40, &rows);
    for metric in METRICS {
        for quantization in [Quantization::Auto, Quantization::None, Quantization::Rabitq(5)] {
            let params = HnswParams { quantization, ..HnswParams::default() };
            if params.check(metric).is_err() {
                continue;
            }
            let (mut out, control) = (Vec::new(), BuildControl::unlimited());
            HnswGraph::build(&vectors, metric, params, None, &control, &mut out).unwrap();
            let graph = HnswGraph::open(Mapped::from_bytes(out)).unwrap();
            graph.verify().unwrap();
            let (mut sum, mut buffer) = (0.0, Vec::new());
            let allowed = RowSet::from_fn(3000, |row| row % 9 == 4);
            for query in queries.iter().flatten() {
                let truth = exact_search(&vectors, metric, query, 10, None);
                for neighbor in &truth {
                    let wanted = metric.score(query, vectors.widened(neighbor.row, &mut buffer));
                    assert!((neighbor.score - wanted).abs() <= 1e-4 * wanted.abs().max(1.0));
                }
                sum +=
                    recall(&graph.search(&vectors, query, 10, Effort::new(100, 1), None).neighbors, &truth);
                let truth = exact_search(&vectors, metric, query, 10, Some(&allowed));
                let found = graph.search(&vectors, query, 10, Effort::new(100, 1), Some(&allowed)).neighbors;
                assert!(recall(&found, &truth) >= 0.8, "{metric} {quantization}");
                let farthest = vectors.widened(truth[9].row, &mut buffer);
                let radius = Bound::Included(metric.distance_between(query, farthest));
                let index = VectorIndex::Hnsw(graph.clone());
                let inside = range_segment(&vectors, Some(&index), metric, query, radius, Some(&allowed));
                let plain = range_segment(&vectors, None, metric, query, radius, Some(&allowed));
                assert_eq!(inside, plain);
                assert!(inside.len() >= 10);
            }
            assert!(sum / 30.0 >= floor(metric), "{metric} {quantization}: {}", sum / 30.0);
        }
    }
}

#[test]
fn lists_of_halves_and_bits_are_searched() {
    let mut rng = StdRng::seed_from_u64(34);
    for (element, metric) in [
        (Element::F16, Metric::L2),
        (Element::F16, Metric::Cosine),
        (Element::Bit, Metric::L2),
        (Element::Bit, Metric::Jaccard),
    ] {
        let rows = match element {
            Element::Bit => bits(&mut rng, 1500, 40),
            _ => clustered(&mut rng, 1500, 40, 20),
        };
        let vectors = packed(element, 40, &rows);
        let (params, control) = (IvfParams { lists: 12 }, BuildControl::unlimited());
        let mut out = Vec::new();
        IvfIndex::build(&vectors, metric, params, None, &control, &mut out).unwrap();
        let lists = IvfIndex::open(Mapped::from_bytes(out)).unwrap();
        lists.verify().unwrap();
        for row in [3, 700] {
            let query = vectors.widened(row, &mut Vec::new()).to_vec();
            let outcome = lists.search(&vectors, &query, 10, 11, None);
            assert_eq!(outcome.strategy, Strategy::Lists);
            let truth = exact_search(&vectors, metric, &query, 10, None);
            let found = outcome.neighbors.iter().filter(|found| found.score <= truth[9].score + 1e-4);
            assert!(found.count() >= 9, "{element:?} {metric}");
            let mut buffer = Vec::new();
            for neighbor in &outcome.neighbors {
                let wanted = metric.score(&query, vectors.widened(neighbor.row, &mut buffer));
                let error = (neighbor.score - wanted).abs();
                assert!(error <= 1e-4 * wanted.abs().max(1.0), "{element:?} {metric}");
            }
        }
    }
}
