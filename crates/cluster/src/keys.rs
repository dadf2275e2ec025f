//! Keys of rows on their way in: their bytes and hashes, duplicates among them, their shard, and how an error shows them.

use crate::Table;
use crate::layout::unique_indexes;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float32Type};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use quiver_base::bits::BitsRef;
use quiver_base::sparse::SparseRef;
use quiver_base::{ColumnId, Error, IndexId, Result, SqlState, SqlType};
use quiver_storage::{KeyDef, KeyEncoder, TableLayout, key_hash};

/// The values of one key over a batch of rows.
#[derive(Debug)]
pub(crate) struct KeyValues {
    pub(crate) def: KeyDef,
    /// One array a key column.
    pub(crate) values: Vec<ArrayRef>,
    /// One a row: bytes and hash; `None` where a value is NULL, as such a row conflicts with nothing.
    pub(crate) encoded: Vec<Option<(Vec<u8>, u64)>>,
}

impl KeyValues {
    pub(crate) fn new(layout: &TableLayout, def: &KeyDef, batch: &RecordBatch) -> Result<KeyValues> {
        let values = columns(layout, batch, &def.columns)?;
        let mut encoded = Vec::with_capacity(batch.num_rows());
        let encoder = KeyEncoder::new(&values)?;
        for row in 0..batch.num_rows() {
            let mut key = Vec::with_capacity(8 * values.len());
            encoded.push(encoder.encode(row, &mut key).then(|| {
                let hash = key_hash(&key);
                (key, hash)
            }));
        }
        drop(encoder);
        Ok(KeyValues { def: def.clone(), values, encoded })
    }

    pub(crate) fn hash(&self, row: usize) -> Option<u64> {
        self.encoded[row].as_ref().map(|(_, hash)| *hash)
    }

    pub(crate) fn bytes(&self, row: usize) -> Option<&[u8]> {
        self.encoded[row].as_ref().map(|(key, _)| key.as_slice())
    }
}

/// The key columns' arrays of a batch that has the layout's columns.
pub(crate) fn columns(layout: &TableLayout, batch: &RecordBatch, ids: &[ColumnId]) -> Result<Vec<ArrayRef>> {
    let position = |id: &ColumnId| {
        let at = layout.columns.iter().position(|column| column.id == *id);
        at.map(|at| batch.column(at).clone()).ok_or_else(|| Error::internal(format!("no column {id}")))
    };
    ids.iter().map(position).collect()
}

/// Which of the table's shards each row belongs to, by position. Rows of a table without a shard key go to the first.
pub(crate) fn shard_positions(
    table: &Table,
    layout: &TableLayout,
    batch: &RecordBatch,
) -> Result<Vec<usize>> {
    let shards = table.shards.len();
    if shards == 0 {
        return Err(Error::internal(format!("table {} has no shards", table.id)));
    }
    if shards == 1 || table.shard_key.is_empty() {
        return Ok(vec![0; batch.num_rows()]);
    }
    let values = columns(layout, batch, &table.shard_key)?;
    let encoder = KeyEncoder::new(&values)?;
    let mut key = Vec::new();
    let position = |row| {
        key.clear();
        if encoder.encode(row, &mut key) { (key_hash(&key) % shards as u64) as usize } else { 0 }
    };
    Ok((0..batch.num_rows()).map(position).collect())
}

/// Whether equal keys are always in the same shard.
pub(crate) fn is_routed_by(table: &Table, key: &KeyDef) -> bool {
    !table.shard_key.is_empty() && table.shard_key.iter().all(|column| key.columns.contains(column))
}

/// `duplicate key value violates unique constraint …` for one row of a batch.
pub(crate) fn duplicate_key(table: &Table, schema: &str, key: &KeyValues, row: usize) -> Error {
    let name = index_name(table, key.def.id);
    Error::new(
        SqlState::UNIQUE_VIOLATION,
        format!("duplicate key value violates unique constraint \"{name}\""),
    )
    .with_detail(format!("Key {} already exists.", shown(table, key, row)))
    .with_table(schema, &table.name)
    .with_constraint(name)
}

