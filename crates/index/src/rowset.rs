//! A dense set of row positions of one segment: what a filter lets through. Knows nothing of how it was made.

use roaring::RoaringBitmap;

/// Row positions below `rows()`, one bit each, with their count at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowSet {
    words: Vec<u64>,
    rows: u32,
    len: u32,
}

impl RowSet {
    /// No row out of `rows`.
    pub fn new(rows: u32) -> RowSet {
        RowSet { words: vec![0; (rows as usize).div_ceil(64)], rows, len: 0 }
    }

    /// Every row out of `rows`.
    pub fn full(rows: u32) -> RowSet {
        let mut set = RowSet { words: vec![!0; (rows as usize).div_ceil(64)], rows, len: rows };
        set.clear_beyond();
        set
    }

    /// The rows of a bitmap that are below `rows`.
    pub fn from_roaring(bitmap: &RoaringBitmap, rows: u32) -> RowSet {
        let mut set = RowSet::new(rows);
        set.extend(bitmap.range(..rows));
        set
    }

    /// The rows for which `keep` says so.
    pub fn from_fn(rows: u32, mut keep: impl FnMut(u32) -> bool) -> RowSet {
        let mut set = RowSet::new(rows);
        set.extend((0..rows).filter(|row| keep(*row)));
        set
    }

    /// Adds a row; one that is not below `rows()` is ignored. Returns whether it is new.
    pub fn insert(&mut self, row: u32) -> bool {
        if row >= self.rows || self.contains(row) {
            return false;
        }
        self.words[row as usize / 64] |= 1 << (row % 64);
        self.len += 1;
        true
    }

    /// Takes a row out. Returns whether it was in.
    pub fn remove(&mut self, row: u32) -> bool {
        if !self.contains(row) {
            return false;
        }
        self.words[row as usize / 64] &= !(1 << (row % 64));
        self.len -= 1;
        true
    }

    /// Whether the row is in the set.
    #[inline]
    pub fn contains(&self, row: u32) -> bool {
        self.words.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// How many rows are in the set.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether no row is.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bound of its positions: the segment's rows.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Keeps the rows that are in both.
    pub fn and(&mut self, other: &RowSet) {
        self.combine(other, |own, other| own & other);
    }

    /// Adds the rows of the other that are below `rows()`.
    pub fn or(&mut self, other: &RowSet) {
        self.combine(other, |own, other| own | other);
    }

    /// Takes out the rows of the other.
    pub fn and_not(&mut self, other: &RowSet) {
        self.combine(other, |own, other| own & !other);
    }

    /// One of so many sets that have about as many of the rows each, one behind the other. `number` is below `count`.
    pub fn share(&self, number: u32, count: u32) -> RowSet {
        let bound = |number: u32| u64::from(self.len) * u64::from(number) / u64::from(count.max(1));
        let own = bound(number)..if number + 1 >= count { u64::MAX } else { bound(number + 1) };
        let mut share = RowSet::new(self.rows);
        let mut before = 0u64;
        for (own_word, word) in share.words.iter_mut().zip(&self.words) {
            if own.contains(&before) {
                *own_word = *word;
                share.len += word.count_ones();
            }
            before += u64::from(word.count_ones());
        }
        share
    }

    /// The rows, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        positions(self.words.iter().copied())
    }

    /// 64 rows a word.
    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    fn combine(&mut self, other: &RowSet, merge: impl Fn(u64, u64) -> u64) {
        for (at, word) in self.words.iter_mut().enumerate() {
            *word = merge(*word, other.words.get(at).copied().unwrap_or(0));
        }
        self.clear_beyond();
        self.len = self.words.iter().map(|word| word.count_ones()).sum();
    }

    fn clear_beyond(&mut self) {
        if let Some(last) = self.words.last_mut()
            && !self.rows.is_multiple_of(64)
        {
            *last &= (1 << (self.rows % 64)) - 1;
        }
    }
}

impl Extend<u32> for RowSet {
    fn extend<I: IntoIterator<Item = u32>>(&mut self, rows: I) {
        for row in rows {
            self.insert(row);
        }
    }
}

/// The positions of the set bits, ascending.
pub(crate) fn positions(words: impl Iterator<Item = u64>) -> impl Iterator<Item = u32> {
    words.enumerate().flat_map(|(at, mut word)| {
        std::iter::from_fn(move || {
            if word == 0 {
                return None;
            }
            let bit = word.trailing_zeros();
            word &= word - 1;
            Some(at as u32 * 64 + bit)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn behaves_like_a_set(
            rows in 1u32..300,
            first in proptest::collection::vec(0u32..320, 0..100),
            second in proptest::collection::vec(0u32..320, 0..100),
        ) {
            let model = |list: &[u32]| list.iter().copied().filter(|row| *row < rows).collect::<BTreeSet<_>>();
            let set = |list: &[u32]| RowSet::from_roaring(&list.iter().copied().collect(), rows);
            let same = |set: &RowSet, model: BTreeSet<u32>| {
                assert_eq!(set.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
                assert_eq!(set.len() as usize, model.len());
                assert!((0..330).all(|row| set.contains(row) == model.contains(&row)));
            };
            let (a, b) = (model(&first), model(&second));
            same(&set(&first), a.clone());
            let mut both = set(&first);
            both.and(&set(&second));
            same(&both, a.intersection(&b).copied().collect());
            let mut either = set(&first);
            either.or(&set(&second));
            same(&either, a.union(&b).copied().collect());
            let mut only = set(&first);
            only.and_not(&set(&second));
            same(&only, a.difference(&b).copied().collect());
            same(&RowSet::full(rows), (0..rows).collect());
            let mut less = set(&first);
            for row in &b {
                prop_assert_eq!(less.remove(*row), a.contains(row));
            }
            same(&less, a.difference(&b).copied().collect());
            for count in 1u32..6 {
                let whole = set(&first);
                let shares: Vec<RowSet> = (0..count).map(|number| whole.share(number, count)).collect();
                let joined: Vec<u32> = shares.iter().flat_map(RowSet::iter).collect();
                prop_assert_eq!(joined, whole.iter().collect::<Vec<_>>());
                let most = a.len() as u32 / count + 65;
                for share in shares {
                    prop_assert!(share.rows() == rows && share.len() <= most);
                    prop_assert_eq!(share.len() as usize, share.iter().count());
                }
            }
        }
    }

    #[test]
    fn sets_of_other_sizes_combine() {
        let mut small = RowSet::full(10);
        small.or(&RowSet::full(100));
        assert_eq!(small.len(), 10);
        let mut large = RowSet::full(100);
        large.and(&RowSet::full(10));
        assert_eq!(large.len(), 10);
        assert!(RowSet::new(0).is_empty());
    }
}
