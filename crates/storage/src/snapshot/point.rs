//! Single rows: by key, by row id, and their columns.

use super::{Locator, Snapshot};
use crate::columns::{batch_of, schema_of};
use crate::keys::{encode, key_hashes};
use crate::{KeyDef, TableLayout};
use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::{interleave, take};
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
        let hashes = key_hashes(values)?;
        let mut answers = vec![None; hashes.len()];
        for part in (0..self.parts().len()).rev() {
            self.lookup_in(part, layout, key, values, &hashes, &mut answers)?;
        }
        Ok(answers)
    }

    fn lookup_in(
        &self,
        part: usize,
        layout: &TableLayout,
        key: &KeyDef,
        values: &[ArrayRef],
        hashes: &[Option<u64>],
        answers: &mut [Option<(RowId, Locator)>],
    ) -> Result<()> {
        let container = &self.parts()[part];
        let (mut asked, mut rows) = (Vec::new(), Vec::new());
        container.candidates(layout, key, hashes, |question, row| {
            asked.push(question as u32);
            rows.push(row);
        })?;
        if rows.is_empty() {
            return Ok(());
        }
        let stored = key.columns.iter().map(|id| container.take(layout, *id, &rows));
        let stored = encode(&stored.collect::<Result<Vec<_>>>()?)?;
        let indices = UInt32Array::from(asked.clone());
        let wanted = values.iter().map(|array| Ok(take(array, &indices, None)?));
        let wanted = encode(&wanted.collect::<Result<Vec<_>>>()?)?;
        let row_ids = container.row_ids(&rows);
        for (at, question) in asked.into_iter().enumerate() {
            let locator = Locator { part: part as u32, row: rows[at] };
            if stored.row(at) == wanted.row(at) && self.is_visible(row_ids[at], locator)? {
                answers[question as usize] = Some((row_ids[at], locator));
            }
        }
        Ok(())
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
        let fetch = |id: &ColumnId| -> Result<ArrayRef> {
            let arrays =
                parts.iter().zip(&wanted).map(|(part, rows)| self.part(*part)?.take(layout, *id, rows));
            let arrays = arrays.collect::<Result<Vec<_>>>()?;
            match arrays.as_slice() {
                [] => Ok(arrow::array::new_empty_array(
                    crate::columns::definition(layout, *id)?.field.data_type(),
                )),
                [only] => Ok(only.clone()),
                many => {
                    let many: Vec<&dyn Array> = many.iter().map(|array| array.as_ref()).collect();
                    Ok(interleave(&many, &sources)?)
                }
            }
        };
        let arrays = columns.iter().map(fetch).collect::<Result<Vec<_>>>()?;
        batch_of(schema, arrays, rows.len())
    }
}
