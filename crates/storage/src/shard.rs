//! The door to one shard: apply, snapshot, background work.

use crate::arrivals::Arrivals;
use crate::gc::{self, Retired};
use crate::job::{Job, JobControl, JobInput, JobKind};
use crate::policy::{Pace, Policy};
use crate::rows::batch_bytes;
use crate::run::{Run, wanted_graphs};
use crate::version::Version;
use crate::{Publish, PublishOutcome, ShardWrite, Snapshot, StorageEnv, TableLayout, manifest};
use parking_lot::{Mutex, RwLock};
use quiver_base::{Error, IndexId, Result, RowId, SegmentId, ShardId, Timestamp, TxnId};
use std::sync::Arc;
use std::time::Instant;

/// Numbers about a shard, for views, EXPLAIN and scheduling.
#[derive(Clone, Debug, Default)]
pub struct ShardStats {
    /// Rows that are visible now.
    pub live_rows: u64,
    /// Rows in memory.
    pub memtable_rows: u64,
    /// Bytes of those rows.
    pub memtable_bytes: u64,
    /// Bytes staged by transactions that have not ended.
    pub staged_bytes: u64,
    /// Sealed segments.
    pub segments: u64,
    /// Bytes of live objects.
    pub object_bytes: u64,
    /// Deletes not yet in a published bitmap.
    pub tombstones: u64,
}

/// One shard's replicated state and the machinery around it.
#[derive(Debug)]
pub struct Shard {
    id: ShardId,
    env: Arc<StorageEnv>,
    version: RwLock<Arc<Version>>,
    /// One change of it at a time.
    changing: Mutex<()>,
    arrivals: Mutex<Arrivals>,
    /// Shared by running jobs, whose objects no manifest names yet; alone for who deletes objects that none names.
    writing_objects: RwLock<()>,
    /// One collector at a time.
    collecting: Mutex<()>,
    /// Locked before `changing` and `version` where both are.
    local: Mutex<Local>,
}

/// What is true of this process only. Locked for moments: apply takes it too.
#[derive(Debug)]
struct Local {
    retired: Vec<Retired>,
    /// Results of jobs that wait for their publish.
    unpublished: Vec<Publish>,
    /// Objects may be left over from a job that ended in nothing.
    to_sweep: bool,
    /// No job may make objects any more.
    destroyed: bool,
}

impl Shard {
    /// An empty shard.
    pub fn new(id: ShardId, env: Arc<StorageEnv>) -> Arc<Shard> {
        Shard::of(id, env, Version::default())
    }

    /// A shard from [`Shard::encode_state`]'s bytes. Opens no object: damage there shows, by name, on first use or by [`Shard::verify`].
    pub fn restore(env: Arc<StorageEnv>, state: &[u8]) -> Result<Arc<Shard>> {
        let (id, version) = manifest::decode(&env, state)?;
        Ok(Shard::of(id, env, version))
    }

    fn of(id: ShardId, env: Arc<StorageEnv>, version: Version) -> Arc<Shard> {
        let local = Local { retired: Vec::new(), unpublished: Vec::new(), to_sweep: true, destroyed: false };
        Arc::new(Shard {
            id,
            env,
            version: RwLock::new(Arc::new(version)),
            changing: Mutex::new(()),
            arrivals: Mutex::new(Arrivals::new(Instant::now())),
            writing_objects: RwLock::new(()),
            collecting: Mutex::new(()),
            local: Mutex::new(local),
        })
    }

    /// Manifest, unflushed and staged rows, tombstones. The state is fixed when this is called, encoded when the closure runs;
    /// equal histories give equal bytes.
    pub fn encode_state(&self) -> Box<dyn FnOnce() -> Vec<u8> + Send> {
        let (id, version) = (self.id, self.version());
        Box::new(move || manifest::encode(id, &version).expect("these rows came as Arrow IPC"))
    }

    /// Its id.
    pub fn id(&self) -> ShardId {
        self.id
    }

    // Called from apply: memory only, cannot fail.

