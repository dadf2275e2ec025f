//! What all shards of a process share, and the tunables.

use crate::Objects;
use crate::column_cache::ColumnCache;
use crate::range_cache::RangeCache;
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
    pub(crate) ranges: RangeCache,
}

impl StorageEnv {
    /// Joins them, and makes the caches of decoded columns and of parts of remote objects.
    pub fn new(objects: Arc<Objects>, memory: Arc<MemoryBudget>, options: StorageOptions) -> Arc<StorageEnv> {
        let columns = ColumnCache::new(options.column_cache_bytes, memory.clone());
        let ranges = RangeCache::new(options.range_cache_bytes, memory.clone());
        Arc::new(StorageEnv { objects, memory, options, columns, ranges })
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
    /// Rows that come no faster than this are indexed as they come, small segments first; faster ones once memory is full of them, as that takes
    /// less work in all.
    pub trickle_bytes_per_second: usize,
    /// Unflushed bytes of one shard past which it is flushed while rows come so slowly: searches compare them one by one.
    pub trickle_bytes_max: usize,
    /// Segments smaller than this are merged before they get a graph; below it rows are searched exactly.
    pub index_rows_min: usize,
    /// So many segments of similar size are merged while rows are loaded; otherwise any two.
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
    /// Bytes of parts of remote objects kept in memory: of lists, and of vectors that they named.
    pub range_cache_bytes: usize,
    /// From this size on, in bytes, vectors in a remote store that are not in the cache folder stay there when they are searched through
    /// an `ivfflat` index: parts of them and of the lists are read. Smaller ones are fetched whole.
    pub cold_bytes_min: u64,
    /// How long nothing must have been written before what is there is brought into its final form.
    pub settle_after: Duration,
}

impl Default for StorageOptions {
    fn default() -> Self {
        StorageOptions {
            memtable_bytes_max: 64 << 20,
            trickle_bytes_per_second: 8 << 20,
            trickle_bytes_max: 4 << 20,
            index_rows_min: 1_024,
            compaction_fan_in: 4,
            segment_rows_max: 4 << 20,
            tombstones_max: 10_000,
            dead_share_max: 0.2,
            row_group_rows: 16_384,
            column_cache_bytes: 256 << 20,
            range_cache_bytes: 256 << 20,
            cold_bytes_min: 2 << 30,
            settle_after: Duration::from_secs(1),
        }
    }
}
