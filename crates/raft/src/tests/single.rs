//! One node alone: what is acknowledged is there after a restart.

use std::sync::atomic::{AtomicBool, Ordering};

use quiver_base::{Error, LogIndex, SqlState};

use super::*;
use crate::CheckpointStore;

#[tokio::test]
async fn proposals_are_applied_in_order_and_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (node, journal) = on_disk(dir.path());
    leads(&node).await;
    let mut last = None;
    for i in 0..20 {
        let applied = node.propose(GROUP, bytes(&format!("e{i}"))).await.unwrap();
        assert!(Some(applied.index) > last, "indexes increase");
        last = Some(applied.index);
    }
    let before = journal.texts();
    assert_eq!(before, (0..20).map(|i| format!("e{i}")).collect::<Vec<_>>());
    assert_eq!(node.applied_index(GROUP), last);
    node.stop();
    drop(node);

    let (node, journal) = on_disk(dir.path());
    leads(&node).await;
    assert_eq!(journal.texts(), before);
    node.propose(GROUP, bytes("after")).await.unwrap();
    assert_eq!(journal.texts().last().unwrap(), "after");
}

#[tokio::test]
async fn leadership_is_announced_after_everything_before_it_was_applied() {
    let dir = tempfile::tempdir().unwrap();
    let (node, journal) = on_disk(dir.path());
    leads(&node).await;
    let first_term = node.leader_term(GROUP).unwrap();
    assert_eq!(journal.with(|j| j.leadership.clone()), [Leadership::BecameLeader { term: first_term }]);
    node.stop();
    assert_eq!(journal.with(|j| j.leadership.last().copied()), Some(Leadership::LostLeader));
    let refused = node.propose(GROUP, bytes("late")).await.unwrap_err();
    assert_eq!(refused.state(), SqlState::ADMIN_SHUTDOWN);
}

#[tokio::test]
async fn a_closure_sees_its_place_and_may_cancel() {
    let dir = tempfile::tempdir().unwrap();
    let (node, journal) = on_disk(dir.path());
    leads(&node).await;
    assert_eq!(node.propose_with(GROUP, |_| None).await.unwrap(), None);
    let applied = node
        .propose_with(GROUP, |slot| Some(bytes(&format!("{}/{}", slot.term, slot.index))))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(journal.texts(), [format!("{}/{}", applied.term, applied.index)]);
}

