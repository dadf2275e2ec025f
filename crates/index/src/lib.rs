//! Skeleton of the index crate's vocabulary.

use serde::{Deserialize, Serialize};

/// A distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Metric {
    /// Euclidean.
    L2,
    /// Negative inner product.
    InnerProduct,
    /// 1 - cosine similarity.
    Cosine,
    /// Taxicab.
    L1,
}

/// Build parameters of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HnswParams {
    /// Links per node and layer; twice as many at the bottom.
    pub m: u16,
    /// Candidates kept while building.
    pub ef_construction: u16,
}
