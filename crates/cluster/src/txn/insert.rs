//! Rows going in: routed to shards, checked against every unique key under key locks, given row ids, buffered.

use super::buffer::batch_bytes;
use super::{ConflictMode, InsertOutcome, Isolation, Prior, RowRef, Txn, concurrent_update};
use crate::Table;
use crate::keys::{KeyValues, duplicate_key, is_routed_by, shard_positions};
use crate::locks::Resource;
use crate::read::SnapshotSource;
use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{take, take_record_batch};
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use quiver_base::{Error, IndexId, Result, RowId, ShardId};
use quiver_storage::{RowBatch, TableLayout};
use std::collections::HashMap;
use std::sync::Arc;

/// Above so many rows look-ups leave the async thread.
const INLINE_ROWS_MAX: usize = 256;

/// A batch with what its checks need.
#[derive(Debug)]
struct Incoming {
    batch: RecordBatch,
    /// Positions in `shards`, one a row.
    shard_at: Vec<usize>,
    shards: Vec<ShardId>,
    keys: Vec<KeyValues>,
    /// One a key: whether a key's row can be in one shard only.
    routed: Vec<bool>,
    layout: Arc<TableLayout>,
}

/// For each key, for each row, the row that has the key already.
type Priors = Vec<Vec<Option<RowRef>>>;

impl Incoming {
    fn new(table: &Table, layout: Arc<TableLayout>, batch: &RecordBatch) -> Result<Incoming> {
        let fields: Vec<_> = layout.columns.iter().map(|column| column.field.clone()).collect();
        if fields.len() != batch.num_columns() {
            return Err(Error::internal(format!("table {} has {} live columns", table.id, fields.len())));
        }
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), batch.columns().to_vec())?;
        let keys = layout.keys.iter().map(|key| KeyValues::new(&layout, key, &batch));
        Ok(Incoming {
            shard_at: shard_positions(table, &layout, &batch)?,
            shards: table.shards.clone(),
            keys: keys.collect::<Result<_>>()?,
            routed: layout.keys.iter().map(|key| is_routed_by(table, key)).collect(),
            batch,
            layout,
        })
    }

    fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// Locks on all keys, in one order for everybody.
    fn resources(&self) -> Vec<Resource> {
        let key_resources = |key: &KeyValues| {
            let id = key.def.id;
            let hashes = key.encoded.iter().flatten().map(move |(_, hash)| Resource::Key(id, *hash));
            hashes.collect::<Vec<_>>()
        };
        let mut resources: Vec<Resource> = self.keys.iter().flat_map(key_resources).collect();
        resources.sort_unstable();
        resources.dedup();
        resources
    }

    /// Looks keys up in the newest committed state and what this transaction has staged.
    fn committed_priors(&self, source: &SnapshotSource) -> Result<Priors> {
        let newest = source.group.last_commit();
        let mut priors: Priors = vec![vec![None; self.rows()]; self.keys.len()];
        for (at, shard) in self.shards.iter().enumerate() {
            if source.group.shard(*shard).is_none() {
                continue;
            }
            let snapshot = source.without_own_rows(*shard, newest);
            for ((key, routed), priors) in self.keys.iter().zip(&self.routed).zip(&mut priors) {
                let all = self.shards.len() == 1 || !routed;
                let wanted: Vec<u32> = (0..self.rows())
                    .filter(|row| all || self.shard_at[*row] == at)
                    .map(|row| row as u32)
                    .collect();
                if wanted.is_empty() {
                    continue;
                }
                let values = take_rows(&key.values, &wanted, self.rows())?;
                let found = snapshot.lookup(&self.layout, &key.def, &values)?;
                for (row, found) in wanted.iter().zip(found) {
                    if let Some((row_id, _)) = found {
                        priors[*row as usize] = Some(RowRef { shard: *shard, row: row_id });
                    }
                }
            }
        }
        Ok(priors)
    }
}

fn take_rows(values: &[ArrayRef], wanted: &[u32], rows: usize) -> Result<Vec<ArrayRef>> {
    if wanted.len() == rows {
        return Ok(values.to_vec());
    }
    let wanted = UInt32Array::from(wanted.to_vec());
    values.iter().map(|array| Ok(take(array, &wanted, None)?)).collect()
}

