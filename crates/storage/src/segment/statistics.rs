//! What a segment's Parquet footer knows of each row group, as predicates want it.

use super::data_file::DataFile;
use crate::columns::conform;
use crate::{ColumnDef, ColumnStats, TableLayout};
use arrow::array::{ArrayRef, Float32Array, Float64Array, UInt64Array};
use arrow::datatypes::DataType;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use quiver_base::ColumnId;
use std::sync::Arc;

/// Statistics of each row group.
#[derive(Debug)]
pub struct SegmentStatistics {
    file: Arc<DataFile>,
    columns: Vec<ColumnDef>,
}

#[derive(Clone, Copy)]
enum End {
    Min,
    Max,
}

impl SegmentStatistics {
    pub(super) fn new(file: Arc<DataFile>, layout: &TableLayout) -> SegmentStatistics {
        SegmentStatistics { file, columns: layout.columns.clone() }
    }

    fn column(&self, id: ColumnId) -> Option<&ColumnDef> {
        self.columns.iter().find(|column| column.id == id)
    }

    fn bound(&self, id: ColumnId, end: End) -> Option<ArrayRef> {
        let column = self.column(id)?;
        let data_type = column.field.data_type();
        let Some(place) = self.file.column(id) else {
            return conform(column, None, self.containers()).ok();
        };
        if let (true, End::Max) = (self.file.has_nan(id), end) {
            // PostgreSQL's and Arrow's order: NaN is above all.
            return match data_type {
                DataType::Float32 => Some(Arc::new(Float32Array::from(vec![f32::NAN; self.containers()]))),
                DataType::Float64 => Some(Arc::new(Float64Array::from(vec![f64::NAN; self.containers()]))),
                _ => None,
            };
        }
        let converter = self.converter(place)?;
        let groups = self.file.metadata().row_groups();
        let bounds = match end {
            End::Min => converter.row_group_mins(groups),
            End::Max => converter.row_group_maxes(groups),
        };
        // Intervals are stored as bytes, whose order is not theirs.
        bounds.ok().filter(|bounds| bounds.data_type() == data_type)
    }

    /// `None` for nested columns.
    fn converter(&self, place: usize) -> Option<StatisticsConverter<'_>> {
        let schema = self.file.schema();
        if schema.field(place).data_type().is_nested() {
            return None;
        }
        StatisticsConverter::try_new(schema.field(place).name(), schema, self.file.parquet_schema()).ok()
    }
}

impl ColumnStats for SegmentStatistics {
    fn containers(&self) -> usize {
        self.file.metadata().num_row_groups()
    }

    fn min(&self, column: ColumnId) -> Option<ArrayRef> {
        self.bound(column, End::Min)
    }

    fn max(&self, column: ColumnId) -> Option<ArrayRef> {
        self.bound(column, End::Max)
    }

    fn null_counts(&self, column: ColumnId) -> Option<ArrayRef> {
        let Some(place) = self.file.column(column) else {
            let absent = self.column(column)?.missing.as_ref().is_none_or(|value| value.is_null(0));
            let rows = self.file.row_groups().into_iter().map(|rows| rows.len() as u64);
            return Some(Arc::new(UInt64Array::from_iter_values(
                rows.map(|rows| if absent { rows } else { 0 }),
            )));
        };
        let counts = self.converter(place)?.row_group_null_counts(self.file.metadata().row_groups()).ok()?;
        Some(Arc::new(counts))
    }

    fn row_counts(&self) -> ArrayRef {
        let rows = self.file.row_groups().into_iter().map(|rows| rows.len() as u64);
        Arc::new(UInt64Array::from_iter_values(rows))
    }
}
