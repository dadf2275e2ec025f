//! Vocabulary that every part of Quiver shares: errors with SQLSTATEs, identifiers, SQL types and
//! the memory budget, and how threads share processors. Knows no other crate of the workspace.

pub mod bits;
mod error;
mod ids;
mod memory;
mod scheduling;
pub mod sparse;
mod types;

pub use error::{Error, Result, SqlState};
pub use ids::{
    ColumnId, DatabaseId, GroupId, IndexId, LogIndex, NodeId, ReplicaId, RowId, SegmentId, ShardId, TableId,
    Term, Timestamp, TxnId,
};
pub use memory::{MemoryBudget, Reservation};
pub use scheduling::{Turns, take_turns, yield_to_others};
pub use types::{FIELD_ID_KEY, SQL_TYPE_KEY, SqlType, stored as stored_type};