/// Which rows go in.
struct Verdict {
    accepted: Vec<u32>,
    conflicts: Vec<(usize, Prior)>,
}

impl Txn {
    /// Inserts rows. `batch` has one column a live column of the table, in order, already checked for type, NOT NULL and CHECK.
    /// Waits for transactions that hold one of the keys.
    pub async fn insert(
        &mut self,
        table: &Arc<Table>,
        batch: &RecordBatch,
        mode: ConflictMode,
    ) -> Result<InsertOutcome> {
        self.begin_write(table).await?;
        let incoming = Arc::new(Incoming::new(table, self.layout(table), batch)?);
        let verdict = self.check_keys(table, &incoming, &mode).await?;
        let inserted = self.add(&incoming, &verdict.accepted)?;
        self.stage_if_large().await?;
        Ok(InsertOutcome { inserted, conflicts: verdict.conflicts })
    }

    /// Ends locked row versions and inserts `new_rows` in their place, row for row; keys are checked after all old versions have
    /// ended. Returns where the new versions are.
    pub async fn update(
        &mut self,
        table: &Arc<Table>,
        rows: &[RowRef],
        new_rows: &RecordBatch,
    ) -> Result<Vec<RowRef>> {
        self.begin_write(table).await?;
        if rows.len() != new_rows.num_rows() {
            return Err(Error::internal("an update must bring one new row for each old one"));
        }
        let incoming = Arc::new(Incoming::new(table, self.layout(table), new_rows)?);
        self.end_rows(rows)?;
        let verdict = self.check_keys(table, &incoming, &ConflictMode::Error).await?;
        let inserted = self.add(&incoming, &verdict.accepted)?;
        self.stage_if_large().await?;
        Ok(inserted.into_iter().map(|(_, row)| row).collect())
    }

    /// Locks the keys, then finds who has them. After a wait for a row's owner it looks again.
    async fn check_keys(
        &mut self,
        table: &Table,
        incoming: &Arc<Incoming>,
        mode: &ConflictMode,
    ) -> Result<Verdict> {
        let alone = self.holds_exclusively(table);
        if !alone {
            self.acquire_all(incoming.resources()).await?;
        }
        self.cover_own_keys(&incoming.keys, &incoming.shards)?;
        loop {
            let priors = self.priors(incoming).await?;
            let mut owners: Vec<RowRef> = priors.iter().flatten().flatten().copied().collect();
            owners.retain(|row| !self.is_own(row));
            if *mode == ConflictMode::Error {
                owners.truncate(1);
            }
            if !owners.is_empty() && !alone {
                let locks = owners.iter().map(|row| Resource::Row(row.shard, row.row));
                self.acquire_all(locks.collect()).await?;
            }
            // A row that its owner has meanwhile deleted or moved takes no key any more.
            if !self.are_live(&owners) {
                tokio::task::yield_now().await;
                continue;
            }
            if *mode != ConflictMode::Error && self.options.isolation == Isolation::RepeatableRead {
                self.refuse_unseen(&owners)?;
            }
            return self.judge(table, incoming, &priors, mode);
        }
    }

    /// A row that took a key after this transaction's snapshot can be neither updated nor left alone.
    fn refuse_unseen(&self, rows: &[RowRef]) -> Result<()> {
        let source = self.source();
        for row in rows {
            let snapshot = source.snapshot(row.shard, self.lease.read_ts);
            if snapshot.find(&[row.row])?.iter().any(Option::is_none) {
                return Err(concurrent_update());
            }
        }
        Ok(())
    }

    async fn priors(&self, incoming: &Arc<Incoming>) -> Result<Priors> {
        if incoming.keys.is_empty() {
            return Ok(Vec::new());
        }
        let source = self.source();
        let mut priors = if incoming.rows() <= INLINE_ROWS_MAX {
            incoming.committed_priors(&source)?
        } else {
            let incoming = incoming.clone();
            blocking(move || incoming.committed_priors(&source)).await?
        };
        for (key, priors) in incoming.keys.iter().zip(&mut priors) {
            for (row, prior) in priors.iter_mut().enumerate() {
                if prior.is_none() {
                    *prior = self.own_keys.find(key, row, &incoming.shards, &self.buffer)?;
                }
            }
        }
        Ok(priors)
    }

