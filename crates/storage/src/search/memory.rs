//! Exact search over rows that no segment holds, with the kernels that segments are searched with.

use super::{Hit, Search, compare_hits, different_dimensions};
use crate::snapshot::Locator;
use crate::snapshot::part::Part;
use crate::visibility::Alive;
use arrow::array::{Array, ArrayRef, AsArray, Float32Array};
use arrow::datatypes::{DataType, Float32Type};
use quiver_base::sparse::SparseRef;
use quiver_base::{Error, Result, RowId};
use quiver_index::{SparseVector, TopK};

impl Search<'_> {
    /// The k nearest rows of a chunk.
    pub(super) fn in_memory(&mut self, part: u32, chunk: &Part, allowed: &Alive) -> Result<Vec<Hit>> {
        let mut all = Vec::new();
        for range in self.source.pieces(0..chunk.rows()) {
            let column = self.source.vectors(chunk, self.layout, range.clone())?;
            let ids = chunk.row_id_range(range.clone());
            let rows = Rows { part, first: range.start, ids: &ids };
            let (hits, compared) = self.exact(&column, &rows, allowed)?;
            self.stats.memtable_rows += compared;
            all.extend(hits);
        }
        Ok(all)
    }

    /// The k nearest rows of an array of vectors, and how many were compared.
    pub(super) fn exact(
        &self,
        column: &ArrayRef,
        rows: &Rows<'_>,
        allowed: &Alive,
    ) -> Result<(Vec<Hit>, u64)> {
        if let Some(query) = &self.query.sparse {
            return self.exact_sparse(query, column, rows, allowed);
        }
        let (metric, query) = (self.query.metric, self.query.query.as_slice());
        let vectors = Vectors::new(column)?;
        let mut top = TopK::new(self.query.k);
        let mut compared = 0;
        let bound = self.bound().map_or(f32::INFINITY, |distance| metric.score_bound(distance));
        for at in (0..column.len()).filter(|at| allowed.contains(rows.first + *at as u32)) {
            let Some(vector) = vectors.get(at) else { continue };
            if vector.len() != query.len() {
                return Err(different_dimensions(vector.len(), query.len()));
            }
            compared += 1;
            let score = metric.score(query, vector);
            // False of what is no number, too: the order of rows decides then, as of what is as far.
            let is_farther = score > bound;
            if !is_farther {
                top.push(score, (rows.ids[at], at as u32));
            }
        }
        let hit = |(_, (row_id, at)): (f32, (RowId, u32))| Hit {
            distance: vectors.get(at as usize).map(|vector| metric.distance_between(query, vector)),
            row_id,
            locator: Locator { part: rows.part, row: rows.first + at },
        };
        let mut hits: Vec<Hit> = top.into_sorted().into_iter().map(hit).collect();
        hits.sort_unstable_by(compare_hits);
        Ok((hits, compared))
    }
}

impl Search<'_> {
    fn exact_sparse(
        &self,
        query: &SparseVector,
        column: &ArrayRef,
        rows: &Rows<'_>,
        allowed: &Alive,
    ) -> Result<(Vec<Hit>, u64)> {
        let stored = column.as_binary_opt::<i32>();
        let stored = stored.ok_or_else(|| Error::internal("sparse vectors that are no bytes"))?;
        let mut top = TopK::new(self.query.k);
        let mut compared = 0;
        for at in (0..stored.len()).filter(|at| allowed.contains(rows.first + *at as u32)) {
            if stored.is_valid(at) {
                let vector = sparse_vector(stored.value(at))?;
                top.push(query.score(self.query.metric, &vector) as f32, (rows.ids[at], at as u32));
                compared += 1;
            }
        }
        let hit = |(score, (row_id, at)): (f32, (RowId, u32))| Hit {
            distance: Some(self.query.metric.distance(score)),
            row_id,
            locator: Locator { part: rows.part, row: rows.first + at },
        };
        Ok((top.into_sorted().into_iter().map(hit).collect(), compared))
    }
}

/// A sparse vector from its stored bytes.
pub(crate) fn sparse_vector(stored: &[u8]) -> Result<SparseVector> {
    let read = SparseRef::read(stored)?;
    let (places, values) = read.iter().unzip();
    Ok(SparseVector { dim: read.dim(), places, values })
}

/// Which rows of a snapshot an array holds.
pub(super) struct Rows<'a> {
    pub(super) part: u32,
    pub(super) first: u32,
    pub(super) ids: &'a [RowId],
}

/// A vector column: rows of one dimension, or of any.
struct Vectors<'a> {
    column: &'a dyn Array,
    values: &'a [f32],
    offsets: Offsets<'a>,
}

enum Offsets<'a> {
    Fixed(usize),
    Variable(&'a [i32]),
}

impl<'a> Vectors<'a> {
    fn new(column: &'a ArrayRef) -> Result<Vectors<'a>> {
        let (values, offsets) = match column.data_type() {
            DataType::FixedSizeList(_, dim) => {
                (column.as_fixed_size_list().values(), Offsets::Fixed(*dim as usize))
            }
            DataType::List(_) => {
                let list = column.as_list::<i32>();
                (list.values(), Offsets::Variable(list.value_offsets()))
            }
            other => return Err(Error::internal(format!("{other} is not a vector"))),
        };
        let values: &Float32Array = values
            .as_primitive_opt::<Float32Type>()
            .ok_or_else(|| Error::internal("a vector of something else than real"))?;
        Ok(Vectors { column: column.as_ref(), values: values.values(), offsets })
    }

    fn get(&self, row: usize) -> Option<&'a [f32]> {
        if self.column.is_null(row) {
            return None;
        }
        match self.offsets {
            Offsets::Fixed(dim) => self.values.get(row * dim..(row + 1) * dim),
            Offsets::Variable(offsets) => {
                self.values.get(*offsets.get(row)? as usize..*offsets.get(row + 1)? as usize)
            }
        }
    }
}
