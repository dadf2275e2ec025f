//! An immutable run of memtable rows with their commit timestamps. Knows nothing of deletes: who sees which row is
//! decided by [`crate::visibility`].

use crate::code_cache::{CodeCache, ColumnCodes};
use crate::columns::{column_ids, conform, definition};
use crate::key_cache::KeyCache;
use crate::rows::{RowBatch, batch_bytes};
use crate::{KeyDef, TableLayout};
use arrow::array::{Array, ArrayRef, MutableArrayData, make_array};
use arrow::compute::take;
use arrow::datatypes::FieldRef;
use quiver_base::{ColumnId, MemoryBudget, Reservation, Result, RowId, Timestamp};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// When rows were committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Born {
    /// All at once. Timestamp zero stands for a transaction's own rows, which it sees at any time.
    All(Timestamp),
    /// Each row on its own, never descending.
    Each(Vec<Timestamp>),
}

impl Born {
    /// When a row was committed.
    pub(crate) fn at(&self, row: usize) -> Timestamp {
        match self {
            Born::All(ts) => *ts,
            Born::Each(list) => list[row],
        }
    }

    /// How many of the first rows had been committed by `read_ts`.
    pub(crate) fn visible(&self, rows: usize, read_ts: Timestamp) -> usize {
        match self {
            Born::All(ts) if *ts <= read_ts => rows,
            Born::All(_) => 0,
            Born::Each(list) => list.partition_point(|ts| *ts <= read_ts),
        }
    }
}

/// A run of memtable rows in commit order.
#[derive(Debug)]
pub(crate) struct Chunk {
    rows: Arc<RowBatch>,
    born: Born,
    columns: Vec<(ColumnId, usize)>,
    ids: Range<u64>,
    /// Positions in order of row id; `None` if that is the order they have.
    order: OnceLock<Option<Vec<u32>>>,
    keys: KeyCache,
    codes: CodeCache,
    bytes: usize,
    memory: Option<Reservation>,
}

impl Chunk {
    /// Rows that have been accepted: their memory is counted, whatever the limit.
    pub(crate) fn new(rows: Arc<RowBatch>, born: Born, memory: &Arc<MemoryBudget>) -> Chunk {
        let mut chunk = Chunk::uncounted(rows, born);
        chunk.memory = Some(memory.reserve_unchecked(chunk.bytes));
        chunk
    }

    /// Rows whose memory someone else counts: those a transaction still holds.
    pub(crate) fn uncounted(rows: Arc<RowBatch>, born: Born) -> Chunk {
        let first = rows.row_ids.iter().map(|id| id.0).min().unwrap_or(0);
        let end = rows.row_ids.iter().map(|id| id.0 + 1).max().unwrap_or(0);
        Chunk {
            columns: column_ids(rows.batch.schema_ref()),
            bytes: batch_bytes(&rows.batch) + rows.row_ids.len() * 8,
            ids: first..end,
            order: OnceLock::new(),
            keys: KeyCache::default(),
            codes: CodeCache::default(),
            rows,
            born,
            memory: None,
        }
    }

    /// Rows.
    pub(crate) fn len(&self) -> usize {
        self.rows.row_ids.len()
    }

    /// Bytes of the rows.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The rows as they came.
    pub(crate) fn rows(&self) -> &Arc<RowBatch> {
        &self.rows
    }

    /// Row ids by position.
    pub(crate) fn row_ids(&self) -> &[RowId] {
        &self.rows.row_ids
    }

    /// Commit timestamps by position.
    pub(crate) fn born(&self) -> &Born {
        &self.born
    }

    /// Where a row id is.
    pub(crate) fn position(&self, id: RowId) -> Option<u32> {
        if !self.ids.contains(&id.0) {
            return None;
        }
        let ids = self.row_ids();
        match self.order.get_or_init(|| order_of(ids)) {
            None => ids.binary_search(&id).ok().map(|at| at as u32),
            Some(order) => order.binary_search_by_key(&id, |at| ids[*at as usize]).ok().map(|at| order[at]),
        }
    }

    /// A stored column.
    pub(crate) fn stored(&self, id: ColumnId) -> Option<&ArrayRef> {
        let (_, at) = self.columns.iter().find(|(column, _)| *column == id)?;
        Some(self.rows.batch.column(*at))
    }

