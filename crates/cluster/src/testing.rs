//! Three nodes in one process over a wire in memory, with the real log, shard and transaction code: what a distributed cluster
//! is made of, before there are sockets between its nodes. For tests only.

#![allow(clippy::expect_used)] // a broken test set-up is a failed test

use crate::cluster::{Cluster, ClusterConfig};
use crate::open::{FirstStart, Seat};
use parking_lot::Mutex;
use quiver_base::{GroupId, LogIndex, MemoryBudget, NodeId, ReplicaId, Result, SqlState};
use quiver_raft::testing::Network;
use quiver_raft::{Entry, Leadership, Peer, RaftConfig, SnapshotEncoder, StateMachine};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// States by group, as of the index they were taken at.
type States = Arc<Mutex<BTreeMap<GroupId, (LogIndex, Vec<u8>)>>>;

/// Nodes that share a network and an object store, and no disk.
pub struct Nodes {
    network: Network,
    objects: TempDir,
    members: BTreeMap<u64, Member>,
    change: fn(&mut ClusterConfig),
}

struct Member {
    cluster: Option<Arc<Cluster>>,
    dir: TempDir,
    watching: Arc<AtomicBool>,
    states: States,
}

/// Notes the state after every entry, while somebody is watching.
struct Watched {
    machine: Box<dyn StateMachine>,
    watching: Arc<AtomicBool>,
    states: States,
}

impl StateMachine for Watched {
    fn apply(&mut self, entry: Entry<'_>) {
        self.machine.apply(entry);
        if self.watching.load(Ordering::Acquire) {
            let state = self.machine.snapshot()();
            self.states.lock().insert(entry.group, (entry.index, state));
        }
    }

    fn snapshot(&mut self) -> SnapshotEncoder {
        self.machine.snapshot()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<()> {
        self.machine.restore(snapshot)
    }

    fn leadership(&mut self, event: Leadership) {
        self.machine.leadership(event);
    }
}

impl Nodes {
    /// Three nodes that hold every group together; none leads yet.
    pub async fn start(seed: u64, change: fn(&mut ClusterConfig)) -> Nodes {
        let objects = tempfile::tempdir().expect("a folder for objects");
        let mut nodes = Nodes { network: Network::new(seed), objects, members: BTreeMap::new(), change };
        let peers: Vec<Peer> = (1..=3).map(|id| Peer { replica: ReplicaId(id), node: NodeId(id) }).collect();
        for id in 1..=3 {
            nodes.add(id, FirstStart::Together(peers.clone())).await;
        }
        nodes
    }

    async fn add(&mut self, id: u64, first_start: FirstStart) {
        let dir = tempfile::tempdir().expect("a data folder");
        let member = Member { cluster: None, dir, watching: Arc::default(), states: States::default() };
        self.members.insert(id, member);
        self.open(id, first_start).await;
    }

    async fn open(&mut self, id: u64, first_start: FirstStart) {
        let member = self.members.get_mut(&id).expect("a member");
        let mut config = ClusterConfig::new(member.dir.path(), MemoryBudget::unlimited());
        config.object_store = Some(format!("file://{}", self.objects.path().display()));
        config.background_threads = 1;
        (self.change)(&mut config);
        let (watching, states) = (member.watching.clone(), member.states.clone());
        let seat = Seat {
            node: Some(NodeId(id)),
            wire: self.network.wire(NodeId(id)),
            first_start,
            tune: |raft| {
                let fast = RaftConfig::for_tests(raft.node, raft.dir.clone());
                *raft = RaftConfig { log_bytes_max: raft.log_bytes_max, ..fast };
            },
            wrap: Box::new(move |machine| {
                Box::new(Watched { machine, watching: watching.clone(), states: states.clone() })
            }),
        };
        let cluster = Cluster::open_seat(config, seat).await.expect("the node opens");
        self.network.attach(&cluster.proposer.raft().expect("it runs"));
        crate::upkeep::Upkeep::start(&cluster);
        member.cluster = Some(cluster);
    }

    /// A running node.
    pub fn node(&self, id: u64) -> Arc<Cluster> {
        self.members[&id].cluster.clone().expect("a running node")
    }

