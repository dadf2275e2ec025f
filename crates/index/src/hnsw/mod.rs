//! A navigable small-world graph over one segment's vectors: built once, written as flat arrays, searched as
//! the file lies.

mod build;
mod calibrate;
mod codes;
mod format;
mod grow;
mod kept;
mod nodes;
mod plan;
mod quantization;
mod rabitq_codes;
mod repair;
mod rows;
mod scalar_sieve;
mod search;
mod sketch;
mod walk;

use codes::Quantizer;
use format::{CodeKind, GraphFile, Section};
use rabitq_codes::NodeCoder;

use search::Question;
use sketch::Certainty;

pub use kept::Earlier;
pub use quantization::Quantization;

use crate::sieve::Sketch;
use crate::{Effort, Expected, Mapped, Metric, RowSet, SearchOutcome, VectorColumn};
use quiver_base::{MemoryBudget, Result};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};

/// What `WITH (m = …, ef_construction = …)` sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HnswParams {
    /// Links a node has on each upper level; twice as many at the lowest.
    pub m: u16,
    /// Candidates kept while looking for a new node's neighbours.
    pub ef_construction: u16,
    /// What walks compare instead of whole vectors. Absent where it was stored by a Quiver that knew one kind only.
    #[serde(default)]
    pub quantization: Quantization,
}

impl Default for HnswParams {
    fn default() -> Self {
        HnswParams { m: 16, ef_construction: 64, quantization: Quantization::Auto }
    }
}

/// How a build is watched, stopped and bounded.
#[derive(Clone, Debug)]
pub struct BuildControl {
    /// Set to stop the build with 57014.
    pub cancel: Arc<AtomicBool>,
    /// Counts the rows linked so far.
    pub done_rows: Arc<AtomicU64>,
    /// Threads to build with; at least one is used.
    pub threads: usize,
    /// Where memory is reserved before it is taken.
    pub memory: Arc<MemoryBudget>,
}

impl BuildControl {
    /// One thread, no limit, nobody watching.
    pub fn unlimited() -> BuildControl {
        BuildControl {
            cancel: Arc::default(),
            done_rows: Arc::default(),
            threads: 1,
            memory: MemoryBudget::unlimited(),
        }
    }
}

/// What a build made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildStats {
    /// Rows of the segment, NULLs included.
    pub rows: u32,
    /// Distinct vectors linked.
    pub nodes: u32,
    /// Bytes written.
    pub file_bytes: u64,
}

/// A graph file, opened.
#[derive(Debug, Clone)]
pub struct HnswGraph {
    file: GraphFile,
    coder: NodesCoder,
    /// The node of each row, `NO_LINK` for none; made when first asked for, unless they are the same numbers.
    node_of_row: Arc<OnceLock<Vec<u32>>>,
}

/// What queries are made comparable with codes by.
#[derive(Debug, Clone)]
enum NodesCoder {
    Full,
    Scalar(Quantizer),
    Rabitq(Box<NodeCoder>),
}

impl HnswGraph {
    /// Builds the graph of a column's rows (of `only`, if it is given) and writes its file.
    pub fn build(
        vectors: &VectorColumn,
        metric: Metric,
        params: HnswParams,
        only: Option<&RowSet>,
        control: &BuildControl,
        out: &mut dyn Write,
    ) -> Result<BuildStats> {
        build::build(&build::Input { vectors, metric, params, only, earlier: None }, control, out)
    }

    /// Builds a graph like an earlier one over other rows and writes its file. Vectors that both have keep their links; only the others
    /// are linked anew.
    pub fn extend(
        earlier: Earlier<'_>,
        vectors: &VectorColumn,
        only: Option<&RowSet>,
        control: &BuildControl,
        out: &mut dyn Write,
    ) -> Result<BuildStats> {
        let (metric, params) = (earlier.graph.metric(), earlier.graph.params());
        build::build(&build::Input { vectors, metric, params, only, earlier: Some(earlier) }, control, out)
    }

    /// Opens a graph file. Reads the header only; see [`verify`](Self::verify).
    pub fn open(bytes: Mapped) -> Result<HnswGraph> {
        let file = GraphFile::open(bytes)?;
        let (header, numbers) = (&file.header, file.floats(Section::Quantizer));
        let coder = match header.codes {
            CodeKind::Full => NodesCoder::Full,
            CodeKind::Scalar8 => NodesCoder::Scalar(Quantizer::from_numbers(header.metric, numbers)),
            CodeKind::Rabitq(bits) => {
                let coder = NodeCoder::new(header.metric, bits, header.seed, numbers.to_vec())?;
                NodesCoder::Rabitq(Box::new(coder))
            }
        };
        Ok(HnswGraph { file, coder, node_of_row: Arc::default() })
    }

    /// Reads everything, compares it with its checksums and checks every link: once, when the file is new on
    /// this machine. A search of a file that would not pass finds wrong rows, but touches no foreign memory.
    pub fn verify(&self) -> Result<()> {
        self.file.verify()
    }

    /// The metric it was built for.
    pub fn metric(&self) -> Metric {
        self.file.header.metric
    }

    /// What it was built with.
    pub fn params(&self) -> HnswParams {
        self.file.header.params
    }

    /// Dimensions of its vectors.
    pub fn dim(&self) -> u16 {
        self.file.header.dim
    }

    /// Rows of the segment it was built over, NULLs included.
    pub fn rows(&self) -> u32 {
        self.file.header.rows
    }

    /// Distinct vectors linked.
    pub fn nodes(&self) -> u32 {
        self.file.header.nodes
    }

    /// Bytes of the file.
    pub fn file_bytes(&self) -> usize {
        self.file.header.file_bytes()
    }

    /// What the codes say for certain of scores of this query; `None` where they say too little.
    pub(crate) fn sketch(&self, vectors: &VectorColumn, query: &[f32]) -> Option<impl Sketch> {
        sketch::sketch(self, vectors, query, Certainty::Certain)
    }

    /// See [`VectorIndex::exact_cost`](crate::VectorIndex::exact_cost).
    pub(crate) fn exact_cost(
        &self,
        vectors: &VectorColumn,
        k: usize,
        effort: Effort,
        allowed: Option<&RowSet>,
    ) -> Option<(f64, Expected)> {
        let plan = Question { vectors, query: &[], k, effort, allowed }.plan(self);
        plan.exact.then_some((plan.rows_ns, plan.expected))
    }

    /// Finds the `k` nearest of the allowed rows; see [`search_segment`](crate::search_segment).
    pub fn search(
        &self,
        vectors: &VectorColumn,
        query: &[f32],
        k: usize,
        effort: Effort,
        allowed: Option<&RowSet>,
    ) -> SearchOutcome {
        search::search(self, &Question { vectors, query, k, effort, allowed })
    }
}

#[cfg(test)]
mod tests;
