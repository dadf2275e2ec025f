//! Centres of a sample of vectors, so that each is close to one: chosen far apart at first, then moved to the middle of what
//! is nearest to them.

use crate::distance;
use quiver_base::{Error, Result, SqlState};
use std::sync::atomic::{AtomicBool, Ordering};

/// Rounds after which centres hardly move any more.
const ROUNDS_MAX: usize = 12;

/// What nearness to a centre means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// Euclidean.
    Flat,
    /// Directions only: centres have length one.
    Sphere,
}

impl Space {
    /// Less is nearer.
    pub(super) fn score(self, centre: &[f32], vector: &[f32]) -> f32 {
        match self {
            Space::Flat => distance::l2_squared(centre, vector),
            Space::Sphere => -distance::dot(centre, vector),
        }
    }
}

/// The centre nearest to a vector, and its score.
pub(super) fn nearest(space: Space, centres: &[f32], dim: usize, vector: &[f32]) -> (u32, f32) {
    let mut best = (0, f32::INFINITY);
    for (at, centre) in centres.chunks_exact(dim).enumerate() {
        let score = space.score(centre, vector);
        if score < best.1 {
            best = (at as u32, score);
        }
    }
    best
}

/// A sequence of numbers that is the same in every build.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// `count` centres of the sample, one after the other. The sample is not empty.
pub(super) fn centres(
    space: Space,
    sample: &[&[f32]],
    count: usize,
    threads: usize,
    cancel: &AtomicBool,
) -> Result<Vec<f32>> {
    let dim = sample[0].len();
    let mut centres = first_centres(space, sample, count, cancel)?;
    let mut owners = vec![u32::MAX; sample.len()];
    for _ in 0..ROUNDS_MAX {
        let moved = assign(space, sample, &centres, dim, threads, &mut owners, cancel)?;
        if moved == 0 {
            break;
        }
        recentre(space, sample, &owners, dim, &mut centres);
    }
    Ok(centres)
}

/// Each next one is likely to be far from those there are.
fn first_centres(space: Space, sample: &[&[f32]], count: usize, cancel: &AtomicBool) -> Result<Vec<f32>> {
    let mut random = Random(0x51_7e_c7_0a);
    let mut centres = sample[(random.next() % sample.len() as u64) as usize].to_vec();
    let mut far = vec![f32::INFINITY; sample.len()];
    for chosen in 1..count {
        check(cancel)?;
        let last = &centres[(chosen - 1) * sample[0].len()..];
        let mut total = 0.0;
        for (far, vector) in far.iter_mut().zip(sample) {
            let apart = match space {
                Space::Flat => distance::l2_squared(last, vector),
                Space::Sphere => (1.0 - distance::dot(last, vector)).max(0.0),
            };
            *far = far.min(if apart.is_finite() { apart } else { f32::MAX });
            total += f64::from(*far);
        }
        let mut wanted = random.unit() * total;
        let picked = far.iter().position(|far| {
            wanted -= f64::from(*far);
            wanted < 0.0
        });
        let picked = picked.unwrap_or_else(|| (random.next() % sample.len() as u64) as usize);
        centres.extend_from_slice(sample[picked]);
    }
    Ok(centres)
}

/// Finds each vector's nearest centre; says how many have another one than before.
pub(super) fn assign(
    space: Space,
    vectors: &[&[f32]],
    centres: &[f32],
    dim: usize,
    threads: usize,
    owners: &mut [u32],
    cancel: &AtomicBool,
) -> Result<usize> {
    check(cancel)?;
    let share = vectors.len().div_ceil(threads.max(1)).max(1);
    let moved = std::thread::scope(|scope| {
        let workers: Vec<_> = vectors
            .chunks(share)
            .zip(owners.chunks_mut(share))
            .map(|(vectors, owners)| {
                scope.spawn(move || assign_some(space, vectors, centres, dim, owners, cancel))
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or(0)).sum()
    });
    check(cancel)?;
    Ok(moved)
}

fn assign_some(
    space: Space,
    vectors: &[&[f32]],
    centres: &[f32],
    dim: usize,
    owners: &mut [u32],
    cancel: &AtomicBool,
) -> usize {
    let mut moved = 0;
    for (vector, owner) in vectors.iter().zip(owners) {
        if cancel.load(Ordering::Relaxed) {
            return moved;
        }
        let (centre, _) = nearest(space, centres, dim, vector);
        moved += usize::from(*owner != centre);
        *owner = centre;
    }
    moved
}

/// A centre that nothing is near to stays where it is.
fn recentre(space: Space, sample: &[&[f32]], owners: &[u32], dim: usize, centres: &mut [f32]) {
    let lists = centres.len() / dim;
    let mut sums = vec![0.0f64; centres.len()];
    let mut counts = vec![0u32; lists];
    for (vector, owner) in sample.iter().zip(owners) {
        let owner = *owner as usize;
        counts[owner] += 1;
        let sum = &mut sums[owner * dim..(owner + 1) * dim];
        sum.iter_mut().zip(*vector).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    for list in (0..lists).filter(|list| counts[*list] > 0) {
        let (sum, centre) = (&sums[list * dim..(list + 1) * dim], &mut centres[list * dim..(list + 1) * dim]);
        let scale = match space {
            Space::Flat => 1.0 / f64::from(counts[list]),
            Space::Sphere => {
                let norm = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
                if norm == 0.0 {
                    continue;
                }
                1.0 / norm
            }
        };
        centre.iter_mut().zip(sum).for_each(|(centre, sum)| *centre = (sum * scale) as f32);
    }
}

pub(super) fn check(cancel: &AtomicBool) -> Result<()> {
    if cancel.load(Ordering::Relaxed) {
        return Err(Error::new(SqlState::QUERY_CANCELED, "index build was cancelled"));
    }
    Ok(())
}
