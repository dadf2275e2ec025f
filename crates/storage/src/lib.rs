//! What a shard is: recent rows in memory, sealed segments in object storage, and immutable snapshots over both.
//! Knows Arrow, Parquet and object_store; knows no SQL, no Raft and no DataFusion.

mod arrivals;
mod chunk;
mod code_cache;
mod column_cache;
mod columns;
mod env;
mod filter;
mod filter_cache;
mod frame;
mod gc;
mod job;
mod key;
mod key_cache;
mod key_index;
mod layout;
mod lookup;
mod manifest;
mod memtable;
mod merge;
pub mod objects;
mod policy;
mod publish;
mod range_cache;
mod rows;
mod run;
mod sealed;
mod search;
mod segment;
mod shard;
mod snapshot;
#[cfg(test)]
mod testing;
mod version;
mod visibility;

pub use env::{StorageEnv, StorageOptions};
pub use filter::{ColumnStats, ComputedVectors, RowFilter};
pub use job::{Building, Job, JobControl, JobKind};
pub use key::{KeyEncoder, encode_key, key_hash};
pub use layout::{ColumnDef, Indexed, KeyDef, TableLayout, VectorIndexDef};
pub use lookup::{Allowed, Constraint, LookupCode, LookupDef, LookupKind, Near, Share};
pub use objects::{ObjectRef, Objects};
pub use publish::{Publish, PublishOutcome};
pub use rows::{RowBatch, ShardWrite};
pub use search::{Hit, SearchResult, SearchStats, VectorQuery};
pub use segment::{
    BuiltIndex, DeletesRef, IndexedRows, KeyMatch, Opened, RowIds, Segment, SegmentMeta, SegmentStatistics,
    SegmentWriter,
};
pub use shard::{Shard, ShardStats};
pub use snapshot::{Locator, ScanBatch, ScanPart, ScanRequest, Snapshot};
