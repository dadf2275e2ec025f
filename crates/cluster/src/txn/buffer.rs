//! What a transaction has written and not yet sent to the log, by shard, in an order that savepoints can cut. Knows no locks.

use arrow::array::BooleanArray;
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::record_batch::RecordBatch;
use quiver_base::{Result, RowId, ShardId};
use quiver_storage::{RowBatch, ShardWrite};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Buffered writes of one transaction.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    written: Arc<Written>,
    ops: Vec<Op>,
    /// Row versions that ended and that the log has not been told of.
    pending_deletes: BTreeMap<ShardId, Vec<RowId>>,
    bytes: usize,
}

/// What the transaction's own reads see of it. A reader keeps one, so cloning it must stay cheap however many statements
/// there have been: small batches are merged.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written {
    shards: BTreeMap<ShardId, ShardBuffer>,
}

/// One shard's part.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShardBuffer {
    /// Rows, each batch with ids above those of the batches before.
    pub(crate) inserts: Vec<Arc<RowBatch>>,
    /// All row versions that this transaction ended, staged ones included.
    pub(crate) deletes: Arc<HashSet<RowId>>,
    /// First id and one past the last of runs of rows that it inserted, staged ones included; ascending.
    own_rows: Vec<(u64, u64)>,
}

#[derive(Clone, Debug)]
enum Op {
    /// Rows of the shard from an id on.
    Insert {
        shard: ShardId,
        first: RowId,
        bytes: usize,
    },
    Delete {
        shard: ShardId,
        count: usize,
    },
}

/// Batches are merged up to this many rows.
const MERGED_ROWS_MAX: usize = 8_192;
/// And up to about this many bytes.
const MERGED_BYTES_MAX: usize = 1 << 20;

impl Written {
    pub(crate) fn shard(&self, shard: ShardId) -> Option<&ShardBuffer> {
        self.shards.get(&shard)
    }
}

impl ShardBuffer {
    pub(crate) fn is_empty(&self) -> bool {
        self.inserts.is_empty() && self.deletes.is_empty()
    }

    /// Whether this transaction inserted the row.
    pub(crate) fn is_own(&self, row: RowId) -> bool {
        let after = self.own_rows.partition_point(|(start, _)| *start <= row.0);
        after > 0 && row.0 < self.own_rows[after - 1].1
    }

    /// The batch and position of a row that is still buffered.
    pub(crate) fn find(&self, row: RowId) -> Option<(&Arc<RowBatch>, usize)> {
        let starts_before = |batch: &Arc<RowBatch>| batch.row_ids.first().is_some_and(|first| *first <= row);
        let after = self.inserts.partition_point(starts_before);
        let batch = self.inserts.get(after.checked_sub(1)?)?;
        Some((batch, batch.row_ids.binary_search(&row).ok()?))
    }

    fn push(&mut self, rows: RowBatch) {
        let (Some(first), Some(last)) = (rows.row_ids.first(), rows.row_ids.last()) else { return };
        match self.own_rows.last_mut() {
            Some((_, end)) if *end == first.0 => *end = last.0 + 1,
            _ => self.own_rows.push((first.0, last.0 + 1)),
        }
        self.inserts.push(Arc::new(rows));
        while let [.., older, newer] = self.inserts.as_slice() {
            let Some(merged) = merged(older, newer) else { break };
            self.inserts.truncate(self.inserts.len() - 2);
            self.inserts.push(Arc::new(merged));
        }
    }

    /// Takes back all rows from an id on.
    fn cut(&mut self, from: RowId) {
        while let Some(last) = self.inserts.last() {
            let keep = last.row_ids.partition_point(|row| *row < from);
            if keep == last.row_ids.len() {
                break;
            }
            let kept = RowBatch { batch: last.batch.slice(0, keep), row_ids: last.row_ids[..keep].to_vec() };
            self.inserts.pop();
            if keep > 0 {
                self.inserts.push(Arc::new(kept));
            }
        }
        self.own_rows.retain(|(start, _)| *start < from.0);
        if let Some((_, end)) = self.own_rows.last_mut() {
            *end = (*end).min(from.0);
        }
    }

