//! What the catalog tells storage about a table, with every read and every job. Storage keeps no schema of its own:
//! stored batches and files carry column ids, and a layout says how to read them today.

use crate::{ComputedVectors, LookupDef, RowFilter};
use arrow::array::ArrayRef;
use arrow::datatypes::FieldRef;
use quiver_base::{ColumnId, IndexId};
use quiver_index::{Metric, VectorIndexKind};
use std::sync::Arc;

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
    /// Which vectors are in it.
    pub of: Indexed,
    /// The distance it is built for.
    pub metric: Metric,
    /// Kind and build parameters.
    pub kind: VectorIndexKind,
}

/// What a vector index is over.
#[derive(Clone, Debug)]
pub enum Indexed {
    /// A `vector(n)` column: all of its rows, or those that pass a filter.
    Column {
        /// The column.
        column: ColumnId,
        /// Which rows are indexed; all if absent.
        rows: Option<Arc<dyn RowFilter>>,
    },
    /// Vectors that are computed from a row's columns. Segments keep them in a file of the index's own.
    Computed(Arc<dyn ComputedVectors>),
    /// Nobody can say yet: what there is of the index is kept, and nothing is built or searched.
    Unknown,
}

impl VectorIndexDef {
    /// The column of an index over all rows of one.
    pub(crate) fn whole_column(&self) -> Option<ColumnId> {
        match &self.of {
            Indexed::Column { column, rows: None } => Some(*column),
            _ => None,
        }
    }
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
    /// Indexes that rows of a filter are found by.
    pub lookups: Vec<LookupDef>,
}

impl TableLayout {
    /// The vector index with this id.
    pub fn vector_index(&self, id: IndexId) -> Option<&VectorIndexDef> {
        self.vector_indexes.iter().find(|index| index.id == id)
    }

    /// The live column with this id.
    pub fn column(&self, id: ColumnId) -> Option<&ColumnDef> {
        self.columns.iter().find(|column| column.id == id)
    }
}
