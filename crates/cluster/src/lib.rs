//! Joins Raft with storage: the catalog, shards with leaders, transactions, locks and background upkeep.
//! The only crate that sees both. Knows no SQL text, no DataFusion and no wire protocol.
//!
//! A node holds the meta group (`meta`: catalog, timestamp bound, decisions, sequences) and data groups (`data`: shards, what
//! transactions have staged). Both are state machines: they change only when the log says so (`command`), touch memory only, and
//! cannot fail. Everything that can be refused is refused before, on the leader:
//!
//! 1. [`Txn::begin_statement`] takes a catalog and a timestamp that belong together, and a lease on it (`leases`).
//! 2. Writes lock (`locks`), are checked against the newest committed rows (`keys`), and wait in the session (`txn`); past
//!    a few MiB they go ahead into the log, invisible.
//! 3. [`Txn::commit`] proposes one entry (`proposer`); the Raft thread stamps it with the next timestamp (`oracle`). With DDL and rows
//!    together it is a prepare, a decision and a commit (decision record 6).
//! 4. Apply makes the rows visible; then locks are freed. Each command names the term it was checked in: in another one it does nothing.
//! 5. `upkeep` flushes, merges and indexes in the background, through `Publish` entries. `recovery` ends what a crash left open.

mod advisory;
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
mod stats;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod txn;
mod upkeep;

pub use advisory::{AdvisoryKey, AdvisoryLocks, AdvisoryMode, LockInfo, LockTarget};
pub use catalog::{
    BOOTSTRAP_ROLE, Catalog, CatalogEdit, Column, ColumnDefault, Constraint, ConstraintKind, Database,
    DefaultSetting, FIRST_USER_OID, INFORMATION_SCHEMA, Identity, Index, IndexMethod, IndexText, KeyColumn,
    Membership, PG_CATALOG_SCHEMA, PUBLIC_SCHEMA, Role, Schema, Sequence, Table, View,
};
pub use cluster::{Cluster, ClusterConfig};
pub use layout::IndexCompiler;
pub use read::ReadView;
pub use stats::{GroupStats, TableStats};
pub use txn::{
    ConflictMode, InsertOutcome, Isolation, LockOutcome, Prior, RowLock, RowRef, RowTry, Savepoint,
    TableLock, Txn, TxnOptions,
};
pub use upkeep::RunningJob;
