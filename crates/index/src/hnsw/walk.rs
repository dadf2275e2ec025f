//! Walking links towards a query: greedy, with a beam, and with a beam that keeps only allowed points. Works on
//! a frozen graph and on one that is being built.

use super::codes::Scorer;
use super::format::NO_LINK;
use super::plan::Patience;
use parking_lot::Mutex;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::{Deref, DerefMut};

/// How many points ahead of the comparison their memory is asked for: most of a node's links.
const PREFETCH_AHEAD: usize = 20;
/// Scratches kept for the next search; more are made and dropped when more searches run at once.
const SCRATCHES_MAX: usize = 64;

/// Links of one level.
pub(super) trait Links {
    /// Points on the level; every one is below this.
    fn points(&self) -> u32;
    /// Calls `visit` with each point linked from `point`.
    fn each(&self, point: u32, visit: impl FnMut(u32));
    /// Asks for the memory that `each` will read.
    fn prefetch(&self, point: u32);
}

/// Links of one level as they lie in a file.
pub(super) struct FrozenLinks<'a> {
    pub(super) links: &'a [u32],
    pub(super) degree: usize,
    pub(super) points: u32,
}

impl Links for FrozenLinks<'_> {
    fn points(&self) -> u32 {
        self.points
    }

    #[inline(always)]
    fn each(&self, point: u32, mut visit: impl FnMut(u32)) {
        let start = point as usize * self.degree;
        for link in self.links.get(start..start + self.degree).unwrap_or_default() {
            // Also false for a link that a damaged file sends nowhere.
            if *link >= self.points {
                break;
            }
            visit(*link);
        }
    }

    #[inline(always)]
    fn prefetch(&self, point: u32) {
        let start = point as usize * self.degree;
        let links = self.links.get(start..start + self.degree).unwrap_or_default();
        crate::distance::prefetch(links);
    }
}

/// A score and a point in one number that sorts by score, then by point. The lowest bit is free for a mark.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Candidate(u64);

impl Candidate {
    #[inline(always)]
    pub(super) fn new(score: f32, point: u32) -> Candidate {
        debug_assert!(point < NO_LINK / 2);
        let bits = score.to_bits();
        // Makes unsigned order the order of floats; NaN of either sign is turned into the largest.
        let order = if score.is_nan() {
            u32::MAX
        } else if bits >> 31 == 1 {
            !bits
        } else {
            bits | 1 << 31
        };
        Candidate(u64::from(order) << 32 | u64::from(point) << 1)
    }

    #[inline(always)]
    pub(super) fn point(self) -> u32 {
        (self.0 as u32) >> 1
    }

    #[inline(always)]
    pub(super) fn score(self) -> f32 {
        let order = (self.0 >> 32) as u32;
        f32::from_bits(if order >> 31 == 1 { order & !(1 << 31) } else { !order })
    }

    #[inline(always)]
    fn is_expanded(self) -> bool {
        self.0 & 1 == 1
    }

    #[inline(always)]
    fn expanded(self) -> Candidate {
        Candidate(self.0 | 1)
    }
}

/// Memory of one walk, kept from search to search.
#[derive(Default)]
pub(super) struct Scratch {
    visited: Vec<u64>,
    touched: Vec<u32>,
    batch: Vec<u32>,
    scores: Vec<f32>,
    beam: Vec<Candidate>,
    frontier: BinaryHeap<Reverse<Candidate>>,
    nearest: BinaryHeap<Candidate>,
    /// Room for a rounded query.
    pub(super) query_i8: Vec<i8>,
    /// Room for an encoded query.
    pub(super) query_u8: Vec<u8>,
    /// Room for a prepared query.
    pub(super) query_f32: Vec<f32>,
}

/// A scratch that is kept for the next search when this one is done with it.
pub(super) struct Lease(Scratch);

impl Deref for Lease {
    type Target = Scratch;

