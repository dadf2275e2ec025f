//! The door: opens a node's data folder, hands out transactions, runs the upkeep, stops.

use crate::catalog::first_edits;
use crate::command::{Command, Kind};
use crate::data::DataGroup;
use crate::folder::Folder;
use crate::layout::{IndexCompiler, Layouts};
use crate::locks::Locks;
use crate::meta::{MetaGroup, encode_content};
use crate::open::{Opened, Seat};
use crate::proposer::{Proposer, Stamp, StampTs, no_timestamp};
use crate::requests::Outcome;
use crate::sequences::Sequences;
use crate::upkeep::Upkeep;
use crate::{Catalog, Database, FIRST_USER_OID, Table, Txn, TxnOptions};
use bytes::Bytes;
use parking_lot::Mutex;
use quiver_base::{
    DatabaseId, Error, GroupId, MemoryBudget, Result, RowId, ShardId, SqlState, Term, Timestamp, TxnId,
};
use quiver_storage::StorageOptions;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// How long a start waits for its groups to have a leader.
const ELECTION_WAIT: Duration = Duration::from_secs(60);

/// What a node needs to know.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// Log, checkpoints, identity, and objects unless they are elsewhere.
    pub data_dir: PathBuf,
    /// Where segments go; `None`: `data_dir/objects`.
    pub object_store: Option<String>,
    /// The process's memory limit.
    pub memory: Arc<MemoryBudget>,
    /// Storage tunables.
    pub storage: StorageOptions,
    /// Threads for flushes, merges and index builds.
    pub background_threads: usize,
    /// Data groups made when the cluster is first started.
    pub data_groups: u16,
    /// A transaction writes chunk entries ahead of its commit once it holds this much.
    pub txn_stage_bytes: usize,
    /// How long a writer waits for memory before 53400.
    pub write_wait_max: Duration,
    /// Log bytes since the last checkpoint past which one is taken.
    pub log_bytes_max: u64,
}

impl ClusterConfig {
    /// Defaults for production.
    pub fn new(data_dir: impl Into<PathBuf>, memory: Arc<MemoryBudget>) -> ClusterConfig {
        ClusterConfig {
            data_dir: data_dir.into(),
            object_store: None,
            memory,
            storage: StorageOptions::default(),
            background_threads: std::thread::available_parallelism()
                .map_or(2, |threads| threads.get().div_ceil(2)),
            data_groups: 2,
            txn_stage_bytes: 4 << 20,
            write_wait_max: Duration::from_secs(30),
            log_bytes_max: 256 << 20,
        }
    }
}

/// Tables as a transaction has made or changed them.
pub(crate) type OwnTables = Vec<(DatabaseId, Arc<Table>)>;

/// One node.
#[derive(Debug)]
pub struct Cluster {
    pub(crate) config: ClusterConfig,
    pub(crate) meta: Arc<MetaGroup>,
    pub(crate) data: BTreeMap<GroupId, Arc<DataGroup>>,
    pub(crate) proposer: Proposer,
    pub(crate) locks: Arc<Locks>,
    pub(crate) layouts: Arc<Layouts>,
    pub(crate) sequences: Sequences,
    pub(crate) upkeep: Arc<Upkeep>,
    pub(crate) next_oid: AtomicU32,
    pub(crate) next_shard: AtomicU64,
    /// Transactions of this process that have staged rows and not ended, with the tables that they have made or changed: the
    /// upkeep must be able to read what they staged.
    pub(crate) live_staged: Mutex<HashMap<TxnId, OwnTables>>,
    next_rows: Mutex<HashMap<ShardId, u64>>,
    raising_bound: tokio::sync::Mutex<()>,
    stopping: AtomicBool,
    /// No other node votes: whoever leads here leads everywhere.
    alone: AtomicBool,
    folder: Folder,
    #[cfg(test)]
    pub(crate) crash_at: Mutex<Option<&'static str>>,
}

impl Cluster {
    /// Opens or makes a data folder, replays the log, elects itself, starts the upkeep. A second process on the same folder
    /// is refused, as is a folder of a newer version.
    pub async fn open(config: ClusterConfig) -> Result<Arc<Cluster>> {
        let cluster = Cluster::open_seat(config, Seat::alone()).await?;
        cluster.lead().await?;
        Upkeep::start(&cluster);
        Ok(cluster)
    }

