//! From a vector column to a graph file: which rows are linked, how they are encoded, and the writing.

use super::calibrate::widths;
use super::codes::{Codes, Form, FullScorer, Quantizer, prepare};
use super::format::{CodeKind, Header, ROWS_MAX, scalar_stride, write};
use super::grow::{Distances, Graph, grow};
use super::kept::{Earlier, Kept};
use super::nodes::Nodes;
use super::rabitq_codes::{NodeCoder, SEED, stride};
use super::repair::repair;
use super::scalar_sieve::{CodeError, code_error};
use super::walk::FrozenLinks;
use super::{BuildControl, BuildStats, HnswParams, Quantization};
use crate::mapped::as_bytes;
use crate::scorer::{RowScorer, score_rows};
use crate::{Metric, RowSet, VectorColumn, distance};
use quiver_base::{Error, Result, SqlState};
use std::io::Write;

/// What to build a graph over, and how.
pub(super) struct Input<'a> {
    pub(super) vectors: &'a VectorColumn,
    pub(super) metric: Metric,
    pub(super) params: HnswParams,
    /// Rows to link; all if it is not given.
    pub(super) only: Option<&'a RowSet>,
    /// A graph whose links are kept.
    pub(super) earlier: Option<Earlier<'a>>,
}

pub(super) fn build(input: &Input<'_>, control: &BuildControl, out: &mut dyn Write) -> Result<BuildStats> {
    let Input { vectors, metric, params, only, earlier } = *input;
    params.check(metric)?;
    if vectors.rows() >= ROWS_MAX {
        return Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "too many rows for one hnsw graph"));
    }
    let codes = params.quantization.codes(metric, vectors.dim(), vectors.element());
    // Coarser codes make worse links, and whole vectors slower ones: whatever is kept, nodes are linked by one-byte codes, or by bits.
    let linked_by = match codes {
        CodeKind::Scalar8 => CodeKind::Scalar8,
        _ => Quantization::Auto.codes(metric, vectors.dim(), vectors.element()),
    };
    let bytes = memory_bytes(input, linked_by);
    let _memory = control.memory.try_reserve("Building an hnsw index", bytes)?;
    let nodes = Nodes::of(vectors, metric, only);
    let mut header = Header {
        version: Header::NEWEST,
        metric,
        params,
        codes,
        dim: vectors.dim(),
        rows: vectors.rows(),
        nodes: nodes.count(),
        linked_rows: nodes.rows.len() as u32,
        identity: nodes.count() == vectors.rows(),
        level_counts: Vec::new(),
        seed: 0,
        widths: [1.0; 3],
    };
    let kept = earlier.map_or(Ok(None), |earlier| Kept::new(earlier, &nodes, vectors))?;
    let (graph, scalar) = match linked_by {
        CodeKind::Full => {
            let distances = FullDistances { vectors, metric, nodes: &nodes };
            (link(&header, &distances, kept, control)?, Encoded::default())
        }
        _ => {
            let scalar = Encoded::new(metric, vectors, &nodes);
            let graph = match metric {
                Metric::L1 => link(&header, &L1Distances { codes: scalar.codes() }, kept, control)?,
                _ => link(&header, &scalar.forms(metric, vectors, &nodes), kept, control)?,
            };
            (graph, scalar)
        }
    };
    header.level_counts.clone_from(&graph.level_counts);
    let encoded = match codes {
        CodeKind::Full => Encoded::default(),
        CodeKind::Scalar8 => scalar,
        CodeKind::Rabitq(bits) => {
            drop(scalar);
            encode_by_rabitq(&mut header, bits, vectors, &nodes, &graph)?
        }
    };
    let mapping: (&[u32], &[u32]) = if header.identity { (&[], &[]) } else { (&nodes.starts, &nodes.rows) };
    let contents = [
        as_bytes(&graph.links),
        as_bytes(&graph.upper_nodes),
        as_bytes(&graph.upper_links),
        &encoded.bytes,
        as_bytes(&encoded.terms),
        as_bytes(&encoded.quantizer),
        as_bytes(mapping.0),
        as_bytes(mapping.1),
        as_bytes(encoded.errors.as_flattened()),
    ];
    let file_bytes = write(&header, contents, out)?;
    Ok(BuildStats { rows: header.rows, nodes: header.nodes, file_bytes })
}

/// Encodes all nodes, and finds out how much longer walks over these codes have to be.
fn encode_by_rabitq(
    header: &mut Header,
    bits: u8,
    vectors: &VectorColumn,
    nodes: &Nodes,
    graph: &Graph,
) -> Result<Encoded> {
    let (metric, stride, rows) = (header.metric, header.code_stride(), nodes.first_rows());
    let origin = NodeCoder::origin(metric, vectors, &rows);
    let coder = NodeCoder::new(metric, bits, SEED, origin.clone())?;
    let bytes = coder.encode(vectors, &rows, stride);
    let links = FrozenLinks { links: &graph.links, degree: header.degree(), points: header.nodes };
    let row = |node: u32| nodes.row(node);
    header.seed = SEED;
    header.widths = widths(
        &links,
        graph.entry(),
        |node| FullScorer { asked: RowScorer::of_row(vectors, metric, row(node)), row },
        |node| coder.ask(&bytes, stride, vectors.widened(row(node), &mut Vec::new())),
    );
    tracing::debug!(bits, widths = ?header.widths, "encoded an hnsw graph");
    Ok(Encoded { bytes, quantizer: origin, ..Encoded::default() })
}

