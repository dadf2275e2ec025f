//! A small table for tests: a key, a payload column and a vector.

use crate::{
    Allowed, ColumnDef, ColumnStats, ComputedVectors, Constraint, KeyDef, LookupDef, LookupKind, RowBatch,
    RowFilter, TableLayout,
};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeListBuilder, Float32Builder, Int64Array, StringArray,
};
use arrow::datatypes::{Field, Int64Type, Schema};
use arrow::record_batch::RecordBatch;
use quiver_base::{ColumnId, Error, FIELD_ID_KEY, IndexId, Result, RowId, SqlState, SqlType};
use std::sync::Arc;

pub(crate) const KEY: ColumnId = ColumnId(1);
pub(crate) const BODY: ColumnId = ColumnId(2);
pub(crate) const VECTOR: ColumnId = ColumnId(3);
pub(crate) const EXTRA: ColumnId = ColumnId(4);
pub(crate) const DIM: usize = 4;
/// What rows written before the extra column was added have in it.
pub(crate) const EXTRA_MISSING: i64 = 7;

/// A row of the test table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) id: u64,
    pub(crate) key: i64,
    pub(crate) body: Option<String>,
    pub(crate) vector: Option<[f32; DIM]>,
    /// `None`: written before the column was added.
    pub(crate) extra: Option<i64>,
}

impl Row {
    pub(crate) fn new(id: u64, key: i64) -> Row {
        let x = (id.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f32 / 1e6;
        Row {
            id,
            key,
            body: Some(format!("row {key}")),
            vector: Some([x, key as f32, x * x, -x]),
            extra: None,
        }
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

/// The table after ADD COLUMN extra bigint DEFAULT 7.
pub(crate) fn wide_layout() -> TableLayout {
    let mut layout = layout();
    let missing: ArrayRef = Arc::new(Int64Array::from(vec![EXTRA_MISSING]));
    layout.columns.push(ColumnDef { missing: Some(missing), ..column(EXTRA, "extra", &SqlType::Int8) });
    layout
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
        lookups: vec![LookupDef { id: IndexId(101), column: KEY, kind: LookupKind::Values }],
    }
}

/// Rows as a transaction writes them; with the extra column if the first has it.
pub(crate) fn rows(rows: &[Row]) -> Arc<RowBatch> {
    let is_wide = rows.first().is_some_and(|row| row.extra.is_some());
    let layout = if is_wide { wide_layout() } else { layout() };
    let fields: Vec<_> = layout.columns.iter().map(|column| column.field.clone()).collect();
    let item = Arc::new(Field::new("item", arrow::datatypes::DataType::Float32, true));
    let mut vectors = FixedSizeListBuilder::new(Float32Builder::new(), DIM as i32).with_field(item);
    for row in rows {
        vectors.values().append_slice(&row.vector.unwrap_or_default());
        vectors.append(row.vector.is_some());
    }
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.key))),
        Arc::new(StringArray::from_iter(rows.iter().map(|row| row.body.as_deref()))),
        Arc::new(vectors.finish()),
    ];
    if is_wide {
        columns.push(Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.extra))));
    }
    let schema = Arc::new(Schema::new(fields));
    #[allow(clippy::unwrap_used)] // test data
    let batch = RecordBatch::try_new(schema, columns).unwrap();
    Arc::new(RowBatch { batch, row_ids: rows.iter().map(|row| RowId(row.id)).collect() })
}

/// Vectors half as long as a column's; none for those that begin with a number above a bound.
#[derive(Debug)]
pub(crate) struct Halved {
    columns: [ColumnId; 1],
    dim: u16,
}

impl Halved {
    /// Vectors that begin with more are not in the index.
    pub(crate) const FIRST_MAX: f32 = 200.0;

    pub(crate) fn of(column: ColumnId, dim: u16) -> Arc<dyn ComputedVectors> {
        Arc::new(Halved { columns: [column], dim })
    }
}

impl ComputedVectors for Halved {
    fn columns(&self) -> &[ColumnId] {
        &self.columns
    }

    fn dim(&self) -> u32 {
        u32::from(self.dim)
    }

    fn element(&self) -> quiver_index::Element {
        quiver_index::Element::F32
    }

    fn is_sparse(&self) -> bool {
        false
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let vectors = batch.column(0).as_fixed_size_list();
        let item = Arc::new(Field::new("item", arrow::datatypes::DataType::Float32, true));
        let mut out = FixedSizeListBuilder::new(Float32Builder::new(), i32::from(self.dim)).with_field(item);
        for row in 0..vectors.len() {
            let values = vectors.value(row);
            let values = values.as_primitive::<arrow::datatypes::Float32Type>().values();
            out.values().append_slice(&values.iter().map(|value| value / 2.0).collect::<Vec<f32>>());
            out.append(vectors.is_valid(row) && values[0] <= Halved::FIRST_MAX);
        }
        Ok(Arc::new(out.finish()))
    }
}

/// `low <= key < high`.
#[derive(Debug)]
pub(crate) struct KeyBetween {
    columns: [ColumnId; 1],
    low: i64,
    high: i64,
    name: String,
    constraints: [Constraint; 1],
}

impl KeyBetween {
    pub(crate) fn filter(low: i64, high: i64) -> Arc<dyn RowFilter> {
        let bound = |key: i64| Some(Arc::new(Int64Array::from(vec![key])) as ArrayRef);
        let allowed = Allowed::Between(bound(low), bound(high));
        let constraints = [Constraint { column: KEY, allowed }];
        Arc::new(KeyBetween { columns: [KEY], low, high, name: format!("{low}..{high}"), constraints })
    }
}

impl RowFilter for KeyBetween {
    fn columns(&self) -> &[ColumnId] {
        &self.columns
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let keys = batch.column(0).as_primitive::<Int64Type>();
        Ok(keys.iter().map(|key| key.map(|key| self.low <= key && key < self.high)).collect())
    }

    fn may_match(&self, stats: &dyn ColumnStats) -> Vec<bool> {
        let (Some(min), Some(max)) = (stats.min(KEY), stats.max(KEY)) else {
            return vec![true; stats.containers()];
        };
        let (min, max) = (min.as_primitive::<Int64Type>(), max.as_primitive::<Int64Type>());
        let may = |(min, max): (Option<i64>, Option<i64>)| {
            min.is_none_or(|min| min < self.high) && max.is_none_or(|max| max >= self.low)
        };
        min.iter().zip(max.iter()).map(may).collect()
    }

    fn constraints(&self) -> &[Constraint] {
        &self.constraints
    }

    fn cache_key(&self) -> Option<&str> {
        Some(&self.name)
    }
}

/// Fails on rows with one key, as a division by zero would; all others pass.
#[derive(Debug)]
pub(crate) struct Refuses {
    columns: [ColumnId; 1],
    key: i64,
}

impl Refuses {
    pub(crate) fn filter(key: i64) -> Arc<dyn RowFilter> {
        Arc::new(Refuses { columns: [KEY], key })
    }
}

impl RowFilter for Refuses {
    fn columns(&self) -> &[ColumnId] {
        &self.columns
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let keys = batch.column(0).as_primitive::<Int64Type>();
        if keys.iter().flatten().any(|key| key == self.key) {
            return Err(Error::new(SqlState::DIVISION_BY_ZERO, "division by zero"));
        }
        Ok(BooleanArray::from(vec![true; keys.len()]))
    }

    fn may_match(&self, stats: &dyn ColumnStats) -> Vec<bool> {
        vec![true; stats.containers()]
    }

    fn cache_key(&self) -> Option<&str> {
        Some("refuses")
    }
}
