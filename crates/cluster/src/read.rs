//! What one statement sees.

use crate::data::DataGroup;
use crate::layout::Layouts;
use crate::leases::Lease;
use crate::txn::buffer::Written;
use crate::{Catalog, Database, Table};
use hashbrown::HashMap;
use parking_lot::Mutex;
use quiver_base::{Result, ShardId, Timestamp, TxnId};
use quiver_storage::{Snapshot, TableLayout};
use std::sync::Arc;

/// A catalog and a read timestamp that belong together, with the transaction's own writes laid over. Every snapshot of a
/// shard is taken once, so a table that appears twice in a statement reads the same. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ReadView(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    catalog: Arc<Catalog>,
    database: Arc<Database>,
    source: SnapshotSource,
    lease: Arc<Lease>,
    layouts: Arc<Layouts>,
    snapshots: Mutex<HashMap<ShardId, Arc<Snapshot>>>,
}

/// Where snapshots come from: a group, and what the reading transaction has not committed.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotSource {
    pub(crate) group: Arc<DataGroup>,
    /// Set once it has staged rows.
    pub(crate) staged: Option<TxnId>,
    pub(crate) own: Arc<Written>,
}

impl SnapshotSource {
    /// A shard at a timestamp with own writes. A shard that nobody has written to is not there yet: it is empty.
    pub(crate) fn snapshot(&self, shard: ShardId, read_ts: Timestamp) -> Arc<Snapshot> {
        let base = self.without_buffered(shard, read_ts);
        match self.own.shard(shard) {
            Some(own) if !own.is_empty() => base.with_overlay(&own.inserts, own.deletes.clone()),
            _ => base,
        }
    }

    /// The same with own deletes, but without rows that are still in the session.
    pub(crate) fn without_own_rows(&self, shard: ShardId, read_ts: Timestamp) -> Arc<Snapshot> {
        let base = self.without_buffered(shard, read_ts);
        match self.own.shard(shard) {
            Some(own) if !own.deletes.is_empty() => base.with_overlay(&[], own.deletes.clone()),
            _ => base,
        }
    }

    fn without_buffered(&self, shard: ShardId, read_ts: Timestamp) -> Arc<Snapshot> {
        match self.group.shard(shard) {
            Some(shard) => shard.snapshot(read_ts, self.staged),
            None => Snapshot::empty(read_ts),
        }
    }
}

impl ReadView {
    pub(crate) fn new(
        catalog: Arc<Catalog>,
        database: Arc<Database>,
        source: SnapshotSource,
        lease: Arc<Lease>,
        layouts: Arc<Layouts>,
    ) -> ReadView {
        ReadView(Arc::new(Inner { catalog, database, source, lease, layouts, snapshots: Mutex::default() }))
    }

    /// The catalog, with the transaction's own DDL.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.0.catalog
    }

    /// The session's database in that catalog.
    pub fn database(&self) -> &Arc<Database> {
        &self.0.database
    }

    /// The read timestamp.
    pub fn read_ts(&self) -> Timestamp {
        self.0.lease.read_ts
    }

    /// One snapshot a shard, in the order of `table.shards`. 72000 once the statement has been running for too long.
    pub fn snapshots(&self, table: &Table) -> Result<Vec<Arc<Snapshot>>> {
        self.0.lease.check()?;
        let mut taken = self.0.snapshots.lock();
        let snapshot = |shard: &ShardId| {
            taken.entry(*shard).or_insert_with(|| self.0.source.snapshot(*shard, self.read_ts())).clone()
        };
        Ok(table.shards.iter().map(snapshot).collect())
    }

    /// The table as storage wants it described.
    pub fn layout(&self, table: &Arc<Table>) -> Arc<TableLayout> {
        self.0.layouts.of(table)
    }
}
