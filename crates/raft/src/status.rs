//! What anybody may ask about a group without troubling the Raft thread. Knows no Raft.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use quiver_base::{GroupId, LogIndex, NodeId, ReplicaId, Term};

/// A group as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The group.
    pub group: GroupId,
    /// This node's replica of it.
    pub replica: ReplicaId,
    /// The current term.
    pub term: Term,
    /// The replica that leads, if one is known.
    pub leader: Option<ReplicaId>,
    /// The node of the replica that leads.
    pub leader_node: Option<NodeId>,
    /// The term in which this replica leads and takes proposals.
    pub leads_in: Option<Term>,
    /// The highest index known to be on a quorum.
    pub commit: LogIndex,
    /// The highest index in the state machine.
    pub applied: LogIndex,
    /// The first index in the log.
    pub first_index: LogIndex,
    /// The last index in the log.
    pub last_index: LogIndex,
    /// The index of the newest durable checkpoint.
    pub checkpoint_index: LogIndex,
    /// Bytes applied since the newest checkpoint was begun: what a restart would replay.
    pub log_bytes: u64,
    /// How long the node's last write to the log took, with its fsync.
    pub last_fsync_micros: u64,
    /// Replicas that vote.
    pub voters: Vec<ReplicaId>,
    /// Replicas that only listen.
    pub learners: Vec<ReplicaId>,
}

#[derive(Default)]
pub(crate) struct Published {
    pub(crate) replica: u64,
    pub(crate) term: u64,
    pub(crate) leader: u64,
    pub(crate) leader_node: Option<u64>,
    pub(crate) commit: u64,
    pub(crate) first_index: u64,
    pub(crate) last_index: u64,
    pub(crate) checkpoint_index: u64,
    pub(crate) log_bytes: u64,
    pub(crate) voters: Vec<u64>,
    pub(crate) learners: Vec<u64>,
}

/// Written by the Raft thread, read by everybody.
pub(crate) struct GroupStatus {
    group: GroupId,
    /// The term in which this replica leads and is ready; 0 if it does not.
    leads_in: AtomicU64,
    applied: AtomicU64,
    published: Mutex<Published>,
}

impl GroupStatus {
    pub(crate) fn new(group: GroupId) -> Self {
        GroupStatus {
            group,
            leads_in: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            published: Mutex::default(),
        }
    }

    pub(crate) fn set_leads(&self, term: Option<Term>) {
        self.leads_in.store(term.map_or(0, |t| t.0), Ordering::Release);
    }

    pub(crate) fn leads_in(&self) -> Option<Term> {
        Some(Term(self.leads_in.load(Ordering::Acquire))).filter(|term| term.0 != 0)
    }

    pub(crate) fn set_applied(&self, index: u64) {
        self.applied.store(index, Ordering::Release);
    }

    pub(crate) fn applied(&self) -> LogIndex {
        LogIndex(self.applied.load(Ordering::Acquire))
    }

    pub(crate) fn publish(&self, change: impl FnOnce(&mut Published)) {
        change(&mut self.published.lock());
    }

    pub(crate) fn read(&self, last_fsync_micros: u64) -> Status {
        let published = self.published.lock();
        let replicas = |ids: &[u64]| ids.iter().copied().map(ReplicaId).collect();
        Status {
            group: self.group,
            replica: ReplicaId(published.replica),
            term: Term(published.term),
            leader: Some(ReplicaId(published.leader)).filter(|leader| leader.0 != 0),
            leader_node: published.leader_node.map(NodeId),
            leads_in: self.leads_in(),
            commit: LogIndex(published.commit),
            applied: self.applied(),
            first_index: LogIndex(published.first_index),
            last_index: LogIndex(published.last_index),
            checkpoint_index: LogIndex(published.checkpoint_index),
            log_bytes: published.log_bytes,
            last_fsync_micros,
            voters: replicas(&published.voters),
            learners: replicas(&published.learners),
        }
    }
}
