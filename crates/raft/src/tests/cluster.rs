//! Three nodes over a network in memory: elections, partitions, lost disks, snapshots.

use std::collections::BTreeMap;

use quiver_base::SqlState;
use tempfile::TempDir;

use super::*;
use crate::testing::{LossyFs, Network, Residue};

struct Member {
    node: Option<RaftNode>,
    journal: Journal,
    fs: LossyFs,
    dir: TempDir,
}

pub(super) struct Cluster {
    pub(super) network: Network,
    members: BTreeMap<u64, Member>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for id in self.members.keys().copied().collect::<Vec<_>>() {
            self.stop(id);
        }
    }
}

/// What a node does with the group when it starts.
pub(super) enum Start {
    Create,
    Alone,
    Join(u64),
    Open,
}

impl Cluster {
    pub(super) fn new(seed: u64) -> Cluster {
        let mut cluster = Cluster { network: Network::new(seed), members: BTreeMap::new() };
        for id in 1..=3 {
            cluster.add(id, Start::Create);
        }
        cluster
    }

    fn add(&mut self, id: u64, start: Start) {
        let member = Member {
            node: None,
            journal: Journal::default(),
            fs: LossyFs::new(),
            dir: tempfile::tempdir().unwrap(),
        };
        self.members.insert(id, member);
        self.start(id, start);
    }

    pub(super) fn start(&mut self, id: u64, start: Start) {
        let network = self.network.clone();
        let member = self.members.get_mut(&id).unwrap();
        member.journal = Journal::default();
        let config = RaftConfig::for_tests(NodeId(id), member.dir.path());
        let fs = Arc::new(member.fs.clone());
        let checkpoints = FileCheckpoints::open(member.dir.path().join("checkpoints"), fs.clone()).unwrap();
        let node = RaftNode::open(config, fs, Arc::new(checkpoints), network.wire(NodeId(id))).unwrap();
        network.attach(&node);
        let machine = Box::new(member.journal.clone());
        match start {
            Start::Create => node.create_group(GROUP, &[peer(1), peer(2), peer(3)], machine).unwrap(),
            Start::Alone => node.create_group(GROUP, &[peer(id)], machine).unwrap(),
            Start::Join(replica) => node.join_group(GROUP, ReplicaId(replica), machine).unwrap(),
            Start::Open => node.open_group(GROUP, machine).unwrap(),
        }
        member.node = Some(node);
    }

    fn stop(&mut self, id: u64) {
        self.network.detach(NodeId(id));
        if let Some(node) = self.members.get_mut(&id).and_then(|m| m.node.take()) {
            node.stop();
        }
    }

    /// Stops a node as a power cut does.
    fn kill(&mut self, id: u64) {
        self.kill_leaving(id, Residue::Nothing, id);
    }

    pub(super) fn kill_leaving(&mut self, id: u64, residue: Residue, seed: u64) {
        self.members[&id].fs.cut_power();
        self.stop(id);
        self.members[&id].fs.power_on(residue, seed).unwrap();
    }

    pub(super) fn node(&self, id: u64) -> RaftNode {
        self.members[&id].node.clone().unwrap()
    }

    fn journal(&self, id: u64) -> Journal {
        self.members[&id].journal.clone()
    }

    pub(super) fn running(&self) -> Vec<RaftNode> {
        self.members.values().filter_map(|m| m.node.clone()).collect()
    }

    /// The id of a leader other than `not`.
    async fn leader_but(&self, not: u64) -> u64 {
        let nodes = self.running();
        let find = || nodes.iter().find(|n| n.is_leader(GROUP) && n.node().0 != not).map(|n| n.node().0);
        eventually("a leader", || find().is_some()).await;
        find().unwrap_or_else(|| panic!("the leader went again"))
    }

    async fn leader(&self) -> u64 {
        self.leader_but(0).await
    }

    fn others(&self, id: u64) -> Vec<u64> {
        self.members.keys().copied().filter(|other| *other != id).collect()
    }

