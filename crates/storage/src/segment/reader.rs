//! An opened segment. Its objects are opened, and checked, when they are first wanted.

use super::blocks::Blocks;
use super::cold::ColdLists;
use super::data_file::DataFile;
use super::lazy::Lazy;
use super::statistics::SegmentStatistics;
use super::{SegmentMeta, stored};
use crate::code_cache::CodeCache;
use crate::columns::{batch_of, conform, definition, schema_of};
use crate::key_index::KeyIndex;
use crate::objects::{ObjectMap, ObjectRef};
use crate::{LookupCode, StorageEnv, TableLayout};
use arrow::array::{ArrayRef, AsArray, FixedSizeListArray, Float32Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use arrow::record_batch::RecordBatch;
use quiver_base::{ColumnId, Error, IndexId, Result, RowId, Timestamp};
use quiver_index::{VectorColumn, VectorIndex};
use roaring::RoaringBitmap;
use std::ops::{Deref, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A segment, open for reading. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Segment {
    pub(super) meta: Arc<SegmentMeta>,
    pub(super) parts: Arc<Parts>,
    pub(super) deletes: Arc<Lazy<(), Arc<RoaringBitmap>>>,
    /// Of vectors that have no index yet.
    pub(super) codes: Arc<CodeCache>,
}

/// What has been opened, shared by the versions of a segment that differ in deletes and graphs only.
#[derive(Debug)]
pub(super) struct Parts {
    /// What the cache of decoded columns knows the segment by.
    number: u64,
    pub(super) env: Arc<StorageEnv>,
    pub(super) data: Lazy<(), Arc<DataFile>>,
    pub(super) vectors: Lazy<ColumnId, Arc<Opened<VectorColumn>>>,
    /// By object path.
    pub(super) graphs: Lazy<String, Arc<Opened<VectorIndex>>>,
    /// Vectors of indexes, by object path.
    pub(super) index_vectors: Lazy<String, Arc<Opened<VectorColumn>>>,
    /// Lists that are read in parts, by the paths of their object and their vectors'; nothing for a file that cannot be.
    pub(super) cold: Lazy<(String, String), Option<Arc<ColdLists>>>,
    pub(super) keys: Lazy<(IndexId, Vec<ColumnId>), Arc<KeyIndex>>,
    pub(super) lookups: Lazy<(IndexId, ColumnId, LookupCode), Arc<KeyIndex>>,
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.env.columns.forget(self.number);
    }
}

/// A part and the mapping that it reads.
#[derive(Debug)]
pub struct Opened<T> {
    part: T,
    _map: Arc<ObjectMap>,
}

impl<T> Opened<T> {
    pub(super) fn new(part: T, map: Arc<ObjectMap>) -> Opened<T> {
        Opened { part, _map: map }
    }
}

impl<T> Deref for Opened<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.part
    }
}

/// Which rows to read.
#[derive(Clone)]
enum Rows<'a> {
    Range(Range<u32>),
    Positions(&'a [u32]),
}

impl Rows<'_> {
    fn len(&self) -> usize {
        match self {
            Rows::Range(range) => range.len(),
            Rows::Positions(positions) => positions.len(),
        }
    }

    fn iter(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        match self {
            Rows::Range(range) => Box::new(range.clone()),
            Rows::Positions(positions) => Box::new(positions.iter().copied()),
        }
    }
}

impl Segment {
    /// Opens no object.
    pub fn new(env: &Arc<StorageEnv>, meta: Arc<SegmentMeta>) -> Segment {
        static OPENED: AtomicU64 = AtomicU64::new(0);
        let parts = Arc::new(Parts {
            number: OPENED.fetch_add(1, Ordering::Relaxed),
            env: env.clone(),
            data: Lazy::default(),
            vectors: Lazy::default(),
            graphs: Lazy::default(),
            index_vectors: Lazy::default(),
            cold: Lazy::default(),
            keys: Lazy::default(),
            lookups: Lazy::default(),
        });
        Segment { meta, parts, deletes: Arc::default(), codes: Arc::default() }
    }

    /// The same segment as another version of the manifest has it; what is open is shared.
    pub fn with_meta(&self, meta: Arc<SegmentMeta>) -> Segment {
        if meta.data != self.meta.data {
            return Segment::new(&self.parts.env, meta);
        }
        let named =
            |objects: &[(IndexId, ObjectRef)], path: &str| objects.iter().any(|(_, o)| o.path == path);
        self.parts.graphs.retain(|path| named(&meta.graphs, path));
        self.parts.index_vectors.retain(|path| named(&meta.index_vectors, path));
        self.parts.cold.retain(|(lists, _)| named(&meta.graphs, lists));
        // One that was made in memory gives way to its file.
        let has = |meta: &SegmentMeta, (id, column, code): &(IndexId, ColumnId, LookupCode)| {
            meta.lookup(*id, *column, *code).is_some()
        };
        self.parts.lookups.retain(|key| has(&meta, key) == has(&self.meta, key));
        let deletes = if meta.deletes == self.meta.deletes { self.deletes.clone() } else { Arc::default() };
        // They go with the last reader of a version that waits for an index.
        let codes = if meta.graphs == self.meta.graphs { self.codes.clone() } else { Arc::default() };
        Segment { meta, parts: self.parts.clone(), deletes, codes }
    }

