//! Exact answers that compare few vectors: bounds of scores, told by codes, leave out what cannot belong to the answer, and
//! only the rest is compared in full. Knows neither how codes look nor where they lie.

use crate::rowset::positions;
use crate::scorer::RowScorer;
use crate::{Metric, Neighbor, RowSet, SearchOutcome, Strategy, TopK, VectorColumn};
use std::ops::Bound;

/// Rows that are looked at together, while memory is asked for that the next ones need.
pub(crate) const BLOCK: usize = 16;
/// Rows whose memory is asked for before the one that is looked at.
const AHEAD: usize = 16;

/// What codes tell of rows' scores for one query.
pub(crate) trait Sketch {
    /// Where a row's code is; `None` for a row that has none.
    fn code(&self, row: u32) -> Option<u32>;
    /// Asks for the memory that `bounds` will read.
    fn prefetch(&self, code: u32);
    /// Numbers that the score is surely not below and not above, as [`Metric::score`] computes it. `None` if even the lower
    /// one is above `limit`.
    fn bounds(&self, code: u32, limit: f64) -> Option<(f64, f64)>;
    /// The lower of these numbers for up to [`BLOCK`] codes.
    fn lowers(&self, codes: &[u32], lowers: &mut [f64; BLOCK]) {
        for (code, lower) in codes.iter().zip(lowers) {
            *lower = self.bounds(*code, f64::INFINITY).map_or(f64::NEG_INFINITY, |bounds| bounds.0);
        }
    }
}

/// Some rows and their codes.
#[derive(Clone, Copy)]
struct Block {
    rows: [u32; BLOCK],
    codes: [u32; BLOCK],
    len: usize,
}

/// Calls `look` with each row, and its code and lower bound if it has a code.
fn sift(
    sketch: &impl Sketch,
    rows: impl Iterator<Item = u32>,
    mut look: impl FnMut(u32, Option<(u32, f64)>),
) {
    let none = Block { rows: [0; BLOCK], codes: [0; BLOCK], len: 0 };
    let (mut ready, mut filling) = (none, none);
    let mut lowers = [0.0; BLOCK];
    let mut look_at = |block: &Block, look: &mut dyn FnMut(u32, Option<(u32, f64)>)| {
        if block.len > 0 {
            sketch.lowers(&block.codes[..block.len], &mut lowers);
        }
        for ((row, code), lower) in block.rows.iter().zip(&block.codes).zip(&lowers).take(block.len) {
            look(*row, Some((*code, *lower)));
        }
    };
    for row in rows {
        let Some(code) = sketch.code(row) else {
            look(row, None);
            continue;
        };
        sketch.prefetch(code);
        (filling.rows[filling.len], filling.codes[filling.len]) = (row, code);
        filling.len += 1;
        if filling.len == BLOCK {
            look_at(&ready, &mut look);
            (ready, filling.len) = (filling, 0);
        }
    }
    look_at(&ready, &mut look);
    look_at(&filling, &mut look);
}

/// The `k` nearest of the allowed rows that are not NULL: what [`exact_search`](crate::exact_search) finds. What is farther than `rival` may be
/// left out.
pub(crate) fn sieved_outcome(
    sketch: &impl Sketch,
    vectors: &VectorColumn,
    metric: Metric,
    query: &[f32],
    k: usize,
    allowed: Option<&RowSet>,
    rival: Option<f32>,
) -> SearchOutcome {
    let mut uppers = TopK::new(k);
    let rival = rival.map_or(f64::INFINITY, f64::from);
    let mut limit = rival;
    let mut kept: Vec<(f64, u32)> = Vec::new();
    let mut visited = 0;
    sift(sketch, allowed_rows(vectors, allowed), |row, known| {
        visited += 1;
        let Some((code, lower)) = known else { return kept.push((f64::NEG_INFINITY, row)) };
        if lower > limit {
            return;
        }
        let Some((lower, upper)) = sketch.bounds(code, limit) else { return };
        kept.push((lower, row));
        // Rounded up, if it was rounded at all.
        if uppers.push((upper as f32).next_up(), row) {
            limit = uppers.bound().map_or(rival, |bound| rival.min(bound.into()));
        }
    });
    kept.retain(|(lower, _)| *lower <= limit);
    kept.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let mut top = TopK::new(k);
    let asked = RowScorer::new(vectors, metric, query);
    for (at, (lower, row)) in kept.iter().enumerate() {
        if top.bound().is_some_and(|bound| *lower > f64::from(bound)) {
            break;
        }
        if let Some((_, ahead)) = kept.get(at + 2) {
            asked.prefetch(*ahead);
        }
        visited += 1;
        top.push(asked.score(*row), *row);
    }
    SearchOutcome {
        neighbors: top.into_neighbors(),
        visited,
        strategy: Strategy::ExactByCodes,
        expected: None,
    }
}