    /// Its columns.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (ColumnId, &FieldRef)> + '_ {
        let fields = self.rows.batch.schema_ref().fields();
        self.columns.iter().map(|(id, at)| (*id, &fields[*at]))
    }

    /// A column of a range of rows, as the layout wants it.
    pub(crate) fn column(&self, layout: &TableLayout, id: ColumnId, rows: Range<usize>) -> Result<ArrayRef> {
        let stored = self.stored(id).map(|array| array.slice(rows.start, rows.len()));
        conform(definition(layout, id)?, stored, rows.len())
    }

    /// A column of chosen rows, as the layout wants it.
    pub(crate) fn take(&self, layout: &TableLayout, id: ColumnId, rows: &[u32]) -> Result<ArrayRef> {
        let indices = arrow::array::UInt32Array::from(rows.to_vec());
        let stored = self.stored(id).map(|array| take(array, &indices, None)).transpose()?;
        conform(definition(layout, id)?, stored, rows.len())
    }

    /// Rows whose key has one of the hashes: the hash's place in the list, and the row's position. Hashes of different
    /// keys may be equal.
    pub(crate) fn candidates(
        &self,
        layout: &TableLayout,
        key: &KeyDef,
        hashes: &[Option<u64>],
    ) -> Result<Vec<(usize, u32)>> {
        let index = self
            .keys
            .get(key, || key.columns.iter().map(|id| self.column(layout, *id, 0..self.len())).collect())?;
        let mut found = Vec::new();
        for (at, hash) in hashes.iter().enumerate() {
            if let Some(hash) = hash {
                found.extend(index.positions(*hash).map(|row| (at, row)));
            }
        }
        Ok(found)
    }

    /// Codes of a column's vectors by position, if there can be some. Rows of a transaction that has not ended have none: they are laid
    /// over each of its snapshots anew.
    pub(crate) fn codes(&self, column: ColumnId) -> Option<Arc<ColumnCodes>> {
        let memory = self.memory.as_ref()?.budget();
        self.codes.get(column, || ColumnCodes::of_column(self.stored(column)?, memory))
    }

    /// Those that have been made.
    pub(crate) fn made_codes(&self, column: ColumnId) -> Option<Arc<ColumnCodes>> {
        self.codes.made(column)
    }

    /// Columns that have some.
    pub(crate) fn coded_columns(&self) -> Vec<ColumnId> {
        self.codes.columns()
    }

    /// Whether two neighbours can be one.
    pub(crate) fn has_columns_of(&self, other: &Chunk) -> bool {
        let (a, b) = (self.rows.batch.schema_ref(), other.rows.batch.schema_ref());
        Arc::ptr_eq(a, b) || a == b
    }

    /// The rows from one on, in fresh memory if that can be had.
    pub(crate) fn tail(chunk: &Chunk, from: usize, memory: &Arc<MemoryBudget>) -> Chunk {
        let range = from..chunk.len();
        Chunk::concat(&[(chunk, range.clone())], memory).unwrap_or_else(|_| {
            let batch = chunk.rows.batch.slice(from, range.len());
            let rows = RowBatch { batch, row_ids: chunk.row_ids()[range.clone()].to_vec() };
            Chunk::new(Arc::new(rows), compact_born(range.map(|row| chunk.born.at(row)).collect()), memory)
        })
    }

    /// Rows of several chunks of equal columns, the given ranges one after the other, in fresh memory.
    pub(crate) fn concat(parts: &[(&Chunk, Range<usize>)], memory: &Arc<MemoryBudget>) -> Result<Chunk> {
        let (rows, born) = gather(parts)?;
        let mut chunk = Chunk::new(Arc::new(rows), born, memory);
        chunk.codes = CodeCache::of_parts(parts, memory);
        Ok(chunk)
    }
}

/// See [`Chunk::concat`]. The bytes of the result depend on the rows alone, not on how they were divided.
pub(crate) fn gather(parts: &[(&Chunk, Range<usize>)]) -> Result<(RowBatch, Born)> {
    let schema = parts[0].0.rows.batch.schema();
    let total = parts.iter().map(|(_, range)| range.len()).sum();
    let columns = (0..schema.fields().len())
        .map(|at| {
            let data: Vec<_> = parts.iter().map(|(chunk, _)| chunk.rows.batch.column(at).to_data()).collect();
            let mut joined = MutableArrayData::new(data.iter().collect(), false, total);
            for (source, (_, range)) in parts.iter().enumerate() {
                joined.try_extend(source, range.start, range.end)?;
            }
            Ok(make_array(joined.freeze()))
        })
        .collect::<Result<Vec<_>>>()?;
    let row_ids = parts.iter().flat_map(|(chunk, range)| chunk.row_ids()[range.clone()].iter().copied());
    let row_ids: Vec<RowId> = row_ids.collect();
    let born = parts.iter().flat_map(|(chunk, range)| range.clone().map(|row| chunk.born.at(row)));
    let batch = crate::columns::batch_of(schema, columns, total)?;
    Ok((RowBatch { batch, row_ids }, compact_born(born.collect())))
}

fn compact_born(list: Vec<Timestamp>) -> Born {
    match list.first() {
        Some(first) if list.last() == Some(first) => Born::All(*first),
        _ => Born::Each(list),
    }
}

fn order_of(ids: &[RowId]) -> Option<Vec<u32>> {
    if ids.is_sorted() {
        return None;
    }
    let mut order: Vec<u32> = (0..ids.len() as u32).collect();
    order.sort_unstable_by_key(|at| ids[*at as usize]);
    Some(order)
}
