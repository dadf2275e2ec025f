//! Distance kernels and searches in one graph, on one thread, over vectors around centres.
#![allow(missing_docs)] // criterion's macro makes a public function

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use quiver_index::{
    AskedCodes, BuildControl, Effort, Element, HnswGraph, HnswParams, Mapped, Metric, RowCodes, RowSet,
    VectorColumn, VectorIndex, distance, exact_search, search_segment, sifted_search,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::hint::black_box;

const DIM: u16 = 128;
const ROWS: usize = 20_000;
const CENTRES: usize = 100;
const K: usize = 10;

fn vectors(random: &mut StdRng, rows: usize, dim: u16) -> Vec<Vec<f32>> {
    let mut near = |centre: &[f32], spread: f32| -> Vec<f32> {
        centre.iter().map(|x| x + random.random_range(-spread..spread)).collect()
    };
    let zero = vec![0.0; dim.into()];
    let centres: Vec<Vec<f32>> = (0..CENTRES).map(|_| near(&zero, 1.0)).collect();
    (0..rows).map(|row| near(&centres[row % CENTRES], 0.5)).collect()
}

fn kernels(c: &mut Criterion) {
    let mut random = StdRng::seed_from_u64(1);
    let mut group = c.benchmark_group(format!("kernels/{}", distance::kernel_name()));
    for dim in [128u16, 384, 1536] {
        let pair = vectors(&mut random, 2, dim);
        let (a, b) = (&pair[0], &pair[1]);
        let codes: Vec<u8> = (0..dim).map(|i| i as u8).collect();
        let query: Vec<i8> = (0..dim).map(|i| i as i8).collect();
        group.throughput(Throughput::Elements(dim.into()));
        group.bench_function(format!("l2_squared/{dim}"), |it| {
            it.iter(|| distance::l2_squared(black_box(a), black_box(b)));
        });
        group
            .bench_function(format!("dot/{dim}"), |it| it.iter(|| distance::dot(black_box(a), black_box(b))));
        group.bench_function(format!("l1/{dim}"), |it| it.iter(|| distance::l1(black_box(a), black_box(b))));
        group.bench_function(format!("cosine/{dim}"), |it| {
            it.iter(|| distance::cosine(black_box(a), black_box(b)));
        });
        group.bench_function(format!("dot_u8_i8/{dim}"), |it| {
            it.iter(|| distance::dot_u8_i8(black_box(&codes), black_box(&query)));
        });
        let halves = Element::F16.packed(b);
        let halves: Vec<u16> = halves.as_chunks().0.iter().map(|half| u16::from_le_bytes(*half)).collect();
        group.bench_function(format!("l2_squared_f16/{dim}"), |it| {
            it.iter(|| distance::l2_squared_f16(black_box(a), black_box(&halves)));
        });
        group.bench_function(format!("cosine_f16/{dim}"), |it| {
            it.iter(|| distance::dot_and_norms_f16(black_box(a), black_box(&halves)));
        });
        let sign =
            |vector: &[f32]| vector.iter().map(|x| f32::from(u8::from(*x > 0.0))).collect::<Vec<f32>>();
        let (left, right) = (Element::Bit.packed(&sign(a)), Element::Bit.packed(&sign(b)));
        group.bench_function(format!("hamming/{dim}"), |it| {
            it.iter(|| distance::hamming(black_box(&left), black_box(&right)));
        });
        group.bench_function(format!("common_bits/{dim}"), |it| {
            it.iter(|| distance::common_bits(black_box(&left), black_box(&right)));
        });
    }
    group.finish();
}

fn searches(c: &mut Criterion) {
    let mut random = StdRng::seed_from_u64(2);
    let rows = vectors(&mut random, ROWS, DIM);
    let queries = vectors(&mut random, 100, DIM);
    let mut bytes = Vec::new();
    VectorColumn::write(&mut bytes, DIM, rows.iter().map(|row| Some(&row[..]))).expect("a column in memory");
    let column = VectorColumn::open(Mapped::from_bytes(&bytes)).expect("what was just written");
    let mut graph = Vec::new();
    let control = BuildControl { threads: 2, ..BuildControl::unlimited() };
    HnswGraph::build(&column, Metric::L2, HnswParams::default(), None, &control, &mut graph)
        .expect("a graph");
    let graph = VectorIndex::open(Mapped::from_bytes(&graph)).expect("what was just written");
    let tenth = RowSet::from_fn(column.rows(), |row| row % 10 == 3);
    let few = RowSet::from_fn(column.rows(), |row| row % 1000 == 3);
    let mut group = c.benchmark_group("graph");
    let cases =
        [("all", None), ("a tenth of the rows", Some(&tenth)), ("a thousandth of the rows", Some(&few))];
    for (name, allowed) in cases {
        for ef in [20, 80] {
            let mut next = 0;
            group.bench_function(format!("{name}/ef {ef}"), |it| {
                it.iter(|| {
                    next = (next + 1) % queries.len();
                    let effort = Effort::new(ef, 1);
                    search_segment(
                        &column,
                        Some(&graph),
                        Metric::L2,
                        &queries[next],
                        K,
                        effort,
                        allowed,
                        false,
                    )
                });
            });
        }
    }
    group.finish();
}

/// Rows that no index holds yet: as many as come in one or two seconds.
fn without_index(c: &mut Criterion) {
    const ARRIVED: usize = 2_600;
    let mut random = StdRng::seed_from_u64(3);
    let mut group = c.benchmark_group("without an index");
    group.throughput(Throughput::Elements(ARRIVED as u64));
    for dim in [128u16, 384] {
        let rows = vectors(&mut random, ARRIVED, dim);
        let queries = vectors(&mut random, 100, dim);
        let mut bytes = Vec::new();
        VectorColumn::write(&mut bytes, dim, rows.iter().map(|row| Some(&row[..])))
            .expect("a column in memory");
        let column = VectorColumn::open(Mapped::from_bytes(&bytes)).expect("what was just written");
        let encode = || {
            let mut codes = RowCodes::new(dim.into());
            codes.reserve(ARRIVED);
            rows.iter().for_each(|row| codes.push(row));
            codes
        };
        let codes = encode();
        let mut next = 0;
        let mut query = || {
            next = (next + 1) % queries.len();
            &queries[next]
        };
        group.bench_function(format!("exact/{dim}"), |it| {
            it.iter(|| exact_search(&column, Metric::L2, query(), K, None));
        });
        group.bench_function(format!("by codes/{dim}"), |it| {
            it.iter(|| {
                let query = query();
                let asked = AskedCodes::new(Metric::L2, query).expect("a query with a length");
                sifted_search(&column, (&codes, &asked), (Metric::L2, query), K, None, None)
            });
        });
        group.bench_function(format!("make codes/{dim}"), |it| it.iter(encode));
    }
    group.finish();
}

criterion_group!(benches, kernels, searches, without_index);
criterion_main!(benches);
