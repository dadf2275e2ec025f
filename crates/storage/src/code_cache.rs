//! Codes of vectors that no index holds yet, made when first searched, and of rows that come to such: of a memtable chunk's, and of a small
//! segment's. Derived from the rows, so never replicated.

use crate::chunk::Chunk;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::Float32Type;
use parking_lot::Mutex;
use quiver_base::{ColumnId, MemoryBudget, Reservation};
use quiver_index::{Element, RowCodes, VectorColumn};
use std::ops::Range;
use std::sync::Arc;

/// Of fewer rows each is compared as it lies.
const ROWS_MIN: usize = if cfg!(test) { 4 } else { 32 };

/// A larger segment's index takes long to build, and its codes would take memory for as long.
const SEGMENT_ROWS_MAX: usize = 1 << 16;

/// Codes of one column, and the memory that they take.
#[derive(Debug)]
pub(crate) struct ColumnCodes {
    pub(crate) codes: RowCodes,
    _memory: Reservation,
}

impl ColumnCodes {
    /// Of a chunk's column. `None` where vectors differ in dimension, where there is no memory to be had, and for few rows.
    pub(crate) fn of_column(stored: &ArrayRef, memory: &Arc<MemoryBudget>) -> Option<Arc<ColumnCodes>> {
        if stored.len() < ROWS_MIN {
            return None;
        }
        let mut made = room(stored, stored.len(), memory)?;
        push_rows(&mut made.codes, stored, 0..stored.len())?;
        Some(Arc::new(made))
    }

    /// Of a segment's vectors. `None` where there is no memory to be had for them, and for few rows or many.
    pub(crate) fn of_segment(vectors: &VectorColumn, memory: &Arc<MemoryBudget>) -> Option<Arc<ColumnCodes>> {
        let rows = vectors.rows() as usize;
        if !(ROWS_MIN..=SEGMENT_ROWS_MAX).contains(&rows) || vectors.element() == Element::Bit {
            return None;
        }
        let mut made = ColumnCodes::with_room(vectors.dim().into(), rows, memory)?;
        let mut buffer = Vec::new();
        (0..vectors.rows()).for_each(|row| made.codes.push(vectors.widened(row, &mut buffer)));
        Some(Arc::new(made))
    }

    /// Room for codes of so many rows; none while half of all memory is in use, since others cannot do without.
    fn with_room(dim: usize, rows: usize, memory: &Arc<MemoryBudget>) -> Option<ColumnCodes> {
        let bytes = RowCodes::bytes_of(dim, rows);
        if memory.used_bytes().saturating_add(bytes) > memory.limit_bytes() / 2 {
            return None;
        }
        let reserved = memory.try_reserve("codes of rows", bytes).ok()?;
        let mut codes = RowCodes::new(dim);
        codes.reserve(rows);
        Some(ColumnCodes { codes, _memory: reserved })
    }
}

/// Codes by column.
#[derive(Debug, Default)]
pub(crate) struct CodeCache {
    columns: Mutex<Vec<(ColumnId, Made)>>,
}

/// How far a column's codes are.
#[derive(Debug)]
enum Made {
    /// Somebody makes them. To wait for that would take longer than to do without.
    Soon,
    Now(Arc<ColumnCodes>),
}

impl Made {
    fn now(&self) -> Option<&Arc<ColumnCodes>> {
        match self {
            Made::Soon => None,
            Made::Now(codes) => Some(codes),
        }
    }
}

impl CodeCache {
    /// Those of a column, which are made if there are none yet; `None` if none can be made now, or another makes them.
    pub(crate) fn get(
        &self,
        column: ColumnId,
        make: impl FnOnce() -> Option<Arc<ColumnCodes>>,
    ) -> Option<Arc<ColumnCodes>> {
        {
            let mut columns = self.columns.lock();
            if let Some((_, made)) = columns.iter().find(|(id, _)| *id == column) {
                return made.now().cloned();
            }
            columns.push((column, Made::Soon));
        }
        let made = make();
        let mut columns = self.columns.lock();
        columns.retain(|(id, _)| *id != column);
        columns.extend(made.clone().map(|codes| (column, Made::Now(codes))));
        made
    }

    /// Those that rows of several chunks have together, one after the other, for each column of which one of them has some.
    pub(crate) fn of_parts(parts: &[(&Chunk, Range<usize>)], memory: &Arc<MemoryBudget>) -> CodeCache {
        let had = |(chunk, _): &(&Chunk, Range<usize>)| chunk.coded_columns();
        let mut wanted: Vec<ColumnId> = parts.iter().flat_map(had).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let joined =
            wanted.into_iter().filter_map(|column| Some((column, Made::Now(join(column, parts, memory)?))));
        CodeCache { columns: Mutex::new(joined.collect()) }
    }

    /// What there is already.
    pub(crate) fn made(&self, column: ColumnId) -> Option<Arc<ColumnCodes>> {
        self.columns.lock().iter().find(|(id, _)| *id == column)?.1.now().cloned()
    }

    /// Columns of which there are some.
    pub(crate) fn columns(&self) -> Vec<ColumnId> {
        let columns = self.columns.lock();
        columns.iter().filter(|(_, made)| made.now().is_some()).map(|(id, _)| *id).collect()
    }
}

fn join(
    column: ColumnId,
    parts: &[(&Chunk, Range<usize>)],
    memory: &Arc<MemoryBudget>,
) -> Option<Arc<ColumnCodes>> {
    let rows = parts.iter().map(|(_, range)| range.len()).sum();
    let mut joined = room(parts.first()?.0.stored(column)?, rows, memory)?;
    for (chunk, range) in parts {
        match chunk.made_codes(column) {
            Some(made) => joined.codes.extend(&made.codes, range.clone()),
            None => push_rows(&mut joined.codes, chunk.stored(column)?, range.clone())?,
        }
    }
    Some(Arc::new(joined))
}

/// Room for codes of so many rows of such a column.
fn room(stored: &ArrayRef, rows: usize, memory: &Arc<MemoryBudget>) -> Option<ColumnCodes> {
    let dim = stored.as_fixed_size_list_opt()?.value_length() as usize;
    ColumnCodes::with_room(dim, rows, memory)
}

fn push_rows(codes: &mut RowCodes, stored: &ArrayRef, rows: Range<usize>) -> Option<()> {
    let list = stored.as_fixed_size_list_opt()?;
    let dim = list.value_length() as usize;
    let values = list.values().as_primitive_opt::<Float32Type>()?.values();
    // A row that is NULL has some numbers, too, and is not asked for.
    rows.for_each(|row| codes.push(values.get(row * dim..(row + 1) * dim).unwrap_or_default()));
    Some(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    #[test]
    fn what_another_makes_is_done_without_and_tried_again_where_it_failed() {
        let (cache, column) = (CodeCache::default(), ColumnId(1));
        let none = || -> Option<Arc<ColumnCodes>> { panic!("made twice") };
        let failed = cache.get(column, || {
            assert!(cache.get(column, none).is_none() && cache.made(column).is_none());
            assert!(cache.columns().is_empty());
            None
        });
        assert!(failed.is_none() && cache.columns().is_empty());
        let memory = MemoryBudget::unlimited();
        let made = cache.get(column, || ColumnCodes::with_room(3, 5, &memory).map(Arc::new)).unwrap();
        assert!(Arc::ptr_eq(&made, &cache.get(column, none).unwrap()));
        assert!(Arc::ptr_eq(&made, &cache.made(column).unwrap()));
        assert_eq!(cache.columns(), [column]);
    }
}