    /// Whether its objects are files of this machine.
    pub fn is_local(&self) -> bool {
        self.parts.env.objects.is_local()
    }

    pub(crate) fn env(&self) -> &Arc<StorageEnv> {
        &self.parts.env
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
        Ok(self.data()?.row_groups())
    }

    /// Min, max and NULL counts of each row group, typed as `layout` has them.
    pub fn statistics(&self, layout: &TableLayout) -> Result<SegmentStatistics> {
        Ok(SegmentStatistics::new(self.data()?, layout))
    }

    /// Rows at a range of positions, typed and named by `layout`.
    pub fn read(&self, layout: &TableLayout, columns: &[ColumnId], rows: Range<u32>) -> Result<RecordBatch> {
        let count = rows.len();
        let arrays = self.read_arrays(layout, columns, rows)?;
        batch_of(schema_of(layout, columns)?, arrays, count)
    }

    /// The same without the columns' names.
    pub(super) fn read_arrays(
        &self,
        layout: &TableLayout,
        columns: &[ColumnId],
        rows: Range<u32>,
    ) -> Result<Vec<ArrayRef>> {
        if rows.start > rows.end || rows.end > self.meta.rows {
            return Err(Error::internal("rows beyond the end of a segment"));
        }
        self.arrays(layout, columns, &Rows::Range(rows))
    }

    /// Rows at any positions, in their order.
    pub fn take(&self, layout: &TableLayout, columns: &[ColumnId], positions: &[u32]) -> Result<RecordBatch> {
        let arrays = self.take_arrays(layout, columns, positions)?;
        batch_of(schema_of(layout, columns)?, arrays, positions.len())
    }

    /// The same without the columns' names.
    pub(super) fn take_arrays(
        &self,
        layout: &TableLayout,
        columns: &[ColumnId],
        positions: &[u32],
    ) -> Result<Vec<ArrayRef>> {
        if positions.iter().any(|position| *position >= self.meta.rows) {
            return Err(Error::internal("rows beyond the end of a segment"));
        }
        self.arrays(layout, columns, &Rows::Positions(positions))
    }

    fn arrays(&self, layout: &TableLayout, columns: &[ColumnId], rows: &Rows<'_>) -> Result<Vec<ArrayRef>> {
        let mut arrays = Vec::with_capacity(columns.len());
        for id in columns {
            let column = definition(layout, *id)?;
            let data_type = column.field.data_type();
            arrays.push(match (data_type, self.meta.columns.contains(id)) {
                (_, false) => conform(column, None, rows.len())?,
                (DataType::FixedSizeList(item, width), true) if self.meta.vector_file(*id).is_some() => {
                    self.read_vectors(*id, item, *width, rows)?
                }
                (_, true) => stored::convert(&self.read_stored(*id, rows)?, data_type)?,
            });
        }
        Ok(arrays)
    }

    fn read_stored(&self, id: ColumnId, rows: &Rows<'_>) -> Result<ArrayRef> {
        let file = self.data()?;
        let place =
            file.column(id).ok_or_else(|| Error::internal(format!("the segment has no column {id}")))?;
        self.read_place(&file, place, rows)
    }

    fn read_place(&self, file: &DataFile, column: usize, rows: &Rows<'_>) -> Result<ArrayRef> {
        let blocks = Blocks { file, cache: &self.parts.env.columns, segment: self.parts.number, column };
        match rows {
            Rows::Range(range) => blocks.read(range.clone()),
            Rows::Positions(positions) => blocks.take(positions),
        }
    }

    fn read_vectors(&self, id: ColumnId, item: &FieldRef, width: i32, rows: &Rows<'_>) -> Result<ArrayRef> {
        let opened =
            self.vectors(id)?.ok_or_else(|| Error::internal(format!("column {id} has no vectors")))?;
        if i32::from(opened.dim()) != width {
            return Err(Error::internal(format!("expected {width} dimensions, not {}", opened.dim())));
        }
        let mut values = Vec::with_capacity(rows.len() * width as usize);
        let mut buffer = Vec::new();
        rows.iter().for_each(|row| values.extend_from_slice(opened.widened(row, &mut buffer)));
        let nulls = NullBuffer::from_iter(rows.iter().map(|row| opened.is_present(row)));
        let nulls = (nulls.null_count() > 0).then_some(nulls);
        let values = Arc::new(Float32Array::from(values));
        Ok(Arc::new(FixedSizeListArray::try_new(item.clone(), width, values, nulls)?))
    }

    /// Row ids at a range of positions.
    pub fn row_ids(&self, rows: Range<u32>) -> Vec<RowId> {
        self.meta.row_ids.slice(rows)
    }

    /// Commit timestamps at a range of positions, override applied.
    pub fn commit_ts(&self, rows: Range<u32>) -> Result<Vec<Timestamp>> {
        if rows.start > rows.end || rows.end > self.meta.rows {
            return Err(Error::internal("rows beyond the end of a segment"));
        }
        if self.meta.oldest_ts() == self.meta.newest_ts() {
            return Ok(vec![self.meta.oldest_ts(); rows.len()]);
        }
        let file = self.data()?;
        let stored = self.read_place(&file, file.commit_ts(), &Rows::Range(rows))?;
        Ok(stored.as_primitive::<Int64Type>().values().iter().map(|ts| Timestamp(*ts as u64)).collect())
    }
}
