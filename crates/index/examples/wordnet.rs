//! Builds an index over real embeddings and prints recall and speed.
//!
//! `cargo run --release -p quiver-index --example wordnet -- FOLDER [THREADS [GRAPH [QUANTIZATION]]]`, where the folder holds
//! `base.parquet`, `queries.parquet` (a column `embedding` of float16 or float32 lists) and
//! `truth_l2_top100.parquet` (a column `neighbours` of int32 lists). Filters at random and filters on what the vectors mean
//! are measured too, and searches within a distance. A graph file that exists is used, one
//! that does not is written. Speeds are per second of CPU time where the system tells it (Linux), so that they
//! mean something on a busy machine.

use arrow::array::{Array, AsArray, FixedSizeListArray};
use arrow::datatypes::{DataType, Float16Type, Float32Type, Int32Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use quiver_index::{
    BuildControl, Effort, HnswGraph, HnswParams, Mapped, Metric, Quantization, RowSet, VectorColumn,
    VectorIndex, distance, exact_search, range_segment, search_segment,
};
use std::fs::File;
use std::ops::Bound;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Instant;

type AnyError = Box<dyn std::error::Error>;

const K: usize = 10;

fn main() -> Result<(), AnyError> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: wordnet FOLDER [THREADS]")?;
    let threads = arguments.next().map_or(Ok(2), |text| text.parse())?;
    let kept = arguments.next();
    let quantization = arguments.next().map_or(Ok(Quantization::Auto), |text| text.parse())?;
    let folder = Path::new(&folder);
    let base = read_vectors(&folder.join("base.parquet"))?;
    let queries: Vec<Vec<f32>> =
        read_vectors(&folder.join("queries.parquet"))?.into_iter().take(500).collect();
    let truth = read_truth(&folder.join("truth_l2_top100.parquet"))?;
    println!("{} vectors of {} dimensions, kernels: {}", base.len(), base[0].len(), distance::kernel_name());

    let mut bytes = Vec::new();
    VectorColumn::write(&mut bytes, base[0].len() as u16, base.iter().map(|v| Some(&v[..])))?;
    let vectors = VectorColumn::open(Mapped::from_bytes(&bytes))?;
    let graph = match kept.as_deref().map(Path::new).filter(|path| path.exists()) {
        Some(path) => VectorIndex::open(Mapped::from_file(path)?)?,
        None => {
            let bytes = build(&vectors, threads, quantization)?;
            kept.map_or(Ok(()), |path| std::fs::write(path, &bytes))?;
            VectorIndex::open(Mapped::from_bytes(&bytes))?
        }
    };
    let began = Instant::now();
    graph.verify()?;
    println!("verified in {:.3} s", began.elapsed().as_secs_f64());

    println!("filter                    ef  recall@{K}   queries/s   visited  strategy");
    for ef in [20, 40, 80, 100, 160, 200, 320] {
        report("none", &vectors, &graph, &queries, &truth, ef, None);
    }
    let mut filters: Vec<(String, RowSet)> = Vec::new();
    for percent in [50, 40, 20, 10, 5, 2, 1] {
        filters
            .push((format!("{percent} %"), RowSet::from_fn(vectors.rows(), |row| mix(row) % 100 < percent)));
    }
    for (column, value) in [
        ("pos", "noun"),
        ("pos", "verb"),
        ("lexname", "noun.artifact"),
        ("lexname", "noun.person"),
        ("lexname", "noun.food"),
        ("lexname", "noun.motive"),
    ] {
        filters.push((value.into(), read_equal(&folder.join("base.parquet"), column, value)?));
    }
    filters.push(("id % 20 = 0".into(), RowSet::from_fn(vectors.rows(), |row| row % 20 == 0)));
    let pointers = read_numbers(&folder.join("base.parquet"), "pointers")?;
    filters
        .push(("pointers >= 5".into(), RowSet::from_fn(vectors.rows(), |row| pointers[row as usize] >= 5)));
    for (name, allowed) in &filters {
        let name = format!("{name} ({})", allowed.len());
        let began = thread_seconds();
        let truth: Vec<Vec<u32>> = queries
            .iter()
            .map(|query| exact_search(&vectors, Metric::L2, query, K, Some(allowed)))
            .map(|neighbors| neighbors.into_iter().map(|neighbor| neighbor.row).collect())
            .collect();
        let speed = queries.len() as f64 / (thread_seconds() - began);
        println!("{name:22}     -     1.0000  {speed:10.0}  {:8}  exact, without the index", allowed.len());
        for ef in [20, 40, 100, 200] {
            report(&name, &vectors, &graph, &queries, &truth, ef, Some(allowed));
        }
    }
    report_ranges(&vectors, &graph, &queries, &filters);
    let began = thread_seconds();
    for query in &queries[..20] {
        std::hint::black_box(exact_search(&vectors, Metric::L2, query, K, None));
    }
    println!("exact: {:.0} queries/s", 20.0 / (thread_seconds() - began));
    Ok(())
}

