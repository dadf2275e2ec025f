//! Scans: pieces, and the rows of a piece that are visible and pass the filter.

use super::part::Part;
use super::{ScanBatch, ScanPart, ScanRequest, Snapshot};
use crate::sealed::Sealed;
use crate::visibility::Alive;
use crate::{RowFilter, TableLayout};
use arrow::array::Array;
use quiver_base::{Error, Result};
use std::ops::Range;

impl Snapshot {
    /// Pieces that can be scanned independently; what the filter's statistics rule out is left out.
    pub fn scan_parts(&self, layout: &TableLayout, request: &ScanRequest) -> Result<Vec<ScanPart>> {
        let mut pieces = Vec::new();
        for (part, container) in self.parts().iter().enumerate() {
            let alive = self.alive(part)?;
            if alive.len() == 0 {
                continue;
            }
            let ranges = match container {
                Part::Memory(_) => std::iter::once(0..container.rows()).collect(),
                Part::Segment(sealed) => may_pass(sealed, layout, request.filter.as_deref())?,
            };
            let seen = ranges.into_iter().filter(|range| alive.any(range.clone()));
            let piece =
                |rows: Range<u32>| ScanPart { part: part as u32, start: rows.start, rows: rows.len() as u32 };
            pieces.extend(seen.map(piece));
        }
        Ok(pieces)
    }

    /// Scans one piece. Blocking. May return an empty list.
    pub fn scan_part(
        &self,
        layout: &TableLayout,
        request: &ScanRequest,
        part: &ScanPart,
    ) -> Result<Vec<ScanBatch>> {
        let container = self.part(part.part)?;
        let alive = self.alive(part.part as usize)?;
        let range = part.start..part.start.saturating_add(part.rows).min(container.rows());
        let chosen = choose(container, layout, alive, request.filter.as_deref(), range.clone())?;
        let rows_max = request.batch_rows.max(1);
        if let Some(rows) = chosen {
            let read = |rows: &[u32]| {
                let batch = container.take(layout, &request.columns, rows)?;
                Ok(ScanBatch { batch, row_ids: container.row_ids(rows) })
            };
            return rows.chunks(rows_max).map(read).collect();
        }
        let read = |start: u32| {
            let rows = start..range.end.min(start.saturating_add(rows_max as u32));
            let batch = container.read(layout, &request.columns, rows.clone())?;
            Ok(ScanBatch { batch, row_ids: container.row_id_range(rows) })
        };
        range.clone().step_by(rows_max).map(read).collect()
    }
}

/// The row groups of a segment whose statistics do not rule out that a row passes.
fn may_pass(
    sealed: &Sealed,
    layout: &TableLayout,
    filter: Option<&dyn RowFilter>,
) -> Result<Vec<Range<u32>>> {
    let groups = sealed.segment.row_groups()?;
    let Some(filter) = filter else { return Ok(groups) };
    let may_match = filter.may_match(&sealed.segment.statistics(layout)?);
    Ok(groups
        .into_iter()
        .enumerate()
        .filter(|(at, _)| may_match.get(*at) != Some(&false))
        .map(|(_, g)| g)
        .collect())
}

/// Positions of the rows of a range that are visible and pass; `None` if all are.
fn choose(
    container: &Part,
    layout: &TableLayout,
    alive: &Alive,
    filter: Option<&dyn RowFilter>,
    range: Range<u32>,
) -> Result<Option<Vec<u32>>> {
    let seen: Option<Vec<u32>> =
        (!alive.all(range.clone())).then(|| range.clone().filter(|row| alive.contains(*row)).collect());
    let Some(filter) = filter else { return Ok(seen) };
    let rows = evaluate(container, layout, filter, range.clone(), seen.as_deref())?;
    Ok((rows.len() < range.len()).then_some(rows))
}

/// Calls back with each row of a container that passes a filter: of those alive, or of all if `alive` is not given. Returns
/// how many pieces statistics left to look at.
pub(crate) fn passing(
    container: &Part,
    layout: &TableLayout,
    filter: &dyn RowFilter,
    alive: Option<&Alive>,
    mut found: impl FnMut(u32),
) -> Result<usize> {
    let ranges = match container {
        Part::Memory(_) => std::iter::once(0..container.rows()).collect(),
        Part::Segment(sealed) => may_pass(sealed, layout, Some(filter))?,
    };
    for range in &ranges {
        let all = Alive::All(container.rows());
        match choose(container, layout, alive.unwrap_or(&all), Some(filter), range.clone())? {
            Some(rows) => rows.into_iter().for_each(&mut found),
            None => range.clone().for_each(&mut found),
        }
    }
    Ok(ranges.len())
}

/// The rows out of a range, or out of `seen` in it, that pass. A row that the reader cannot see is not looked at: the filter
/// might fail on it.
fn evaluate(
    container: &Part,
    layout: &TableLayout,
    filter: &dyn RowFilter,
    range: Range<u32>,
    seen: Option<&[u32]>,
) -> Result<Vec<u32>> {
    let batch = match seen {
        Some(rows) => container.take(layout, filter.columns(), rows)?,
        None => container.read(layout, filter.columns(), range.clone())?,
    };
    let mask = filter.evaluate(&batch)?;
    if mask.len() != batch.num_rows() {
        return Err(Error::internal("a row filter returned another number of rows"));
    }
    let passes = (0..mask.len()).filter(|at| mask.is_valid(*at) && mask.value(*at));
    Ok(match seen {
        Some(rows) => passes.map(|at| rows[at]).collect(),
        None => passes.map(|at| range.start + at as u32).collect(),
    })
}