    /// Makes a node leader of every group.
    pub async fn lead(&self, id: u64) -> Arc<Cluster> {
        let deadline = Instant::now() + PATIENCE;
        let cluster = self.node(id);
        let groups: Vec<GroupId> =
            std::iter::once(GroupId::META).chain(cluster.data.keys().copied()).collect();
        loop {
            let mut missing = 0;
            for group in &groups {
                missing += usize::from(!self.ask_to_lead(&cluster, *group).await);
            }
            if missing == 0 && cluster.lead().await.is_ok() {
                return cluster;
            }
            assert!(Instant::now() < deadline, "node {id} was not elected");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Who leads hands over; if nobody does, the node stands. Returns whether it leads.
    async fn ask_to_lead(&self, cluster: &Cluster, group: GroupId) -> bool {
        let raft = cluster.proposer.raft().expect("it runs");
        if raft.is_leader(group) {
            return true;
        }
        let others = self.members.values().filter_map(|member| member.cluster.as_ref()?.proposer.raft().ok());
        let to = raft.status(group).map(|status| status.replica);
        // Refusals are expected: a leader that was cut off, a vote that somebody else is about to win.
        match (others.into_iter().find(|other| other.is_leader(group)), to) {
            (Some(leader), Some(to)) => drop(leader.transfer_leader(group, to).await),
            _ => drop(raft.campaign(group).await),
        }
        false
    }

    /// Stops a node without a word to the others.
    pub async fn stop(&mut self, id: u64) {
        self.network.detach(NodeId(id));
        if let Some(cluster) = self.members.get_mut(&id).and_then(|member| member.cluster.take()) {
            cluster.abandon().await;
        }
    }

    /// Starts a stopped node again from its disk.
    pub async fn restart(&mut self, id: u64) {
        self.open(id, FirstStart::Alone).await;
    }

    /// A stopped node's disk is lost: `leader` replaces its replicas with new ones, which learn, then vote.
    pub async fn replace(&mut self, leader: &Cluster, id: u64, replica: ReplicaId) {
        let raft = leader.proposer.raft().expect("it runs");
        let groups: Vec<GroupId> =
            std::iter::once(GroupId::META).chain(leader.data.keys().copied()).collect();
        for group in &groups {
            raft.remove(*group, ReplicaId(id)).await.expect("the lost replica is removed");
        }
        self.add(id, FirstStart::Join(replica)).await;
        for group in groups {
            raft.add_learner(group, Peer { replica, node: NodeId(id) }).await.expect("it learns");
            let deadline = Instant::now() + PATIENCE;
            while let Err(error) = raft.promote(group, replica).await {
                assert_eq!(error.state(), SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "{error}");
                assert!(
                    Instant::now() < deadline,
                    "it never caught up: {:?}, {:?}",
                    self.node(id).proposer.raft().map(|raft| (raft.status(group), raft.failure())),
                    raft.status(group)
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Cuts a node off from the others.
    pub fn isolate(&self, id: u64) {
        let others: Vec<NodeId> =
            self.members.keys().filter(|other| **other != id).map(|id| NodeId(*id)).collect();
        self.network.partition(&[NodeId(id)], &others);
    }

    /// Mends the network.
    pub fn heal(&self) {
        self.network.heal();
    }

    /// Waits until all running nodes have the same state of every group, byte for byte. `write` must append to each group.
    pub async fn assert_equal_states(&self, write: impl AsyncFn()) {
        let running = || self.members.values().filter(|member| member.cluster.is_some());
        running().for_each(|member| member.watching.store(true, Ordering::Release));
        let deadline = Instant::now() + PATIENCE;
        loop {
            write().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            let states: Vec<_> = running().map(|member| member.states.lock().clone()).collect();
            let indexes =
                |at: usize| states[at].iter().map(|(id, (index, _))| (*id, *index)).collect::<Vec<_>>();
            let groups = self.node(*self.members.keys().next().expect("a node")).data.len() + 1;
            if states[0].len() == groups && (1..states.len()).all(|at| indexes(at) == indexes(0)) {
                for (at, state) in states.iter().enumerate() {
                    for (group, (index, bytes)) in state {
                        assert!(
                            bytes == &states[0][group].1,
                            "group {group} differs at {index} on node {}",
                            at + 1
                        );
                    }
                }
                return;
            }
            assert!(Instant::now() < deadline, "the nodes did not come to the same index");
        }
    }
}
