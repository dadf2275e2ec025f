//! From a vector column to a graph file: which rows are linked, how they are encoded, and the writing.

use super::codes::{Codes, Form, Quantizer, prepare};
use super::format::{CodeKind, Header, M_MAX, ROWS_MAX, write};
use super::grow::{Distances, Graph, grow};
use super::repair::repair;
use super::scalar_sieve::{CodeError, code_error};
use super::{BuildControl, BuildStats, HnswParams};
use crate::mapped::as_bytes;
use crate::rowset::positions;
use crate::{Metric, RowSet, VectorColumn, distance};
use quiver_base::{Error, Result, SqlState};
use std::io::Write;

/// With fewer dimensions a vector is no longer than the cache line that its code would take.
const SCALAR8_DIMS_MIN: u16 = 17;

pub(super) fn build(
    vectors: &VectorColumn,
    metric: Metric,
    params: HnswParams,
    only: Option<&RowSet>,
    control: &BuildControl,
    out: &mut dyn Write,
) -> Result<BuildStats> {
    if !(2..=M_MAX).contains(&params.m) {
        return Err(Error::new(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("value {} out of bounds for option \"m\"", params.m),
        ));
    }
    if vectors.rows() >= ROWS_MAX {
        return Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "too many rows for one hnsw graph"));
    }
    // What two vectors have in common does not follow from an inner product alone.
    let full = vectors.dim() < SCALAR8_DIMS_MIN || metric == Metric::Jaccard;
    let codes = if full { CodeKind::Full } else { CodeKind::Scalar8 };
    let _memory =
        control.memory.try_reserve("Building an hnsw index", memory_bytes(vectors, only, params, codes))?;
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
    };
    let encoded = Encoded::new(&header, vectors, &nodes);
    let graph = match codes {
        CodeKind::Full => link(&header, &FullDistances { vectors, metric, nodes: &nodes }, control)?,
        CodeKind::Scalar8 if metric == Metric::L1 => {
            link(&header, &L1Distances { codes: encoded.codes() }, control)?
        }
        CodeKind::Scalar8 => link(&header, &encoded.forms(&header, vectors, &nodes), control)?,
    };
    header.level_counts.clone_from(&graph.level_counts);
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

fn link(header: &Header, distances: &impl Distances, control: &BuildControl) -> Result<Graph> {
    let mut graph = grow(header.nodes, header.params, distances, control)?;
    let repaired = repair(&mut graph, header.nodes, header.degree(), distances);
    tracing::debug!(nodes = header.nodes, repaired, "linked an hnsw graph");
    Ok(graph)
}

/// Bytes a build holds at its largest.
fn memory_bytes(vectors: &VectorColumn, only: Option<&RowSet>, params: HnswParams, codes: CodeKind) -> usize {
    let rows = only.map_or(vectors.present(), |only| only.len().min(vectors.present())) as usize;
    let m = usize::from(params.m);
    let code =
        if codes == CodeKind::Scalar8 { 2 * usize::from(vectors.dim()).next_multiple_of(64) + 20 } else { 0 };
    // Links of the lowest level, of the upper ones (at most as many nodes again when m = 2), locks; numbers of
    // nodes and rows while duplicates are found; marks of each thread.
    rows * (code + 2 * m * 4 + m * 4 + 2 + 24)
}

/// The distinct vectors that can be linked. Those whose norm is not a number that a score could use are left
/// out: they are found exactly, when so many rows are asked for.
struct Nodes {
    /// Where each node's rows begin in `rows`, and the end.
    starts: Vec<u32>,
    rows: Vec<u32>,
}

impl Nodes {
    fn of(vectors: &VectorColumn, metric: Metric, only: Option<&RowSet>) -> Nodes {
        let mut hashed: Vec<(u64, u32)> = positions(vectors.presence_words().iter().copied())
            .filter(|row| only.is_none_or(|only| only.contains(*row)))
            .filter(|row| can_link(metric, vectors.raw(*row)))
            .map(|row| (xxhash_rust::xxh3::xxh3_64(as_bytes(vectors.raw(row))), row))
            .collect();
        hashed.sort_unstable();
        // Vectors with one hash are compared; different ones become different groups even then.
        let mut groups: Vec<Vec<u32>> = Vec::new();
        let mut firsts: Vec<u32> = Vec::with_capacity(hashed.len());
        for same_hash in hashed.chunk_by(|a, b| a.0 == b.0) {
            if let [(_, row)] = same_hash {
                firsts.push(*row);
                continue;
            }
            let own = groups.len();
            for (_, row) in same_hash {
                let bytes = |row: u32| as_bytes(vectors.raw(row));
                match groups[own..].iter_mut().find(|group| bytes(group[0]) == bytes(*row)) {
                    Some(group) => group.push(*row),
                    None => groups.push(vec![*row]),
                }
            }
        }
        Nodes::in_row_order(firsts, groups)
    }

