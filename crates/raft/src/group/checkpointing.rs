//! When a group is checkpointed, and what follows: the log before it goes, waiting followers get it.

use std::mem;

use bytes::Bytes;
use quiver_base::{Error, GroupId, LogIndex, Result};
use raft::Storage;
use raft::prelude::Snapshot;
use raft_engine::LogBatch;
use tokio::sync::oneshot;

use super::Group;
use crate::checkpoint::Checkpoint;
use crate::machine::SnapshotEncoder;

type Done = oneshot::Sender<Result<LogIndex>>;

/// A checkpoint to encode and store, away from the Raft thread.
pub(crate) struct CheckpointJob {
    pub(crate) group: GroupId,
    pub(crate) index: LogIndex,
    frame: Checkpoint,
    encoder: SnapshotEncoder,
}

impl CheckpointJob {
    pub(crate) fn encode(self) -> Snapshot {
        Checkpoint { state: Bytes::from((self.encoder)()), ..self.frame }.to_snapshot()
    }
}

/// Ticks after which a failed checkpoint is tried again.
const RETRY_TICKS: usize = 50;

pub(super) struct Checkpointing {
    /// Index of the newest durable checkpoint.
    pub(super) last: u64,
    /// Bytes applied since the newest checkpoint was begun.
    pub(super) applied_bytes: u64,
    /// Bytes that the running checkpoint covers; back on the account if it fails.
    running: Option<u64>,
    waiting_for_running: Vec<Done>,
    waiting_for_next: Vec<Done>,
    /// A follower needs the snapshot.
    wanted: bool,
    /// Ticks until the snapshot kept for followers is dropped from memory.
    keep_ticks: usize,
    retry_ticks: usize,
    /// The log may go up to here with the next batch.
    pub(super) compact_to: Option<u64>,
}

impl Checkpointing {
    pub(super) fn new(last: u64) -> Self {
        Checkpointing {
            last,
            applied_bytes: 0,
            running: None,
            waiting_for_running: Vec::new(),
            waiting_for_next: Vec::new(),
            wanted: false,
            keep_ticks: 0,
            retry_ticks: 0,
            compact_to: None,
        }
    }

    pub(super) fn tick(&mut self) {
        self.retry_ticks = self.retry_ticks.saturating_sub(1);
    }

    pub(super) fn installed(&mut self, index: u64) {
        self.last = index;
        self.applied_bytes = 0;
    }

    /// Whether the snapshot kept in memory is due to go.
    pub(super) fn forget_snapshot(&mut self) -> bool {
        self.keep_ticks = self.keep_ticks.saturating_sub(1);
        self.keep_ticks == 0
    }

    pub(super) fn fail(&mut self, cause: &Error) {
        for done in self.waiting_for_running.drain(..).chain(self.waiting_for_next.drain(..)) {
            let _gone = done.send(Err(cause.clone()));
        }
    }
}

impl Group {
    /// Somebody wants a checkpoint of the state as it is now or later.
    pub(crate) fn want_checkpoint(&mut self, done: Done) {
        self.checkpointing.waiting_for_next.push(done);
    }

    /// Begins a checkpoint if there is a reason and none is running.
    pub(crate) fn begin_checkpoint(&mut self) -> Option<CheckpointJob> {
        let state = &mut self.checkpointing;
        state.wanted |= self.raw.store().take_snapshot_wanted();
        let due = state.applied_bytes >= self.config.log_bytes_max && state.retry_ticks == 0;
        let wanted = state.wanted && state.retry_ticks == 0;
        if state.running.is_some() || !(due || wanted || !state.waiting_for_next.is_empty()) {
            return None;
        }
        // A replica that waits for its first snapshot has no state to store.
        let term = self.raw.store().term(self.applied).ok().filter(|_| self.applied > 0)?;
        state.running = Some(mem::take(&mut state.applied_bytes));
        state.waiting_for_running = mem::take(&mut state.waiting_for_next);
        let log = self.raw.store();
        let frame = Checkpoint {
            index: self.applied,
            term,
            conf_state: log.conf_state.clone(),
            peers: self.peers.clone(),
            state: Bytes::new(),
        };
        let encoder = self.machine.snapshot();
        Some(CheckpointJob { group: self.id, index: LogIndex(self.applied), frame, encoder })
    }

    /// The checkpoint is durable, or could not be stored.
    pub(crate) fn end_checkpoint(&mut self, index: LogIndex, outcome: Result<Snapshot>) {
        let state = &mut self.checkpointing;
        let covered_bytes = state.running.take().unwrap_or_default();
        let waiting = mem::take(&mut state.waiting_for_running);
        match outcome {
            Ok(snapshot) => {
                state.last = state.last.max(index.0);
                state.compact_to = Some(index.0.saturating_sub(self.config.keep_entries));
                if mem::take(&mut state.wanted) {
                    state.keep_ticks = self.config.snapshot_ticks;
                    self.raw.mut_store().snapshot = Some(snapshot);
                }
                for done in waiting {
                    let _gone = done.send(Ok(index));
                }
            }
            Err(e) => {
                tracing::warn!(group = %self.id, error = %e, "could not store a checkpoint");
                state.applied_bytes += covered_bytes;
                state.retry_ticks = RETRY_TICKS;
                for done in waiting {
                    let _gone = done.send(Err(e.clone()));
                }
            }
        }
        self.publish_status();
    }

    /// Cuts the log behind the newest checkpoint; returns that checkpoint's index if it did.
    pub(super) fn compact(&mut self, batch: &mut LogBatch) -> Option<LogIndex> {
        let to = self.checkpointing.compact_to.take()?;
        self.raw.mut_store().compact(batch, to);
        Some(LogIndex(self.checkpointing.last))
    }
}
