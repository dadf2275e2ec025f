//! An index over one segment's vectors, of whichever kind: how it is declared, built, opened and searched.

use crate::ivf::is_list_file;
use crate::segment::exact_outcome;
use crate::sparse::is_sparse_file;
use crate::{
    BuildControl, BuildStats, Expected, HnswGraph, HnswParams, IvfIndex, IvfParams, Mapped, Metric,
    Quantization, RowSet, SearchOutcome, SparseIndex, VectorColumn,
};
use quiver_base::Result;
use serde::{Deserialize, Serialize};
use std::io::Write;

/// A kind of index with its build parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum VectorIndexKind {
    /// A graph.
    Hnsw(HnswParams),
    /// Lists.
    IvfFlat(IvfParams),
}

impl VectorIndexKind {
    /// Whether most of what a search compares are codes, if there is no reason against it in the vectors.
    pub fn has_codes(self) -> bool {
        match self {
            VectorIndexKind::Hnsw(params) => params.quantization != Quantization::None,
            VectorIndexKind::IvfFlat(_) => true,
        }
    }
}

/// How hard a search looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Effort {
    /// Candidates that the walk of a graph keeps.
    pub ef: usize,
    /// Lists that are looked through.
    pub probes: usize,
    /// What other segments have, if that is as many rows as are wanted.
    pub rival: Option<Rival>,
}

/// What has been found in other segments: nothing farther is wanted of this one, and the walk of a graph ends sooner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rival {
    /// A score that none of it is above.
    pub score: f32,
    /// The share of a walk's candidates that are looked from even if they are farther, as nearer ones may be behind them.
    pub looked_from: f64,
}

impl Effort {
    /// So many candidates and lists, and no other segments.
    pub fn new(ef: usize, probes: usize) -> Effort {
        Effort { ef, probes, rival: None }
    }
}

/// An index file, opened.
#[derive(Clone, Debug)]
pub enum VectorIndex {
    /// A graph.
    Hnsw(HnswGraph),
    /// Lists.
    IvfFlat(IvfIndex),
    /// Inverted lists of sparse vectors.
    Sparse(SparseIndex),
}

impl VectorIndex {
    /// Builds an index over the rows of a column (of `only`, if it is given) and writes its file.
    pub fn build(
        kind: VectorIndexKind,
        vectors: &VectorColumn,
        metric: Metric,
        only: Option<&RowSet>,
        control: &BuildControl,
        out: &mut dyn Write,
    ) -> Result<BuildStats> {
        match kind {
            VectorIndexKind::Hnsw(params) => HnswGraph::build(vectors, metric, params, only, control, out),
            VectorIndexKind::IvfFlat(params) => IvfIndex::build(vectors, metric, params, only, control, out),
        }
    }

    /// Opens a file of any kind. Reads the header only; see [`verify`](Self::verify).
    pub fn open(bytes: Mapped) -> Result<VectorIndex> {
        if is_list_file(&bytes) {
            return Ok(VectorIndex::IvfFlat(IvfIndex::open(bytes)?));
        }
        if is_sparse_file(&bytes) {
            return Ok(VectorIndex::Sparse(SparseIndex::open(bytes)?));
        }
        Ok(VectorIndex::Hnsw(HnswGraph::open(bytes)?))
    }

    /// Reads everything and compares it with its checksums.
    pub fn verify(&self) -> Result<()> {
        match self {
            VectorIndex::Hnsw(graph) => graph.verify(),
            VectorIndex::IvfFlat(lists) => lists.verify(),
            VectorIndex::Sparse(lists) => lists.verify(),
        }
    }

    /// The metric it was built for; `None` for inverted lists, which serve all.
    pub fn metric(&self) -> Option<Metric> {
        match self {
            VectorIndex::Hnsw(graph) => Some(graph.metric()),
            VectorIndex::IvfFlat(lists) => Some(lists.metric()),
            VectorIndex::Sparse(_) => None,
        }
    }

    /// Rows of the segment it was built over, NULLs included.
    pub fn rows(&self) -> u32 {
        match self {
            VectorIndex::Hnsw(graph) => graph.rows(),
            VectorIndex::IvfFlat(lists) => lists.rows(),
            VectorIndex::Sparse(lists) => lists.rows(),
        }
    }

    /// If a search among the allowed rows of these vectors is going to look at each of them: what its rows take in nanoseconds, and what it
    /// was weighed against. Such a search may be done in pieces, each among some of the rows.
    pub fn exact_cost(
        &self,
        vectors: &VectorColumn,
        k: usize,
        effort: Effort,
        allowed: Option<&RowSet>,
    ) -> Option<(f64, Expected)> {
        match self {
            VectorIndex::Hnsw(graph) => graph.exact_cost(vectors, k, effort, allowed),
            VectorIndex::IvfFlat(_) | VectorIndex::Sparse(_) => None,
        }
    }

    /// Finds the `k` nearest of the allowed rows; see [`search_segment`](crate::search_segment). Dense vectors are never in
    /// inverted lists: with those the answer is exact.
    pub(crate) fn search(
        &self,
        metric: Metric,
        vectors: &VectorColumn,
        query: &[f32],
        k: usize,
        effort: Effort,
        allowed: Option<&RowSet>,
    ) -> SearchOutcome {
        match self {
            VectorIndex::Hnsw(graph) => graph.search(vectors, query, k, effort, allowed),
            VectorIndex::IvfFlat(lists) => lists.search(vectors, query, k, effort.probes, allowed),
            VectorIndex::Sparse(_) => exact_outcome(vectors, metric, query, k, allowed),
        }
    }
}
