//! The node's log: all groups in one raft-engine, one write and one fsync for a batch of all of them.
//! Knows no Raft rules and no state machines.

mod engine_fs;
mod group_log;
mod verify;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use quiver_base::{Error, GroupId, Result, SqlState};
use raft::prelude::Entry;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize, RecoveryMode};

use self::engine_fs::{EngineFs, Failure};
pub(crate) use self::group_log::{GroupLog, GroupState};
use crate::fs::RaftFs;

/// Tells raft-engine how to read an entry's index.
pub(crate) struct EntryCodec;

impl MessageExt for EntryCodec {
    type Entry = Entry;

    fn index(entry: &Entry) -> u64 {
        entry.index
    }
}

/// All groups' logs on this node.
pub(crate) struct SharedLog {
    engine: Engine<EngineFs>,
    failure: Arc<Failure>,
    dir: PathBuf,
    last_sync_micros: AtomicU64,
}

impl SharedLog {
    /// Opens or creates the log in this folder.
    pub(crate) fn open(dir: &Path, file_bytes: u64, fs: Arc<dyn RaftFs>) -> Result<Arc<SharedLog>> {
        let failure = Arc::new(Failure::default());
        fs.create_dir(dir).map_err(|e| Error::io(dir.display(), e))?;
        verify::verify(fs.as_ref(), dir)?;
        let config = Config {
            dir: dir.to_str().map(str::to_owned).ok_or_else(|| {
                Error::new(SqlState::CONFIG_FILE_ERROR, format!("\"{}\" is not UTF-8", dir.display()))
            })?,
            recovery_mode: RecoveryMode::TolerateTailCorruption,
            recovery_threads: 1,
            // Vectors do not compress, and what does is compressed by who proposes it.
            batch_compression_threshold: ReadableSize(0),
            target_file_size: ReadableSize(file_bytes),
            purge_threshold: ReadableSize(file_bytes * 2),
            // A recycled file is renamed, and its old content may look like a tail: not worth its fsyncs.
            enable_log_recycle: false,
            ..Config::default()
        };
        let engine_fs = Arc::new(EngineFs { fs, failure: failure.clone() });
        // raft-engine panics on some kinds of damage, a hole in a group's entries for one.
        let opened = catch_unwind(AssertUnwindSafe(|| Engine::open_with_file_system(config, engine_fs)));
        let engine = match opened {
            Ok(result) => result.map_err(|e| engine_error(dir, e))?,
            Err(panic) => {
                return Err(Error::corrupt(format!("log in {}: {}", dir.display(), panic_text(&*panic))));
            }
        };
        Ok(Arc::new(SharedLog { engine, failure, dir: dir.to_owned(), last_sync_micros: AtomicU64::new(0) }))
    }

    /// Makes a batch durable. After an error the log takes nothing more.
    pub(crate) fn write(&self, batch: &mut LogBatch) -> Result<()> {
        let started = Instant::now();
        let written = self.engine.write(batch, true);
        if let Some(first) = self.failure.get() {
            return Err(Error::io(format!("log in {}", self.dir.display()), first));
        }
        written.map_err(|e| engine_error(&self.dir, e))?;
        self.last_sync_micros.store(started.elapsed().as_micros() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// The groups that have anything in the log.
    pub(crate) fn groups(&self) -> Vec<GroupId> {
        let mut groups: Vec<_> = self.engine.raft_groups().into_iter().map(GroupId).collect();
        groups.sort_unstable();
        groups
    }

    /// Whether anything of this group is stored.
    pub(crate) fn has_group(&self, group: GroupId) -> bool {
        self.engine.get(group.0, group_log::STATE_KEY).is_some()
    }

    /// Removes files that hold nothing live; returns groups whose old entries keep a file alive.
    pub(crate) fn purge(&self) -> Result<Vec<GroupId>> {
        let held_by = self.engine.purge_expired_files().map_err(|e| engine_error(&self.dir, e))?;
        Ok(held_by.into_iter().map(GroupId).collect())
    }

    /// How long the last write with its fsync took.
    pub(crate) fn last_sync_micros(&self) -> u64 {
        self.last_sync_micros.load(Ordering::Relaxed)
    }

    /// How many fsyncs of log files this process made.
    pub(crate) fn syncs(&self) -> u64 {
        self.failure.syncs()
    }

    /// Bytes that the log's files take.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.engine.get_used_size() as u64
    }
}

fn engine_error(dir: &Path, cause: raft_engine::Error) -> Error {
    match cause {
        raft_engine::Error::Io(e) => Error::io(format!("log in {}", dir.display()), e),
        raft_engine::Error::Corruption(what) => Error::corrupt(format!("log in {}: {what}", dir.display())),
        other => Error::new(SqlState::IO_ERROR, format!("log in {}: {other}", dir.display())),
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".to_owned())
}
