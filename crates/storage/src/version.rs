//! What a shard holds at one position of the log: an immutable value that snapshots share and apply replaces.

use crate::chunk::{Born, Chunk};
use crate::memtable::Memtable;
use crate::rows::RowBatch;
use crate::sealed::Sealed;
use crate::{ShardWrite, StorageEnv};
use imbl::OrdMap;
use quiver_base::{RowId, SegmentId, Timestamp, TxnId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Everything that apply changes. A clone shares what did not change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Version {
    /// Sealed rows, in the order in which the segments were published.
    pub(crate) segments: Vec<Sealed>,
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
    /// Rows that were written out before the transaction ended.
    pub(crate) segments: Vec<Sealed>,
    /// How many batches those rows came in.
    pub(crate) spilled_batches: u64,
    /// Rows after those, visible to the transaction only; one chunk a batch.
    pub(crate) chunks: Vec<Arc<Chunk>>,
    /// Rows it ends.
    pub(crate) deletes: Arc<Vec<RowId>>,
}

impl Staged {
    /// Bytes of the rows in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.bytes()).sum()
    }
}

impl Version {
    /// Makes a write visible, and what its transaction staged before.
    pub(crate) fn commit(
        &mut self,
        ts: Timestamp,
        write: &ShardWrite,
        staged: Option<TxnId>,
        env: &Arc<StorageEnv>,
    ) {
        self.newest_ts = self.newest_ts.max(ts);
        let staged = staged.and_then(|txn| self.staged.remove(&txn)).unwrap_or_default();
        for sealed in staged.segments {
            let mut meta = sealed.meta().clone();
            meta.commit_override = Some(ts);
            self.segments.push(sealed.with_meta(meta));
        }
        for chunk in staged.chunks {
            self.append(chunk.rows().clone(), ts, env);
        }
        for rows in &write.inserts {
            self.append(rows.clone(), ts, env);
        }
        for row in staged.deletes.iter().chain(&write.deletes) {
            self.delete(*row, ts);
        }
    }

    fn append(&mut self, rows: Arc<RowBatch>, ts: Timestamp, env: &Arc<StorageEnv>) {
        self.note_ids(&rows);
        self.memtable.append(Chunk::new(rows, Born::All(ts), &env.memory), &env.memory);
    }

    /// Keeps a part of a transaction.
    pub(crate) fn stage(&mut self, txn: TxnId, write: &ShardWrite, env: &Arc<StorageEnv>) {
        write.inserts.iter().for_each(|rows| self.note_ids(rows));
        let staged = self.staged.entry(txn).or_default();
        for rows in &write.inserts {
            staged.chunks.push(Arc::new(Chunk::new(rows.clone(), Born::All(Timestamp::ZERO), &env.memory)));
        }
        if !write.deletes.is_empty() {
            Arc::make_mut(&mut staged.deletes).extend(&write.deletes);
        }
    }

    /// Whether a committed row is stored and not known to be deleted. Published bitmaps are not looked at.
    pub(crate) fn is_stored(&self, row: RowId) -> bool {
        !self.tombstones.contains_key(&row)
            && (self.memtable.position(row).is_some() || self.sealed_position(row).is_some())
    }

    /// The segment that holds a row, and where.
    pub(crate) fn sealed_position(&self, row: RowId) -> Option<(usize, u32)> {
        self.segments.iter().enumerate().find_map(|(at, sealed)| Some((at, sealed.position(row)?)))
    }

    /// The segment with this id.
    pub(crate) fn segment(&self, id: SegmentId) -> Option<&Sealed> {
        self.segments.iter().find(|sealed| sealed.meta().id == id)
    }

    /// Every segment, those of transactions that have not ended too.
    pub(crate) fn all_segments(&self) -> impl Iterator<Item = &Sealed> {
        self.segments.iter().chain(self.staged.values().flat_map(|staged| &staged.segments))
    }

    /// A row ends once: one that is unknown, or dead already, stays as it is.
    pub(crate) fn delete(&mut self, row: RowId, ts: Timestamp) {
        if self.tombstones.contains_key(&row) {
            return;
        }
        if !self.memtable.delete(row, ts) {
            let Some((segment, position)) = self.sealed_position(row) else { return };
            self.segments[segment].deletes.push(position, ts);
        }
        self.tombstones.insert(row, ts);
    }

    fn note_ids(&mut self, rows: &RowBatch) {
        if let Some(newest) = rows.row_ids.iter().max() {
            self.max_row_id = self.max_row_id.max(*newest);
        }
    }
}
