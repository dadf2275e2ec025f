//! Rows of chunks and segments become one new segment, in order of row id, without those that are dead for every reader.

use crate::job::JobControl;
use crate::snapshot::interleave_batches;
use crate::snapshot::part::Part;
use crate::visibility::Alive;
use crate::{SegmentMeta, SegmentWriter, StorageEnv, TableLayout};
use arrow::record_batch::RecordBatch;
use quiver_base::{ColumnId, Result, RowId, SegmentId, ShardId, Timestamp};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A row to write: its id, its part, its position there.
type Source = (RowId, u32, u32);

/// Writes the rows of `parts` that were not deleted by `as_of`. `None` if there are none.
pub(crate) fn write_rows(
    env: &Arc<StorageEnv>,
    shard: ShardId,
    layout: &TableLayout,
    parts: &[Part],
    as_of: Timestamp,
    control: &JobControl,
) -> Result<Option<SegmentMeta>> {
    let order = surviving_rows(env, parts, as_of)?;
    control.total_rows.fetch_add(order.len() as u64, Ordering::Relaxed);
    if order.is_empty() {
        return Ok(None);
    }
    let layout = with_columns_of(layout, parts)?;
    let columns: Vec<ColumnId> = layout.columns.iter().map(|column| column.id).collect();
    let born = parts.iter().map(Part::commit_ts).collect::<Result<Vec<_>>>()?;
    let mut writer = SegmentWriter::new(env, shard, new_segment_id(), &layout)?;
    for rows in order.chunks(env.options.row_group_rows.max(1)) {
        let batch = read_rows(&layout, &columns, parts, rows)?;
        let ids: Vec<RowId> = rows.iter().map(|(id, ..)| *id).collect();
        let ts: Vec<Timestamp> =
            rows.iter().map(|(_, part, row)| born[*part as usize][*row as usize]).collect();
        writer.append(&batch, &ids, &ts)?;
        control.advance(rows.len())?;
    }
    Ok(Some(writer.finish()?))
}

fn surviving_rows(env: &StorageEnv, parts: &[Part], as_of: Timestamp) -> Result<Vec<Source>> {
    let alive = parts.iter().map(|part| part.survivors(as_of)).collect::<Result<Vec<Alive>>>()?;
    let total: usize = alive.iter().map(|alive| alive.len() as usize).sum();
    let _memory = env.memory.reserve_unchecked(total * size_of::<Source>());
    let mut order = Vec::with_capacity(total);
    for (at, (part, alive)) in parts.iter().zip(&alive).enumerate() {
        let ids = part.row_id_range(0..part.rows());
        let rows = ids.into_iter().zip(0u32..).filter(|(_, row)| alive.contains(*row));
        order.extend(rows.map(|(id, row)| (id, at as u32, row)));
    }
    order.sort_unstable();
    Ok(order)
}

fn read_rows(
    layout: &TableLayout,
    columns: &[ColumnId],
    parts: &[Part],
    rows: &[Source],
) -> Result<RecordBatch> {
    let mut wanted: Vec<Vec<u32>> = vec![Vec::new(); parts.len()];
    for (_, part, row) in rows {
        wanted[*part as usize].push(*row);
    }
    let mut place = vec![0usize; parts.len()];
    let mut batches = Vec::new();
    for (part, positions) in wanted.iter().enumerate().filter(|(_, positions)| !positions.is_empty()) {
        place[part] = batches.len();
        batches.push(read_positions(layout, columns, &parts[part], positions)?);
    }
    if let [only] = batches.as_slice()
        && wanted.iter().all(|positions| positions.is_sorted())
    {
        return Ok(only.clone());
    }
    let mut next = vec![0usize; parts.len()];
    let order: Vec<(usize, usize)> = rows
        .iter()
        .map(|(_, part, _)| {
            let part = *part as usize;
            next[part] += 1;
            (place[part], next[part] - 1)
        })
        .collect();
    interleave_batches(batches[0].schema(), &batches, &order)
}

/// A run is read as one, which a segment does without looking at single rows.
fn read_positions(
    layout: &TableLayout,
    columns: &[ColumnId],
    part: &Part,
    rows: &[u32],
) -> Result<RecordBatch> {
    match rows {
        [first, .., last] if rows.is_sorted() && (last - first) as usize == rows.len() - 1 => {
            part.read(layout, columns, *first..last + 1)
        }
        _ => part.take(layout, columns, rows),
    }
}

/// The layout with columns that the parts have and it does not know yet: it may be older than they are.
fn with_columns_of(layout: &TableLayout, parts: &[Part]) -> Result<TableLayout> {
    let mut wide = layout.clone();
    for part in parts {
        for id in unknown_columns(layout, part) {
            if wide.column(id).is_none() {
                wide.columns.push(part.stored_column(id)?);
            }
        }
    }
    wide.columns.sort_by_key(|column| column.id);
    Ok(wide)
}

/// Columns that a part has and the layout does not know yet: ids rise, so they are greater than all that it knows. (So is that
/// of the last column when it was dropped: its data is kept until a younger one comes.) Parts that differ in them are not
/// merged: rows without the column may have a missing value that only a newer layout knows.
pub(crate) fn unknown_columns(layout: &TableLayout, part: &Part) -> Vec<ColumnId> {
    let newest = layout.columns.iter().map(|column| column.id).max();
    let is_unknown = |id: &ColumnId| newest.is_none_or(|newest| *id > newest);
    match part {
        Part::Memory(rows) => rows.chunk.fields().map(|(id, _)| id).filter(is_unknown).collect(),
        Part::Segment(sealed) => sealed.meta().columns.iter().copied().filter(is_unknown).collect(),
    }
}

/// An id that no segment has had: drawn by chance, so that jobs that end in no publish leave no claim.
fn new_segment_id() -> SegmentId {
    SegmentId(uuid::Uuid::new_v4().as_u64_pair().0 >> 1)
}
