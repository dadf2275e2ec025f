//! The codes of lists: RaBitQ codes of each vector's difference from the centre of its list. Knows what their parameters are for
//! lists, nothing of how codes are made.

use super::format::Header;
use crate::Metric;
use crate::rabitq::{Aim, Centre, Coder, Query};
use quiver_base::Result;

/// Of each dimension. With 4, hardly more vectors are read in full than are asked for, and a list takes a seventh of its vectors.
const CODE_BITS: u8 = 4;
/// Below it a code is hardly smaller than its vector, and its error bound means little.
const CODED_DIM_MIN: u16 = 17;
/// Part of the format: files do not hold it.
const SEED: u64 = 0x6c69_7374_7321;
/// Deviations of an estimate that are allowed for on either side: one in several hundred is farther off.
const DEVIATIONS: f32 = 3.0;

/// Bits of the codes of a new file; 0 for none.
pub(super) fn bits_for(metric: Metric, dim: u16) -> u8 {
    let coded = matches!(metric, Metric::L2 | Metric::InnerProduct | Metric::Cosine) && dim >= CODED_DIM_MIN;
    if coded { CODE_BITS } else { 0 }
}

/// Makes and reads the codes of one file.
#[derive(Clone, Debug)]
pub(super) struct ListCoder {
    coder: Coder,
    length: f32,
}

impl ListCoder {
    pub(super) fn new(header: &Header, origin: &[f32]) -> Result<ListCoder> {
        let coder = Coder::new(header.metric, header.bits, SEED, origin.to_vec())?;
        Ok(ListCoder { coder, length: header.length })
    }

    /// Centres lie on a sphere if only directions matter for the choice of lists. Vectors themselves may be longer.
    pub(super) fn centre(&self, point: &[f32]) -> Centre {
        if self.length == 1.0 {
            return self.coder.centre(point);
        }
        let scaled: Vec<f32> = point.iter().map(|value| value * self.length).collect();
        self.coder.centre(&scaled)
    }

    pub(super) fn encode(&self, vector: &[f32], centre: &Centre, code: &mut [u8]) {
        self.coder.encode(vector, centre, code);
    }

    pub(super) fn ask(&self, query: &[f32]) -> Question<'_> {
        Question { coder: self, query: self.coder.query(query) }
    }
}

/// The point in the middle of a file's centres.
pub(super) fn origin(header: &Header, centres: &[f32]) -> Vec<f32> {
    let dim = usize::from(header.dim);
    let mut sums = vec![0.0f64; dim];
    for centre in centres.chunks_exact(dim) {
        sums.iter_mut().zip(centre).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    let scale = f64::from(header.length) / f64::from(header.lists.max(1));
    sums.into_iter().map(|sum| (sum * scale) as f32).collect()
}

/// A query, made ready for codes.
pub(super) struct Question<'a> {
    coder: &'a ListCoder,
    query: Query,
}

/// Between which scores a row's lies, almost surely.
#[derive(Clone, Copy, Debug)]
pub(super) struct Between {
    pub(super) least: f32,
    pub(super) most: f32,
}

impl Question<'_> {
    pub(super) fn aim(&self, centre: &[f32]) -> Aim {
        self.query.aim(&self.coder.centre(centre))
    }

    #[inline]
    pub(super) fn score(&self, aim: Aim, code: &[u8]) -> Between {
        let estimate = self.query.score(aim, code);
        let off = DEVIATIONS * estimate.deviation;
        Between { least: estimate.score - off, most: estimate.score + off }
    }
}
