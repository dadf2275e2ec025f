//! The replicated state of a data group: shards, what transactions staged or prepared, recent requests. Applying an entry touches
//! memory only and cannot fail; an entry that this version cannot read stops the group, by name. Decides nothing: the leader has.

use crate::command::{Command, Kind};
use crate::leases::Leases;
use crate::oracle::Oracle;
use crate::requests::{Outcome, Outcomes, Requests};
use bytes::Bytes;
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use quiver_base::{Error, GroupId, LogIndex, Result, ShardId, Term, Timestamp, TxnId};
use quiver_raft::{Entry, Leadership, SnapshotEncoder, StateMachine};
use quiver_storage::{Publish, PublishOutcome, Shard, ShardWrite, StorageEnv};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// What a group looks like to the rest of its process. Written by the Raft thread.
#[derive(Debug)]
pub(crate) struct DataGroup {
    pub(crate) id: GroupId,
    pub(crate) env: Arc<StorageEnv>,
    oracle: Arc<Oracle>,
    shards: RwLock<HashMap<ShardId, Arc<Shard>>>,
    last_commit: AtomicU64,
    /// Transactions with rows here that are not committed, with the shards they have rows in.
    unresolved: Mutex<BTreeMap<TxnId, Unresolved>>,
    /// The term in which this replica leads; 0: it does not.
    pub(crate) term: watch::Sender<Term>,
    /// Rises whenever a prepared transaction ends.
    resolved: watch::Sender<u64>,
    pub(crate) outcomes: Arc<Outcomes>,
    pub(crate) leases: Arc<Leases>,
    failure: Mutex<Option<Error>>,
}

/// A transaction that has rows in the group and is not committed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unresolved {
    pub(crate) shards: BTreeSet<ShardId>,
    /// It is waiting for the meta group's decision.
    pub(crate) prepared: bool,
    /// The last term in which it wrote.
    pub(crate) term: Term,
}

impl DataGroup {
    pub(crate) fn new(id: GroupId, env: Arc<StorageEnv>, oracle: Arc<Oracle>) -> Arc<DataGroup> {
        Arc::new(DataGroup {
            id,
            env,
            oracle,
            shards: RwLock::default(),
            last_commit: AtomicU64::new(0),
            unresolved: Mutex::default(),
            term: watch::Sender::new(Term(0)),
            resolved: watch::Sender::new(0),
            outcomes: Arc::default(),
            leases: Arc::default(),
            failure: Mutex::default(),
        })
    }

    /// Everything at or below it is applied, so it may be read at.
    pub(crate) fn last_commit(&self) -> Timestamp {
        Timestamp(self.last_commit.load(Ordering::Acquire))
    }

    /// XX001 if the log could not be applied: nothing here may be read or written any more.
    pub(crate) fn check(&self) -> Result<()> {
        self.failure.lock().clone().map_or(Ok(()), Err)
    }

    /// The term to check a transaction in. 57P03 on a node that does not lead.
    pub(crate) fn leader_term(&self) -> Result<Term> {
        self.check()?;
        match *self.term.borrow() {
            Term(0) => Err(Error::new(
                quiver_base::SqlState::CANNOT_CONNECT_NOW,
                format!("this node does not lead group {}", self.id),
            )),
            term => Ok(term),
        }
    }

    pub(crate) fn shard(&self, id: ShardId) -> Option<Arc<Shard>> {
        self.shards.read().get(&id).cloned()
    }

    pub(crate) fn shards(&self) -> Vec<Arc<Shard>> {
        self.shards.read().values().cloned().collect()
    }

    pub(crate) fn unresolved(&self) -> BTreeMap<TxnId, Unresolved> {
        self.unresolved.lock().clone()
    }

    /// Whether the transaction waits for a decision.
    pub(crate) fn is_prepared(&self, txn: TxnId) -> bool {
        self.unresolved.lock().get(&txn).is_some_and(|unresolved| unresolved.prepared)
    }

