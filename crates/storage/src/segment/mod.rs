//! Sealed segments: the objects that hold a shard's rows, how they are written and how they are read. Knows positions,
//! columns and layouts; knows no visibility, no transactions and no manifest.

mod blocks;
mod cold;
mod data_file;
mod deletes;
mod extend;
mod lazy;
mod meta;
mod parts;
mod reader;
mod row_ids;
mod source;
mod statistics;
mod stored;
mod vector_spill;
mod writer;

pub(crate) use cold::{ColdLists, ColdSource, Reading};
pub use extend::IndexedRows;
pub(crate) use meta::LookupFile;
pub use meta::{DeletesRef, SegmentMeta};
pub use parts::{BuiltIndex, KeyMatch};
pub use reader::{Opened, Segment};
pub use row_ids::RowIds;
pub use statistics::SegmentStatistics;
pub use writer::SegmentWriter;

use parquet::errors::ParquetError;
use quiver_base::{Error, SegmentId, ShardId};

/// Parquet field ids of the columns that no user made: beyond any attnum; the first as Iceberg has it.
const ROW_ID_FIELD_ID: i32 = 2_147_483_540;
const COMMIT_TS_FIELD_ID: i32 = 2_147_483_530;

/// File metadata: ids of float columns that hold a NaN, which Parquet's statistics leave out.
const NAN_COLUMNS_KEY: &str = "quiver.nan_columns";

/// A path that no object has had: a job that is tried again must not write over what a manifest names.
fn unique_path(shard: ShardId, segment: SegmentId, name: &str, extension: &str) -> String {
    let unique = uuid::Uuid::new_v4().as_fields().0;
    format!("shards/{shard}/{segment}/{name}-{unique:08x}.{extension}")
}

/// A failed read or write of a Parquet object, by name. A full disk stays one.
fn object_error(path: &str, error: ParquetError) -> Error {
    if let ParquetError::External(source) = error {
        return match source.downcast::<std::io::Error>() {
            Ok(error) => Error::io(format!("object \"{path}\""), *error),
            Err(other) => Error::internal(format!("object \"{path}\": {other}")),
        };
    }
    Error::corrupt(format!("object \"{path}\": {error}"))
}

#[cfg(test)]
mod tests;
