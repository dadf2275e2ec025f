//! An immutable view of one shard: scan, look up by key, search by vector, fetch winners.

pub(crate) mod part;
mod point;
mod scan;

pub(crate) use point::interleave_batches;
pub(crate) use scan::passing;

use crate::chunk::{Born, Chunk};
use crate::version::Version;
use crate::visibility::Alive;
use crate::{RowBatch, RowFilter};
use arrow::record_batch::RecordBatch;
use imbl::OrdMap;
use part::Part;
use quiver_base::{ColumnId, Error, Result, RowId, Timestamp, TxnId};
use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

/// Where a row of one snapshot is. Means nothing to another snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Locator {
    /// Which part of the snapshot.
    pub part: u32,
    /// The row's position in it.
    pub row: u32,
}

/// What to scan.
#[derive(Clone, Debug)]
pub struct ScanRequest {
    /// Columns of the answer, in this order.
    pub columns: Vec<ColumnId>,
    /// Rows to keep.
    pub filter: Option<Arc<dyn RowFilter>>,
    /// At most this many rows a batch.
    pub batch_rows: usize,
}

/// An independent piece of a scan: a row group of a segment, or a run of memtable rows.
#[derive(Clone, Debug)]
pub struct ScanPart {
    /// Which part of the snapshot.
    pub part: u32,
    /// First row.
    pub start: u32,
    /// How many rows, dead ones included.
    pub rows: u32,
    /// The rows out of them that an index says can pass the filter; all of them if no index says.
    pub candidates: Option<Arc<[u32]>>,
}

/// Rows of a scan.
#[derive(Clone, Debug)]
pub struct ScanBatch {
    /// The columns asked for, typed and named by the layout.
    pub batch: RecordBatch,
    /// One a row.
    pub row_ids: Vec<RowId>,
}

/// An immutable view of one shard. Cheap to clone by `Arc`; holds what it reads alive.
#[derive(Debug)]
pub struct Snapshot {
    read_ts: Timestamp,
    parts: Vec<Part>,
    tombstones: OrdMap<RowId, Timestamp>,
    /// Rows that the reading transaction has ended itself.
    hidden: [Arc<HashSet<RowId>>; 2],
    /// What is visible of each part, once asked for.
    alive: Vec<OnceLock<Alive>>,
}

impl Snapshot {
    pub(crate) fn new(version: &Version, read_ts: Timestamp, own: Option<TxnId>) -> Arc<Snapshot> {
        let old = version.segments.iter().filter(|sealed| sealed.meta().oldest_ts() <= read_ts);
        let recent = version.memtable.chunks().iter().filter(|entry| entry.chunk.born().at(0) <= read_ts);
        let mut parts: Vec<Part> =
            old.cloned().map(Part::Segment).chain(recent.cloned().map(Part::Memory)).collect();
        let mut ended = HashSet::new();
        if let Some(staged) = own.and_then(|txn| version.staged.get(&txn)) {
            parts.extend(staged.segments.iter().cloned().map(Part::Segment));
            parts.extend(staged.chunks.iter().cloned().map(Part::own));
            ended.extend(staged.deletes.iter().copied());
        }
        let hidden = [Arc::new(ended), Arc::default()];
        Arc::new(Snapshot::of(read_ts, parts, version.tombstones.clone(), hidden))
    }

    fn of(
        read_ts: Timestamp,
        parts: Vec<Part>,
        tombstones: OrdMap<RowId, Timestamp>,
        hidden: [Arc<HashSet<RowId>>; 2],
    ) -> Snapshot {
        let alive = parts.iter().map(|_| OnceLock::new()).collect();
        Snapshot { read_ts, parts, tombstones, hidden, alive }
    }

    /// A view of a shard that holds nothing: of a table that its own transaction made.
    pub fn empty(read_ts: Timestamp) -> Arc<Snapshot> {
        Arc::new(Snapshot::of(read_ts, Vec::new(), OrdMap::new(), Default::default()))
    }

    /// The same view with a transaction's own uncommitted rows added and its own deletes hidden. Laid over a view
    /// that has been laid over before, it replaces what was hidden then.
    pub fn with_overlay(&self, inserts: &[Arc<RowBatch>], deletes: Arc<HashSet<RowId>>) -> Arc<Snapshot> {
        let own = inserts.iter().filter(|rows| !rows.row_ids.is_empty());
        let own =
            own.map(|rows| Part::own(Arc::new(Chunk::uncounted(rows.clone(), Born::All(Timestamp::ZERO)))));
        let parts = self.parts.iter().cloned().chain(own).collect();
        let hidden = [self.hidden[0].clone(), deletes];
        Arc::new(Snapshot::of(self.read_ts, parts, self.tombstones.clone(), hidden))
    }

    /// The read timestamp.
    pub fn read_ts(&self) -> Timestamp {
        self.read_ts
    }

    /// Visible rows. Exact, from counts; no row data is read. If a delete bitmap cannot be read, what the manifest says.
    pub fn row_count(&self) -> u64 {
        let rows = |part: usize| match (self.alive(part), &self.parts[part]) {
            (Ok(alive), _) => u64::from(alive.len()),
            (Err(_), Part::Segment(sealed)) => u64::from(sealed.live_rows()),
            (Err(_), Part::Memory(rows)) => rows.chunk.len() as u64,
        };
        (0..self.parts.len()).map(rows).sum()
    }

    /// Whether everything is in memory or in files of this machine: no read waits for another one.
    pub fn is_local(&self) -> bool {
        self.parts.iter().all(|part| match part {
            Part::Memory(_) => true,
            Part::Segment(sealed) => sealed.segment.is_local(),
        })
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The visible rows of a part.
    pub(crate) fn alive(&self, part: usize) -> Result<&Alive> {
        if let Some(alive) = self.alive[part].get() {
            return Ok(alive);
        }
        let container = &self.parts[part];
        let mut alive = container.alive(self.read_ts)?;
        let mut own =
            self.hidden.iter().flat_map(|set| set.iter()).filter_map(|row| container.position(*row));
        if let Some(first) = own.next() {
            let mut set = alive.to_set();
            for row in std::iter::once(first).chain(own) {
                set.remove(row);
            }
            alive = Alive::Some(Arc::new(set));
        }
        Ok(self.alive[part].get_or_init(|| alive))
    }

    /// Whether one row is visible, without looking at its neighbours.
    pub(crate) fn is_visible(&self, row: RowId, at: Locator) -> Result<bool> {
        if self.hidden.iter().any(|set| set.contains(&row)) {
            return Ok(false);
        }
        if self.tombstones.get(&row).is_some_and(|ts| *ts <= self.read_ts) {
            return Ok(false);
        }
        self.part(at.part)?.is_born(at.row, self.read_ts)
    }

    pub(crate) fn part(&self, part: u32) -> Result<&Part> {
        self.parts
            .get(part as usize)
            .ok_or_else(|| Error::internal(format!("part {part} is not of this snapshot")))
    }
}
