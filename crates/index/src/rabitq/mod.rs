//! RaBitQ: codes of one to eight bits a dimension whose inner products with a query are unbiased, each with a bound of
//! its error. Knows no file, graph or list: whoever keeps the codes keeps them together with [`Coder`]'s parts.
//!
//! After Gao and Long, "RaBitQ: Quantizing High-Dimensional Vectors with a Theoretical Error Bound" (SIGMOD 2024), and
//! Gao et al., "Practical and Asymptotically Optimal Quantization of High-Dimensional Vectors" (SIGMOD 2025). A vector's
//! difference `r` from a centre is rotated at random and stands for the nearest direction `x` of a grid of half numbers.
//! `r · y` is then estimated by `x · y` times `|r|² / (x · r)`: right on average over rotations, since what `x` has
//! besides `r` is at a right angle to `r` and points anywhere.
//!
//! A code is `bits` bits of every dimension in planes of eight, four, two and one bits, the widest first and the most
//! significant, and then four f32 of factors, little-endian.

mod grid;
mod planes;
mod rotation;

use crate::{Metric, distance};
use grid::choose;
use planes::Planes;
use quiver_base::{Error, Result, SqlState};
use rotation::Rotation;
use std::borrow::Cow;

/// Bytes of the factors behind the planes.
const FACTOR_BYTES: usize = 16;
/// Most bits of a dimension.
pub const BITS_MAX: u8 = 8;

/// Makes codes of vectors and asks them questions. Everything follows from the arguments of [`new`](Self::new), which are
/// what a file has to keep.
#[derive(Clone, Debug)]
pub struct Coder {
    metric: Metric,
    planes: Planes,
    rotation: Rotation,
    origin: Vec<f32>,
}

/// A point that vectors near it are encoded as differences from, as the coder sees it.
#[derive(Clone, Debug)]
pub struct Centre {
    point: Vec<f32>,
    /// Rotated, as seen from the origin.
    rotated: Vec<f32>,
}

/// A query, rotated and rounded to one byte a dimension.
#[derive(Clone, Debug)]
pub struct Query {
    prepared: Vec<f32>,
    planes: Planes,
    rounded: Vec<i8>,
    metric: Metric,
    unit: f32,
    /// Half of the largest number of a code, times the sum of `rounded`: codes count from zero, the grid from its middle.
    middle: f32,
    /// What rounding took, as a length.
    lost: f32,
    /// From the length of an error to its standard deviation in a direction at random.
    spread: f32,
    /// The share of its largest part that an f32 sum may be wrong by.
    relative: f32,
    /// What lengths of codes are multiplied by in sums.
    length: f32,
}

/// What all codes of one centre have in common for a query.
#[derive(Clone, Copy, Debug)]
pub struct Aim {
    base: f32,
    distance: f32,
    rounding: f32,
}

/// A score of [`Metric::score`] as a code tells it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Less is nearer.
    pub score: f32,
    /// The true score is this far away or less in about two of three cases, twice as far or less in 95 of 100, and never
    /// farther than [`Query::certain`] times this and [`rounding`](Self::rounding).
    pub deviation: f32,
    /// What adding up in f32 may have done to this score and to the true one.
    pub rounding: f32,
}

/// Of a vector: `score = base + term - scale * (x · y)`, and lengths of the two errors of it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Factors {
    term: f32,
    scale: f32,
    /// How long the part of the scaled code is that the vector does not have.
    error: f32,
    /// How long the scaled code is: what a query's rounding is multiplied by.
    reach: f32,
}

