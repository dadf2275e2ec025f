//! Vectors of one immutable segment: distance kernels, the column file, the HNSW graph file, and the choice of
//! how to search them. Knows rows only as positions: no row ids, no SQL, no object store.

mod column;
pub mod distance;
mod hnsw;
mod mapped;
mod metric;
mod rowset;
mod segment;
mod topk;

pub use column::VectorColumn;
pub use hnsw::{BuildControl, BuildStats, HnswGraph, HnswParams};
pub use mapped::Mapped;
pub use metric::Metric;
pub use rowset::RowSet;
pub use segment::{SearchOutcome, Strategy, exact_search, search_segment};
pub use topk::{Neighbor, TopK, compare_scores};