    /// Goes through the rows in order: each is refused, reported, or goes in and takes its keys from those after it.
    fn judge(
        &self,
        table: &Table,
        incoming: &Incoming,
        priors: &Priors,
        mode: &ConflictMode,
    ) -> Result<Verdict> {
        let is_reported = |index: IndexId| match mode {
            ConflictMode::Error => false,
            ConflictMode::Report(indexes) => indexes.is_empty() || indexes.contains(&index),
        };
        let mut verdict = Verdict { accepted: Vec::with_capacity(incoming.rows()), conflicts: Vec::new() };
        let mut taken: Vec<HashMap<&[u8], usize>> =
            incoming.keys.iter().map(|_| HashMap::with_capacity(incoming.rows())).collect();
        #[allow(clippy::needless_range_loop)] // a row's number is its place in many lists
        for row in 0..incoming.rows() {
            let prior = |at: usize| {
                let in_batch =
                    || taken[at].get(incoming.keys[at].bytes(row)?).map(|row| Prior::SameBatch(*row));
                priors[at][row].map(Prior::Row).or_else(in_batch)
            };
            let found: Vec<Option<Prior>> = (0..incoming.keys.len()).map(prior).collect();
            let of_kind = |reported: bool| {
                let keys = incoming.keys.iter().zip(&found);
                keys.filter(move |(key, _)| is_reported(key.def.id) == reported)
                    .find_map(|(key, prior)| prior.map(|prior| (key, prior)))
            };
            if let Some((_, prior)) = of_kind(true) {
                verdict.conflicts.push((row, prior));
                continue;
            }
            if let Some((key, _)) = of_kind(false) {
                return Err(duplicate_key(table, &self.schema_name(table), key, row));
            }
            for (key, taken) in incoming.keys.iter().zip(&mut taken) {
                if let Some(bytes) = key.bytes(row) {
                    taken.insert(bytes, row);
                }
            }
            verdict.accepted.push(row as u32);
        }
        Ok(verdict)
    }

    /// Buffers rows under fresh ids.
    fn add(&mut self, incoming: &Incoming, accepted: &[u32]) -> Result<Vec<(usize, RowRef)>> {
        let mut inserted = Vec::with_capacity(accepted.len());
        for (at, shard) in incoming.shards.iter().enumerate() {
            let rows: Vec<u32> =
                accepted.iter().copied().filter(|row| incoming.shard_at[*row as usize] == at).collect();
            if rows.is_empty() {
                continue;
            }
            let batch = if rows.len() == incoming.rows() {
                incoming.batch.clone()
            } else {
                take_record_batch(&incoming.batch, &UInt32Array::from(rows.clone()))?
            };
            self.memory.try_grow("a transaction's rows", batch_bytes(&batch))?;
            let first = self.cluster.allocate_rows(&self.group, *shard, rows.len() as u64);
            let row_ids: Vec<RowId> = (first.0..first.0 + rows.len() as u64).map(RowId).collect();
            let refs = rows
                .iter()
                .zip(&row_ids)
                .map(|(row, id)| (*row as usize, RowRef { shard: *shard, row: *id }));
            inserted.extend(refs);
            let position = self.buffer.position();
            for key in &incoming.keys {
                for (row, id) in rows.iter().zip(&row_ids) {
                    if let Some(hash) = key.hash(*row as usize) {
                        self.own_keys.add(key.def.id, hash, RowRef { shard: *shard, row: *id }, position);
                    }
                }
            }
            self.buffer.insert(*shard, RowBatch { batch, row_ids });
        }
        inserted.sort_unstable_by_key(|(row, _)| *row);
        Ok(inserted)
    }
}

/// Runs what may read from disk away from the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|panic| Err(Error::internal(format!("a storage task failed: {panic}"))))
}
