//! Proposals of one group: the queue, the waiters of appended entries, and what becomes of them.

use std::collections::VecDeque;
use std::mem;

use bytes::Bytes;
use quiver_base::{Error, LogIndex, Result, SqlState, Term};
use raft::prelude::{Entry, Message, MessageType};
use raft::{ReadState, StateRole};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{ByIndex, Group, displaced, unknown_outcome};
use crate::node::{Applied, Slot};

/// Bytes appended in one turn: the fsync for those that came first must not wait for gigabytes.
const APPEND_BYTES_MAX: usize = 64 << 20;

/// Makes the entry once its place in the log is known.
pub(crate) type Build = Box<dyn FnOnce(Slot) -> Option<Bytes> + Send>;

/// What somebody wants appended.
pub(crate) struct Proposal {
    pub(crate) build: Build,
    pub(crate) done: oneshot::Sender<Result<Option<Applied>>>,
    /// Its place among the node's proposals, held until it is settled.
    pub(crate) place: OwnedSemaphorePermit,
}

/// An appended entry whose proposer waits.
struct Waiter {
    term: u64,
    bytes: usize,
    done: oneshot::Sender<Result<Option<Applied>>>,
    _place: OwnedSemaphorePermit,
}

type ReadWaiter = oneshot::Sender<Result<LogIndex>>;

#[derive(Default)]
pub(super) struct Proposals {
    queue: VecDeque<Proposal>,
    waiters: ByIndex<Waiter>,
    waiting_bytes: usize,
    /// Ticks since waiters were left behind by a lost leadership.
    orphaned_ticks: usize,
    /// Reads since the last turn: one question to the quorum serves all of them.
    new_reads: Vec<ReadWaiter>,
    /// Questions on their way, by number.
    reads: Vec<(u64, Vec<ReadWaiter>)>,
    /// Reads whose index is known but not applied yet.
    reads_at: ByIndex<ReadWaiter>,
    last_read: u64,
}

impl Group {
    pub(crate) fn queue(&mut self, proposal: Proposal) {
        self.proposals.queue.push_back(proposal);
    }

    /// Whether the head of the queue can be dealt with now: appended, or refused.
    pub(super) fn can_append(&self) -> bool {
        !self.proposals.queue.is_empty()
            && (self.require_leader().is_err()
                || self.raw.raft.lead_transferee.is_none()
                    && self.proposals.waiting_bytes < self.config.max_uncommitted_bytes)
    }

    /// Appends the queue's proposals as one step of Raft. Never forwards: who does not lead refuses.
    pub(super) fn append_queued(&mut self) {
        if !self.can_append() {
            return;
        }
        let term = match self.require_leader() {
            Ok(term) => term,
            Err(refusal) => {
                for proposal in self.proposals.queue.drain(..) {
                    let _gone = proposal.done.send(Err(refusal.clone()));
                }
                return;
            }
        };
        let first = self.raw.raft.raft_log.last_index() + 1;
        let mut entries = Vec::new();
        let mut waiters = Vec::new();
        let mut bytes = self.proposals.waiting_bytes;
        let enough = self.config.max_uncommitted_bytes.min(bytes + APPEND_BYTES_MAX);
        while bytes < enough
            && let Some(proposal) = self.proposals.queue.pop_front()
        {
            if proposal.done.is_closed() {
                continue;
            }
            let slot = Slot { term: Term(term), index: LogIndex(first + entries.len() as u64) };
            match self.check((proposal.build)(slot)) {
                Ok(Some(data)) => {
                    bytes += data.len();
                    waiters.push(Waiter {
                        term,
                        bytes: data.len(),
                        done: proposal.done,
                        _place: proposal.place,
                    });
                    entries.push(Entry { data, ..Entry::default() });
                }
                Ok(None) => drop(proposal.done.send(Ok(None))),
                Err(refusal) => drop(proposal.done.send(Err(refusal))),
            }
        }
        self.step_proposals(first, entries, waiters);
    }

