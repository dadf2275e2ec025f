//! Builds record batches of system relations, cell by named cell.

use super::fixed::{FixedColumn, FixedTable};
use arrow::array::{
    ArrayRef, BooleanBuilder, Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder,
    IntervalMonthDayNanoBuilder, ListBuilder, StringBuilder, TimestampMicrosecondBuilder, new_null_array,
};
use arrow::datatypes::{IntervalMonthDayNano, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use quiver_base::{Error, Result, SqlType};
use std::sync::Arc;

/// A value of a system relation.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Null,
    Bool(bool),
    /// int2, int4, int8, oid and the reg types.
    Int(i64),
    Float(f64),
    Text(String),
    /// int2vector, oidvector, int2[], oid[].
    Ints(Vec<i64>),
    /// text[], name[].
    Texts(Vec<String>),
    /// An interval without months and days, in microseconds.
    Interval(i64),
}

impl From<bool> for Cell {
    fn from(value: bool) -> Cell {
        Cell::Bool(value)
    }
}
impl From<i32> for Cell {
    fn from(value: i32) -> Cell {
        Cell::Int(value.into())
    }
}
impl From<u32> for Cell {
    fn from(value: u32) -> Cell {
        Cell::Int(value.into())
    }
}
impl From<i64> for Cell {
    fn from(value: i64) -> Cell {
        Cell::Int(value)
    }
}
impl From<usize> for Cell {
    fn from(value: usize) -> Cell {
        Cell::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}
impl From<&str> for Cell {
    fn from(value: &str) -> Cell {
        Cell::Text(value.to_owned())
    }
}
impl From<String> for Cell {
    fn from(value: String) -> Cell {
        Cell::Text(value)
    }
}
impl From<Vec<i64>> for Cell {
    fn from(value: Vec<i64>) -> Cell {
        Cell::Ints(value)
    }
}
impl From<Vec<String>> for Cell {
    fn from(value: Vec<String>) -> Cell {
        Cell::Texts(value)
    }
}
impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Cell {
        value.map_or(Cell::Null, Into::into)
    }
}

/// Rows of one relation in the making.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    columns: &'a [FixedColumn],
    cells: Vec<Vec<Cell>>,
    /// What is not said is NULL, whatever the type: so in information_schema.
    nulls: bool,
}

impl<'a> Rows<'a> {
    /// No rows yet.
    pub(super) fn new(columns: &'a [FixedColumn]) -> Self {
        Rows { columns, cells: vec![Vec::new(); columns.len()], nulls: false }
    }

    /// No rows yet, of a relation of information_schema.
    pub(super) fn with_nulls(columns: &'a [FixedColumn]) -> Self {
        Rows { nulls: true, ..Rows::new(columns) }
    }

    /// Adds a row. Columns not named take their type's plain value: false, 0, an empty list, NULL for text. Names that the
    /// relation does not have are a bug, found by the test that reads every relation.
    pub(super) fn push<const N: usize>(&mut self, values: [(&str, Cell); N]) {
        self.push_all(values);
    }

    /// The same, of as many values as there are.
    pub(super) fn push_all<'v>(&mut self, values: impl IntoIterator<Item = (&'v str, Cell)>) {
        let mut values: Vec<Option<(&str, Cell)>> = values.into_iter().map(Some).collect();
        for (column, cells) in self.columns.iter().zip(&mut self.cells) {
            let given =
                values.iter_mut().find(|it| it.as_ref().is_some_and(|(name, _)| *name == column.name));
            let cell = given.and_then(Option::take).map(|(_, cell)| cell);
            cells.push(cell.unwrap_or_else(|| if self.nulls { Cell::Null } else { plain(&column.ty) }));
        }
        debug_assert!(values.iter().all(Option::is_none), "no such column: {values:?}");
    }

    /// Adds all fixed rows of a relation with the same columns.
    pub(super) fn push_fixed(&mut self, table: &FixedTable) -> Result<()> {
        for row in &table.rows {
            for ((column, cells), value) in self.columns.iter().zip(&mut self.cells).zip(row) {
                cells.push(parse(&column.ty, value.as_deref())?);
            }
        }
        Ok(())
    }

    /// The Arrow schema.
    pub(super) fn schema(columns: &[FixedColumn]) -> SchemaRef {
        Arc::new(Schema::new(columns.iter().map(|it| it.ty.field(&it.name, true)).collect::<Vec<_>>()))
    }

    /// The batch.
    pub(super) fn finish(self) -> Result<RecordBatch> {
        let schema = Self::schema(self.columns);
        let rows = self.cells.first().map_or(0, Vec::len);
        let arrays = self
            .columns
            .iter()
            .zip(self.cells)
            .map(|(column, cells)| array(&column.ty, cells))
            .collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(schema, arrays, &options)?)
    }
}

fn plain(ty: &SqlType) -> Cell {
    match ty {
        SqlType::Bool => Cell::Bool(false),
        SqlType::Int2
        | SqlType::Int4
        | SqlType::Int8
        | SqlType::Oid
        | SqlType::Regproc
        | SqlType::Regtype
        | SqlType::Regclass => Cell::Int(0),
        SqlType::Float4 | SqlType::Float8 => Cell::Float(0.0),
        SqlType::Int2Vector | SqlType::OidVector => Cell::Ints(Vec::new()),
        _ => Cell::Null,
    }
}