/// Every allowed row that is not NULL and whose distance, as SQL shows it, is inside `radius`, in no order. Without a sketch all
/// are compared.
pub(crate) fn within<S: Sketch>(
    sketch: Option<&S>,
    vectors: &VectorColumn,
    metric: Metric,
    query: &[f32],
    radius: Bound<f64>,
    allowed: Option<&RowSet>,
) -> Vec<Neighbor> {
    let limit = score_limit(metric, radius);
    let mut found = Vec::new();
    let asked = RowScorer::new(vectors, metric, query);
    let mut compare = |row: u32| {
        let (score, distance) = asked.score_and_distance(row);
        if is_inside(distance, radius) {
            found.push(Neighbor { row, score });
        }
    };
    let rows = allowed_rows(vectors, allowed);
    match sketch.filter(|_| limit.is_finite()) {
        None => for_each_ahead(rows, |row| asked.prefetch(row), compare),
        Some(sketch) => sift(sketch, rows, |row, known| {
            if known.is_none_or(|(_, lower)| lower <= limit) {
                compare(row);
            }
        }),
    }
    found
}

/// A score that none inside the radius is above. Infinite if there is none.
fn score_limit(metric: Metric, radius: Bound<f64>) -> f64 {
    let (Bound::Included(radius) | Bound::Excluded(radius)) = radius else { return f64::INFINITY };
    if radius.is_nan() {
        return f64::INFINITY;
    }
    // The root that SQL shows may round to the radius from a little above.
    let score = if metric == Metric::L2 { radius.max(0.0).powi(2) * (1.0 + 1e-12) } else { radius };
    // Beyond what an f32 holds every score is the same.
    if score < f64::from(f32::MAX) / 2.0 { score } else { f64::INFINITY }
}

/// Compared as PostgreSQL compares: NaN is equal to NaN and above all numbers.
fn is_inside(distance: f64, radius: Bound<f64>) -> bool {
    match radius {
        Bound::Included(radius) => distance <= radius || radius.is_nan(),
        Bound::Excluded(radius) => distance < radius || radius.is_nan() && !distance.is_nan(),
        Bound::Unbounded => true,
    }
}

/// Rows that are not NULL and allowed, ascending.
pub(crate) fn allowed_rows<'a>(
    vectors: &'a VectorColumn,
    allowed: Option<&'a RowSet>,
) -> impl Iterator<Item = u32> + 'a {
    let words = vectors.presence_words().iter().copied().enumerate();
    positions(words.map(move |(at, word)| match allowed {
        Some(allowed) => word & allowed.words().get(at).copied().unwrap_or(0),
        None => word,
    }))
}

/// Asks for each row's memory some rows before its turn: survivors of a filter lie too far apart for the CPU to
/// see a pattern.
pub(crate) fn for_each_ahead(
    mut rows: impl Iterator<Item = u32>,
    ask: impl Fn(u32),
    mut look: impl FnMut(u32),
) {
    let mut ring = [0u32; AHEAD];
    let mut filled = 0;
    for row in rows.by_ref().take(AHEAD) {
        ask(row);
        ring[filled] = row;
        filled += 1;
    }
    let mut at = 0;
    for row in rows {
        ask(row);
        look(std::mem::replace(&mut ring[at], row));
        at = (at + 1) % AHEAD;
    }
    for step in 0..filled {
        look(ring[(at + step) % filled]);
    }
}

#[cfg(test)]
mod tests;
