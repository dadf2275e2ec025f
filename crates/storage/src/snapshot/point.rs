//! Single rows: by key, by row id, and their columns.

use super::part::EncodedKeys;
use super::{Locator, Snapshot};
use crate::columns::{batch_of, schema_of};
use crate::{KeyDef, TableLayout};
use arrow::array::{Array, ArrayRef};
use arrow::compute::interleave;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use quiver_base::{ColumnId, Result, RowId};

impl Snapshot {
    /// The visible row with each key, if any. `values`: one array per key column, any number of rows. NULLs match nothing.
    pub fn lookup(
        &self,
        layout: &TableLayout,
        key: &KeyDef,
        values: &[ArrayRef],
    ) -> Result<Vec<Option<(RowId, Locator)>>> {
        let keys = EncodedKeys::new(values)?;
        let mut answers = vec![None; keys.len()];
        for (part, container) in self.parts().iter().enumerate() {
            for (asked, row) in container.with_keys(layout, key, &keys)? {
                let at = Locator { part: part as u32, row };
                let Some(id) = container.row_id(row) else { continue };
                if self.is_visible(id, at)? {
                    answers[asked] = Some((id, at));
                }
            }
        }
        Ok(answers)
    }

    /// Where rows are, if visible.
    pub fn find(&self, rows: &[RowId]) -> Result<Vec<Option<Locator>>> {
        rows.iter().map(|row| self.find_one(*row)).collect()
    }

    fn find_one(&self, row: RowId) -> Result<Option<Locator>> {
        for (part, container) in self.parts().iter().enumerate().rev() {
            if let Some(position) = container.position(row) {
                let at = Locator { part: part as u32, row: position };
                return Ok(self.is_visible(row, at)?.then_some(at));
            }
        }
        Ok(None)
    }

    /// Columns of rows, in the order of `rows`.
    pub fn fetch(&self, layout: &TableLayout, rows: &[Locator], columns: &[ColumnId]) -> Result<RecordBatch> {
        let Some(first) = rows.first() else {
            return Ok(RecordBatch::new_empty(schema_of(layout, columns)?));
        };
        if rows.iter().all(|row| row.part == first.part) {
            let rows: Vec<u32> = rows.iter().map(|row| row.row).collect();
            return self.part(first.part)?.take(layout, columns, &rows);
        }
        let schema = schema_of(layout, columns)?;
        let mut parts: Vec<u32> = rows.iter().map(|row| row.part).collect();
        parts.sort_unstable();
        parts.dedup();
        let mut wanted = vec![Vec::new(); parts.len()];
        let mut sources = Vec::with_capacity(rows.len());
        for row in rows {
            let source = parts.binary_search(&row.part).unwrap_or_default();
            sources.push((source, wanted[source].len()));
            wanted[source].push(row.row);
        }
        let batches =
            parts.iter().zip(&wanted).map(|(part, rows)| self.part(*part)?.take(layout, columns, rows));
        let batches = batches.collect::<Result<Vec<_>>>()?;
        interleave_batches(schema, &batches, &sources)
    }
}

/// Rows of several batches in a given order: (batch, row) each.
pub(crate) fn interleave_batches(
    schema: SchemaRef,
    batches: &[RecordBatch],
    order: &[(usize, usize)],
) -> Result<RecordBatch> {
    let column = |at: usize| -> Result<ArrayRef> {
        let arrays: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(at).as_ref()).collect();
        Ok(interleave(&arrays, order)?)
    };
    let columns = (0..schema.fields().len()).map(column).collect::<Result<_>>()?;
    batch_of(schema, columns, order.len())
}
