//! The values of pgvector's types that a client sends, and how far a query is from each, as PostgreSQL says.

use pgvector::{Bit, HalfVector, SparseVector, Vector};

/// Three rows.
pub(crate) const ROWS: [[f32; 3]; 3] = [[1.0, 0.0, 0.0], [0.0, 2.0, 0.5], [-1.0, 0.25, 1.0]];
/// What is searched for.
pub(crate) const QUERY: [f32; 3] = [1.0, 1.0, 0.0];
/// The rows by distance from the query, counted from 1, and the distances of rows 1 to 3.
pub(crate) const DISTANCES: [(&str, [i32; 3], [f64; 3]); 4] = [
    ("<->", [1, 2, 3], [1.0, 1.5, 2.358495283014151]),
    ("<#>", [2, 1, 3], [-1.0, -2.0, 0.75]),
    ("<=>", [1, 2, 3], [0.2928932188134524, 0.31400565254962866, 1.3692744729379982]),
    ("<+>", [1, 2, 3], [1.0, 2.5, 3.75]),
];

/// A table with a column of each type and of arrays of each.
pub(crate) const CREATE: &str = "CREATE TABLE vectors (id int PRIMARY KEY, vector vector(3), halfvec halfvec(3),
    sparsevec sparsevec(3), bit bit(5), vector_list vector(3)[], halfvec_list halfvec(3)[], sparsevec_list sparsevec(3)[],
    bit_list bit(5)[])";

/// A row's values of all types.
pub(crate) struct Values {
    pub(crate) vector: Vector,
    pub(crate) half: HalfVector,
    pub(crate) sparse: SparseVector,
    pub(crate) bit: Bit,
}

/// The values of a row, or of the query.
pub(crate) fn values(dense: &[f32; 3]) -> Values {
    Values {
        vector: Vector::from(dense.to_vec()),
        half: HalfVector::from_f32_slice(dense),
        sparse: SparseVector::from_dense(dense),
        bit: Bit::new(&[dense[0] > 0.0, dense[1] > 0.0, dense[2] > 0.0, true, false]),
    }
}

/// Whether two distances are equal but for rounding.
pub(crate) fn close(left: f64, right: f64) -> bool {
    (left - right).abs() < 1e-6
}
