//! Newtypes for every integer that names something. No logic.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

ids! {
    /// A server process. Stable for the life of its data folder.
    NodeId(u64);
    /// A Raft peer: one copy of one group. A replica that lost its disk comes back under a new one.
    ReplicaId(u64);
    /// A Raft group. 0 is the meta group, which holds the catalog.
    GroupId(u64);
    /// A shard of a table: the unit of writing. Never reused.
    ShardId(u64);
    /// A segment of a shard. Never reused.
    SegmentId(u64);
    /// A row version of a shard, given by the leader, kept through flush and compaction.
    RowId(u64);
    /// A database's oid.
    DatabaseId(u32);
    /// A table's oid, as in pg_class.
    TableId(u32);
    /// An index's or constraint's oid, as in pg_class.
    IndexId(u32);
    /// A column of a table: its attnum. Stable through renames, never reused within a table.
    ColumnId(u16);
    /// A transaction that wrote something.
    TxnId(u64);
    /// A commit or read timestamp from the oracle. Not a wall-clock time.
    Timestamp(u64);
    /// A position in a Raft group's log.
    LogIndex(u64);
    /// A Raft term.
    Term(u64);
}

impl GroupId {
    /// The meta group.
    pub const META: GroupId = GroupId(0);
}

impl Timestamp {
    /// Before every commit.
    pub const ZERO: Timestamp = Timestamp(0);
    /// After every commit.
    pub const MAX: Timestamp = Timestamp(u64::MAX);
}
