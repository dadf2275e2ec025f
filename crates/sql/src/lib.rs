//! Speaks PostgreSQL: protocol, sessions, parsing, binding, DDL and DML over transactions, system catalogs.
//! Knows nothing of shards on disk or of Raft.

mod outcome;
mod settings;
mod statement;

pub use settings::Settings;
