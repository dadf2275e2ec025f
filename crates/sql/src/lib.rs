//! Speaks PostgreSQL: protocol, sessions, parsing, binding, DDL and DML over transactions, system catalogs.
//! Knows nothing of shards on disk or of Raft.

mod admin;
mod bind;
mod calendar;
mod catalog;
mod copy;
mod ddl;
mod decode;
mod dml;
mod encode;
mod explain;
mod functions;
mod index_compiler;
mod maintenance;
mod oids;
mod outcome;
mod parser;
mod session;
mod settings;
mod statement;
mod wire;

pub use wire::{HbaSource, STACK_BYTES, ServerConfig, SqlMetrics, SqlServer, TlsFiles};
