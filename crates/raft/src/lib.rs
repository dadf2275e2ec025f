//! Multi-raft on raft-rs and raft-engine: many groups, one log, one fsync for all of them.
mod checkpoint;
mod config;
mod event_loop;
mod fs;
mod group;
mod identity;
mod log;
mod logger;
mod machine;
mod node;
mod status;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod wire;

pub use checkpoint::{CheckpointStore, FileCheckpoints};
pub use config::RaftConfig;
pub use fs::{DiskFs, RaftFile, RaftFs};
pub use machine::{Entry, Leadership, SnapshotEncoder, StateMachine};
pub use node::{Applied, Peer, RaftNode, Slot};
pub use status::Status;
pub use wire::{NoWire, Wire};

#[cfg(test)]
mod tests;
