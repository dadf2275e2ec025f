//! An immutable view of one shard: scan, look up by key, search by vector, fetch winners.

use crate::{KeyDef, RowBatch, RowFilter, TableLayout};
use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;
use quiver_base::{ColumnId, Result, RowId, Timestamp};
use quiver_index::Metric;
use std::collections::HashSet;
use std::sync::Arc;

/// Where a row of one snapshot is. Means nothing to another snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Locator {
    /// Which part of the snapshot.
    pub part: u32,
    /// The row's position in it.
    pub row: u32,
}

/// What to scan.
#[derive(Clone, Debug)]
pub struct ScanRequest {
    /// Columns of the answer, in this order.
    pub columns: Vec<ColumnId>,
    /// Rows to keep.
    pub filter: Option<Arc<dyn RowFilter>>,
    /// At most this many rows a batch.
    pub batch_rows: usize,
}

/// An independent piece of a scan: a row group of a segment, or a run of memtable rows.
#[derive(Clone, Debug)]
pub struct ScanPart {
    /// Which part of the snapshot.
    pub part: u32,
    /// First row.
    pub start: u32,
    /// How many rows, dead ones included.
    pub rows: u32,
}

/// Rows of a scan.
#[derive(Clone, Debug)]
pub struct ScanBatch {
    /// The columns asked for, typed and named by the layout.
    pub batch: RecordBatch,
    /// One a row.
    pub row_ids: Vec<RowId>,
}

/// A nearest-neighbour search.
#[derive(Clone, Debug)]
pub struct VectorQuery {
    /// The vector column.
    pub column: ColumnId,
    /// The distance.
    pub metric: Metric,
    /// The query vector.
    pub query: Vec<f32>,
    /// How many rows.
    pub k: usize,
    /// hnsw.ef_search.
    pub ef: usize,
    /// Ignore indexes.
    pub exact: bool,
    /// Rows to choose from.
    pub filter: Option<Arc<dyn RowFilter>>,
}

/// A row that a search found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// As SQL shows it. NULL vectors come last, with `None`, and only if fewer than k rows have one.
    pub distance: Option<f64>,
    /// The row.
    pub row_id: RowId,
    /// Where to fetch it.
    pub locator: Locator,
}

/// What a search did, for EXPLAIN ANALYZE.
#[derive(Clone, Debug, Default)]
pub struct SearchStats {
    /// Segments looked into.
    pub segments: u64,
    /// Segments skipped by statistics.
    pub segments_pruned: u64,
    /// Memtable rows compared.
    pub memtable_rows: u64,
    /// Vectors compared in segments.
    pub rows_visited: u64,
    /// Rows that passed the filter, where it was counted.
    pub rows_passed: u64,
    /// One of "exact", "graph", "filtered graph" per segment, joined by commas, counted: "graph: 3, exact: 1".
    pub strategy: String,
    /// Decoded-column and bitmap cache hits.
    pub cache_hits: u64,
    /// And misses.
    pub cache_misses: u64,
}

/// Hits in ascending order of distance, NULLs last.
#[derive(Clone, Debug, Default)]
pub struct SearchResult {
    /// At most k; fewer only if fewer rows qualify.
    pub hits: Vec<Hit>,
    /// What it took.
    pub stats: SearchStats,
}

/// An immutable view of one shard. Cheap to clone by `Arc`; holds what it reads alive.
#[derive(Debug)]
pub struct Snapshot {}

impl Snapshot {
    /// A view of a shard that holds nothing: of a table that its own transaction made.
    pub fn empty(_read_ts: Timestamp) -> Arc<Snapshot> {
        unimplemented!()
    }

    /// The same view with a transaction's own uncommitted rows added and its own deletes hidden.
    pub fn with_overlay(&self, _inserts: &[Arc<RowBatch>], _deletes: Arc<HashSet<RowId>>) -> Arc<Snapshot> {
        unimplemented!()
    }

    /// The read timestamp.
    pub fn read_ts(&self) -> Timestamp {
        unimplemented!()
    }

    /// Visible rows. Exact, from counts; no data is read.
    pub fn row_count(&self) -> u64 {
        unimplemented!()
    }

    /// Pieces that can be scanned independently; what the filter's statistics rule out is left out.
    pub fn scan_parts(&self, _layout: &TableLayout, _request: &ScanRequest) -> Result<Vec<ScanPart>> {
        unimplemented!()
    }

    /// Scans one piece. Blocking. May return an empty list.
    pub fn scan_part(
        &self,
        _layout: &TableLayout,
        _request: &ScanRequest,
        _part: &ScanPart,
    ) -> Result<Vec<ScanBatch>> {
        unimplemented!()
    }

    /// The visible row with each key, if any. `values`: one array per key column, any number of rows. NULLs match nothing.
    pub fn lookup(
        &self,
        _layout: &TableLayout,
        _key: &KeyDef,
        _values: &[ArrayRef],
    ) -> Result<Vec<Option<(RowId, Locator)>>> {
        unimplemented!()
    }

    /// Where rows are, if visible.
    pub fn find(&self, _rows: &[RowId]) -> Result<Vec<Option<Locator>>> {
        unimplemented!()
    }

    /// Columns of rows, in the order of `rows`.
    pub fn fetch(
        &self,
        _layout: &TableLayout,
        _rows: &[Locator],
        _columns: &[ColumnId],
    ) -> Result<RecordBatch> {
        unimplemented!()
    }

    /// The k nearest rows. Blocking.
    pub fn search(&self, _layout: &TableLayout, _query: &VectorQuery) -> Result<SearchResult> {
        unimplemented!()
    }
}
