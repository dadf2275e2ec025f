//! Who is in the group: learners come, are promoted, replicas go; one change at a time, through the log.

use protobuf::Message as _;
use quiver_base::{Error, NodeId, ReplicaId, Result, SqlState};
use raft::ProgressState;
use raft::prelude::{ConfChange, ConfChangeType, Entry, EntryType};
use tokio::sync::oneshot;

use super::{ByIndex, Group, displaced, unknown_outcome};

/// A learner is promoted when it lacks at most so many entries.
const PROMOTION_LAG_MAX: u64 = 1024;

/// A change of the group's members.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Membership {
    AddLearner { replica: ReplicaId, node: NodeId },
    Promote { replica: ReplicaId },
    Remove { replica: ReplicaId },
}

/// A change and who waits for it.
pub(crate) struct MembershipRequest {
    pub(crate) change: Membership,
    pub(crate) done: oneshot::Sender<Result<()>>,
}

/// Changes on their way. The proposer is answered only once the commit index behind the change is stored:
/// a replica that restarts must know the new members, because the old ones may be switched off by then.
#[derive(Default)]
pub(super) struct PendingMembership {
    appended: ByIndex<(u64, oneshot::Sender<Result<()>>)>,
    pub(super) applied: Vec<(Result<()>, oneshot::Sender<Result<()>>)>,
}

impl PendingMembership {
    pub(super) fn take_applied(&mut self) -> PendingMembership {
        PendingMembership { applied: std::mem::take(&mut self.applied), ..Self::default() }
    }

    pub(super) fn finish(self) {
        for (outcome, done) in self.applied {
            let _gone = done.send(outcome);
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.appended.is_empty()
    }

    /// Something was applied at this index: a change that still waits there was pushed out of the log.
    pub(super) fn displace(&mut self, index: u64) {
        for (_, done) in self.appended.remove(&index).into_iter().flatten() {
            let _gone = done.send(Err(displaced()));
        }
    }

    /// Nothing more will be heard of the changes up to this index.
    pub(super) fn lose_through(&mut self, index: u64, error: &Error) {
        let later = index.checked_add(1).map(|next| self.appended.split_off(&next)).unwrap_or_default();
        for (_, done) in std::mem::replace(&mut self.appended, later).into_values().flatten() {
            let _gone = done.send(Err(error.clone()));
        }
    }

    pub(super) fn fail(&mut self, cause: &Error) {
        self.lose_through(u64::MAX, &unknown_outcome(cause));
        for (_, done) in self.applied.drain(..) {
            let _gone = done.send(Err(unknown_outcome(cause)));
        }
    }
}

impl Group {
    /// Proposes a change of the members.
    pub(crate) fn change_membership(&mut self, request: MembershipRequest) {
        match self.propose_membership(request.change) {
            Ok((index, term)) => {
                self.membership.appended.entry(index).or_default().push((term, request.done));
            }
            Err(refusal) => drop(request.done.send(Err(refusal))),
        }
    }

    fn propose_membership(&mut self, change: Membership) -> Result<(u64, u64)> {
        let term = self.require_leader()?;
        if self.raw.raft.has_pending_conf() {
            return Err(Error::new(
                SqlState::OBJECT_IN_USE,
                format!("another change of the members of group {} is in progress", self.id),
            ));
        }
        let mut conf_change = ConfChange::default();
        let replica = match change {
            Membership::AddLearner { replica, node } => {
                self.check_new(replica, node)?;
                conf_change.set_change_type(ConfChangeType::AddLearnerNode);
                conf_change.context = node.0.to_le_bytes().to_vec().into();
                replica
            }
            Membership::Promote { replica } => {
                self.check_caught_up(replica)?;
                conf_change.set_change_type(ConfChangeType::AddNode);
                replica
            }
            Membership::Remove { replica } => {
                self.check_removable(replica)?;
                conf_change.set_change_type(ConfChangeType::RemoveNode);
                replica
            }
        };
        conf_change.node_id = replica.0;
        let index = self.raw.raft.raft_log.last_index() + 1;
        self.raw.propose_conf_change(Vec::new(), conf_change).map_err(|_| self.not_leader())?;
        Ok((index, term))
    }

