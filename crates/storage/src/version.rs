//! What a shard holds at one position of the log: an immutable value that snapshots share and apply replaces.

use crate::ShardWrite;
use crate::chunk::{Born, Chunk};
use crate::memtable::Memtable;
use crate::rows::RowBatch;
use imbl::OrdMap;
use quiver_base::{MemoryBudget, RowId, Timestamp, TxnId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Everything that apply changes. A clone shares what did not change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Version {
    /// Committed rows that no segment holds.
    pub(crate) memtable: Memtable,
    /// When rows that are still stored were deleted, unless a published bitmap says so.
    pub(crate) tombstones: OrdMap<RowId, Timestamp>,
    /// Parts of transactions that have not ended.
    pub(crate) staged: BTreeMap<TxnId, Staged>,
    /// The newest commit.
    pub(crate) newest_ts: Timestamp,
    /// Rows committed at or before it are in segments.
    pub(crate) flushed_ts: Timestamp,
    /// The largest row id seen.
    pub(crate) max_row_id: RowId,
}

/// What one transaction has staged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Staged {
    /// Rows, visible to the transaction only.
    pub(crate) chunks: Vec<Arc<Chunk>>,
    /// Rows it ends.
    pub(crate) deletes: Arc<Vec<RowId>>,
}

impl Version {
    /// Makes a write visible, and what its transaction staged before.
    pub(crate) fn commit(
        &mut self,
        ts: Timestamp,
        write: &ShardWrite,
        staged: Option<TxnId>,
        memory: &Arc<MemoryBudget>,
    ) {
        self.newest_ts = self.newest_ts.max(ts);
        let staged = staged.and_then(|txn| self.staged.remove(&txn)).unwrap_or_default();
        let rows =
            staged.chunks.iter().map(|chunk| chunk.rows().clone()).chain(write.inserts.iter().cloned());
        for rows in rows.collect::<Vec<Arc<RowBatch>>>() {
            self.note_ids(&rows);
            self.memtable.append(Chunk::new(rows, Born::All(ts), memory), memory);
        }
        drop(staged.chunks);
        for row in staged.deletes.iter().chain(&write.deletes) {
            self.delete(*row, ts);
        }
    }

    /// Keeps a part of a transaction.
    pub(crate) fn stage(&mut self, txn: TxnId, write: &ShardWrite, memory: &Arc<MemoryBudget>) {
        write.inserts.iter().for_each(|rows| self.note_ids(rows));
        let staged = self.staged.entry(txn).or_default();
        for rows in write.inserts.iter().filter(|rows| !rows.row_ids.is_empty()) {
            staged.chunks.push(Arc::new(Chunk::new(rows.clone(), Born::All(Timestamp::ZERO), memory)));
        }
        if !write.deletes.is_empty() {
            Arc::make_mut(&mut staged.deletes).extend(&write.deletes);
        }
    }

    /// Whether a committed row is stored and not deleted.
    pub(crate) fn is_live(&self, row: RowId) -> bool {
        !self.tombstones.contains_key(&row) && self.memtable.position(row).is_some()
    }

    /// A row ends once: one that is unknown, or dead already, stays as it is.
    fn delete(&mut self, row: RowId, ts: Timestamp) {
        if !self.tombstones.contains_key(&row) && self.memtable.delete(row, ts) {
            self.tombstones.insert(row, ts);
        }
    }

    fn note_ids(&mut self, rows: &RowBatch) {
        if let Some(newest) = rows.row_ids.iter().max() {
            self.max_row_id = self.max_row_id.max(*newest);
        }
    }
}
