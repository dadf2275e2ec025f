//! Keys of rows that a transaction has inserted and still buffers, so that its next rows are checked against them without
//! indexing the buffer again for every statement.

use super::buffer::Buffer;
use super::{RowRef, Txn};
use crate::keys::KeyValues;
use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;
use quiver_base::{ColumnId, Error, FIELD_ID_KEY, IndexId, Result, ShardId};
use quiver_storage::{encode_key, key_hash};
use std::collections::HashMap;

/// Rows by index and key hash.
#[derive(Debug, Default)]
pub(super) struct OwnKeys(HashMap<IndexId, HashMap<u64, Vec<OwnKey>>>);

#[derive(Clone, Copy, Debug)]
struct OwnKey {
    row: RowRef,
    /// The buffer's position before the row went in.
    position: usize,
}

impl OwnKeys {
    /// Makes sure that the index knows every buffered row: it may be younger than they are.
    pub(super) fn cover(
        &mut self,
        index: IndexId,
        columns: &[ColumnId],
        shards: &[ShardId],
        buffer: &Buffer,
    ) -> Result<()> {
        if self.0.contains_key(&index) {
            return Ok(());
        }
        let mut keys: HashMap<u64, Vec<OwnKey>> = HashMap::new();
        for shard in shards {
            let Some(part) = buffer.shard(*shard) else { continue };
            let positions = buffer.insert_positions(*shard);
            for batch in &part.inserts {
                let values = columns_by_id(&batch.batch, columns)?;
                for (at, row) in batch.row_ids.iter().enumerate() {
                    let Some(key) = encode_key(&values, at)? else { continue };
                    let after = positions.partition_point(|(first, _)| first <= row);
                    let position = after.checked_sub(1).map_or(0, |at| positions[at].1);
                    let row = RowRef { shard: *shard, row: *row };
                    keys.entry(key_hash(&key)).or_default().push(OwnKey { row, position });
                }
            }
        }
        self.0.insert(index, keys);
        Ok(())
    }

    /// The buffered row that has the key, if this transaction has not ended it. Rows in other shards than the table's are of
    /// before a TRUNCATE or a rewrite.
    pub(super) fn find(
        &self,
        key: &KeyValues,
        row: usize,
        shards: &[ShardId],
        buffer: &Buffer,
    ) -> Result<Option<RowRef>> {
        let Some((bytes, hash)) = &key.encoded[row] else { return Ok(None) };
        let candidates = self.0.get(&key.def.id).and_then(|keys| keys.get(hash));
        for OwnKey { row, .. } in candidates.into_iter().flatten() {
            if !shards.contains(&row.shard) || buffer.is_deleted(row.shard, row.row) {
                continue;
            }
            let Some((batch, at)) = buffer.shard(row.shard).and_then(|part| part.find(row.row)) else {
                continue;
            };
            let values = columns_by_id(&batch.batch, &key.def.columns)?;
            if encode_key(&values, at)?.as_ref() == Some(bytes) {
                return Ok(Some(*row));
            }
        }
        Ok(None)
    }

    pub(super) fn add(&mut self, index: IndexId, hash: u64, row: RowRef, position: usize) {
        self.0.entry(index).or_default().entry(hash).or_default().push(OwnKey { row, position });
    }

    /// Forgets rows inserted at or after a position.
    pub(super) fn truncate(&mut self, position: usize) {
        for keys in self.0.values_mut() {
            keys.retain(|_, rows| {
                rows.retain(|own| own.position < position);
                !rows.is_empty()
            });
        }
    }

    /// Nothing is buffered any more.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// Columns of a stored batch. A column younger than the batch cannot be in a key of its rows but as NULL, so none is an error.
fn columns_by_id(batch: &RecordBatch, ids: &[ColumnId]) -> Result<Vec<ArrayRef>> {
    let schema = batch.schema_ref();
    let position = |id: &ColumnId| {
        let wanted = id.to_string();
        schema.fields().iter().position(|field| field.metadata().get(FIELD_ID_KEY) == Some(&wanted))
    };
    let column = |id: &ColumnId| {
        position(id).map(|at| batch.column(at).clone()).ok_or_else(|| {
            Error::unsupported("a key over a column that was added in the same transaction as its rows")
        })
    };
    ids.iter().map(column).collect()
}

impl Txn {
    /// Makes the own rows' keys of every unique index known.
    pub(super) fn cover_own_keys(&mut self, keys: &[KeyValues], shards: &[ShardId]) -> Result<()> {
        for key in keys {
            self.own_keys.cover(key.def.id, &key.def.columns, shards, &self.buffer)?;
        }
        Ok(())
    }
}
