//! Committed rows that no segment holds yet: a short list of chunks in commit order. Neighbours of similar size are
//! merged as rows arrive, so that a million one-row commits stay a short list and each row is copied a few times only.

use crate::chunk::Chunk;
use crate::visibility::Deletes;
use quiver_base::{MemoryBudget, RowId, Timestamp};
use std::ops::Range;
use std::sync::Arc;

const CHUNK_ROWS_MAX: usize = 32_768;
/// Rows of vectors are copied once or twice on the thread that applies them, while their writer waits.
const CHUNK_BYTES_MAX: usize = 1 << 20;
/// So few rows may be longer together.
const FEW_ROWS: usize = 64;
const FEW_ROWS_BYTES_MAX: usize = 4 << 20;

/// A chunk and the deletes of its rows.
#[derive(Clone, Debug)]
pub(crate) struct MemChunk {
    /// The rows.
    pub(crate) chunk: Arc<Chunk>,
    /// Their deletes.
    pub(crate) deletes: Deletes,
}

/// Chunks in commit order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memtable {
    chunks: Vec<MemChunk>,
}

impl Memtable {
    /// The chunks, oldest first.
    pub(crate) fn chunks(&self) -> &[MemChunk] {
        &self.chunks
    }

    /// Rows, dead ones included.
    pub(crate) fn rows(&self) -> usize {
        self.chunks.iter().map(|entry| entry.chunk.len()).sum()
    }

    /// Bytes of the rows.
    pub(crate) fn bytes(&self) -> usize {
        self.chunks.iter().map(|entry| entry.chunk.bytes()).sum()
    }

    /// Adds rows newer than all before them.
    pub(crate) fn append(&mut self, chunk: Chunk, memory: &Arc<MemoryBudget>) {
        if chunk.len() == 0 {
            return;
        }
        // The newest may be a single row, which has none.
        let mut coded = self.chunks.iter().rev().map(|entry| entry.chunk.coded_columns());
        let coded = coded.find(|columns| !columns.is_empty()).unwrap_or_default();
        self.chunks.push(MemChunk { chunk: Arc::new(chunk), deletes: Deletes::default() });
        let from = self.joined_from();
        // A merge that fails leaves chunks that are as good.
        if from + 1 < self.chunks.len()
            && let Some(merged) = merge(&self.chunks[from..], memory)
        {
            self.chunks.truncate(from);
            self.chunks.push(merged);
        }
        // Where rows are searched, the next search is not to wait for the codes of the few that came. Many are a load.
        if let Some(newest) = self.chunks.last()
            && newest.chunk.bytes() <= CHUNK_BYTES_MAX
        {
            coded.into_iter().for_each(|column| drop(newest.chunk.codes(column)));
        }
    }

    /// The first of the newest chunks that are to become one: each older one has no more rows than all that are newer.
    fn joined_from(&self) -> usize {
        let mut from = self.chunks.len();
        let (mut rows, mut bytes) = (0, 0);
        for pair in self.chunks.windows(2).rev() {
            let [older, newer] = [&pair[0].chunk, &pair[1].chunk];
            (rows, bytes) = (rows + newer.len(), bytes + newer.bytes());
            from -= 1;
            let all_rows = rows + older.len();
            let bytes_max = if all_rows <= FEW_ROWS { FEW_ROWS_BYTES_MAX } else { CHUNK_BYTES_MAX };
            let small = all_rows <= CHUNK_ROWS_MAX && bytes + older.bytes() <= bytes_max;
            if older.len() > rows || !small || !older.has_columns_of(newer) {
                return from;
            }
        }
        0
    }

    /// Where a row is: the chunk's place in the list and the position in it.
    pub(crate) fn position(&self, row: RowId) -> Option<(usize, u32)> {
        let found = |(at, entry): (usize, &MemChunk)| Some((at, entry.chunk.position(row)?));
        self.chunks.iter().enumerate().rev().find_map(found)
    }

    /// Records a delete; false if the row is not here.
    pub(crate) fn delete(&mut self, row: RowId, ts: Timestamp) -> bool {
        let Some((chunk, position)) = self.position(row) else { return false };
        self.chunks[chunk].deletes.push(position, ts);
        true
    }

    /// The list without rows committed at or before `to`, and what was taken out, with its deletes.
    pub(crate) fn cut(&mut self, to: Timestamp, memory: &Arc<MemoryBudget>) -> Vec<MemChunk> {
        let mut taken = Vec::new();
        let mut kept = Vec::new();
        for entry in std::mem::take(&mut self.chunks) {
            let old = entry.chunk.born().visible(entry.chunk.len(), to);
            if old > 0 && old < entry.chunk.len() {
                kept.push(tail(&entry, old, memory));
            } else if old == 0 {
                kept.push(entry);
                continue;
            }
            taken.push(entry);
        }
        self.chunks = kept;
        taken
    }
}

/// Each row is copied once, however many chunks become one.
fn merge(chunks: &[MemChunk], memory: &Arc<MemoryBudget>) -> Option<MemChunk> {
    let parts: Vec<(&Chunk, Range<usize>)> =
        chunks.iter().map(|entry| (&*entry.chunk, 0..entry.chunk.len())).collect();
    let chunk = Chunk::concat(&parts, memory).ok()?;
    let (mut deleted, mut shift) = (Vec::new(), 0);
    for entry in chunks {
        deleted.extend(entry.deletes.iter().map(|(row, ts)| (row + shift, ts)));
        shift += entry.chunk.len() as u32;
    }
    Some(MemChunk { chunk: Arc::new(chunk), deletes: Deletes::from_unordered(deleted) })
}

fn tail(entry: &MemChunk, from: usize, memory: &Arc<MemoryBudget>) -> MemChunk {
    let chunk = Chunk::tail(&entry.chunk, from, memory);
    let moved = entry.deletes.iter().filter(|(row, _)| *row as usize >= from);
    let deletes = Deletes::from_unordered(moved.map(|(row, ts)| (row - from as u32, ts)).collect());
    MemChunk { chunk: Arc::new(chunk), deletes }
}
