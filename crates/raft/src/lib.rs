//! Multi-raft: many replicated logs on one node, in one file sequence, with one fsync for all of them.
//!
//! # What is promised
//!
//! **Acknowledged means durable.** `propose` returns after the entry was fsynced on a quorum, and applied on
//! this node. A power cut at any moment, on any number of nodes, loses none of it as long as the disks keep
//! what they fsynced. An entry is applied only after it is committed and in this node's own log.
//!
//! **Every answer is true.** An error says which of three things happened: the entry is certainly not applied
//! (57P03, this node does not lead; 53400, 54000, 22023; 40001, another leader's entry took its place), it is
//! unknown (08007), or the node has stopped. A follower refuses; it never forwards. A closure given to
//! `propose_with` runs right before its entry is appended, so what it stamps increases along the log.
//!
//! **A leader knows everything.** `BecameLeader` comes after an entry of the new term was applied, so all that
//! earlier leaders acknowledged is in the state machine. `LostLeader` comes before an entry of a later leader.
//! A leader that cannot reach a quorum for an election timeout steps down; `read_index` asks a quorum at once.
//!
//! **The log is bounded.** Past `log_bytes_max` a group is checkpointed: frozen on the Raft thread, encoded and
//! fsynced on another, then the log before it goes, but for a few entries for slow followers. A start is the
//! newest checkpoint and the entries after it.
//!
//! **Damage stops the start, by name.** Only an incomplete batch at the very end of the log is cut: it was never
//! acknowledged. A damaged file in the middle, a missing one, a damaged or missing checkpoint, a log and a
//! checkpoint that do not fit together, a folder of another node or of a newer version: each is an error that
//! names the file. After a failed fsync the node acknowledges nothing more and stops.
//!
//! **Queues are bounded.** Proposals wait for a place, then fail with 53400. Frames that find no room are dropped,
//! as on any network.
//!
//! # What callers must keep to
//!
//! A state machine is quick and makes no I/O: one thread drives all groups. A replica id is never used twice
//! in a group; `create_group` is for new groups only, and a replica whose disk was lost comes back as a new one:
//! `remove` the old, `join_group` on its node, `add_learner`, `promote`. A wire may lose frames, not change them.
//!
//! # How a turn goes
//!
//! ```text
//! commands, frames, ticks ─► step every group ─► Ready of each
//!      leaders' messages leave ─► one batch, one fsync ─► followers' messages leave
//!      committed entries are applied ─► waiters wake ─► next turn
//! ```
//!
//! Knows no SQL, no storage and no network: entries are bytes, messages are frames.

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
