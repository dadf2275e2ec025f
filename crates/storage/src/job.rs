//! Background work on a shard: what there is, how it is watched and stopped.

use parking_lot::Mutex;
use quiver_base::{Error, IndexId, Result, SegmentId, ShardId, SqlState, TxnId};
use quiver_index::VectorIndexKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What kind of background work a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobKind {
    /// Memtable rows become a segment.
    Flush,
    /// What an unfinished transaction has staged becomes a segment, so that it does not fill the memory.
    Spill,
    /// Segments become one, dead rows are dropped.
    Compact,
    /// A segment gets indexes it lacks.
    BuildIndex,
    /// Tombstones of a segment become a delete bitmap object.
    WriteDeletes,
}

impl JobKind {
    /// All of them.
    pub const ALL: [JobKind; 5] =
        [JobKind::Flush, JobKind::Spill, JobKind::Compact, JobKind::BuildIndex, JobKind::WriteDeletes];
}

/// A piece of background work that [`crate::Shard::pending_work`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What to do.
    pub kind: JobKind,
    /// The shard to do it for.
    pub shard: ShardId,
    pub(crate) input: JobInput,
}

/// What a job works on. Two jobs of a shard may run at once if they share no input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JobInput {
    Memtable,
    Txn(TxnId),
    Segments(Vec<SegmentId>),
}

impl Job {
    /// Whether both would work on the same rows.
    pub(crate) fn conflicts(&self, other: &Job) -> bool {
        self.shard == other.shard
            && match (&self.input, &other.input) {
                (JobInput::Segments(own), JobInput::Segments(others)) => {
                    own.iter().any(|id| others.contains(id))
                }
                (own, other) => own == other,
            }
    }
}

/// How a running job is watched and stopped.
#[derive(Clone, Debug, Default)]
pub struct JobControl {
    /// Set to stop the job soon; it then fails with 57014.
    pub cancel: Arc<AtomicBool>,
    /// Rows done so far.
    pub done_rows: Arc<AtomicU64>,
    /// Rows to do in all.
    pub total_rows: Arc<AtomicU64>,
    /// Threads an index build may use.
    pub threads: usize,
    /// The vector index that it builds now.
    pub building: Arc<Mutex<Option<Building>>>,
}

/// How far a vector index is built, of one segment's rows.
#[derive(Clone, Debug)]
pub struct Building {
    /// The index.
    pub index: IndexId,
    /// Of which kind.
    pub kind: VectorIndexKind,
    /// Rows linked, or put in a list, so far.
    pub done_rows: Arc<AtomicU64>,
    /// Rows that have a vector.
    pub total_rows: u64,
}

impl JobControl {
    /// Counts rows as done; fails if the job is to stop.
    pub(crate) fn advance(&self, rows: usize) -> Result<()> {
        self.done_rows.fetch_add(rows as u64, Ordering::Relaxed);
        if self.cancel.load(Ordering::Relaxed) {
            return Err(Error::new(SqlState::QUERY_CANCELED, "background job was cancelled"));
        }
        Ok(())
    }
}
