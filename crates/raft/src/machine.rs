//! What a group's replicated state must be able to do. Knows nothing of logs or files.

use bytes::Bytes;
use quiver_base::{GroupId, LogIndex, Result, Term};

/// One committed entry, durable on a quorum and on this node.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The group whose log holds it.
    pub group: GroupId,
    /// The term in which a leader appended it.
    pub term: Term,
    /// Its position.
    pub index: LogIndex,
    /// What was proposed; never empty. Slices of it share its memory.
    pub data: &'a Bytes,
}

/// A change of this replica's role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// This replica leads, and has applied an entry of `term`: everything any earlier leader had
    /// acknowledged is in the state machine. From now on proposals are taken.
    BecameLeader {
        /// The term it leads.
        term: Term,
    },
    /// This replica leads no more. Follows every `BecameLeader`, before entries of a later leader are applied.
    LostLeader,
}

/// Encodes a snapshot, away from the Raft thread.
pub type SnapshotEncoder = Box<dyn FnOnce() -> Vec<u8> + Send>;

/// The replicated state of one group. Called from the Raft thread only, so every method must be quick:
/// all groups of the node wait for it. A machine that holds a handle of the node keeps it from stopping by
/// itself: then call `RaftNode::stop`.
pub trait StateMachine: Send + 'static {
    /// Applies one entry. Infallible, memory only: whatever may be refused was refused by the leader
    /// before it proposed. Called once for each entry, in log order.
    fn apply(&mut self, entry: Entry<'_>);

    /// Freezes the state as of the last applied entry. The closure encodes it later, on another thread.
    fn snapshot(&mut self) -> SnapshotEncoder;

    /// Replaces the whole state: at start, and when a follower was too far behind for the log.
    fn restore(&mut self, snapshot: &[u8]) -> Result<()>;

    /// Tells of a change of role.
    fn leadership(&mut self, event: Leadership);
}
