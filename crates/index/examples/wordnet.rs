//! Builds an index over real embeddings and prints recall and speed.
//!
//! `cargo run --release -p quiver-index --example wordnet -- FOLDER [THREADS]`, where the folder holds
//! `base.parquet`, `queries.parquet` (a column `embedding` of float16 or float32 lists) and
//! `truth_l2_top100.parquet` (a column `neighbours` of int32 lists).

use arrow::array::{AsArray, FixedSizeListArray};
use arrow::datatypes::{DataType, Float16Type, Float32Type, Int32Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use quiver_index::{
    BuildControl, HnswGraph, HnswParams, Mapped, Metric, RowSet, VectorColumn, distance, exact_search,
    search_segment,
};
use std::fs::File;
use std::path::Path;
use std::time::Instant;

type AnyError = Box<dyn std::error::Error>;

const K: usize = 10;

fn main() -> Result<(), AnyError> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: wordnet FOLDER [THREADS]")?;
    let threads = arguments.next().map_or(Ok(2), |text| text.parse())?;
    let folder = Path::new(&folder);
    let base = read_vectors(&folder.join("base.parquet"))?;
    let queries: Vec<Vec<f32>> =
        read_vectors(&folder.join("queries.parquet"))?.into_iter().take(500).collect();
    let truth = read_truth(&folder.join("truth_l2_top100.parquet"))?;
    println!("{} vectors of {} dimensions, kernels: {}", base.len(), base[0].len(), distance::kernel_name());

    let mut bytes = Vec::new();
    VectorColumn::write(&mut bytes, base[0].len() as u16, base.iter().map(|v| Some(&v[..])))?;
    let vectors = VectorColumn::open(Mapped::from_bytes(&bytes))?;
    let control = BuildControl { threads, ..BuildControl::unlimited() };
    let mut bytes = Vec::new();
    let began = Instant::now();
    let stats = HnswGraph::build(&vectors, Metric::L2, HnswParams::default(), &control, &mut bytes)?;
    println!("built with {threads} threads in {:.1} s: {stats:?}", began.elapsed().as_secs_f64());
    let graph = HnswGraph::open(Mapped::from_bytes(&bytes))?;
    let began = Instant::now();
    graph.verify()?;
    println!("verified in {:.3} s", began.elapsed().as_secs_f64());

    println!("filter      ef  recall@{K}   queries/s   visited  strategy");
    for ef in [20, 40, 80, 100, 160, 200, 320] {
        report("none", &vectors, &graph, &queries, &truth, ef, None);
    }
    for percent in [50, 10, 5, 1] {
        let allowed = RowSet::from_fn(vectors.rows(), |row| mix(row) % 100 < percent);
        let truth: Vec<Vec<u32>> = queries
            .iter()
            .map(|query| exact_search(&vectors, Metric::L2, query, K, Some(&allowed)))
            .map(|neighbors| neighbors.into_iter().map(|neighbor| neighbor.row).collect())
            .collect();
        for ef in [20, 40, 100, 200] {
            report(&format!("{percent} %"), &vectors, &graph, &queries, &truth, ef, Some(&allowed));
        }
    }
    let began = Instant::now();
    for query in &queries[..20] {
        std::hint::black_box(exact_search(&vectors, Metric::L2, query, K, None));
    }
    println!("exact: {:.0} queries/s", 20.0 / began.elapsed().as_secs_f64());
    Ok(())
}

fn report(
    name: &str,
    vectors: &VectorColumn,
    graph: &HnswGraph,
    queries: &[Vec<f32>],
    truth: &[Vec<u32>],
    ef: usize,
    allowed: Option<&RowSet>,
) {
    let began = Instant::now();
    let outcomes: Vec<_> = queries
        .iter()
        .map(|query| search_segment(vectors, Some(graph), Metric::L2, query, K, ef, allowed, false))
        .collect();
    let seconds = began.elapsed().as_secs_f64();
    let found: usize = outcomes
        .iter()
        .zip(truth)
        .map(|(outcome, truth)| {
            outcome.neighbors.iter().filter(|neighbor| truth[..K].contains(&neighbor.row)).count()
        })
        .sum();
    let visited: u64 = outcomes.iter().map(|outcome| outcome.visited).sum();
    println!(
        "{name:8} {ef:5}  {:9.4}  {:10.0}  {:8}  {}",
        found as f64 / (queries.len() * K) as f64,
        queries.len() as f64 / seconds,
        visited / queries.len() as u64,
        outcomes[0].strategy,
    );
}

fn mix(row: u32) -> u32 {
    let mixed = (row ^ row >> 16).wrapping_mul(0x7feb_352d);
    let mixed = (mixed ^ mixed >> 15).wrapping_mul(0x846c_a68b);
    mixed ^ mixed >> 16
}

fn read_lists(path: &Path, column: &str) -> Result<Vec<FixedSizeListArray>, AnyError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), [column]);
    let reader = builder.with_projection(mask).with_batch_size(8192).build()?;
    reader.map(|batch| Ok(batch?.column(0).as_fixed_size_list().clone())).collect()
}

fn read_vectors(path: &Path) -> Result<Vec<Vec<f32>>, AnyError> {
    let mut vectors = Vec::new();
    for lists in read_lists(path, "embedding")? {
        let values: Vec<f32> = match lists.value_type() {
            DataType::Float16 => {
                lists.values().as_primitive::<Float16Type>().values().iter().map(|x| x.to_f32()).collect()
            }
            _ => lists.values().as_primitive::<Float32Type>().values().to_vec(),
        };
        vectors.extend(values.chunks(lists.value_length() as usize).map(<[f32]>::to_vec));
    }
    Ok(vectors)
}

fn read_truth(path: &Path) -> Result<Vec<Vec<u32>>, AnyError> {
    let mut truth = Vec::new();
    for lists in read_lists(path, "neighbours")? {
        let values = lists.values().as_primitive::<Int32Type>();
        truth.extend(
            values
                .values()
                .chunks(lists.value_length() as usize)
                .map(|c| c.iter().map(|x| *x as u32).collect()),
        );
    }
    Ok(truth)
}
