//! Which rows of a chunk or segment a reader sees: those committed by its timestamp and not deleted by it.
//! Knows positions and timestamps, not where rows are stored.

use imbl::Vector;
use parking_lot::Mutex;
use quiver_base::{Result, Timestamp};
use quiver_index::RowSet;
use roaring::RoaringBitmap;
use std::sync::Arc;

/// Deletes of one container's rows that no published bitmap holds, by position, in commit order. Clones share the
/// cached set of living rows, which follows the newest deletes without being made anew.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deletes {
    recent: Vector<(u32, Timestamp)>,
    cache: Arc<Mutex<Option<Cached>>>,
}

#[derive(Debug)]
struct Cached {
    applied: usize,
    alive: Arc<RowSet>,
}

/// The rows of a container that a reader sees.
#[derive(Clone, Debug)]
pub(crate) enum Alive {
    /// All of them.
    All(u32),
    /// These.
    Some(Arc<RowSet>),
}

impl Alive {
    /// Whether the row is seen.
    pub(crate) fn contains(&self, row: u32) -> bool {
        match self {
            Alive::All(rows) => row < *rows,
            Alive::Some(set) => set.contains(row),
        }
    }

    /// Whether every row of a range is seen.
    pub(crate) fn all(&self, mut rows: std::ops::Range<u32>) -> bool {
        match self {
            Alive::All(all) => rows.end <= *all,
            Alive::Some(set) => rows.all(|row| set.contains(row)),
        }
    }

    /// Whether any row of a range is seen.
    pub(crate) fn any(&self, mut rows: std::ops::Range<u32>) -> bool {
        match self {
            Alive::All(all) => !rows.is_empty() && rows.start < *all,
            Alive::Some(set) => rows.any(|row| set.contains(row)),
        }
    }

    /// How many are seen.
    pub(crate) fn len(&self) -> u32 {
        match self {
            Alive::All(rows) => *rows,
            Alive::Some(set) => set.len(),
        }
    }

    /// Those seen, for a search; `None` is all.
    pub(crate) fn as_filter(&self) -> Option<&RowSet> {
        match self {
            Alive::All(_) => None,
            Alive::Some(set) => Some(set),
        }
    }

    /// Those seen, to be changed.
    pub(crate) fn to_set(&self) -> RowSet {
        match self {
            Alive::All(rows) => RowSet::full(*rows),
            Alive::Some(set) => RowSet::clone(set),
        }
    }
}

impl Deletes {
    /// Records a delete that is newer than all before it.
    pub(crate) fn push(&mut self, row: u32, ts: Timestamp) {
        self.recent.push_back((row, ts));
    }

    /// Deletes in commit order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, Timestamp)> + '_ {
        self.recent.iter().copied()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.recent.len()
    }

    /// How many of them every reader at or above `oldest_read_ts` sees.
    pub(crate) fn settled_by(&self, oldest_read_ts: Timestamp) -> usize {
        self.applied_by(oldest_read_ts)
    }

    /// Deletes given in any order.
    pub(crate) fn from_unordered(mut list: Vec<(u32, Timestamp)>) -> Deletes {
        list.sort_unstable_by_key(|(row, ts)| (*ts, *row));
        Deletes { recent: list.into(), cache: Arc::default() }
    }

    /// Those seen at `read_ts`. `published` is read only if the cached set does not do.
    pub(crate) fn alive(
        &self,
        rows: u32,
        read_ts: Timestamp,
        born: impl Fn(u32) -> bool,
        all_born: bool,
        published: impl FnOnce() -> Result<Option<Arc<RoaringBitmap>>>,
    ) -> Result<Alive> {
        let applied = self.applied_by(read_ts);
        if !all_born {
            let mut set = RowSet::from_fn(rows, born);
            self.remove_dead(&mut set, published()?.as_deref(), 0, applied);
            return Ok(Alive::Some(Arc::new(set)));
        }
        let mut cache = self.cache.lock();
        if let Some(cached) = cache.as_mut()
            && cached.applied <= applied
        {
            if cached.applied < applied {
                self.remove_dead(Arc::make_mut(&mut cached.alive), None, cached.applied, applied);
                cached.applied = applied;
            }
            return Ok(narrow(rows, &cached.alive));
        }
        let behind = cache.is_some();
        drop(cache);
        self.compute(rows, applied, behind, published)
    }

    fn compute(
        &self,
        rows: u32,
        applied: usize,
        behind: bool,
        published: impl FnOnce() -> Result<Option<Arc<RoaringBitmap>>>,
    ) -> Result<Alive> {
        let published = published()?;
        if applied == 0 && published.as_ref().is_none_or(|dead| dead.is_empty()) {
            return Ok(Alive::All(rows));
        }
        let mut set = RowSet::full(rows);
        self.remove_dead(&mut set, published.as_deref(), 0, applied);
        let alive = Arc::new(set);
        if !behind {
            *self.cache.lock() = Some(Cached { applied, alive: alive.clone() });
        }
        Ok(narrow(rows, &alive))
    }

    fn applied_by(&self, read_ts: Timestamp) -> usize {
        match self.recent.last() {
            Some((_, newest)) if *newest > read_ts => {
                let after = |entry: &(u32, Timestamp)| entry.1.cmp(&read_ts).then(std::cmp::Ordering::Less);
                self.recent.binary_search_by(after).unwrap_or_else(|at| at)
            }
            _ => self.recent.len(),
        }
    }

    fn remove_dead(&self, set: &mut RowSet, published: Option<&RoaringBitmap>, from: usize, to: usize) {
        published.into_iter().flatten().for_each(|row| {
            set.remove(row);
        });
        for (row, _) in self.recent.focus().narrow(from..to) {
            set.remove(*row);
        }
    }
}

fn narrow(rows: u32, alive: &Arc<RowSet>) -> Alive {
    if alive.len() == rows { Alive::All(rows) } else { Alive::Some(alive.clone()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    fn alive(deletes: &Deletes, read_ts: u64) -> Vec<u32> {
        let published = || Ok(Some(Arc::new(RoaringBitmap::from_iter([9]))));
        let alive = deletes.alive(10, Timestamp(read_ts), |_| true, true, published).unwrap();
        (0..10).filter(|row| alive.contains(*row)).collect()
    }

    #[test]
    fn readers_in_any_order_of_time_see_their_own_rows() {
        let mut deletes = Deletes::default();
        deletes.push(3, Timestamp(10));
        assert_eq!(alive(&deletes, 20), [0, 1, 2, 4, 5, 6, 7, 8]);
        let before = deletes.clone();
        deletes.push(1, Timestamp(30));
        deletes.push(2, Timestamp(30));
        assert_eq!(alive(&deletes, 30), [0, 4, 5, 6, 7, 8]);
        assert_eq!(alive(&deletes, 29), [0, 1, 2, 4, 5, 6, 7, 8]);
        assert_eq!(alive(&deletes, 9), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(alive(&before, 40), [0, 1, 2, 4, 5, 6, 7, 8], "an older version knows fewer deletes");
        assert_eq!(alive(&deletes, 40), [0, 4, 5, 6, 7, 8]);
    }
}
