//! Parts of remote objects that searches read, kept in memory up to a bound. Knows parts by a number and a place; whoever puts one
//! in has checked it.

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use quiver_base::{MemoryBudget, Reservation};
use quiver_index::Mapped;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Parts are about this large, for sizing the cache's tables.
const PART_BYTES_GUESS: usize = 8 * 1024;

/// A part: the number of what it is of, as [`RangeCache::number`] gave it, where it begins and where it ends.
pub(crate) type PartKey = (u64, u64, u64);

#[derive(Clone)]
struct Part {
    bytes: Mapped,
    _memory: Arc<Reservation>,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<PartKey, Part> for Bytes {
    fn weight(&self, _key: &PartKey, part: &Part) -> u64 {
        weight(&part.bytes) as u64
    }
}

fn weight(bytes: &Mapped) -> usize {
    bytes.len().next_multiple_of(64) + size_of::<(PartKey, Part)>()
}

/// A process's cache of parts.
pub(crate) struct RangeCache {
    parts: Cache<PartKey, Part, Bytes>,
    memory: Arc<MemoryBudget>,
    numbers: AtomicU64,
}

impl RangeCache {
    /// Keeps at most `bytes_max`, each part reserved from `memory` while it is kept.
    pub(crate) fn new(bytes_max: usize, memory: Arc<MemoryBudget>) -> RangeCache {
        let parts = Cache::with_weighter(bytes_max / PART_BYTES_GUESS + 1, bytes_max as u64, Bytes);
        RangeCache { parts, memory, numbers: AtomicU64::new(0) }
    }

    /// A number that nobody else has.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn get(&self, key: PartKey) -> Option<Mapped> {
        self.parts.get(&key).map(|part| part.bytes)
    }

    /// Keeps a part; not if memory is short.
    pub(crate) fn put(&self, key: PartKey, bytes: &Mapped) {
        if let Ok(memory) = self.memory.try_reserve("the cache of parts of objects", weight(bytes)) {
            self.parts.insert(key, Part { bytes: bytes.clone(), _memory: Arc::new(memory) });
        }
    }

    /// Drops all parts with a number.
    pub(crate) fn forget(&self, number: u64) {
        self.parts.retain(|key, _| key.0 != number);
    }
}

impl fmt::Debug for RangeCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RangeCache({} parts, {} bytes)", self.parts.len(), self.parts.weight())
    }
}
