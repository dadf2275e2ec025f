//! One group's log as raft-rs wants to read it (`raft::Storage`), over the shared log. Recent entries and
//! all terms are in memory, so that replication and apply read no disk. Knows no state machine.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use quiver_base::{Error, GroupId, Result};
use raft::prelude::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};
use raft_engine::{Command, LogBatch};

use super::{EntryCodec, SharedLog, engine_error};
use crate::checkpoint::Checkpoint;

pub(super) const STATE_KEY: &[u8] = b"state";
const STATE_VERSION: u8 = 1;
const STATE_LEN: usize = 1 + 6 * 8 + 4;
/// Entries are read back in pieces of this size when a group is opened.
const SCAN_BYTES: usize = 4 << 20;
/// raft-engine sums what it reads in 32 bits.
const READ_BYTES_MAX: u64 = 1 << 30;

/// What is stored beside a group's entries: version u8, six u64, crc32c; little endian.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupState {
    /// Who this replica is in the group.
    pub(crate) replica: u64,
    /// The last entry that is no longer in the log, and its term.
    pub(crate) truncated: (u64, u64),
    pub(crate) term: u64,
    pub(crate) vote: u64,
    pub(crate) commit: u64,
}

impl GroupState {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(STATE_LEN);
        bytes.push(STATE_VERSION);
        for n in [self.replica, self.truncated.0, self.truncated.1, self.term, self.vote, self.commit] {
            bytes.extend_from_slice(&n.to_le_bytes());
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<GroupState> {
        if bytes.len() != STATE_LEN || bytes[0] != STATE_VERSION {
            return None;
        }
        let (body, crc) = bytes.split_at(STATE_LEN - 4);
        if crc32c::crc32c(body).to_le_bytes() != crc {
            return None;
        }
        let at = |i: usize| u64::from_le_bytes(body[1 + i * 8..9 + i * 8].try_into().expect("8 bytes"));
        Some(GroupState {
            replica: at(0),
            truncated: (at(1), at(2)),
            term: at(3),
            vote: at(4),
            commit: at(5),
        })
    }
}

/// The stored log of one group on this node.
pub(crate) struct GroupLog {
    shared: Arc<SharedLog>,
    group: GroupId,
    pub(crate) state: GroupState,
    /// Whether `state` differs from what is stored in more than the commit index.
    dirty: bool,
    /// Members as of the applied index.
    pub(crate) conf_state: ConfState,
    last_index: u64,
    /// Runs of equal terms: the first index of each. Covers `truncated` to `last_index`.
    terms: Vec<(u64, u64)>,
    cache: VecDeque<Entry>,
    cached_bytes: usize,
    cache_limit: usize,
    /// What a follower that is too far behind gets, if it was made already.
    pub(crate) snapshot: Option<Snapshot>,
    /// A follower for which raft-rs asked for a snapshot that is not there.
    snapshot_wanted: Cell<bool>,
}

impl GroupLog {
    /// Stores the beginning of a group of which this node has nothing. Durable on return.
    pub(crate) fn create(shared: &SharedLog, group: GroupId, state: &GroupState) -> Result<()> {
        let mut batch = LogBatch::default();
        put_state(&mut batch, group, state)?;
        shared.write(&mut batch)
    }

    /// Reads what the log knows of a group; `None` if nothing.
    pub(crate) fn open(shared: Arc<SharedLog>, group: GroupId, cache_limit: usize) -> Result<Option<Self>> {
        let damaged =
            |what: String| Error::corrupt(format!("log in {}: group {group}: {what}", shared.dir.display()));
        let Some(bytes) = shared.engine.get(group.0, STATE_KEY) else {
            let is_known = shared.groups().contains(&group);
            return if is_known { Err(damaged("its state is missing".to_owned())) } else { Ok(None) };
        };
        let state = GroupState::decode(&bytes).ok_or_else(|| damaged("unreadable state".to_owned()))?;
        let first = state.truncated.0 + 1;
        let mut last_index = state.truncated.0;
        if let (Some(stored_first), Some(stored_last)) =
            (shared.engine.first_index(group.0), shared.engine.last_index(group.0))
            && stored_last >= first
        {
            if stored_first > first {
                return Err(damaged(format!("begins at {stored_first} where {first} is needed")));
            }
            last_index = stored_last;
        }
        if state.commit > last_index {
            return Err(damaged(format!("ends at {last_index}, but {} was committed", state.commit)));
        }
        let mut log = GroupLog {
            group,
            dirty: false,
            conf_state: ConfState::default(),
            last_index,
            terms: vec![state.truncated],
            cache: VecDeque::new(),
            cached_bytes: 0,
            cache_limit,
            snapshot: None,
            snapshot_wanted: Cell::new(false),
            state,
            shared,
        };
        log.scan(first)?;
        Ok(Some(log))
    }

