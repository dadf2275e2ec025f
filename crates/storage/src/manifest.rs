//! A shard's state as bytes, for checkpoints: the manifest of its segments, and everything that is only in memory.
//! Equal histories give equal bytes, however the rows happen to be divided into chunks.
//!
//! ```text
//! frame( facts as MessagePack | memtable groups | batches of each staging transaction )
//! ```

use crate::chunk::{Born, Chunk, gather};
use crate::frame::{Format, Reader, put_block, put_u64s};
use crate::rows::{RowBatch, put_batch, take_batch};
use crate::sealed::Sealed;
use crate::version::{Staged, Version};
use crate::{SegmentMeta, StorageEnv};
use quiver_base::{Error, Result, RowId, ShardId, Timestamp, TxnId};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;

const FORMAT: Format = Format { magic: *b"QVST", version: 1, name: "shard state" };
/// Rows that are written as one batch; few in tests, so that they see several.
const GROUP_ROWS_MAX: usize = if cfg!(test) { 32 } else { 8192 };

#[derive(Serialize, Deserialize)]
struct Facts {
    shard: ShardId,
    newest_ts: Timestamp,
    flushed_ts: Timestamp,
    max_row_id: RowId,
    segments: Vec<SegmentMeta>,
    tombstones: Vec<(RowId, Timestamp)>,
    staged: Vec<StagedFacts>,
}

#[derive(Serialize, Deserialize)]
struct StagedFacts {
    txn: TxnId,
    segments: Vec<SegmentMeta>,
    spilled_batches: u64,
    batches: u64,
    deletes: Vec<RowId>,
}

/// The bytes of a version.
pub(crate) fn encode(shard: ShardId, version: &Version) -> Result<Vec<u8>> {
    let metas = |segments: &[Sealed]| segments.iter().map(|sealed| sealed.meta().clone()).collect();
    let staged_facts = |(txn, staged): (&TxnId, &Staged)| StagedFacts {
        txn: *txn,
        segments: metas(&staged.segments),
        spilled_batches: staged.spilled_batches,
        batches: staged.chunks.len() as u64,
        deletes: staged.deletes.to_vec(),
    };
    let facts = Facts {
        shard,
        newest_ts: version.newest_ts,
        flushed_ts: version.flushed_ts,
        max_row_id: version.max_row_id,
        segments: metas(&version.segments),
        tombstones: version.tombstones.iter().map(|(row, ts)| (*row, *ts)).collect(),
        staged: version.staged.iter().map(staged_facts).collect(),
    };
    let facts = rmp_serde::to_vec(&facts).map_err(|e| Error::internal(format!("shard state: {e}")))?;
    let mut out = FORMAT.start();
    put_block(&mut out, &facts);
    let (mut rows, mut groups_written) = (Vec::new(), 0u64);
    for group in groups(version) {
        groups_written += put_group(&mut rows, group)?;
    }
    out.extend_from_slice(&groups_written.to_le_bytes());
    out.append(&mut rows);
    for chunk in version.staged.values().flat_map(|staged| &staged.chunks) {
        put_rows(&mut out, &[(chunk, 0..chunk.len())])?;
    }
    Ok(FORMAT.finish(out))
}

