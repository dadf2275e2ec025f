//! The door: opens a node's data folder, hands out transactions, runs the upkeep, stops.

use crate::{Catalog, Database, Table, Txn, TxnOptions};
use quiver_base::{DatabaseId, IndexId, MemoryBudget, Result, TableId};
use quiver_storage::{ShardStats, StorageOptions};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What a node needs to know.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// Log, checkpoints, identity, and objects unless they are elsewhere.
    pub data_dir: PathBuf,
    /// Where segments go; `None`: `data_dir/objects`.
    pub object_store: Option<String>,
    /// The process's memory limit.
    pub memory: Arc<MemoryBudget>,
    /// Storage tunables.
    pub storage: StorageOptions,
    /// Threads for flushes, merges and index builds.
    pub background_threads: usize,
    /// Data groups made when the cluster is first started.
    pub data_groups: u16,
    /// A transaction writes chunk entries ahead of its commit once it holds this much.
    pub txn_stage_bytes: usize,
    /// How long a writer waits for memory before 53400.
    pub write_wait_max: Duration,
    /// Log bytes since the last checkpoint past which one is taken.
    pub log_bytes_max: u64,
}

/// Numbers about a table.
#[derive(Clone, Debug, Default)]
pub struct TableStats {
    /// Of each shard.
    pub shards: Vec<ShardStats>,
}

/// One node.
#[derive(Debug)]
pub struct Cluster {}

impl Cluster {
    /// Opens or makes a data folder, replays the log, elects itself, starts the upkeep. A second process on the same folder
    /// is refused, as is a folder of a newer version.
    pub async fn open(_config: ClusterConfig) -> Result<Arc<Cluster>> {
        unimplemented!()
    }

    /// The newest applied catalog.
    pub fn catalog(&self) -> Arc<Catalog> {
        unimplemented!()
    }

    /// A database by name; 3D000 with a hint.
    pub fn database(&self, _name: &str) -> Result<Arc<Database>> {
        unimplemented!()
    }

    /// A new transaction.
    pub fn begin(self: &Arc<Self>, _database: DatabaseId, _options: TxnOptions) -> Txn {
        unimplemented!()
    }

    /// The next value of a sequence: durable before it is given out, never given twice, not undone by ROLLBACK.
    pub async fn next_value(&self, _database: DatabaseId, _sequence: TableId) -> Result<i64> {
        unimplemented!()
    }

    /// `setval`.
    pub async fn set_value(
        &self,
        _database: DatabaseId,
        _sequence: TableId,
        _value: i64,
        _called: bool,
    ) -> Result<()> {
        unimplemented!()
    }

    /// Numbers about a table.
    pub fn table_stats(&self, _table: &Table) -> TableStats {
        unimplemented!()
    }

    /// Waits until every sealed segment of the index's table has it (small ones, searched exactly, need none). What CREATE INDEX waits for.
    pub async fn wait_indexed(&self, _database: DatabaseId, _table: TableId, _index: IndexId) -> Result<()> {
        unimplemented!()
    }

    /// VACUUM: flush, write delete bitmaps, merge until nothing is left to do. `full`: into one segment a shard.
    pub async fn compact(&self, _database: DatabaseId, _table: TableId, _full: bool) -> Result<()> {
        unimplemented!()
    }

    /// Takes a checkpoint of every group and purges the log.
    pub async fn checkpoint(&self) -> Result<()> {
        unimplemented!()
    }

    /// Whether writes are accepted: every group has a leader here.
    pub fn is_ready(&self) -> bool {
        unimplemented!()
    }

    /// The memory limit.
    pub fn memory(&self) -> &Arc<MemoryBudget> {
        unimplemented!()
    }

    /// Stops accepting writes, lets running ones end, flushes, checkpoints, releases the folder.
    pub async fn shutdown(&self) -> Result<()> {
        unimplemented!()
    }
}
