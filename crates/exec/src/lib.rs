//! DataFusion over the cluster: collections as tables, predicates and vector searches pushed into storage, distance functions.
//! Knows nothing of PostgreSQL's protocol, of Raft or of files.

mod context;
mod engine;
mod errors;
mod table;

pub use context::{QueryContext, SearchSettings};
pub use engine::Engine;
pub use errors::from_datafusion;
pub use table::{CollectionTable, ROW_COLUMN, SHARD_COLUMN};
