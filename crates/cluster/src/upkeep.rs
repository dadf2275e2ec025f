//! Background work on the leader: finds what shards need, runs it on blocking threads, proposes the result, drops what nobody
//! names any more. Writers wait here when memory is short. Knows no format: storage does the work.

mod jobs;
mod orphans;

use crate::cluster::Cluster;
use crate::data::DataGroup;
use parking_lot::Mutex;
use quiver_base::{DatabaseId, Error, GroupId, Result, ShardId, SqlState, TableId, Timestamp};
use quiver_storage::{Job, JobControl, JobKind};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;

/// How long a round waits if nobody wakes it.
const ROUND: Duration = Duration::from_millis(200);
/// Even if nothing seems to have changed, shards are asked so often: some work waits until a shard has been quiet for a while.
const FULL_ROUND: Duration = Duration::from_secs(1);
/// Between looks at the memory of a writer that waits for some.
const ADMISSION_POLL: Duration = Duration::from_millis(10);

/// A job that is running now, for pg_stat_progress_create_index.
#[derive(Clone, Debug)]
pub struct RunningJob {
    /// The table's database.
    pub database: DatabaseId,
    /// The table.
    pub table: TableId,
    /// What is done.
    pub job: Job,
    /// Rows done, rows in all, and how to stop it.
    pub control: JobControl,
    id: u64,
    /// Nobody waits for it: it is stopped when somebody begins to wait for such work.
    yields: bool,
    /// It runs on a thread that yields the processors to all others.
    is_gentle: bool,
}

/// The scheduler of background work.
#[derive(Debug)]
pub(crate) struct Upkeep {
    state: Mutex<State>,
    /// Threads for merges.
    threads: Arc<Semaphore>,
    /// Index builds have half as many of their own: a merge of large segments takes long, and what has no index is searched row by row
    /// meanwhile.
    build_threads: Arc<Semaphore>,
    /// Flushes have one of their own, so that back-pressure can always end.
    flush_thread: Arc<Semaphore>,
    /// One sweep at a time.
    sweeping: Arc<Semaphore>,
    thread_count: usize,
    wake: Notify,
    /// Counts jobs that ended.
    ended: watch::Sender<u64>,
    /// A writer is waiting for memory: flush the largest shard.
    pressure: AtomicBool,
    stopping: AtomicBool,
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct State {
    running: Vec<RunningJob>,
    /// Shards whose work statements wait for, and how many do.
    awaited: HashMap<ShardId, usize>,
    next_id: u64,
    /// Shards whose last job failed, and when they may try again.
    backing_off: HashMap<ShardId, Instant>,
    /// Shards that no table names, with the reads that may still want them.
    orphans: HashMap<ShardId, u64>,
    /// What the last round that found nothing to do had seen.
    idle_at: HashMap<GroupId, Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    catalog: u64,
    last_commit: Timestamp,
    jobs: u64,
    at: Instant,
}

impl Upkeep {
    pub(crate) fn new(threads: usize) -> Upkeep {
        let thread_count = threads.max(1);
        Upkeep {
            state: Mutex::default(),
            threads: Arc::new(Semaphore::new(thread_count)),
            build_threads: Arc::new(Semaphore::new(thread_count.div_ceil(2))),
            flush_thread: Arc::new(Semaphore::new(1)),
            sweeping: Arc::new(Semaphore::new(1)),
            thread_count,
            wake: Notify::new(),
            ended: watch::Sender::new(0),
            pressure: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            task: Mutex::default(),
        }
    }

    /// Starts rounds; they end when the cluster is dropped or stopped.
    pub(crate) fn start(cluster: &Arc<Cluster>) {
        let upkeep = cluster.upkeep.clone();
        let weak = Arc::downgrade(cluster);
        let rounds = async move {
            while !upkeep.stopping.load(Ordering::Acquire) {
                let _ = tokio::time::timeout(ROUND, upkeep.wake.notified()).await;
                let Some(cluster) = weak.upgrade() else { return };
                let own = upkeep.clone();
                // A bug in one round must not be the end of all flushes.
                if let Err(panic) = tokio::spawn(async move { own.round(&cluster).await }).await {
                    tracing::error!(%panic, "a round of background work failed");
                    tokio::time::sleep(FULL_ROUND).await;
                }
            }
        };
        *cluster.upkeep.task.lock() = Some(tokio::spawn(rounds));
    }

    /// Looks again soon.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Stops rounds and running jobs, and waits for them.
    pub(crate) async fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake();
        let task = self.task.lock().take();
        if let Some(task) = task {
            let _ = task.await;
        }
        for job in &self.state.lock().running {
            job.control.cancel.store(true, Ordering::Release);
        }
        let mut ended = self.ended.subscribe();
        while !self.state.lock().running.is_empty() {
            if ended.changed().await.is_err() {
                return;
            }
        }
    }

