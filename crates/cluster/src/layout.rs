//! A catalog table as storage wants it described. Layouts are kept by table, as long as the table stays the same.

use crate::{Column, Index, IndexMethod, Table};
use arrow::array::{Array, ArrayRef, BinaryArray, FixedSizeBinaryArray, StringArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field};
use hashbrown::HashMap;
use parking_lot::Mutex;
use quiver_base::{FIELD_ID_KEY, Result, SqlType, TableId};
use quiver_storage::{ColumnDef, Indexed, KeyDef, LookupDef, TableLayout, VectorIndexDef};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// Layouts by table. An entry is used only if the table's columns and indexes are the very same: a rolled-back ALTER may have
/// used the same version number. Mostly it is the same table, which is quicker to see.
#[derive(Debug, Default)]
pub(crate) struct Layouts {
    entries: Mutex<HashMap<TableId, Entry>>,
    compiler: OnceLock<Arc<dyn IndexCompiler>>,
}

#[derive(Debug)]
struct Entry {
    table: Arc<Table>,
    layout: Arc<TableLayout>,
}

/// How many tables' layouts are kept.
const LAYOUTS_MAX: usize = 65_536;

/// Says what is in an index that is over more, or less, than a column of vectors: over an expression, or over some rows.
pub trait IndexCompiler: Send + Sync + fmt::Debug {
    /// What the index of this table is over.
    fn compile(&self, table: &Table, index: &Index) -> Result<Indexed>;
}

impl Layouts {
    /// From now on indexes over expressions can be told of. The first one called counts.
    pub(crate) fn set_compiler(&self, compiler: Arc<dyn IndexCompiler>) {
        // A second one would say the same.
        let _ = self.compiler.set(compiler);
    }

    /// The table's layout.
    pub(crate) fn of(&self, table: &Arc<Table>) -> Arc<TableLayout> {
        if let Some(entry) = self.entries.lock().get_mut(&table.id) {
            if Arc::ptr_eq(&entry.table, table) {
                return entry.layout.clone();
            }
            if entry.table.columns == table.columns && entry.table.indexes == table.indexes {
                entry.table = table.clone();
                return entry.layout.clone();
            }
        }
        let layout = Arc::new(self.build(table));
        if layout.vector_indexes.iter().any(|index| matches!(index.of, Indexed::Unknown)) {
            return layout;
        }
        let mut entries = self.entries.lock();
        if entries.len() >= LAYOUTS_MAX {
            entries.clear();
        }
        entries.insert(table.id, Entry { table: table.clone(), layout: layout.clone() });
        layout
    }

    fn build(&self, table: &Table) -> TableLayout {
        let live = table.columns.iter().filter(|column| !column.dropped);
        let key = |index: &Index| KeyDef {
            id: index.id,
            columns: index.columns.iter().map(|key| key.column).collect(),
        };
        TableLayout {
            columns: live.map(column_def).collect(),
            vector_indexes: table
                .indexes
                .iter()
                .filter_map(|index| self.vector_index(table, index))
                .collect(),
            keys: unique_indexes(table).map(key).collect(),
            lookups: table.indexes.iter().filter_map(lookup).collect(),
        }
    }

    fn vector_index(&self, table: &Table, index: &Index) -> Option<VectorIndexDef> {
        let IndexMethod::Vector { metric, kind } = index.method else { return None };
        let key = index.columns.first()?;
        let column = table.columns.iter().find(|column| column.id == key.column);
        let of = match column.map(|column| &column.ty) {
            Some(SqlType::Vector(Some(_))) if index.predicate.is_none() => {
                Indexed::Column { column: key.column, rows: None }
            }
            _ => self.compiled(table, index),
        };
        Some(VectorIndexDef { id: index.id, of, metric, kind })
    }

    fn compiled(&self, table: &Table, index: &Index) -> Indexed {
        let Some(compiler) = self.compiler.get() else { return Indexed::Unknown };
        compiler.compile(table, index).unwrap_or_else(|error| {
            tracing::error!(%error, index = index.name, "what an index is over cannot be read");
            Indexed::Unknown
        })
    }
}

/// What rows are found by beside keys.
fn lookup(index: &Index) -> Option<LookupDef> {
    let column = index.columns.first()?.column;
    index.lookup().map(|kind| LookupDef { id: index.id, column, kind })
}

/// The indexes that allow a key once.
pub(crate) fn unique_indexes(table: &Table) -> impl Iterator<Item = &Index> {
    table.indexes.iter().filter(|index| index.unique && index.method == IndexMethod::BTree)
}

fn column_def(column: &Column) -> ColumnDef {
    let mut field = column.ty.field(&column.name, !column.not_null);
    field.metadata_mut().insert(FIELD_ID_KEY.to_owned(), column.id.to_string());
    let missing = column.missing.as_deref().map(|text| missing_value(&column.ty, text));
    ColumnDef { id: column.id, field: Arc::new(field), missing }
}

/// One row from a value's text form. The value was evaluated when the column was added, so text that cannot be read is not
/// expected; it reads as NULL.
fn missing_value(ty: &SqlType, text: &str) -> ArrayRef {
    parse(ty, text).unwrap_or_else(|error| {
        tracing::error!(%error, ty = %ty, text, "a column's default for older rows cannot be read");
        new_null_array(&ty.arrow_type(), 1)
    })
}

