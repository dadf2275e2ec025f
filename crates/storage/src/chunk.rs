//! Rows on their way into a shard.

use arrow::record_batch::RecordBatch;
use quiver_base::{Result, RowId};
use std::sync::Arc;

/// Rows without a commit timestamp yet: as a transaction holds them and as the log carries them.
#[derive(Clone, Debug)]
pub struct RowBatch {
    /// User columns only; each field's metadata holds its column id under [`quiver_base::FIELD_ID_KEY`].
    pub batch: RecordBatch,
    /// One id a row, ascending.
    pub row_ids: Vec<RowId>,
}

/// What one transaction does to one shard.
#[derive(Clone, Debug, Default)]
pub struct ShardWrite {
    /// New row versions.
    pub inserts: Vec<Arc<RowBatch>>,
    /// Row versions that end.
    pub deletes: Vec<RowId>,
}

impl ShardWrite {
    /// Whether it does nothing.
    pub fn is_empty(&self) -> bool {
        self.inserts.is_empty() && self.deletes.is_empty()
    }

    /// Versioned, checksummed bytes: Arrow IPC for the rows.
    pub fn encode(&self) -> Result<Vec<u8>> {
        unimplemented!()
    }

    /// Reads [`ShardWrite::encode`]'s bytes back; damage is XX001.
    pub fn decode(_bytes: &[u8]) -> Result<ShardWrite> {
        unimplemented!()
    }
}