    async fn round(self: &Arc<Self>, cluster: &Arc<Cluster>) {
        for group in cluster.data.values().filter(|group| group.leader_term().is_ok()) {
            for (txn, unresolved) in group.unresolved() {
                if !unresolved.prepared && !cluster.live_staged.lock().contains_key(&txn) {
                    cluster.abort_staged(group, txn).await;
                }
            }
            self.drop_orphans(cluster, group).await;
            self.schedule(cluster, group);
        }
        if self.pressure.swap(false, Ordering::AcqRel) {
            self.flush_largest(cluster);
        }
    }

    /// Starts what the group's shards need, as far as there are threads.
    fn schedule(self: &Arc<Self>, cluster: &Arc<Cluster>, group: &Arc<DataGroup>) {
        let catalog = cluster.catalog();
        let seen = Seen {
            catalog: catalog.version,
            last_commit: group.last_commit(),
            jobs: *self.ended.borrow(),
            at: Instant::now(),
        };
        if self.is_idle(group.id, seen) && !self.pressure.load(Ordering::Acquire) {
            return;
        }
        self.collect_garbage(group);
        let mut found = false;
        for database in catalog.databases.values().filter(|database| database.group == group.id) {
            for table in database.tables.values() {
                for place in cluster.places_of(database.id, group, table) {
                    found |= self.start_pending(cluster, group, place);
                }
            }
        }
        // What large transactions have staged for tables that only they know.
        let uncommitted: Vec<_> = cluster.live_staged.lock().values().flatten().cloned().collect();
        for (database, table) in uncommitted {
            for place in cluster.places_of(database, group, &table) {
                found |= self.start_pending(cluster, group, place);
            }
        }
        if !found {
            self.state.lock().idle_at.insert(group.id, seen);
        }
    }

    /// Objects of aborted transactions and of jobs that a crash cut off.
    fn collect_garbage(self: &Arc<Self>, group: &Arc<DataGroup>) {
        let Ok(turn) = self.sweeping.clone().try_acquire_owned() else { return };
        let group = group.clone();
        drop(tokio::task::spawn_blocking(move || {
            for shard in group.shards() {
                if let Err(error) = shard.collect_garbage() {
                    tracing::warn!(shard = %shard.id(), %error, "objects that nobody needs are still there");
                }
            }
            drop(turn);
        }));
    }

    fn is_idle(&self, group: GroupId, now: Seen) -> bool {
        let state = self.state.lock();
        state.idle_at.get(&group).is_some_and(|seen| {
            (seen.catalog, seen.last_commit, seen.jobs) == (now.catalog, now.last_commit, now.jobs)
                && now.at.duration_since(seen.at) < FULL_ROUND
        })
    }

    /// The shard with the most rows in memory gives them up.
    fn flush_largest(self: &Arc<Self>, cluster: &Arc<Cluster>) {
        let mut largest: Option<(u64, Arc<DataGroup>, jobs::Place)> = None;
        let catalog = cluster.catalog();
        for database in catalog.databases.values() {
            let group = cluster.data_group(database.group);
            for table in database.tables.values() {
                for place in cluster.places_of(database.id, &group, table) {
                    let bytes = place.shard.stats().memtable_bytes;
                    if bytes > largest.as_ref().map_or(0, |(most, ..)| *most) {
                        largest = Some((bytes, group.clone(), place));
                    }
                }
            }
        }
        if let Some((_, group, place)) = largest {
            let flush = |running: &[Job], _| {
                let flushing = running.iter().any(|job| job.kind == JobKind::Flush);
                if flushing { None } else { place.shard.flush_job() }
            };
            if let Some(job) = self.claim(&place, flush) {
                drop(self.spawn(cluster, &group, place, job, None));
            }
        }
    }

    /// Waits while memory is short and flushing can help; 53400 past the limit.
    pub(crate) async fn admit_write(&self, cluster: &Cluster) -> Result<()> {
        let memory = cluster.memory();
        let high = memory.limit_bytes() / 10 * 9;
        if memory.used_bytes() <= high {
            return Ok(());
        }
        let deadline = Instant::now() + cluster.config.write_wait_max;
        while memory.used_bytes() > high {
            let shards = cluster.data.values().flat_map(|group| group.shards());
            let stats = shards.map(|shard| shard.stats());
            let unflushed: u64 = stats.map(|stats| stats.memtable_bytes + stats.staged_bytes).sum();
            if (unflushed as usize) < memory.limit_bytes() / 16 {
                // It is not rows that fill the memory: the reservation decides.
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Error::new(
                    SqlState::CONFIGURATION_LIMIT_EXCEEDED,
                    "writes come in faster than they can be flushed",
                )
                .with_detail(format!("{unflushed} bytes of rows wait to be flushed."))
                .with_hint("Retry later, or raise the memory limit."));
            }
            self.pressure.store(true, Ordering::Release);
            self.wake();
            tokio::time::sleep(ADMISSION_POLL).await;
        }
        Ok(())
    }
}