    fn check(&self, data: Option<Bytes>) -> Result<Option<Bytes>> {
        let limit = self.config.max_entry_bytes;
        match data {
            Some(data) if data.is_empty() => {
                Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, "a log entry must not be empty"))
            }
            Some(data) if data.len() > limit => Err(Error::new(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                format!("log entry of {} bytes exceeds the maximum of {limit}", data.len()),
            )),
            data => Ok(data),
        }
    }

    fn step_proposals(&mut self, first: u64, entries: Vec<Entry>, waiters: Vec<Waiter>) {
        if entries.is_empty() {
            return;
        }
        let mut message = Message { from: self.raw.raft.id, ..Message::default() };
        message.set_msg_type(MessageType::MsgPropose);
        message.set_entries(entries.into());
        match self.raw.step(message) {
            Ok(()) => {
                for (i, waiter) in waiters.into_iter().enumerate() {
                    self.proposals.waiting_bytes += waiter.bytes;
                    self.proposals.waiters.entry(first + i as u64).or_default().push(waiter);
                }
            }
            Err(e) => {
                tracing::debug!(group = %self.id, error = %e, "Raft dropped proposals");
                let refusal = self.not_leader();
                for waiter in waiters {
                    let _gone = waiter.done.send(Err(refusal.clone()));
                }
            }
        }
    }

    /// An entry was applied: whoever waited at its index learns whether it was theirs.
    pub(super) fn settle_proposals(&mut self, index: u64, term: u64) {
        for waiter in self.proposals.waiters.remove(&index).into_iter().flatten() {
            self.proposals.waiting_bytes -= waiter.bytes;
            let outcome = if waiter.term == term {
                Ok(Some(Applied { index: LogIndex(index), term: Term(term) }))
            } else {
                Err(displaced())
            };
            let _gone = waiter.done.send(outcome);
        }
        while let Some(at) = self.proposals.reads_at.first_entry().filter(|at| *at.key() <= index) {
            for done in at.remove() {
                let _gone = done.send(Ok(LogIndex(index)));
            }
        }
    }

    /// A snapshot jumped over these entries: whether they were in it is not told.
    pub(super) fn lose_proposals_through(&mut self, index: u64) {
        let later = self.proposals.waiters.split_off(&(index + 1));
        let lost = mem::replace(&mut self.proposals.waiters, later);
        let error = unknown_outcome("the leader changed, and the log was replaced by a snapshot");
        self.lose(lost, &error);
        self.membership.lose_through(index, &error);
    }

    fn lose(&mut self, lost: ByIndex<Waiter>, error: &Error) {
        for waiter in lost.into_values().flatten() {
            self.proposals.waiting_bytes -= waiter.bytes;
            let _gone = waiter.done.send(Err(error.clone()));
        }
    }

    /// Waiters of a lost leadership usually learn their fate from the next leader; not for ever.
    pub(super) fn tick_proposals(&mut self) {
        let leads = self.raw.raft.state == StateRole::Leader;
        if leads || self.proposals.waiters.is_empty() && !self.membership.is_waiting() {
            self.proposals.orphaned_ticks = 0;
            return;
        }
        self.proposals.orphaned_ticks += 1;
        if self.proposals.orphaned_ticks > self.config.outcome_ticks {
            let lost = mem::take(&mut self.proposals.waiters);
            let error = unknown_outcome("this node lost its leadership");
            self.lose(lost, &error);
            self.membership.lose_through(u64::MAX, &error);
        }
    }

    /// Asks a quorum whether this replica still leads; answers with an applied index that is as new as
    /// everything acknowledged before the question.
    pub(crate) fn read_index(&mut self, done: oneshot::Sender<Result<LogIndex>>) {
        if let Err(refusal) = self.require_leader() {
            let _gone = done.send(Err(refusal));
            return;
        }
        self.proposals.new_reads.push(done);
    }

    pub(super) fn has_new_reads(&self) -> bool {
        !self.proposals.new_reads.is_empty()
    }

    /// Asks the quorum for all reads that came since the last turn.
    pub(super) fn begin_reads(&mut self) {
        if !self.has_new_reads() {
            return;
        }
        self.proposals.last_read += 1;
        let id = self.proposals.last_read;
        let waiting = mem::take(&mut self.proposals.new_reads);
        self.proposals.reads.push((id, waiting));
        self.raw.read_index(id.to_le_bytes().to_vec());
    }

    pub(super) fn finish_reads(&mut self, states: Vec<ReadState>) {
        for state in states {
            let asked = |(id, _): &(u64, _)| id.to_le_bytes() == state.request_ctx[..];
            let Some(at) = self.proposals.reads.iter().position(asked) else { continue };
            let (_, waiting) = self.proposals.reads.swap_remove(at);
            if state.index > self.applied {
                self.proposals.reads_at.entry(state.index).or_default().extend(waiting);
                continue;
            }
            for done in waiting {
                let _gone = done.send(Ok(LogIndex(self.applied)));
            }
        }
    }

    pub(super) fn fail_reads(&mut self) {
        let refusal = self.not_leader();
        let asked = mem::take(&mut self.proposals.reads).into_iter().flat_map(|(_, waiting)| waiting);
        let answered = mem::take(&mut self.proposals.reads_at).into_values().flatten();
        for done in mem::take(&mut self.proposals.new_reads).into_iter().chain(asked).chain(answered) {
            let _gone = done.send(Err(refusal.clone()));
        }
    }

    pub(super) fn fail_all_proposals(&mut self, cause: &Error) {
        for proposal in self.proposals.queue.drain(..) {
            let _gone = proposal.done.send(Err(cause.clone()));
        }
        let lost = mem::take(&mut self.proposals.waiters);
        self.lose(lost, &unknown_outcome(cause));
        self.fail_reads();
    }
}
