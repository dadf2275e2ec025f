//! One container of a snapshot's rows, read the same way whatever it is.

use crate::chunk::Chunk;
use crate::columns::{batch_of, schema_of};
use crate::key::{KeyEncoder, key_hash};
use crate::memtable::MemChunk;
use crate::sealed::Sealed;
use crate::visibility::Alive;
use crate::{ColumnDef, KeyDef, TableLayout};
use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;
use quiver_base::{ColumnId, Error, Result, RowId, Timestamp};
use std::ops::Range;
use std::sync::Arc;

/// Rows with their deletes.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// In memory.
    Memory(MemChunk),
    /// In a segment.
    Segment(Sealed),
}

impl Part {
    /// Rows of a transaction that has not ended.
    pub(crate) fn own(chunk: Arc<Chunk>) -> Part {
        Part::Memory(MemChunk { chunk, deletes: Default::default() })
    }

    /// Rows, dead ones included.
    pub(crate) fn rows(&self) -> u32 {
        match self {
            Part::Memory(rows) => rows.chunk.len() as u32,
            Part::Segment(sealed) => sealed.meta().rows,
        }
    }

    /// Where a row is in it.
    pub(crate) fn position(&self, row: RowId) -> Option<u32> {
        match self {
            Part::Memory(rows) => rows.chunk.position(row),
            Part::Segment(sealed) => sealed.position(row),
        }
    }

    /// The id of a row.
    pub(crate) fn row_id(&self, row: u32) -> Option<RowId> {
        match self {
            Part::Memory(rows) => rows.chunk.row_ids().get(row as usize).copied(),
            Part::Segment(sealed) => sealed.meta().row_ids.row_id(row),
        }
    }

    /// The ids of chosen rows.
    pub(crate) fn row_ids(&self, rows: &[u32]) -> Vec<RowId> {
        match rows {
            [first, .., last] if (last - first) as usize == rows.len() - 1 && rows.is_sorted() => {
                self.row_id_range(*first..last + 1)
            }
            _ => rows.iter().filter_map(|row| self.row_id(*row)).collect(),
        }
    }

    /// The ids of a range of rows.
    pub(crate) fn row_id_range(&self, rows: Range<u32>) -> Vec<RowId> {
        match self {
            Part::Memory(own) => own.chunk.row_ids()[rows.start as usize..rows.end as usize].to_vec(),
            Part::Segment(sealed) => sealed.segment.row_ids(rows),
        }
    }

    /// When each row was committed.
    pub(crate) fn commit_ts(&self) -> Result<Vec<Timestamp>> {
        match self {
            Part::Memory(rows) => Ok((0..rows.chunk.len()).map(|row| rows.chunk.born().at(row)).collect()),
            Part::Segment(sealed) => sealed.segment.commit_ts(0..sealed.meta().rows),
        }
    }

    /// Whether a row was committed by `read_ts` and no published bitmap holds its delete.
    pub(crate) fn is_born(&self, row: u32, read_ts: Timestamp) -> Result<bool> {
        match self {
            Part::Memory(rows) => Ok(rows.chunk.born().at(row as usize) <= read_ts),
            Part::Segment(sealed) => sealed.is_born(row, read_ts),
        }
    }

    /// The rows that were committed by `read_ts` and not deleted by then.
    pub(crate) fn alive(&self, read_ts: Timestamp) -> Result<Alive> {
        match self {
            Part::Memory(rows) => {
                let all = rows.chunk.len() as u32;
                let born = rows.chunk.born().visible(rows.chunk.len(), read_ts) as u32;
                rows.deletes.alive(all, read_ts, |row| row < born, born == all, || Ok(None))
            }
            Part::Segment(sealed) => sealed.alive(read_ts),
        }
    }

    /// The rows that were not deleted by `as_of`, whenever they were committed.
    pub(crate) fn survivors(&self, as_of: Timestamp) -> Result<Alive> {
        match self {
            Part::Memory(rows) => rows.deletes.alive(self.rows(), as_of, |_| true, true, || Ok(None)),
            Part::Segment(sealed) => sealed.survivors(as_of),
        }
    }

