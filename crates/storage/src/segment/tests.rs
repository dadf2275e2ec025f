//! Segments: written, read back, damaged.

#![allow(clippy::unwrap_used)] // tests

mod corruption;
mod keys;
mod lookups;
mod remote;
mod round_trip;

use crate::objects::{Objects, RealFs};
use crate::{
    ColumnDef, KeyDef, Segment, SegmentMeta, SegmentWriter, StorageEnv, StorageOptions, TableLayout,
};
use arrow::array::ArrayRef;
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use quiver_base::{
    ColumnId, FIELD_ID_KEY, IndexId, MemoryBudget, RowId, SegmentId, ShardId, SqlType, Timestamp,
};
use std::sync::Arc;
use tempfile::TempDir;

pub(super) struct Fixture {
    pub(super) dir: TempDir,
    pub(super) env: Arc<StorageEnv>,
}

pub(super) const SHARD: ShardId = ShardId(7);

/// Row groups of 100 rows.
pub(super) fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let objects = Objects::local(dir.path(), Arc::new(RealFs)).unwrap();
    let options = StorageOptions { row_group_rows: 100, ..StorageOptions::default() };
    Fixture { env: StorageEnv::new(objects, MemoryBudget::unlimited(), options), dir }
}

pub(super) fn column(id: u16, name: &str, ty: &SqlType) -> ColumnDef {
    let field = ty.field(name, true);
    let mut metadata = field.metadata().clone();
    metadata.insert(FIELD_ID_KEY.to_owned(), id.to_string());
    ColumnDef { id: ColumnId(id), field: Arc::new(field.with_metadata(metadata)), missing: None }
}

pub(super) fn layout(columns: Vec<ColumnDef>) -> TableLayout {
    TableLayout { columns, ..TableLayout::default() }
}

pub(super) fn batch(layout: &TableLayout, arrays: Vec<ArrayRef>) -> RecordBatch {
    let fields: Vec<_> = layout.columns.iter().map(|column| column.field.clone()).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

pub(super) fn key(id: u32, columns: &[u16]) -> KeyDef {
    KeyDef { id: IndexId(id), columns: columns.iter().map(|id| ColumnId(*id)).collect() }
}

/// Writes a batch in pieces of `step` rows: row ids 10, 11, …, commit timestamps 100, 101, …
pub(super) fn write(
    env: &Arc<StorageEnv>,
    layout: &TableLayout,
    batch: &RecordBatch,
    step: usize,
) -> SegmentMeta {
    let mut writer = SegmentWriter::new(env, SHARD, SegmentId(3), layout).unwrap();
    for start in (0..batch.num_rows()).step_by(step) {
        let piece = batch.slice(start, step.min(batch.num_rows() - start));
        let rows = start as u64..(start + piece.num_rows()) as u64;
        let row_ids: Vec<_> = rows.clone().map(|row| RowId(row + 10)).collect();
        let commit_ts: Vec<_> = rows.map(|row| Timestamp(row + 100)).collect();
        writer.append(&piece, &row_ids, &commit_ts).unwrap();
    }
    writer.finish().unwrap()
}

pub(super) fn open(env: &Arc<StorageEnv>, meta: &SegmentMeta) -> Segment {
    Segment::new(env, Arc::new(meta.clone()))
}
