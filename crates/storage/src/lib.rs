//! What a shard is: recent rows in memory, sealed segments in object storage, and immutable snapshots over both.
//! Knows Arrow, Parquet and object_store; knows no SQL, no Raft and no DataFusion.

mod chunk;
mod column_cache;
mod columns;
mod filter;
mod format;
mod frame;
mod key;
mod key_cache;
mod key_index;
mod keys;
mod layout;
mod memtable;
pub mod objects;
mod publish;
mod rows;
mod search;
mod segment;
mod shard;
mod snapshot;
#[cfg(test)]
mod testing;
mod version;
mod visibility;

pub use filter::{ColumnStats, RowFilter};
pub use key::{KeyEncoder, encode_key, key_hash};
pub use layout::{ColumnDef, KeyDef, TableLayout, VectorIndexDef};
pub use objects::{ObjectRef, Objects};
pub use publish::{Job, JobControl, JobKind, Publish, PublishOutcome};
pub use rows::{RowBatch, ShardWrite};
pub use search::{Hit, SearchResult, SearchStats, VectorQuery};
pub use segment::{
    DeletesRef, KeyMatch, Opened, RowIds, Segment, SegmentMeta, SegmentStatistics, SegmentWriter,
};
pub use shard::{Shard, ShardStats, StorageEnv, StorageOptions};
pub use snapshot::{Locator, ScanBatch, ScanPart, ScanRequest, Snapshot};
