//! Power cuts: nothing acknowledged is lost, whatever the disk kept of the rest; and the tests would see it.

use std::collections::BTreeSet;
use std::path::Path;

use quiver_base::SqlState;

use super::*;
use crate::testing::{Dice, LossyFs, Residue};

/// Tells files and folders apart.
type Which = fn(&Path) -> bool;

/// Proposes from several tasks until the power goes; returns what was acknowledged.
async fn write_until_cut(node: &RaftNode, round: u64) -> Vec<String> {
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (node, acknowledged) = (node.clone(), acknowledged.clone());
            tokio::spawn(async move {
                for i in 0.. {
                    let text = format!("r{round}w{writer}i{i}-{}", "x".repeat(i % 7 * 200));
                    match node.propose(GROUP, bytes(&text)).await {
                        Ok(_) => acknowledged.lock().push(text),
                        Err(e) if e.state() == SqlState::CANNOT_CONNECT_NOW => {
                            tokio::time::sleep(Duration::from_millis(1)).await;
                        }
                        Err(_) => break,
                    }
                    if i % 16 == 15 && writer == 0 {
                        let _cut_meanwhile = node.checkpoint(GROUP).await;
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    Arc::try_unwrap(acknowledged).unwrap().into_inner()
}

/// Cuts the power at random points, again and again on the same disk; returns what was lost.
/// `lies_about`: what the disk does not sync although it says so.
async fn cut_again_and_again(seed: u64, rounds: u64, lies_about: Option<fn(&Path) -> bool>) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let fs = LossyFs::new();
    if let Some(of) = lies_about {
        fs.ignore_syncs(of);
    }
    let mut dice = Dice::new(seed);
    let mut acknowledged = Vec::new();
    let config = RaftConfig { log_file_bytes: 16 << 10, ..RaftConfig::for_tests(NodeId(1), dir.path()) };
    for round in 0..rounds {
        fs.cut_power_after(dice.below(if round == 0 { 20 } else { 150 }));
        // The power may go while the node starts.
        match open_with(config.clone(), Arc::new(fs.clone())) {
            Ok((node, _journal)) => {
                acknowledged.extend(write_until_cut(&node, round).await);
                node.stop();
                assert!(fs.is_off(), "stopped by {:?}", node.failure());
            }
            Err(e) if !fs.is_off() && lies_about.is_some() => {
                tracing::debug!(error = %e, "the loss was noticed");
                return acknowledged;
            }
            Err(e) => assert!(fs.is_off(), "did not start: {e}"),
        }
        let residue = [Residue::Nothing, Residue::Some, Residue::Some, Residue::All][dice.below(4) as usize];
        fs.power_on(residue, dice.below(u64::MAX)).unwrap();
    }
    let Ok((node, journal)) = open_with(config, Arc::new(fs.clone())) else { return acknowledged };
    leads(&node).await;
    let kept: BTreeSet<_> = journal.texts().into_iter().collect();
    acknowledged.retain(|text| !kept.contains(text));
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cuts_lose_nothing_acknowledged() {
    for seed in 0..6 {
        assert_eq!(cut_again_and_again(seed, 12, None).await, Vec::<String>::new(), "seed {seed}");
    }
}

/// Each fsync that the node does, left out alone: acknowledged entries are lost, or the next start says what is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fsync_is_needed() {
    let kinds: [(&str, Which); 6] = [
        ("the log", |path| path.extension().is_some_and(|it| it == "raftlog")),
        ("the log's folder", |path| path.ends_with("log")),
        ("a checkpoint", |path| {
            path.extension().is_some_and(|it| it == "tmp") && !path.ends_with("NODE.tmp")
        }),
        ("the checkpoints' folder", |path| path.ends_with("checkpoints")),
        ("the identity", |path| path.ends_with("NODE.tmp")),
        ("the node's folder", |path| {
            path.is_dir() && !path.ends_with("log") && !path.ends_with("checkpoints")
        }),
    ];
    for (what, of) in kinds {
        let mut seen = false;
        for seed in 0..40 {
            if !cut_again_and_again(seed, 6, Some(of)).await.is_empty() {
                seen = true;
                break;
            }
        }
        assert!(seen, "without the fsync of {what} nothing was lost");
    }
}

#[tokio::test]
async fn a_failed_fsync_acknowledges_nothing_and_stops_the_node() {
    let dir = tempfile::tempdir().unwrap();
    let fs = LossyFs::new();
    let (node, journal) = open_alone(dir.path(), Arc::new(fs.clone())).unwrap();
    leads(&node).await;
    node.propose(GROUP, bytes("before")).await.unwrap();
    fs.fail_syncs(true);
    let unknown = node.propose(GROUP, bytes("during")).await.unwrap_err();
    assert_eq!(unknown.state(), SqlState::TRANSACTION_RESOLUTION_UNKNOWN, "{unknown}");
    fs.fail_syncs(false);
    let stopped = node.propose(GROUP, bytes("after")).await.unwrap_err();
    assert_eq!(stopped.state(), SqlState::IO_ERROR, "{stopped}");
    assert!(node.failure().unwrap().message().contains("the disk failed"));
    assert!(!node.is_leader(GROUP));
    assert_eq!(journal.texts(), ["before"]);
    drop(node);

    let (node, journal) = open_alone(dir.path(), Arc::new(fs)).unwrap();
    leads(&node).await;
    assert_eq!(journal.texts()[0], "before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proposals_share_fsyncs() {
    let dir = tempfile::tempdir().unwrap();
    let fs = LossyFs::new();
    let (node, _journal) = open_alone(dir.path(), Arc::new(fs.clone())).unwrap();
    for group in [1, 2] {
        node.create_group(GroupId(group), &[peer(1)], Box::new(Journal::default())).unwrap();
    }
    leads(&node).await;
    eventually("all groups lead", || node.statuses().iter().all(|s| s.leads_in.is_some())).await;
    // The Raft thread is held until all proposals of all groups are in its queue.
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let held = tokio::spawn({
        let node = node.clone();
        async move {
            let hold = move |_| {
                gate.recv().unwrap();
                None
            };
            node.propose_with(GROUP, hold).await
        }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    let proposals: Vec<_> = (0..300)
        .map(|i| {
            let node = node.clone();
            let group = [GROUP, GroupId(1), GroupId(2)][i % 3];
            tokio::spawn(async move { node.propose(group, bytes(&format!("e{i}"))).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let before = fs.syncs();
    release.send(()).unwrap();
    held.await.unwrap().unwrap();
    for proposal in proposals {
        proposal.await.unwrap().unwrap();
    }
    let syncs = fs.syncs() - before;
    assert!((1..=5).contains(&syncs), "300 proposals took {syncs} fsyncs");
}
