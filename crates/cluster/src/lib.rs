//! Joins Raft with storage: the catalog, shards with leaders, transactions, locks and background upkeep.
//! The only crate that sees both. Knows no SQL text, no DataFusion and no wire protocol.

mod catalog;
mod cluster;
mod read;
mod shared_serde;
mod txn;

pub use catalog::{
    Catalog, CatalogEdit, Column, ColumnDefault, Constraint, ConstraintKind, Database, FIRST_USER_OID,
    Identity, Index, IndexMethod, KeyColumn, Role, Schema, Sequence, Table,
};
pub use cluster::{Cluster, ClusterConfig, TableStats};
pub use read::ReadView;
pub use txn::{
    ConflictMode, InsertOutcome, Isolation, LockOutcome, Prior, RowRef, Savepoint, TableLock, Txn, TxnOptions,
};