    fn check_new(&self, replica: ReplicaId, node: NodeId) -> Result<()> {
        // A replica id that was ever used may have voted, and its votes may be lost with its disk.
        if replica.0 <= self.peers.highest_replica {
            return Err(Error::new(
                SqlState::DUPLICATE_OBJECT,
                format!("replica id {replica} of group {} was used before", self.id),
            )
            .with_hint(format!("The next unused one is {}.", self.peers.highest_replica + 1)));
        }
        if self.peers.nodes.values().any(|n| *n == node.0) {
            return Err(Error::new(
                SqlState::DUPLICATE_OBJECT,
                format!("node {node} already has a replica of group {}", self.id),
            )
            .with_hint("Remove that replica first."));
        }
        Ok(())
    }

    fn check_caught_up(&self, replica: ReplicaId) -> Result<()> {
        if !self.raw.store().conf_state.learners.contains(&replica.0) {
            return Err(self.undefined(replica, "learner"));
        }
        let last = self.raw.raft.raft_log.last_index();
        // In a group without writes a learner that a snapshot filled has everything and is still being probed.
        let caught_up = self.raw.raft.prs().get(replica.0).is_some_and(|progress| {
            progress.matched >= last
                || progress.state == ProgressState::Replicate && progress.matched + PROMOTION_LAG_MAX >= last
        });
        if caught_up {
            return Ok(());
        }
        Err(Error::new(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("replica {replica} of group {} has not caught up yet", self.id),
        ))
    }

    fn check_removable(&self, replica: ReplicaId) -> Result<()> {
        if !self.peers.nodes.contains_key(&replica.0) {
            return Err(self.undefined(replica, "replica"));
        }
        if replica.0 == self.raw.raft.id {
            return Err(Error::new(
                SqlState::OBJECT_IN_USE,
                format!("replica {replica} leads group {} and cannot be removed", self.id),
            )
            .with_hint("Transfer the leadership first."));
        }
        Ok(())
    }

    fn undefined(&self, replica: ReplicaId, what: &str) -> Error {
        Error::new(SqlState::UNDEFINED_OBJECT, format!("group {} has no {what} {replica}", self.id))
    }

    /// Applies a committed change. Every replica decides alike whether it counts.
    pub(super) fn apply_membership(&mut self, entry: &Entry) -> Result<()> {
        let outcome = self.take_effect(entry)?;
        for (term, done) in self.membership.appended.remove(&entry.index).into_iter().flatten() {
            let outcome = if term == entry.term { outcome.clone() } else { Err(displaced()) };
            self.membership.applied.push((outcome, done));
        }
        self.raw.mut_store().set_commit(entry.index);
        Ok(())
    }

    /// The outer error stops the node: an entry of the log that cannot be read.
    fn take_effect(&mut self, entry: &Entry) -> Result<Result<()>> {
        let unreadable =
            || Error::corrupt(format!("group {}: entry {}: a membership change", self.id, entry.index));
        if entry.get_entry_type() != EntryType::EntryConfChange {
            return Err(unreadable());
        }
        let change = ConfChange::parse_from_carllerche_bytes(&entry.data).map_err(|_| unreadable())?;
        let replica = change.node_id;
        let adds = change.get_change_type() == ConfChangeType::AddLearnerNode;
        let node = u64::from_le_bytes(if adds {
            change.context[..].try_into().map_err(|_| unreadable())?
        } else {
            [0; 8]
        });
        if adds && replica <= self.peers.highest_replica {
            return Ok(Err(Error::new(
                SqlState::DUPLICATE_OBJECT,
                format!("replica id {replica} of group {} was used before", self.id),
            )));
        }
        let conf_state = match self.raw.apply_conf_change(&change) {
            Ok(conf_state) => conf_state,
            Err(e) => return Ok(Err(self.raft_error(e))),
        };
        self.raw.mut_store().conf_state = conf_state;
        match change.get_change_type() {
            ConfChangeType::AddLearnerNode => {
                self.peers.nodes.insert(replica, node);
                self.peers.highest_replica = replica;
            }
            ConfChangeType::RemoveNode => drop(self.peers.nodes.remove(&replica)),
            ConfChangeType::AddNode => {}
        }
        Ok(Ok(()))
    }
}
