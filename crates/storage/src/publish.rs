//! The log command that makes a job's result take effect: what it says, and what apply does with it.

use crate::frame::Format;
use crate::memtable::MemChunk;
use crate::objects::ObjectRef;
use crate::sealed::Sealed;
use crate::segment::LookupFile;
use crate::version::Version;
use crate::visibility::Deletes;
use crate::{DeletesRef, SegmentMeta, StorageEnv};
use quiver_base::{Error, IndexId, Result, RowId, SegmentId, ShardId, Timestamp, TxnId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const FORMAT: Format = Format { magic: *b"QVPB", version: 1, name: "publish" };

/// What a job made of one position of the log, with what must still hold when it is applied. Every object it names is durable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Publish {
    pub(crate) shard: ShardId,
    pub(crate) change: Change,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Change {
    /// Rows committed in `(from, to]` are in `add`, except those deleted by `as_of`.
    Flush { from: Timestamp, to: Timestamp, as_of: Timestamp, add: Vec<SegmentMeta> },
    /// Batches `from..to` that a transaction staged are in `add`.
    Spill { txn: TxnId, from: u64, to: u64, add: Vec<SegmentMeta> },
    /// Rows of `remove` are in `add`, except those deleted by `as_of`. Each goes with the age of the bitmap that was read.
    Merge { as_of: Timestamp, remove: Vec<(SegmentId, Option<Timestamp>)>, add: Vec<SegmentMeta> },
    /// A segment has new indexes, and some that nobody declares any more are gone. `vectors` are those of the new ones that keep
    /// vectors of their own.
    Graphs {
        segment: SegmentId,
        add: Vec<(IndexId, ObjectRef)>,
        vectors: Vec<(IndexId, ObjectRef)>,
        remove: Vec<IndexId>,
        /// New files of indexes of values.
        #[serde(default)]
        lookups: Vec<LookupFile>,
    },
    /// A bitmap in place of one of age `previous`.
    Deletes { segment: SegmentId, previous: Option<Timestamp>, deletes: DeletesRef },
}

/// What a publish did on apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishOutcome {
    /// The manifest changed.
    Done,
    /// It no longer fitted (another job was first, or its input is gone): nothing changed and its objects are garbage.
    Stale,
}

impl Publish {
    /// Versioned bytes for the log.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = FORMAT.start();
        rmp_serde::encode::write(&mut out, self).expect("plain data, written to memory");
        FORMAT.finish(out)
    }

    /// Reads them back.
    pub fn decode(bytes: &[u8]) -> Result<Publish> {
        let body = FORMAT.open(bytes)?.rest();
        rmp_serde::from_slice(body).map_err(|cause| Error::corrupt(format!("publish: {cause}")))
    }

    /// The shard it is for.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Those among its objects that any search reads.
    pub(crate) fn searched_objects(&self) -> Vec<&ObjectRef> {
        match &self.change {
            Change::Flush { add, .. } | Change::Spill { add, .. } | Change::Merge { add, .. } => {
                add.iter().flat_map(SegmentMeta::searched_objects).collect()
            }
            Change::Graphs { add, vectors, .. } => {
                add.iter().chain(vectors).map(|(_, object)| object).collect()
            }
            Change::Deletes { .. } => Vec::new(),
        }
    }

    /// Objects that exist because of it.
    pub(crate) fn objects(&self) -> Vec<&ObjectRef> {
        match &self.change {
            Change::Flush { add, .. } | Change::Spill { add, .. } | Change::Merge { add, .. } => {
                add.iter().flat_map(SegmentMeta::objects).collect()
            }
            Change::Graphs { add, vectors, lookups, .. } => {
                let lookups = lookups.iter().map(|(.., object)| object);
                add.iter().chain(vectors).map(|(_, object)| object).chain(lookups).collect()
            }
            Change::Deletes { deletes, .. } => vec![&deletes.object],
        }
    }
}

impl Version {
    /// Applies a publish. `None` if it is stale; else segments whose objects may have left the manifest.
    pub(crate) fn publish(
        &mut self,
        publish: &Publish,
        shard: ShardId,
        env: &Arc<StorageEnv>,
    ) -> Option<Vec<Sealed>> {
        if publish.shard != shard {
            return None;
        }
        match &publish.change {
            Change::Flush { from, to, as_of, add } => self.publish_flush(*from, *to, *as_of, add, env),
            Change::Spill { txn, from, to, add } => self.publish_spill(*txn, *from, *to, add, env),
            Change::Merge { as_of, remove, add } => self.publish_merge(*as_of, remove, add, env),
            Change::Graphs { segment, add, vectors, remove, lookups } => {
                self.publish_graphs(*segment, add, vectors, remove, lookups)
            }
            Change::Deletes { segment, previous, deletes } => {
                self.publish_deletes(*segment, *previous, deletes)
            }
        }
    }

    fn publish_flush(
        &mut self,
        from: Timestamp,
        to: Timestamp,
        as_of: Timestamp,
        add: &[SegmentMeta],
        env: &Arc<StorageEnv>,
    ) -> Option<Vec<Sealed>> {
        if from != self.flushed_ts || to <= from || to > self.newest_ts {
            return None;
        }
        self.flushed_ts = to;
        let taken = self.memtable.cut(to, &env.memory);
        // A chunk that was cut comes whole: deletes of rows that stay are newer than `as_of`, and no new segment has them.
        let deleted = taken.iter().flat_map(|MemChunk { chunk, deletes }| {
            deletes.iter().map(|(row, ts)| (chunk.row_ids()[row as usize], ts))
        });
        let deleted = deleted.collect();
        let newer = self.settle(deleted, as_of);
        self.add_segments(add, &newer, env);
        Some(Vec::new())
    }

