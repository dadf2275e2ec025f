//! Which rows of a segment pass a predicate, kept for the predicates asked for last.

use parking_lot::Mutex;
use quiver_base::{MemoryBudget, Reservation};
use quiver_index::RowSet;
use std::sync::Arc;

const ENTRIES_MAX: usize = 32;

/// The last few predicates of one segment.
#[derive(Debug)]
pub(crate) struct FilterCache {
    memory: Arc<MemoryBudget>,
    /// Least recently used first.
    entries: Mutex<Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    key: String,
    rows: Arc<RowSet>,
    _memory: Reservation,
}

impl FilterCache {
    /// Keeps what fits `memory`.
    pub(crate) fn new(memory: &Arc<MemoryBudget>) -> Arc<FilterCache> {
        Arc::new(FilterCache { memory: memory.clone(), entries: Mutex::default() })
    }

    /// The rows that pass, if known.
    pub(crate) fn get(&self, key: &str) -> Option<Arc<RowSet>> {
        let mut entries = self.entries.lock();
        let at = entries.iter().position(|entry| entry.key == key)?;
        let entry = entries.remove(at);
        let rows = entry.rows.clone();
        entries.push(entry);
        Some(rows)
    }

    /// Keeps them, in place of the one unused for longest; not if memory is short.
    pub(crate) fn put(&self, key: &str, rows: Arc<RowSet>) {
        let bytes = rows.rows() as usize / 8 + key.len();
        let Ok(memory) = self.memory.try_reserve("filter bitmap", bytes) else { return };
        let mut entries = self.entries.lock();
        entries.retain(|entry| entry.key != key);
        if entries.len() == ENTRIES_MAX {
            entries.remove(0);
        }
        entries.push(Entry { key: key.to_owned(), rows, _memory: memory });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    #[test]
    fn the_one_unused_for_longest_makes_room() {
        let cache = FilterCache::new(&MemoryBudget::unlimited());
        for number in 0..ENTRIES_MAX {
            cache.put(&number.to_string(), Arc::new(RowSet::new(1)));
        }
        assert!(cache.get("0").is_some());
        cache.put("new", Arc::new(RowSet::full(1)));
        assert!(cache.get("0").is_some() && cache.get("1").is_none());
        assert_eq!(cache.get("new").unwrap().len(), 1);
    }
}
