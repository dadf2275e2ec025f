//! The Raft thread: one loop that ticks, steps, persists, sends and applies for every group of the node,
//! and the thread beside it that encodes checkpoints. Knows groups only by their doors.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, select};
use quiver_base::{Error, GroupId, LogIndex, Result, SqlState, Turns, take_turns};
use raft::prelude::Snapshot;
use raft_engine::LogBatch;
use tokio::sync::oneshot;

use crate::checkpoint::{CheckpointStore, encode};
use crate::config::RaftConfig;
use crate::group::{CheckpointJob, Group, MembershipRequest, Proposal};
use crate::log::{SharedLog, panic_text};
use crate::node::{Outbox, Shared};
use crate::wire::{self, Wire};

/// Commands and frames taken in before the loop turns to its groups.
const INTAKE_MAX: usize = 4096;
/// Bytes of frames taken in before the loop turns to its groups: they may all end in one batch.
const INTAKE_BYTES_MAX: usize = 64 << 20;
/// A batch of at least this size is written before the next group adds to it; raft-engine ends at 2 GiB.
const BATCH_BYTES_MAX: usize = 1 << 30;

/// Whoever waits for an answer of the Raft thread.
pub(crate) type Answer<T> = oneshot::Sender<Result<T>>;

/// What the Raft thread can be asked to do.
pub(crate) enum Command {
    /// Answered on a channel that may block an async caller's thread, as the disk did before.
    Add(Box<Group>, Sender<Result<()>>),
    Propose(GroupId, Proposal),
    Membership(GroupId, MembershipRequest),
    Transfer(GroupId, u64, Answer<()>),
    Campaign(GroupId, Answer<()>),
    ReadIndex(GroupId, Answer<LogIndex>),
    Checkpoint(GroupId, Answer<LogIndex>),
    CheckpointDone(GroupId, LogIndex, Result<Snapshot>),
    /// The log cannot drop a file while these groups keep old entries.
    CompactWanted(Vec<GroupId>),
    Remove(GroupId, Answer<()>),
    Stop,
}

/// What the checkpoint thread can be asked to do.
pub(crate) enum Job {
    Store(Box<CheckpointJob>),
    /// Everything before this checkpoint may go.
    Purge(GroupId, LogIndex),
    /// The group is gone, and so shall be its checkpoints, with any that is just being stored.
    Destroy(GroupId, Answer<()>),
}

pub(crate) struct EventLoop {
    pub(crate) config: Arc<RaftConfig>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) log: Arc<SharedLog>,
    pub(crate) checkpoints: Arc<dyn CheckpointStore>,
    pub(crate) wire: Arc<dyn Wire>,
    pub(crate) commands: Receiver<Command>,
    pub(crate) inbox: Receiver<Bytes>,
    pub(crate) jobs: Sender<Job>,
    pub(crate) groups: BTreeMap<GroupId, Group>,
    /// Groups that may have something to do in the next turn.
    pub(crate) active: BTreeSet<GroupId>,
    pub(crate) outbox: Outbox,
}

