//! Settings of one node's Raft: where it lives, how fast its clock ticks, and every bound.

use std::path::PathBuf;
use std::time::Duration;

use quiver_base::{Error, NodeId, Result, SqlState};

/// Settings of [`RaftNode`](crate::RaftNode). `new` gives what production uses; tests shorten the clock.
#[derive(Clone, Debug)]
pub struct RaftConfig {
    /// This node. Written into the folder on first start and compared on every later one.
    pub node: NodeId,
    /// The folder of the identity file and of the log.
    pub dir: PathBuf,
    /// The length of one tick of Raft's clock.
    pub tick: Duration,
    /// A leader sends heartbeats every so many ticks.
    pub heartbeat_ticks: usize,
    /// A follower that hears nothing for so many ticks (up to twice as many, drawn at random) campaigns.
    pub election_ticks: usize,
    /// The largest entry; a larger proposal is refused with 54000.
    pub max_entry_bytes: usize,
    /// Proposals that may be queued or waiting for commit on this node, over all groups.
    pub max_inflight_proposals: usize,
    /// Bytes appended but not yet committed in one group; above it, proposals wait in the queue.
    pub max_uncommitted_bytes: usize,
    /// How long a proposal may wait for a place in the queue before it fails with 53400.
    pub enqueue_timeout: Duration,
    /// How many ticks a proposal of a deposed leader waits for its fate before it fails with 08007.
    pub outcome_ticks: usize,
    /// How many ticks a snapshot on its way to a follower may take before it is sent again.
    pub snapshot_ticks: usize,
    /// Applied bytes after which a group is checkpointed by itself.
    pub log_bytes_max: u64,
    /// Entries kept in the log behind a checkpoint, so that a slow follower need not get a snapshot.
    pub keep_entries: u64,
    /// Size at which a log file is closed and the next begun.
    pub log_file_bytes: u64,
    /// Bytes of recent entries kept in memory per group.
    pub cache_bytes: usize,
    /// Frames from other nodes that may wait to be stepped; what does not fit is dropped.
    pub inbox_frames: usize,
    /// Bytes of such frames.
    pub inbox_bytes: usize,
}

impl RaftConfig {
    /// Production settings for this node in this folder.
    pub fn new(node: NodeId, dir: impl Into<PathBuf>) -> Self {
        RaftConfig {
            node,
            dir: dir.into(),
            tick: Duration::from_millis(100),
            heartbeat_ticks: 2,
            election_ticks: 10,
            max_entry_bytes: 64 << 20,
            max_inflight_proposals: 4096,
            max_uncommitted_bytes: 256 << 20,
            enqueue_timeout: Duration::from_secs(5),
            outcome_ticks: 40,
            snapshot_ticks: 100,
            log_bytes_max: 128 << 20,
            keep_entries: 256,
            log_file_bytes: 32 << 20,
            cache_bytes: 32 << 20,
            inbox_frames: 4096,
            inbox_bytes: 256 << 20,
        }
    }

    /// Settings with a clock of 10 ms and small files, for tests.
    pub fn for_tests(node: NodeId, dir: impl Into<PathBuf>) -> Self {
        RaftConfig {
            tick: Duration::from_millis(10),
            keep_entries: 4,
            snapshot_ticks: 20,
            log_file_bytes: 256 << 10,
            enqueue_timeout: Duration::from_millis(500),
            ..Self::new(node, dir)
        }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let refuse = |what: &str| Err(Error::new(SqlState::CONFIG_FILE_ERROR, format!("raft: {what}")));
        if self.heartbeat_ticks == 0 || self.election_ticks <= self.heartbeat_ticks {
            return refuse("election_ticks must be greater than heartbeat_ticks, and both above 0");
        }
        if self.max_inflight_proposals == 0 || self.inbox_frames == 0 || self.tick.is_zero() {
            return refuse("max_inflight_proposals, inbox_frames and tick must be above 0");
        }
        // One batch of the log must stay far below raft-engine's 2 GiB.
        if self.max_entry_bytes > 1 << 30 || self.max_uncommitted_bytes > 1 << 30 {
            return refuse("max_entry_bytes and max_uncommitted_bytes must not exceed 1 GiB");
        }
        Ok(())
    }
}
