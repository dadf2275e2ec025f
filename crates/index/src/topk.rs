//! The best k of a stream of scores. Knows nothing of where they come from.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A row and how far it is from the query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbor {
    /// Position in the segment.
    pub row: u32,
    /// The metric's score: less is nearer.
    pub score: f32,
}

/// Orders scores as PostgreSQL orders floats: every NaN is equal to every other and above all numbers,
/// and zero has no sign.
pub fn compare_scores(a: f32, b: f32) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

#[derive(Clone, Copy, Debug)]
struct Entry<I> {
    score: f32,
    id: I,
}

impl<I: Ord> Ord for Entry<I> {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_scores(self.score, other.score).then_with(|| self.id.cmp(&other.id))
    }
}

impl<I: Ord> PartialOrd for Entry<I> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<I: Ord> PartialEq for Entry<I> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<I: Ord> Eq for Entry<I> {}

/// Keeps the `k` least scores pushed so far; equal scores are ordered by id, NaN comes after every number.
#[derive(Clone, Debug)]
pub struct TopK<I = u32> {
    k: usize,
    worst_first: BinaryHeap<Entry<I>>,
}

impl<I: Ord + Copy> TopK<I> {
    /// Room for `k`. Memory grows with what is pushed, not with `k`.
    pub fn new(k: usize) -> TopK<I> {
        TopK { k, worst_first: BinaryHeap::with_capacity(k.min(1024)) }
    }

    /// Offers one; returns whether it is among the best so far.
    #[inline]
    pub fn push(&mut self, score: f32, id: I) -> bool {
        let entry = Entry { score, id };
        if self.worst_first.len() < self.k {
            self.worst_first.push(entry);
            return true;
        }
        match self.worst_first.peek_mut() {
            Some(mut worst) if entry < *worst => {
                *worst = entry;
                true
            }
            _ => false,
        }
    }

    /// The score that a newcomer has to beat, once there are k.
    pub fn bound(&self) -> Option<f32> {
        if self.worst_first.len() < self.k { None } else { self.worst_first.peek().map(|worst| worst.score) }
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.worst_first.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.worst_first.is_empty()
    }

    /// Those kept, the best first.
    pub fn into_sorted(self) -> Vec<(f32, I)> {
        self.worst_first.into_sorted_vec().into_iter().map(|entry| (entry.score, entry.id)).collect()
    }
}

impl TopK<u32> {
    /// Those kept, as rows, the nearest first.
    pub fn into_neighbors(self) -> Vec<Neighbor> {
        self.into_sorted().into_iter().map(|(score, row)| Neighbor { row, score }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keeps_what_a_sort_would(
            scores in proptest::collection::vec(
                prop_oneof![Just(f32::NAN), Just(-f32::NAN), Just(0.0), Just(-0.0), Just(f32::INFINITY), -2.0f32..2.0],
                0..60,
            ),
            k in 0usize..20,
        ) {
            let mut top = TopK::new(k);
            for (id, score) in scores.iter().enumerate() {
                top.push(*score, id as u32);
            }
            let mut sorted: Vec<u32> = (0..scores.len() as u32).collect();
            sorted.sort_by(|a, b| compare_scores(scores[*a as usize], scores[*b as usize]).then(a.cmp(b)));
            sorted.truncate(k);
            prop_assert_eq!(top.into_sorted().into_iter().map(|(_, id)| id).collect::<Vec<_>>(), sorted);
        }
    }

    #[test]
    fn the_bound_is_known_once_full() {
        let mut top = TopK::new(2);
        assert_eq!(top.bound(), None);
        assert!(top.push(5.0, 1u64));
        assert!(top.is_empty() || top.bound().is_none());
        assert!(top.push(f32::NAN, 2));
        assert!(top.bound().is_some_and(f32::is_nan));
        assert!(top.push(7.0, 3));
        assert_eq!(top.bound(), Some(7.0));
        assert!(!top.push(8.0, 4));
        assert_eq!(top.len(), 2);
    }
}
