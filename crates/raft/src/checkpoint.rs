//! Checkpoints: a group's state at one applied index, durable, so that the log before it can go. The same
//! bytes are the Raft snapshot a follower gets. Knows no log and no state machine.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use protobuf::Message as _;
use quiver_base::{Error, GroupId, LogIndex, Result, SqlState};
use raft::prelude::{ConfState, Snapshot};

use crate::fs::{RaftFs, TEMPORARY, read_all, replace};

/// Where checkpoints are kept. The bytes are opaque; a store returns exactly what was put, or an error
/// that names what is damaged.
pub trait CheckpointStore: Send + Sync {
    /// Stores a checkpoint. On return it survives a power cut.
    fn put(&self, group: GroupId, index: LogIndex, bytes: &[u8]) -> Result<()>;
    /// The group's newest checkpoint. A damaged newest one is an error, never skipped: the log that an
    /// older one needs may be gone.
    fn latest(&self, group: GroupId) -> Result<Option<(LogIndex, Vec<u8>)>>;
    /// Removes the group's checkpoints older than `index`.
    fn purge_before(&self, group: GroupId, index: LogIndex) -> Result<()>;
}

const MAGIC: &[u8; 8] = b"QVRCKPT\0";
const VERSION: u32 = 1;
/// magic, version u32, group u64, index u64, payload length u64.
const HEADER_LEN: usize = 8 + 4 + 8 + 8 + 8;
const EXTENSION: &str = "checkpoint";

/// Checkpoints as files `GROUP-INDEX.checkpoint` of one folder: header, payload, crc32c of both.
pub struct FileCheckpoints {
    dir: PathBuf,
    fs: Arc<dyn RaftFs>,
}

impl FileCheckpoints {
    /// Opens or creates the folder; removes what a crash left half written.
    pub fn open(dir: impl Into<PathBuf>, fs: Arc<dyn RaftFs>) -> Result<FileCheckpoints> {
        let store = FileCheckpoints { dir: dir.into(), fs };
        store.fs.create_dir(&store.dir).map_err(|e| Error::io(store.dir.display(), e))?;
        for path in store.files()? {
            if path.extension().is_some_and(|e| e == TEMPORARY) {
                store.fs.remove(&path).map_err(|e| Error::io(path.display(), e))?;
            }
        }
        Ok(store)
    }

    fn files(&self) -> Result<Vec<PathBuf>> {
        let list = || std::fs::read_dir(&self.dir)?.map(|e| Ok(e?.path())).collect::<io::Result<Vec<_>>>();
        list().map_err(|e| Error::io(self.dir.display(), e))
    }

    fn path(&self, group: GroupId, index: LogIndex) -> PathBuf {
        self.dir.join(format!("{:016x}-{:016x}.{EXTENSION}", group.0, index.0))
    }

    /// Indexes of the group's checkpoints, ascending.
    fn indexes(&self, group: GroupId) -> Result<Vec<LogIndex>> {
        let mut found: Vec<_> =
            self.files()?.iter().filter_map(|p| parse_name(p)).filter(|(g, _)| *g == group).collect();
        found.sort_unstable();
        Ok(found.into_iter().map(|(_, index)| index).collect())
    }
}

fn parse_name(path: &Path) -> Option<(GroupId, LogIndex)> {
    if path.extension()? != EXTENSION {
        return None;
    }
    let (group, index) = path.file_stem()?.to_str()?.split_once('-')?;
    let number = |hex: &str| u64::from_str_radix(hex, 16).ok();
    Some((GroupId(number(group)?), LogIndex(number(index)?)))
}

impl CheckpointStore for FileCheckpoints {
    fn put(&self, group: GroupId, index: LogIndex, bytes: &[u8]) -> Result<()> {
        let path = self.path(group, index);
        let mut file = Vec::with_capacity(HEADER_LEN + bytes.len() + 4);
        file.extend_from_slice(MAGIC);
        file.extend_from_slice(&VERSION.to_le_bytes());
        for n in [group.0, index.0, bytes.len() as u64] {
            file.extend_from_slice(&n.to_le_bytes());
        }
        file.extend_from_slice(bytes);
        let crc = crc32c::crc32c(&file);
        file.extend_from_slice(&crc.to_le_bytes());
        replace(self.fs.as_ref(), &path, &file).map_err(|e| Error::io(path.display(), e))
    }

    fn latest(&self, group: GroupId) -> Result<Option<(LogIndex, Vec<u8>)>> {
        let Some(index) = self.indexes(group)?.pop() else { return Ok(None) };
        let path = self.path(group, index);
        let file = self.fs.open(&path, false).and_then(|f| read_all(f.as_ref()));
        let file = file.map_err(|e| Error::io(path.display(), e))?;
        Ok(Some((index, payload(file, group, index, &path)?)))
    }

    fn purge_before(&self, group: GroupId, index: LogIndex) -> Result<()> {
        let mut removed = false;
        for old in self.indexes(group)?.into_iter().filter(|old| *old < index) {
            let path = self.path(group, old);
            self.fs.remove(&path).map_err(|e| Error::io(path.display(), e))?;
            removed = true;
        }
        if removed {
            self.fs.sync_dir(&self.dir).map_err(|e| Error::io(self.dir.display(), e))?;
        }
        Ok(())
    }
}

