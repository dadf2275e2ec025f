//! What a graph's codes, of whichever kind, say of the scores of one query. Knows no links.

use super::codes::{Codes, prepare};
use super::format::{GraphFile, Section};
use super::rabitq_codes::{Asked, RabitqSieve};
use super::rows::RowNodes;
use super::scalar_sieve::ScalarSieve;
use super::{HnswGraph, NodesCoder};
use crate::Metric;
use crate::VectorColumn;
use crate::distance;
use crate::sieve::{BLOCK, Sketch};

/// Standard deviations that no error is expected to be beyond: about one in a million is.
const LIKELY_DEVIATIONS: f32 = 5.0;
/// With fewer bits, RaBitQ says next to nothing for certain.
const CERTAIN_BITS_MIN: usize = 2;

/// What bounds are good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Certainty {
    /// Answers that are exact.
    Certain,
    /// Answers that may be as approximate as the graph's.
    Likely,
}

/// What codes say; one byte a dimension is always certain.
pub(super) enum GraphSketch<'a, N> {
    Scalar(ScalarSieve<'a, N>),
    Rabitq(RabitqSieve<'a, N>),
}

/// Prepares a query. `None` if it is none that codes can say something of, or if they cannot.
pub(super) fn sketch<'a>(
    graph: &'a HnswGraph,
    vectors: &VectorColumn,
    query: &[f32],
    certainty: Certainty,
) -> Option<GraphSketch<'a, impl Fn(u32) -> Option<u32> + use<'a>>> {
    if !answers(graph, vectors, query) {
        return None;
    }
    let (file, header) = (&graph.file, &graph.file.header);
    let nodes = || {
        let nodes = RowNodes::of(graph);
        move |row| nodes.of_row(row)
    };
    match &graph.coder {
        NodesCoder::Full => None,
        NodesCoder::Scalar(quantizer) => {
            let errors = file.code_errors();
            let mut prepared = Vec::new();
            prepare(header.metric, query, &mut prepared);
            (!errors.is_empty()).then(|| {
                let (codes, node) = (scalar_codes(file), nodes());
                let mut rounded = vec![0; codes.stride];
                let unit = quantizer.round(&prepared, &mut rounded);
                let rounded = (rounded.into(), unit);
                let sieve =
                    ScalarSieve::new(header.metric, quantizer, codes, errors, &prepared, rounded, node);
                GraphSketch::Scalar(sieve)
            })
        }
        NodesCoder::Rabitq(coder) => {
            let asked = coder.ask(file.section(Section::Codes), header.code_stride(), query);
            let deviations = match certainty {
                Certainty::Certain if coder.bits() < CERTAIN_BITS_MIN => return None,
                Certainty::Certain => asked.certain(),
                Certainty::Likely => likely(&asked),
            };
            Some(GraphSketch::Rabitq(RabitqSieve { asked, deviations, node: nodes() }))
        }
    }
}

/// Standard deviations for answers that may be as approximate as the graph's.
pub(super) fn likely(asked: &Asked<'_>) -> f32 {
    asked.certain().min(LIKELY_DEVIATIONS)
}

/// Whether the graph is one of these vectors, and the query one that can be walked towards: otherwise scores are all NaN or
/// infinite, and only the rows' order is left to answer by.
pub(super) fn answers(graph: &HnswGraph, vectors: &VectorColumn, query: &[f32]) -> bool {
    let header = &graph.file.header;
    let norm = distance::dot(query, query);
    vectors.rows() == header.rows
        && vectors.dim() == header.dim
        && query.len() == usize::from(header.dim)
        && norm.is_finite()
        && (header.metric != Metric::Cosine || norm > 0.0)
}

/// The codes of a byte a dimension that a file has.
pub(super) fn scalar_codes(file: &GraphFile) -> Codes<'_> {
    let stride = file.header.code_stride();
    Codes { bytes: file.section(Section::Codes), stride, terms: file.floats(Section::CodeTerms) }
}

impl<N: Fn(u32) -> Option<u32>> Sketch for GraphSketch<'_, N> {
    #[inline(always)]
    fn code(&self, row: u32) -> Option<u32> {
        match self {
            GraphSketch::Scalar(sieve) => sieve.code(row),
            GraphSketch::Rabitq(sieve) => sieve.code(row),
        }
    }

    #[inline(always)]
    fn prefetch(&self, code: u32) {
        match self {
            GraphSketch::Scalar(sieve) => sieve.prefetch(code),
            GraphSketch::Rabitq(sieve) => sieve.prefetch(code),
        }
    }

    #[inline(always)]
    fn bounds(&self, code: u32, limit: f64) -> Option<(f64, f64)> {
        match self {
            GraphSketch::Scalar(sieve) => sieve.bounds(code, limit),
            GraphSketch::Rabitq(sieve) => sieve.bounds(code, limit),
        }
    }

    #[inline(always)]
    fn lowers(&self, codes: &[u32], lowers: &mut [f64; BLOCK]) {
        match self {
            GraphSketch::Scalar(sieve) => sieve.lowers(codes, lowers),
            GraphSketch::Rabitq(sieve) => sieve.lowers(codes, lowers),
        }
    }
}
