//! How much longer a walk over coarse codes has to be to find what one over the vectors finds: tried out on some of the
//! graph's own nodes, once, when it is built. Knows no file.

use super::codes::Scorer;
use super::walk::{Candidate, Ending, FrozenLinks, Scratch, beam};
use std::collections::HashSet;

/// Nodes that are asked for their neighbours.
const SAMPLE: u32 = 200;
/// The beam whose findings are taken for the truth.
const TRUTH_EF: usize = 256;
/// Neighbours that are asked for, and candidates over the vectors themselves to find them. Few candidates need a wider beam,
/// in proportion, than many; and one that is hardly longer than what is asked for must not lose any of it.
const MEASURED: [(usize, usize); 3] = [(10, 24), (10, 96), (80, 96)];
/// Widths that are tried, ascending; the last is taken if none is enough.
const WIDTHS: [f32; 12] = [1.0, 1.2, 1.4, 1.7, 2.0, 2.5, 3.0, 4.0, 5.0, 6.5, 8.0, 12.0];
/// What the width found is multiplied by: the sample is easier than queries that are no nodes, and small.
const MARGIN: f32 = 1.1;

/// How much wider beams over codes have to be.
pub(super) type Widths = [f32; MEASURED.len()];

/// By how much to multiply the number of candidates at each of [`MEASURED`]. `full` and `coded` score all nodes as seen from
/// one.
pub(super) fn widths<F: Scorer, C: Scorer>(
    links: &FrozenLinks<'_>,
    entry: u32,
    full: impl Fn(u32) -> F,
    coded: impl Fn(u32) -> C,
) -> Widths {
    let nodes = links.points;
    if nodes == 0 {
        return [1.0; MEASURED.len()];
    }
    let mut scratch = Scratch::take();
    let count = SAMPLE.min(nodes);
    let sample = (0..count).map(|at| (u64::from(at) * u64::from(nodes) / u64::from(count)) as u32);
    let asked: Vec<(u32, Vec<u32>)> = sample
        .map(|node| {
            let nearest = beam(links, &full(node), entry, TRUTH_EF, Ending::LAST, &mut scratch).iter();
            // Itself is found by any walk.
            (node, nearest.map(|found| found.point()).filter(|found| *found != node).collect())
        })
        .collect();
    MEASURED.map(|(k, ef)| {
        let hits = |found: &[Candidate], nearest: &[u32]| {
            let truth: HashSet<u32> = nearest.iter().take(k).copied().collect();
            found.iter().filter(|found| truth.contains(&found.point())).count()
        };
        let mut wanted = 0;
        for (node, nearest) in &asked {
            wanted += hits(beam(links, &full(*node), entry, ef, Ending::LAST, &mut scratch), nearest);
        }
        let mut is_enough = |width: f32| {
            let mut found = 0;
            for (node, nearest) in &asked {
                found += hits(
                    beam(links, &coded(*node), entry, wider(ef, width), Ending::LAST, &mut scratch),
                    nearest,
                );
            }
            found >= wanted
        };
        MARGIN * WIDTHS.into_iter().find(|width| is_enough(*width)).unwrap_or(WIDTHS[WIDTHS.len() - 1])
    })
}

/// The candidates to keep over codes for `ef` over vectors, to find `k`: between the measured ones, widths go with the
/// logarithm.
pub(super) fn widened(k: usize, ef: usize, widths: Widths) -> usize {
    let [few, many, most] = widths;
    let logarithm = |ef: usize| (ef.max(1) as f32).ln();
    let [start, end] = [MEASURED[0].1, MEASURED[1].1].map(logarithm);
    let place = ((logarithm(ef) - start) / (end - start)).clamp(0.0, 1.0);
    let (all, of) = MEASURED[2];
    wider(ef, few + (many - few) * place).max(wider(k, most * of as f32 / all as f32))
}

fn wider(ef: usize, width: f32) -> usize {
    (ef as f32 * width).ceil() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_between_and_beyond_the_measured() {
        let widths = [3.0, 2.0, 2.5];
        assert_eq!(widened(10, 10, widths), 30);
        assert_eq!(widened(10, 24, widths), 72);
        assert_eq!(widened(10, 48, widths), 120);
        assert_eq!(widened(10, 400, widths), 800);
        assert_eq!(widened(400, 400, widths), 1200);
    }
}
