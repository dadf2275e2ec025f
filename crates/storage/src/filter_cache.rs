//! Which rows of a segment pass a predicate, kept for the predicates asked for last.

use parking_lot::Mutex;
use quiver_index::RowSet;
use std::sync::Arc;

const ENTRIES_MAX: usize = 32;

/// The last few predicates of one segment.
#[derive(Debug, Default)]
pub(crate) struct FilterCache {
    /// Least recently used first.
    entries: Mutex<Vec<(String, Arc<RowSet>)>>,
}

impl FilterCache {
    /// The rows that pass, if known.
    pub(crate) fn get(&self, key: &str) -> Option<Arc<RowSet>> {
        let mut entries = self.entries.lock();
        let at = entries.iter().position(|(known, _)| known == key)?;
        let entry = entries.remove(at);
        let rows = entry.1.clone();
        entries.push(entry);
        Some(rows)
    }

    /// Keeps them, in place of the one unused for longest.
    pub(crate) fn put(&self, key: &str, rows: Arc<RowSet>) {
        let mut entries = self.entries.lock();
        entries.retain(|(known, _)| known != key);
        if entries.len() == ENTRIES_MAX {
            entries.remove(0);
        }
        entries.push((key.to_owned(), rows));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    #[test]
    fn the_one_unused_for_longest_makes_room() {
        let cache = FilterCache::default();
        for number in 0..ENTRIES_MAX {
            cache.put(&number.to_string(), Arc::new(RowSet::new(1)));
        }
        assert!(cache.get("0").is_some());
        cache.put("new", Arc::new(RowSet::full(1)));
        assert!(cache.get("0").is_some() && cache.get("1").is_none());
        assert_eq!(cache.get("new").unwrap().len(), 1);
    }
}