    /// Makes a write visible at `ts`, which is above all before it. Also what `txn` has staged, if given.
    pub fn commit(&self, ts: Timestamp, write: ShardWrite, staged: Option<TxnId>) {
        let commit = |version: &mut Version| version.commit(ts, &write, staged, &self.env);
        match staged {
            None => self.change(commit),
            // Its rows are moved, not copied: memory for both is not to be had.
            Some(_) => self.change_in_place(commit),
        }
        self.note_arrival(&write);
    }

    /// Keeps a part of a large transaction, invisible to others until its commit.
    pub fn stage(&self, txn: TxnId, write: ShardWrite) {
        self.change_in_place(|version| version.stage(txn, &write, &self.env));
        self.note_arrival(&write);
    }

    /// Drops what a transaction staged.
    pub fn abort(&self, txn: TxnId) {
        // Held throughout, so that what leaves the manifest is at once on the list.
        let mut local = self.local.lock();
        let (staged, version) = self.change(|version| (version.staged.remove(&txn), version.clone()));
        let segments = staged.map(|staged| staged.segments).unwrap_or_default();
        local.retired.extend(segments.iter().map(|sealed| Retired::new(sealed, &version)));
    }

    /// Swaps what a job made into the manifest, or does nothing if it no longer fits.
    pub fn publish(&self, publish: &Publish) -> PublishOutcome {
        let mut local = self.local.lock();
        local.unpublished.retain(|own| own != publish);
        let left = self.change(|version| {
            let left = version.publish(publish, self.id, &self.env)?;
            Some(left.iter().map(|sealed| Retired::new(sealed, version)).collect::<Vec<_>>())
        });
        match left {
            Some(retired) => {
                local.retired.extend(retired);
                PublishOutcome::Done
            }
            None => {
                local.to_sweep = true;
                PublishOutcome::Stale
            }
        }
    }

    // Reads.

    /// An immutable view at `read_ts`, with what `own` has staged.
    pub fn snapshot(&self, read_ts: Timestamp, own: Option<TxnId>) -> Arc<Snapshot> {
        Snapshot::new(&self.version(), read_ts, own)
    }

    /// The largest row id ever seen, staged ones included.
    pub fn max_row_id(&self) -> RowId {
        self.version().max_row_id
    }

    /// Whether each row version is neither deleted nor unknown in the newest state. What lock holders ask after waiting. A row
    /// whose delete bitmap cannot be read counts as gone: its reader fails on the bitmap too.
    pub fn are_live(&self, rows: &[RowId]) -> Vec<bool> {
        let version = self.version();
        let is_live = |row: &RowId| {
            let dead = version.sealed_position(*row).is_some_and(|(segment, position)| {
                version.segments[segment].is_published_dead(position).unwrap_or(true)
            });
            version.is_stored(*row) && !dead
        };
        rows.iter().map(is_live).collect()
    }

    /// Numbers for views and scheduling.
    pub fn stats(&self) -> ShardStats {
        let version = self.version();
        let sealed = version.segments.iter().map(|sealed| u64::from(sealed.live_rows()));
        let recent = version.memtable.chunks().iter();
        let recent = recent.map(|entry| (entry.chunk.len() - entry.deletes.len()) as u64);
        ShardStats {
            live_rows: sealed.chain(recent).sum(),
            memtable_rows: version.memtable.rows() as u64,
            memtable_bytes: version.memtable.bytes() as u64,
            staged_bytes: version.staged.values().map(|staged| staged.bytes() as u64).sum(),
            segments: version.segments.len() as u64,
            object_bytes: version.segments.iter().map(|sealed| sealed.meta().object_bytes()).sum(),
            tombstones: version.tombstones.len() as u64,
        }
    }

    /// Whether every segment that is large enough has the graph of an index. Rows in memory need none.
    pub fn is_indexed(&self, layout: &TableLayout, index: IndexId) -> bool {
        let version = self.version();
        let lacks = |sealed| wanted_graphs(&self.env, layout, sealed).iter().any(|wanted| wanted.id == index);
        !version.segments.iter().any(lacks)
    }

