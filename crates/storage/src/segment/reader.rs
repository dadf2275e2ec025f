//! An opened segment. Its objects are opened, and checked, when they are first wanted.

use crate::objects::ObjectRef;
use crate::{
    ColumnStats, DeletesRef, JobControl, KeyDef, SegmentMeta, StorageEnv, TableLayout, VectorIndexDef,
};
use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;
use quiver_base::{ColumnId, Error, IndexId, Result, RowId, ShardId, Timestamp};
use quiver_index::{HnswGraph, VectorColumn};
use roaring::RoaringBitmap;
use std::ops::Range;
use std::sync::Arc;

/// A row that has a wanted key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyMatch {
    /// Which of the wanted keys.
    pub wanted: usize,
    /// The row's position.
    pub position: u32,
}

/// A segment, open for reading.
#[derive(Debug)]
pub struct Segment {
    env: Arc<StorageEnv>,
    meta: Arc<SegmentMeta>,
}

/// Statistics of each row group.
#[derive(Debug)]
pub struct SegmentStatistics {}

impl Segment {
    /// Opens no object.
    pub fn new(env: &Arc<StorageEnv>, meta: Arc<SegmentMeta>) -> Segment {
        Segment { env: env.clone(), meta }
    }

    /// The same segment as another version of the manifest has it; what is open is shared.
    pub fn with_meta(&self, meta: Arc<SegmentMeta>) -> Segment {
        Segment { env: self.env.clone(), meta }
    }

    /// What the manifest says.
    pub fn meta(&self) -> &Arc<SegmentMeta> {
        &self.meta
    }

    /// Rows, dead ones included.
    pub fn rows(&self) -> u32 {
        self.meta.rows
    }

    /// The rows of each row group, in order.
    pub fn row_groups(&self) -> Result<Vec<Range<u32>>> {
        Err(Error::unsupported("reading a segment"))
    }

    /// Min, max and NULL counts of each row group, typed as `layout` has them.
    pub fn statistics(&self, _layout: &TableLayout) -> Result<SegmentStatistics> {
        Err(Error::unsupported("reading a segment"))
    }

    /// Rows at a range of positions, typed and named by `layout`.
    pub fn read(
        &self,
        _layout: &TableLayout,
        _columns: &[ColumnId],
        _rows: Range<u32>,
    ) -> Result<RecordBatch> {
        Err(Error::unsupported("reading a segment"))
    }

    /// Rows at any positions, in their order.
    pub fn take(
        &self,
        _layout: &TableLayout,
        _columns: &[ColumnId],
        _positions: &[u32],
    ) -> Result<RecordBatch> {
        Err(Error::unsupported("reading a segment"))
    }

    /// Row ids at a range of positions.
    pub fn row_ids(&self, rows: Range<u32>) -> Vec<RowId> {
        self.meta.row_ids.slice(rows)
    }

    /// Commit timestamps at a range of positions, override applied.
    pub fn commit_ts(&self, _rows: Range<u32>) -> Result<Vec<Timestamp>> {
        Err(Error::unsupported("reading a segment"))
    }

    /// The flat file of a `vector(n)` column; `None` if the segment has no such column.
    pub fn vectors(&self, _column: ColumnId) -> Result<Option<Arc<VectorColumn>>> {
        Err(Error::unsupported("reading a segment"))
    }

    /// The graph of a vector index; `None` if it has not been built.
    pub fn graph(&self, _index: IndexId) -> Result<Option<Arc<HnswGraph>>> {
        Err(Error::unsupported("reading a segment"))
    }

    /// Positions of rows that the published bitmap says are dead.
    pub fn deletes(&self) -> Result<Option<Arc<RoaringBitmap>>> {
        Err(Error::unsupported("reading a segment"))
    }

    /// Rows, dead ones included, that have one of the wanted keys, compared by value. `wanted` are encodings by
    /// [`crate::encode_key`]. A segment that has no file for the key makes an index in memory, once.
    pub fn find_keys(
        &self,
        _layout: &TableLayout,
        _key: &KeyDef,
        _wanted: &[&[u8]],
    ) -> Result<Vec<KeyMatch>> {
        Err(Error::unsupported("reading a segment"))
    }

    /// Builds the graph of an index and makes it durable; not in the meta until a publish puts it there.
    pub fn build_graph(
        &self,
        _shard: ShardId,
        _index: &VectorIndexDef,
        _control: &JobControl,
    ) -> Result<ObjectRef> {
        Err(Error::unsupported("building a graph"))
    }

    /// Makes a bitmap of dead positions durable; not in the meta until a publish puts it there.
    pub fn write_deletes(
        &self,
        _shard: ShardId,
        _as_of: Timestamp,
        _dead: &RoaringBitmap,
    ) -> Result<DeletesRef> {
        Err(Error::unsupported("writing deletes"))
    }

    /// Reads and checks every object; an error names the damaged one.
    pub fn verify(&self) -> Result<()> {
        Err(Error::unsupported("verifying a segment"))
    }
}

impl ColumnStats for SegmentStatistics {
    fn containers(&self) -> usize {
        0
    }
    fn min(&self, _column: ColumnId) -> Option<ArrayRef> {
        None
    }
    fn max(&self, _column: ColumnId) -> Option<ArrayRef> {
        None
    }
    fn null_counts(&self, _column: ColumnId) -> Option<ArrayRef> {
        None
    }
    fn row_counts(&self) -> ArrayRef {
        Arc::new(arrow::array::UInt64Array::from(Vec::<u64>::new()))
    }
}
