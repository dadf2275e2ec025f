//! A hundred searches in a graph that one thread has built, the same each time: what `bench/instructions` counts.

use quiver_index::{
    BuildControl, Effort, HnswGraph, HnswParams, Mapped, Metric, VectorColumn, VectorIndex, search_segment,
};
use std::hint::black_box;

type AnyError = Box<dyn std::error::Error>;

const DIM: u16 = 128;
const ROWS: usize = 3000;
const SEARCHES: usize = 100;

fn main() -> Result<(), AnyError> {
    let rows: Vec<Vec<f32>> = (0..ROWS).map(vector).collect();
    let mut bytes = Vec::new();
    VectorColumn::write(&mut bytes, DIM, rows.iter().map(|row| Some(&row[..])))?;
    let column = VectorColumn::open(Mapped::from_bytes(&bytes))?;
    let mut graph = Vec::new();
    let control = BuildControl { threads: 1, ..BuildControl::unlimited() };
    HnswGraph::build(&column, Metric::L2, HnswParams::default(), None, &control, &mut graph)?;
    let graph = VectorIndex::open(Mapped::from_bytes(&graph))?;
    let queries: Vec<Vec<f32>> = (ROWS..ROWS + SEARCHES).map(vector).collect();
    // The first one opens what is opened once.
    measured(&column, &graph, &queries[..1]);
    println!("{} rows found", counted(&column, &graph, &queries));
    Ok(())
}

#[inline(never)]
fn counted(column: &VectorColumn, graph: &VectorIndex, queries: &[Vec<f32>]) -> usize {
    measured(column, graph, queries)
}

fn measured(column: &VectorColumn, graph: &VectorIndex, queries: &[Vec<f32>]) -> usize {
    let effort = Effort::new(40, 1);
    let found = queries.iter().map(|query| {
        black_box(search_segment(column, Some(graph), Metric::L2, query, 10, effort, None, false))
            .neighbors
            .len()
    });
    found.sum()
}

/// A vector around one of thirty centres; the same for the same number.
fn vector(number: usize) -> Vec<f32> {
    let noise = |x: u64| {
        let mixed = (x ^ x >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f32 / (1 << 24) as f32
    };
    let (number, centre) = (number as u64, number as u64 % 30);
    (0..u64::from(DIM))
        .map(|i| noise(1_000_000 + centre * 4096 + i) + 0.4 * noise(number * 4096 + i))
        .collect()
}
