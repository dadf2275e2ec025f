//! Keys as comparable bytes.

use arrow::array::ArrayRef;
use arrow::row::{RowConverter, Rows, SortField};
use quiver_base::Result;

/// One comparable row a key.
pub(crate) fn encode(columns: &[ArrayRef]) -> Result<Rows> {
    let fields = columns.iter().map(|array| SortField::new(array.data_type().clone())).collect();
    Ok(RowConverter::new(fields)?.convert_columns(columns)?)
}

/// One hash a key, `None` where a column is NULL.
pub(crate) fn key_hashes(columns: &[ArrayRef]) -> Result<Vec<Option<u64>>> {
    let rows = encode(columns)?;
    let hash = |(at, row): (usize, arrow::row::Row<'_>)| {
        let null = columns.iter().any(|column| column.is_null(at));
        (!null).then(|| xxhash_rust::xxh3::xxh3_64(row.as_ref()))
    };
    Ok(rows.iter().enumerate().map(hash).collect())
}
