//! One job from its claim to its publish.

use super::{RunningJob, Upkeep};
use crate::Table;
use crate::cluster::Cluster;
use crate::command::{Command, Kind};
use crate::data::DataGroup;
use crate::proposer::Stamp;
use crate::requests::Outcome;
use bytes::Bytes;
use quiver_base::{DatabaseId, Error, IndexId, Result, ShardId, SqlState, TableId, TxnId, yield_to_others};
use quiver_storage::{Job, JobControl, JobKind, Publish, Shard, TableLayout};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;

/// How long a shard rests after a job failed.
const BACK_OFF: Duration = Duration::from_secs(5);

/// A shard and whose it is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) database: DatabaseId,
    pub(super) table: TableId,
    pub(super) shard: Arc<Shard>,
    pub(super) layout: Arc<TableLayout>,
}

/// Stops a job whose asker has gone.
struct CancelOnDrop(JobControl);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel.store(true, Ordering::Release);
    }
}

/// A statement waits for work on a shard, until this is dropped: none of it yields to others meanwhile.
struct Awaited<'a>(&'a Upkeep, ShardId);

impl<'a> Awaited<'a> {
    /// What runs already and yields is stopped. It is done anew, as fast as it can be.
    fn new(upkeep: &'a Upkeep, shard: ShardId) -> Awaited<'a> {
        let mut state = upkeep.state.lock();
        *state.awaited.entry(shard).or_default() += 1;
        for running in state.running.iter().filter(|running| running.yields && running.job.shard == shard) {
            running.control.cancel.store(true, Ordering::Release);
        }
        Awaited(upkeep, shard)
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        let left = state.awaited.get(&self.1).map_or(0, |count| count - 1);
        if left == 0 {
            state.awaited.remove(&self.1);
        } else {
            state.awaited.insert(self.1, left);
        }
    }
}

impl Upkeep {
    /// Takes the job that `pick` finds, given those that run on the shard already and whether a statement waits for its work.
    pub(super) fn claim(
        &self,
        place: &Place,
        pick: impl FnOnce(&[Job], bool) -> Option<Job>,
    ) -> Option<RunningJob> {
        let mut state = self.state.lock();
        let is_awaited = state.awaited.contains_key(&place.shard.id());
        let running = state.running.iter().filter(|running| running.job.shard == place.shard.id());
        let job = pick(&running.map(|running| running.job.clone()).collect::<Vec<_>>(), is_awaited)?;
        state.next_id += 1;
        let yields = !is_awaited && matches!(job.kind, JobKind::Compact | JobKind::BuildIndex);
        let is_trickling = place.shard.is_trickling();
        // What trickles in is flushed long before memory is full.
        let is_gentle = yields || (job.kind == JobKind::Flush && !is_awaited && is_trickling);
        let threads = if yields && is_trickling { self.thread_count.div_ceil(2) } else { self.thread_count };
        let control = JobControl { threads, ..JobControl::default() };
        let running = RunningJob {
            database: place.database,
            table: place.table,
            job,
            control,
            id: state.next_id,
            yields,
            is_gentle,
        };
        state.running.push(running.clone());
        Some(running)
    }

    /// What a job of some kind takes one of.
    fn threads_for(&self, kind: JobKind) -> &Arc<Semaphore> {
        match kind {
            JobKind::Flush | JobKind::Spill | JobKind::WriteDeletes => &self.flush_thread,
            JobKind::Compact => &self.threads,
            JobKind::BuildIndex => &self.build_threads,
        }
    }

    /// Kinds of jobs that there is no thread for now, of a shard on which these run.
    fn without_thread(&self, shard: &Shard, running: &[Job]) -> Vec<JobKind> {
        // While rows trickle in, merges leave half of the processors to searches; who merges already may have a small one beside a large one.
        let is_merging = running.iter().any(|job| job.kind == JobKind::Compact);
        let merges_max = match shard.is_trickling() {
            true => self.thread_count.div_ceil(2) + usize::from(is_merging),
            false => self.thread_count,
        };
        let lacks = |kind: &JobKind| {
            let left = self.threads_for(*kind).available_permits();
            left == 0 || *kind == JobKind::Compact && left + merges_max <= self.thread_count
        };
        JobKind::ALL.into_iter().filter(lacks).collect()
    }

