//! Rows become the objects of a segment: Parquet, flat vector files, key indexes. Rows go by once; what must be seen twice
//! waits in scratch files, so memory holds a row group and the key hashes.

use super::row_ids::RowIdsBuilder;
use super::stored::{convert, stored_field};
use super::vector_spill::VectorSpill;
use super::{COMMIT_TS_FIELD_ID, NAN_COLUMNS_KEY, ROW_ID_FIELD_ID, object_error, unique_path};
use crate::columns::{column_ids, conform};
use crate::key::{KeyEncoder, key_hash};
use crate::key_index::KeyIndexBuilder;
use crate::objects::{ObjectRef, ObjectWriter};
use crate::{ColumnDef, KeyDef, LookupCode, LookupDef, SegmentMeta, StorageEnv, TableLayout};
use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use quiver_base::{
    ColumnId, Error, FIELD_ID_KEY, Reservation, Result, RowId, SegmentId, ShardId, SqlState, Timestamp,
};
use quiver_index::Element;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Pages end at whichever comes first, so that a few rows can be fetched without much around them.
const PAGE_ROWS_MAX: usize = 4096;
const PAGE_BYTES: usize = 64 * 1024;
/// Vectors are read from their own files; here they need no index of small pages.
const VECTOR_PAGE_BYTES: usize = 4 << 20;
/// Rows of a row group wait in memory until it is full.
const ROW_GROUP_BYTES_MAX: usize = 128 << 20;
/// A dictionary is read before any page that uses it.
const DICTIONARY_BYTES_MAX: usize = 64 * 1024;

/// Writes one segment. Dropped before [`SegmentWriter::finish`], it leaves no object.
pub struct SegmentWriter {
    env: Arc<StorageEnv>,
    shard: ShardId,
    segment: SegmentId,
    columns: Vec<ColumnDef>,
    schema: SchemaRef,
    parquet: ArrowWriter<ObjectWriter>,
    vectors: Vec<(usize, VectorSpill)>,
    keys: Vec<(KeyDef, Vec<usize>, KeyIndexBuilder)>,
    lookups: Vec<(LookupDef, LookupCode, usize, KeyIndexBuilder)>,
    nan_columns: BTreeSet<ColumnId>,
    row_ids: RowIdsBuilder,
    rows: u32,
    timestamps: Option<(Timestamp, Timestamp)>,
    /// For the row group that is being filled. A flush frees more than it takes, so it is not refused.
    memory: Reservation,
}

impl std::fmt::Debug for SegmentWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SegmentWriter({}/{}, {} rows)", self.shard, self.segment, self.rows)
    }
}

impl SegmentWriter {
    /// Begins a segment with the columns and keys of `layout`.
    pub fn new(
        env: &Arc<StorageEnv>,
        shard: ShardId,
        segment: SegmentId,
        layout: &TableLayout,
    ) -> Result<SegmentWriter> {
        let columns = layout.columns.clone();
        let schema = stored_schema(&columns);
        let object = env.objects.create(&unique_path(shard, segment, "data", "parquet"))?;
        let path = object.path().to_owned();
        let properties = properties(&columns, env.options.row_group_rows);
        let parquet = ArrowWriter::try_new(object, schema.clone(), Some(properties))
            .map_err(|e| object_error(&path, e))?;
        let mut vectors = Vec::new();
        for (at, column) in columns.iter().enumerate() {
            if let Some(dim) = vector_dim(column.field.data_type()) {
                vectors.push((at, VectorSpill::new(&env.objects, dim, Element::F32)?));
            }
        }
        let mut keys = Vec::new();
        for key in &layout.keys {
            let places = key.columns.iter().map(|id| place(&columns, *id)).collect::<Result<_>>()?;
            keys.push((key.clone(), places, KeyIndexBuilder::new(&env.memory)));
        }
        let mut lookups = Vec::new();
        for def in &layout.lookups {
            let at = place(&columns, def.column)?;
            for code in LookupCode::of(def.kind, columns[at].field.data_type()) {
                lookups.push((*def, *code, at, KeyIndexBuilder::new(&env.memory)));
            }
        }
        Ok(SegmentWriter {
            env: env.clone(),
            shard,
            segment,
            columns,
            schema,
            parquet,
            vectors,
            keys,
            lookups,
            nan_columns: BTreeSet::new(),
            row_ids: RowIdsBuilder::default(),
            rows: 0,
            timestamps: None,
            memory: env.memory.empty(),
        })
    }