    /// Waits until a prepared transaction has ended.
    pub(crate) async fn wait_resolved(&self, txn: TxnId) {
        let mut resolved = self.resolved.subscribe();
        while self.is_prepared(txn) {
            if resolved.changed().await.is_err() {
                return;
            }
        }
    }
}

/// The group's small state: what is not in shards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Small {
    last_commit: Timestamp,
    requests: Requests,
    unresolved: BTreeMap<TxnId, Unresolved>,
}

/// The state machine on the Raft thread.
#[derive(Debug)]
pub(crate) struct DataMachine {
    group: Arc<DataGroup>,
    shards: BTreeMap<ShardId, Arc<Shard>>,
    small: Small,
}

impl DataMachine {
    pub(crate) fn new(group: Arc<DataGroup>) -> Box<DataMachine> {
        Box::new(DataMachine { group, shards: BTreeMap::new(), small: Small::default() })
    }

    /// A shard, made when a transaction first writes to it.
    fn shard(&mut self, id: ShardId) -> &Arc<Shard> {
        self.shards.entry(id).or_insert_with(|| {
            let shard = Shard::new(id, self.group.env.clone());
            self.group.shards.write().insert(id, shard.clone());
            shard
        })
    }

    fn execute(&mut self, term: Term, command: &Command) -> Result<Outcome> {
        if let Some(outcome) = self.small.requests.known(command.request) {
            return Ok(outcome);
        }
        if command.term != term {
            return Ok(Outcome::Refused);
        }
        let outcome = match command.kind {
            Kind::Commit => self.commit(command)?,
            Kind::Stage => self.stage(command, false)?,
            Kind::Prepare => self.stage(command, true)?,
            Kind::Abort => self.abort(command.txn),
            Kind::Publish => self.publish(command)?,
            Kind::DropShards => self.drop_shards(command),
            Kind::Edit | Kind::Bound | Kind::MoveSequence | Kind::ForgetDecision | Kind::RefuseDecision => {
                return Err(Error::corrupt("a command of the meta group in the log of a data group"));
            }
        };
        self.small.requests.remember(command.request, outcome);
        Ok(outcome)
    }

    fn commit(&mut self, command: &Command) -> Result<Outcome> {
        let mut writes = decode_writes(command)?;
        let staged = self.small.unresolved.get(&command.txn).cloned();
        // A commit whose staged rows were aborted, or that would not rise above what is applied, must not half happen.
        if command.commit_ts <= self.small.last_commit || command.staged && staged.is_none() {
            return Ok(Outcome::Refused);
        }
        let staged_shards = staged.filter(|_| command.staged).map(|staged| staged.shards).unwrap_or_default();
        for id in writes.keys().copied().chain(staged_shards.iter().copied()).collect::<BTreeSet<_>>() {
            let write = writes.remove(&id).unwrap_or_default();
            let txn = staged_shards.contains(&id).then_some(command.txn);
            self.shard(id).commit(command.commit_ts, write, txn);
        }
        self.small.last_commit = command.commit_ts;
        // All shards have it: from here on it may be read.
        self.group.last_commit.store(command.commit_ts.0, Ordering::Release);
        if command.staged {
            self.forget(command.txn);
        }
        Ok(Outcome::Done)
    }

    fn stage(&mut self, command: &Command, prepare: bool) -> Result<Outcome> {
        let writes = decode_writes(command)?;
        let mut unresolved = self.small.unresolved.remove(&command.txn).unwrap_or_default();
        unresolved.term = command.term;
        unresolved.prepared |= prepare;
        for (id, write) in writes {
            unresolved.shards.insert(id);
            self.shard(id).stage(command.txn, write);
        }
        self.small.unresolved.insert(command.txn, unresolved.clone());
        self.group.unresolved.lock().insert(command.txn, unresolved);
        Ok(Outcome::Done)
    }

