//! What a manifest says of one segment. Names objects; opens none.

use crate::LookupCode;
use crate::objects::ObjectRef;
use crate::segment::RowIds;
use quiver_base::{ColumnId, IndexId, SegmentId, Timestamp};
use serde::{Deserialize, Serialize};

/// A sealed segment: immutable rows in ascending order of row id, so that a row's position is the rank of its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentMeta {
    /// Its id in its shard.
    pub id: SegmentId,
    /// Its rows, dead ones included.
    pub rows: u32,
    /// The columns it has. Others were added later or are gone.
    pub columns: Vec<ColumnId>,
    /// The rows, as Parquet.
    pub data: ObjectRef,
    /// Checksums of its blocks, so that a few rows can be read without reading all of it first.
    pub data_blocks: Vec<u32>,
    /// One flat file for each `vector(n)` column.
    pub vectors: Vec<(ColumnId, ObjectRef)>,
    /// Vector indexes built so far: graphs and lists.
    pub graphs: Vec<(IndexId, ObjectRef)>,
    /// Flat files of the indexes among them that are over computed vectors.
    pub index_vectors: Vec<(IndexId, ObjectRef)>,
    /// Key indexes, with the columns that each is over.
    pub keys: Vec<(IndexId, Vec<ColumnId>, ObjectRef)>,
    /// Ids of its rows.
    pub row_ids: RowIds,
    /// Commit timestamp of the oldest row. Says nothing when there is an override.
    pub min_ts: Timestamp,
    /// Commit timestamp of the newest row. Says nothing when there is an override.
    pub max_ts: Timestamp,
    /// The commit timestamp of all rows, when it was not known as they were written.
    pub commit_override: Option<Timestamp>,
    /// Dead rows.
    pub deletes: Option<DeletesRef>,
    /// Files of indexes over one column.
    #[serde(default)]
    pub lookups: Vec<LookupFile>,
}

/// A file of an index over one column: the index, its column, how its values are coded.
pub(crate) type LookupFile = (IndexId, ColumnId, LookupCode, ObjectRef);

/// A published bitmap of dead rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletesRef {
    /// The bitmap of positions.
    pub object: ObjectRef,
    /// It holds every delete committed up to here.
    pub as_of: Timestamp,
    /// How many rows are dead.
    pub count: u32,
}

/// Of a larger file of rows a search reads a small part.
const SEARCHED_DATA_BYTES_MAX: u64 = 64 << 20;

impl SegmentMeta {
    /// Every object that the segment consists of.
    pub fn objects(&self) -> impl Iterator<Item = &ObjectRef> {
        std::iter::once(&self.data)
            .chain(self.vectors.iter().map(|(_, object)| object))
            .chain(self.graphs.iter().map(|(_, object)| object))
            .chain(self.index_vectors.iter().map(|(_, object)| object))
            .chain(self.keys.iter().map(|(_, _, object)| object))
            .chain(self.lookups.iter().map(|(_, _, _, object)| object))
            .chain(self.deletes.iter().map(|deletes| &deletes.object))
    }

    /// Files that any search reads: of vectors and of indexes over them, and that of rows, unless it is so large that a search reads little
    /// of it.
    pub(crate) fn searched_objects(&self) -> impl Iterator<Item = &ObjectRef> {
        let rows = (self.data.bytes <= SEARCHED_DATA_BYTES_MAX).then_some(&self.data);
        let indexes = self.graphs.iter().chain(&self.index_vectors).map(|(_, object)| object);
        rows.into_iter().chain(self.vectors.iter().map(|(_, object)| object)).chain(indexes)
    }

    /// Bytes of all its objects.
    pub fn object_bytes(&self) -> u64 {
        self.objects().map(|object| object.bytes).sum()
    }

    /// Rows that are not dead as of the published bitmap.
    pub fn live_rows(&self) -> u32 {
        self.rows - self.deletes.as_ref().map_or(0, |deletes| deletes.count.min(self.rows))
    }

    /// The oldest commit timestamp of a row, override applied.
    pub fn oldest_ts(&self) -> Timestamp {
        self.commit_override.unwrap_or(self.min_ts)
    }

    /// The newest commit timestamp of a row, override applied: at or above it every row is committed.
    pub fn newest_ts(&self) -> Timestamp {
        self.commit_override.unwrap_or(self.max_ts)
    }

    /// The graph of a vector index, if it has been built.
    pub fn graph(&self, index: IndexId) -> Option<&ObjectRef> {
        self.graphs.iter().find(|(id, _)| *id == index).map(|(_, object)| object)
    }

    /// The flat file of an index over computed vectors, if it has been built.
    pub fn index_vector_file(&self, index: IndexId) -> Option<&ObjectRef> {
        self.index_vectors.iter().find(|(id, _)| *id == index).map(|(_, object)| object)
    }

    /// The codes of an index over one column, if they have been written.
    pub fn lookup(&self, index: IndexId, column: ColumnId, code: LookupCode) -> Option<&ObjectRef> {
        let wanted = |(id, own, coded, _): &&LookupFile| (*id, *own, *coded) == (index, column, code);
        self.lookups.iter().find(wanted).map(|(.., object)| object)
    }

    /// The flat file of a vector column.
    pub fn vector_file(&self, column: ColumnId) -> Option<&ObjectRef> {
        self.vectors.iter().find(|(id, _)| *id == column).map(|(_, object)| object)
    }
}