    /// Starts the most useful job of a shard that a thread is free for. Returns whether there was one, or may be one of a kind that none
    /// is free for.
    pub(super) fn start_pending(
        self: &Arc<Self>,
        cluster: &Arc<Cluster>,
        group: &Arc<DataGroup>,
        place: Place,
    ) -> bool {
        let until = self.state.lock().backing_off.get(&place.shard.id()).copied();
        if until.is_some_and(|until| until > Instant::now()) {
            return true;
        }
        let oldest = group.leases.oldest(|| group.last_commit());
        let (mut permit, mut found) = (None, false);
        let claimed = self.claim(&place, |running, is_awaited| {
            let (shard, layout) = (&place.shard, &place.layout);
            let without_thread = self.without_thread(shard, running);
            found = !without_thread.is_empty();
            let job = match is_awaited {
                true => shard.pending_work_meanwhile(layout, running, &without_thread, oldest),
                false => shard.pending_work(layout, running, &without_thread, oldest),
            }?;
            found = true;
            permit = Some(self.threads_for(job.kind).clone().try_acquire_owned().ok()?);
            Some(job)
        });
        if let Some(job) = claimed {
            drop(self.spawn(cluster, group, place, job, permit));
        }
        found
    }

    /// Runs a claimed job to its end, whoever waits for it.
    pub(super) fn spawn(
        self: &Arc<Self>,
        cluster: &Arc<Cluster>,
        group: &Arc<DataGroup>,
        place: Place,
        running: RunningJob,
        permit: Option<OwnedSemaphorePermit>,
    ) -> JoinHandle<Result<()>> {
        let (upkeep, cluster, group) = (self.clone(), cluster.clone(), group.clone());
        tokio::spawn(async move {
            let result = run(&cluster, &group, &place, &running).await;
            if let Err(error) = &result {
                upkeep.note_failure(&running, error);
            }
            upkeep.state.lock().running.retain(|other| other.id != running.id);
            drop(permit);
            upkeep.ended.send_modify(|count| *count += 1);
            upkeep.wake();
            result
        })
    }

    fn note_failure(&self, running: &RunningJob, error: &Error) {
        let job = &running.job;
        if error.state() == SqlState::QUERY_CANCELED {
            tracing::debug!(?job, "background work was stopped");
            // For a statement that waits for it: it goes on at once.
            if running.yields {
                return;
            }
        } else {
            tracing::warn!(?job, %error, "background work failed and will be tried again");
        }
        self.state.lock().backing_off.insert(job.shard, Instant::now() + BACK_OFF);
    }