    fn deref(&self) -> &Scratch {
        &self.0
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Scratch {
        &mut self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut scratches = SCRATCHES.lock();
        if scratches.len() < SCRATCHES_MAX {
            scratches.push(std::mem::take(&mut self.0));
        }
    }
}

static SCRATCHES: Mutex<Vec<Scratch>> = Mutex::new(Vec::new());

impl Scratch {
    /// One that was used before, or a new one.
    pub(super) fn take() -> Lease {
        Lease(SCRATCHES.lock().pop().unwrap_or_default())
    }

    /// Forgets the last walk. One bit a point keeps the marks of a hundred thousand points in the L1 cache;
    /// only the words that were touched are cleared.
    fn start(&mut self, points: u32) {
        for point in self.touched.drain(..) {
            self.visited[point as usize / 64] = 0;
        }
        let words = (points as usize).div_ceil(64);
        if self.visited.len() < words {
            self.visited.resize(words, 0);
        }
        self.beam.clear();
        self.frontier.clear();
        self.nearest.clear();
    }

    #[inline(always)]
    fn visit(&mut self, point: u32) -> bool {
        let word = &mut self.visited[point as usize / 64];
        let bit = 1 << (point % 64);
        let new = *word & bit == 0;
        *word |= bit;
        if new {
            self.touched.push(point);
        }
        new
    }

    /// Points compared by the last walk.
    pub(super) fn visited(&self) -> u64 {
        self.touched.len() as u64
    }

    /// Scores the unvisited points linked from `point`.
    #[inline(always)]
    fn expand(&mut self, links: &impl Links, scorer: &impl Scorer, point: u32) {
        self.gather(links, scorer, point);
        self.scores.clear();
        for (turn, points) in self.batch.chunks(4).enumerate() {
            let ahead = self.batch.get(turn * 4 + PREFETCH_AHEAD..).unwrap_or_default();
            ahead.iter().take(4).for_each(|point| scorer.prefetch(*point));
            match points {
                [a, b, c, d] => self.scores.extend(scorer.scores([*a, *b, *c, *d])),
                few => self.scores.extend(few.iter().map(|point| scorer.score(*point))),
            }
        }
    }

    /// Gathers the unvisited points linked from `point` and asks for the memory of the first.
    #[inline(always)]
    fn gather(&mut self, links: &impl Links, scorer: &impl Scorer, point: u32) {
        let mut batch = std::mem::take(&mut self.batch);
        batch.clear();
        links.each(point, |linked| {
            if self.visit(linked) {
                if batch.len() < PREFETCH_AHEAD {
                    scorer.prefetch(linked);
                }
                batch.push(linked);
            }
        });
        self.batch = batch;
    }
}

/// Follows the best link until none is better. Returns where it ends, and counts comparisons.
pub(super) fn greedy(links: &impl Links, scorer: &impl Scorer, start: u32, compared: &mut u64) -> u32 {
    let (mut best, mut best_score) = (start, scorer.score(start));
    loop {
        let from = best;
        links.each(from, |linked| scorer.prefetch(linked));
        let mut nearer = |point: u32, score: f32| {
            if score < best_score {
                (best, best_score) = (point, score);
            }
        };
        let (mut four, mut waiting) = ([0; 4], 0);
        links.each(from, |linked| {
            *compared += 1;
            (four[waiting], waiting) = (linked, waiting + 1);
            if waiting == four.len() {
                scorer.scores(four).into_iter().zip(four).for_each(|(score, point)| nearer(point, score));
                waiting = 0;
            }
        });
        four[..waiting].iter().for_each(|point| nearer(*point, scorer.score(*point)));
        if best == from {
            return best;
        }
    }
}

/// When a walk ends before it has looked from all of its candidates: once the next one is farther than this, and so many nearer ones have been
/// looked from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    pub(super) beyond: f32,
    pub(super) least: usize,
}

impl Ending {
    /// Not before the last.
    pub(super) const LAST: Ending = Ending { beyond: f32::INFINITY, least: 0 };
}

