//! A transaction of one session: buffered writes, own DDL, locks, savepoints, commit.

use crate::{Catalog, CatalogEdit, Database, ReadView, Table};
use arrow::record_batch::RecordBatch;
use quiver_base::{IndexId, Result, RowId, ShardId, TableId};
use std::sync::Arc;
use std::time::Duration;

/// How much of others' commits a transaction sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Isolation {
    /// A snapshot per statement; waits for locked rows and then sees their new versions.
    #[default]
    ReadCommitted,
    /// One snapshot; the first committer wins, the other gets 40001. SERIALIZABLE is refused or mapped by the caller.
    RepeatableRead,
}

/// How a transaction begins.
#[derive(Clone, Copy, Debug, Default)]
pub struct TxnOptions {
    /// Isolation level.
    pub isolation: Isolation,
    /// Writes fail with 25006.
    pub read_only: bool,
    /// lock_timeout; 55P03 past it.
    pub lock_timeout: Option<Duration>,
}

/// A table lock, held to the end of the transaction. Plain reads take none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableLock {
    /// What INSERT, UPDATE, DELETE and SELECT FOR UPDATE take.
    Shared,
    /// What DDL takes.
    Exclusive,
}

/// A row version somewhere in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RowRef {
    /// Its shard.
    pub shard: ShardId,
    /// Its id there.
    pub row: RowId,
}

/// What to do with a row whose key is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConflictMode {
    /// 23505, with PostgreSQL's DETAIL line.
    Error,
    /// Report it and insert the others: of the named keys (all keys if empty); other keys still raise 23505.
    Report(Vec<IndexId>),
}

/// What a row of an insert collided with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prior {
    /// A row that was there: committed (and now locked by this transaction) or written earlier by this transaction.
    Row(RowRef),
    /// A row of this same batch, by position.
    SameBatch(usize),
}

/// Which rows of a batch went in.
#[derive(Clone, Debug, Default)]
pub struct InsertOutcome {
    /// Positions inserted, ascending, and where they are now.
    pub inserted: Vec<(usize, RowRef)>,
    /// Positions left out because a key was taken, ascending.
    pub conflicts: Vec<(usize, Prior)>,
}

/// Whether locked rows are still what the statement saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockOutcome {
    /// All of them: go on.
    Unchanged,
    /// Another transaction changed some and committed. READ COMMITTED: call [`Txn::begin_statement`] and run the statement again;
    /// locks taken stay.
    Changed,
}

/// A point to roll back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Savepoint(pub(crate) usize);

/// A transaction. Dropping it rolls back. Its reads, locks and checks happen where the leader of its database's group is.
#[derive(Debug)]
pub struct Txn {}

impl Txn {
    /// Takes the snapshot that the next statement reads: a new one under READ COMMITTED, the first again otherwise.
    pub async fn begin_statement(&mut self) -> Result<()> {
        unimplemented!()
    }

    /// What the current statement sees, own writes included.
    pub fn read_view(&self) -> ReadView {
        unimplemented!()
    }

    /// The catalog with own DDL.
    pub fn catalog(&self) -> Arc<Catalog> {
        unimplemented!()
    }

    /// The database with own DDL.
    pub fn database(&self) -> Arc<Database> {
        unimplemented!()
    }

    /// Whether anything was written.
    pub fn has_writes(&self) -> bool {
        unimplemented!()
    }

    /// Waits for a table lock; 40P01 on a deadlock, 55P03 on lock_timeout. After a wait the table may have changed or gone: refresh it.
    pub async fn lock_table(&mut self, _table: TableId, _lock: TableLock) -> Result<()> {
        unimplemented!()
    }

    /// Locks a name that DDL is about to make or drop, so that two sessions cannot both; exclusive, to the end of the transaction.
    pub async fn lock_name(&mut self, _schema: u32, _name: &str) -> Result<()> {
        unimplemented!()
    }

    /// Inserts rows. `batch` has one column a live column of the table, in order, already checked for type, NOT NULL and CHECK.
    /// Waits for transactions that hold one of the keys.
    pub async fn insert(
        &mut self,
        _table: &Arc<Table>,
        _batch: &RecordBatch,
        _mode: ConflictMode,
    ) -> Result<InsertOutcome> {
        unimplemented!()
    }

    /// Locks rows that the statement is about to change.
    pub async fn lock_rows(&mut self, _table: &Arc<Table>, _rows: &[RowRef]) -> Result<LockOutcome> {
        unimplemented!()
    }

    /// Ends locked row versions. Rows named twice are ended once. Returns how many.
    pub async fn delete(&mut self, _table: &Arc<Table>, _rows: &[RowRef]) -> Result<usize> {
        unimplemented!()
    }

    /// Ends locked row versions and inserts `new_rows` in their place, row for row; keys are checked after all old versions have
    /// ended. Returns where the new versions are.
    pub async fn update(
        &mut self,
        _table: &Arc<Table>,
        _rows: &[RowRef],
        _new_rows: &RecordBatch,
    ) -> Result<Vec<RowRef>> {
        unimplemented!()
    }

    /// Columns (all live ones, in order) of rows that this transaction can see or has locked.
    pub fn fetch(&self, _table: &Arc<Table>, _rows: &[RowRef]) -> Result<RecordBatch> {
        unimplemented!()
    }

    /// Checks a new key over the rows a table has; 23505 naming a duplicate. The caller holds the exclusive lock.
    pub async fn check_unique(&self, _table: &Arc<Table>, _index: IndexId) -> Result<()> {
        unimplemented!()
    }

    /// Fresh oids.
    pub fn new_oid(&mut self) -> u32 {
        unimplemented!()
    }

    /// Fresh shards for a table.
    pub fn new_shards(&mut self, _count: usize) -> Vec<ShardId> {
        unimplemented!()
    }

    /// Changes the catalog inside this transaction. The caller has checked it and holds the locks.
    pub fn edit(&mut self, _edits: Vec<CatalogEdit>) -> Result<()> {
        unimplemented!()
    }

    /// A point to come back to.
    pub fn savepoint(&mut self) -> Savepoint {
        unimplemented!()
    }

    /// Undoes what came after. Locks stay.
    pub fn rollback_to(&mut self, _savepoint: Savepoint) {
        unimplemented!()
    }

    /// Makes everything durable and visible at once, or nothing.
    pub async fn commit(self) -> Result<()> {
        unimplemented!()
    }

    /// Forgets everything.
    pub async fn rollback(self) {
        unimplemented!()
    }
}
