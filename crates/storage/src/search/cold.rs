//! Search in a segment whose lists and vectors stay in a remote store: a few rounds of reads in place of fetching them.

use super::{Hit, Search};
use crate::Segment;
use crate::objects::RemoteReads;
use crate::sealed::Sealed;
use crate::segment::{ColdLists, ColdSource, Reading};
use crate::snapshot::Locator;
use crate::visibility::Alive;
use quiver_base::Result;
use quiver_index::{SearchOutcome, Strategy, TopK, VectorIndexKind};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

/// If lists cannot answer, so many rows are compared by reading their blocks; for more, all vectors are fetched.
const BLOCKWISE_ROWS_MAX: usize = 1024;

impl Search<'_> {
    /// The k nearest rows of a segment that is read in parts; nothing if it has to be searched as any other is.
    pub(super) fn in_cold_segment(
        &mut self,
        part: u32,
        sealed: &Sealed,
        allowed: &Alive,
    ) -> Result<Option<Vec<Hit>>> {
        let reading = RefCell::new(Reading::new(sealed.segment.env()));
        let found = self.in_cold_lists(sealed, allowed, &reading);
        self.count(reading.into_inner().reads);
        let Some((outcome, distances)) = found? else { return Ok(None) };
        self.stats.rows_visited += outcome.visited;
        *self.strategies.entry(outcome.strategy.to_string()).or_default() += 1;
        let hit = |row: u32| {
            let row_id = sealed.meta().row_ids.row_id(row)?;
            Some(Hit { distance: distances.get(&row).copied(), row_id, locator: Locator { part, row } })
        };
        Ok(Some(outcome.neighbors.iter().filter_map(|neighbor| hit(neighbor.row)).collect()))
    }

    fn in_cold_lists(
        &self,
        sealed: &Sealed,
        allowed: &Alive,
        reading: &RefCell<Reading>,
    ) -> Result<Option<(SearchOutcome, HashMap<u32, f64>)>> {
        let Some(cold) = self.cold_lists(&sealed.segment, &mut reading.borrow_mut())? else {
            return Ok(None);
        };
        let (query, metric) = (self.query.query.as_slice(), self.query.metric);
        let distances = RefCell::new(HashMap::new());
        let seen = |row: u32, vector: &[f32]| {
            distances.borrow_mut().insert(row, metric.distance_between(query, vector));
        };
        let source = ColdSource { cold: &cold, reading, seen: &seen };
        let (probes, filter) = (self.query.effort.probes, allowed.as_filter());
        let found = cold.head().search(&source, query, self.query.k, probes, filter)?;
        let outcome = match (found, filter) {
            (Some(outcome), _) => outcome,
            (None, Some(few)) if few.len() as usize <= BLOCKWISE_ROWS_MAX => {
                let rows: Vec<u32> = few.iter().collect();
                self.blockwise(&cold, &rows, &mut reading.borrow_mut(), &seen)?
            }
            (None, _) => return Ok(None),
        };
        Ok(Some((outcome, distances.into_inner())))
    }

    /// Compares all of a few rows.
    fn blockwise(
        &self,
        cold: &ColdLists,
        rows: &[u32],
        reading: &mut Reading,
        seen: &dyn Fn(u32, &[f32]),
    ) -> Result<SearchOutcome> {
        let (mut top, mut visited) = (TopK::new(self.query.k), 0);
        cold.each_vector(rows, reading, &mut |row, vector| {
            seen(row, vector);
            top.push(self.query.metric.score(&self.query.query, vector), row);
            visited += 1;
        })?;
        Ok(SearchOutcome {
            neighbors: top.into_neighbors(),
            visited,
            strategy: Strategy::Exact,
            expected: None,
        })
    }

    /// The lists to search, if they are to be read in parts.
    fn cold_lists(&self, segment: &Segment, reading: &mut Reading) -> Result<Option<Arc<ColdLists>>> {
        let Some(vectors) = self.source.flat_object(segment.meta()).filter(|_| !self.query.exact) else {
            return Ok(None);
        };
        let index = self.index_for(segment).and_then(|index| self.layout.vector_index(index));
        let Some((index, VectorIndexKind::IvfFlat(params))) = index.map(|index| (index, index.kind)) else {
            return Ok(None);
        };
        let Ok(dim) = u16::try_from(self.query.query.len()) else { return Ok(None) };
        let cold = segment.cold_lists(index.id, vectors, params.lists, dim, reading)?;
        Ok(cold.filter(|cold| cold.head().metric() == self.query.metric))
    }

    /// The first k rows out of `allowed` whose vector is NULL, in a segment that is read in parts.
    pub(super) fn cold_null_rows(&self, segment: &Segment, allowed: &Alive) -> Result<Option<Vec<u32>>> {
        let mut reading = Reading::new(segment.env());
        let cold = self.cold_lists(segment, &mut reading);
        let column = cold.and_then(|cold| cold.map(|cold| cold.column(&mut reading)).transpose());
        self.count(reading.reads);
        let Some(column) = column? else { return Ok(None) };
        let null = |row: &u32| !column.is_present(*row) && allowed.contains(*row);
        Ok(Some((0..segment.rows()).filter(null).take(self.query.k).collect()))
    }

    pub(super) fn count(&self, reads: RemoteReads) {
        let before = self.remote.get();
        let (requests, bytes) = (before.requests + reads.requests, before.bytes + reads.bytes);
        self.remote.set(RemoteReads { requests, bytes });
    }
}

#[cfg(test)]
mod tests;
