//! One group on this node: raft-rs, its log and its state machine, stepped by the node's loop. A turn is
//! `prepare` (before the fsync), the loop's one fsync for all groups, `complete` (after it).
//! Knows no threads and no channels but those of its waiters.

mod checkpointing;
mod membership;
mod proposals;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use quiver_base::{Error, GroupId, LogIndex, NodeId, Result, SqlState, Term};
use raft::prelude::{Config, Entry as LogEntry, EntryType, Message, MessageType};
use raft::{ProgressState, RawNode, Ready, SnapshotStatus, StateRole};
use raft_engine::LogBatch;

pub(crate) use self::checkpointing::CheckpointJob;
use self::checkpointing::Checkpointing;
use self::membership::PendingMembership;
pub(crate) use self::membership::{Membership, MembershipRequest};
pub(crate) use self::proposals::Proposal;
use self::proposals::Proposals;
use crate::checkpoint::{Checkpoint, CheckpointStore, Peers, encode};
use crate::config::RaftConfig;
use crate::log::GroupLog;
use crate::machine::{Entry, Leadership, StateMachine};
use crate::node::Outbox;
use crate::status::GroupStatus;

/// Entries of up to this size together are handed to the state machine in one turn.
const APPLY_BYTES_MAX: u64 = 16 << 20;
/// Entries of up to this size together travel in one message.
const MESSAGE_BYTES_MAX: u64 = 1 << 20;
const INFLIGHT_MESSAGES_MAX: usize = 256;

/// Work of one turn between `prepare` and `complete`.
pub(crate) struct Turn {
    ready: Option<Ready>,
    membership: PendingMembership,
    /// Checkpoints older than this may go once the batch is durable.
    pub(crate) covered_by: Option<LogIndex>,
}

/// A group of which this node has a replica.
pub(crate) struct Group {
    pub(crate) id: GroupId,
    raw: RawNode<GroupLog>,
    machine: Box<dyn StateMachine>,
    config: Arc<RaftConfig>,
    peers: Peers,
    /// Where replicas were heard from: for a new replica that does not know the members yet.
    heard_from: HashMap<u64, u64>,
    proposals: Proposals,
    membership: PendingMembership,
    checkpointing: Checkpointing,
    /// The term whose leadership the state machine was told of.
    announced: Option<u64>,
    applied: u64,
    /// Ticks until a snapshot that was sent counts as lost, by follower.
    snapshots_sent: HashMap<u64, usize>,
    status: Arc<GroupStatus>,
}

impl Group {
    /// Puts a group together from its stored log and newest checkpoint, and replays nothing yet.
    pub(crate) fn new(
        id: GroupId,
        log: GroupLog,
        checkpoint: Option<&Checkpoint>,
        machine: Box<dyn StateMachine>,
        config: Arc<RaftConfig>,
        logger: &slog::Logger,
    ) -> Result<Group> {
        let applied = checkpoint.map_or(0, |c| c.index);
        let raft_config = Config {
            id: log.state.replica,
            election_tick: config.election_ticks,
            heartbeat_tick: config.heartbeat_ticks,
            applied,
            max_size_per_msg: MESSAGE_BYTES_MAX,
            max_inflight_msgs: INFLIGHT_MESSAGES_MAX,
            check_quorum: true,
            pre_vote: true,
            max_committed_size_per_ready: APPLY_BYTES_MAX,
            ..Config::default()
        };
        let raw = RawNode::new(&raft_config, log, logger)
            .map_err(|e| Error::internal(format!("group {id}: {e}")))?;
        let group = Group {
            id,
            raw,
            machine,
            peers: checkpoint.map(|c| c.peers.clone()).unwrap_or_default(),
            heard_from: HashMap::new(),
            proposals: Proposals::default(),
            membership: PendingMembership::default(),
            checkpointing: Checkpointing::new(applied),
            announced: None,
            applied,
            snapshots_sent: HashMap::new(),
            status: Arc::new(GroupStatus::new(id)),
            config,
        };
        group.publish_status();
        Ok(group)
    }

    pub(crate) fn status(&self) -> Arc<GroupStatus> {
        self.status.clone()
    }

    /// A replica that is its group's only voter need not wait for anyone's heartbeat.
    pub(crate) fn campaign_if_alone(&mut self) -> Result<()> {
        let voters = &self.raw.store().conf_state.voters;
        if voters.as_slice() == [self.raw.raft.id] { self.campaign() } else { Ok(()) }
    }

    pub(crate) fn campaign(&mut self) -> Result<()> {
        self.raw.campaign().map_err(|e| self.raft_error(e))
    }

    pub(crate) fn tick(&mut self) {
        self.raw.tick();
        self.resend_lost_snapshots();
        self.tick_proposals();
        self.checkpointing.tick();
    }

