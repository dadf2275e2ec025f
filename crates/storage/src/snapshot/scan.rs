//! Scans: pieces, and the rows of a piece that are visible and pass the filter.

use super::part::Part;
use super::{ScanBatch, ScanPart, ScanRequest, Snapshot};
use crate::lookup::candidates;
use crate::visibility::Alive;
use crate::{RowFilter, TableLayout};
use arrow::array::Array;
use quiver_base::{Error, Result};
use std::ops::Range;
use std::sync::Arc;

impl Snapshot {
    /// Pieces that can be scanned independently; what the filter's statistics rule out is left out.
    pub fn scan_parts(&self, layout: &TableLayout, request: &ScanRequest) -> Result<Vec<ScanPart>> {
        let mut pieces = Vec::new();
        for (part, container) in self.parts().iter().enumerate() {
            let alive = self.alive(part)?;
            if alive.len() == 0 {
                continue;
            }
            let found = may_pass(container, layout, request.filter.as_deref())?;
            let seen = found.into_iter().filter(|piece| alive.any(piece.rows.clone()));
            pieces.extend(seen.map(|Piece { rows, candidates }| ScanPart {
                part: part as u32,
                start: rows.start,
                rows: rows.len() as u32,
                candidates,
            }));
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
        let piece = Piece { rows: range.clone(), candidates: part.candidates.clone() };
        let chosen = choose(container, layout, alive, request.filter.as_deref(), &piece)?;
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

/// Rows of a container that are looked at together.
struct Piece {
    rows: Range<u32>,
    /// Those of them that can pass; any can if it is not known.
    candidates: Option<Arc<[u32]>>,
}

impl Piece {
    fn of(rows: Range<u32>) -> Piece {
        Piece { rows, candidates: None }
    }
}

/// The rows of a container that may pass: of a segment, those that an index names, by row group; else the row groups whose
/// statistics do not rule it out.
fn may_pass(container: &Part, layout: &TableLayout, filter: Option<&dyn RowFilter>) -> Result<Vec<Piece>> {
    let Part::Segment(sealed) = container else { return Ok(vec![Piece::of(0..container.rows())]) };
    let groups = sealed.segment.row_groups()?;
    let Some(filter) = filter else { return Ok(groups.into_iter().map(Piece::of).collect()) };
    if let Some(rows) = candidates(&sealed.segment, layout, filter.constraints())? {
        return Ok(by_group(&rows, groups));
    }
    let may_match = filter.may_match(&sealed.segment.statistics(layout)?);
    Ok(groups
        .into_iter()
        .enumerate()
        .filter(|(at, _)| may_match.get(*at) != Some(&false))
        .map(|(_, rows)| Piece::of(rows))
        .collect())
}

/// Ascending positions divided by row group; groups without any are left out.
fn by_group(rows: &[u32], groups: Vec<Range<u32>>) -> Vec<Piece> {
    let place = |row: u32| rows.partition_point(|other| *other < row);
    let piece = |group: Range<u32>| {
        let own = &rows[place(group.start)..place(group.end)];
        (!own.is_empty()).then(|| Piece { rows: group, candidates: Some(own.into()) })
    };
    groups.into_iter().filter_map(piece).collect()
}

/// Positions of the rows of a piece that are visible and pass; `None` if all are.
fn choose(
    container: &Part,
    layout: &TableLayout,
    alive: &Alive,
    filter: Option<&dyn RowFilter>,
    piece: &Piece,
) -> Result<Option<Vec<u32>>> {
    let range = piece.rows.clone();
    let seen: Option<Vec<u32>> = match &piece.candidates {
        Some(rows) => Some(rows.iter().copied().filter(|row| alive.contains(*row)).collect()),
        None => {
            (!alive.all(range.clone())).then(|| range.clone().filter(|row| alive.contains(*row)).collect())
        }
    };
    let Some(filter) = filter else { return Ok(seen) };
    let rows = evaluate(container, layout, filter, range.clone(), seen.as_deref())?;
    Ok((rows.len() < range.len()).then_some(rows))
}

/// Calls back with each row of a container that passes a filter: of those alive, or of all if `alive` is not given. Returns
/// how many pieces indexes and statistics left to look at.
pub(crate) fn passing(
    container: &Part,
    layout: &TableLayout,
    filter: &dyn RowFilter,
    alive: Option<&Alive>,
    mut found: impl FnMut(u32),
) -> Result<usize> {
    let pieces = may_pass(container, layout, Some(filter))?;
    for piece in &pieces {
        let all = Alive::All(container.rows());
        match choose(container, layout, alive.unwrap_or(&all), Some(filter), piece)? {
            Some(rows) => rows.into_iter().for_each(&mut found),
            None => piece.rows.clone().for_each(&mut found),
        }
    }
    Ok(pieces.len())
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