impl Coder {
    /// A coder for vectors as long as `origin`, a point in their middle (their [`mean`](Self::mean); of prepared vectors for
    /// cosine). Fails with 0A000 for metrics that do not follow from an inner product, with 22023 if `bits` is not 1 to 8.
    pub fn new(metric: Metric, bits: u8, seed: u64, origin: Vec<f32>) -> Result<Coder> {
        if !matches!(metric, Metric::L2 | Metric::InnerProduct | Metric::Cosine) {
            return Err(Error::unsupported(format!("rabitq codes for {metric} distance")));
        }
        if !(1..=BITS_MAX).contains(&bits) {
            return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("rabitq with {bits} bits")));
        }
        let rotation = Rotation::new(origin.len(), seed);
        Ok(Coder { metric, planes: Planes::new(rotation.dims(), bits), rotation, origin })
    }

    /// The mean of some vectors, each brought into the form that is encoded. Zeros when there are none.
    pub fn mean(metric: Metric, dim: usize, vectors: impl Iterator<Item = impl AsRef<[f32]>>) -> Vec<f32> {
        let mut sums = vec![0.0f64; dim];
        let mut count = 0.0f64;
        for vector in vectors {
            let prepared = prepare(metric, vector.as_ref());
            sums.iter_mut().zip(&*prepared).for_each(|(sum, value)| *sum += f64::from(*value));
            count += 1.0;
        }
        sums.into_iter().map(|sum| (sum / count.max(1.0)) as f32).collect()
    }

    /// Bytes of one code of so many dimensions and bits.
    pub fn bytes_of(dim: usize, bits: u8) -> usize {
        Planes::new(Rotation::dims_of(dim), bits).bytes() + FACTOR_BYTES
    }

    /// Bytes of one code.
    pub fn code_bytes(&self) -> usize {
        self.planes.bytes() + FACTOR_BYTES
    }

    /// Bits of a dimension.
    pub fn bits(&self) -> u8 {
        self.planes.bits()
    }

    /// Makes a centre of a point, which for cosine lies among vectors of length one.
    pub fn centre(&self, point: &[f32]) -> Centre {
        let difference: Vec<f32> = point.iter().zip(&self.origin).map(|(a, b)| a - b).collect();
        Centre { point: point.to_vec(), rotated: self.rotation.apply(&difference) }
    }

    /// The origin as a centre, for those who need no other.
    pub fn origin(&self) -> Centre {
        self.centre(&self.origin)
    }

    /// Encodes a vector as its difference from a centre; `code` has [`code_bytes`](Self::code_bytes). The norm of the vector
    /// is finite and, for cosine, not zero: of others the estimates mean nothing.
    pub fn encode(&self, vector: &[f32], centre: &Centre, code: &mut [u8]) {
        let prepared = prepare(self.metric, vector);
        let difference: Vec<f32> = prepared.iter().zip(&centre.point).map(|(a, b)| a - b).collect();
        let rotated = self.rotation.apply(&difference);
        let mut levels = vec![0u8; rotated.len()];
        choose(&rotated, self.planes.bits(), &mut levels);
        let factors = self.factors(&difference, &rotated, &levels, centre);
        let (planes, rest) = code.split_at_mut(self.planes.bytes());
        self.planes.pack(&levels, planes);
        factors.write(rest);
    }

    fn factors(&self, difference: &[f32], rotated: &[f32], levels: &[u8], centre: &Centre) -> Factors {
        let middle = f64::from(self.planes.middle());
        let (mut own, mut square, mut length, mut with_centre) = (0.0f64, 0.0f64, 0.0f64, 0.0f64);
        for ((level, value), centre) in levels.iter().zip(rotated).zip(&centre.rotated) {
            let (x, value) = (f64::from(*level) - middle, f64::from(*value));
            own += x * value;
            square += x * x;
            length += value * value;
            with_centre += x * f64::from(*centre);
        }
        let scale = if own > 0.0 { length / own } else { 0.0 };
        let reach = scale * square.sqrt();
        // What `x · (query - centre)` takes off `x · (query - origin)`, which is what a code is asked.
        let shift = scale * with_centre;
        let (term, factor) = match self.metric {
            Metric::L2 => (length + 2.0 * shift, 2.0),
            _ => (shift - dot_f64(difference, &centre.point), 1.0),
        };
        Factors {
            term: term as f32,
            scale: (factor * scale) as f32,
            error: (factor * (reach * reach - length).max(0.0).sqrt()) as f32,
            reach: (factor * reach) as f32,
        }
    }

    /// Rotates and rounds a query. Its norm is finite and, for cosine, not zero.
    pub fn query(&self, query: &[f32]) -> Query {
        let prepared = prepare(self.metric, query).into_owned();
        let difference: Vec<f32> = prepared.iter().zip(&self.origin).map(|(a, b)| a - b).collect();
        let rotated = self.rotation.apply(&difference);
        let largest = rotated.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let unit = largest / 127.0;
        let inverse = if unit > 0.0 && unit.is_finite() { 1.0 / unit } else { 0.0 };
        let rounded: Vec<i8> =
            rotated.iter().map(|value| distance::round_even(value * inverse) as i8).collect();
        let sum: i32 = rounded.iter().map(|value| i32::from(*value)).sum();
        let lost = rotated.iter().zip(&rounded).map(|(value, rounded)| value - f32::from(*rounded) * unit);
        let own_length = if self.metric == Metric::L2 { 0.0 } else { distance::norm(&prepared) };
        Query {
            // Kernels add in sixteen lanes or more; a factor for the rotation and for what is small.
            relative: (rotated.len() as f32 / 16.0 + 24.0) * f32::EPSILON,
            length: distance::norm(&rotated).max(own_length),
            prepared,
            planes: self.planes,
            metric: self.metric,
            unit,
            middle: self.planes.middle() * sum as f32,
            lost: lost.map(|lost| lost * lost).sum::<f32>().sqrt(),
            spread: 1.0 / (rotated.len().max(2) as f32 - 1.0).sqrt(),
            rounded,
        }
    }
}

