//! Background work on a shard and the log command that makes its result take effect.

use quiver_base::{Result, ShardId};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// What kind of background work a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobKind {
    /// Memtable rows become a segment.
    Flush,
    /// Segments become one, dead rows are dropped.
    Compact,
    /// A segment gets a vector index it lacks.
    BuildIndex,
    /// Tombstones of a segment become a delete bitmap object.
    WriteDeletes,
}

/// A piece of background work that [`crate::Shard::pending_work`] found.
#[derive(Clone, Debug)]
pub struct Job {
    /// What to do.
    pub kind: JobKind,
    /// The shard to do it for.
    pub shard: ShardId,
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
}

/// `Publish { job, shard epoch, covers (from, to], as_of, add, remove }` of the design: every object it names is durable.
#[derive(Clone, Debug)]
pub struct Publish {}

impl Publish {
    /// Versioned bytes for the log.
    pub fn encode(&self) -> Vec<u8> {
        unimplemented!()
    }
    /// Reads them back.
    pub fn decode(_bytes: &[u8]) -> Result<Publish> {
        unimplemented!()
    }
}

/// What a publish did on apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishOutcome {
    /// The manifest changed.
    Done,
    /// It no longer fitted (another job was first, or its input is gone): nothing changed and its objects are garbage.
    Stale,
}
