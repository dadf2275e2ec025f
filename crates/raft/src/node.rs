//! The handle of a node's Raft: opens the folder, starts the Raft thread, and turns calls into commands
//! and answers. Knows no turn of the loop.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use crossbeam_channel::{Sender, bounded, unbounded};
use parking_lot::{Mutex, RwLock};
use quiver_base::{Error, GroupId, LogIndex, NodeId, ReplicaId, Result, SqlState, Term};
use raft::prelude::{ConfState, Message};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::checkpoint::{self, Checkpoint, CheckpointStore, Peers, encode};
use crate::config::RaftConfig;
use crate::event_loop::{Answer, Command, EventLoop, work};
use crate::fs::RaftFs;
use crate::group::{Group, Membership, MembershipRequest, Proposal};
use crate::identity;
use crate::log::{GroupLog, GroupState, SharedLog};
use crate::machine::StateMachine;
use crate::status::{GroupStatus, Status};
use crate::wire::Wire;

/// Messages by destination.
pub(crate) type Outbox = BTreeMap<NodeId, Vec<(GroupId, Message)>>;

/// A group begins as if it had a snapshot here: then no new replica can mistake an empty log for the
/// beginning, and each gets the members with its first snapshot.
const FIRST_INDEX: u64 = 1;
const FIRST_TERM: u64 = 1;
const LOG_DIR: &str = "log";
/// Reads and control commands that may wait for the Raft thread's answer.
const CONTROL_PLACES: usize = 65536;

/// One replica of a group and the node that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// The replica; its id is never used again in its group.
    pub replica: ReplicaId,
    /// Where it lives.
    pub node: NodeId,
}

/// The place in the log that an entry is about to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The term in which this node leads.
    pub term: Term,
    /// The index it will have unless the closure cancels.
    pub index: LogIndex,
}

/// Where an entry was committed and applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its position in the log.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
}

/// What the handle and the Raft thread share.
pub(crate) struct Shared {
    pub(crate) node: NodeId,
    pub(crate) statuses: RwLock<HashMap<GroupId, Arc<GroupStatus>>>,
    /// Bytes of frames that wait to be stepped.
    pub(crate) inbox_bytes: AtomicUsize,
    failure: Mutex<Option<Error>>,
}

impl Shared {
    /// From now on every call fails with this.
    pub(crate) fn fail(&self, cause: Error) {
        self.failure.lock().get_or_insert(cause);
    }

    fn failure(&self) -> Error {
        let stopped = || Error::new(SqlState::ADMIN_SHUTDOWN, "the node is shutting down");
        self.failure.lock().clone().unwrap_or_else(stopped)
    }

    pub(crate) fn no_group(&self, group: GroupId) -> Error {
        Error::new(
            SqlState::CANNOT_CONNECT_NOW,
            format!("node {} has no open replica of group {group}", self.node),
        )
    }
}

/// This node's Raft. Clones are handles of the same one; the last one dropped stops it.
#[derive(Clone)]
pub struct RaftNode(Arc<Inner>);

struct Inner {
    config: Arc<RaftConfig>,
    shared: Arc<Shared>,
    /// Gone once stopped, so that the folder can be opened again while handles are still about.
    log: Mutex<Option<Arc<SharedLog>>>,
    checkpoints: Arc<dyn CheckpointStore>,
    commands: Sender<Command>,
    inbox: Sender<Bytes>,
    places: Arc<Semaphore>,
    /// For questions and control: they must get through when writes wait.
    control_places: Arc<Semaphore>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    logger: slog::Logger,
}

