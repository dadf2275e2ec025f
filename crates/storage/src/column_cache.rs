//! Decoded columns of segments, kept up to a bound. Knows blocks of rows by number; knows no files.

use quiver_base::MemoryBudget;
use std::sync::Arc;

/// A process's cache of decoded columns.
#[derive(Debug)]
pub(crate) struct ColumnCache {
    _memory: Arc<MemoryBudget>,
}

impl ColumnCache {
    /// Keeps at most `bytes_max`, each block reserved from `memory` while it is kept.
    pub(crate) fn new(_bytes_max: usize, memory: Arc<MemoryBudget>) -> ColumnCache {
        ColumnCache { _memory: memory }
    }
}