fn build(vectors: &VectorColumn, threads: usize, quantization: Quantization) -> Result<Vec<u8>, AnyError> {
    let control = BuildControl { threads, ..BuildControl::unlimited() };
    let mut bytes = Vec::new();
    let (began, cpu) = (Instant::now(), process_seconds());
    let params = HnswParams { quantization, ..HnswParams::default() };
    let stats = HnswGraph::build(vectors, Metric::L2, params, None, &control, &mut bytes)?;
    let (wall, cpu) = (began.elapsed().as_secs_f64(), process_seconds() - cpu);
    println!("built with {threads} threads in {wall:.1} s ({cpu:.1} s of CPU): {stats:?}");
    Ok(bytes)
}

/// CPU seconds of this thread; of the clock where the system does not say.
fn thread_seconds() -> f64 {
    let nanoseconds = std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(wall_seconds, |ns| ns / 1e9)
}

/// CPU seconds of all threads of this process; of the clock where the system does not say.
fn process_seconds() -> f64 {
    let ticks = std::fs::read_to_string("/proc/self/stat").ok().and_then(|text| {
        let fields: Vec<f64> = text.rsplit(')').next()?.split(' ').filter_map(|f| f.parse().ok()).collect();
        Some(fields.get(10)? + fields.get(11)?)
    });
    ticks.map_or_else(wall_seconds, |ticks| ticks / 100.0)
}

fn wall_seconds() -> f64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_secs_f64()
}

fn report(
    name: &str,
    vectors: &VectorColumn,
    graph: &VectorIndex,
    queries: &[Vec<f32>],
    truth: &[Vec<u32>],
    ef: usize,
    allowed: Option<&RowSet>,
) {
    let began = thread_seconds();
    let outcomes: Vec<_> = queries
        .iter()
        .map(|query| {
            search_segment(vectors, Some(graph), Metric::L2, query, K, Effort::new(ef, 1), allowed, false)
        })
        .collect();
    let seconds = thread_seconds() - began;
    let found: usize = outcomes
        .iter()
        .zip(truth)
        .map(|(outcome, truth)| {
            outcome.neighbors.iter().filter(|neighbor| truth[..K].contains(&neighbor.row)).count()
        })
        .sum();
    let visited: u64 = outcomes.iter().map(|outcome| outcome.visited).sum();
    println!(
        "{name:22} {ef:5}  {:9.4}  {:10.0}  {:8}  {}",
        found as f64 / (queries.len() * K) as f64,
        queries.len() as f64 / seconds,
        visited / queries.len() as u64,
        outcomes[0].strategy,
    );
}

/// How long it takes to find everything within some distances, with codes and without.
fn report_ranges(
    vectors: &VectorColumn,
    graph: &VectorIndex,
    queries: &[Vec<f32>],
    filters: &[(String, RowSet)],
) {
    println!("within                    found  with codes/s  without/s");
    let report = |radius: f64, name: &str, allowed: Option<&RowSet>| {
        let run = |index| {
            let began = thread_seconds();
            let rows = queries[..50].iter().map(|query| {
                range_segment(vectors, index, Metric::L2, query, Bound::Excluded(radius), allowed).len()
            });
            let rows: usize = rows.sum();
            (rows, 50.0 / (thread_seconds() - began))
        };
        let ((found, quick), (all, slow)) = (run(Some(graph)), run(None));
        assert_eq!(found, all, "a range is exact");
        println!("{radius:4} {name:18} {:7}  {quick:12.0}  {slow:9.0}", found / 50);
    };
    for radius in [0.7, 0.9, 1.1] {
        report(radius, "", None);
    }
    for (name, allowed) in filters.iter().filter(|(name, _)| name == "verb" || name == "10 %") {
        report(0.9, name, Some(allowed));
    }
}

fn mix(row: u32) -> u32 {
    let mixed = (row ^ row >> 16).wrapping_mul(0x7feb_352d);
    let mixed = (mixed ^ mixed >> 15).wrapping_mul(0x846c_a68b);
    mixed ^ mixed >> 16
}

/// The rows whose text in `column` is `value`.
fn read_equal(path: &Path, column: &str, value: &str) -> Result<RowSet, AnyError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
    let rows = builder.metadata().file_metadata().num_rows() as u32;
    let mask = ProjectionMask::columns(builder.parquet_schema(), [column]);
    let (mut set, mut first) = (RowSet::new(rows), 0);
    for batch in builder.with_projection(mask).build()? {
        let texts = arrow::compute::cast(batch?.column(0), &DataType::Utf8)?;
        let equal = texts.as_string::<i32>().iter().zip(first..).filter(|(text, _)| *text == Some(value));
        set.extend(equal.map(|(_, row)| row));
        first += texts.len() as u32;
    }
    Ok(set)
}

fn read_numbers(path: &Path, column: &str) -> Result<Vec<i32>, AnyError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), [column]);
    let mut numbers = Vec::new();
    for batch in builder.with_projection(mask).build()? {
        numbers.extend_from_slice(batch?.column(0).as_primitive::<Int32Type>().values());
    }
    Ok(numbers)
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
