//! Vectors of one immutable segment: distance kernels, codes, the column file, the files of graphs and of lists, and the
//! choice of how to search them. Knows rows only as positions: no row ids, no SQL, no object store.

mod column;
mod column_parts;
pub mod distance;
mod element;
mod hnsw;
mod ivf;
mod mapped;
mod metric;
pub mod rabitq;
mod row_codes;
mod rowset;
mod scorer;
mod segment;
mod sieve;
mod sparse;
mod topk;
mod vector_index;

pub use column::VectorColumn;
pub use column_parts::{ColumnHead, ColumnParts};
pub use element::Element;
pub use hnsw::{BuildControl, BuildStats, Earlier, HnswGraph, HnswParams, Quantization};
pub use ivf::{IvfIndex, IvfParams, ListHead, ListSource, WantedList, WantedVector};
pub use mapped::Mapped;
pub use metric::Metric;
pub use row_codes::{AskedCodes, RowCodes};
pub use rowset::RowSet;
pub use segment::{
    Expected, SearchOutcome, Strategy, exact_search, range_segment, search_segment, sifted_search,
};
pub use sparse::{SparseBuilder, SparseIndex, SparseVector};
pub use topk::{Neighbor, TopK, compare_scores};
pub use vector_index::{Effort, Rival, VectorIndex, VectorIndexKind};