impl EventLoop {
    /// Runs until told to stop, or until the log or a group fails: then nothing more is acknowledged.
    pub(crate) fn run(mut self) {
        // What it does for one batch of rows takes longer than a search.
        take_turns(Turns::Long);
        let cause = match catch_unwind(AssertUnwindSafe(|| self.serve())) {
            Ok(Ok(())) => Error::new(SqlState::ADMIN_SHUTDOWN, "the node is shutting down"),
            Ok(Err(e)) => e,
            Err(panic) => Error::internal(format!("the Raft thread failed: {}", panic_text(&*panic))),
        };
        if cause.state() != SqlState::ADMIN_SHUTDOWN {
            tracing::error!(error = %cause, "Raft stopped on this node");
        }
        self.shared.fail(cause.clone());
        for group in self.groups.values_mut() {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| group.shut_down(&cause))) {
                tracing::error!(group = %group.id, panic = panic_text(&*panic), "while stopping");
            }
        }
    }

    fn serve(&mut self) -> Result<()> {
        let mut next_tick = Instant::now() + self.config.tick;
        loop {
            if !self.take_in(next_tick)? {
                return Ok(());
            }
            let now = Instant::now();
            if now >= next_tick {
                self.tick();
                // A thread that was held up must not rush through ticks and call elections.
                next_tick = (next_tick + self.config.tick).max(now);
            }
            self.turn()?;
        }
    }

    /// Waits for something to do, then takes in what is there; false if told to stop.
    fn take_in(&mut self, next_tick: Instant) -> Result<bool> {
        let mut taken = 0;
        if self.active.is_empty() {
            let (commands, inbox) = (self.commands.clone(), self.inbox.clone());
            select! {
                recv(commands) -> command => match command {
                    Ok(command) => if !self.obey(command)? { return Ok(false) },
                    Err(_) => return Ok(false),
                },
                recv(inbox) -> frame => if let Ok(frame) = frame { taken += self.receive(&frame) },
                default(next_tick.saturating_duration_since(Instant::now())) => {}
            }
        }
        for _ in 0..INTAKE_MAX {
            let command = self.commands.try_recv().ok();
            let frame = if taken < INTAKE_BYTES_MAX { self.inbox.try_recv().ok() } else { None };
            if command.is_none() && frame.is_none() {
                break;
            }
            if let Some(frame) = frame {
                taken += self.receive(&frame);
            }
            if let Some(command) = command
                && !self.obey(command)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Steps a frame's messages; returns its size.
    fn receive(&mut self, frame: &Bytes) -> usize {
        self.shared.inbox_bytes.fetch_sub(frame.len(), Ordering::Relaxed);
        match wire::decode(frame) {
            Ok((from, messages)) => {
                for (id, message) in messages {
                    if let Ok(group) = self.touch(id) {
                        group.step(from, message);
                    }
                }
            }
            Err(e) => tracing::warn!(error = %e, "dropped a frame"),
        }
        frame.len()
    }

    /// Carries a command out; false if it is to stop.
    fn obey(&mut self, command: Command) -> Result<bool> {
        match command {
            Command::Stop => return Ok(false),
            Command::Add(group, done) => self.add(*group, &done),
            Command::Remove(id, done) => self.remove(id, done)?,
            Command::Propose(id, proposal) => match self.touch(id) {
                Ok(group) => group.queue(proposal),
                Err(e) => drop(proposal.done.send(Err(e))),
            },
            Command::Membership(id, request) => match self.touch(id) {
                Ok(group) => group.change_membership(request),
                Err(e) => drop(request.done.send(Err(e))),
            },
            Command::ReadIndex(id, done) => match self.touch(id) {
                Ok(group) => group.read_index(done),
                Err(e) => drop(done.send(Err(e))),
            },
            Command::Checkpoint(id, done) => match self.touch(id) {
                Ok(group) => group.want_checkpoint(done),
                Err(e) => drop(done.send(Err(e))),
            },
            Command::Transfer(id, to, done) => {
                drop(done.send(self.touch(id).and_then(|group| group.transfer_leader(to))));
            }
            Command::Campaign(id, done) => drop(done.send(self.touch(id).and_then(Group::campaign))),
            Command::CheckpointDone(id, index, outcome) => {
                if let Ok(group) = self.touch(id) {
                    group.end_checkpoint(index, outcome);
                }
            }
            Command::CompactWanted(ids) => {
                for id in ids {
                    if let Ok(group) = self.touch(id) {
                        group.want_checkpoint(oneshot::channel().0);
                    }
                }
            }
        }
        Ok(true)
    }

    /// A group that takes part in the next turn.
    fn touch(&mut self, id: GroupId) -> Result<&mut Group> {
        let group = self.groups.get_mut(&id).ok_or_else(|| self.shared.no_group(id))?;
        self.active.insert(id);
        Ok(group)
    }

    fn add(&mut self, mut group: Group, done: &Sender<Result<()>>) {
        let id = group.id;
        if self.groups.contains_key(&id) {
            let _gone = done.send(Err(Error::internal(format!("group {id} is open already"))));
            return;
        }
        let outcome = group.campaign_if_alone();
        if outcome.is_ok() {
            self.shared.statuses.write().insert(id, group.status());
            self.groups.insert(id, group);
            self.active.insert(id);
        }
        let _gone = done.send(outcome);
    }

    fn remove(&mut self, id: GroupId, done: Answer<()>) -> Result<()> {
        let Some(mut group) = self.groups.remove(&id) else {
            let _gone = done.send(Err(self.shared.no_group(id)));
            return Ok(());
        };
        self.active.remove(&id);
        self.shared.statuses.write().remove(&id);
        group.shut_down(&Error::new(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("this node's replica of group {id} was removed"),
        ));
        let mut batch = LogBatch::default();
        group.remove_from(&mut batch);
        self.log.write(&mut batch)?;
        let _stopping = self.jobs.send(Job::Destroy(id, done));
        Ok(())
    }

    fn tick(&mut self) {
        for (id, group) in &mut self.groups {
            group.tick();
            if group.has_work() {
                self.active.insert(*id);
            }
            if let Some(job) = group.begin_checkpoint() {
                let _stopping = self.jobs.send(Job::Store(Box::new(job)));
            }
        }
    }

    /// One turn of all groups with work: one batch, one fsync.
    fn turn(&mut self) -> Result<()> {
        let mut batch = LogBatch::default();
        let mut turns = Vec::with_capacity(self.active.len());
        for id in mem::take(&mut self.active) {
            if batch.approximate_size() >= BATCH_BYTES_MAX {
                self.active.insert(id);
            } else if let Some(group) = self.groups.get_mut(&id) {
                turns.push((id, group.prepare(&mut batch, &mut self.outbox, self.checkpoints.as_ref())?));
            }
        }
        self.send()?;
        if !batch.is_empty() {
            self.log.write(&mut batch)?;
        }
        for (id, turn) in turns {
            let Some(group) = self.groups.get_mut(&id) else { continue };
            if let Some(index) = turn.covered_by {
                let _stopping = self.jobs.send(Job::Purge(id, index));
            }
            group.complete(turn, &mut self.outbox)?;
            if group.has_work() {
                self.active.insert(id);
            }
            if let Some(job) = group.begin_checkpoint() {
                let _stopping = self.jobs.send(Job::Store(Box::new(job)));
            }
        }
        self.send()
    }

    fn send(&mut self) -> Result<()> {
        for (node, messages) in mem::take(&mut self.outbox) {
            for frame in wire::encode(self.config.node, &messages)? {
                self.wire.send(node, frame);
            }
        }
        Ok(())
    }
}

/// The checkpoint thread. At most one job of each kind per group is under way, so the queue is bounded.
pub(crate) fn work(
    jobs: &Receiver<Job>,
    commands: &Sender<Command>,
    checkpoints: &dyn CheckpointStore,
    log: &SharedLog,
) {
    for job in jobs {
        match job {
            Job::Store(job) => {
                let (group, index) = (job.group, job.index);
                let outcome =
                    catch_unwind(AssertUnwindSafe(|| store(*job, checkpoints))).unwrap_or_else(|p| {
                        Err(Error::internal(format!("encoding a checkpoint failed: {}", panic_text(&*p))))
                    });
                let _stopping = commands.send(Command::CheckpointDone(group, index, outcome));
            }
            Job::Destroy(group, done) => {
                drop(done.send(checkpoints.purge_before(group, LogIndex(u64::MAX))));
            }
            Job::Purge(group, index) => {
                if let Err(e) = checkpoints.purge_before(group, index) {
                    tracing::warn!(%group, error = %e, "could not remove old checkpoints");
                }
                match log.purge() {
                    Ok(groups) if groups.is_empty() => {}
                    Ok(groups) => drop(commands.send(Command::CompactWanted(groups))),
                    Err(e) => tracing::warn!(error = %e, "could not purge the log"),
                }
            }
        }
    }
}

fn store(job: CheckpointJob, checkpoints: &dyn CheckpointStore) -> Result<Snapshot> {
    let (group, index) = (job.group, job.index);
    let snapshot = job.encode();
    checkpoints.put(group, index, &encode(&snapshot)?)?;
    Ok(snapshot)
}