/// Checks a checkpoint file and cuts its payload out.
fn payload(mut file: Vec<u8>, group: GroupId, index: LogIndex, path: &Path) -> Result<Vec<u8>> {
    let damaged = |what: &str| Error::corrupt(format!("checkpoint {}: {what}", path.display()));
    if file.len() < HEADER_LEN + 4 || &file[..8] != MAGIC {
        return Err(damaged("not a checkpoint file"));
    }
    let version = u32::from_le_bytes(file[8..12].try_into().expect("4 bytes"));
    if version > VERSION {
        return Err(Error::new(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("checkpoint {} has version {version}, this Quiver reads up to {VERSION}", path.display()),
        ));
    }
    let number = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().expect("8 bytes"));
    let (body, crc) = file.split_at(file.len() - 4);
    if crc32c::crc32c(body).to_le_bytes() != crc {
        return Err(damaged("checksum mismatch"));
    }
    if (number(12), number(20)) != (group.0, index.0) || number(28) != (body.len() - HEADER_LEN) as u64 {
        return Err(damaged("the content is not what the name says"));
    }
    file.truncate(file.len() - 4);
    file.drain(..HEADER_LEN);
    Ok(file)
}

/// Which node holds each replica of a group, and which replica ids are used up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peers {
    pub(crate) nodes: BTreeMap<u64, u64>,
    pub(crate) highest_replica: u64,
}

const PEERS_MAGIC: &[u8; 4] = b"QVPR";
const PEERS_VERSION: u8 = 1;

impl Peers {
    /// `QVPR`, version u8, highest replica u64, count u32, (replica u64, node u64)*, crc32c.
    fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(PEERS_MAGIC);
        out.push(PEERS_VERSION);
        out.extend_from_slice(&self.highest_replica.to_le_bytes());
        out.extend_from_slice(&(self.nodes.len() as u32).to_le_bytes());
        for (replica, node) in &self.nodes {
            out.extend_from_slice(&replica.to_le_bytes());
            out.extend_from_slice(&node.to_le_bytes());
        }
        let crc = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }

    /// Returns the peers and what follows them.
    fn decode(bytes: &Bytes) -> Option<(Peers, Bytes)> {
        let head = bytes.get(..17)?;
        if &head[..4] != PEERS_MAGIC || head[4] != PEERS_VERSION {
            return None;
        }
        let highest_replica = u64::from_le_bytes(head[5..13].try_into().ok()?);
        let count = u32::from_le_bytes(head[13..17].try_into().ok()?) as usize;
        let end = count.checked_mul(16)?.checked_add(17)?;
        let crc = bytes.get(end..end.checked_add(4)?)?;
        if crc32c::crc32c(&bytes[..end]).to_le_bytes() != crc {
            return None;
        }
        let number = |pair: &[u8]| u64::from_le_bytes(pair.try_into().expect("8 bytes"));
        let nodes = bytes[17..end].chunks_exact(16).map(|p| (number(&p[..8]), number(&p[8..]))).collect();
        Some((Peers { nodes, highest_replica }, bytes.slice(end + 4..)))
    }
}

/// Everything a checkpoint or a Raft snapshot holds.
#[derive(Clone, Debug)]
pub(crate) struct Checkpoint {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) conf_state: ConfState,
    pub(crate) peers: Peers,
    /// What the state machine encoded.
    pub(crate) state: Bytes,
}

impl Checkpoint {
    /// The snapshot as raft-rs sends it.
    pub(crate) fn to_snapshot(&self) -> Snapshot {
        let mut data = Vec::with_capacity(64 + self.peers.nodes.len() * 16 + self.state.len());
        self.peers.encode(&mut data);
        data.extend_from_slice(&self.state);
        let mut snapshot = Snapshot { data: data.into(), ..Snapshot::default() };
        let meta = snapshot.mut_metadata();
        meta.index = self.index;
        meta.term = self.term;
        meta.set_conf_state(self.conf_state.clone());
        snapshot
    }

    pub(crate) fn from_snapshot(snapshot: &Snapshot) -> Result<Checkpoint> {
        let (peers, state) = Peers::decode(&snapshot.data)
            .ok_or_else(|| Error::corrupt("the list of replicas in a Raft snapshot"))?;
        let meta = snapshot.get_metadata();
        let conf_state = meta.get_conf_state().clone();
        Ok(Checkpoint { index: meta.index, term: meta.term, conf_state, peers, state })
    }
}

/// A snapshot as a checkpoint store keeps it.
pub(crate) fn encode(snapshot: &Snapshot) -> Result<Vec<u8>> {
    snapshot.write_to_bytes().map_err(|e| Error::internal(format!("encoding a Raft snapshot: {e}")))
}

/// The newest checkpoint of a group.
pub(crate) fn latest(store: &dyn CheckpointStore, group: GroupId) -> Result<Option<Checkpoint>> {
    let Some((index, bytes)) = store.latest(group)? else { return Ok(None) };
    let named = |e: Error| e.context(format!("checkpoint {index} of group {group}"));
    let snapshot =
        Snapshot::parse_from_carllerche_bytes(&bytes.into()).map_err(|e| named(Error::corrupt(e)))?;
    let checkpoint = Checkpoint::from_snapshot(&snapshot).map_err(named)?;
    if checkpoint.index != index.0 {
        return Err(named(Error::corrupt(format!("it holds index {}", checkpoint.index))));
    }
    Ok(Some(checkpoint))
}