    /// Adds rows. Columns are found by [`quiver_base::FIELD_ID_KEY`]: those that the layout lacks are left out, those that the
    /// batch lacks get the layout's missing value. Row ids must ascend over all calls.
    pub fn append(&mut self, batch: &RecordBatch, row_ids: &[RowId], commit_ts: &[Timestamp]) -> Result<()> {
        let rows = batch.num_rows();
        if row_ids.len() != rows || commit_ts.len() != rows {
            return Err(Error::internal("rows, row ids and commit timestamps differ in number"));
        }
        if rows > (u32::MAX - self.rows) as usize {
            return Err(Error::internal("too many rows for one segment"));
        }
        if !row_ids.iter().all(|id| self.row_ids.push(*id)) {
            return Err(Error::internal("row ids of a segment do not ascend"));
        }
        for ts in commit_ts {
            let (min, max) = self.timestamps.unwrap_or((*ts, *ts));
            self.timestamps = Some((min.min(*ts), max.max(*ts)));
        }
        let arrays = self.columns_of(batch)?;
        self.append_keys(&arrays, rows)?;
        self.append_lookups(&arrays)?;
        for (at, spill) in &mut self.vectors {
            spill.append(&arrays[*at])?;
        }
        for (column, array) in self.columns.iter().zip(&arrays) {
            if has_nan(array) {
                self.nan_columns.insert(column.id);
            }
        }
        self.append_parquet(arrays, row_ids, commit_ts)?;
        self.rows += rows as u32;
        Ok(())
    }

    /// The layout's columns of a batch.
    fn columns_of(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let places: HashMap<ColumnId, usize> = column_ids(batch.schema_ref()).into_iter().collect();
        self.columns
            .iter()
            .map(|column| match places.get(&column.id) {
                Some(at) => convert(batch.column(*at), column.field.data_type()),
                None => conform(column, None, batch.num_rows()),
            })
            .collect()
    }

    /// An index of values that there is no memory for is left out: rows must get to disk without it, and are searched without it.
    fn append_lookups(&mut self, arrays: &[ArrayRef]) -> Result<()> {
        let mut failed = Ok(());
        self.lookups.retain_mut(|(_, code, at, index)| {
            match index.add_codes(&arrays[*at], *code, self.rows) {
                Err(error) if error.state() == SqlState::OUT_OF_MEMORY => false,
                Err(error) => {
                    failed = Err(error);
                    true
                }
                Ok(()) => true,
            }
        });
        failed
    }

    fn append_keys(&mut self, arrays: &[ArrayRef], rows: usize) -> Result<()> {
        let mut bytes = Vec::new();
        for (_, places, index) in &mut self.keys {
            let values: Vec<ArrayRef> = places.iter().map(|at| arrays[*at].clone()).collect();
            let encoder = KeyEncoder::new(&values)?;
            index.reserve(rows)?;
            for row in 0..rows {
                bytes.clear();
                if encoder.encode(row, &mut bytes) {
                    index.add(key_hash(&bytes), self.rows + row as u32);
                }
            }
        }
        Ok(())
    }

    fn append_parquet(
        &mut self,
        arrays: Vec<ArrayRef>,
        row_ids: &[RowId],
        commit_ts: &[Timestamp],
    ) -> Result<()> {
        let fields = self.schema.fields();
        let mut stored: Vec<ArrayRef> = arrays
            .iter()
            .zip(fields)
            .map(|(array, field)| convert(array, field.data_type()))
            .collect::<Result<_>>()?;
        // Both stay far below 2^63.
        stored.push(Arc::new(Int64Array::from_iter_values(row_ids.iter().map(|id| id.0 as i64))));
        stored.push(Arc::new(Int64Array::from_iter_values(commit_ts.iter().map(|ts| ts.0 as i64))));
        let batch = RecordBatch::try_new(self.schema.clone(), stored)?;
        let written = self.parquet.write(&batch);
        self.memory = self.env.memory.reserve_unchecked(self.parquet.memory_size());
        written.map_err(|e| object_error(self.parquet.inner().path(), e))
    }

    /// Makes all objects durable. The meta has no graphs, no deletes and no commit override.
    pub fn finish(self) -> Result<SegmentMeta> {
        let objects = self.env.objects.clone();
        let mut made = Vec::new();
        self.write_objects(&mut made).inspect_err(|_| {
            // Nothing names them; what cannot be deleted now, garbage collection finds.
            made.iter().for_each(|object| drop(objects.delete(&object.path)));
        })
    }