    pub(super) fn isolate(&self, id: u64) {
        let others: Vec<_> = self.others(id).into_iter().map(NodeId).collect();
        self.network.partition(&[NodeId(id)], &others);
    }

    /// Waits until all running nodes have applied the same, and it includes all of `acknowledged`.
    pub(super) async fn agree_on(&self, acknowledged: &[String]) {
        let journals: Vec<_> =
            self.members.values().filter(|m| m.node.is_some()).map(|m| m.journal.clone()).collect();
        let held = |journal: &Journal| journal.with(|j| j.entries.clone());
        eventually("the same sequence everywhere, with everything acknowledged", || {
            let first = held(&journals[0]);
            let texts: std::collections::BTreeSet<_> = first.iter().map(|(_, text)| text).collect();
            journals.iter().all(|journal| held(journal) == first)
                && acknowledged.iter().all(|text| texts.contains(text))
        })
        .await;
    }
}

/// Proposes to whichever node leads, retrying what was certainly refused; stops at the first unknown outcome.
pub(super) async fn write(nodes: &[RaftNode], name: &str, count: usize) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut i = 0;
    while i < count && Instant::now() < deadline {
        let Some(leader) = nodes.iter().find(|n| n.is_leader(GROUP)) else {
            tokio::time::sleep(Duration::from_millis(2)).await;
            continue;
        };
        let text = format!("{name}{i}");
        match leader.propose(GROUP, bytes(&text)).await {
            Ok(_) => {
                acknowledged.push(text);
                i += 1;
            }
            Err(e) if e.state().is_retryable() => {}
            Err(_) => i += 1,
        }
    }
    acknowledged
}