    fn abort(&mut self, txn: TxnId) -> Outcome {
        let shards = self.small.unresolved.get(&txn).map(|unresolved| unresolved.shards.clone());
        for id in shards.unwrap_or_default() {
            if let Some(shard) = self.shards.get(&id) {
                shard.abort(txn);
            }
        }
        self.forget(txn);
        Outcome::Done
    }

    fn forget(&mut self, txn: TxnId) {
        self.small.unresolved.remove(&txn);
        self.group.unresolved.lock().remove(&txn);
        self.group.resolved.send_modify(|count| *count += 1);
    }

    fn publish(&mut self, command: &Command) -> Result<Outcome> {
        let (id, bytes) = command.blobs.first().ok_or_else(|| Error::corrupt("a publish without content"))?;
        let publish = Publish::decode(bytes)?;
        let outcome = self.shards.get(&ShardId(*id)).map(|shard| shard.publish(&publish));
        Ok(match outcome {
            Some(PublishOutcome::Done) => Outcome::Done,
            Some(PublishOutcome::Stale) | None => Outcome::Stale,
        })
    }

    fn drop_shards(&mut self, command: &Command) -> Outcome {
        for (id, _) in &command.blobs {
            self.shards.remove(&ShardId(*id));
            self.group.shards.write().remove(&ShardId(*id));
        }
        Outcome::Done
    }

    fn fail(&self, index: LogIndex, cause: Error) {
        let failure = cause.context(format!("group {}, log entry {index}", self.group.id));
        tracing::error!(error = %failure, "a group has stopped");
        self.group.failure.lock().get_or_insert(failure);
    }
}

fn decode_writes(command: &Command) -> Result<BTreeMap<ShardId, ShardWrite>> {
    let decode = |(id, bytes): &(u64, Bytes)| Ok((ShardId(*id), ShardWrite::decode(bytes)?));
    command.blobs.iter().map(decode).collect()
}

impl StateMachine for DataMachine {
    fn apply(&mut self, entry: Entry<'_>) {
        if self.group.failure.lock().is_some() {
            return;
        }
        match Command::decode(entry.data).and_then(|command| self.execute(entry.term, &command)) {
            Ok(outcome) => self.group.outcomes.set(entry.index.0, outcome),
            Err(cause) => self.fail(entry.index, cause),
        }
    }

    fn snapshot(&mut self) -> SnapshotEncoder {
        let small = self.small.clone();
        let shards: Vec<_> = self.shards.values().map(|shard| shard.encode_state()).collect();
        Box::new(move || {
            let small = rmp_serde::to_vec_named(&small).expect("maps and numbers always encode");
            crate::state_bytes::encode(
                STATE_MAGIC,
                std::iter::once(small).chain(shards.into_iter().map(|encode| encode())),
            )
        })
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<()> {
        let parts = crate::state_bytes::decode(STATE_MAGIC, snapshot)?;
        let (small, shards) = parts.split_first().ok_or_else(|| Error::corrupt("a data group's state"))?;
        self.small = rmp_serde::from_slice(small)
            .map_err(|cause| Error::corrupt("a data group's state").with_source(cause))?;
        self.shards = BTreeMap::new();
        for bytes in shards {
            let shard = Shard::restore(self.group.env.clone(), bytes)?;
            self.shards.insert(shard.id(), shard);
        }
        *self.group.shards.write() = self.shards.iter().map(|(id, shard)| (*id, shard.clone())).collect();
        *self.group.unresolved.lock() = self.small.unresolved.clone();
        self.group.last_commit.store(self.small.last_commit.0, Ordering::Release);
        self.group.resolved.send_modify(|count| *count += 1);
        Ok(())
    }

    fn leadership(&mut self, event: Leadership) {
        let term = match event {
            Leadership::BecameLeader { term } => {
                // An earlier leader may have stamped more than the bound here says.
                self.group.oracle.raise(self.small.last_commit);
                term
            }
            Leadership::LostLeader => Term(0),
        };
        self.group.term.send_replace(term);
    }
}

const STATE_MAGIC: &[u8; 4] = b"QVD1";
