//! DataFusion over the cluster: collections as tables, predicates and vector searches pushed into storage, distance functions.
//! Knows nothing of PostgreSQL's protocol, of Raft or of files.

mod append;
mod cancel;
mod constraints;
mod context;
mod engine;
mod errors;
mod filter;
mod functions;
mod indexed;
mod keys;
mod lateral;
mod memory;
mod pushdown;
mod ready;
mod resolve;
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
pub use functions::{Distance, extension_functions};
pub use indexed::{IndexChecks, IndexedType, compile_index};
pub use quiver_storage::Indexed;
pub use ready::{ReadyPlan, Rows, Slot};
pub use table::{CollectionTable, ROW_COLUMN, SHARD_COLUMN};
