//! What the catalog tells storage about a table, with every read and every job. Storage keeps no schema of its own:
//! stored batches and files carry column ids, and a layout says how to read them today.

use arrow::array::ArrayRef;
use arrow::datatypes::FieldRef;
use quiver_base::{ColumnId, IndexId};
use quiver_index::{HnswParams, Metric};

/// A live column.
#[derive(Clone, Debug)]
pub struct ColumnDef {
    /// Its attnum; what stored data is found by.
    pub id: ColumnId,
    /// Today's name, Arrow type and metadata (with [`quiver_base::FIELD_ID_KEY`] set to the id).
    pub field: FieldRef,
    /// The value, one row long, of rows written before the column existed; NULL if absent.
    pub missing: Option<ArrayRef>,
}

/// A vector index that every sealed segment should have.
#[derive(Clone, Debug)]
pub struct VectorIndexDef {
    /// The index's oid.
    pub id: IndexId,
    /// The vector column.
    pub column: ColumnId,
    /// The distance the graph is built for.
    pub metric: Metric,
    /// Build parameters.
    pub params: HnswParams,
}

/// Columns that identify a row: of a primary key, a UNIQUE constraint or a unique index. Rows with a NULL among them
/// are not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDef {
    /// The constraint's index oid.
    pub id: IndexId,
    /// Its columns in key order.
    pub columns: Vec<ColumnId>,
}

/// A table as storage sees it.
#[derive(Clone, Debug, Default)]
pub struct TableLayout {
    /// Live columns in attnum order.
    pub columns: Vec<ColumnDef>,
    /// Vector indexes.
    pub vector_indexes: Vec<VectorIndexDef>,
    /// Keys.
    pub keys: Vec<KeyDef>,
}

impl TableLayout {
    /// The live column with this id.
    pub fn column(&self, id: ColumnId) -> Option<&ColumnDef> {
        self.columns.iter().find(|column| column.id == id)
    }
}
