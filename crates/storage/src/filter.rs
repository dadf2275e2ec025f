//! How a predicate reaches storage without storage knowing what evaluates it.

use arrow::array::{ArrayRef, BooleanArray};
use arrow::record_batch::RecordBatch;
use quiver_base::{ColumnId, Result};

/// A predicate over rows, evaluated inside a scan before any top-k is taken.
pub trait RowFilter: Send + Sync + std::fmt::Debug {
    /// The columns that [`RowFilter::evaluate`] wants, in the order it wants them.
    fn columns(&self) -> &[ColumnId];
    /// True for rows that pass; NULL counts as false. The batch has exactly the columns asked for.
    fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanArray>;
    /// Whether any row of a container with these statistics can pass. True when in doubt. One answer per container.
    fn may_match(&self, stats: &dyn ColumnStats) -> Vec<bool>;
    /// Equal keys mean equal predicates: results may be cached under it. `None`: do not cache (volatile).
    fn cache_key(&self) -> Option<&str>;
}

/// Statistics of a list of containers (row groups of a segment), one array element each.
pub trait ColumnStats {
    /// How many containers there are.
    fn containers(&self) -> usize;
    /// Smallest values; NULL where unknown.
    fn min(&self, column: ColumnId) -> Option<ArrayRef>;
    /// Largest values; NULL where unknown.
    fn max(&self, column: ColumnId) -> Option<ArrayRef>;
    /// NULLs per container, as UInt64.
    fn null_counts(&self, column: ColumnId) -> Option<ArrayRef>;
    /// Rows per container, as UInt64.
    fn row_counts(&self) -> ArrayRef;
}