    /// Becomes leader of every group, makes the first catalog if there is none, and ends what a crash left open.
    pub(crate) async fn lead(self: &Arc<Self>) -> Result<()> {
        let raft = self.proposer.raft()?;
        raft.campaign(GroupId::META).await?;
        for group in self.data.keys() {
            raft.campaign(*group).await?;
        }
        wait_for_term(&self.meta.term).await?;
        for group in self.data.values() {
            wait_for_term(&group.term).await?;
        }
        let voters = |group| raft.status(group).map_or(0, |status| status.voters.len());
        let groups = || std::iter::once(&GroupId::META).chain(self.data.keys());
        self.alone.store(groups().all(|group| voters(*group) == 1), Ordering::Release);
        self.raise_bound().await?;
        if self.catalog().version == 0 {
            let edits = first_edits(self.data_groups());
            let blobs = vec![(0, Bytes::from(encode_content(&edits)?))];
            let command = Command { blobs, ..Command::new(Kind::Edit, TxnId(0)) };
            self.propose_meta(&command, Stamp::any_term()).await?.into_result()?;
        }
        self.raise_counters();
        for group in self.data.values() {
            self.recover(group).await?;
        }
        let cluster = self.clone();
        drop(tokio::task::spawn_blocking(move || {
            if let Err(error) = cluster.sweep_dropped_shards() {
                tracing::warn!(%error, "objects of dropped shards are still there");
            }
        }));
        Ok(())
    }

    /// The node of an opened folder.
    pub(crate) fn of(opened: Opened) -> Cluster {
        Cluster {
            upkeep: Arc::new(Upkeep::new(opened.config.background_threads)),
            config: opened.config,
            meta: opened.meta,
            data: opened.data,
            proposer: Proposer::new(opened.raft, opened.oracle),
            locks: Arc::default(),
            layouts: Arc::default(),
            sequences: Sequences::default(),
            next_oid: AtomicU32::new(FIRST_USER_OID),
            next_shard: AtomicU64::new(1),
            live_staged: Mutex::default(),
            next_rows: Mutex::default(),
            raising_bound: tokio::sync::Mutex::default(),
            stopping: AtomicBool::new(false),
            alone: AtomicBool::new(false),
            folder: opened.folder,
            #[cfg(test)]
            crash_at: Mutex::default(),
        }
    }

    /// Oids and shard ids go on above what the catalog says and what a crash left in a data group.
    fn raise_counters(&self) {
        let catalog = self.catalog();
        self.next_oid.fetch_max(catalog.next_oid.max(FIRST_USER_OID), Ordering::Relaxed);
        let shards = self.data.values().flat_map(|group| group.shards());
        let used = shards.map(|shard| shard.id().0 + 1).max().unwrap_or(1);
        self.next_shard.fetch_max(catalog.next_shard.max(used), Ordering::Relaxed);
    }

    /// Indexes over expressions, or over some rows, are built and searched from now on.
    pub fn set_index_compiler(&self, compiler: Arc<dyn IndexCompiler>) {
        self.layouts.set_compiler(compiler);
    }

