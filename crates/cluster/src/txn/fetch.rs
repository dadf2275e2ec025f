//! Rows read back by reference, and a new key checked over all rows.

use super::insert::blocking;
use super::{RowRef, Txn};
use crate::Table;
use crate::keys::{KeyValues, cannot_create};
use crate::layout::unique_indexes;
use arrow::array::UInt32Array;
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use quiver_base::{ColumnId, Error, IndexId, Result, RowId, ShardId};
use quiver_storage::{KeyDef, ScanRequest, Snapshot, TableLayout};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Rows of a piece of a scan over keys.
const SCAN_BATCH_ROWS: usize = 8_192;

impl Txn {
    /// Columns (all live ones, in order) of rows that this transaction can see or has locked.
    pub fn fetch(&self, table: &Arc<Table>, rows: &[RowRef]) -> Result<RecordBatch> {
        let layout = self.layout(table);
        let columns: Vec<ColumnId> = layout.columns.iter().map(|column| column.id).collect();
        let mut by_shard: BTreeMap<ShardId, (Vec<RowId>, Vec<u32>)> = BTreeMap::new();
        for (at, row) in rows.iter().enumerate() {
            let (ids, positions) = by_shard.entry(row.shard).or_default();
            ids.push(row.row);
            positions.push(at as u32);
        }
        let mut parts = Vec::new();
        let mut order = Vec::with_capacity(rows.len());
        for (shard, (ids, positions)) in by_shard {
            parts.push(self.fetch_of_shard(&layout, &columns, shard, &ids)?);
            order.extend(positions);
        }
        let Some(first) = parts.first() else {
            let fields: Vec<_> = layout.columns.iter().map(|column| column.field.clone()).collect();
            return Ok(RecordBatch::new_empty(Arc::new(Schema::new(fields))));
        };
        let fetched = concat_batches(first.schema_ref(), &parts)?;
        if order.is_sorted() {
            return Ok(fetched);
        }
        let mut inverse = vec![0_u32; order.len()];
        for (at, position) in order.into_iter().enumerate() {
            inverse[position as usize] = at as u32;
        }
        Ok(take_record_batch(&fetched, &UInt32Array::from(inverse))?)
    }

    /// A locked row is in the newest state; one that is only seen may be in the statement's snapshot alone.
    fn fetch_of_shard(
        &self,
        layout: &TableLayout,
        columns: &[ColumnId],
        shard: ShardId,
        rows: &[RowId],
    ) -> Result<RecordBatch> {
        let source = self.source();
        for read_ts in [self.lease.read_ts, self.group.last_commit()] {
            let snapshot = source.snapshot(shard, read_ts);
            let found: Option<Vec<_>> = snapshot.find(rows)?.into_iter().collect();
            if let Some(found) = found {
                return snapshot.fetch(layout, &found, columns);
            }
        }
        // Some rows are in one, some in the other.
        let parts = rows.iter().map(|row| self.fetch_one(layout, columns, shard, *row));
        let parts = parts.collect::<Result<Vec<_>>>()?;
        Ok(concat_batches(parts[0].schema_ref(), &parts)?)
    }

    fn fetch_one(
        &self,
        layout: &TableLayout,
        columns: &[ColumnId],
        shard: ShardId,
        row: RowId,
    ) -> Result<RecordBatch> {
        let source = self.source();
        for read_ts in [self.group.last_commit(), self.lease.read_ts] {
            let snapshot = source.snapshot(shard, read_ts);
            if let [Some(found)] = snapshot.find(&[row])?[..] {
                return snapshot.fetch(layout, &[found], columns);
            }
        }
        Err(Error::internal(format!("row {row} of shard {shard} cannot be seen")))
    }

    /// Checks a new key over the rows a table has; 23505 naming a duplicate. The caller holds the exclusive lock.
    pub async fn check_unique(&self, table: &Arc<Table>, index: IndexId) -> Result<()> {
        let Some(index) = unique_indexes(table).find(|candidate| candidate.id == index) else {
            return Err(Error::internal(format!("table {} has no unique index {index}", table.id)));
        };
        let key = KeyDef { id: index.id, columns: index.columns.iter().map(|key| key.column).collect() };
        let newest = self.group.last_commit();
        let source = self.source();
        let snapshots: Vec<_> = table.shards.iter().map(|shard| source.snapshot(*shard, newest)).collect();
        let (table, layout, schema) = (table.clone(), self.layout(table), self.schema_name(table));
        blocking(move || find_duplicate(&table, &schema, &layout, &key, &snapshots)).await
    }
}

fn find_duplicate(
    table: &Table,
    schema: &str,
    layout: &TableLayout,
    key: &KeyDef,
    snapshots: &[Arc<Snapshot>],
) -> Result<()> {
    let narrow = TableLayout {
        columns: key.columns.iter().filter_map(|id| layout.column(*id)).cloned().collect(),
        ..TableLayout::default()
    };
    let request = ScanRequest { columns: key.columns.clone(), filter: None, batch_rows: SCAN_BATCH_ROWS };
    let mut seen: HashSet<Vec<u8>> = HashSet::new();
    for snapshot in snapshots {
        for part in snapshot.scan_parts(layout, &request)? {
            for batch in snapshot.scan_part(layout, &request, &part)? {
                let mut values = KeyValues::new(&narrow, key, &batch.batch)?;
                for row in 0..values.encoded.len() {
                    let Some((bytes, _)) = values.encoded[row].take() else { continue };
                    if !seen.insert(bytes) {
                        return Err(cannot_create(table, schema, &values, row));
                    }
                }
            }
        }
    }
    Ok(())
}