    /// Brings the log together with the newest checkpoint, of which it must be the continuation.
    pub(crate) fn meet(&mut self, checkpoint: Option<&Checkpoint>) -> Result<()> {
        let needed = self.state.truncated.0;
        let missing = |found: String| {
            Err(Error::corrupt(format!(
                "log in {}: group {} begins after {needed}, but {found}",
                self.shared.dir.display(),
                self.group
            )))
        };
        let Some(checkpoint) = checkpoint else {
            return if needed == 0 { Ok(()) } else { missing("its checkpoint is missing".to_owned()) };
        };
        if checkpoint.index < needed {
            return missing(format!("its newest checkpoint ends at {}", checkpoint.index));
        }
        self.conf_state = checkpoint.conf_state.clone();
        if self.term(checkpoint.index).ok() == Some(checkpoint.term) {
            // Nobody but a follower that was away asks for what the checkpoint has.
            self.forget_cached(checkpoint.index);
            self.state.commit = self.state.commit.max(checkpoint.index);
            return Ok(());
        }
        if checkpoint.index <= self.state.commit && checkpoint.index > needed {
            return missing(format!("its newest checkpoint is of another log at {}", checkpoint.index));
        }
        // A snapshot of the leader was stored, and the power went before the log followed it.
        let mut batch = LogBatch::default();
        self.reset(&mut batch, checkpoint.index, checkpoint.term, checkpoint.conf_state.clone());
        self.flush_state(&mut batch, false)?;
        self.shared.write(&mut batch)
    }

    /// Reads every entry once: learns the terms, fills the cache, and finds damage before it matters.
    fn scan(&mut self, first: u64) -> Result<()> {
        let mut next = first;
        while next <= self.last_index {
            let entries = self.read(next, self.last_index + 1, Some(SCAN_BYTES))?;
            for entry in &entries {
                self.note_term(entry.index, entry.term);
            }
            next += entries.len() as u64;
            for entry in entries {
                self.cached_bytes += entry.data.len();
                self.cache.push_back(entry);
            }
            self.trim_cache();
        }
        Ok(())
    }

    fn read(&self, low: u64, high: u64, max_bytes: Option<usize>) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        self.shared
            .engine
            .fetch_entries_to::<EntryCodec>(self.group.0, low, high, max_bytes, &mut entries)
            .map_err(|e| engine_error(&self.shared.dir, e).context(format!("group {}", self.group)))?;
        if entries.first().is_none_or(|e| e.index != low) {
            return Err(Error::corrupt(format!(
                "log in {}: group {}: entry {low} is missing",
                self.shared.dir.display(),
                self.group
            )));
        }
        Ok(entries)
    }

    fn note_term(&mut self, index: u64, term: u64) {
        if self.terms.last().is_none_or(|&(_, last)| last != term) {
            self.terms.push((index, term));
        }
    }

    /// Drops entries up to `index` from memory.
    fn forget_cached(&mut self, index: u64) {
        while self.cache.front().is_some_and(|entry| entry.index <= index) {
            if let Some(entry) = self.cache.pop_front() {
                self.cached_bytes -= entry.data.len();
            }
        }
    }

    fn trim_cache(&mut self) {
        while self.cached_bytes > self.cache_limit && self.cache.len() > 1 {
            if let Some(entry) = self.cache.pop_front() {
                self.cached_bytes -= entry.data.len();
            }
        }
    }

    /// Appends entries, in place of any stored at or after the first one's index.
    pub(crate) fn append(&mut self, batch: &mut LogBatch, entries: Vec<Entry>) -> Result<()> {
        let Some(first) = entries.first().map(|e| e.index) else { return Ok(()) };
        batch
            .add_entries::<EntryCodec>(self.group.0, &entries)
            .map_err(|e| engine_error(&self.shared.dir, e))?;
        while self.terms.len() > 1 && self.terms.last().is_some_and(|&(start, _)| start >= first) {
            self.terms.pop();
        }
        while self.cache.back().is_some_and(|e| e.index >= first) {
            if let Some(entry) = self.cache.pop_back() {
                self.cached_bytes -= entry.data.len();
            }
        }
        for entry in entries {
            self.note_term(entry.index, entry.term);
            self.last_index = entry.index;
            self.cached_bytes += entry.data.len();
            self.cache.push_back(entry);
        }
        self.trim_cache();
        Ok(())
    }

    /// Takes over Raft's hard state. The commit index alone need not be stored: it is found again.
    pub(crate) fn set_hard_state(&mut self, hard: &HardState) {
        self.dirty |= hard.term != self.state.term || hard.vote != self.state.vote;
        self.state.term = hard.term;
        self.state.vote = hard.vote;
        self.state.commit = self.state.commit.max(hard.commit);
    }

    /// Makes sure that the commit index is stored with the next batch.
    pub(crate) fn set_commit(&mut self, commit: u64) {
        self.state.commit = self.state.commit.max(commit);
        self.dirty = true;
    }