    /// Runs one job of a shard now. `pick` is asked again whenever another job of the shard has ended, until it finds something or
    /// nothing runs. Returns whether it ran one.
    async fn drive(
        self: &Arc<Self>,
        cluster: &Arc<Cluster>,
        group: &Arc<DataGroup>,
        place: &Place,
        pick: impl Fn(&[Job]) -> Option<Job>,
    ) -> Result<bool> {
        let mut ended = self.ended.subscribe();
        loop {
            ended.borrow_and_update();
            let mut idle = true;
            let claimed = self.claim(place, |running, _| {
                idle = running.is_empty();
                pick(running)
            });
            if let Some(job) = claimed {
                let guard = CancelOnDrop(job.control.clone());
                let task = self.spawn(cluster, group, place.clone(), job, None);
                let result =
                    task.await.unwrap_or_else(|panic| Err(Error::internal(format!("a job failed: {panic}"))));
                std::mem::forget(guard);
                return result.map(|()| true);
            }
            if idle || ended.changed().await.is_err() {
                return Ok(false);
            }
        }
    }
}

/// The work, its publish, and the objects that are garbage after it.
async fn run(
    cluster: &Arc<Cluster>,
    group: &Arc<DataGroup>,
    place: &Place,
    running: &RunningJob,
) -> Result<()> {
    let term = group.leader_term()?;
    let oldest = group.leases.oldest(|| group.last_commit());
    let (shard, layout) = (place.shard.clone(), place.layout.clone());
    let (job, control) = (running.job.clone(), running.control.clone());
    let work = move || shard.run_job(&job, &layout, oldest, &control);
    let publish = if running.is_gentle { yielding(work).await? } else { blocking(work).await? };
    let command = Command {
        blobs: vec![(place.shard.id().0, Bytes::from(publish.encode()))],
        ..Command::new(Kind::Publish, TxnId(0))
    };
    match cluster.propose_data(group, &command, Stamp::checked_in(term)).await {
        Ok(Outcome::Done) => {
            let shard = place.shard.clone();
            blocking(move || shard.collect_garbage().map(drop)).await
        }
        Ok(Outcome::Stale | Outcome::Refused) => {
            discard(place, publish).await?;
            Ok(())
        }
        // Its objects may be named by the log: they stay.
        Err(error) if Cluster::is_unknown(&error) => Err(error),
        Err(error) => {
            discard(place, publish).await?;
            Err(error)
        }
    }
}

async fn discard(place: &Place, publish: Publish) -> Result<()> {
    let shard = place.shard.clone();
    blocking(move || {
        shard.discard(&publish);
        Ok(())
    })
    .await
}

/// Runs work on a thread of its own that yields the processors to all others, as do threads that it starts: what searches wait for comes first.
async fn yielding<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let (done, result) = oneshot::channel();
    let run = move || {
        yield_to_others();
        let _ = done.send(work());
    };
    let spawned = std::thread::Builder::new().name("quiver-upkeep".to_owned()).spawn(run);
    spawned.map_err(|cause| Error::io("could not start a thread", cause))?;
    result.await.unwrap_or_else(|_| Err(Error::internal("a storage task failed")))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|panic| Err(Error::internal(format!("a storage task failed: {panic}"))))
}

impl Cluster {
    /// Jobs that are running now.
    pub fn running_jobs(&self) -> Vec<RunningJob> {
        self.upkeep.state.lock().running.clone()
    }

    /// Waits until the rows that are there now are in segments that have the index; few rows, searched exactly, need none. What
    /// CREATE INDEX waits for.
    pub async fn wait_indexed(
        self: &Arc<Self>,
        database: DatabaseId,
        table: TableId,
        index: IndexId,
    ) -> Result<()> {
        for (group, place) in self.places(database, table)? {
            let _awaited = Awaited::new(&self.upkeep, place.shard.id());
            let flush = |running: &[Job]| {
                let flushing = running.iter().any(|job| job.kind == JobKind::Flush);
                if flushing { None } else { place.shard.index_flush_job() }
            };
            self.upkeep.drive(self, &group, &place, flush).await?;
            let pending = |running: &[Job]| {
                let oldest = group.leases.oldest(|| group.last_commit());
                place.shard.pending_work_now(&place.layout, running, oldest)
            };
            // What comes in meanwhile is indexed in the background.
            while !place.shard.is_indexed(&place.layout, index)
                && self.upkeep.drive(self, &group, &place, pending).await?
            {}
        }
        Ok(())
    }

    /// VACUUM: flush, write delete bitmaps, merge until nothing is left to do. `full`: into one segment a shard.
    pub async fn compact(self: &Arc<Self>, database: DatabaseId, table: TableId, full: bool) -> Result<()> {
        for (group, place) in self.places(database, table)? {
            let _awaited = Awaited::new(&self.upkeep, place.shard.id());
            let flush = |running: &[Job]| {
                let flushing = running.iter().any(|job| job.kind == JobKind::Flush);
                if flushing { None } else { place.shard.flush_job() }
            };
            self.upkeep.drive(self, &group, &place, flush).await?;
            if full {
                let compact =
                    |running: &[Job]| if running.is_empty() { place.shard.compact_job() } else { None };
                self.upkeep.drive(self, &group, &place, compact).await?;
            }
            self.settle(&group, &place).await?;
        }
        Ok(())
    }