/// Finds about the `ef` nearest points, the nearest first. The candidates are one sorted array: up to a
/// thousand or so, moving its tail costs less than a heap does.
pub(super) fn beam<'s>(
    links: &impl Links,
    scorer: &impl Scorer,
    start: u32,
    ef: usize,
    ending: Ending,
    scratch: &'s mut Scratch,
) -> &'s [Candidate] {
    scratch.start(links.points());
    scratch.visit(start);
    scratch.beam.push(Candidate::new(scorer.score(start), start));
    let mut next = 0;
    while let Some(candidate) = scratch.beam.get_mut(next) {
        if next >= ending.least && candidate.score() > ending.beyond {
            break;
        }
        let point = candidate.point();
        *candidate = candidate.expanded();
        scratch.expand(links, scorer, point);
        let mut lowest_insert = usize::MAX;
        let beam = &mut scratch.beam;
        for (point, score) in scratch.batch.iter().zip(&scratch.scores) {
            let found = Candidate::new(*score, *point);
            if beam.len() >= ef {
                if beam.last().is_some_and(|worst| found >= *worst) {
                    continue;
                }
                beam.pop();
            }
            let place = beam.partition_point(|other| *other < found);
            beam.insert(place, found);
            // It may well be the next to be looked from.
            if place <= next + 1 {
                links.prefetch(found.point());
            }
            lowest_insert = lowest_insert.min(place);
        }
        next = lowest_insert.min(next + 1);
        while scratch.beam.get(next).is_some_and(|candidate| candidate.is_expanded()) {
            next += 1;
        }
        for candidate in scratch.beam.iter().skip(next).take(2) {
            links.prefetch(candidate.point());
        }
    }
    &scratch.beam
}

/// Finds about the `ef` nearest of the points that `keep` lets through, the nearest first, walking through all.
/// Gives up with `None` when its patience is at an end.
pub(super) fn filtered_beam(
    links: &impl Links,
    scorer: &impl Scorer,
    start: u32,
    ef: usize,
    patience: Patience,
    keep: impl Fn(u32) -> bool,
    scratch: &mut Scratch,
) -> Option<Vec<Candidate>> {
    scratch.start(links.points());
    scratch.visit(start);
    let first = Candidate::new(scorer.score(start), start);
    scratch.frontier.push(Reverse(first));
    if keep(start) {
        scratch.nearest.push(first);
    }
    let mut asked_at = patience.asked_at;
    while let Some(Reverse(candidate)) = scratch.frontier.pop() {
        if scratch.nearest.len() >= ef && scratch.nearest.peek().is_some_and(|worst| candidate > *worst) {
            break;
        }
        let compared = scratch.visited();
        if compared > patience.compared_max {
            return None;
        }
        if compared >= asked_at {
            asked_at = u64::MAX;
            if scratch.nearest.len() < ef && !patience.goes_on(scratch.nearest.len(), compared) {
                return None;
            }
        }
        scratch.expand(links, scorer, candidate.point());
        for (point, score) in scratch.batch.iter().copied().zip(scratch.scores.iter().copied()) {
            let found = Candidate::new(score, point);
            let full = scratch.nearest.len() >= ef;
            if full && scratch.nearest.peek().is_some_and(|worst| found >= *worst) {
                continue;
            }
            if scratch.frontier.peek().is_none_or(|Reverse(best)| found < *best) {
                links.prefetch(point);
            }
            scratch.frontier.push(Reverse(found));
            if keep(point) {
                scratch.nearest.push(found);
                if full {
                    scratch.nearest.pop();
                }
            }
        }
        if let Some(Reverse(candidate)) = scratch.frontier.peek() {
            links.prefetch(candidate.point());
        }
    }
    let mut nearest = std::mem::take(&mut scratch.nearest).into_vec();
    nearest.sort_unstable();
    Some(nearest)
}