    // Background work, on the leader only; blocking.

    /// The most useful job now, given that none of `running` may be doubled and none of kinds `without_thread` can run. Reads at or above
    /// `oldest_read_ts` must stay right.
    pub fn pending_work(
        &self,
        layout: &TableLayout,
        running: &[Job],
        without_thread: &[JobKind],
        oldest_read_ts: Timestamp,
    ) -> Option<Job> {
        self.work(layout, running, without_thread, oldest_read_ts, self.pace())
    }

    /// As [`Shard::pending_work`], while a statement waits for what is in segments: rows that come stay in memory until it is full, as new
    /// segments would be more to wait for.
    pub fn pending_work_meanwhile(
        &self,
        layout: &TableLayout,
        running: &[Job],
        without_thread: &[JobKind],
        oldest_read_ts: Timestamp,
    ) -> Option<Job> {
        self.work(layout, running, without_thread, oldest_read_ts, Pace::Load)
    }

    /// As [`Shard::pending_work`], for what is in segments and without waiting whether more is written: for CREATE INDEX and VACUUM.
    pub fn pending_work_now(
        &self,
        layout: &TableLayout,
        running: &[Job],
        oldest_read_ts: Timestamp,
    ) -> Option<Job> {
        self.work(layout, running, &[], oldest_read_ts, Pace::Awaited)
    }

    fn work(
        &self,
        layout: &TableLayout,
        running: &[Job],
        without_thread: &[JobKind],
        oldest_read_ts: Timestamp,
        pace: Pace,
    ) -> Option<Job> {
        let version = self.version();
        let (env, shard) = (self.env.as_ref(), self.id);
        Policy { env, shard, version: &version, layout, running, without_thread, oldest_read_ts, pace }
            .choose()
    }

    /// A flush of everything now in memory (for VACUUM, shutdown, checkpoints and tests); `None` if there is nothing.
    pub fn flush_job(&self) -> Option<Job> {
        let some = self.version().memtable.rows() > 0;
        some.then_some(Job { kind: JobKind::Flush, shard: self.id, input: JobInput::Memtable })
    }

    /// The same if there are so many rows that a search over them should walk a graph (for CREATE INDEX).
    pub fn index_flush_job(&self) -> Option<Job> {
        let many = self.version().memtable.rows() >= self.env.options.index_rows_min;
        if many { self.flush_job() } else { None }
    }

    /// A merge of all segments into one (for VACUUM FULL and tests); `None` if there is nothing to gain.
    pub fn compact_job(&self) -> Option<Job> {
        let version = self.version();
        let clean = |segment: &crate::sealed::Sealed| segment.live_rows() == segment.meta().rows;
        if version.segments.len() < 2 && version.segments.iter().all(clean) {
            return None;
        }
        let segments: Vec<SegmentId> = version.segments.iter().map(|sealed| sealed.meta().id).collect();
        Some(Job { kind: JobKind::Compact, shard: self.id, input: JobInput::Segments(segments) })
    }

    /// Does the work and makes its objects durable. The publish takes effect only through the log.
    pub fn run_job(
        &self,
        job: &Job,
        layout: &TableLayout,
        oldest_read_ts: Timestamp,
        control: &JobControl,
    ) -> Result<Publish> {
        if job.shard != self.id {
            return Err(Error::internal("a job of another shard"));
        }
        let _writing = self.writing_objects.read();
        if self.local.lock().destroyed {
            return Err(Error::internal("the shard was dropped"));
        }
        let version = self.version();
        let as_of = oldest_read_ts.min(version.newest_ts);
        let (env, shard) = (&self.env, self.id);
        let done = Run { env, shard, version: &version, layout, as_of, control }.run(job);
        let done = done.and_then(|publish| {
            publish
                .searched_objects()
                .into_iter()
                .try_for_each(|object| env.objects.check_written(object))?;
            Ok(publish)
        });
        let mut local = self.local.lock();
        match &done {
            Ok(publish) => local.unpublished.push(publish.clone()),
            Err(_) => local.to_sweep = true,
        }
        done
    }