    /// Does what a shard needs until it needs nothing.
    async fn settle(self: &Arc<Self>, group: &Arc<DataGroup>, place: &Place) -> Result<()> {
        let pending = |running: &[Job]| {
            let oldest = group.leases.oldest(|| group.last_commit());
            place.shard.pending_work_now(&place.layout, running, oldest)
        };
        while self.upkeep.drive(self, group, place, pending).await? {}
        Ok(())
    }

    /// The table's shards that somebody has written to.
    fn places(&self, database: DatabaseId, table: TableId) -> Result<Vec<(Arc<DataGroup>, Place)>> {
        let catalog = self.catalog();
        let found = catalog.databases.get(&database).and_then(|d| Some((d, d.tables.get(&table)?)));
        let Some((owner, table)) = found else {
            return Err(Error::new(
                SqlState::UNDEFINED_TABLE,
                format!("could not open relation with OID {table}"),
            ));
        };
        let group = self.data_group(owner.group);
        let places = self.places_of(database, &group, table);
        Ok(places.into_iter().map(|place| (group.clone(), place)).collect())
    }

    /// A table's shards as far as the group has them.
    pub(super) fn places_of(
        &self,
        database: DatabaseId,
        group: &DataGroup,
        table: &Arc<Table>,
    ) -> Vec<Place> {
        let shards: Vec<Arc<Shard>> = table.shards.iter().filter_map(|shard| group.shard(*shard)).collect();
        if shards.is_empty() {
            return Vec::new();
        }
        let layout = self.layouts.of(table);
        let place = |shard| Place { database, table: table.id, shard, layout: layout.clone() };
        shards.into_iter().map(place).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;
    use arrow::datatypes::Schema;
    use arrow::record_batch::{RecordBatch, RecordBatchOptions};
    use quiver_base::{MemoryBudget, RowId, Timestamp};
    use quiver_storage::objects::RealFs;
    use quiver_storage::{Objects, RowBatch, ShardWrite, StorageEnv, StorageOptions};

    #[test]
    fn work_that_a_statement_waits_for_does_not_yield() {
        let dir = tempfile::tempdir().unwrap();
        let objects = Objects::local(dir.path(), Arc::new(RealFs)).unwrap();
        let env = StorageEnv::new(objects, MemoryBudget::unlimited(), StorageOptions::default());
        let place = |shard| {
            let shard = Shard::new(ShardId(shard), env.clone());
            let one = RecordBatchOptions::new().with_row_count(Some(1));
            let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &one).unwrap();
            let row = Arc::new(RowBatch { batch, row_ids: vec![RowId(1)] });
            shard.commit(Timestamp(1), ShardWrite { inserts: vec![row], deletes: vec![] }, None);
            Place { database: DatabaseId(1), table: TableId(2), shard, layout: Arc::default() }
        };
        let (own, other) = (place(1), place(2));
        let upkeep = Upkeep::new(4);
        let job = |place: &Place, kind| {
            let mut job = place.shard.flush_job().unwrap();
            job.kind = kind;
            job
        };
        let claim = |place: &Place, kind| upkeep.claim(place, |_, _| Some(job(place, kind))).unwrap();
        let stopped = |job: &RunningJob| job.control.cancel.load(Ordering::Acquire);
        let (merge, flush, elsewhere) =
            (claim(&own, JobKind::Compact), claim(&own, JobKind::Flush), claim(&other, JobKind::Compact));
        assert!(merge.yields && elsewhere.yields && !flush.yields);
        {
            let _first = Awaited::new(&upkeep, own.shard.id());
            let second = Awaited::new(&upkeep, own.shard.id());
            assert!(stopped(&merge) && !stopped(&flush) && !stopped(&elsewhere));
            let again = claim(&own, JobKind::BuildIndex);
            assert!(!again.yields);
            drop(second);
            let _third = Awaited::new(&upkeep, own.shard.id());
            assert!(!stopped(&again), "it runs as fast as it can already");
            assert!(!claim(&own, JobKind::Compact).yields);
        }
        assert!(claim(&own, JobKind::Compact).yields);
    }
}
