//! A transaction of one session: buffered writes, own DDL, locks, savepoints, commit.

pub(crate) mod buffer;
mod commit;
mod fetch;
mod insert;
mod locking;
mod own_keys;

use crate::cluster::Cluster;
use crate::data::DataGroup;
use crate::leases::Lease;
use crate::locks::{LockSet, Mode};
use crate::read::SnapshotSource;
use crate::{Catalog, CatalogEdit, Database, ReadView, Table};
use buffer::Buffer;
use own_keys::OwnKeys;
use quiver_base::{
    DatabaseId, Error, GroupId, IndexId, Reservation, Result, RowId, ShardId, SqlState, Term, TxnId,
};
use quiver_storage::TableLayout;
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
    /// Whose it is, by a number above 0: deadlocks with other locks of the same session are found. 0: nobody's.
    pub session: u64,
}

/// How rows are locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowLock {
    /// Others may lock them so too, and nobody may change them: FOR SHARE.
    Shared,
    /// For who changes them, and FOR UPDATE.
    Exclusive,
}

impl RowLock {
    fn mode(self) -> Mode {
        match self {
            RowLock::Shared => Mode::Shared,
            RowLock::Exclusive => Mode::Exclusive,
        }
    }
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

/// What came of an attempt to lock a row without a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowTry {
    /// It is locked.
    Locked,
    /// Another transaction holds it.
    Busy,
    /// Another transaction changed it and committed. Call [`Txn::begin_statement`] and run the statement again.
    Changed,
}

/// A point to roll back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Savepoint(pub(crate) usize);

/// A transaction. Dropping it rolls back. Its reads, locks and checks happen where the leader of its database's group is.
#[derive(Debug)]
pub struct Txn {
    cluster: Arc<Cluster>,
    group: Arc<DataGroup>,
    database_id: DatabaseId,
    options: TxnOptions,
    locks: LockSet,
    /// The terms in which locks were taken: a commit in another is refused.
    term: Option<Term>,
    meta_term: Option<Term>,
    buffer: Buffer,
    own_keys: OwnKeys,
    /// Its name in the log, once it has staged rows there.
    staged: Option<TxnId>,
    edits: Vec<CatalogEdit>,
    /// The committed catalog that `catalog` was made from.
    base: Arc<Catalog>,
    catalog: Arc<Catalog>,
    database: Arc<Database>,
    lease: Arc<Lease>,
    has_snapshot: bool,
    savepoints: Vec<Mark>,
    memory: Reservation,
    lock_memory: Reservation,
    /// Dropped with the transaction.
    kept: Vec<Box<dyn Any + Send + Sync>>,
}

/// What a savepoint goes back to.
#[derive(Clone, Copy, Debug)]
struct Mark {
    writes: usize,
    edits: usize,
}

/// What one held lock costs, in bytes: its slot in the table and its place in the list of its owner.
const LOCK_BYTES: usize = 96;
/// What remembering one ended row costs, in bytes.
const DELETE_BYTES: usize = 32;

/// Catalogs with own DDL have versions of their own: a plan made from one must not be found again by anybody else.
static OWN_VERSION: AtomicU64 = AtomicU64::new(1 << 63);

impl Txn {
    pub(crate) fn new(cluster: Arc<Cluster>, database_id: DatabaseId, options: TxnOptions) -> Txn {
        let base = cluster.meta.catalog();
        let database = base.databases.get(&database_id).cloned().unwrap_or_else(|| {
            // Dropped since the session connected: the first statement says so.
            Arc::new(Database::new(database_id, "", crate::BOOTSTRAP_ROLE, GroupId(1)))
        });
        let group = cluster.data_group(database.group);
        let lease = Arc::new(group.leases.take(|| group.last_commit()));
        let (memory, lock_memory) = (cluster.memory().empty(), cluster.memory().empty());
        let locks = cluster.locks.new_set(options.session);
        Txn {
            cluster,
            group,
            database_id,
            options,
            locks,
            term: None,
            meta_term: None,
            buffer: Buffer::default(),
            own_keys: OwnKeys::default(),
            staged: None,
            edits: Vec::new(),
            catalog: base.clone(),
            base,
            database,
            lease,
            has_snapshot: false,
            savepoints: Vec::new(),
            memory,
            lock_memory,
            kept: Vec::new(),
        }
    }