/// Reads [`encode`]'s bytes back. Opens no object.
pub(crate) fn decode(env: &Arc<StorageEnv>, bytes: &[u8]) -> Result<(ShardId, Version)> {
    let mut reader = FORMAT.open(bytes)?;
    let facts: Facts = rmp_serde::from_slice(reader.block()?)
        .map_err(|cause| Error::corrupt(format!("shard state: {cause}")))?;
    let sealed = |metas: Vec<SegmentMeta>| {
        metas.into_iter().map(|meta| Sealed::new(env, meta, Default::default())).collect::<Vec<_>>()
    };
    let mut version = Version {
        segments: sealed(facts.segments),
        newest_ts: facts.newest_ts,
        flushed_ts: facts.flushed_ts,
        max_row_id: facts.max_row_id,
        ..Version::default()
    };
    for _ in 0..reader.u64()? {
        version.memtable.append(take_rows(&mut reader, env)?, &env.memory);
    }
    for staged in facts.staged {
        let chunks = (0..staged.batches).map(|_| Ok(Arc::new(take_rows(&mut reader, env)?)));
        let restored = Staged {
            chunks: chunks.collect::<Result<_>>()?,
            segments: sealed(staged.segments),
            spilled_batches: staged.spilled_batches,
            deletes: Arc::new(staged.deletes),
        };
        version.staged.insert(staged.txn, restored);
    }
    reader.end()?;
    let mut tombstones = facts.tombstones;
    tombstones.sort_unstable_by_key(|(row, ts)| (*ts, *row));
    tombstones.into_iter().for_each(|(row, ts)| version.delete(row, ts));
    Ok((facts.shard, version))
}

type Group<'a> = Vec<(&'a Chunk, Range<usize>)>;

/// Memtable rows in commit order, cut where columns change and after every [`GROUP_ROWS_MAX`] rows: by what they are, not by
/// the chunks they are in.
fn groups(version: &Version) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut room = 0;
    for entry in version.memtable.chunks() {
        let chunk = entry.chunk.as_ref();
        let mut start = 0;
        while start < chunk.len() {
            let continues =
                room > 0 && groups.last().is_some_and(|group: &Group<'_>| group[0].0.has_columns_of(chunk));
            if !continues {
                groups.push(Vec::new());
                room = GROUP_ROWS_MAX;
            }
            let end = chunk.len().min(start + room);
            if let Some(group) = groups.last_mut() {
                group.push((chunk, start..end));
            }
            room -= end - start;
            start = end;
        }
    }
    groups
}

/// Writes a group, in halves if its text is more than one array can hold. Returns how many it became.
fn put_group(out: &mut Vec<u8>, group: Group<'_>) -> Result<u64> {
    let (start, rows) = (out.len(), group.iter().map(|(_, range)| range.len()).sum::<usize>());
    let Err(error) = put_rows(out, &group) else { return Ok(1) };
    if rows < 2 {
        return Err(error);
    }
    out.truncate(start);
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let mut room = rows / 2;
    for (chunk, range) in group {
        let middle = range.end.min(range.start + room);
        room -= middle - range.start;
        first.extend((middle > range.start).then_some((chunk, range.start..middle)));
        second.extend((range.end > middle).then_some((chunk, middle..range.end)));
    }
    Ok(put_group(out, first)? + put_group(out, second)?)
}

fn put_rows(out: &mut Vec<u8>, group: &[(&Chunk, Range<usize>)]) -> Result<()> {
    let (rows, born) = gather(group)?;
    put_u64s(out, rows.row_ids.iter().map(|row| row.0));
    let times: Vec<Timestamp> = match born {
        Born::All(ts) => vec![ts],
        Born::Each(list) => list,
    };
    put_u64s(out, times.iter().map(|ts| ts.0));
    put_batch(out, &rows.batch)
}

fn take_rows(reader: &mut Reader<'_>, env: &Arc<StorageEnv>) -> Result<Chunk> {
    let row_ids: Vec<RowId> = reader.u64s()?.into_iter().map(RowId).collect();
    let times: Vec<Timestamp> = reader.u64s()?.into_iter().map(Timestamp).collect();
    let batch = take_batch(reader)?;
    let rows = batch.num_rows();
    let born = match times.as_slice() {
        [ts] => Some(Born::All(*ts)),
        _ => (times.len() == rows).then_some(Born::Each(times)),
    };
    let Some(born) = born.filter(|_| row_ids.len() == rows) else {
        return Err(Error::corrupt("shard state: rows, ids and timestamps differ in number"));
    };
    Ok(Chunk::new(Arc::new(RowBatch { batch, row_ids }), born, &env.memory))
}