impl RaftNode {
    /// Opens the node's folder, or makes it one, and starts the Raft thread. Groups stay closed until
    /// `open_group`; messages for a closed group are dropped.
    pub fn open(
        config: RaftConfig,
        fs: Arc<dyn RaftFs>,
        checkpoints: Arc<dyn CheckpointStore>,
        wire: Arc<dyn Wire>,
    ) -> Result<RaftNode> {
        config.validate()?;
        let log_dir = config.dir.join(LOG_DIR);
        fs.create_dir(&config.dir).map_err(|e| Error::io(config.dir.display(), e))?;
        identity::claim(fs.as_ref(), &config.dir, config.node, log_dir.exists())?;
        let log = SharedLog::open(&log_dir, config.log_file_bytes, fs)?;
        let shared = Arc::new(Shared {
            node: config.node,
            statuses: RwLock::default(),
            inbox_bytes: AtomicUsize::new(0),
            failure: Mutex::new(None),
        });
        let (commands, command_queue) = unbounded();
        let (inbox, inbox_queue) = bounded(config.inbox_frames);
        let (jobs, job_queue) = unbounded();
        let config = Arc::new(config);
        let event_loop = EventLoop {
            config: config.clone(),
            shared: shared.clone(),
            log: log.clone(),
            checkpoints: checkpoints.clone(),
            wire,
            commands: command_queue,
            inbox: inbox_queue,
            jobs,
            groups: BTreeMap::new(),
            active: BTreeSet::new(),
            outbox: Outbox::new(),
        };
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|e| Error::io("thread", e))
        };
        let worker = {
            let (commands, checkpoints, log) = (commands.clone(), checkpoints.clone(), log.clone());
            Box::new(move || work(&job_queue, &commands, checkpoints.as_ref(), &log))
        };
        let threads = vec![
            spawn(&format!("raft-{}", config.node), Box::new(move || event_loop.run()))?,
            spawn(&format!("raft-ckpt-{}", config.node), worker)?,
        ];
        Ok(RaftNode(Arc::new(Inner {
            places: Arc::new(Semaphore::new(config.max_inflight_proposals)),
            control_places: Arc::new(Semaphore::new(CONTROL_PLACES)),
            config,
            shared,
            log: Mutex::new(Some(log)),
            checkpoints,
            commands,
            inbox,
            threads: Mutex::new(threads),
            logger: crate::logger::to_tracing(),
        })))
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.0.config.node
    }

    /// The groups in this node's log, open or not.
    pub fn stored_groups(&self) -> Vec<GroupId> {
        self.log().map(|log| log.groups()).unwrap_or_default()
    }

    /// Begins a new group with these voters, of which this node holds one. Every voter's node does the
    /// same once, with the same peers and a state machine in the same first state. Never for a replica
    /// whose disk was lost: that one comes back under a new id, with `join_group`. Blocks on disk.
    pub fn create_group(
        &self,
        group: GroupId,
        voters: &[Peer],
        mut machine: Box<dyn StateMachine>,
    ) -> Result<()> {
        self.refuse_stored(group)?;
        let own = voters.iter().find(|peer| peer.node == self.node()).ok_or_else(|| {
            Error::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("node {} is not among the voters of group {group}", self.node()),
            )
        })?;
        let nodes: BTreeMap<u64, u64> = voters.iter().map(|p| (p.replica.0, p.node.0)).collect();
        if nodes.len() != voters.len() || nodes.contains_key(&0) {
            return Err(Error::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("the replica ids of group {group} must be distinct and above 0"),
            ));
        }
        let highest_replica = nodes.keys().copied().max().unwrap_or_default();
        let first = Checkpoint {
            index: FIRST_INDEX,
            term: FIRST_TERM,
            conf_state: ConfState::from((nodes.keys().copied().collect::<Vec<_>>(), Vec::new())),
            peers: Peers { nodes, highest_replica },
            state: Bytes::from(machine.snapshot()()),
        };
        let bytes = encode(&first.to_snapshot())?;
        self.0.checkpoints.put(group, LogIndex(FIRST_INDEX), &bytes)?;
        let state = GroupState {
            replica: own.replica.0,
            truncated: (FIRST_INDEX, FIRST_TERM),
            term: FIRST_TERM,
            vote: 0,
            commit: FIRST_INDEX,
        };
        GroupLog::create(&*self.log()?, group, &state)?;
        self.start(group, Some(first), machine)
    }

    /// Makes this node the home of a new replica, which `add_learner` on the leader then fills. Blocks on disk.
    pub fn join_group(
        &self,
        group: GroupId,
        replica: ReplicaId,
        machine: Box<dyn StateMachine>,
    ) -> Result<()> {
        self.refuse_stored(group)?;
        let state = GroupState { replica: replica.0, ..GroupState::default() };
        GroupLog::create(&*self.log()?, group, &state)?;
        self.start(group, None, machine)
    }

    fn refuse_stored(&self, group: GroupId) -> Result<()> {
        if self.log()?.has_group(group) {
            return Err(Error::new(
                SqlState::DUPLICATE_OBJECT,
                format!("node {} already has a replica of group {group}", self.node()),
            ));
        }
        // A crash in `create_group` leaves a checkpoint of the beginning; any later one had a log.
        match checkpoint::latest(self.0.checkpoints.as_ref(), group)? {
            Some(found) if found.index > FIRST_INDEX => Err(Error::corrupt(format!(
                "the log of node {} has nothing of group {group}, but there is a checkpoint at {}",
                self.node(),
                found.index
            ))),
            _ => Ok(()),
        }
    }

    /// Opens a stored group: newest checkpoint into the state machine, then the committed entries after
    /// it, applied by the Raft thread. Blocks on disk.
    pub fn open_group(&self, group: GroupId, mut machine: Box<dyn StateMachine>) -> Result<()> {
        let checkpoint = checkpoint::latest(self.0.checkpoints.as_ref(), group)?;
        if let Some(checkpoint) = &checkpoint {
            machine
                .restore(&checkpoint.state)
                .map_err(|e| e.context(format!("group {group}: checkpoint at {}", checkpoint.index)))?;
        }
        self.start(group, checkpoint, machine)
    }

    fn start(
        &self,
        group: GroupId,
        checkpoint: Option<Checkpoint>,
        machine: Box<dyn StateMachine>,
    ) -> Result<()> {
        let inner = &self.0;
        let mut log = GroupLog::open(self.log()?, group, inner.config.cache_bytes)?
            .ok_or_else(|| inner.shared.no_group(group))?;
        log.meet(checkpoint.as_ref())?;
        let config = inner.config.clone();
        let group = Group::new(group, log, checkpoint.as_ref(), machine, config, &inner.logger)?;
        let (done, answer) = bounded(1);
        self.command(Command::Add(Box::new(group), done))?;
        answer.recv().unwrap_or_else(|_| Err(inner.shared.failure()))
    }

    fn log(&self) -> Result<Arc<SharedLog>> {
        self.0.log.lock().clone().ok_or_else(|| self.0.shared.failure())
    }

    fn command(&self, command: Command) -> Result<()> {
        self.0.commands.send(command).map_err(|_| self.0.shared.failure())
    }

    /// Sends a command and waits for its answer.
    async fn ask<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> Result<T> {
        let _place = self.place(&self.0.control_places, "requests").await?;
        let (done, answer) = oneshot::channel();
        self.command(command(done))?;
        answer.await.unwrap_or_else(|_| Err(self.0.shared.failure()))
    }

    /// A place among the node's proposals. Must run inside a tokio runtime with a clock when it has to wait.
    async fn place(&self, places: &Arc<Semaphore>, what: &str) -> Result<OwnedSemaphorePermit> {
        let places = places.clone();
        if let Ok(place) = places.clone().try_acquire_owned() {
            return Ok(place);
        }
        match tokio::time::timeout(self.0.config.enqueue_timeout, places.acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_closed)) => Err(self.0.shared.failure()),
            Err(_elapsed) => Err(Error::new(
                SqlState::CONFIGURATION_LIMIT_EXCEEDED,
                format!("too many {what} are waiting on node {}", self.node()),
            )
            .with_hint("The disk or the other replicas cannot keep up; try again later.")),
        }
    }

    /// Appends an entry to the group's log and waits until it is committed and applied on this node.
    ///
    /// Errors: 57P03, this node does not lead (never forwarded, certainly not applied); 40001, leadership
    /// was lost and the entry is certainly not applied; 08007, it may be applied or not; 53400, the queue
    /// stayed full; 54000, too large. Dropping the future takes the entry back
    /// only while it is queued.
    pub async fn propose(&self, group: GroupId, data: Bytes) -> Result<Applied> {
        let applied = self.propose_with(group, move |_| Some(data)).await?;
        applied.ok_or_else(|| Error::internal("a proposal was cancelled"))
    }

    /// Like `propose`, with an entry made by a closure that runs on the Raft thread right before the
    /// append, in log order: what it stamps increases along the log. `None` cancels, and is the answer.
    pub async fn propose_with(
        &self,
        group: GroupId,
        build: impl FnOnce(Slot) -> Option<Bytes> + Send + 'static,
    ) -> Result<Option<Applied>> {
        let place = self.place(&self.0.places, "writes").await?;
        let (done, answer) = oneshot::channel();
        self.command(Command::Propose(group, Proposal { build: Box::new(build), done, place }))?;
        answer.await.unwrap_or_else(|_| Err(self.0.shared.failure()))
    }

    /// Takes a frame that another node's `Wire` sent. Never blocks; drops it when too many wait.
    pub fn receive(&self, frame: Bytes) {
        let inner = &self.0;
        let len = frame.len();
        let waiting = inner.shared.inbox_bytes.fetch_add(len, Ordering::Relaxed);
        // One that is larger than the whole inbox, a snapshot for one, still passes when nothing waits.
        let fits = waiting == 0 || waiting + len <= inner.config.inbox_bytes;
        if !fits || inner.inbox.try_send(frame).is_err() {
            inner.shared.inbox_bytes.fetch_sub(len, Ordering::Relaxed);
            tracing::debug!(node = %self.node(), "inbox full or closed, dropped a frame");
        }
    }

    /// Asks a quorum whether this node still leads the group, and answers with an applied index that
    /// covers everything acknowledged before the call: the state machine may then be read.
    pub async fn read_index(&self, group: GroupId) -> Result<LogIndex> {
        self.ask(|done| Command::ReadIndex(group, done)).await
    }

    /// Stores a checkpoint of the group as of now or later, and cuts the log behind it.
    pub async fn checkpoint(&self, group: GroupId) -> Result<LogIndex> {
        self.ask(|done| Command::Checkpoint(group, done)).await
    }

    /// Tells the group's replica on this node to stand for leader.
    pub async fn campaign(&self, group: GroupId) -> Result<()> {
        self.ask(|done| Command::Campaign(group, done)).await
    }

    /// Begins to hand the leadership over. Proposals wait meanwhile; it is given up after an election timeout.
    pub async fn transfer_leader(&self, group: GroupId, to: ReplicaId) -> Result<()> {
        self.ask(|done| Command::Transfer(group, to.0, done)).await
    }

    /// Adds a replica that listens. Its id must be above every id the group ever had.
    pub async fn add_learner(&self, group: GroupId, peer: Peer) -> Result<()> {
        self.change(group, Membership::AddLearner { replica: peer.replica, node: peer.node }).await
    }

    /// Makes a learner that has caught up a voter; 55000 if it has not.
    pub async fn promote(&self, group: GroupId, replica: ReplicaId) -> Result<()> {
        self.change(group, Membership::Promote { replica }).await
    }

    /// Removes a replica for ever. On return its node may be switched off.
    pub async fn remove(&self, group: GroupId, replica: ReplicaId) -> Result<()> {
        self.change(group, Membership::Remove { replica }).await
    }

    async fn change(&self, group: GroupId, change: Membership) -> Result<()> {
        self.ask(|done| Command::Membership(group, MembershipRequest { change, done })).await
    }

    /// Drops this node's replica with its log and checkpoints. Only after `remove` on the leader.
    pub async fn destroy_group(&self, group: GroupId) -> Result<()> {
        self.ask(|done| Command::Remove(group, done)).await
    }

    /// The group as this node sees it.
    pub fn status(&self, group: GroupId) -> Option<Status> {
        let last_fsync_micros = self.log().map_or(0, |log| log.last_sync_micros());
        let statuses = self.0.shared.statuses.read();
        statuses.get(&group).map(|status| status.read(last_fsync_micros))
    }

    /// All open groups.
    pub fn statuses(&self) -> Vec<Status> {
        let last_fsync_micros = self.log().map_or(0, |log| log.last_sync_micros());
        let statuses = self.0.shared.statuses.read();
        statuses.values().map(|status| status.read(last_fsync_micros)).collect()
    }

    /// Whether this node leads the group and takes proposals.
    pub fn is_leader(&self, group: GroupId) -> bool {
        self.leader_term(group).is_some()
    }

    /// The term in which this node leads the group and takes proposals.
    pub fn leader_term(&self, group: GroupId) -> Option<Term> {
        self.0.shared.statuses.read().get(&group)?.leads_in()
    }

    /// The last entry in the group's state machine.
    pub fn applied_index(&self, group: GroupId) -> Option<LogIndex> {
        Some(self.0.shared.statuses.read().get(&group)?.applied())
    }

    /// Fsyncs of the log since the start.
    pub fn log_syncs(&self) -> u64 {
        self.log().map_or(0, |log| log.syncs())
    }

    /// Bytes of the log's files, all groups together.
    pub fn log_disk_bytes(&self) -> u64 {
        self.log().map_or(0, |log| log.disk_bytes())
    }

    /// Why Raft stopped on this node, if it did.
    pub fn failure(&self) -> Option<Error> {
        self.0.shared.failure.lock().clone()
    }

    /// Stops the Raft thread, waits for it and closes the folder. Proposals that wait fail. Dropping the last
    /// handle does the same.
    pub fn stop(&self) {
        self.0.stop();
    }
}

impl Inner {
    fn stop(&self) {
        let _stopped = self.commands.send(Command::Stop);
        let threads = std::mem::take(&mut *self.threads.lock());
        for handle in threads {
            // A state machine that holds the last handle is dropped on the Raft thread itself.
            if handle.thread().id() != thread::current().id() && handle.join().is_err() {
                tracing::error!("a Raft thread panicked");
            }
        }
        *self.log.lock() = None;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}