    /// Takes the snapshot that the next statement reads: a new one under READ COMMITTED, the first again otherwise.
    pub async fn begin_statement(&mut self) -> Result<()> {
        self.cluster.confirm_leadership(&self.group).await?;
        loop {
            let view = self.cluster.meta.view();
            for (txn, _) in view.decisions.iter().filter(|(_, group)| **group == self.group.id) {
                self.group.wait_resolved(*txn).await;
            }
            let reads_newest = !self.has_snapshot || self.options.isolation == Isolation::ReadCommitted;
            // The lease that the transaction began with will do if that was just now and nothing was committed since.
            let will_do =
                !self.has_snapshot && self.lease.read_ts == self.group.last_commit() && self.lease.is_new();
            if reads_newest && !will_do {
                self.lease = Arc::new(self.group.leases.take(|| self.group.last_commit()));
            }
            // A transaction that changed both the catalog and rows in the meantime must be seen whole.
            if self.cluster.meta.catalog().version == view.catalog.version {
                self.has_snapshot = true;
                return self.rebase(view.catalog);
            }
        }
    }

    /// Lays own DDL over a newer catalog.
    fn rebase(&mut self, newest: Arc<Catalog>) -> Result<()> {
        if !Arc::ptr_eq(&newest, &self.base) {
            self.base = newest;
            self.redo_edits();
        }
        match self.catalog.databases.get(&self.database_id) {
            Some(database) => self.database = database.clone(),
            None => {
                return Err(Error::new(
                    SqlState::INVALID_CATALOG_NAME,
                    format!("database \"{}\" does not exist", self.database.name),
                ));
            }
        }
        Ok(())
    }

    fn redo_edits(&mut self) {
        self.catalog = if self.edits.is_empty() {
            self.base.clone()
        } else {
            let mut catalog = self.base.with_edits(&self.edits);
            catalog.version = OWN_VERSION.fetch_add(1, Ordering::Relaxed);
            Arc::new(catalog)
        };
        if let Some(database) = self.catalog.databases.get(&self.database_id) {
            self.database = database.clone();
        }
    }

    /// What the current statement sees, own writes included.
    pub fn read_view(&self) -> ReadView {
        self.view(self.lease.clone())
    }

    /// What is committed now, own writes included: for a rewrite that must not miss what was committed while it waited for a lock.
    pub fn newest_view(&self) -> ReadView {
        self.view(Arc::new(self.group.leases.take(|| self.group.last_commit())))
    }

    fn view(&self, lease: Arc<Lease>) -> ReadView {
        let (catalog, layouts) = (self.catalog.clone(), self.cluster.layouts.clone());
        ReadView::new(catalog, self.database.clone(), self.source(), lease, layouts)
    }

