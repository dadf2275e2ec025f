//! How one segment is searched: exactly, through its index, or through its index with a filter; whichever is cheapest
//! and never comes back short.

use crate::scorer::RowScorer;
use crate::sieve::{allowed_rows, for_each_ahead, within};
use crate::{
    AskedCodes, Effort, Metric, Neighbor, RowCodes, RowSet, TopK, VectorColumn, VectorIndex, compare_scores,
};
use std::fmt;
use std::ops::Bound;

/// How an answer was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// Every allowed row was compared.
    Exact,
    /// Codes of every allowed row were looked at, and the rows that these did not rule out were compared: exact too.
    ExactByCodes,
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
            Strategy::ExactByCodes => "exact by codes",
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
    /// What the strategy was chosen by, if there was a filter and a graph.
    pub expected: Option<Expected>,
}

/// What two ways of answering were expected to cost, in nodes of a graph compared with the query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Walking the graph among rows allowed at random.
    pub walk: u64,
    /// Looking at every allowed row, by codes or without.
    pub exact: u64,
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

/// Finds all of the allowed rows (`None`: all) that are not NULL and whose distance from the query, as SQL shows it, is inside
/// `radius`: ascending by score, then by row. Exact; an index for this metric that has codes makes it quicker.
pub fn range_segment(
    vectors: &VectorColumn,
    index: Option<&VectorIndex>,
    metric: Metric,
    query: &[f32],
    radius: Bound<f64>,
    allowed: Option<&RowSet>,
) -> Vec<Neighbor> {
    if query.len() != usize::from(vectors.dim()) {
        return Vec::new();
    }
    let graph = match index {
        Some(VectorIndex::Hnsw(graph)) if graph.metric() == metric && graph.rows() == vectors.rows() => {
            Some(graph)
        }
        _ => None,
    };
    let sketch = graph.and_then(|graph| graph.sketch(vectors, query));
    let mut found = within(sketch.as_ref(), vectors, metric, query, radius, allowed);
    found.sort_unstable_by(|a, b| compare_scores(a.score, b.score).then(a.row.cmp(&b.row)));
    found
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

/// [`exact_search`] of rows that have codes. What is farther than `rival` may be left out.
pub fn sifted_search(
    vectors: &VectorColumn,
    (codes, asked): (&RowCodes, &AskedCodes),
    (metric, query): (Metric, &[f32]),
    k: usize,
    allowed: Option<&RowSet>,
    rival: Option<f32>,
) -> SearchOutcome {
    let mut top = TopK::new(k);
    let asked_rows = RowScorer::new(vectors, metric, query);
    let bound = rival.unwrap_or(f32::INFINITY);
    let mut compared = 0;
    let looked_at = codes.sift(asked, allowed_rows(vectors, allowed), bound, |row| {
        compared += 1;
        top.push(asked_rows.score(row), row);
        top.bound().map_or(bound, |farthest| farthest.min(bound))
    });
    SearchOutcome {
        neighbors: top.into_neighbors(),
        visited: looked_at + compared,
        strategy: Strategy::ExactByCodes,
        expected: None,
    }
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
        let asked = RowScorer::new(vectors, metric, query);
        let mut compare = |row: u32| {
            visited += 1;
            top.push(asked.score(row), row);
        };
        match allowed {
            None => allowed_rows(vectors, None).for_each(&mut compare),
            Some(_) => {
                for_each_ahead(allowed_rows(vectors, allowed), |row| asked.prefetch(row), compare);
            }
        }
    }
    SearchOutcome { neighbors: top.into_neighbors(), visited, strategy: Strategy::Exact, expected: None }
}