    fn resend_lost_snapshots(&mut self) {
        let mut lost = Vec::new();
        let raft = &self.raw.raft;
        self.snapshots_sent.retain(|&to, ticks| {
            let waiting = raft.prs().get(to).is_some_and(|p| p.state == ProgressState::Snapshot);
            *ticks = ticks.saturating_sub(1);
            if waiting && *ticks == 0 {
                lost.push(to);
            }
            waiting && *ticks > 0
        });
        for to in lost {
            self.raw.report_snapshot(to, SnapshotStatus::Failure);
        }
        if self.snapshots_sent.is_empty() && self.checkpointing.forget_snapshot() {
            self.raw.mut_store().snapshot = None;
        }
    }

    /// Steps a message from another node. What does not belong here is dropped: the wire is lossy anyway.
    pub(crate) fn step(&mut self, from: NodeId, message: Message) {
        if message.to != self.raw.raft.id || message.get_msg_type() == MessageType::MsgPropose {
            return;
        }
        self.heard_from.insert(message.from, from.0);
        if let Err(e) = self.raw.step(message) {
            tracing::debug!(group = %self.id, error = %e, "dropped a Raft message");
        }
    }

    /// Whether the next turn has anything to do here.
    pub(crate) fn has_work(&self) -> bool {
        self.raw.has_ready()
            || self.can_append()
            || self.has_new_reads()
            || !self.membership.applied.is_empty()
            || self.checkpointing.compact_to.is_some()
    }

    /// Before the fsync: appends what is queued, puts entries and state into the batch, and hands out
    /// messages that may leave before it (those of a leader).
    pub(crate) fn prepare(
        &mut self,
        batch: &mut LogBatch,
        outbox: &mut Outbox,
        checkpoints: &dyn CheckpointStore,
    ) -> Result<Turn> {
        self.observe_role();
        self.begin_reads();
        self.append_queued();
        let mut ready = self.raw.has_ready().then(|| self.raw.ready());
        let mut has_entries = false;
        if let Some(ready) = &mut ready {
            self.queue_messages(ready.take_messages(), outbox);
            self.finish_reads(ready.take_read_states());
            if !ready.snapshot().is_empty() {
                self.install(ready, batch, checkpoints)?;
            }
            let log = self.raw.mut_store();
            if let Some(hard_state) = ready.hs() {
                log.set_hard_state(hard_state);
            }
            has_entries = !ready.entries().is_empty();
            log.append(batch, ready.take_entries())?;
        }
        let covered_by = self.compact(batch);
        self.raw.mut_store().flush_state(batch, has_entries)?;
        Ok(Turn { ready, membership: self.membership.take_applied(), covered_by })
    }

    /// After the fsync: what was persisted counts, followers' answers leave, committed entries are applied.
    pub(crate) fn complete(&mut self, turn: Turn, outbox: &mut Outbox) -> Result<()> {
        turn.membership.finish();
        if let Some(mut ready) = turn.ready {
            self.queue_messages(ready.take_persisted_messages(), outbox);
            let mut committed = ready.take_committed_entries();
            let mut light = self.raw.advance_append(ready);
            self.queue_messages(light.take_messages(), outbox);
            committed.append(&mut light.take_committed_entries());
            self.observe_role();
            for entry in committed {
                self.apply(entry)?;
            }
            self.raw.advance_apply_to(self.applied);
            let hard_state = self.raw.raft.hard_state();
            self.raw.mut_store().set_hard_state(&hard_state);
        }
        self.publish_status();
        Ok(())
    }

    fn apply(&mut self, entry: LogEntry) -> Result<()> {
        let raft = &self.raw.raft;
        let leads_in_its_term = raft.state == StateRole::Leader && raft.term == entry.term;
        self.applied = entry.index;
        self.checkpointing.applied_bytes += entry.data.len() as u64;
        match entry.get_entry_type() {
            EntryType::EntryNormal if entry.data.is_empty() => {}
            EntryType::EntryNormal => {
                self.machine.apply(Entry {
                    group: self.id,
                    term: Term(entry.term),
                    index: LogIndex(entry.index),
                    data: &entry.data,
                });
            }
            EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => self.apply_membership(&entry)?,
        }
        self.membership.displace(entry.index);
        self.status.set_applied(entry.index);
        if leads_in_its_term && self.announced.is_none() {
            self.announced = Some(entry.term);
            self.status.set_leads(Some(Term(entry.term)));
            self.machine.leadership(Leadership::BecameLeader { term: Term(entry.term) });
        }
        self.settle_proposals(entry.index, entry.term);
        Ok(())
    }

    /// Tells the state machine when this replica leads no more, before anything of a later leader is applied.
    fn observe_role(&mut self) {
        let raft = &self.raw.raft;
        if let Some(term) = self.announced
            && (raft.state != StateRole::Leader || raft.term != term)
        {
            self.announced = None;
            self.status.set_leads(None);
            self.machine.leadership(Leadership::LostLeader);
            self.fail_reads();
        }
    }

