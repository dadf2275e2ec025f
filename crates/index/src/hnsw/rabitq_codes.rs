//! RaBitQ codes of a graph's nodes: made once linking is done, scored by the walk, and what they say of scores. Knows no
//! links.

use super::codes::Scorer;
use crate::distance::prefetch;
use crate::rabitq::{Aim, Centre, Coder, Estimate, Query};
use crate::sieve::Sketch;
use crate::{Metric, VectorColumn};
use quiver_base::Result;

/// What new codes are rotated by; files keep theirs.
pub(super) const SEED: u64 = 0x5155_4956_4552_0001;
/// Codes begin at multiples of this.
const ALIGN: usize = 32;
/// Vectors whose mean is the centre of all.
const SAMPLE_ROWS: usize = 20_000;

/// Bytes from one node's code to the next.
pub(super) fn stride(dim: u16, bits: u8) -> usize {
    Coder::bytes_of(dim.into(), bits).next_multiple_of(ALIGN)
}

/// Makes and asks the codes of a graph, which all have one centre.
#[derive(Clone, Debug)]
pub(super) struct NodeCoder {
    coder: Coder,
    centre: Centre,
}

impl NodeCoder {
    pub(super) fn new(metric: Metric, bits: u8, seed: u64, origin: Vec<f32>) -> Result<NodeCoder> {
        let coder = Coder::new(metric, bits, seed, origin)?;
        let centre = coder.origin();
        Ok(NodeCoder { coder, centre })
    }

    /// A centre for these rows.
    pub(super) fn origin(metric: Metric, vectors: &VectorColumn, rows: &[u32]) -> Vec<f32> {
        let step = rows.len().div_ceil(SAMPLE_ROWS).max(1);
        let vector = |row: &u32| vectors.widened(*row, &mut Vec::new()).to_vec();
        Coder::mean(metric, vectors.dim().into(), rows.iter().step_by(step).map(vector))
    }

    /// The codes of these rows, one after the other.
    pub(super) fn encode(&self, vectors: &VectorColumn, rows: &[u32], stride: usize) -> Vec<u8> {
        let mut bytes = vec![0; rows.len() * stride];
        let mut buffer = Vec::new();
        for (row, code) in rows.iter().zip(bytes.chunks_exact_mut(stride)) {
            let vector = vectors.widened(*row, &mut buffer);
            self.coder.encode(vector, &self.centre, &mut code[..self.coder.code_bytes()]);
        }
        bytes
    }

    /// Bits of a dimension.
    pub(super) fn bits(&self) -> usize {
        self.coder.bits().into()
    }

    /// Turns a query to codes.
    pub(super) fn ask<'a>(&self, bytes: &'a [u8], stride: usize, query: &[f32]) -> Asked<'a> {
        let query = self.coder.query(query);
        let aim = query.aim(&self.centre);
        Asked { bytes, stride, query, aim }
    }
}

/// A query and the codes of all nodes.
pub(super) struct Asked<'a> {
    bytes: &'a [u8],
    stride: usize,
    query: Query,
    aim: Aim,
}

impl Asked<'_> {
    #[inline(always)]
    fn code(&self, node: u32) -> &[u8] {
        let start = node as usize * self.stride;
        self.bytes.get(start..start + self.stride).unwrap_or_default()
    }

    #[inline(always)]
    fn estimate(&self, node: u32) -> Estimate {
        self.query.score(self.aim, self.code(node))
    }

    /// Beyond how many deviations no error is.
    pub(super) fn certain(&self) -> f32 {
        self.query.certain()
    }
}

impl Scorer for Asked<'_> {
    #[inline(always)]
    fn score(&self, node: u32) -> f32 {
        self.estimate(node).score
    }

    #[inline(always)]
    fn prefetch(&self, node: u32) {
        prefetch(self.code(node));
    }
}

/// Bounds of scores, some deviations around the estimates.
pub(super) struct RabitqSieve<'a, N> {
    pub(super) asked: Asked<'a>,
    pub(super) deviations: f32,
    /// From row to node.
    pub(super) node: N,
}

impl<N: Fn(u32) -> Option<u32>> Sketch for RabitqSieve<'_, N> {
    #[inline(always)]
    fn code(&self, row: u32) -> Option<u32> {
        (self.node)(row)
    }

    #[inline(always)]
    fn prefetch(&self, node: u32) {
        Scorer::prefetch(&self.asked, node);
    }

    #[inline(always)]
    fn bounds(&self, node: u32, limit: f64) -> Option<(f64, f64)> {
        let Estimate { score, deviation, rounding } = self.asked.estimate(node);
        let margin = f64::from(deviation) * f64::from(self.deviations) + f64::from(rounding);
        let score = f64::from(score);
        if !(score.is_finite() && margin.is_finite()) {
            return Some((f64::NEG_INFINITY, f64::INFINITY));
        }
        (score - margin <= limit).then_some((score - margin, score + margin))
    }
}
