//! What one statement sees.

use crate::{Catalog, Database, Table};
use quiver_base::{Result, Timestamp};
use quiver_storage::{Snapshot, TableLayout};
use std::sync::Arc;

/// A catalog and a read timestamp that belong together, with the transaction's own writes laid over. Every snapshot of a
/// shard is taken once, so a table that appears twice in a statement reads the same. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ReadView {}

impl ReadView {
    /// The catalog, with the transaction's own DDL.
    pub fn catalog(&self) -> &Arc<Catalog> {
        unimplemented!()
    }

    /// The session's database in that catalog.
    pub fn database(&self) -> &Arc<Database> {
        unimplemented!()
    }

    /// The read timestamp.
    pub fn read_ts(&self) -> Timestamp {
        unimplemented!()
    }

    /// One snapshot a shard, in the order of `table.shards`.
    pub fn snapshots(&self, _table: &Table) -> Result<Vec<Arc<Snapshot>>> {
        unimplemented!()
    }

    /// The table as storage wants it described.
    pub fn layout(&self, _table: &Table) -> Arc<TableLayout> {
        unimplemented!()
    }
}
