//! How one segment is searched: exactly, through its index, or through its index with a filter; whichever is cheapest
//! and never comes back short.

use crate::distance::prefetch;
use crate::rowset::positions;
use crate::{Effort, Metric, Neighbor, RowSet, TopK, VectorColumn, VectorIndex};
use std::fmt;

/// How an answer was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// Every allowed row was compared.
    Exact,
    /// The graph was walked.
    Graph,
    /// The graph was walked, and only allowed rows were kept.
    FilteredGraph,
    /// The nearest lists were looked through.
    Lists,
    /// Lists were looked through for allowed rows.
    FilteredLists,
    /// Inverted lists were added up, which is exact.
    Inverted,
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Strategy::Exact => "exact",
            Strategy::Graph => "graph",
            Strategy::FilteredGraph => "filtered graph",
            Strategy::Lists => "lists",
            Strategy::FilteredLists => "filtered lists",
            Strategy::Inverted => "inverted lists",
        })
    }
}

/// The nearest rows of one segment and what finding them took.
#[derive(Clone, Debug)]
pub struct SearchOutcome {
    /// Ascending by score, then by row; scores are exact.
    pub neighbors: Vec<Neighbor>,
    /// Vectors compared with the query.
    pub visited: u64,
    /// How they were found.
    pub strategy: Strategy,
}

/// Finds the `k` nearest of the rows that are allowed (`None`: all) and not NULL. Returns as many as there are
/// when there are fewer than `k`. Without an index for this metric, or when `force_exact`, the answer is exact.
#[allow(clippy::too_many_arguments)] // each is one part of the question; a struct would only rename them
pub fn search_segment(
    vectors: &VectorColumn,
    index: Option<&VectorIndex>,
    metric: Metric,
    query: &[f32],
    k: usize,
    effort: Effort,
    allowed: Option<&RowSet>,
    force_exact: bool,
) -> SearchOutcome {
    match index
        .filter(|index| !force_exact && index.metric() == Some(metric) && index.rows() == vectors.rows())
    {
        Some(index) => index.search(metric, vectors, query, k, effort, allowed),
        None => exact_outcome(vectors, metric, query, k, allowed),
    }
}

/// Compares the query with every allowed row: the `k` nearest, ascending by score, then by row.
pub fn exact_search(
    vectors: &VectorColumn,
    metric: Metric,
    query: &[f32],
    k: usize,
    allowed: Option<&RowSet>,
) -> Vec<Neighbor> {
    exact_outcome(vectors, metric, query, k, allowed).neighbors
}

/// [`exact_search`], with the number of rows compared.
pub(crate) fn exact_outcome(
    vectors: &VectorColumn,
    metric: Metric,
    query: &[f32],
    k: usize,
    allowed: Option<&RowSet>,
) -> SearchOutcome {
    let mut top = TopK::new(k);
    let mut visited = 0;
    if query.len() == usize::from(vectors.dim()) && k > 0 {
        let present = vectors.presence_words().iter().copied();
        let mut compare = |row: u32| {
            visited += 1;
            top.push(metric.score(query, vectors.raw(row)), row);
        };
        match allowed {
            None => positions(present).for_each(&mut compare),
            Some(allowed) => {
                let rows = positions(present.zip(allowed.words()).map(|(a, b)| a & b));
                for_each_prefetched(vectors, rows, &mut compare);
            }
        }
    }
    SearchOutcome { neighbors: top.into_neighbors(), visited, strategy: Strategy::Exact }
}

/// Asks for each row's memory some rows before its turn: survivors of a filter lie too far apart for the CPU to
/// see a pattern.
fn for_each_prefetched(
    vectors: &VectorColumn,
    mut rows: impl Iterator<Item = u32>,
    mut compare: impl FnMut(u32),
) {
    const AHEAD: usize = 4;
    let mut ring = [None; AHEAD];
    for at in (0..AHEAD).cycle() {
        let next = rows.next();
        if let Some(row) = next {
            prefetch(vectors.raw(row));
        }
        let Some(row) = std::mem::replace(&mut ring[at], next) else {
            // Empty places are met at the start, before the ring is full, and at the end, once all is done.
            if next.is_none() && ring.iter().all(Option::is_none) {
                return;
            }
            continue;
        };
        compare(row);
    }
}
