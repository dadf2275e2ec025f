//! DataFusion over the cluster: collections as tables, predicates and vector searches pushed into storage, distance functions.
//! Knows nothing of PostgreSQL's protocol, of Raft or of files.

mod context;
mod engine;
mod errors;
mod filter;
mod functions;
mod keys;
mod lateral;
mod memory;
mod pushdown;
mod scan;
mod search;
mod table;
#[cfg(test)]
mod testing;
mod topk;
pub mod vector;

pub use context::{QueryContext, SearchSettings};
pub use engine::{Engine, evaluate};
pub use errors::{from_datafusion, location, to_datafusion};
pub use functions::Distance;
pub use table::{CollectionTable, ROW_COLUMN, SHARD_COLUMN};