    /// Takes over a snapshot from the leader. The checkpoint is durable before the log forgets its entries.
    fn install(
        &mut self,
        ready: &Ready,
        batch: &mut LogBatch,
        checkpoints: &dyn CheckpointStore,
    ) -> Result<()> {
        let snapshot = ready.snapshot();
        let checkpoint = Checkpoint::from_snapshot(snapshot)?;
        checkpoints.put(self.id, LogIndex(checkpoint.index), &encode(snapshot)?)?;
        self.machine
            .restore(&checkpoint.state)
            .map_err(|e| e.context(format!("group {}: snapshot at {}", self.id, checkpoint.index)))?;
        let conf_state = checkpoint.conf_state;
        self.raw.mut_store().reset(batch, checkpoint.index, checkpoint.term, conf_state);
        self.peers = checkpoint.peers;
        self.applied = checkpoint.index;
        self.status.set_applied(checkpoint.index);
        self.checkpointing.installed(checkpoint.index);
        self.lose_proposals_through(checkpoint.index);
        Ok(())
    }

    fn queue_messages(&mut self, messages: Vec<Message>, outbox: &mut Outbox) {
        for message in messages {
            if message.get_msg_type() == MessageType::MsgSnapshot {
                self.snapshots_sent.insert(message.to, self.config.snapshot_ticks);
            }
            let node = self.peers.nodes.get(&message.to).or_else(|| self.heard_from.get(&message.to));
            if let Some(&node) = node {
                outbox.entry(NodeId(node)).or_default().push((self.id, message));
            }
        }
    }

    pub(crate) fn transfer_leader(&mut self, to: u64) -> Result<()> {
        self.require_leader()?;
        if !self.raw.store().conf_state.voters.contains(&to) {
            return Err(Error::new(
                SqlState::UNDEFINED_OBJECT,
                format!("group {} has no voter {to}", self.id),
            ));
        }
        self.raw.transfer_leader(to);
        Ok(())
    }

    /// The term in which this replica leads and may take proposals.
    fn require_leader(&self) -> Result<u64> {
        let raft = &self.raw.raft;
        match self.announced {
            Some(term) if raft.state == StateRole::Leader && raft.term == term => Ok(term),
            _ => Err(self.not_leader()),
        }
    }

    fn not_leader(&self) -> Error {
        let raft = &self.raw.raft;
        let error = Error::new(
            SqlState::CANNOT_CONNECT_NOW,
            if raft.state == StateRole::Leader {
                format!("the leader of group {} is not ready yet", self.id)
            } else {
                format!("this node does not lead group {}", self.id)
            },
        );
        match self.peers.nodes.get(&raft.leader_id) {
            Some(node) if raft.leader_id != raft.id => error.with_hint(format!("Node {node} leads it.")),
            _ => error,
        }
    }

    fn raft_error(&self, cause: raft::Error) -> Error {
        Error::internal(format!("group {}: {cause}", self.id))
    }

    fn publish_status(&self) {
        let raft = &self.raw.raft;
        let log = self.raw.store();
        self.status.publish(|s| {
            s.replica = raft.id;
            s.term = raft.term;
            s.leader = raft.leader_id;
            s.leader_node = self.peers.nodes.get(&raft.leader_id).copied();
            s.commit = raft.raft_log.committed;
            s.first_index = log.first();
            s.last_index = log.last();
            s.checkpoint_index = self.checkpointing.last;
            s.log_bytes = self.checkpointing.applied_bytes;
            if s.voters != log.conf_state.voters || s.learners != log.conf_state.learners {
                s.voters.clone_from(&log.conf_state.voters);
                s.learners.clone_from(&log.conf_state.learners);
            }
        });
    }

    /// Ends all waiting: the node stops.
    pub(crate) fn shut_down(&mut self, cause: &Error) {
        if self.announced.take().is_some() {
            self.status.set_leads(None);
            self.machine.leadership(Leadership::LostLeader);
        }
        self.fail_all_proposals(cause);
        self.membership.fail(cause);
        self.checkpointing.fail(cause);
    }

    /// Forgets the group's log, in the next batch.
    pub(crate) fn remove_from(&self, batch: &mut LogBatch) {
        self.raw.store().remove(batch);
    }
}

/// Another leader's entry took the place of ours: ours is nowhere.
fn displaced() -> Error {
    Error::new(
        SqlState::SERIALIZATION_FAILURE,
        "could not commit: the leader changed before the commit was replicated",
    )
    .with_hint("It has not taken effect; the transaction might succeed if retried.")
}

/// What an answer that never comes means to a proposal that was appended.
fn unknown_outcome(why: impl std::fmt::Display) -> Error {
    Error::new(
        SqlState::TRANSACTION_RESOLUTION_UNKNOWN,
        format!("the outcome of the commit is unknown: {why}"),
    )
    .with_hint("It may have taken effect, or may yet.")
}

/// Waiters by log index; more than one when a deposed leader leads again.
type ByIndex<T> = BTreeMap<u64, Vec<T>>;