/// `could not create unique index …` for a row whose key an earlier one has.
pub(crate) fn cannot_create(table: &Table, schema: &str, key: &KeyValues, row: usize) -> Error {
    let name = index_name(table, key.def.id);
    Error::new(SqlState::UNIQUE_VIOLATION, format!("could not create unique index \"{name}\""))
        .with_detail(format!("Key {} is duplicated.", shown(table, key, row)))
        .with_table(schema, &table.name)
        .with_constraint(name)
}

fn index_name(table: &Table, index: IndexId) -> &str {
    unique_indexes(table).find(|candidate| candidate.id == index).map_or("?", |index| &index.name)
}

/// `(a, b)=(1, x)`.
fn shown(table: &Table, key: &KeyValues, row: usize) -> String {
    let name = |id: &ColumnId| {
        let column = table.columns.iter().find(|column| column.id == *id);
        column.map_or("?", |column| column.name.as_str())
    };
    let names: Vec<&str> = key.def.columns.iter().map(name).collect();
    let ty = |id: &ColumnId| table.columns.iter().find(|column| column.id == *id).map(|column| &column.ty);
    let types = key.def.columns.iter().map(ty);
    let values: Vec<String> =
        key.values.iter().zip(types).map(|(array, ty)| shown_value(array, ty, row)).collect();
    format!("({})=({})", names.join(", "), values.join(", "))
}

fn shown_value(array: &ArrayRef, ty: Option<&SqlType>, row: usize) -> String {
    if array.is_null(row) {
        return "null".to_owned();
    }
    if let Some(text) = ty.and_then(|ty| shown_vector(array, ty, row)) {
        return text;
    }
    if let Some(flags) = array.as_any().downcast_ref::<arrow::array::BooleanArray>() {
        return if flags.value(row) { "t" } else { "f" }.to_owned();
    }
    if let Some(bytes) = array.as_any().downcast_ref::<arrow::array::FixedSizeBinaryArray>() {
        return uuid::Uuid::from_slice(bytes.value(row))
            .map_or_else(|_| "?".to_owned(), |uuid| uuid.to_string());
    }
    let options = FormatOptions::new()
        .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
        .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f+00"));
    ArrayFormatter::try_new(array.as_ref(), &options)
        .map_or_else(|_| "?".to_owned(), |formatter| formatter.value(row).to_string())
}

/// pgvector's types and bit strings; `None` for all others.
fn shown_vector(array: &ArrayRef, ty: &SqlType, row: usize) -> Option<String> {
    let list = |items: ArrayRef| {
        let items = arrow::compute::cast(&items, &DataType::Float32).ok()?;
        let items = items.as_primitive::<Float32Type>().values().iter().map(ToString::to_string);
        Some(format!("[{}]", items.collect::<Vec<_>>().join(",")))
    };
    match ty {
        SqlType::Vector(_) | SqlType::Halfvec(_) => match array.as_fixed_size_list_opt() {
            Some(lists) => list(lists.value(row)),
            None => list(array.as_list_opt::<i32>()?.value(row)),
        },
        SqlType::Sparsevec(_) => {
            let value = SparseRef::read(array.as_binary_opt::<i32>()?.value(row)).ok()?;
            let elements = value.iter().map(|(index, element)| format!("{}:{element}", index + 1));
            Some(format!("{{{}}}/{}", elements.collect::<Vec<_>>().join(","), value.dim()))
        }
        SqlType::Bit(_) | SqlType::Varbit(_) => {
            let value = BitsRef::read(array.as_binary_opt::<i32>()?.value(row)).ok()?;
            Some((0..value.len()).map(|at| if value.bit(at) { '1' } else { '0' }).collect())
        }
        _ => None,
    }
}
