//! What all shards of a process share, and the tunables.

use crate::Objects;
use crate::column_cache::ColumnCache;
use quiver_base::MemoryBudget;
use std::sync::Arc;
use std::time::Duration;

/// What all shards of a process share.
#[derive(Debug)]
pub struct StorageEnv {
    /// Object storage.
    pub objects: Arc<Objects>,
    /// The process's memory limit.
    pub memory: Arc<MemoryBudget>,
    /// Tunables.
    pub options: StorageOptions,
    pub(crate) columns: ColumnCache,
}

impl StorageEnv {
    /// Joins them, and makes the cache of decoded columns.
    pub fn new(objects: Arc<Objects>, memory: Arc<MemoryBudget>, options: StorageOptions) -> Arc<StorageEnv> {
        let columns = ColumnCache::new(options.column_cache_bytes, memory.clone());
        Arc::new(StorageEnv { objects, memory, options, columns })
    }

    /// How often a block of a column was found decoded, and how often not, so far.
    pub fn column_cache_counts(&self) -> (u64, u64) {
        self.columns.counts()
    }
}

/// Tunables with defaults for production; tests make them small.
#[derive(Clone, Debug)]
pub struct StorageOptions {
    /// Unflushed bytes of one shard past which it is flushed.
    pub memtable_bytes_max: usize,
    /// Segments smaller than this are merged before they get a graph; below it rows are searched exactly.
    pub index_rows_min: usize,
    /// How many segments of similar size are merged at once.
    pub compaction_fan_in: usize,
    /// Largest segment that compaction makes, in rows.
    pub segment_rows_max: usize,
    /// Unpublished tombstones of a shard past which delete bitmaps are written.
    pub tombstones_max: usize,
    /// Share of dead rows (0 to 1) past which a segment is rewritten.
    pub dead_share_max: f64,
    /// Rows of a Parquet row group.
    pub row_group_rows: usize,
    /// Bytes of decoded columns kept in memory.
    pub column_cache_bytes: usize,
    /// How long nothing must have been written before what is there is brought into its final form.
    pub settle_after: Duration,
}

impl Default for StorageOptions {
    fn default() -> Self {
        StorageOptions {
            memtable_bytes_max: 64 << 20,
            index_rows_min: 4_096,
            compaction_fan_in: 4,
            segment_rows_max: 4 << 20,
            tombstones_max: 10_000,
            dead_share_max: 0.2,
            row_group_rows: 16_384,
            column_cache_bytes: 256 << 20,
            settle_after: Duration::from_secs(1),
        }
    }
}