    /// Forgets all entries: the log goes on after this index.
    pub(crate) fn reset(&mut self, batch: &mut LogBatch, index: u64, term: u64, conf_state: ConfState) {
        batch.add_command(self.group.0, Command::Compact { index: index.max(self.last_index) + 1 });
        self.state.truncated = (index, term);
        self.state.commit = self.state.commit.max(index);
        if term > self.state.term {
            self.state.term = term;
            self.state.vote = 0;
        }
        self.conf_state = conf_state;
        self.last_index = index;
        self.terms = vec![(index, term)];
        self.cache.clear();
        self.cached_bytes = 0;
        self.snapshot = None;
        self.dirty = true;
    }

    /// Drops entries up to and including `index`, which must be applied and covered by a checkpoint.
    pub(crate) fn compact(&mut self, batch: &mut LogBatch, index: u64) {
        let Ok(term) = self.term(index) else { return };
        if index <= self.state.truncated.0 {
            return;
        }
        batch.add_command(self.group.0, Command::Compact { index: index + 1 });
        self.state.truncated = (index, term);
        self.state.commit = self.state.commit.max(index);
        let run = self.terms.partition_point(|&(start, _)| start <= index).saturating_sub(1);
        self.terms.drain(..run);
        if let Some(head) = self.terms.first_mut() {
            *head = (index, term);
        }
        while self.cache.front().is_some_and(|e| e.index <= index) {
            if let Some(entry) = self.cache.pop_front() {
                self.cached_bytes -= entry.data.len();
            }
        }
        self.dirty = true;
    }

    /// Removes the group from the log.
    pub(crate) fn remove(&self, batch: &mut LogBatch) {
        batch.add_command(self.group.0, Command::Clean);
    }

    /// Puts the state into the batch if it has to be durable, and always beside entries: then whoever has an
    /// entry that was proposed after a change of members knows, after a restart too, that the change was
    /// committed. A replica is never more than one change behind, so its old quorum meets the new one.
    pub(crate) fn flush_state(&mut self, batch: &mut LogBatch, has_entries: bool) -> Result<()> {
        if self.dirty || has_entries {
            put_state(batch, self.group, &self.state)?;
            self.dirty = false;
        }
        Ok(())
    }

    /// Whether a follower waits for a snapshot; asking resets it.
    pub(crate) fn take_snapshot_wanted(&self) -> bool {
        self.snapshot_wanted.replace(false)
    }

    pub(crate) fn first(&self) -> u64 {
        self.state.truncated.0 + 1
    }

    pub(crate) fn last(&self) -> u64 {
        self.last_index
    }
}

fn put_state(batch: &mut LogBatch, group: GroupId, state: &GroupState) -> Result<()> {
    batch
        .put(group.0, STATE_KEY.to_vec(), state.encode())
        .map_err(|e| Error::internal(format!("log batch: {e}")))
}

impl Storage for GroupLog {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let hard = HardState {
            term: self.state.term,
            vote: self.state.vote,
            commit: self.state.commit,
            ..HardState::default()
        };
        Ok(RaftState::new(hard, self.conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low < self.first() {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if high > self.last_index + 1 {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        let max_bytes = max_size.into().unwrap_or(u64::MAX);
        let mut entries = match self.cache.front().map(|e| e.index) {
            Some(cached) if cached <= low => {
                let range = (low - cached) as usize..(high - cached) as usize;
                return Ok(take_bytes(self.cache.range(range).cloned(), max_bytes));
            }
            _ if low == high => return Ok(Vec::new()),
            _ => self
                .read(low, high, Some(max_bytes.min(READ_BYTES_MAX) as usize))
                .map_err(|e| raft::Error::Store(StorageError::Other(Box::new(e))))?,
        };
        raft::util::limit_size(&mut entries, Some(max_bytes));
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index < self.state.truncated.0 {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        if index > self.last_index {
            return Err(raft::Error::Store(StorageError::Unavailable));
        }
        let run = self.terms.partition_point(|&(start, _)| start <= index);
        Ok(self.terms[run.saturating_sub(1)].1)
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.first())
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last_index)
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let usable = |snapshot: &&Snapshot| {
            let meta = snapshot.get_metadata();
            let members = meta.get_conf_state();
            // A replica refuses a snapshot that does not know it; the log must follow on without a gap.
            meta.index >= request_index
                && meta.index >= self.state.truncated.0
                && (members.voters.contains(&to) || members.learners.contains(&to))
        };
        match self.snapshot.as_ref().filter(usable) {
            Some(snapshot) => Ok(snapshot.clone()),
            None => {
                self.snapshot_wanted.set(true);
                Err(raft::Error::Store(StorageError::SnapshotTemporarilyUnavailable))
            }
        }
    }
}

/// Entries up to `max_bytes`, at least one.
fn take_bytes(entries: impl Iterator<Item = Entry>, max_bytes: u64) -> Vec<Entry> {
    let mut total = 0;
    let mut taken = Vec::new();
    for entry in entries {
        total += entry.data.len() as u64 + 16;
        if total > max_bytes && !taken.is_empty() {
            break;
        }
        taken.push(entry);
    }
    taken
}