    /// What is to be made durable: rows that came and went within the transaction are left out.
    fn to_write(&self, pending_deletes: &[RowId]) -> Result<ShardWrite> {
        let mut write = ShardWrite::default();
        for batch in &self.inserts {
            write.inserts.extend(without(batch, &self.deletes)?);
        }
        let buffered = |row: &&RowId| self.find(**row).is_none();
        write.deletes = pending_deletes.iter().filter(buffered).copied().collect();
        Ok(write)
    }
}

/// Two neighbours as one, if the older is not the larger: then each row is copied a few times only.
fn merged(older: &RowBatch, newer: &RowBatch) -> Option<RowBatch> {
    let rows = older.row_ids.len() + newer.row_ids.len();
    let fits = older.row_ids.len() <= newer.row_ids.len() && rows <= MERGED_ROWS_MAX;
    if !fits || older.batch.schema_ref() != newer.batch.schema_ref() {
        return None;
    }
    if batch_bytes(&older.batch) + batch_bytes(&newer.batch) > MERGED_BYTES_MAX {
        return None;
    }
    // A merge that fails leaves two batches, which are as good.
    let batch = concat_batches(older.batch.schema_ref(), [&older.batch, &newer.batch]).ok()?;
    let row_ids = older.row_ids.iter().chain(&newer.row_ids).copied().collect();
    Some(RowBatch { batch, row_ids })
}

/// The rows of a batch that are not in `gone`; `None` if that is none.
fn without(batch: &Arc<RowBatch>, gone: &HashSet<RowId>) -> Result<Option<Arc<RowBatch>>> {
    let keep: Vec<bool> = match gone.is_empty() {
        true => return Ok(Some(batch.clone())),
        false => batch.row_ids.iter().map(|row| !gone.contains(row)).collect(),
    };
    match keep.iter().filter(|keep| **keep).count() {
        0 => Ok(None),
        all if all == keep.len() => Ok(Some(batch.clone())),
        _ => {
            let row_ids = batch.row_ids.iter().zip(&keep).filter(|(_, keep)| **keep).map(|(row, _)| *row);
            let row_ids = row_ids.collect();
            let batch = filter_record_batch(&batch.batch, &BooleanArray::from(keep))?;
            Ok(Some(Arc::new(RowBatch { batch, row_ids })))
        }
    }
}

impl Buffer {
    /// As it is now, for a reader.
    pub(crate) fn written(&self) -> &Arc<Written> {
        &self.written
    }

    pub(crate) fn shard(&self, shard: ShardId) -> Option<&ShardBuffer> {
        self.written.shard(shard)
    }

    fn shard_mut(&mut self, shard: ShardId) -> &mut ShardBuffer {
        Arc::make_mut(&mut self.written).shards.entry(shard).or_default()
    }

    /// About how much the log has to be told.
    pub(crate) fn pending_bytes(&self) -> usize {
        let deletes: usize = self.pending_deletes.values().map(Vec::len).sum();
        self.bytes + deletes * size_of::<RowId>()
    }

    /// Bytes of buffered rows.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing is buffered that the log has not seen.
    pub(crate) fn is_flushed(&self) -> bool {
        self.written.shards.values().all(|shard| shard.inserts.is_empty())
            && self.pending_deletes.values().all(Vec::is_empty)
    }

    /// A point to come back to; also the order of writes.
    pub(crate) fn position(&self) -> usize {
        self.ops.len()
    }

    /// The first row id of each insert into a shard that is still buffered, with the position before it; ascending.
    pub(crate) fn insert_positions(&self, shard: ShardId) -> Vec<(RowId, usize)> {
        let position = |(position, op): (usize, &Op)| match op {
            Op::Insert { shard: at, first, .. } if *at == shard => Some((*first, position)),
            _ => None,
        };
        self.ops.iter().enumerate().filter_map(position).collect()
    }

    pub(crate) fn insert(&mut self, shard: ShardId, rows: RowBatch) {
        let Some(first) = rows.row_ids.first().copied() else { return };
        let bytes = batch_bytes(&rows.batch);
        self.shard_mut(shard).push(rows);
        self.bytes += bytes;
        self.ops.push(Op::Insert { shard, first, bytes });
    }

