//! The door to one shard: apply, snapshot, background work.

use crate::column_cache::ColumnCache;
use crate::version::Version;
use crate::{Job, JobControl, Objects, Publish, PublishOutcome, ShardWrite, Snapshot, TableLayout};
use parking_lot::RwLock;
use quiver_base::{MemoryBudget, Result, RowId, ShardId, Timestamp, TxnId};
use std::sync::Arc;

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
        }
    }
}

/// Numbers about a shard, for views, EXPLAIN and scheduling.
#[derive(Clone, Debug, Default)]
pub struct ShardStats {
    /// Rows that are visible now.
    pub live_rows: u64,
    /// Rows in memory.
    pub memtable_rows: u64,
    /// Bytes of those rows.
    pub memtable_bytes: u64,
    /// Bytes staged by transactions that have not ended.
    pub staged_bytes: u64,
    /// Sealed segments.
    pub segments: u64,
    /// Bytes of live objects.
    pub object_bytes: u64,
    /// Deletes not yet in a published bitmap.
    pub tombstones: u64,
}

/// One shard's replicated state and the machinery around it.
#[derive(Debug)]
pub struct Shard {
    id: ShardId,
    env: Arc<StorageEnv>,
    version: RwLock<Arc<Version>>,
}

impl Shard {
    /// An empty shard.
    pub fn new(id: ShardId, env: Arc<StorageEnv>) -> Arc<Shard> {
        Arc::new(Shard { id, env, version: RwLock::default() })
    }

    /// A shard from [`Shard::encode_state`]'s bytes. Opens no object: damage there shows, by name, on first use or by [`Shard::verify`].
    pub fn restore(_env: Arc<StorageEnv>, _state: &[u8]) -> Result<Arc<Shard>> {
        unimplemented!()
    }

    /// Manifest, unflushed and staged rows, tombstones. The state is fixed when this is called, encoded when the closure runs;
    /// equal histories give equal bytes.
    pub fn encode_state(&self) -> Box<dyn FnOnce() -> Vec<u8> + Send> {
        unimplemented!()
    }

    /// Its id.
    pub fn id(&self) -> ShardId {
        self.id
    }

    // Called from apply: memory only, cannot fail.

    /// Makes a write visible at `ts`, which is above all before it. Also what `txn` has staged, if given.
    pub fn commit(&self, ts: Timestamp, write: ShardWrite, staged: Option<TxnId>) {
        self.change(|version, env| version.commit(ts, &write, staged, &env.memory));
    }

    /// Keeps a part of a large transaction, invisible to others until its commit.
    pub fn stage(&self, txn: TxnId, write: ShardWrite) {
        self.change(|version, env| version.stage(txn, &write, &env.memory));
    }

    /// Drops what a transaction staged.
    pub fn abort(&self, txn: TxnId) {
        self.change(|version, _| drop(version.staged.remove(&txn)));
    }

    /// Swaps what a job made into the manifest, or does nothing if it no longer fits.
    pub fn publish(&self, _publish: &Publish) -> PublishOutcome {
        unimplemented!()
    }

    // Reads.

    /// An immutable view at `read_ts`, with what `own` has staged.
    pub fn snapshot(&self, read_ts: Timestamp, own: Option<TxnId>) -> Arc<Snapshot> {
        Snapshot::new(&self.version(), read_ts, own)
    }

    /// The largest row id ever seen, staged ones included.
    pub fn max_row_id(&self) -> RowId {
        self.version().max_row_id
    }

    /// Whether each row version is neither deleted nor unknown in the newest state. What lock holders ask after waiting.
    pub fn are_live(&self, rows: &[RowId]) -> Vec<bool> {
        let version = self.version();
        rows.iter().map(|row| version.is_live(*row)).collect()
    }

    /// Numbers for views and scheduling.
    pub fn stats(&self) -> ShardStats {
        let version = self.version();
        let staged = version.staged.values().flat_map(|staged| &staged.chunks);
        ShardStats {
            live_rows: Snapshot::new(&version, Timestamp::MAX, None).row_count(),
            memtable_rows: version.memtable.rows() as u64,
            memtable_bytes: version.memtable.bytes() as u64,
            staged_bytes: staged.map(|chunk| chunk.bytes() as u64).sum(),
            segments: 0,
            object_bytes: 0,
            tombstones: version.tombstones.len() as u64,
        }
    }

    // Background work, on the leader only; blocking.

    /// The most useful job now, given that none of `running` may be doubled. Reads at or above `oldest_read_ts` must stay right.
    pub fn pending_work(
        &self,
        _layout: &TableLayout,
        _running: &[Job],
        _oldest_read_ts: Timestamp,
    ) -> Option<Job> {
        unimplemented!()
    }

    /// A flush of everything now in memory (for VACUUM, shutdown, checkpoints and tests); `None` if there is nothing.
    pub fn flush_job(&self) -> Option<Job> {
        unimplemented!()
    }

    /// A merge of all segments into one (for VACUUM FULL and tests); `None` if there is nothing to gain.
    pub fn compact_job(&self) -> Option<Job> {
        unimplemented!()
    }

    /// Does the work and makes its objects durable. The publish takes effect only through the log.
    pub fn run_job(
        &self,
        _job: &Job,
        _layout: &TableLayout,
        _oldest_read_ts: Timestamp,
        _control: &JobControl,
    ) -> Result<Publish> {
        unimplemented!()
    }

    /// Deletes the objects of a publish that came back stale or was never proposed.
    pub fn discard(&self, _publish: &Publish) {
        unimplemented!()
    }

    /// Deletes objects that neither the manifest nor a live snapshot names. Returns how many.
    pub fn collect_garbage(&self) -> Result<usize> {
        unimplemented!()
    }

    /// Deletes every object of a dropped shard.
    pub fn destroy(&self) -> Result<()> {
        unimplemented!()
    }

    /// Reads and checks every live object against its checksum; an error names the damaged one.
    pub fn verify(&self) -> Result<()> {
        unimplemented!()
    }

    fn version(&self) -> Arc<Version> {
        self.version.read().clone()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Version, &StorageEnv) -> T) -> T {
        change(Arc::make_mut(&mut *self.version.write()), &self.env)
    }
}

#[cfg(test)]
mod tests;