    fn write_objects(mut self, made: &mut Vec<ObjectRef>) -> Result<SegmentMeta> {
        let (objects, shard, segment) = (self.env.objects.clone(), self.shard, self.segment);
        let mut keep = |object: ObjectRef| {
            made.push(object.clone());
            object
        };
        let nans: Vec<String> = self.nan_columns.iter().map(ToString::to_string).collect();
        self.parquet.append_key_value_metadata(KeyValue::new(NAN_COLUMNS_KEY.to_owned(), nans.join(",")));
        let path = self.parquet.inner().path().to_owned();
        let written = self.parquet.into_inner().map_err(|e| object_error(&path, e))?;
        let (data, data_blocks) = written.finish_with_blocks()?;
        let data = keep(data);
        let mut vectors = Vec::new();
        for (at, spill) in self.vectors {
            let id = self.columns[at].id;
            let path = unique_path(shard, segment, &id.to_string(), "vec");
            vectors.push((id, keep(spill.finish(&objects, &path)?)));
        }
        let mut keys = Vec::new();
        for (key, _, index) in self.keys {
            let mut object = objects.create(&unique_path(shard, segment, &key.id.to_string(), "key"))?;
            index.write(self.rows, &mut object)?;
            keys.push((key.id, key.columns, keep(object.finish()?)));
        }
        let mut lookups = Vec::new();
        for (def, code, _, index) in self.lookups {
            let mut object = objects.create(&unique_path(shard, segment, &def.id.to_string(), "lookup"))?;
            index.write(self.rows, &mut object)?;
            lookups.push((def.id, def.column, code, keep(object.finish()?)));
        }
        let row_ids =
            self.row_ids.finish().ok_or_else(|| Error::internal("too many rows for one segment"))?;
        let (min_ts, max_ts) = self.timestamps.unwrap_or_default();
        Ok(SegmentMeta {
            id: segment,
            rows: self.rows,
            columns: self.columns.iter().map(|column| column.id).collect(),
            data,
            data_blocks,
            vectors,
            graphs: Vec::new(),
            index_vectors: Vec::new(),
            keys,
            row_ids,
            min_ts,
            max_ts,
            commit_override: None,
            deletes: None,
            lookups,
        })
    }
}

fn stored_schema(columns: &[ColumnDef]) -> SchemaRef {
    let mut fields: Vec<Field> = columns
        .iter()
        .map(|column| {
            let field = stored_field(&column.field);
            let mut metadata = field.metadata().clone();
            metadata.insert(FIELD_ID_KEY.to_owned(), column.id.to_string());
            field.with_metadata(metadata)
        })
        .collect();
    for (name, id) in [("__row_id", ROW_ID_FIELD_ID), ("__commit_ts", COMMIT_TS_FIELD_ID)] {
        let mut name = name.to_owned();
        // A user may have chosen the name; ids tell columns apart, but statistics are found by name.
        while fields.iter().any(|field| *field.name() == name) {
            name.push('_');
        }
        let metadata = HashMap::from([(FIELD_ID_KEY.to_owned(), id.to_string())]);
        fields.push(Field::new(name, DataType::Int64, false).with_metadata(metadata));
    }
    Arc::new(Schema::new(fields))
}

fn properties(columns: &[ColumnDef], row_group_rows: usize) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_created_by(format!("quiver {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(Some(row_group_rows.max(1)))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES_MAX))
        .set_data_page_row_count_limit(PAGE_ROWS_MAX)
        .set_data_page_size_limit(PAGE_BYTES)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX);
    for column in columns {
        let (DataType::FixedSizeList(item, _) | DataType::List(item)) = column.field.data_type() else {
            continue;
        };
        if !matches!(item.data_type(), DataType::Float32 | DataType::Float16) {
            continue;
        }
        let path = ColumnPath::new(vec![column.field.name().clone(), "list".to_owned(), item.name().clone()]);
        // The bytes of embeddings do not repeat.
        properties = properties
            .set_column_compression(path.clone(), Compression::UNCOMPRESSED)
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_statistics_enabled(path.clone(), EnabledStatistics::None)
            .set_column_data_page_size_limit(path, VECTOR_PAGE_BYTES);
    }
    properties.build()
}

/// n of a `vector(n)` column.
fn vector_dim(data_type: &DataType) -> Option<u16> {
    match data_type {
        DataType::FixedSizeList(item, dim) if *item.data_type() == DataType::Float32 => {
            u16::try_from(*dim).ok()
        }
        _ => None,
    }
}

fn place(columns: &[ColumnDef], id: ColumnId) -> Result<usize> {
    columns
        .iter()
        .position(|column| column.id == id)
        .ok_or_else(|| Error::internal(format!("a key has column {id}, which the layout lacks")))
}

fn has_nan(array: &ArrayRef) -> bool {
    match array.data_type() {
        DataType::Float32 => array.as_primitive::<Float32Type>().iter().flatten().any(f32::is_nan),
        DataType::Float64 => array.as_primitive::<Float64Type>().iter().flatten().any(f64::is_nan),
        _ => false,
    }
}
