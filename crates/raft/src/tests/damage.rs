//! Damaged files: named, and never skipped.

use std::fs;
use std::path::PathBuf;

use quiver_base::SqlState;

use super::*;

/// A stopped node with 100 entries, the first 20 of them checkpointed, and small log files.
async fn written(dir: &Path) -> RaftConfig {
    let config =
        RaftConfig { log_file_bytes: 4 << 10, keep_entries: 0, ..RaftConfig::for_tests(NodeId(1), dir) };
    let (node, _journal) = open_with(config.clone(), Arc::new(DiskFs)).unwrap();
    leads(&node).await;
    for i in 0..100 {
        node.propose(GROUP, bytes(&format!("e{i}-{}", "x".repeat(300)))).await.unwrap();
        if i == 19 {
            node.checkpoint(GROUP).await.unwrap();
        }
    }
    node.stop();
    config
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == extension))
        .collect();
    found.sort();
    found
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x40;
    fs::write(path, bytes).unwrap();
}

fn refused(config: RaftConfig) -> String {
    let error = open_with(config, Arc::new(DiskFs)).err().expect("the node must not start");
    assert_eq!(error.state(), SqlState::DATA_CORRUPTED, "{error}");
    error.message().to_owned()
}

#[tokio::test]
async fn a_damaged_checkpoint_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let config = written(dir.path()).await;
    let checkpoints = files(&dir.path().join("checkpoints"), "checkpoint");
    assert_eq!(checkpoints.len(), 1, "older ones are purged");
    flip(&checkpoints[0], 60);
    let message = refused(config);
    assert!(message.contains(checkpoints[0].file_name().unwrap().to_str().unwrap()), "{message}");
    assert!(message.contains("checksum"), "{message}");
}

#[tokio::test]
async fn a_missing_checkpoint_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    let config = written(dir.path()).await;
    fs::remove_file(&files(&dir.path().join("checkpoints"), "checkpoint")[0]).unwrap();
    assert!(refused(config).contains("its checkpoint is missing"));
}

#[tokio::test]
async fn damage_inside_the_log_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let config = written(dir.path()).await;
    let logs = files(&dir.path().join("log"), "raftlog");
    assert!(logs.len() > 2, "several files");
    for log in [&logs[0], &logs[logs.len() - 2]] {
        let len = fs::metadata(log).unwrap().len() as usize;
        flip(log, len - 10);
        let message = refused(config.clone());
        assert!(message.contains(log.file_name().unwrap().to_str().unwrap()), "{message}");
        flip(log, len - 10);
    }
    // In the last file too, where raft-engine alone would cut silently.
    flip(logs.last().unwrap(), 100);
    refused(config.clone());
    flip(logs.last().unwrap(), 100);
    // A file in the middle that is gone.
    let middle = &logs[logs.len() - 2];
    fs::rename(middle, dir.path().join("aside")).unwrap();
    assert!(refused(config.clone()).contains("is missing"));
    fs::rename(dir.path().join("aside"), middle).unwrap();
    // All of them: the checkpoint knows that there was a log.
    for log in &logs {
        fs::remove_file(log).unwrap();
    }
    // The rewrite queue may still know the group, though not its state.
    let message = refused(config);
    assert!(
        message.contains("there is a checkpoint at") || message.contains("its state is missing"),
        "{message}"
    );
}

#[tokio::test]
async fn an_incomplete_tail_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let config = written(dir.path()).await;
    let logs = files(&dir.path().join("log"), "raftlog");
    let last = logs.last().unwrap();
    let mut bytes = fs::read(last).unwrap();
    bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0, 200, 0, 0, 0, 0, 0, 0, 0, 0, 20, b't', b'o', b'r', b'n']);
    fs::write(last, bytes).unwrap();
    let (node, journal) = open_with(config, Arc::new(DiskFs)).unwrap();
    leads(&node).await;
    assert_eq!(journal.texts().len(), 100);
    assert!(journal.with(|j| j.restored) == 1, "the checkpoint was used");
}
