//! The replicated state of the meta group: the catalog, the bound of timestamps, decisions of transactions that changed both the
//! catalog and rows, positions of sequences. Applying an entry touches memory only and cannot fail.

use crate::command::{Command, Kind};
use crate::requests::{Outcome, Outcomes, Requests};
use crate::{Catalog, CatalogEdit};
use parking_lot::{Mutex, RwLock};
use quiver_base::{DatabaseId, Error, GroupId, Result, SqlState, TableId, Term, Timestamp, TxnId};
use quiver_raft::{Entry, Leadership, SnapshotEncoder, StateMachine};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

use crate::oracle::Oracle;

/// What a reader takes in one go: a catalog, and the transactions whose rows may not be there yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct MetaView {
    pub(crate) catalog: Arc<Catalog>,
    /// Decided to commit; the data group named has not acknowledged it.
    pub(crate) decisions: Arc<BTreeMap<TxnId, GroupId>>,
}

/// What the meta group looks like to the rest of its process. Written by the Raft thread.
#[derive(Debug)]
pub(crate) struct MetaGroup {
    view: RwLock<MetaView>,
    pub(crate) oracle: Arc<Oracle>,
    pub(crate) term: watch::Sender<Term>,
    pub(crate) outcomes: Arc<Outcomes>,
    failure: Mutex<Option<Error>>,
}

/// A sequence's new durable position.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SequenceMove {
    pub(crate) database: DatabaseId,
    pub(crate) sequence: TableId,
    pub(crate) next: i64,
    pub(crate) exhausted: bool,
}

impl MetaGroup {
    pub(crate) fn new(oracle: Arc<Oracle>) -> Arc<MetaGroup> {
        Arc::new(MetaGroup {
            view: RwLock::default(),
            oracle,
            term: watch::Sender::new(Term(0)),
            outcomes: Arc::default(),
            failure: Mutex::default(),
        })
    }

    pub(crate) fn view(&self) -> MetaView {
        self.view.read().clone()
    }

    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        self.view.read().catalog.clone()
    }

    /// The term to check a change in.
    pub(crate) fn leader_term(&self) -> Result<Term> {
        if let Some(failure) = &*self.failure.lock() {
            return Err(failure.clone());
        }
        match *self.term.borrow() {
            Term(0) => {
                Err(Error::new(SqlState::CANNOT_CONNECT_NOW, "this node does not lead the meta group"))
            }
            term => Ok(term),
        }
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    catalog: Arc<Catalog>,
    bound: Timestamp,
    decisions: Arc<BTreeMap<TxnId, GroupId>>,
    requests: Requests,
}

/// The state machine on the Raft thread.
#[derive(Debug)]
pub(crate) struct MetaMachine {
    group: Arc<MetaGroup>,
    state: State,
}

impl MetaMachine {
    pub(crate) fn new(group: Arc<MetaGroup>) -> Box<MetaMachine> {
        Box::new(MetaMachine { group, state: State::default() })
    }

    fn execute(&mut self, term: Term, command: &Command) -> Result<Outcome> {
        if let Some(outcome) = self.state.requests.known(command.request) {
            return Ok(outcome);
        }
        if command.term != term {
            return Ok(Outcome::Refused);
        }
        let mut outcome = Outcome::Done;
        match command.kind {
            Kind::Edit => self.edit(command)?,
            Kind::Bound => self.state.bound = self.state.bound.max(command.commit_ts),
            Kind::MoveSequence => self.move_sequences(command)?,
            Kind::ForgetDecision => {
                Arc::make_mut(&mut self.state.decisions).remove(&command.txn);
            }
            // The edit that would decide to commit carries the same request id: it will find this answer.
            Kind::RefuseDecision => outcome = Outcome::Refused,
            _ => return Err(Error::corrupt("a command of a data group in the log of the meta group")),
        }
        self.state.requests.remember(command.request, outcome);
        self.publish();
        Ok(outcome)
    }

    fn edit(&mut self, command: &Command) -> Result<()> {
        let (group, edits): (u64, Vec<CatalogEdit>) = content(command)?;
        self.state.catalog = Arc::new(self.state.catalog.with_edits(&edits));
        if command.staged {
            Arc::make_mut(&mut self.state.decisions).insert(command.txn, GroupId(group));
        }
        Ok(())
    }

    fn move_sequences(&mut self, command: &Command) -> Result<()> {
        let (_, moves): (u64, Vec<SequenceMove>) = content(command)?;
        for SequenceMove { database, sequence, next, exhausted } in moves {
            let catalog = self.state.catalog.with_sequence_position(database, sequence, next, exhausted);
            self.state.catalog = Arc::new(catalog);
        }
        Ok(())
    }

    fn publish(&self) {
        self.group.oracle.raise_bound(self.state.bound);
        *self.group.view.write() =
            MetaView { catalog: self.state.catalog.clone(), decisions: self.state.decisions.clone() };
    }
}

fn content<T: DeserializeOwned>(command: &Command) -> Result<(u64, T)> {
    let (tag, bytes) =
        command.blobs.first().ok_or_else(|| Error::corrupt("a meta command without content"))?;
    let [part] = crate::state_bytes::decode(CONTENT_MAGIC, bytes)?[..] else {
        return Err(Error::corrupt("a meta command's content"));
    };
    let decoded = rmp_serde::from_slice(part);
    Ok((*tag, decoded.map_err(|cause| Error::corrupt("a meta command's content").with_source(cause))?))
}

/// The blob of a meta command.
pub(crate) fn encode_content<T: Serialize>(content: &T) -> Result<Vec<u8>> {
    let part = rmp_serde::to_vec_named(content)
        .map_err(|cause| Error::internal("cannot encode a catalog change").with_source(cause))?;
    Ok(crate::state_bytes::encode(CONTENT_MAGIC, std::iter::once(part)))
}

impl StateMachine for MetaMachine {
    fn apply(&mut self, entry: Entry<'_>) {
        if self.group.failure.lock().is_some() {
            return;
        }
        match Command::decode(entry.data).and_then(|command| self.execute(entry.term, &command)) {
            Ok(outcome) => self.group.outcomes.set(entry.index.0, outcome),
            Err(cause) => {
                let failure = cause.context(format!("meta group, log entry {}", entry.index));
                tracing::error!(error = %failure, "the meta group has stopped");
                self.group.failure.lock().get_or_insert(failure);
            }
        }
    }

    fn snapshot(&mut self) -> SnapshotEncoder {
        let state = self.state.clone();
        Box::new(move || {
            let part = rmp_serde::to_vec_named(&state).expect("a catalog always encodes");
            crate::state_bytes::encode(STATE_MAGIC, std::iter::once(part))
        })
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<()> {
        let [part] = crate::state_bytes::decode(STATE_MAGIC, snapshot)?[..] else {
            return Err(Error::corrupt("the meta group's state"));
        };
        self.state = rmp_serde::from_slice(part)
            .map_err(|cause| Error::corrupt("the meta group's state").with_source(cause))?;
        self.publish();
        Ok(())
    }

    fn leadership(&mut self, event: Leadership) {
        let term = match event {
            Leadership::BecameLeader { term } => {
                // Everything up to the bound may have been handed out by an earlier leader.
                self.group.oracle.raise(self.state.bound);
                term
            }
            Leadership::LostLeader => Term(0),
        };
        self.group.term.send_replace(term);
    }
}

const STATE_MAGIC: &[u8; 4] = b"QVM1";
const CONTENT_MAGIC: &[u8; 4] = b"QVE1";
