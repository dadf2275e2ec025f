//! A small table for tests: a key, a payload column and a vector.

use crate::{ColumnDef, KeyDef, RowBatch, TableLayout};
use arrow::array::{ArrayRef, FixedSizeListBuilder, Float32Builder, Int64Array, StringArray};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use quiver_base::{ColumnId, FIELD_ID_KEY, IndexId, RowId, SqlType};
use std::sync::Arc;

pub(crate) const KEY: ColumnId = ColumnId(1);
pub(crate) const BODY: ColumnId = ColumnId(2);
pub(crate) const VECTOR: ColumnId = ColumnId(3);
pub(crate) const DIM: usize = 4;

/// A row of the test table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) id: u64,
    pub(crate) key: i64,
    pub(crate) body: Option<String>,
    pub(crate) vector: Option<[f32; DIM]>,
}

impl Row {
    pub(crate) fn new(id: u64, key: i64) -> Row {
        let x = (id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f32 / 1e6;
        Row { id, key, body: Some(format!("row {key}")), vector: Some([x, key as f32, x * x, -x]) }
    }

    pub(crate) fn without_vector(mut self) -> Row {
        self.vector = None;
        self
    }
}

/// The table's column.
pub(crate) fn column(id: ColumnId, name: &str, ty: &SqlType) -> ColumnDef {
    let field = ty.field(name, true);
    let mut metadata = field.metadata().clone();
    metadata.insert(FIELD_ID_KEY.to_owned(), id.to_string());
    ColumnDef { id, field: Arc::new(field.with_metadata(metadata)), missing: None }
}

pub(crate) fn layout() -> TableLayout {
    TableLayout {
        columns: vec![
            column(KEY, "key", &SqlType::Int8),
            column(BODY, "body", &SqlType::Text),
            column(VECTOR, "vector", &SqlType::Vector(Some(DIM as u16))),
        ],
        vector_indexes: Vec::new(),
        keys: vec![KeyDef { id: IndexId(100), columns: vec![KEY] }],
    }
}

/// Rows as a transaction writes them.
pub(crate) fn rows(rows: &[Row]) -> Arc<RowBatch> {
    let fields: Vec<_> = layout().columns.iter().map(|column| column.field.clone()).collect();
    let item = Arc::new(Field::new("item", arrow::datatypes::DataType::Float32, true));
    let mut vectors = FixedSizeListBuilder::new(Float32Builder::new(), DIM as i32).with_field(item);
    for row in rows {
        vectors.values().append_slice(&row.vector.unwrap_or_default());
        vectors.append(row.vector.is_some());
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.key))),
        Arc::new(StringArray::from_iter(rows.iter().map(|row| row.body.as_deref()))),
        Arc::new(vectors.finish()),
    ];
    let schema = Arc::new(Schema::new(fields));
    #[allow(clippy::unwrap_used)] // test data
    let batch = RecordBatch::try_new(schema, columns).unwrap();
    Arc::new(RowBatch { batch, row_ids: rows.iter().map(|row| RowId(row.id)).collect() })
}