#[tokio::test]
async fn bounds_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let config = RaftConfig {
        max_entry_bytes: 100,
        max_inflight_proposals: 2,
        ..RaftConfig::for_tests(NodeId(1), dir.path())
    };
    let (node, _journal) = open_with(config, Arc::new(DiskFs)).unwrap();
    leads(&node).await;
    let too_large = node.propose(GROUP, Bytes::from(vec![b'x'; 101])).await.unwrap_err();
    assert_eq!(too_large.state(), SqlState::PROGRAM_LIMIT_EXCEEDED);
    let empty = node.propose(GROUP, Bytes::new()).await.unwrap_err();
    assert_eq!(empty.state(), SqlState::INVALID_PARAMETER_VALUE);
    let elsewhere = node.propose(GroupId(8), bytes("x")).await.unwrap_err();
    assert_eq!(elsewhere.state(), SqlState::CANNOT_CONNECT_NOW);

    // Two proposals hold the Raft thread up; a third finds no place.
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let blocked = tokio::spawn({
        let node = node.clone();
        async move {
            node.propose_with(GROUP, move |_| {
                gate.recv().unwrap();
                Some(bytes("slow"))
            })
            .await
        }
    });
    let queued = tokio::spawn({
        let node = node.clone();
        async move { node.propose(GROUP, bytes("queued")).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let full = node.propose(GROUP, bytes("no place")).await.unwrap_err();
    assert_eq!(full.state(), SqlState::CONFIGURATION_LIMIT_EXCEEDED);
    release.send(()).unwrap();
    assert!(blocked.await.unwrap().unwrap().is_some());
    queued.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_folder_is_one_nodes_and_one_versions() {
    let dir = tempfile::tempdir().unwrap();
    drop(on_disk(dir.path()));
    let other = open_with(RaftConfig::for_tests(NodeId(2), dir.path()), Arc::new(DiskFs)).err().unwrap();
    assert!(other.message().contains("belongs to node 1, not to node 2"), "{other}");

    let path = dir.path().join("NODE");
    let mut identity = std::fs::read(&path).unwrap();
    identity[8] = 2;
    std::fs::write(&path, &identity).unwrap();
    let newer = open_alone(dir.path(), Arc::new(DiskFs)).err().unwrap();
    assert!(newer.message().contains("NODE has version 2"), "{newer}");

    std::fs::remove_file(&path).unwrap();
    let missing = open_alone(dir.path(), Arc::new(DiskFs)).err().unwrap();
    assert_eq!(missing.state(), SqlState::DATA_CORRUPTED);
}

#[tokio::test]
async fn a_full_log_is_checkpointed_and_its_files_go() {
    let dir = tempfile::tempdir().unwrap();
    let config = RaftConfig {
        log_bytes_max: 32 << 10,
        log_file_bytes: 16 << 10,
        ..RaftConfig::for_tests(NodeId(1), dir.path())
    };
    let (node, journal) = open_with(config.clone(), Arc::new(DiskFs)).unwrap();
    // A group that says little must not keep the files of one that says much.
    let quiet = Journal::default();
    node.create_group(GroupId(1), &[peer(1)], Box::new(quiet.clone())).unwrap();
    leads(&node).await;
    eventually("the quiet one leads", || node.is_leader(GroupId(1))).await;
    node.propose(GroupId(1), bytes("quiet")).await.unwrap();
    for i in 0..300 {
        node.propose(GROUP, bytes(&format!("{i}-{}", "x".repeat(1000)))).await.unwrap();
    }
    eventually("files are purged", || node.log_disk_bytes() < 150 << 10).await;
    let status = node.status(GROUP).unwrap();
    assert!(status.checkpoint_index.0 > 200 && status.first_index.0 > 150, "{status:?}");
    assert!(status.last_fsync_micros > 0);
    let before = journal.texts();
    node.stop();

    let (node, journal) = open_with(config, Arc::new(DiskFs)).unwrap();
    let quiet = Journal::default();
    node.open_group(GroupId(1), Box::new(quiet.clone())).unwrap();
    leads(&node).await;
    eventually("the quiet one leads", || node.is_leader(GroupId(1))).await;
    assert!(journal.texts() == before, "the same entries");
    assert_eq!(quiet.texts(), ["quiet"]);
}

#[tokio::test]
async fn a_destroyed_group_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _journal) = on_disk(dir.path());
    leads(&node).await;
    node.propose(GROUP, bytes("gone")).await.unwrap();
    node.checkpoint(GROUP).await.unwrap();
    node.destroy_group(GROUP).await.unwrap();
    assert_eq!(node.stored_groups(), []);
    assert!(node.status(GROUP).is_none());
    let journal = Journal::default();
    node.create_group(GROUP, &[peer(1)], Box::new(journal.clone())).unwrap();
    leads(&node).await;
    node.propose(GROUP, bytes("new")).await.unwrap();
    assert_eq!(journal.texts(), ["new"]);
    drop(node);
    let (node, journal) = on_disk(dir.path());
    leads(&node).await;
    assert_eq!(journal.texts(), ["new"]);
}

#[tokio::test]
async fn a_state_machine_that_panics_stops_the_node_and_not_the_process() {
    struct Fragile;
    impl StateMachine for Fragile {
        fn apply(&mut self, _entry: Entry<'_>) {
            panic!("cannot apply this");
        }
        fn snapshot(&mut self) -> SnapshotEncoder {
            Box::new(Vec::new)
        }
        fn restore(&mut self, _snapshot: &[u8]) -> Result<()> {
            Ok(())
        }
        fn leadership(&mut self, _event: Leadership) {}
    }
    let dir = tempfile::tempdir().unwrap();
    let (node, _journal) = on_disk(dir.path());
    node.create_group(GroupId(1), &[peer(1)], Box::new(Fragile)).unwrap();
    eventually("both lead", || node.is_leader(GROUP) && node.is_leader(GroupId(1))).await;
    let unknown = node.propose(GroupId(1), bytes("x")).await.unwrap_err();
    assert_eq!(unknown.state(), SqlState::TRANSACTION_RESOLUTION_UNKNOWN, "{unknown}");
    eventually("the node stops", || node.failure().is_some()).await;
    assert!(node.failure().unwrap().message().contains("cannot apply this"));
    eventually("no group leads", || !node.is_leader(GROUP)).await;
}

/// A store whose disk is full while told so.
struct FullStore {
    inner: FileCheckpoints,
    full: AtomicBool,
}

impl CheckpointStore for FullStore {
    fn put(&self, group: GroupId, index: LogIndex, bytes: &[u8]) -> Result<()> {
        if self.full.load(Ordering::Relaxed) {
            return Err(Error::new(SqlState::DISK_FULL, "no space"));
        }
        self.inner.put(group, index, bytes)
    }

    fn latest(&self, group: GroupId) -> Result<Option<(LogIndex, Vec<u8>)>> {
        self.inner.latest(group)
    }

    fn purge_before(&self, group: GroupId, index: LogIndex) -> Result<()> {
        self.inner.purge_before(group, index)
    }
}

#[tokio::test]
async fn a_checkpoint_that_fails_keeps_the_log_and_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let inner = FileCheckpoints::open(dir.path().join("checkpoints"), Arc::new(DiskFs)).unwrap();
    let store = Arc::new(FullStore { inner, full: AtomicBool::new(false) });
    let config =
        RaftConfig { log_bytes_max: 4 << 10, ..RaftConfig::for_tests(NodeId(1), dir.path().join("node")) };
    let node = RaftNode::open(config, Arc::new(DiskFs), store.clone(), Arc::new(NoWire)).unwrap();
    let journal = Journal::default();
    node.create_group(GROUP, &[peer(1)], Box::new(journal.clone())).unwrap();
    leads(&node).await;
    store.full.store(true, Ordering::Relaxed);
    let refused = node.checkpoint(GROUP).await.unwrap_err();
    assert_eq!(refused.state(), SqlState::DISK_FULL);
    for i in 0..20 {
        node.propose(GROUP, bytes(&format!("{i}-{}", "x".repeat(500)))).await.unwrap();
    }
    let status = node.status(GROUP).unwrap();
    assert_eq!((status.checkpoint_index, status.first_index), (LogIndex(1), LogIndex(2)), "{status:?}");
    store.full.store(false, Ordering::Relaxed);
    eventually("it is tried again", || node.status(GROUP).unwrap().checkpoint_index.0 > 15).await;
}
