//! Joins Raft with storage: the catalog, shards with leaders, transactions, locks and background upkeep.
//! The only crate that sees both. Knows no SQL text, no DataFusion and no wire protocol.

mod catalog;
mod cluster;
mod command;
mod data;
mod folder;
mod keys;
mod layout;
mod leases;
mod locks;
mod meta;
mod open;
mod oracle;
mod ownership;
mod proposer;
mod read;
mod recovery;
mod requests;
mod sequences;
mod shared_serde;
mod state_bytes;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod txn;
mod upkeep;

pub use catalog::{
    BOOTSTRAP_ROLE, Catalog, CatalogEdit, Column, ColumnDefault, Constraint, ConstraintKind, Database,
    FIRST_USER_OID, INFORMATION_SCHEMA, Identity, Index, IndexMethod, KeyColumn, PG_CATALOG_SCHEMA,
    PUBLIC_SCHEMA, Role, Schema, Sequence, Table,
};
pub use cluster::{Cluster, ClusterConfig, TableStats};
pub use read::ReadView;
pub use txn::{
    ConflictMode, InsertOutcome, Isolation, LockOutcome, Prior, RowRef, Savepoint, TableLock, Txn, TxnOptions,
};
pub use upkeep::RunningJob;
