//! What a shard is: recent rows in memory, sealed segments in object storage, and immutable snapshots over both.
//! Knows Arrow, Parquet and object_store; knows no SQL, no Raft and no DataFusion.

mod chunk;
mod column_cache;
mod filter;
mod key;
mod layout;
pub mod objects;
mod publish;
mod segment;
mod shard;
mod snapshot;

pub use chunk::{RowBatch, ShardWrite};
pub use filter::{ColumnStats, RowFilter};
pub use key::{encode_key, key_hash};
pub use layout::{ColumnDef, KeyDef, TableLayout, VectorIndexDef};
pub use objects::{ObjectRef, Objects};
pub use publish::{Job, JobControl, JobKind, Publish, PublishOutcome};
pub use segment::{DeletesRef, KeyMatch, RowIds, Segment, SegmentMeta, SegmentStatistics, SegmentWriter};
pub use shard::{Shard, ShardStats, StorageEnv, StorageOptions};
pub use snapshot::{
    Hit, Locator, ScanBatch, ScanPart, ScanRequest, SearchResult, SearchStats, Snapshot, VectorQuery,
};
