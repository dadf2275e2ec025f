//! Builds a graph over vectors in a flat file and prints recall and speed at each ef as JSON, for `bench/`.
//!
//! `sweep FOLDER DIM THREADS EF,EF,… [QUANTIZATION]`: the folder holds `base` and `queries` (f32, little-endian, row after row) and `truth` (i32, the ten
//! nearest rows of each query). One thread searches; a speed is the best of three passes, by the clock.

use quiver_index::{
    BuildControl, Effort, HnswGraph, HnswParams, Mapped, Metric, Quantization, VectorColumn, VectorIndex,
    search_segment,
};
use std::path::Path;
use std::time::Instant;

type AnyError = Box<dyn std::error::Error>;

const K: usize = 10;
const PASSES: usize = 3;

fn main() -> Result<(), AnyError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, dim, threads, efs, quantization @ ..] = arguments.as_slice() else {
        return Err("usage: sweep FOLDER DIM THREADS EF,EF,… [QUANTIZATION]".into());
    };
    let quantization = quantization.first().map_or(Ok(Quantization::Auto), |text| text.parse())?;
    let (folder, dim, threads) = (Path::new(folder), dim.parse()?, threads.parse()?);
    let base = floats(&folder.join("base"))?;
    let queries = floats(&folder.join("queries"))?;
    let truth: Vec<u32> = words(&folder.join("truth"))?.into_iter().map(u32::from_le_bytes).collect();

    let mut bytes = Vec::new();
    VectorColumn::write(&mut bytes, dim, base.chunks_exact(dim.into()).map(Some))?;
    let vectors = VectorColumn::open(Mapped::from_bytes(&bytes))?;
    drop((base, bytes));
    let began = Instant::now();
    let control = BuildControl { threads, ..BuildControl::unlimited() };
    let mut graph = Vec::new();
    let params = HnswParams { quantization, ..HnswParams::default() };
    HnswGraph::build(&vectors, Metric::L2, params, None, &control, &mut graph)?;
    let build = began.elapsed().as_secs_f64();
    let size = graph.len();
    let graph = VectorIndex::open(Mapped::from_bytes(&graph))?;

    let mut lines = Vec::new();
    for ef in efs.split(',') {
        let effort = Effort::new(ef.parse::<usize>()?.max(K), 1);
        let mut best = f64::INFINITY;
        let mut hits = 0;
        for _ in 0..PASSES {
            let began = Instant::now();
            let answers = queries.chunks_exact(dim.into()).map(|query| {
                search_segment(&vectors, Some(&graph), Metric::L2, query, K, effort, None, false)
            });
            let answers: Vec<_> = answers.collect();
            best = best.min(began.elapsed().as_secs_f64());
            let found = answers.iter().zip(truth.chunks_exact(K));
            hits = found
                .map(|(answer, truth)| answer.neighbors.iter().filter(|it| truth.contains(&it.row)).count())
                .sum();
        }
        let count = truth.len() / K;
        let (recall, speed) = (hits as f64 / truth.len() as f64, count as f64 / best);
        lines.push(format!("\"{ef}\": {{\"recall\": {recall:.4}, \"qps\": {speed:.0}}}"));
    }
    println!("{{\"build_s\": {build:.2}, \"bytes\": {size}, \"ef\": {{{}}}}}", lines.join(", "));
    Ok(())
}

fn words(path: &Path) -> Result<Vec<[u8; 4]>, AnyError> {
    Ok(std::fs::read(path)?.as_chunks().0.to_vec())
}

fn floats(path: &Path) -> Result<Vec<f32>, AnyError> {
    Ok(words(path)?.into_iter().map(f32::from_le_bytes).collect())
}