    /// Rows whose key is one of `keys`: the key's place in the list, and the row's position. Dead ones included.
    pub(crate) fn with_keys(
        &self,
        layout: &TableLayout,
        key: &KeyDef,
        keys: &EncodedKeys,
    ) -> Result<Vec<(usize, u32)>> {
        match self {
            Part::Memory(rows) => in_memory(&rows.chunk, layout, key, keys),
            Part::Segment(sealed) => {
                let present: Vec<usize> =
                    (0..keys.bytes.len()).filter(|at| keys.bytes[*at].is_some()).collect();
                let wanted: Vec<&[u8]> = keys.bytes.iter().flatten().map(Vec::as_slice).collect();
                let found = sealed.segment.find_keys(layout, key, &wanted)?;
                Ok(found.into_iter().map(|hit| (present[hit.wanted], hit.position)).collect())
            }
        }
    }

    /// A column as it was when the rows were written.
    pub(crate) fn stored_column(&self, id: ColumnId) -> Result<ColumnDef> {
        match self {
            Part::Memory(rows) => {
                let field = rows.chunk.fields().find(|(own, _)| *own == id).map(|(_, field)| field.clone());
                let field = field.ok_or_else(|| Error::internal(format!("the rows have no column {id}")))?;
                Ok(ColumnDef { id, field, missing: None })
            }
            Part::Segment(sealed) => sealed.segment.stored_column(id),
        }
    }

    /// Columns of a range of rows, as the layout wants them.
    pub(crate) fn read(
        &self,
        layout: &TableLayout,
        columns: &[ColumnId],
        rows: Range<u32>,
    ) -> Result<RecordBatch> {
        match self {
            Part::Memory(own) => {
                let range = rows.start as usize..rows.end as usize;
                let column = |id: &ColumnId| own.chunk.column(layout, *id, range.clone());
                let arrays = columns.iter().map(column).collect::<Result<_>>()?;
                batch_of(schema_of(layout, columns)?, arrays, range.len())
            }
            Part::Segment(sealed) => sealed.segment.read(layout, columns, rows),
        }
    }

    /// Columns of chosen rows, as the layout wants them.
    pub(crate) fn take(
        &self,
        layout: &TableLayout,
        columns: &[ColumnId],
        rows: &[u32],
    ) -> Result<RecordBatch> {
        match self {
            Part::Memory(own) => {
                let column = |id: &ColumnId| own.chunk.take(layout, *id, rows);
                let arrays = columns.iter().map(column).collect::<Result<_>>()?;
                batch_of(schema_of(layout, columns)?, arrays, rows.len())
            }
            Part::Segment(sealed) => sealed.segment.take(layout, columns, rows),
        }
    }
}

/// Keys as bytes, with their hashes; `None` where a value is NULL.
#[derive(Debug)]
pub(crate) struct EncodedKeys {
    bytes: Vec<Option<Vec<u8>>>,
    hashes: Vec<Option<u64>>,
}

impl EncodedKeys {
    /// Of values, one array a key column.
    pub(crate) fn new(columns: &[ArrayRef]) -> Result<EncodedKeys> {
        let encoder = KeyEncoder::new(columns)?;
        let rows = columns.first().map_or(0, |column| column.len());
        let encode = |row| {
            let mut key = Vec::new();
            encoder.encode(row, &mut key).then_some(key)
        };
        let bytes: Vec<Option<Vec<u8>>> = (0..rows).map(encode).collect();
        let hashes = bytes.iter().map(|key| key.as_deref().map(key_hash)).collect();
        Ok(EncodedKeys { bytes, hashes })
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

fn in_memory(
    chunk: &Chunk,
    layout: &TableLayout,
    key: &KeyDef,
    keys: &EncodedKeys,
) -> Result<Vec<(usize, u32)>> {
    let candidates = chunk.candidates(layout, key, &keys.hashes)?;
    if candidates.is_empty() {
        return Ok(candidates);
    }
    let rows: Vec<u32> = candidates.iter().map(|(_, row)| *row).collect();
    let stored = key.columns.iter().map(|id| chunk.take(layout, *id, &rows)).collect::<Result<Vec<_>>>()?;
    let encoder = KeyEncoder::new(&stored)?;
    let mut bytes = Vec::new();
    let same = |(at, candidate): (usize, (usize, u32))| {
        bytes.clear();
        let equal = encoder.encode(at, &mut bytes) && keys.bytes[candidate.0].as_deref() == Some(&bytes[..]);
        equal.then_some(candidate)
    };
    Ok(candidates.into_iter().enumerate().filter_map(same).collect())
}
