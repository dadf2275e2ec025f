//! Scans: pieces, and the rows of a piece that are visible and pass the filter.

use super::part::Part;
use super::{ScanBatch, ScanPart, ScanRequest, Snapshot};
use crate::columns::{batch_of, schema_of};
use crate::visibility::Alive;
use crate::{RowFilter, TableLayout};
use arrow::array::{Array, BooleanArray};
use quiver_base::{Error, Result};
use std::ops::Range;

impl Snapshot {
    /// Pieces that can be scanned independently; what the filter's statistics rule out is left out.
    pub fn scan_parts(&self, _layout: &TableLayout, _request: &ScanRequest) -> Result<Vec<ScanPart>> {
        let mut pieces = Vec::new();
        for (part, container) in self.parts().iter().enumerate() {
            if self.alive(part)?.len() > 0 {
                pieces.push(ScanPart { part: part as u32, start: 0, rows: container.rows() });
            }
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
            return rows.chunks(rows_max).map(|rows| read_rows(container, layout, request, rows)).collect();
        }
        let starts = range.clone().step_by(rows_max);
        starts
            .map(|start| {
                let end = range.end.min(start.saturating_add(rows_max as u32));
                read_range(container, layout, request, start..end)
            })
            .collect()
    }
}

fn read_rows(
    container: &Part,
    layout: &TableLayout,
    request: &ScanRequest,
    rows: &[u32],
) -> Result<ScanBatch> {
    let columns =
        request.columns.iter().map(|id| container.take(layout, *id, rows)).collect::<Result<_>>()?;
    let batch = batch_of(schema_of(layout, &request.columns)?, columns, rows.len())?;
    Ok(ScanBatch { batch, row_ids: container.row_ids(rows) })
}

fn read_range(
    container: &Part,
    layout: &TableLayout,
    request: &ScanRequest,
    rows: Range<u32>,
) -> Result<ScanBatch> {
    let column = |id: &quiver_base::ColumnId| container.column(layout, *id, rows.clone());
    let columns = request.columns.iter().map(column).collect::<Result<_>>()?;
    let batch = batch_of(schema_of(layout, &request.columns)?, columns, rows.len())?;
    Ok(ScanBatch { batch, row_ids: container.row_ids(&rows.collect::<Vec<_>>()) })
}

/// Positions of the rows of a range that are visible and pass; `None` if all are.
fn choose(
    container: &Part,
    layout: &TableLayout,
    alive: &Alive,
    filter: Option<&dyn RowFilter>,
    range: Range<u32>,
) -> Result<Option<Vec<u32>>> {
    let passes = match filter {
        Some(filter) => Some(evaluate(container, layout, filter, range.clone())?),
        None => None,
    };
    let keep = |row: &u32| {
        let at = (*row - range.start) as usize;
        alive.contains(*row) && passes.as_ref().is_none_or(|mask| mask.is_valid(at) && mask.value(at))
    };
    let rows: Vec<u32> = range.clone().filter(keep).collect();
    Ok((rows.len() < range.len()).then_some(rows))
}

/// Runs a filter over a range of rows, dead ones included.
pub(crate) fn evaluate(
    container: &Part,
    layout: &TableLayout,
    filter: &dyn RowFilter,
    range: Range<u32>,
) -> Result<BooleanArray> {
    let rows = range.len();
    let column = |id: &quiver_base::ColumnId| container.column(layout, *id, range.clone());
    let columns = filter.columns().iter().map(column).collect::<Result<_>>()?;
    let mask = filter.evaluate(&batch_of(schema_of(layout, filter.columns())?, columns, rows)?)?;
    if mask.len() != rows {
        return Err(Error::internal("a row filter returned another number of rows"));
    }
    Ok(mask)
}
