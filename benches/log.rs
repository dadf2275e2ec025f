//! Appends to the replicated log of one node, with their fsync: one writer alone, and 64 that share it.
#![allow(missing_docs)] // criterion's macro makes a public function

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::future::join_all;
use quiver_base::{GroupId, NodeId, ReplicaId, Result};
use quiver_raft::{
    DiskFs, Entry, FileCheckpoints, Leadership, NoWire, Peer, RaftConfig, RaftNode, SnapshotEncoder,
    StateMachine,
};
use std::sync::Arc;

const GROUP: GroupId = GroupId(1);

/// A state that forgets everything.
struct Nothing;

impl StateMachine for Nothing {
    fn apply(&mut self, _: Entry<'_>) {}

    fn snapshot(&mut self) -> SnapshotEncoder {
        Box::new(Vec::new)
    }

    fn restore(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn leadership(&mut self, _: Leadership) {}
}

fn appends(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let fs = Arc::new(DiskFs);
    let checkpoints = FileCheckpoints::open(folder.path().join("checkpoints"), fs.clone()).expect("a folder");
    let config = RaftConfig::new(NodeId(1), folder.path().join("node"));
    let node = RaftNode::open(config, fs, Arc::new(checkpoints), Arc::new(NoWire)).expect("a new node");
    let voters = [Peer { replica: ReplicaId(1), node: NodeId(1) }];
    node.create_group(GROUP, &voters, Box::new(Nothing)).expect("a new group");
    while !node.is_leader(GROUP) {
        std::thread::yield_now();
    }
    let mut group = c.benchmark_group("log");
    for bytes in [100, 10_000] {
        let data = Bytes::from(vec![7; bytes]);
        for writers in [1, 64] {
            group.throughput(Throughput::Elements(writers));
            group.bench_function(format!("{bytes} bytes, {writers} writers"), |it| {
                it.iter(|| {
                    let all = (0..writers).map(|_| node.propose(GROUP, data.clone()));
                    runtime.block_on(join_all(all)).into_iter().for_each(|done| {
                        done.expect("durable");
                    });
                });
            });
        }
    }
    group.finish();
    node.stop();
}

criterion_group!(benches, appends);
criterion_main!(benches);
