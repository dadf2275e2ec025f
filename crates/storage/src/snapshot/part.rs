//! One container of a snapshot's rows, read the same way whatever it is.

use crate::chunk::Chunk;
use crate::visibility::{Alive, Deletes};
use crate::{KeyDef, TableLayout};
use arrow::array::ArrayRef;
use quiver_base::{ColumnId, Result, RowId, Timestamp};
use std::ops::Range;
use std::sync::Arc;

/// Where the rows are.
#[derive(Clone, Debug)]
pub(crate) enum PartData {
    /// In memory.
    Rows(Arc<Chunk>),
}

/// A container with the deletes of its rows.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) data: PartData,
    pub(crate) deletes: Deletes,
}

impl Part {
    /// Rows in memory.
    pub(crate) fn memory(chunk: Arc<Chunk>, deletes: Deletes) -> Part {
        Part { data: PartData::Rows(chunk), deletes }
    }

    /// Rows, dead ones included.
    pub(crate) fn rows(&self) -> u32 {
        match &self.data {
            PartData::Rows(chunk) => chunk.len() as u32,
        }
    }

    /// Where a row is in it.
    pub(crate) fn position(&self, row: RowId) -> Option<u32> {
        match &self.data {
            PartData::Rows(chunk) => chunk.position(row),
        }
    }

    /// The ids of chosen rows.
    pub(crate) fn row_ids(&self, rows: &[u32]) -> Vec<RowId> {
        match &self.data {
            PartData::Rows(chunk) => rows.iter().map(|row| chunk.row_ids()[*row as usize]).collect(),
        }
    }

    /// Whether a row was committed by `read_ts` and no published bitmap holds its delete.
    pub(crate) fn is_born(&self, row: u32, read_ts: Timestamp) -> Result<bool> {
        match &self.data {
            PartData::Rows(chunk) => Ok(chunk.born().at(row as usize) <= read_ts),
        }
    }

    /// The rows that were committed by `read_ts` and not deleted by then.
    pub(crate) fn alive(&self, read_ts: Timestamp) -> Result<Alive> {
        match &self.data {
            PartData::Rows(chunk) => {
                let born = chunk.born().visible(chunk.len(), read_ts) as u32;
                self.deletes.alive(self.rows(), read_ts, |row| row < born, born == self.rows(), || Ok(None))
            }
        }
    }

    /// Rows whose key has one of the hashes: the hash's place in the list, and the row's position.
    pub(crate) fn candidates(
        &self,
        layout: &TableLayout,
        key: &KeyDef,
        hashes: &[Option<u64>],
        found: impl FnMut(usize, u32),
    ) -> Result<()> {
        match &self.data {
            PartData::Rows(chunk) => chunk.candidates(layout, key, hashes, found),
        }
    }

    /// A column of a range of rows, as the layout wants it.
    pub(crate) fn column(&self, layout: &TableLayout, id: ColumnId, rows: Range<u32>) -> Result<ArrayRef> {
        match &self.data {
            PartData::Rows(chunk) => chunk.column(layout, id, rows.start as usize..rows.end as usize),
        }
    }

    /// A column of chosen rows, as the layout wants it.
    pub(crate) fn take(&self, layout: &TableLayout, id: ColumnId, rows: &[u32]) -> Result<ArrayRef> {
        match &self.data {
            PartData::Rows(chunk) => chunk.take(layout, id, rows),
        }
    }
}
