//! The locks that a transaction takes, and what it does if something changed while it waited for one. Does not know how locks wait.

use super::{
    Isolation, LOCK_BYTES, LockOutcome, RowLock, RowRef, RowTry, TableLock, Txn, concurrent_update, outdated,
};
use crate::locks::{Mode, Resource};
use crate::{CatalogEdit, Table};
use quiver_base::{Result, TableId};
use std::sync::Arc;

impl Txn {
    /// Waits for a table lock; 40P01 on a deadlock, 55P03 on lock_timeout. After a wait the table may have changed or gone: refresh it.
    pub async fn lock_table(&mut self, table: TableId, lock: TableLock) -> Result<()> {
        let mode = match lock {
            TableLock::Shared => Mode::Shared,
            TableLock::Exclusive => Mode::Exclusive,
        };
        self.pin_term()?;
        self.acquire([Resource::Table(self.database_id, table)], mode).await?;
        Ok(())
    }

    /// Takes the lock that a statement needs which writes to a table. Whether it had to wait, or the table was changed before it had the
    /// lock: the statement has begun again then, and is to be bound anew. A snapshot that stays may not see rows that were moved
    /// meanwhile: 40001.
    pub async fn lock_for_write(&mut self, table: &Table) -> Result<bool> {
        self.pin_term()?;
        let lock = Resource::Table(self.database_id, table.id);
        let waited = !self.locks.holds(lock, Mode::Shared) && self.acquire([lock], Mode::Shared).await?;
        let changed = self.changed(table);
        if !waited && changed.is_none() {
            return Ok(false);
        }
        let is_moved = changed.flatten().is_some_and(|newest| newest.shards != table.shards);
        if is_moved && self.options.isolation == Isolation::RepeatableRead {
            return Err(outdated(table));
        }
        self.begin_statement().await?;
        Ok(true)
    }

    /// What became of a table that somebody else has changed since the statement began, if somebody has.
    fn changed(&self, table: &Table) -> Option<Option<Arc<Table>>> {
        let newest = self.cluster.meta.catalog();
        if Arc::ptr_eq(&newest, &self.base) || self.edits_table(table.id) {
            return None;
        }
        let newest = newest.databases.get(&self.database_id).and_then(|d| d.tables.get(&table.id));
        let is_same = newest.is_some_and(|it| it.shards == table.shards && it.version == table.version);
        (!is_same).then(|| newest.cloned())
    }

    /// Locks a name that DDL is about to make or drop, so that two sessions cannot both; exclusive, to the end of the transaction.
    pub async fn lock_name(&mut self, schema: u32, name: &str) -> Result<()> {
        self.pin_meta_term()?;
        let mut bytes = self.database_id.0.to_le_bytes().to_vec();
        bytes.extend_from_slice(name.as_bytes());
        let resource = Resource::Name(schema, xxhash_rust::xxh3::xxh3_64(&bytes));
        self.acquire([resource], Mode::Exclusive).await?;
        Ok(())
    }

    /// The same for a name that all databases share: a role's, a database's.
    pub async fn lock_shared_name(&mut self, kind: &str, name: &str) -> Result<()> {
        self.pin_meta_term()?;
        let resource = Resource::Name(0, xxhash_rust::xxh3::xxh3_64(format!("{kind} {name}").as_bytes()));
        self.acquire([resource], Mode::Exclusive).await?;
        Ok(())
    }

    async fn acquire(
        &mut self,
        resources: impl IntoIterator<Item = Resource, IntoIter: Send>,
        mode: Mode,
    ) -> Result<bool> {
        self.locks.acquire(resources, mode, self.options.lock_timeout).await
    }

    /// Keys or rows, exclusively. A transaction may hold millions of them, so their memory is counted.
    pub(super) async fn acquire_all(&mut self, resources: Vec<Resource>) -> Result<bool> {
        self.lock_memory.try_grow("a transaction's locks", resources.len() * LOCK_BYTES)?;
        self.acquire(resources, Mode::Exclusive).await
    }

