//! Stored columns by column id, and their conversion to what today's layout says they are.

use crate::{ColumnDef, TableLayout};
use arrow::array::{ArrayRef, UInt32Array, new_null_array};
use arrow::compute::{cast, take};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use quiver_base::{ColumnId, Error, FIELD_ID_KEY, Result};
use std::sync::Arc;

/// The column id that a stored field carries.
pub(crate) fn column_id(field: &Field) -> Option<ColumnId> {
    field.metadata().get(FIELD_ID_KEY)?.parse().ok().map(ColumnId)
}

/// The ids of a stored batch's columns, in its order. Fields without one are left out.
pub(crate) fn column_ids(schema: &Schema) -> Vec<(ColumnId, usize)> {
    schema.fields().iter().enumerate().filter_map(|(at, field)| Some((column_id(field)?, at))).collect()
}

/// The layout's column, or an internal error: callers name columns of the layout they pass.
pub(crate) fn definition(layout: &TableLayout, id: ColumnId) -> Result<&ColumnDef> {
    layout.column(id).ok_or_else(|| Error::internal(format!("column {id} is not in the layout")))
}

/// A stored column as the layout wants it; `None` is a column that was added after the rows were written.
pub(crate) fn conform(def: &ColumnDef, stored: Option<ArrayRef>, rows: usize) -> Result<ArrayRef> {
    let wanted = def.field.data_type();
    match (stored, &def.missing) {
        (Some(array), _) if array.data_type() == wanted => Ok(array),
        (Some(array), _) => Ok(cast(&array, wanted)?),
        (None, Some(value)) => Ok(take(value, &UInt32Array::from(vec![0; rows]), None)?),
        (None, None) => Ok(new_null_array(wanted, rows)),
    }
}

/// The schema of columns as the layout names them.
pub(crate) fn schema_of(layout: &TableLayout, columns: &[ColumnId]) -> Result<SchemaRef> {
    let fields =
        columns.iter().map(|id| Ok(definition(layout, *id)?.field.clone())).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

/// A batch that may have no columns at all.
pub(crate) fn batch_of(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}
