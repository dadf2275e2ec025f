//! Inverted lists of one segment's sparse vectors: for every place that some vector has a value at, the rows that do. A search adds
//! up what its own places have in common with each row, so that its answers are exact.
//!
//! ```text
//! header 64 bytes | places, u32 | starts, (places + 1) u64 | rows, u32 | values, f32 | squares, f64 a row | sums, f64 a row | presence
//! ```
//! Each section is padded to 64 bytes. `squares` and `sums` are those of a row's values and of their absolute values.

mod file;
mod score;

use crate::{Mapped, Metric, RowSet, SearchOutcome, Strategy, TopK};
use file::{Header, Section, SparseFile, write};
use quiver_base::{Error, MemoryBudget, Result};
use score::Scorer;
use std::io::Write;
use std::sync::Arc;

pub(crate) use file::is_sparse_file;

/// A sparse vector: places in ascending order, from zero, and the values there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SparseVector {
    /// Dimensions.
    pub dim: u32,
    /// Places.
    pub places: Vec<u32>,
    /// Values, one a place.
    pub values: Vec<f32>,
}

impl SparseVector {
    /// The metric's score of two vectors, as [`Metric::score`] has it.
    pub fn score(&self, metric: Metric, other: &SparseVector) -> f64 {
        let mut scorer = Scorer::new(metric, self);
        let mut at = 0;
        for (place, value) in other.places.iter().zip(&other.values) {
            while at < self.places.len() && self.places[at] < *place {
                at += 1;
            }
            if at < self.places.len() && self.places[at] == *place {
                scorer.meet(self.values[at], *value);
            }
        }
        let (squares, sums) = totals(&other.values);
        scorer.finish(squares, sums)
    }
}

/// The sums of squares and of absolute values.
fn totals(values: &[f32]) -> (f64, f64) {
    let values = values.iter().map(|value| f64::from(*value));
    values.fold((0.0, 0.0), |(squares, sums), value| (squares + value * value, sums + value.abs()))
}

/// Collects a segment's vectors for [`SparseIndex`].
#[derive(Debug)]
pub struct SparseBuilder {
    postings: Vec<(u32, u32, f32)>,
    squares: Vec<f64>,
    sums: Vec<f64>,
    presence: Vec<u64>,
    present: u32,
    memory: quiver_base::Reservation,
    budget: Arc<MemoryBudget>,
}

impl SparseBuilder {
    /// Nothing yet.
    pub fn new(budget: &Arc<MemoryBudget>) -> SparseBuilder {
        SparseBuilder {
            postings: Vec::new(),
            squares: Vec::new(),
            sums: Vec::new(),
            presence: Vec::new(),
            present: 0,
            memory: budget.empty(),
            budget: budget.clone(),
        }
    }

    /// The next row; `None` is NULL. Memory is reserved first: 53200 if there is none.
    pub fn push(&mut self, vector: Option<(&[u32], &[f32])>) -> Result<()> {
        let row = u32::try_from(self.squares.len())
            .map_err(|_| Error::internal("too many rows for one segment"))?;
        if row.is_multiple_of(1024) {
            let bytes =
                (self.postings.len() + 1024) * 2 * size_of::<(u32, u32, f32)>() + self.squares.len() * 16;
            self.memory = self.budget.empty();
            self.memory = self.budget.try_reserve("Building an index of sparse vectors", bytes)?;
        }
        if row.is_multiple_of(64) {
            self.presence.push(0);
        }
        let (squares, sums) = vector.map_or((0.0, 0.0), |(_, values)| totals(values));
        self.squares.push(squares);
        self.sums.push(sums);
        if let Some((places, values)) = vector {
            self.presence[row as usize / 64] |= 1 << (row % 64);
            self.present += 1;
            self.postings.extend(places.iter().zip(values).map(|(place, value)| (*place, row, *value)));
        }
        Ok(())
    }

    /// Writes the file.
    pub fn write(mut self, out: &mut dyn Write) -> Result<u64> {
        self.postings.sort_unstable_by_key(|(place, row, _)| (*place, *row));
        let mut places = Vec::new();
        let mut starts: Vec<u64> = Vec::new();
        for (at, (place, _, _)) in self.postings.iter().enumerate() {
            if places.last() != Some(place) {
                places.push(*place);
                starts.push(at as u64);
            }
        }
        starts.push(self.postings.len() as u64);
        let rows: Vec<u32> = self.postings.iter().map(|(_, row, _)| *row).collect();
        let values: Vec<f32> = self.postings.iter().map(|(_, _, value)| *value).collect();
        let header = Header {
            rows: self.squares.len() as u32,
            present: self.present,
            places: places.len() as u32,
            postings: rows.len() as u64,
        };
        write(&header, (&places, &starts, &rows, &values, &self.squares, &self.sums, &self.presence), out)
    }
}

/// A file of inverted lists, opened.
#[derive(Clone, Debug)]
pub struct SparseIndex {
    file: SparseFile,
}

impl SparseIndex {
    /// Opens a file. Reads the header only; see [`verify`](Self::verify).
    pub fn open(bytes: Mapped) -> Result<SparseIndex> {
        Ok(SparseIndex { file: SparseFile::open(bytes)? })
    }

    /// Reads everything, compares it with its checksums and checks that every row exists.
    pub fn verify(&self) -> Result<()> {
        self.file.verify()
    }

    /// Rows of the segment, NULLs included.
    pub fn rows(&self) -> u32 {
        self.file.header.rows
    }

    /// Whether a row exists and is not NULL.
    pub fn is_present(&self, row: u32) -> bool {
        row < self.rows()
            && self.file.presence().get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// The `k` nearest of the allowed rows, exactly.
    pub fn search(
        &self,
        metric: Metric,
        query: &SparseVector,
        k: usize,
        allowed: Option<&RowSet>,
    ) -> SearchOutcome {
        let mut met = vec![0.0f64; self.rows() as usize];
        let mut visited = 0;
        let scorer = Scorer::new(metric, query);
        for (place, own) in query.places.iter().zip(&query.values) {
            let (rows, values) = self.file.list(*place);
            visited += rows.len() as u64;
            for (row, value) in rows.iter().zip(values) {
                // A row beyond the end is one of a damaged file.
                if let Some(met) = met.get_mut(*row as usize) {
                    *met += scorer.common(*own, *value);
                }
            }
        }
        let (squares, sums) = (self.file.numbers(Section::Squares), self.file.numbers(Section::Sums));
        let mut top = TopK::new(k);
        for (row, met) in met.iter().enumerate() {
            let id = row as u32;
            if self.is_present(id) && allowed.is_none_or(|allowed| allowed.contains(id)) {
                top.push(scorer.after(*met).finish(squares[row], sums[row]) as f32, id);
            }
        }
        SearchOutcome {
            neighbors: top.into_neighbors(),
            visited,
            strategy: Strategy::Inverted,
            expected: None,
        }
    }
}

#[cfg(test)]
mod tests;
