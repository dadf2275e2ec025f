//! The Parquet object of a segment, opened: where its columns are and how runs of rows are decoded.

use super::source::Source;
use super::{COMMIT_TS_FIELD_ID, NAN_COLUMNS_KEY, SegmentMeta, object_error};
use crate::objects::BlockMap;
use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use parquet::schema::types::SchemaDescriptor;
use quiver_base::{ColumnId, Error, FIELD_ID_KEY, Result};
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

/// Bytes of a block, decoded, that the number of rows in it aims at; about a page.
const BLOCK_BYTES: u64 = 64 * 1024;
const BLOCK_ROWS: Range<u64> = 64..4096;

#[derive(Debug)]
pub(super) struct DataFile {
    path: String,
    source: Source,
    metadata: ArrowReaderMetadata,
    /// Place in the file by column id.
    columns: HashMap<ColumnId, usize>,
    commit_ts: usize,
    nan_columns: HashSet<ColumnId>,
    /// First row of each row group, and the number of rows.
    starts: Vec<u32>,
    /// Rows of a block, by place.
    block_rows: Vec<u32>,
}

impl DataFile {
    pub(super) fn open(map: BlockMap, meta: &SegmentMeta) -> Result<DataFile> {
        let path = &meta.data.path;
        let damaged = |what: &str| Error::corrupt(format!("object \"{path}\": {what}"));
        let source = Source(Arc::new(map));
        let options = ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Optional);
        let metadata = ArrowReaderMetadata::load(&source, options)
            .map_err(|e| source.0.damage().unwrap_or_else(|| object_error(path, e)))?;
        let starts = group_starts(metadata.metadata(), meta.rows)
            .ok_or_else(|| damaged("not as many rows as the manifest says"))?;
        let (mut columns, mut commit_ts) = (HashMap::new(), None);
        for (at, field) in metadata.schema().fields().iter().enumerate() {
            let id = field.metadata().get(FIELD_ID_KEY).and_then(|id| id.parse::<i32>().ok());
            match id {
                Some(COMMIT_TS_FIELD_ID) => commit_ts = Some(at),
                Some(id) => drop(u16::try_from(id).map(|id| columns.insert(ColumnId(id), at))),
                None => {}
            }
        }
        if !meta.columns.iter().all(|id| columns.contains_key(id)) {
            return Err(damaged("a column that the manifest names is missing"));
        }
        Ok(DataFile {
            path: path.clone(),
            columns,
            commit_ts: commit_ts.ok_or_else(|| damaged("no commit timestamps"))?,
            nan_columns: nan_columns(metadata.metadata()),
            starts,
            block_rows: block_rows(metadata.metadata(), metadata.schema().fields().len()),
            source,
            metadata,
        })
    }

    pub(super) fn column(&self, id: ColumnId) -> Option<usize> {
        self.columns.get(&id).copied()
    }

    pub(super) fn commit_ts(&self) -> usize {
        self.commit_ts
    }

    /// Whether a float column holds a NaN, which the statistics do not show.
    pub(super) fn has_nan(&self, id: ColumnId) -> bool {
        self.nan_columns.contains(&id)
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    pub(super) fn metadata(&self) -> &ParquetMetaData {
        self.metadata.metadata()
    }

    pub(super) fn parquet_schema(&self) -> &SchemaDescriptor {
        self.metadata.parquet_schema()
    }

    pub(super) fn row_groups(&self) -> Vec<Range<u32>> {
        self.starts.windows(2).map(|pair| pair[0]..pair[1]).collect()
    }

    /// The rows of a row group.
    pub(super) fn group(&self, group: usize) -> Range<u32> {
        self.starts[group]..self.starts[group + 1]
    }

    /// The row group that a row is in.
    pub(super) fn group_of(&self, position: u32) -> usize {
        self.starts.partition_point(|start| *start <= position) - 1
    }

    pub(super) fn block_rows(&self, column: usize) -> u32 {
        self.block_rows[column]
    }

    /// Decodes rows of a row group, counted within it, as arrays of a block each; the last may be shorter.
    pub(super) fn decode(&self, column: usize, group: usize, rows: Range<u32>) -> Result<Vec<ArrayRef>> {
        // The Parquet reader turns the errors of its source into text.
        let failed = |e| self.source.0.damage().unwrap_or_else(|| object_error(&self.path, e));
        self.try_decode(column, group, rows).map_err(failed)
    }

    fn try_decode(
        &self,
        column: usize,
        group: usize,
        rows: Range<u32>,
    ) -> Result<Vec<ArrayRef>, ParquetError> {
        let group_rows = self.group(group).len();
        let wanted = rows.start as usize..rows.end as usize;
        let selection = RowSelection::from_consecutive_ranges(std::iter::once(wanted), group_rows);
        let reader =
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.source.clone(), self.metadata.clone())
                .with_projection(ProjectionMask::roots(self.parquet_schema(), [column]))
                .with_row_groups(vec![group])
                .with_row_selection(selection)
                .with_batch_size(self.block_rows[column] as usize)
                .build()?;
        let arrays: Vec<ArrayRef> =
            reader.map(|batch| Ok(batch?.column(0).clone())).collect::<Result<_, ParquetError>>()?;
        let decoded: usize = arrays.iter().map(|array| array.len()).sum();
        if decoded != rows.len() {
            return Err(ParquetError::General(format!("decoded {decoded} rows of {}", rows.len())));
        }
        Ok(arrays)
    }
}

/// First row of each row group, and the number of rows; `None` if that is not `rows`.
fn group_starts(metadata: &ParquetMetaData, rows: u32) -> Option<Vec<u32>> {
    let mut starts = vec![0u32];
    for group in metadata.row_groups() {
        let end = starts[starts.len() - 1].checked_add(u32::try_from(group.num_rows()).ok()?)?;
        starts.push(end);
    }
    (starts[starts.len() - 1] == rows).then_some(starts)
}

fn nan_columns(metadata: &ParquetMetaData) -> HashSet<ColumnId> {
    let entries = metadata.file_metadata().key_value_metadata().into_iter().flatten();
    let list =
        entries.filter(|entry| entry.key == NAN_COLUMNS_KEY).filter_map(|entry| entry.value.as_deref());
    list.flat_map(|ids| ids.split(',')).filter_map(|id| Some(ColumnId(id.parse().ok()?))).collect()
}

/// Wide columns get short blocks.
fn block_rows(metadata: &ParquetMetaData, columns: usize) -> Vec<u32> {
    let schema = metadata.file_metadata().schema_descr();
    let mut bytes = vec![0u64; columns];
    for group in metadata.row_groups() {
        for (leaf, chunk) in group.columns().iter().enumerate() {
            if let Some(bytes) = bytes.get_mut(schema.get_column_root_idx(leaf)) {
                *bytes += u64::try_from(chunk.uncompressed_size()).unwrap_or(0);
            }
        }
    }
    let rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
    let block = |bytes: u64| {
        let row_bytes = (bytes / rows.max(1)).max(1);
        (BLOCK_BYTES / row_bytes).clamp(BLOCK_ROWS.start, BLOCK_ROWS.end).next_power_of_two() as u32
    };
    bytes.into_iter().map(block).collect()
}