/// PostgreSQL's text form of one value as an array of one row.
fn parse(ty: &SqlType, text: &str) -> Result<ArrayRef> {
    let data_type = ty.arrow_type();
    Ok(match (&data_type, ty) {
        (DataType::Utf8, _) => Arc::new(StringArray::from(vec![text])),
        (DataType::Boolean, _) => {
            let word = if matches!(text, "t" | "true" | "on" | "1") { "true" } else { "false" };
            cast(&StringArray::from(vec![word]), &data_type)?
        }
        (DataType::Binary, SqlType::Sparsevec(_)) => {
            Arc::new(BinaryArray::from_opt_vec(vec![sparsevec(text).as_deref()]))
        }
        (DataType::Binary, SqlType::Bit(_) | SqlType::Varbit(_)) => {
            Arc::new(BinaryArray::from_vec(vec![bits(text).as_slice()]))
        }
        (DataType::Binary, _) => {
            let bytes = text.strip_prefix("\\x").and_then(from_hex);
            Arc::new(BinaryArray::from_opt_vec(vec![bytes.as_deref()]))
        }
        (DataType::FixedSizeBinary(16), _) => {
            let uuid = uuid::Uuid::parse_str(text).unwrap_or_default();
            Arc::new(FixedSizeBinaryArray::try_from_iter(std::iter::once(uuid.into_bytes()))?)
        }
        (DataType::FixedSizeList(..) | DataType::List(_), _) => parse_list(ty, &data_type, text)?,
        _ => cast(&StringArray::from(vec![text]), &data_type)?,
    })
}

fn cast(array: &dyn Array, to: &DataType) -> Result<ArrayRef> {
    Ok(cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() })?)
}

/// `{1:1.5,3:2}/5`.
fn sparsevec(text: &str) -> Option<Vec<u8>> {
    let (elements, dim) = text.strip_prefix('{')?.split_once("}/")?;
    let read = |element: &str| {
        let (index, value) = element.split_once(':')?;
        Some((index.parse::<u32>().ok()?.checked_sub(1)?, value.parse::<f32>().ok()?))
    };
    let elements = elements.split(',').filter(|element| !element.is_empty()).map(read);
    Some(quiver_base::sparse::encode(dim.parse().ok()?, &elements.collect::<Option<Vec<_>>>()?))
}

/// `101`.
fn bits(text: &str) -> Vec<u8> {
    let mut packed = vec![0_u8; text.len().div_ceil(8)];
    for (at, digit) in text.bytes().enumerate() {
        packed[at / 8] |= u8::from(digit == b'1') << (7 - at % 8);
    }
    quiver_base::bits::encode(text.len() as u32, &packed)
}

/// `[1,2]` of a vector, `{1,2}` of an array without quotes.
fn parse_list(ty: &SqlType, data_type: &DataType, text: &str) -> Result<ArrayRef> {
    let item = match ty {
        SqlType::Array(item) => (**item).clone(),
        // Items of halfvec are read as single floats, as Arrow reads no half floats.
        _ => SqlType::Float4,
    };
    let inner = text.trim().trim_start_matches(['[', '{']).trim_end_matches([']', '}']);
    let values = inner.split(',').map(str::trim).filter(|value| !value.is_empty());
    let values: Vec<Option<&str>> = values.map(|value| (value != "NULL").then_some(value)).collect();
    let items = cast(&StringArray::from(values), &item.arrow_type())?;
    let offsets = arrow::buffer::OffsetBuffer::from_lengths([items.len()]);
    let field = Arc::new(Field::new("item", items.data_type().clone(), true));
    let list = arrow::array::ListArray::try_new(field, offsets, items, None)?;
    cast(&list, data_type)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // tests
    use super::*;
    use arrow::util::display::array_value_to_string;

    #[test]
    fn text_forms_of_missing_values_are_read() {
        let cases = [
            (SqlType::Int4, "-7", "-7"),
            (SqlType::Bool, "t", "true"),
            (SqlType::Text, "a,b", "a,b"),
            (SqlType::Float8, "1.5", "1.5"),
            (SqlType::Numeric(Some((10, 2))), "3.14", "3.14"),
            (SqlType::Bytea, "\\x0aff", "0aff"),
            (SqlType::Uuid, "00000000-0000-0000-0000-000000000001", "00000000000000000000000000000001"),
            (SqlType::Vector(Some(2)), "[1,2.5]", "[1.0, 2.5]"),
            (SqlType::Halfvec(Some(2)), "[1,2.5]", "[1, 2.5]"),
            (SqlType::Halfvec(None), "[1,2.5]", "[1, 2.5]"),
            (SqlType::Sparsevec(None), "{2:1.5}/3", "0300000001000000010000000000c03f"),
            (SqlType::Bit(Some(3)), "101", "03000000a0"),
            (SqlType::Array(Box::new(SqlType::Int4)), "{1,NULL}", "[1, ]"),
            (SqlType::Date, "2024-02-29", "2024-02-29"),
            (SqlType::Timestamptz(None), "2024-02-29 12:00:00+00", "2024-02-29T12:00:00Z"),
        ];
        for (ty, text, shown) in cases {
            let array = parse(&ty, text).unwrap_or_else(|error| panic!("{ty}: {error}"));
            assert_eq!(array.data_type(), &ty.arrow_type());
            assert_eq!(array_value_to_string(&array, 0).unwrap(), shown, "{ty}");
        }
    }
}