    /// Deletes the objects of a publish that came back stale or was never proposed. A failure leaves them to
    /// [`Shard::collect_garbage`].
    pub fn discard(&self, publish: &Publish) {
        let failed = gc::discard(&self.env, publish, &gc::named(&self.version())).err();
        let mut local = self.local.lock();
        local.unpublished.retain(|own| own != publish);
        if let Some(error) = failed {
            tracing::warn!(shard = self.id.0, %error, "objects of an unpublished job stay for now");
            local.to_sweep = true;
        }
    }

    /// Deletes objects that neither the manifest nor a live snapshot names. Returns how many. Call it when the log has been
    /// replayed: before that the manifest is of the past.
    pub fn collect_garbage(&self) -> Result<usize> {
        let _collecting = self.collecting.lock();
        let mut retired = std::mem::take(&mut self.local.lock().retired);
        let collected = gc::collect(&self.env, &mut retired, &gc::named(&self.version()));
        self.local.lock().retired.extend(retired);
        let Some(_alone) = self.writing_objects.try_write() else { return collected };
        Ok(collected? + self.sweep()?)
    }

    /// The caller sees to it that no job runs.
    fn sweep(&self) -> Result<usize> {
        let named = {
            let mut local = self.local.lock();
            if !local.to_sweep || !local.unpublished.is_empty() {
                return Ok(0);
            }
            local.to_sweep = false;
            let mut named = gc::named(&self.version());
            named.extend(local.retired.iter().flat_map(Retired::paths));
            named
        };
        let swept = gc::sweep(&self.env, self.id, &named);
        self.local.lock().to_sweep |= swept.is_err();
        swept
    }

    /// Deletes every object of a dropped shard. Waits for jobs that run; none starts after it.
    pub fn destroy(&self) -> Result<()> {
        self.local.lock().destroyed = true;
        let _alone = self.writing_objects.write();
        gc::sweep(&self.env, self.id, &Default::default()).map(|_| ())
    }

    /// Reads and checks every live object against its checksum; an error names the damaged one.
    pub fn verify(&self) -> Result<()> {
        self.version().all_segments().try_for_each(|sealed| sealed.segment.verify())
    }

    pub(crate) fn version(&self) -> Arc<Version> {
        self.version.read().clone()
    }

    /// Whether rows come slowly, and work on them should leave processors to others: the next rows will find it done anyway.
    pub fn is_trickling(&self) -> bool {
        self.pace() == Pace::Trickle
    }

    fn pace(&self) -> Pace {
        let (arrivals, now, options) = (*self.arrivals.lock(), Instant::now(), &self.env.options);
        if arrivals.quiet_for(now) >= options.settle_after {
            Pace::Settled
        } else if arrivals.bytes_per_second(now) <= options.trickle_bytes_per_second as f64 {
            Pace::Trickle
        } else {
            Pace::Load
        }
    }

    fn note_arrival(&self, write: &ShardWrite) {
        let bytes = write.inserts.iter().map(|rows| batch_bytes(&rows.batch)).sum();
        self.arrivals.lock().note(bytes, Instant::now());
    }

    /// Makes the next version beside readers of this one: none of them waits while rows are copied.
    fn change<T>(&self, change: impl FnOnce(&mut Version) -> T) -> T {
        let _alone = self.changing.lock();
        let mut next = Version::clone(&self.version());
        let result = change(&mut next);
        let last = std::mem::replace(&mut *self.version.write(), Arc::new(next));
        drop(last);
        result
    }

    /// The same with readers waiting meanwhile: what takes no long time, or would take memory twice.
    fn change_in_place<T>(&self, change: impl FnOnce(&mut Version) -> T) -> T {
        let _alone = self.changing.lock();
        change(Arc::make_mut(&mut *self.version.write()))
    }
}

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