/// Promotes a learner once the leader has heard that it has everything.
async fn promote(leader: &RaftNode, replica: u64) {
    let mut tries = 0;
    while let Err(e) = leader.promote(GROUP, ReplicaId(replica)).await {
        assert_eq!(e.state(), SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "{e}");
        tries += 1;
        assert!(tries < 100, "never caught up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_stopped_mid_batch_loses_nothing_acknowledged() {
    let mut cluster = Cluster::new(1);
    let first = cluster.leader().await;
    let nodes = cluster.running();
    let writers: Vec<_> = (0..4)
        .map(|w| {
            let nodes = nodes.clone();
            tokio::spawn(async move { write(&nodes, &format!("w{w}-"), 60).await })
        })
        .collect();
    let journal = cluster.journal(first);
    eventually("some entries", || journal.texts().len() > 20).await;
    cluster.kill(first);
    let second = cluster.leader_but(first).await;
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    assert!(acknowledged.len() > 100, "the others went on: {}", acknowledged.len());
    cluster.agree_on(&acknowledged).await;
    cluster.start(first, Start::Open);
    acknowledged.extend(write(&[cluster.node(second)], "after", 5).await);
    cluster.agree_on(&acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deposed_leader_refuses_and_its_waiters_learn_the_truth() {
    let cluster = Cluster::new(2);
    let old = cluster.leader().await;
    let before = write(&[cluster.node(old)], "before", 3).await;
    cluster.isolate(old);
    // Appended by a leader that cannot reach anybody.
    let orphan = tokio::spawn({
        let node = cluster.node(old);
        async move { node.propose(GROUP, bytes("orphan")).await }
    });
    let new = cluster.leader_but(old).await;
    let node = cluster.node(old);
    eventually("the old leader steps down", || !node.is_leader(GROUP)).await;
    assert_eq!(cluster.journal(old).with(|j| j.leads), None);
    let refused = node.propose(GROUP, bytes("refused")).await.unwrap_err();
    assert_eq!(refused.state(), SqlState::CANNOT_CONNECT_NOW, "{refused}");
    let read = node.read_index(GROUP).await.unwrap_err();
    assert_eq!(read.state(), SqlState::CANNOT_CONNECT_NOW);

    let mut acknowledged = write(&[cluster.node(new)], "after", 3).await;
    cluster.network.heal();
    let outcome = orphan.await.unwrap().unwrap_err();
    assert_eq!(outcome.state(), SqlState::SERIALIZATION_FAILURE, "certainly not applied: {outcome}");
    acknowledged.extend(before);
    cluster.agree_on(&acknowledged).await;
    assert!(!cluster.journal(new).texts().contains(&"orphan".to_owned()));
    // A follower refuses and does not forward.
    let follower = cluster.others(cluster.leader().await)[0];
    let refused = cluster.node(follower).propose(GROUP, bytes("x")).await.unwrap_err();
    assert_eq!(refused.state(), SqlState::CANNOT_CONNECT_NOW);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_the_outcome_is_unknown_after_a_while() {
    let mut cluster = Cluster::new(3);
    let leader = cluster.leader().await;
    for other in cluster.others(leader) {
        cluster.stop(other);
    }
    let error = cluster.node(leader).propose(GROUP, bytes("alone")).await.unwrap_err();
    assert_eq!(error.state(), SqlState::TRANSACTION_RESOLUTION_UNKNOWN, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_network_only_costs_time() {
    let cluster = Cluster::new(4);
    cluster.network.disturb(5, 5, Duration::from_millis(8));
    cluster.leader().await;
    let nodes = cluster.running();
    let writers: Vec<_> = (0..3)
        .map(|w| {
            let nodes = nodes.clone();
            tokio::spawn(async move { write(&nodes, &format!("w{w}-"), 15).await })
        })
        .collect();
    for round in 0..2 {
        tokio::time::sleep(Duration::from_millis(120)).await;
        cluster.isolate(1 + round);
        tokio::time::sleep(Duration::from_millis(200)).await;
        cluster.network.heal();
    }
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    cluster.network.disturb(0, 0, Duration::ZERO);
    acknowledged.extend(write(&nodes, "last", 1).await);
    cluster.agree_on(&acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_disk_comes_back_as_a_new_replica() {
    let mut cluster = Cluster::new(5);
    let leader = cluster.leader().await;
    let mut acknowledged = write(&[cluster.node(leader)], "a", 20).await;
    let lost = cluster.others(leader)[0];
    cluster.stop(lost);
    let node = cluster.node(leader);
    node.checkpoint(GROUP).await.unwrap();
    acknowledged.extend(write(std::slice::from_ref(&node), "b", 10).await);

    let used = node.add_learner(GROUP, peer(lost)).await.unwrap_err();
    assert_eq!(used.state(), SqlState::DUPLICATE_OBJECT, "{used}");
    let occupied = Peer { replica: ReplicaId(4), node: NodeId(lost) };
    assert!(node.add_learner(GROUP, occupied).await.unwrap_err().message().contains("already has a replica"));
    node.remove(GROUP, ReplicaId(lost)).await.unwrap();
    let own = node.remove(GROUP, ReplicaId(leader)).await.unwrap_err();
    assert_eq!(own.state(), SqlState::OBJECT_IN_USE);

    cluster.add(lost, Start::Join(4));
    node.add_learner(GROUP, occupied).await.unwrap();
    acknowledged.extend(write(std::slice::from_ref(&node), "c", 5).await);
    cluster.agree_on(&acknowledged).await;
    assert!(cluster.journal(lost).with(|j| j.restored) > 0, "it came by a snapshot");
    promote(&node, 4).await;
    let status = node.status(GROUP).unwrap();
    assert_eq!(status.learners, []);
    assert!(status.voters.contains(&ReplicaId(4)) && !status.voters.contains(&ReplicaId(lost)), "{status:?}");

    // It counts: with the third node gone, the new replica makes the quorum, even after a restart.
    let third = cluster.others(leader).into_iter().find(|id| *id != lost).unwrap();
    cluster.stop(third);
    cluster.kill(lost);
    cluster.start(lost, Start::Open);
    acknowledged.extend(write(&cluster.running(), "d", 5).await);
    cluster.agree_on(&acknowledged).await;
    let removed = node.add_learner(GROUP, Peer { replica: ReplicaId(4), node: NodeId(9) }).await.unwrap_err();
    assert!(removed.message().contains("was used before"), "{removed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_left_behind_a_purge_gets_a_snapshot() {
    let mut cluster = Cluster::new(6);
    let leader = cluster.leader().await;
    let late = cluster.others(leader)[0];
    cluster.stop(late);
    let mut acknowledged = write(&[cluster.node(leader)], "a", 60).await;
    let node = cluster.node(leader);
    let index = node.checkpoint(GROUP).await.unwrap();
    eventually("the log was cut", || {
        let status = node.status(GROUP).unwrap();
        status.first_index.0 + 10 > index.0 && status.checkpoint_index == index
    })
    .await;
    cluster.start(late, Start::Open);
    cluster.agree_on(&acknowledged).await;
    assert!(cluster.journal(late).with(|j| j.restored) >= 2, "first checkpoint at start, then a snapshot");
    // Restarted after the snapshot, it goes on from there.
    cluster.kill(late);
    cluster.start(late, Start::Open);
    acknowledged.extend(write(&cluster.running(), "b", 5).await);
    cluster.agree_on(&acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_does_not_bring_old_members_back() {
    let mut cluster = Cluster { network: Network::new(9), members: BTreeMap::new() };
    cluster.add(1, Start::Alone);
    cluster.leader().await;
    let node = cluster.node(1);
    cluster.add(2, Start::Join(2));
    node.add_learner(GROUP, peer(2)).await.unwrap();
    let acknowledged = write(&cluster.running(), "a", 3).await;
    cluster.agree_on(&acknowledged).await;
    promote(&node, 2).await;
    cluster.stop(2);
    cluster.kill(1);
    cluster.start(1, Start::Open);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let status = cluster.node(1).status(GROUP).unwrap();
    assert_eq!(status.voters, [ReplicaId(1), ReplicaId(2)]);
    assert_eq!(status.leads_in, None, "one of two is no quorum");
    cluster.start(2, Start::Open);
    cluster.leader().await;
    cluster.agree_on(&acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_snapshot_is_sent_again() {
    let mut cluster = Cluster::new(8);
    let leader = cluster.leader().await;
    let late = cluster.others(leader)[0];
    cluster.stop(late);
    let acknowledged = write(&cluster.running(), &"x".repeat(1000), 40).await;
    let node = cluster.node(cluster.leader().await);
    let index = node.checkpoint(GROUP).await.unwrap();
    eventually("the log was cut", || node.status(GROUP).unwrap().first_index.0 + 10 > index.0).await;
    cluster.network.lose_large(2, 30_000);
    cluster.start(late, Start::Open);
    cluster.agree_on(&acknowledged).await;
    assert_eq!(cluster.network.large_to_lose(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_moves_on_request() {
    let cluster = Cluster::new(7);
    let old = cluster.leader().await;
    let to = cluster.others(old)[0];
    assert_eq!(
        cluster.node(old).transfer_leader(GROUP, ReplicaId(9)).await.unwrap_err().state(),
        SqlState::UNDEFINED_OBJECT
    );
    cluster.node(old).transfer_leader(GROUP, ReplicaId(to)).await.unwrap();
    let node = cluster.node(to);
    eventually("the other leads", || node.is_leader(GROUP)).await;
    let acknowledged = write(std::slice::from_ref(&node), "a", 3).await;
    let index = node.read_index(GROUP).await.unwrap();
    assert!(index >= node.status(GROUP).unwrap().commit);
    cluster.agree_on(&acknowledged).await;
    assert_eq!(cluster.node(old).status(GROUP).unwrap().leader, Some(ReplicaId(to)));
}
