//! Rows become the objects of a segment: Parquet, flat vector files, key indexes.

use crate::{SegmentMeta, StorageEnv, TableLayout};
use arrow::record_batch::RecordBatch;
use quiver_base::{Error, Result, RowId, SegmentId, ShardId, Timestamp};
use std::sync::Arc;

/// Writes one segment. Dropped before [`SegmentWriter::finish`], it leaves no object of a manifest.
#[derive(Debug)]
pub struct SegmentWriter {}

impl SegmentWriter {
    /// Begins a segment with the columns and keys of `layout`.
    pub fn new(
        _env: &Arc<StorageEnv>,
        _shard: ShardId,
        _segment: SegmentId,
        _layout: &TableLayout,
    ) -> Result<SegmentWriter> {
        Err(Error::unsupported("writing a segment"))
    }

    /// Adds rows. Columns are found by [`quiver_base::FIELD_ID_KEY`]: those that the layout lacks are left out, those that the
    /// batch lacks get the layout's missing value. Row ids must ascend over all calls.
    pub fn append(
        &mut self,
        _batch: &RecordBatch,
        _row_ids: &[RowId],
        _commit_ts: &[Timestamp],
    ) -> Result<()> {
        Err(Error::unsupported("writing a segment"))
    }

    /// Makes all objects durable. The meta has no graphs, no deletes and no commit override.
    pub fn finish(self) -> Result<SegmentMeta> {
        Err(Error::unsupported("writing a segment"))
    }
}