    /// Numbers nodes by their first row, so that without duplicates and NULLs node and row are the same.
    fn in_row_order(mut single: Vec<u32>, mut groups: Vec<Vec<u32>>) -> Nodes {
        single.sort_unstable();
        groups.sort_unstable_by_key(|group| group[0]);
        let (mut starts, mut rows) = (vec![0], Vec::with_capacity(single.len()));
        let mut single = single.into_iter().peekable();
        for group in groups {
            while let Some(row) = single.next_if(|row| *row < group[0]) {
                rows.push(row);
                starts.push(rows.len() as u32);
            }
            rows.extend(group);
            starts.push(rows.len() as u32);
        }
        for row in single {
            rows.push(row);
            starts.push(rows.len() as u32);
        }
        Nodes { starts, rows }
    }

    fn count(&self) -> u32 {
        self.starts.len() as u32 - 1
    }

    /// The row that stands for a node.
    fn row(&self, node: u32) -> u32 {
        self.rows[self.starts[node as usize] as usize]
    }

    fn first_rows(&self) -> Vec<u32> {
        (0..self.count()).map(|node| self.row(node)).collect()
    }
}

fn can_link(metric: Metric, vector: &[f32]) -> bool {
    let square = distance::dot(vector, vector);
    square.is_finite() && (metric != Metric::Cosine || square > 0.0)
}

/// The codes of all nodes; empty when vectors are compared in full.
struct Encoded {
    bytes: Vec<u8>,
    stride: usize,
    terms: Vec<f32>,
    errors: Vec<CodeError>,
    quantizer: Vec<f32>,
}

impl Encoded {
    fn new(header: &Header, vectors: &VectorColumn, nodes: &Nodes) -> Encoded {
        let stride = header.code_stride();
        let mut encoded = Encoded {
            bytes: Vec::new(),
            stride,
            terms: Vec::new(),
            errors: Vec::new(),
            quantizer: Vec::new(),
        };
        if header.codes == CodeKind::Full {
            return encoded;
        }
        let quantizer = Quantizer::train(header.metric, vectors, &nodes.first_rows());
        encoded.bytes = vec![0; nodes.count() as usize * stride];
        let mut vector = Vec::new();
        for (node, code) in encoded.bytes.chunks_exact_mut(stride).enumerate() {
            prepare(header.metric, vectors.raw(nodes.row(node as u32)), &mut vector);
            quantizer.encode(&vector, code);
            if header.metric == Metric::L2 {
                encoded.terms.push(quantizer.term(code));
            }
            if header.metric != Metric::L1 {
                encoded.errors.push(code_error(&quantizer, &vector, code));
            }
        }
        encoded.quantizer = quantizer.numbers();
        encoded
    }

    fn codes(&self) -> Codes<'_> {
        Codes { bytes: &self.bytes, stride: self.stride, terms: &self.terms }
    }

    /// Every node as a query too, for the time of the build.
    fn forms(&self, header: &Header, vectors: &VectorColumn, nodes: &Nodes) -> ProductDistances<'_> {
        let quantizer = Quantizer::from_numbers(header.metric, &self.quantizer);
        let mut queries = vec![0i8; self.bytes.len()];
        let mut vector = Vec::new();
        let forms = queries
            .chunks_exact_mut(self.stride)
            .enumerate()
            .map(|(node, query)| {
                prepare(header.metric, vectors.raw(nodes.row(node as u32)), &mut vector);
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
        self.metric.score(self.vectors.raw(self.nodes.row(node)), self.vectors.raw(self.nodes.row(from)))
    }

    fn prefetch(&self, node: u32) {
        distance::prefetch(self.vectors.raw(self.nodes.row(node)));
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
