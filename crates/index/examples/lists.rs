//! Searches lists over real embeddings and prints recall and speed for numbers of probes.
//!
//! `cargo run --release -p quiver-index --example lists -- FOLDER FILE [LISTS]`, where the folder is the one that the example
//! `wordnet` takes. The file of lists is used if it exists, of whatever version, and written if it does not. Speeds are per second
//! of CPU time where the system tells it (Linux).

use arrow::array::{AsArray, FixedSizeListArray};
use arrow::datatypes::{DataType, Float16Type, Float32Type, Int32Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use quiver_index::{
    BuildControl, Effort, IvfIndex, IvfParams, Mapped, Metric, RowSet, VectorColumn, VectorIndex,
    exact_search, search_segment,
};
use std::fs::File;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Instant;

type AnyError = Box<dyn std::error::Error>;

const K: usize = 10;

fn main() -> Result<(), AnyError> {
    let usage = "usage: lists FOLDER FILE [LISTS]";
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or(usage)?;
    let file = arguments.next().ok_or(usage)?;
    let lists = arguments.next().map_or(Ok(300), |text| text.parse())?;
    let (folder, file) = (Path::new(&folder), Path::new(&file));
    let base = read_vectors(&folder.join("base.parquet"))?;
    let queries: Vec<Vec<f32>> =
        read_vectors(&folder.join("queries.parquet"))?.into_iter().take(500).collect();
    let truth = read_truth(&folder.join("truth_l2_top100.parquet"))?;
    let mut bytes = Vec::new();
    VectorColumn::write(&mut bytes, base[0].len() as u16, base.iter().map(|v| Some(&v[..])))?;
    let vectors = VectorColumn::open(Mapped::from_bytes(&bytes))?;
    drop((base, bytes));
    if !file.exists() {
        let control = BuildControl { threads: 2, ..BuildControl::unlimited() };
        let (began, mut out) = (Instant::now(), Vec::new());
        let stats = IvfIndex::build(&vectors, Metric::L2, IvfParams { lists }, None, &control, &mut out)?;
        println!("built in {:.1} s: {stats:?}", began.elapsed().as_secs_f64());
        std::fs::write(file, &out)?;
    }
    let index = VectorIndex::open(Mapped::from_file(file)?)?;
    index.verify()?;

    println!("filter               probes  recall@{K}  queries/s  compared");
    for probes in [1, 2, 5, 10, 20, 40] {
        report("none", &vectors, &index, &queries, &truth, probes, None);
    }
    for percent in [50, 10, 2] {
        let allowed = RowSet::from_fn(vectors.rows(), |row| mix(row) % 100 < percent);
        let truth: Vec<Vec<u32>> = queries
            .iter()
            .map(|query| exact_search(&vectors, Metric::L2, query, K, Some(&allowed)))
            .map(|neighbors| neighbors.into_iter().map(|neighbor| neighbor.row).collect())
            .collect();
        for probes in [5, 20] {
            report(&format!("{percent} %"), &vectors, &index, &queries, &truth, probes, Some(&allowed));
        }
    }
    Ok(())
}

fn report(
    name: &str,
    vectors: &VectorColumn,
    index: &VectorIndex,
    queries: &[Vec<f32>],
    truth: &[Vec<u32>],
    probes: usize,
    allowed: Option<&RowSet>,
) {
    let effort = Effort::new(40, probes);
    let began = thread_seconds();
    let outcomes: Vec<_> = queries
        .iter()
        .map(|query| search_segment(vectors, Some(index), Metric::L2, query, K, effort, allowed, false))
        .collect();
    let seconds = thread_seconds() - began;
    let found: usize = outcomes
        .iter()
        .zip(truth)
        .map(|(outcome, truth)| outcome.neighbors.iter().filter(|n| truth[..K].contains(&n.row)).count())
        .sum();
    let visited: u64 = outcomes.iter().map(|outcome| outcome.visited).sum();
    println!(
        "{name:20} {probes:6}  {:9.4}  {:9.0}  {:8}",
        found as f64 / (queries.len() * K) as f64,
        queries.len() as f64 / seconds,
        visited / queries.len() as u64,
    );
}

/// CPU seconds of this thread; of the clock where the system does not say.
fn thread_seconds() -> f64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let nanoseconds = std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| START.elapsed().as_secs_f64(), |ns| ns / 1e9)
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
        let values = lists.values().as_primitive::<Int32Type>().values();
        let width = lists.value_length() as usize;
        truth.extend(values.chunks(width).map(|chunk| chunk.iter().map(|row| *row as u32).collect()));
    }
    Ok(truth)
}
