//! Promises of this crate, one file for each kind of trouble. Everything runs on a clock of 10 ms.
#![allow(clippy::unwrap_used)] // tests

mod chaos;
mod cluster;
mod damage;
mod power;
mod single;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use quiver_base::{GroupId, NodeId, ReplicaId, Result, Term};

use crate::{
    DiskFs, Entry, FileCheckpoints, Leadership, NoWire, Peer, RaftConfig, RaftFs, RaftNode, SnapshotEncoder,
    StateMachine,
};

pub(crate) const GROUP: GroupId = GroupId(7);

/// A state machine that is the list of what was applied.
#[derive(Clone, Default)]
pub(crate) struct Journal(Arc<Mutex<JournalState>>);

#[derive(Default)]
pub(crate) struct JournalState {
    /// Index and data of every applied entry.
    pub(crate) entries: Vec<(u64, String)>,
    pub(crate) restored: usize,
    pub(crate) leads: Option<Term>,
    pub(crate) leadership: Vec<Leadership>,
}

impl Journal {
    pub(crate) fn texts(&self) -> Vec<String> {
        self.0.lock().entries.iter().map(|(_, text)| text.clone()).collect()
    }

    pub(crate) fn with<T>(&self, f: impl FnOnce(&JournalState) -> T) -> T {
        f(&self.0.lock())
    }
}

impl StateMachine for Journal {
    fn apply(&mut self, entry: Entry<'_>) {
        let text = String::from_utf8(entry.data.to_vec()).unwrap();
        let mut state = self.0.lock();
        assert!(
            state.entries.last().is_none_or(|(index, _)| *index < entry.index.0),
            "applied in order, once"
        );
        state.entries.push((entry.index.0, text));
    }

    fn snapshot(&mut self) -> SnapshotEncoder {
        let entries = self.0.lock().entries.clone();
        Box::new(move || entries.iter().map(|(i, t)| format!("{i}:{t}\n")).collect::<String>().into_bytes())
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<()> {
        let text = std::str::from_utf8(snapshot).unwrap();
        let mut state = self.0.lock();
        state.restored += 1;
        state.entries = text
            .lines()
            .map(|line| line.split_once(':').unwrap())
            .map(|(index, text)| (index.parse().unwrap(), text.to_owned()))
            .collect();
        Ok(())
    }

    fn leadership(&mut self, event: Leadership) {
        let mut state = self.0.lock();
        state.leads = match event {
            Leadership::BecameLeader { term } => Some(term),
            Leadership::LostLeader => None,
        };
        state.leadership.push(event);
    }
}

pub(crate) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub(crate) fn peer(id: u64) -> Peer {
    Peer { replica: ReplicaId(id), node: NodeId(id) }
}

/// Opens node 1 alone, with its group created or opened.
pub(crate) fn open_alone(dir: &Path, fs: Arc<dyn RaftFs>) -> Result<(RaftNode, Journal)> {
    open_with(RaftConfig::for_tests(NodeId(1), dir), fs)
}

pub(crate) fn open_with(config: RaftConfig, fs: Arc<dyn RaftFs>) -> Result<(RaftNode, Journal)> {
    let checkpoints = Arc::new(FileCheckpoints::open(config.dir.join("checkpoints"), fs.clone())?);
    let node = RaftNode::open(config, fs, checkpoints, Arc::new(NoWire))?;
    let journal = Journal::default();
    if node.stored_groups().contains(&GROUP) {
        node.open_group(GROUP, Box::new(journal.clone()))?;
    } else {
        node.create_group(GROUP, &[peer(1)], Box::new(journal.clone()))?;
    }
    Ok((node, journal))
}

pub(crate) fn on_disk(dir: &Path) -> (RaftNode, Journal) {
    open_alone(dir, Arc::new(DiskFs)).unwrap()
}

/// Waits until something holds; panics with `what` if it does not within five seconds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !holds() {
        assert!(Instant::now() < deadline, "not within 5 s: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(crate) async fn leads(node: &RaftNode) {
    eventually("leads", || node.is_leader(GROUP)).await;
}