    /// The catalog with own DDL.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.clone()
    }

    /// The database with own DDL.
    pub fn database(&self) -> Arc<Database> {
        self.database.clone()
    }

    /// Whether anything was written.
    pub fn has_writes(&self) -> bool {
        self.staged.is_some() || !self.edits.is_empty() || !self.buffer.is_flushed()
    }

    fn source(&self) -> SnapshotSource {
        SnapshotSource { group: self.group.clone(), staged: self.staged, own: self.buffer.written().clone() }
    }

    fn layout(&self, table: &Arc<Table>) -> Arc<TableLayout> {
        self.cluster.layouts.of(table)
    }

    fn schema_name(&self, table: &Table) -> String {
        self.database.schemas.get(&table.schema).map(|schema| schema.name.clone()).unwrap_or_default()
    }

    /// Takes the newest catalog: what a lock was waited for may have changed it.
    pub fn refresh_catalog(&mut self) -> Result<()> {
        self.rebase(self.cluster.meta.catalog())
    }

    /// Keeps something until the transaction has ended, in whatever way.
    pub fn keep(&mut self, held: impl Any + Send + Sync) {
        self.kept.push(Box::new(held));
    }

    fn pin_term(&mut self) -> Result<Term> {
        let term = match self.term {
            Some(term) => term,
            None => self.group.leader_term()?,
        };
        self.term = Some(term);
        Ok(term)
    }

    fn pin_meta_term(&mut self) -> Result<Term> {
        let term = match self.meta_term {
            Some(term) => term,
            None => self.cluster.meta.leader_term()?,
        };
        self.meta_term = Some(term);
        Ok(term)
    }

    fn refuse_read_only(&self) -> Result<()> {
        if self.options.read_only {
            return Err(Error::new(
                SqlState::READ_ONLY_SQL_TRANSACTION,
                "cannot execute a write in a read-only transaction",
            ));
        }
        Ok(())
    }

    fn is_own(&self, row: &RowRef) -> bool {
        self.buffer.shard(row.shard).is_some_and(|part| part.is_own(row.row))
    }

    /// Whether all rows of other transactions are still there in the newest committed state.
    fn are_live(&self, rows: &[RowRef]) -> bool {
        let mut by_shard: BTreeMap<ShardId, Vec<RowId>> = BTreeMap::new();
        for row in rows {
            by_shard.entry(row.shard).or_default().push(row.row);
        }
        by_shard.iter().all(|(shard, rows)| {
            self.group.shard(*shard).is_some_and(|shard| shard.are_live(rows).into_iter().all(|live| live))
        })
    }

    /// Ends locked row versions. Rows named twice are ended once. Returns how many.
    pub async fn delete(&mut self, table: &Arc<Table>, rows: &[RowRef]) -> Result<usize> {
        self.begin_write(table).await?;
        let ended = self.end_rows(rows)?;
        self.stage_if_large().await?;
        Ok(ended)
    }

    fn end_rows(&mut self, rows: &[RowRef]) -> Result<usize> {
        self.lock_memory.try_grow("a transaction's deletes", rows.len() * DELETE_BYTES)?;
        let mut by_shard: BTreeMap<ShardId, Vec<RowId>> = BTreeMap::new();
        for row in rows {
            by_shard.entry(row.shard).or_default().push(row.row);
        }
        let buffer = &mut self.buffer;
        Ok(by_shard.into_iter().map(|(shard, rows)| buffer.delete(shard, rows)).sum())
    }

    /// Fresh oids.
    pub fn new_oid(&mut self) -> u32 {
        self.cluster.next_oid.fetch_add(1, Ordering::Relaxed)
    }

    /// Fresh shards for a table.
    pub fn new_shards(&mut self, count: usize) -> Vec<ShardId> {
        let first = self.cluster.next_shard.fetch_add(count as u64, Ordering::Relaxed);
        (first..first + count as u64).map(ShardId).collect()
    }

    /// Changes the catalog inside this transaction. The caller has checked it and holds the locks.
    pub fn edit(&mut self, edits: Vec<CatalogEdit>) -> Result<()> {
        self.refuse_read_only()?;
        self.pin_meta_term()?;
        for edit in &edits {
            if let CatalogEdit::PutSequence(database, sequence) = edit {
                self.cluster.sequences.put_uncommitted(&self.base, *database, sequence);
            }
        }
        self.edits.extend(edits);
        self.redo_edits();
        Ok(())
    }

    /// A point to come back to.
    pub fn savepoint(&mut self) -> Savepoint {
        self.savepoints.push(Mark { writes: self.buffer.position(), edits: self.edits.len() });
        Savepoint(self.savepoints.len() - 1)
    }

    /// Undoes what came after. Locks stay, and so does the savepoint.
    pub fn rollback_to(&mut self, savepoint: Savepoint) {
        let Some(mark) = self.savepoints.get(savepoint.0).copied() else { return };
        self.savepoints.truncate(savepoint.0 + 1);
        let before = self.buffer.bytes();
        self.buffer.truncate(mark.writes);
        self.memory.shrink(before - self.buffer.bytes());
        self.own_keys.truncate(mark.writes);
        if self.edits.len() > mark.edits {
            self.edits.truncate(mark.edits);
            self.redo_edits();
        }
    }

    /// Forgets a savepoint and those after it; what was written since stays. While one is kept, rows stay in memory: what has
    /// gone to the log cannot be taken back in part.
    pub fn release(&mut self, savepoint: Savepoint) {
        self.savepoints.truncate(savepoint.0);
    }

    /// Forgets everything.
    pub async fn rollback(self) {
        if let Some(txn) = self.staged {
            self.cluster.abort_staged(&self.group, txn).await;
        }
    }
}

impl Drop for Txn {
    fn drop(&mut self) {
        self.cluster.sequences.forget_uncommitted(self.database_id, &self.edits);
        if let Some(txn) = self.staged {
            // What it staged is aborted by the upkeep if nobody has done so.
            self.cluster.live_staged.lock().remove(&txn);
            self.cluster.upkeep.wake();
        }
    }
}

fn outdated(table: &Table) -> Error {
    Error::new(
        SqlState::SERIALIZATION_FAILURE,
        format!("table \"{}\" was changed by a concurrent transaction", table.name),
    )
}

fn concurrent_update() -> Error {
    Error::new(SqlState::SERIALIZATION_FAILURE, "could not serialize access due to concurrent update")
}