    /// Ends rows; returns how many had not been ended before.
    pub(crate) fn delete(&mut self, shard: ShardId, rows: impl IntoIterator<Item = RowId>) -> usize {
        let pending = self.pending_deletes.entry(shard).or_default();
        let before = pending.len();
        let part = Arc::make_mut(&mut self.written).shards.entry(shard).or_default();
        let deletes = Arc::make_mut(&mut part.deletes);
        pending.extend(rows.into_iter().filter(|row| deletes.insert(*row)));
        let count = pending.len() - before;
        if count > 0 {
            self.ops.push(Op::Delete { shard, count });
        }
        count
    }

    /// Whether this transaction ended the row.
    pub(crate) fn is_deleted(&self, shard: ShardId, row: RowId) -> bool {
        self.shard(shard).is_some_and(|part| part.deletes.contains(&row))
    }

    /// Undoes everything after a position.
    pub(crate) fn truncate(&mut self, position: usize) {
        for op in self.ops.split_off(position.min(self.ops.len())).into_iter().rev() {
            match op {
                Op::Insert { shard, first, bytes } => {
                    self.shard_mut(shard).cut(first);
                    self.bytes -= bytes;
                }
                Op::Delete { shard, count } => {
                    let pending = self.pending_deletes.entry(shard).or_default();
                    let undone = pending.split_off(pending.len() - count);
                    let deletes = Arc::make_mut(&mut self.shard_mut(shard).deletes);
                    for row in undone {
                        deletes.remove(&row);
                    }
                }
            }
        }
    }

    /// What the log has to be told, by shard.
    pub(crate) fn to_writes(&self) -> Result<Vec<(ShardId, ShardWrite)>> {
        let mut writes = Vec::new();
        for (shard, part) in &self.written.shards {
            let pending = self.pending_deletes.get(shard).map_or(&[][..], Vec::as_slice);
            let write = part.to_write(pending)?;
            if !write.is_empty() {
                writes.push((*shard, write));
            }
        }
        Ok(writes)
    }

    /// The log has been told everything. Savepoints from before are void.
    pub(crate) fn set_flushed(&mut self) {
        for part in Arc::make_mut(&mut self.written).shards.values_mut() {
            part.inserts.clear();
        }
        self.pending_deletes.clear();
        self.ops.clear();
        self.bytes = 0;
    }
}

/// Bytes of a batch's rows, though it may be a slice of a larger one.
pub(crate) fn batch_bytes(batch: &RecordBatch) -> usize {
    let sizes = batch.columns().iter().map(|column| column.to_data().get_slice_memory_size());
    sizes.map(|size| size.unwrap_or_default()).sum()
}