impl Query {
    /// Turns to the codes of one centre.
    pub fn aim(&self, centre: &Centre) -> Aim {
        let square = distance::l2_squared(&self.prepared, &centre.point);
        let product = || distance::dot(&self.prepared, &centre.point);
        let (base, size) = match self.metric {
            Metric::L2 => (square, square),
            Metric::Cosine => (1.0 - product(), 2.0),
            _ => (-product(), self.length * distance::norm(&centre.point)),
        };
        Aim { base, distance: square.sqrt(), rounding: self.relative * size }
    }

    /// The score of a code of the centre that was aimed at.
    #[inline]
    pub fn score(&self, aim: Aim, code: &[u8]) -> Estimate {
        let (planes, factors) = code.split_at_checked(self.planes.bytes()).unwrap_or_default();
        let factors = Factors::read(factors);
        let product = self.unit * (self.planes.dot(planes, &self.rounded) as f32 - self.middle);
        Estimate {
            score: aim.base + factors.term - factors.scale * product,
            deviation: self.spread * (factors.error * aim.distance + factors.reach * self.lost),
            rounding: aim.rounding + self.relative * (factors.term.abs() + factors.reach * self.length),
        }
    }

    /// Beyond how many deviations no error is: that of a query that points the way the code errs.
    pub fn certain(&self) -> f32 {
        1.0 / self.spread
    }
}

impl Factors {
    fn write(self, out: &mut [u8]) {
        for (place, factor) in out.chunks_exact_mut(4).zip([self.term, self.scale, self.error, self.reach]) {
            place.copy_from_slice(&factor.to_le_bytes());
        }
    }

    #[inline(always)]
    fn read(bytes: &[u8]) -> Factors {
        let [term, scale, error, reach] = match bytes.as_chunks::<4>().0 {
            [term, scale, error, reach, ..] => [*term, *scale, *error, *reach].map(f32::from_le_bytes),
            _ => [f32::NAN; 4],
        };
        Factors { term, scale, error, reach }
    }
}

/// Cosine looks at directions only.
fn prepare(metric: Metric, vector: &[f32]) -> Cow<'_, [f32]> {
    if metric != Metric::Cosine {
        return Cow::Borrowed(vector);
    }
    let norm = distance::norm(vector);
    Cow::Owned(vector.iter().map(|value| value / norm).collect())
}

fn dot_f64(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
}

#[cfg(test)]
mod tests;