/// Reads PostgreSQL's text form of the types that system relations have.
fn parse(ty: &SqlType, text: Option<&str>) -> Result<Cell> {
    let Some(text) = text else { return Ok(Cell::Null) };
    let bad = |_| Error::corrupt(format!("packed catalog: \"{text}\" as {ty}"));
    Ok(match ty {
        SqlType::Bool => Cell::Bool(text == "t"),
        SqlType::Float4 | SqlType::Float8 => Cell::Float(text.parse().map_err(|_| bad(()))?),
        SqlType::Int2Vector | SqlType::OidVector => Cell::Ints(
            text.split_ascii_whitespace().map(|it| it.parse().map_err(|_| bad(()))).collect::<Result<_>>()?,
        ),
        SqlType::Array(item) => {
            let inner = text.trim_start_matches('{').trim_end_matches('}');
            let items =
                inner.split(',').filter(|it| !it.is_empty()).map(|it| it.trim_matches('"').to_owned());
            match **item {
                SqlType::Oid | SqlType::Int2 => {
                    Cell::Ints(items.map(|it| it.parse().map_err(|_| bad(()))).collect::<Result<_>>()?)
                }
                _ => Cell::Texts(items.collect()),
            }
        }
        SqlType::Int2
        | SqlType::Int4
        | SqlType::Int8
        | SqlType::Oid
        | SqlType::Regproc
        | SqlType::Regtype
        | SqlType::Regclass => Cell::Int(text.parse().map_err(|_| bad(()))?),
        _ => Cell::Text(text.to_owned()),
    })
}

/// Collects one column through a builder; a cell of another kind is NULL there.
macro_rules! collect {
    ($builder:expr, $cells:expr, $($pattern:pat => $value:expr),+) => {{
        let mut builder = $builder;
        for cell in $cells {
            match cell {
                $($pattern => builder.append_value($value),)+
                _ => builder.append_null(),
            }
        }
        Arc::new(builder.finish()) as ArrayRef
    }};
}

fn array(ty: &SqlType, cells: Vec<Cell>) -> Result<ArrayRef> {
    Ok(match ty {
        SqlType::Bool => collect!(BooleanBuilder::new(), cells, Cell::Bool(it) => it),
        SqlType::Int2 => {
            collect!(Int16Builder::new(), cells, Cell::Int(it) => i16::try_from(it).unwrap_or(0))
        }
        SqlType::Int4 => {
            collect!(Int32Builder::new(), cells, Cell::Int(it) => i32::try_from(it).unwrap_or(0))
        }
        SqlType::Int8
        | SqlType::Oid
        | SqlType::Regproc
        | SqlType::Regtype
        | SqlType::Regclass
        | SqlType::Regnamespace => collect!(Int64Builder::new(), cells, Cell::Int(it) => it),
        SqlType::Float4 => collect!(Float32Builder::new(), cells, Cell::Float(it) => it as f32),
        SqlType::Float8 => collect!(Float64Builder::new(), cells, Cell::Float(it) => it),
        SqlType::Timestamptz(_) => {
            collect!(TimestampMicrosecondBuilder::new().with_timezone("+00:00"), cells, Cell::Int(it) => it)
        }
        SqlType::Interval(_) => collect!(IntervalMonthDayNanoBuilder::new(), cells,
            Cell::Interval(us) => IntervalMonthDayNano::new(0, 0, us.saturating_mul(1000))),
        SqlType::Int2Vector => lists(&SqlType::Int2, cells)?,
        SqlType::OidVector => lists(&SqlType::Oid, cells)?,
        SqlType::Array(item) => lists(item, cells)?,
        SqlType::Text | SqlType::Name | SqlType::Char | SqlType::Varchar(_) => {
            collect!(StringBuilder::new(), cells, Cell::Text(it) => it)
        }
        other => new_null_array(&other.arrow_type(), cells.len()),
    })
}

fn lists(item: &SqlType, cells: Vec<Cell>) -> Result<ArrayRef> {
    let field = Arc::new(item.field("item", true));
    macro_rules! ints {
        ($builder:ident, $ty:ty) => {{
            let mut lists = ListBuilder::new($builder::new()).with_field(field);
            for cell in cells {
                match cell {
                    Cell::Ints(values) => {
                        lists.append_value(
                            values.into_iter().map(|it| Some(<$ty>::try_from(it).unwrap_or(0))),
                        );
                    }
                    _ => lists.append_null(),
                }
            }
            Arc::new(lists.finish()) as ArrayRef
        }};
    }
    Ok(match item {
        SqlType::Int2 => ints!(Int16Builder, i16),
        SqlType::Oid | SqlType::Regtype => ints!(Int64Builder, i64),
        other if !matches!(other, SqlType::Text | SqlType::Name | SqlType::Char) => {
            new_null_array(&SqlType::Array(Box::new(other.clone())).arrow_type(), cells.len())
        }
        _ => {
            let mut lists = ListBuilder::new(StringBuilder::new()).with_field(field);
            for cell in cells {
                match cell {
                    Cell::Texts(values) => lists.append_value(values.into_iter().map(Some)),
                    _ => lists.append_null(),
                }
            }
            Arc::new(lists.finish())
        }
    })
}