/// Cuts a write into pieces of about `bytes_max`, so that each fits an entry.
pub(crate) fn split_write(write: ShardWrite, bytes_max: usize) -> Vec<ShardWrite> {
    let mut pieces = Vec::new();
    let mut piece = ShardWrite::default();
    let mut piece_bytes = 0;
    for batch in write.inserts {
        let rows = batch.row_ids.len();
        let row_bytes = (batch_bytes(&batch.batch) / rows.max(1)).max(1);
        let rows_max = (bytes_max / row_bytes).max(1);
        for start in (0..rows).step_by(rows_max) {
            let count = rows_max.min(rows - start);
            if piece_bytes + count * row_bytes > bytes_max && !piece.is_empty() {
                pieces.push(std::mem::take(&mut piece));
                piece_bytes = 0;
            }
            piece.inserts.push(Arc::new(RowBatch {
                batch: batch.batch.slice(start, count),
                row_ids: batch.row_ids[start..start + count].to_vec(),
            }));
            piece_bytes += count * row_bytes;
        }
    }
    for deletes in write.deletes.chunks((bytes_max / 8).max(1)) {
        if piece_bytes + deletes.len() * 8 > bytes_max && !piece.is_empty() {
            pieces.push(std::mem::take(&mut piece));
            piece_bytes = 0;
        }
        piece.deletes.extend_from_slice(deletes);
        piece_bytes += deletes.len() * 8;
    }
    if !piece.is_empty() {
        pieces.push(piece);
    }
    pieces
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // tests
    use super::*;
    use arrow::array::{ArrayRef, Int64Array};

    fn rows(ids: std::ops::Range<u64>) -> RowBatch {
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values(ids.clone().map(|id| id as i64)));
        RowBatch {
            batch: RecordBatch::try_from_iter([("v", values)]).unwrap(),
            row_ids: ids.map(RowId).collect(),
        }
    }

    const SHARD: ShardId = ShardId(1);

    #[test]
    fn a_rollback_leaves_what_was_before() {
        let mut buffer = Buffer::default();
        buffer.insert(SHARD, rows(10..20));
        assert_eq!(buffer.delete(SHARD, [RowId(1), RowId(12), RowId(1)]), 2);
        let position = buffer.position();
        let (seen, bytes) = (buffer.written().clone(), buffer.bytes());
        buffer.insert(SHARD, rows(20..30));
        buffer.delete(SHARD, [RowId(2), RowId(13), RowId(25), RowId(12)]);
        buffer.truncate(position);
        let (part, before) = (buffer.shard(SHARD).unwrap(), seen.shard(SHARD).unwrap());
        assert_eq!(part.deletes, before.deletes);
        assert_eq!(part.inserts.len(), 1);
        assert_eq!(buffer.bytes(), bytes);
        assert!(part.is_own(RowId(19)) && !part.is_own(RowId(20)) && !part.is_own(RowId(9)));
        let [(shard, write)] = &buffer.to_writes().unwrap()[..] else { panic!("one shard") };
        assert_eq!((*shard, write.deletes.as_slice()), (SHARD, &[RowId(1)][..]));
        assert_eq!(write.inserts[0].row_ids.len(), 9);
        buffer.set_flushed();
        assert!(buffer.is_flushed() && buffer.is_deleted(SHARD, RowId(12)));
        assert!(buffer.shard(SHARD).unwrap().is_own(RowId(11)));
    }

    #[test]
    fn many_small_inserts_stay_a_short_list_that_can_be_cut_anywhere() {
        let mut buffer = Buffer::default();
        let mut positions = Vec::new();
        for id in 0..1_000 {
            positions.push(buffer.position());
            // Another transaction takes an id now and then.
            buffer.insert(SHARD, rows(id + id / 100..id + id / 100 + 1));
        }
        assert!(buffer.shard(SHARD).unwrap().inserts.len() <= 10);
        assert_eq!(buffer.insert_positions(SHARD).len(), 1_000);
        for keep in [999, 640, 639, 101, 1, 0] {
            buffer.truncate(positions[keep]);
            let part = buffer.shard(SHARD).unwrap();
            let ids: Vec<u64> =
                part.inserts.iter().flat_map(|batch| &batch.row_ids).map(|row| row.0).collect();
            let expected: Vec<u64> = (0..keep as u64).map(|id| id + id / 100).collect();
            assert_eq!(ids, expected);
            assert!((0..1_010).all(|row| part.is_own(RowId(row)) == expected.contains(&row)), "{keep}");
            assert!(expected.iter().all(|row| part.find(RowId(*row)).is_some()));
        }
        assert_eq!(buffer.bytes(), 0);
    }

    #[test]
    fn pieces_hold_every_row_and_delete_once() {
        let write = ShardWrite {
            inserts: vec![Arc::new(rows(0..100)), Arc::new(rows(100..101)), Arc::new(rows(101..140))],
            deletes: (500..600).map(RowId).collect(),
        };
        let pieces = split_write(write, 256);
        assert!(pieces.len() > 5);
        let ids: Vec<u64> =
            pieces.iter().flat_map(|p| &p.inserts).flat_map(|b| b.row_ids.iter().map(|id| id.0)).collect();
        assert_eq!(ids, (0..140).collect::<Vec<_>>());
        for batch in pieces.iter().flat_map(|piece| &piece.inserts) {
            assert_eq!(batch.batch.num_rows(), batch.row_ids.len());
        }
        assert_eq!(pieces.iter().map(|piece| piece.deletes.len()).sum::<usize>(), 100);
    }
}
