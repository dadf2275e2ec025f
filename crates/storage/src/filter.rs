//! How a predicate or an indexed expression reaches storage without storage knowing what evaluates it.

use crate::Constraint;
use arrow::array::{ArrayRef, BooleanArray};
use arrow::record_batch::RecordBatch;
use quiver_base::{ColumnId, Result};
use quiver_index::Element;
use std::any::Any;
use std::fmt::Debug;

/// A predicate over rows, evaluated inside a scan before any top-k is taken.
pub trait RowFilter: Any + Send + Sync + Debug {
    /// The columns that [`RowFilter::evaluate`] wants, in the order it wants them.
    fn columns(&self) -> &[ColumnId];
    /// True for rows that pass; NULL counts as false. The batch has exactly the columns asked for.
    fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanArray>;
    /// Whether any row of a container with these statistics can pass. True when in doubt. One answer per container.
    fn may_match(&self, stats: &dyn ColumnStats) -> Vec<bool>;
    /// What the predicate confines columns to: a row that passes meets all of them.
    fn constraints(&self) -> &[Constraint] {
        &[]
    }
    /// Equal keys mean equal predicates: results may be cached under it. `None`: do not cache (volatile).
    fn cache_key(&self) -> Option<&str>;
}

/// Bytes of vectors, and their number, that are computed at once.
const COMPUTED_BYTES: u64 = 8 << 20;
const COMPUTED_ROWS_MAX: u32 = 4096;

/// Vectors that an index holds and no column does: the values of an expression.
pub trait ComputedVectors: Any + Send + Sync + Debug {
    /// The columns that [`ComputedVectors::evaluate`] wants, in the order it wants them.
    fn columns(&self) -> &[ColumnId];
    /// Dimensions of every vector.
    fn dim(&self) -> u32;
    /// What dense vectors are made of: what is kept of them.
    fn element(&self) -> Element;
    /// Whether vectors are sparse.
    fn is_sparse(&self) -> bool;
    /// Rows to compute at once, so that their vectors take little memory.
    fn batch_rows(&self) -> u32 {
        let row_bytes = if self.is_sparse() { 1024 } else { u64::from(self.dim()) * 4 };
        u32::try_from(COMPUTED_BYTES / row_bytes.max(1)).unwrap_or(u32::MAX).clamp(1, COMPUTED_ROWS_MAX)
    }
    /// A vector a row, as a fixed-size list of floats, or as the bytes of [`quiver_base::sparse`]. NULL for rows that are not in the index, and for those (dead or not yet
    /// visible ones may be among them) that the expression fails on. The batch has exactly the columns asked for.
    fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef>;
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