    /// Like [`Txn::lock_rows`] without a wait: locks what is free and unchanged, and says for each row what came of it. For NOWAIT
    /// and SKIP LOCKED.
    pub async fn try_lock_rows(
        &mut self,
        table: &Arc<Table>,
        rows: &[RowRef],
        lock: RowLock,
    ) -> Result<Vec<RowTry>> {
        self.begin_write(table).await?;
        let alone = self.holds_exclusively(table);
        let mut tried = Vec::with_capacity(rows.len());
        for row in rows {
            let own = self.is_own(row);
            let free = alone || own || self.locks.try_acquire(Resource::Row(row.shard, row.row), lock.mode());
            tried.push(match free {
                false => RowTry::Busy,
                true if own || self.are_live(&[*row]) => RowTry::Locked,
                true if self.options.isolation == Isolation::RepeatableRead => {
                    return Err(concurrent_update());
                }
                true => RowTry::Changed,
            });
        }
        Ok(tried)
    }

    pub(super) fn holds_exclusively(&self, table: &Table) -> bool {
        self.locks.holds(Resource::Table(self.database_id, table.id), Mode::Exclusive)
    }

    /// What every write begins with: allowed, admitted, the table locked and still as the caller knows it.
    pub(super) async fn begin_write(&mut self, table: &Table) -> Result<()> {
        self.refuse_read_only()?;
        self.cluster.refuse_stopping()?;
        self.pin_term()?;
        if !self.locks.holds(Resource::Table(self.database_id, table.id), Mode::Shared) {
            self.lock_table(table.id, TableLock::Shared).await?;
        }
        if self.changed(table).is_some() {
            return Err(outdated(table));
        }
        self.cluster.upkeep.admit_write(&self.cluster).await
    }

    fn edits_table(&self, table: TableId) -> bool {
        self.edits.iter().any(|edit| matches!(edit, CatalogEdit::PutTable(_, put) if put.id == table))
    }

    /// Locks rows that the statement is about to change.
    pub async fn lock_rows(
        &mut self,
        table: &Arc<Table>,
        rows: &[RowRef],
        lock: RowLock,
    ) -> Result<LockOutcome> {
        self.begin_write(table).await?;
        let others: Vec<RowRef> = rows.iter().filter(|row| !self.is_own(row)).copied().collect();
        if self.lock_live(table, &others, lock.mode()).await? {
            return Ok(LockOutcome::Unchanged);
        }
        match self.options.isolation {
            Isolation::ReadCommitted => Ok(LockOutcome::Changed),
            Isolation::RepeatableRead => Err(concurrent_update()),
        }
    }

    /// Locks rows in order up to the first that is there no more; false if there is one. What comes after it is not kept locked:
    /// the statement will lock its new version first, and whoever locks in one order must not run into a deadlock.
    async fn lock_live(&mut self, table: &Table, rows: &[RowRef], mode: Mode) -> Result<bool> {
        if self.holds_exclusively(table) {
            return Ok(self.are_live(rows));
        }
        self.lock_memory.try_grow("a transaction's locks", rows.len() * LOCK_BYTES)?;
        let mark = self.locks.mark();
        let resource = |row: &RowRef| Resource::Row(row.shard, row.row);
        let resources: Vec<Resource> = rows.iter().map(resource).collect();
        let mut waiting = resources.iter().copied();
        loop {
            let waited = self.locks.acquire_some(&mut waiting, mode, self.options.lock_timeout).await?;
            let taken = &rows[..rows.len() - waiting.len()];
            if !self.are_live(taken) {
                let first_gone = taken.iter().position(|row| !self.are_live(&[*row])).unwrap_or_default();
                let later = resources[first_gone..].iter().copied().collect();
                self.locks.release_since(mark, &later);
                return Ok(false);
            }
            if !waited {
                return Ok(true);
            }
        }
    }
}
