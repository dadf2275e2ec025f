//! A collection as DataFusion sees it.

use quiver_cluster::Table;
use std::sync::Arc;

/// Hidden column (bigint): the row's shard. Only in tables made with `with_row_refs`.
pub const SHARD_COLUMN: &str = "__quiver_shard";
/// Hidden column (bigint): the row's id in its shard.
pub const ROW_COLUMN: &str = "__quiver_row";

/// A table provider over a catalog table. Holds no snapshot: a scan finds the statement's through the task context.
#[derive(Debug)]
pub struct CollectionTable {
    /// The catalog's description at planning time.
    pub table: Arc<Table>,
    /// Whether the two hidden columns follow the live ones: for the target of UPDATE and DELETE.
    pub with_row_refs: bool,
}