    /// The newest applied catalog.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.meta.catalog()
    }

    /// How many data groups there are: see [`Catalog::least_used_group`].
    pub fn data_groups(&self) -> u16 {
        self.data.len() as u16
    }

    /// A database by name; 3D000 with a hint.
    pub fn database(&self, name: &str) -> Result<Arc<Database>> {
        let catalog = self.catalog();
        catalog.databases.values().find(|database| database.name == name).cloned().ok_or_else(|| {
            let names: Vec<&str> =
                catalog.databases.values().map(|database| database.name.as_str()).collect();
            Error::new(SqlState::INVALID_CATALOG_NAME, format!("database \"{name}\" does not exist"))
                .with_hint(format!("There are: {}.", names.join(", ")))
        })
    }

    /// A new transaction.
    pub fn begin(self: &Arc<Self>, database: DatabaseId, options: TxnOptions) -> Txn {
        Txn::new(self.clone(), database, options)
    }

    /// Takes a checkpoint of every group and purges the log.
    pub async fn checkpoint(&self) -> Result<()> {
        let raft = self.proposer.raft()?;
        for group in std::iter::once(&GroupId::META).chain(self.data.keys()) {
            raft.checkpoint(*group).await?;
        }
        Ok(())
    }

    /// Whether writes are accepted: every group has a leader here.
    pub fn is_ready(&self) -> bool {
        let leads =
            self.meta.leader_term().is_ok() && self.data.values().all(|group| group.leader_term().is_ok());
        let runs = self.proposer.raft().is_ok_and(|raft| raft.failure().is_none());
        leads && runs && !self.is_stopping()
    }

    /// The memory limit.
    pub fn memory(&self) -> &Arc<MemoryBudget> {
        &self.config.memory
    }

    /// Stops accepting writes, lets running ones end, checkpoints, releases the folder. What is in memory only is in the checkpoint.
    pub async fn shutdown(self: &Arc<Self>) -> Result<()> {
        if self.stopping.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.upkeep.stop().await;
        if let Err(error) = self.return_ranges().await {
            tracing::warn!(%error, "sequences will skip values");
        }
        let checkpoint = self.checkpoint().await;
        let cluster = self.clone();
        let stopped = tokio::task::spawn_blocking(move || cluster.proposer.stop()).await;
        self.folder.unlock();
        stopped.map_err(|panic| Error::internal(format!("the log did not stop: {panic}")))?;
        checkpoint
    }

    /// Ends as a crash would: no checkpoint, no flush.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) async fn abandon(self: &Arc<Self>) {
        self.stopping.store(true, Ordering::Release);
        self.upkeep.stop().await;
        let cluster = self.clone();
        tokio::task::spawn_blocking(move || cluster.proposer.stop()).await.expect("the log stops");
        self.folder.unlock();
    }

    /// Returns once everything that was acknowledged anywhere before the call can be read here; 57P03 if this node does not lead.
    pub(crate) async fn confirm_leadership(&self, group: &DataGroup) -> Result<()> {
        group.leader_term()?;
        if self.alone.load(Ordering::Acquire) {
            return Ok(());
        }
        let raft = self.proposer.raft()?;
        let (meta, data) = futures::join!(raft.read_index(GroupId::META), raft.read_index(group.id));
        meta.and(data).map(drop)
    }

    /// 57P01 once the node is to stop.
    pub(crate) fn refuse_stopping(&self) -> Result<()> {
        if self.is_stopping() {
            return Err(Error::new(SqlState::ADMIN_SHUTDOWN, "the node is shutting down"));
        }
        Ok(())
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// A group of the cluster. A catalog names no others; the first stands in so that no caller has to fail.
    pub(crate) fn data_group(&self, id: GroupId) -> Arc<DataGroup> {
        let group = self.data.get(&id).or_else(|| self.data.values().next());
        group.cloned().expect("a cluster has at least one data group")
    }

    /// Appends to a data group's log and waits for the outcome.
    pub(crate) async fn propose_data(
        &self,
        group: &DataGroup,
        command: &Command,
        stamp: Stamp,
    ) -> Result<Outcome> {
        self.keep_bound_ahead().await?;
        self.proposer.propose(group.id, &group.outcomes, command.encode(), stamp).await
    }

    /// Appends to the meta group's log and waits for the outcome.
    pub(crate) async fn propose_meta(&self, command: &Command, stamp: Stamp) -> Result<Outcome> {
        self.proposer.propose(GroupId::META, &self.meta.outcomes, command.encode(), stamp).await
    }

    /// A timestamp that nothing else has or will have.
    pub(crate) async fn timestamp(&self) -> Result<Timestamp> {
        self.keep_bound_ahead().await?;
        self.proposer.oracle.next().ok_or_else(no_timestamp)
    }

    async fn keep_bound_ahead(&self) -> Result<()> {
        if self.proposer.oracle.wanted_bound().is_none() {
            return Ok(());
        }
        self.raise_bound().await
    }

    async fn raise_bound(&self) -> Result<()> {
        let _one = self.raising_bound.lock().await;
        let Some(bound) = self.proposer.oracle.wanted_bound() else { return Ok(()) };
        let stamp = Stamp { term: None, ts: StampTs::Given(bound) };
        self.propose_meta(&Command::new(Kind::Bound, TxnId(0)), stamp).await?.into_result()
    }

    /// Row ids that no other row of the shard has or will have.
    pub(crate) fn allocate_rows(&self, group: &DataGroup, shard: ShardId, count: u64) -> RowId {
        let used = group.shard(shard).map_or(RowId(0), |shard| shard.max_row_id());
        let mut next_rows = self.next_rows.lock();
        let next = next_rows.entry(shard).or_insert(1);
        let first = (*next).max(used.0 + 1);
        *next = first + count;
        RowId(first)
    }

    pub(crate) fn forget_rows(&self, shard: ShardId) {
        self.next_rows.lock().remove(&shard);
    }

    /// Tests end a transaction here as if the process had been killed.
    #[cfg(test)]
    pub(crate) fn crash_point(&self, name: &'static str) -> Result<()> {
        match *self.crash_at.lock() {
            Some(at) if at == name => Err(Error::internal(format!("crashed at {name}"))),
            _ => Ok(()),
        }
    }

    #[cfg(not(test))]
    #[inline]
    pub(crate) fn crash_point(&self, _name: &'static str) -> Result<()> {
        Ok(())
    }
}

async fn wait_for_term(term: &watch::Sender<Term>) -> Result<()> {
    let mut term = term.subscribe();
    let leads = tokio::time::timeout(ELECTION_WAIT, term.wait_for(|term| term.0 != 0)).await;
    match leads {
        Ok(Ok(_)) => Ok(()),
        _ => Err(Error::new(SqlState::CANNOT_CONNECT_NOW, "this node could not become leader")),
    }
}