    fn publish_spill(
        &mut self,
        txn: TxnId,
        from: u64,
        to: u64,
        add: &[SegmentMeta],
        env: &Arc<StorageEnv>,
    ) -> Option<Vec<Sealed>> {
        let staged = self.staged.get_mut(&txn)?;
        let spilled = usize::try_from(to.checked_sub(from)?).ok()?;
        if staged.spilled_batches != from || spilled > staged.chunks.len() {
            return None;
        }
        staged.chunks.drain(..spilled);
        staged.spilled_batches = to;
        staged.segments.extend(add.iter().map(|meta| Sealed::new(env, meta.clone(), Deletes::default())));
        Some(Vec::new())
    }

    fn publish_merge(
        &mut self,
        as_of: Timestamp,
        remove: &[(SegmentId, Option<Timestamp>)],
        add: &[SegmentMeta],
        env: &Arc<StorageEnv>,
    ) -> Option<Vec<Sealed>> {
        let unchanged = |(id, bitmap): &(SegmentId, Option<Timestamp>)| {
            self.segment(*id).is_some_and(|sealed| bitmap_age(sealed) == *bitmap)
        };
        if !remove.iter().all(unchanged) {
            return None;
        }
        let is_removed = |sealed: &Sealed| remove.iter().any(|(id, _)| *id == sealed.meta().id);
        let (removed, kept) = std::mem::take(&mut self.segments).into_iter().partition(is_removed);
        self.segments = kept;
        let removed: Vec<Sealed> = removed;
        let newer = self.settle(removed.iter().flat_map(deleted_rows).collect(), as_of);
        self.add_segments(add, &newer, env);
        Some(removed)
    }

    fn publish_graphs(
        &mut self,
        segment: SegmentId,
        add: &[(IndexId, ObjectRef)],
        vectors: &[(IndexId, ObjectRef)],
        remove: &[IndexId],
        lookups: &[LookupFile],
    ) -> Option<Vec<Sealed>> {
        let sealed = self.segments.iter_mut().find(|sealed| sealed.meta().id == segment)?;
        let mut meta = sealed.meta().clone();
        let stays =
            |(id, _): &(IndexId, ObjectRef)| !remove.contains(id) && add.iter().all(|(new, _)| new != id);
        meta.graphs.retain(stays);
        meta.index_vectors.retain(stays);
        let is_new = |file: &LookupFile| lookups.iter().any(|new| (new.0, new.2) == (file.0, file.2));
        meta.lookups.retain(|file| !remove.contains(&file.0) && !is_new(file));
        meta.lookups.extend(lookups.iter().cloned());
        meta.graphs.extend(add.iter().cloned());
        meta.index_vectors.extend(vectors.iter().cloned());
        meta.graphs.sort_unstable_by_key(|(id, _)| *id);
        meta.index_vectors.sort_unstable_by_key(|(id, _)| *id);
        let new = sealed.with_meta(meta);
        Some(vec![std::mem::replace(sealed, new)])
    }

    fn publish_deletes(
        &mut self,
        segment: SegmentId,
        previous: Option<Timestamp>,
        deletes: &DeletesRef,
    ) -> Option<Vec<Sealed>> {
        let at = self.segments.iter().position(|sealed| sealed.meta().id == segment)?;
        let old = self.segments[at].clone();
        if bitmap_age(&old) != previous {
            return None;
        }
        let newer = self.settle(deleted_rows(&old).collect(), deletes.as_of);
        let mut meta = old.meta().clone();
        meta.deletes = Some(deletes.clone());
        let mut new = old.with_meta(meta);
        new.deletes = positions(&new, &newer);
        self.segments[at] = new;
        Some(vec![old])
    }

    /// Forgets deletes that a job dealt with; returns those newer than `as_of`.
    fn settle(&mut self, deleted: Vec<(RowId, Timestamp)>, as_of: Timestamp) -> Vec<(RowId, Timestamp)> {
        let (old, newer): (Vec<_>, Vec<_>) = deleted.into_iter().partition(|(_, ts)| *ts <= as_of);
        for (row, _) in old {
            self.tombstones.remove(&row);
        }
        newer
    }

    fn add_segments(&mut self, add: &[SegmentMeta], newer: &[(RowId, Timestamp)], env: &Arc<StorageEnv>) {
        for meta in add {
            let mut sealed = Sealed::new(env, meta.clone(), Deletes::default());
            sealed.deletes = positions(&sealed, newer);
            self.segments.push(sealed);
        }
    }
}

/// How new the bitmap of a segment is.
pub(crate) fn bitmap_age(sealed: &Sealed) -> Option<Timestamp> {
    sealed.meta().deletes.as_ref().map(|deletes| deletes.as_of)
}

fn deleted_rows(sealed: &Sealed) -> impl Iterator<Item = (RowId, Timestamp)> + '_ {
    sealed.deletes.iter().filter_map(|(row, ts)| Some((sealed.meta().row_ids.row_id(row)?, ts)))
}

fn positions(sealed: &Sealed, deleted: &[(RowId, Timestamp)]) -> Deletes {
    let here = deleted.iter().filter_map(|(row, ts)| Some((sealed.position(*row)?, *ts)));
    Deletes::from_unordered(here.collect())
}
