//! Decoded columns of segments, kept up to a bound, each block once however many want it. Knows blocks by number; knows
//! no files.

use arrow::array::{Array, ArrayRef};
use quick_cache::Weighter;
use quick_cache::sync::{Cache, GuardResult};
use quiver_base::{MemoryBudget, Reservation, Result};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Blocks are about this large, for sizing the cache's tables.
const BLOCK_BYTES_GUESS: usize = 32 * 1024;

/// A run of rows of one column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BlockKey {
    /// The open segment: a number given in this process.
    pub(crate) segment: u64,
    /// The column's place in the file.
    pub(crate) column: u32,
    pub(crate) row_group: u32,
    /// Which run of the row group.
    pub(crate) block: u32,
}

#[derive(Clone)]
struct Block {
    array: ArrayRef,
    bytes: usize,
    _memory: Arc<Reservation>,
}

#[derive(Clone)]
struct Bytes;

impl Weighter<BlockKey, Block> for Bytes {
    fn weight(&self, _key: &BlockKey, block: &Block) -> u64 {
        block.bytes as u64
    }
}

/// A process's cache of decoded columns.
pub(crate) struct ColumnCache {
    blocks: Cache<BlockKey, Block, Bytes>,
    memory: Arc<MemoryBudget>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl ColumnCache {
    /// Keeps at most `bytes_max`, each block reserved from `memory` while it is kept.
    pub(crate) fn new(bytes_max: usize, memory: Arc<MemoryBudget>) -> ColumnCache {
        let blocks = Cache::with_weighter(bytes_max / BLOCK_BYTES_GUESS + 1, bytes_max as u64, Bytes);
        ColumnCache { blocks, memory, hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    /// A block, if it is there.
    pub(crate) fn get(&self, key: &BlockKey) -> Option<ArrayRef> {
        let found = self.blocks.get(key).map(|block| block.array);
        self.count(found.is_some());
        found
    }

    /// A block; made by `decode` if it is not there, once for all who ask meanwhile.
    pub(crate) fn get_or_decode(
        &self,
        key: &BlockKey,
        decode: impl FnOnce() -> Result<ArrayRef>,
    ) -> Result<ArrayRef> {
        match self.blocks.get_value_or_guard(key, None) {
            GuardResult::Value(block) => {
                self.count(true);
                Ok(block.array)
            }
            GuardResult::Guard(guard) => {
                self.count(false);
                let array = decode()?;
                if let Some(block) = self.charge(&array) {
                    // Refused only if somebody removed the placeholder meanwhile.
                    let _ = guard.insert(block);
                }
                Ok(array)
            }
            GuardResult::Timeout => decode(),
        }
    }

    /// Adds a block that has been decoded on the way.
    pub(crate) fn insert(&self, key: BlockKey, array: &ArrayRef) {
        if let Some(block) = self.charge(array) {
            self.blocks.insert(key, block);
        }
    }

    /// Drops what is kept of a segment that nobody reads any more.
    pub(crate) fn forget(&self, segment: u64) {
        self.blocks.retain(|key, _| key.segment != segment);
    }

    /// Hits and misses so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    /// When memory is short the cache stops growing; what it holds others may need more.
    fn charge(&self, array: &ArrayRef) -> Option<Block> {
        let bytes = array.get_array_memory_size() + size_of::<(BlockKey, Block)>();
        let memory = Arc::new(self.memory.try_reserve("the column cache", bytes).ok()?);
        Some(Block { array: array.clone(), bytes, _memory: memory })
    }

    fn count(&self, hit: bool) {
        let counter = if hit { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for ColumnCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ColumnCache({} blocks, {} bytes)", self.blocks.len(), self.blocks.weight())
    }
}