fn link(
    header: &Header,
    distances: &impl Distances,
    kept: Option<Kept>,
    control: &BuildControl,
) -> Result<Graph> {
    let kept_nodes = kept.as_ref().map_or(0, |kept| kept.nodes);
    let mut graph = grow(header.nodes, header.params, distances, kept, control)?;
    let repaired = repair(&mut graph, header.nodes, header.degree(), distances);
    tracing::debug!(nodes = header.nodes, kept = kept_nodes, repaired, "linked an hnsw graph");
    Ok(graph)
}

/// Bytes a build holds at its largest.
fn memory_bytes(input: &Input<'_>, linked_by: CodeKind) -> usize {
    let Input { vectors, params, only, earlier, .. } = *input;
    let rows = only.map_or(vectors.present(), |only| only.len().min(vectors.present())) as usize;
    let m = usize::from(params.m);
    let kept = match params.quantization {
        Quantization::Rabitq(bits) => stride(vectors.dim(), bits),
        _ => 0,
    };
    // Those that are kept are made when those for linking are gone.
    let code = match linked_by {
        CodeKind::Scalar8 => (2 * scalar_stride(vectors.dim()) + 20).max(kept),
        _ => kept,
    };
    // Links of the lowest level, of the upper ones (at most as many nodes again when m = 2), locks; numbers of
    // nodes and rows while duplicates are found; marks of each thread.
    let linking = rows * (code + 2 * m * 4 + m * 4 + 2 + 24);
    // The links that are kept, once more while they are taken over; new numbers of rows and nodes.
    let keeping =
        |earlier: Earlier<'_>| rows * (2 * m * 4 + 1) + (vectors.rows() as usize + earlier.rows.len()) * 4;
    linking + earlier.map_or(0, keeping)
}

/// The codes of all nodes; nothing when vectors are compared in full.
#[derive(Default)]
struct Encoded {
    bytes: Vec<u8>,
    stride: usize,
    terms: Vec<f32>,
    errors: Vec<CodeError>,
    quantizer: Vec<f32>,
}

impl Encoded {
    /// One byte a dimension.
    fn new(metric: Metric, vectors: &VectorColumn, nodes: &Nodes) -> Encoded {
        let stride = scalar_stride(vectors.dim());
        let quantizer = Quantizer::train(metric, vectors, &nodes.first_rows());
        let bytes = vec![0; nodes.count() as usize * stride];
        let mut encoded = Encoded { bytes, stride, quantizer: quantizer.numbers(), ..Encoded::default() };
        let (mut buffer, mut vector) = (Vec::new(), Vec::new());
        for (node, code) in encoded.bytes.chunks_exact_mut(stride).enumerate() {
            prepare(metric, vectors.widened(nodes.row(node as u32), &mut buffer), &mut vector);
            quantizer.encode(&vector, code);
            if metric == Metric::L2 {
                encoded.terms.push(quantizer.term(code));
            }
            if metric != Metric::L1 {
                encoded.errors.push(code_error(&quantizer, &vector, code));
            }
        }
        encoded
    }

    fn codes(&self) -> Codes<'_> {
        Codes { bytes: &self.bytes, stride: self.stride, terms: &self.terms }
    }

    /// Every node as a query too, for the time of the build.
    fn forms(&self, metric: Metric, vectors: &VectorColumn, nodes: &Nodes) -> ProductDistances<'_> {
        let quantizer = Quantizer::from_numbers(metric, &self.quantizer);
        let mut queries = vec![0i8; self.bytes.len()];
        let (mut buffer, mut vector) = (Vec::new(), Vec::new());
        let forms = queries
            .chunks_exact_mut(self.stride)
            .enumerate()
            .map(|(node, query)| {
                prepare(metric, vectors.widened(nodes.row(node as u32), &mut buffer), &mut vector);
                quantizer.form(&vector, query)
            })
            .collect();
        ProductDistances { codes: self.codes(), queries, forms }
    }
}

struct FullDistances<'a> {
    vectors: &'a VectorColumn,
    metric: Metric,
    nodes: &'a Nodes,
}

impl Distances for FullDistances<'_> {
    fn between(&self, node: u32, from: u32) -> f32 {
        score_rows(self.vectors, self.metric, self.nodes.row(node), self.nodes.row(from))
    }

    fn prefetch(&self, node: u32) {
        distance::prefetch(self.vectors.row_bytes(self.nodes.row(node)));
    }
}

struct L1Distances<'a> {
    codes: Codes<'a>,
}

impl Distances for L1Distances<'_> {
    fn between(&self, node: u32, from: u32) -> f32 {
        distance::l1_u8(self.codes.get(node), self.codes.get(from)) as f32
    }

    fn prefetch(&self, node: u32) {
        self.codes.prefetch(node);
    }
}

struct ProductDistances<'a> {
    codes: Codes<'a>,
    queries: Vec<i8>,
    forms: Vec<Form>,
}

impl Distances for ProductDistances<'_> {
    #[inline(always)]
    fn between(&self, node: u32, from: u32) -> f32 {
        let start = from as usize * self.codes.stride;
        let query = &self.queries[start..start + self.codes.stride];
        self.codes.score(node, query, self.forms[from as usize])
    }

    #[inline(always)]
    fn prefetch(&self, node: u32) {
        self.codes.prefetch(node);
    }
}
