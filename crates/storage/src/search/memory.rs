//! Exact search over rows that no segment holds, with the kernels that segments are searched with. Codes of these rows tell which of them need
//! not be compared at all.

use super::source::Source;
use super::{Hit, Search, VectorQuery, compare_hits, different_dimensions};
use crate::code_cache::ColumnCodes;
use crate::snapshot::Locator;
use crate::snapshot::part::Part;
use crate::visibility::Alive;
use arrow::array::{Array, ArrayRef, AsArray, Float32Array};
use arrow::datatypes::{DataType, Float32Type};
use quiver_base::sparse::SparseRef;
use quiver_base::{Error, Result, RowId};
use quiver_index::{AskedCodes, Metric, SparseVector, TopK};
use std::sync::Arc;

impl Search<'_> {
    /// The k nearest rows of a chunk.
    pub(super) fn in_memory(&mut self, part: u32, chunk: &Part, allowed: &Alive) -> Result<Vec<Hit>> {
        let mut all = Vec::new();
        for range in self.source.pieces(0..chunk.rows()) {
            let column = self.source.vectors(chunk, self.layout, range.clone())?;
            let ids = chunk.row_id_range(range.clone());
            let rows = Rows { part, first: range.start, ids: &ids };
            let (hits, compared) = match self.codes(chunk) {
                Some((codes, asked)) => self.exact_by_codes(&column, &codes, asked, &rows, allowed)?,
                None => self.exact(&column, &rows, allowed)?,
            };
            self.stats.memtable_rows += compared;
            all.extend(hits);
        }
        Ok(all)
    }

    /// The codes of a chunk's rows and the query made ready for them, if there are some that say something of it.
    fn codes(&self, chunk: &Part) -> Option<(Arc<ColumnCodes>, &AskedCodes)> {
        let (Part::Memory(own), Source::Column(column)) = (chunk, self.source) else { return None };
        let asked = self.asked_codes()?;
        let found = own.chunk.codes(column)?;
        (found.codes.dim() == self.query.query.len()).then_some((found, asked))
    }

    /// The query made ready for codes, unless these say nothing of it.
    pub(super) fn asked_codes(&self) -> Option<&AskedCodes> {
        let asked = || AskedCodes::new(self.query.metric, &self.query.query);
        self.asked_codes.get_or_init(asked).as_ref()
    }

    /// As [`exact`](Self::exact), with the codes of all these rows.
    fn exact_by_codes(
        &self,
        column: &ArrayRef,
        codes: &ColumnCodes,
        asked: &AskedCodes,
        rows: &Rows<'_>,
        allowed: &Alive,
    ) -> Result<(Vec<Hit>, u64)> {
        let vectors = Vectors::new(column)?;
        let mut nearest = self.nearest();
        let waiting = (0..column.len() as u32).filter(|at| allowed.contains(rows.first + at));
        let looked_at = codes.codes.sift(asked, waiting, nearest.bound(), |at| {
            if let Some(vector) = vectors.get(at as usize) {
                nearest.push(vector, (rows.ids[at as usize], at));
            }
            nearest.bound()
        });
        Ok((nearest.into_hits(&vectors, rows), looked_at))
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
        let query = self.query.query.as_slice();
        let vectors = Vectors::new(column)?;
        let (mut nearest, mut compared) = (self.nearest(), 0);
        for at in (0..column.len()).filter(|at| allowed.contains(rows.first + *at as u32)) {
            let Some(vector) = vectors.get(at) else { continue };
            if vector.len() != query.len() {
                return Err(different_dimensions(vector.len(), query.len()));
            }
            compared += 1;
            nearest.push(vector, (rows.ids[at], at as u32));
        }
        Ok((nearest.into_hits(&vectors, rows), compared))
    }

    /// None yet, of the rows of one chunk.
    fn nearest(&self) -> Nearest<'_> {
        let VectorQuery { metric, query, k, .. } = self.query;
        let bound = self.rival_score().unwrap_or(f32::INFINITY);
        Nearest { metric: *metric, query, top: TopK::new(*k), bound }
    }
}

/// The nearest rows of a chunk so far, leaving out those that are farther than k of other chunks.
struct Nearest<'a> {
    metric: Metric,
    query: &'a [f32],
    top: TopK<(RowId, u32)>,
    bound: f32,
}

impl Nearest<'_> {
    /// Compares a row; whether it is one of them.
    fn push(&mut self, vector: &[f32], id: (RowId, u32)) -> bool {
        let score = self.metric.score(self.query, vector);
        // False of what is no number, too: the order of rows decides then, as of what is as far.
        let is_farther = score > self.bound;
        !is_farther && self.top.push(score, id)
    }

    /// A score that none of them is above.
    fn bound(&self) -> f32 {
        // The least that is a number.
        self.top.bound().map_or(self.bound, |farthest| farthest.min(self.bound))
    }

    fn into_hits(self, vectors: &Vectors<'_>, rows: &Rows<'_>) -> Vec<Hit> {
        let (metric, query) = (self.metric, self.query);
        let hit = |(_, (row_id, at)): (f32, (RowId, u32))| Hit {
            distance: vectors.get(at as usize).map(|vector| metric.distance_between(query, vector)),
            row_id,
            locator: Locator { part: rows.part, row: rows.first + at },
        };
        let mut hits: Vec<Hit> = self.top.into_sorted().into_iter().map(hit).collect();
        hits.sort_unstable_by(compare_hits);
        hits
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
