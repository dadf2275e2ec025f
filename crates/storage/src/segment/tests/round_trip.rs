//! What is written is read, for every type, whichever way it is asked for.

use super::*;
use crate::ColumnStats;
use crate::objects::LocalFs;
use arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array,
    FixedSizeBinaryArray, FixedSizeListArray, Float16Array, Float32Array, Float64Array, Int16Array,
    Int32Array, Int64Array, IntervalMonthDayNanoArray, ListArray, StringArray, Time64MicrosecondArray,
    TimestampMicrosecondArray, UInt32Array, UInt64Array, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Int32Type, IntervalMonthDayNano, i256};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;
use std::fs::File;
use std::path::Path;

fn types() -> Vec<SqlType> {
    let array = |item| SqlType::Array(Box::new(item));
    vec![
        SqlType::Bool,
        SqlType::Int2,
        SqlType::Int4,
        SqlType::Int8,
        SqlType::Float4,
        SqlType::Float8,
        SqlType::Numeric(None),
        SqlType::Numeric(Some((10, 2))),
        SqlType::Numeric(Some((60, 5))),
        SqlType::Text,
        SqlType::Varchar(Some(7)),
        SqlType::Bpchar(Some(3)),
        SqlType::Bytea,
        SqlType::Date,
        SqlType::Time(None),
        SqlType::Timestamp(None),
        SqlType::Timestamptz(None),
        SqlType::Interval(None),
        SqlType::Uuid,
        SqlType::Json,
        SqlType::Jsonb,
        SqlType::Vector(Some(3)),
        SqlType::Vector(None),
        SqlType::Halfvec(Some(3)),
        SqlType::Halfvec(None),
        SqlType::Sparsevec(None),
        SqlType::Bit(Some(3)),
        array(SqlType::Halfvec(None)),
        array(SqlType::Varbit(None)),
        array(SqlType::Int4),
        array(SqlType::Text),
        array(SqlType::Interval(None)),
        array(SqlType::Numeric(Some((10, 2)))),
        array(SqlType::Jsonb),
        array(SqlType::Vector(Some(2))),
        array(array(SqlType::Bool)),
        SqlType::Oid,
        SqlType::Name,
        SqlType::Char,
    ]
}

/// Values of a type, with a NULL every `nulls` rows.
fn values(data_type: &DataType, rows: usize, nulls: usize) -> ArrayRef {
    let valid: Vec<bool> = (0..rows).map(|row| row % nulls != nulls - 1).collect();
    let some = |row: usize| valid[row];
    let int = |row: usize| (row as i64 - 20).wrapping_mul(0x9e37_79b9_7f4a_7c15_u64 as i64);
    let all = 0..rows;
    macro_rules! primitive {
        ($array:ty, $value:expr) => {
            Arc::new(all.map(|row| some(row).then(|| $value(row))).collect::<$array>())
        };
    }
    match data_type {
        DataType::Boolean => primitive!(BooleanArray, |row| row % 3 == 0),
        DataType::Int16 => primitive!(Int16Array, |row| int(row) as i16),
        DataType::Int32 => primitive!(Int32Array, |row| int(row) as i32),
        DataType::Int64 => primitive!(Int64Array, int),
        DataType::Float16 => primitive!(Float16Array, |row| half::f16::from_f64(int(row) as f64)),
        DataType::Float32 => primitive!(Float32Array, |row| int(row) as f32),
        DataType::Float64 => primitive!(Float64Array, |row| int(row) as f64),
        DataType::Date32 => primitive!(Date32Array, |row| int(row) as i32 % 100_000),
        DataType::Time64(_) => primitive!(Time64MicrosecondArray, |row: usize| row as i64),
        DataType::Timestamp(_, zone) => {
            let array = all.map(|row| some(row).then(|| int(row))).collect::<TimestampMicrosecondArray>();
            Arc::new(array.with_timezone_opt(zone.clone()))
        }
        DataType::Decimal128(p, s) => {
            let array =
                all.map(|row| some(row).then(|| i128::from(int(row) as i32))).collect::<Decimal128Array>();
            Arc::new(array.with_precision_and_scale(*p, *s).unwrap())
        }
        DataType::Decimal256(p, s) => {
            let value = |row| i256::from_i128(i128::from(int(row)) * 1_000_000_007);
            let array = all.map(|row| some(row).then(|| value(row))).collect::<Decimal256Array>();
            Arc::new(array.with_precision_and_scale(*p, *s).unwrap())
        }
        DataType::Utf8 => primitive!(StringArray, |row| format!("{}é{}", "x".repeat(row % 50), int(row))),
        DataType::Binary => Arc::new(BinaryArray::from_iter(
            all.map(|row| some(row).then(|| int(row).to_be_bytes()[..row % 9].to_vec())),
        )),
        DataType::FixedSizeBinary(width) => {
            let bytes = |row: usize| i128::from(int(row)).to_be_bytes().to_vec();
            let array = all.map(|row| some(row).then(|| bytes(row)));
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(array, *width).unwrap())
        }
        DataType::Interval(_) => primitive!(IntervalMonthDayNanoArray, |row| {
            IntervalMonthDayNano::new(row as i32 - 3, int(row) as i32, int(row))
        }),
        DataType::FixedSizeList(item, width) => {
            let items = values(item.data_type(), rows * *width as usize, usize::MAX);
            Arc::new(FixedSizeListArray::new(item.clone(), *width, items, Some(NullBuffer::from(valid))))
        }
        DataType::List(item) => {
            let lengths: Vec<usize> =
                valid.iter().enumerate().map(|(row, some)| if *some { row % 4 } else { 0 }).collect();
            let items = values(item.data_type(), lengths.iter().sum(), 3);
            let offsets = OffsetBuffer::from_lengths(lengths);
            Arc::new(ListArray::new(item.clone(), offsets, items, Some(NullBuffer::from(valid))))
        }
        other => panic!("{other}"),
    }
}

fn every_type(rows: usize) -> (TableLayout, RecordBatch) {
    let columns: Vec<_> =
        types().iter().enumerate().map(|(at, ty)| column(at as u16 + 1, &format!("c{at}.x"), ty)).collect();
    let layout = layout(columns);
    let arrays = layout.columns.iter().map(|column| values(column.field.data_type(), rows, 7)).collect();
    let batch = batch(&layout, arrays);
    (layout, batch)
}

fn ids(layout: &TableLayout) -> Vec<ColumnId> {
    layout.columns.iter().map(|column| column.id).collect()
}

#[test]
fn every_type_comes_back() {
    let fixture = fixture();
    for rows in [0, 1, 100, 457] {
        let (layout, batch) = every_type(rows);
        let meta = write(&fixture.env, &layout, &batch, 90);
        let segment = open(&fixture.env, &meta);
        segment.verify().unwrap();
        assert_eq!(meta.rows as usize, rows);
        assert_eq!(segment.row_groups().unwrap().len(), rows.div_ceil(100));
        // Twice: from the file, then from the cache.
        for _ in 0..2 {
            assert_eq!(segment.read(&layout, &ids(&layout), 0..rows as u32).unwrap(), batch, "{rows} rows");
        }
        let reversed: Vec<u32> = (0..rows as u32).rev().chain(0..rows.min(5) as u32).collect();
        let expected =
            arrow::compute::take_record_batch(&batch, &UInt32Array::from(reversed.clone())).unwrap();
        assert_eq!(segment.take(&layout, &ids(&layout), &reversed).unwrap(), expected);
        if rows == 457 {
            let part = segment.read(&layout, &ids(&layout), 99..321).unwrap();
            assert_eq!(part, batch.slice(99, 222));
        }
        assert_eq!(segment.read(&layout, &[], 0..rows as u32).unwrap().num_rows(), rows);
    }
}

#[test]
fn row_ids_and_timestamps_come_back() {
    let fixture = fixture();
    let (layout, batch) = every_type(250);
    let meta = write(&fixture.env, &layout, &batch, 33);
    assert_eq!((meta.min_ts, meta.max_ts), (Timestamp(100), Timestamp(349)));
    let segment = open(&fixture.env, &meta);
    assert_eq!(segment.row_ids(248..250), [RowId(258), RowId(259)]);
    assert_eq!(segment.commit_ts(99..101).unwrap(), [Timestamp(199), Timestamp(200)]);
    let staged =
        segment.with_meta(Arc::new(SegmentMeta { commit_override: Some(Timestamp(9)), ..meta.clone() }));
    assert_eq!(staged.commit_ts(99..101).unwrap(), [Timestamp(9); 2]);
    assert!(segment.commit_ts(0..251).is_err());
    assert!(segment.read(&layout, &[], 0..251).is_err());
    assert!(segment.take(&layout, &[], &[250]).is_err());
    let bytes = rmp_serde::to_vec(&meta).unwrap();
    assert_eq!(rmp_serde::from_slice::<SegmentMeta>(&bytes).unwrap(), meta);
}

#[test]
fn the_file_is_plain_parquet() {
    let fixture = fixture();
    let (layout, batch) = every_type(120);
    let meta = write(&fixture.env, &layout, &batch, 120);
    let file = File::open(fixture.dir.path().join(&meta.data.path)).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let schema = reader.schema().clone();
    assert_eq!(schema.fields().len(), layout.columns.len() + 2);
    for (field, column) in schema.fields().iter().zip(&layout.columns) {
        assert_eq!(field.name(), column.field.name());
        assert_eq!(field.metadata()[FIELD_ID_KEY], column.id.to_string());
        let interval = matches!(column.field.data_type(), DataType::Interval(_));
        let nested_interval = matches!(column.field.data_type(), DataType::List(item) if matches!(item.data_type(), DataType::Interval(_)));
        assert_eq!(field.data_type() == column.field.data_type(), !interval && !nested_interval);
    }
    let read: Vec<_> = reader.build().unwrap().collect::<Result<_, _>>().unwrap();
    let rows = arrow::compute::concat_batches(&schema, &read).unwrap();
    let last = rows.num_columns();
    assert_eq!(schema.field(last - 2).name(), "__row_id");
    assert_eq!(rows.column(last - 2).as_primitive::<arrow::datatypes::Int64Type>().value(5), 15);
    assert_eq!(rows.column(last - 1).as_primitive::<arrow::datatypes::Int64Type>().value(5), 105);
    assert_eq!(rows.column(2), batch.column(2));
}

#[test]
fn a_layout_may_have_changed_since() {
    let fixture = fixture();
    let old = layout(vec![column(1, "a", &SqlType::Int4), column(2, "b", &SqlType::Text)]);
    let rows = batch(&old, vec![values(&DataType::Int32, 150, 4), values(&DataType::Utf8, 150, 5)]);
    let meta = write(&fixture.env, &old, &rows, 150);
    let added = |id, name, value: ArrayRef| {
        let mut column = column(id, name, &SqlType::Int4);
        column.missing = Some(value);
        column
    };
    // a renamed, b dropped and another b made, c with a default, d with none.
    let new = layout(vec![
        column(1, "z", &SqlType::Int4),
        added(3, "b", Arc::new(Int32Array::from(vec![42]))),
        column(4, "d", &SqlType::Vector(Some(2))),
        added(5, "e", new_null_array(&DataType::Int32, 1)),
    ]);
    let segment = open(&fixture.env, &meta);
    let read = segment.read(&new, &[ColumnId(4), ColumnId(3), ColumnId(1), ColumnId(5)], 50..60).unwrap();
    assert_eq!(read.schema().field(2).name(), "z");
    assert_eq!(read.column(0).null_count(), 10);
    assert_eq!(read.column(1).as_primitive::<Int32Type>().values(), &[42; 10]);
    assert_eq!(read.column(2), &rows.column(0).slice(50, 10));
    assert_eq!(read.column(3).null_count(), 10);
    assert!(segment.read(&new, &[ColumnId(2)], 0..1).is_err());
    assert!(segment.vectors(ColumnId(4)).unwrap().is_none());

    let statistics = segment.statistics(&new).unwrap();
    assert_eq!(statistics.min(ColumnId(3)).unwrap().as_primitive::<Int32Type>().values(), &[42, 42]);
    let counts = |id| statistics.null_counts(ColumnId(id)).unwrap();
    assert_eq!(*counts(3), UInt64Array::from(vec![0, 0]));
    assert_eq!(*counts(5), UInt64Array::from(vec![100, 50]));
    assert!(statistics.min(ColumnId(2)).is_none());

    // Rows of the old layout go into a segment of the new one.
    let meta = write(&fixture.env, &new, &rows, 40);
    assert_eq!(meta.columns, ids(&new));
    let read = open(&fixture.env, &meta).read(&new, &[ColumnId(3), ColumnId(1)], 0..150).unwrap();
    assert_eq!(read.column(0).as_primitive::<Int32Type>().values(), &[42; 150]);
    assert_eq!(read.column(1), rows.column(0));
}

#[test]
fn a_column_may_have_become_wider() {
    let fixture = fixture();
    let numeric = |p, s| layout(vec![column(1, "n", &SqlType::Numeric(Some((p, s))))]);
    let (old, new) = (numeric(10, 2), numeric(60, 2));
    let rows = batch(&old, vec![values(&DataType::Decimal128(10, 2), 120, 5)]);
    let segment = open(&fixture.env, &write(&fixture.env, &old, &rows, 120));
    let read = segment.read(&new, &[ColumnId(1)], 0..120).unwrap();
    assert_eq!(read.column(0), &arrow::compute::cast(rows.column(0), &DataType::Decimal256(60, 2)).unwrap());
    assert!(
        segment.statistics(&new).unwrap().max(ColumnId(1)).is_none(),
        "of the old type: not to be compared"
    );
    let text = layout(vec![column(1, "n", &SqlType::Vector(Some(2)))]);
    assert!(segment.read(&text, &[ColumnId(1)], 0..1).is_err());
}

/// A disk that fills up at any point costs the segment, nothing else.
#[test]
fn a_failed_segment_leaves_no_object() {
    let dir = tempfile::tempdir().unwrap();
    let fs = Arc::new(FailingLater::default());
    let objects = Objects::local(dir.path(), fs.clone()).unwrap();
    let env = StorageEnv::new(objects, MemoryBudget::unlimited(), StorageOptions::default());
    let (mut layout, batch) = every_type(200);
    layout.keys = vec![key(50, &[2])];
    let attempt = || -> quiver_base::Result<SegmentMeta> {
        let mut writer = SegmentWriter::new(&env, SHARD, SegmentId(3), &layout)?;
        let row_ids: Vec<_> = (0..200).map(RowId).collect();
        writer.append(&batch, &row_ids, &[Timestamp(1); 200])?;
        writer.finish()
    };
    for changes in 0.. {
        fs.left.store(changes, std::sync::atomic::Ordering::Relaxed);
        match attempt() {
            Ok(meta) => {
                assert!(changes > 10);
                fs.left.store(usize::MAX, std::sync::atomic::Ordering::Relaxed);
                return open(&env, &meta).verify().unwrap();
            }
            Err(error) => {
                assert_eq!(error.state(), quiver_base::SqlState::DISK_FULL, "{error}");
                assert!(
                    error.message().contains("object \"shards/7/3/") || error.message().contains(".tmp"),
                    "{error}"
                );
                assert!(env.objects.list("").unwrap().is_empty());
            }
        }
    }
}

/// Fails once a number of changes has been made; removals are let through.
#[derive(Debug, Default)]
struct FailingLater {
    left: std::sync::atomic::AtomicUsize,
}

impl FailingLater {
    fn change(&self) -> std::io::Result<()> {
        use std::sync::atomic::Ordering::Relaxed;
        self.left
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1))
            .map(drop)
            .map_err(|_| std::io::ErrorKind::StorageFull.into())
    }
}

impl LocalFs for FailingLater {
    fn create_dir(&self, path: &Path) -> std::io::Result<()> {
        RealFs.create_dir(path)
    }
    fn create(&self, path: &Path) -> std::io::Result<File> {
        self.change()?;
        RealFs.create(path)
    }
    fn write(&self, file: &mut File, bytes: &[u8]) -> std::io::Result<()> {
        self.change()?;
        RealFs.write(file, bytes)
    }
    fn sync_file(&self, path: &Path, file: &File) -> std::io::Result<()> {
        self.change()?;
        RealFs.sync_file(path, file)
    }
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        self.change()?;
        RealFs.rename(from, to)
    }
    fn remove(&self, path: &Path) -> std::io::Result<()> {
        RealFs.remove(path)
    }
    fn sync_dir(&self, path: &Path) -> std::io::Result<()> {
        RealFs.sync_dir(path)
    }
}

#[test]
fn statistics_bound_every_row() {
    let fixture = fixture();
    let (layout, rows) = every_type(357);
    let segment = open(&fixture.env, &write(&fixture.env, &layout, &rows, 357));
    let statistics = segment.statistics(&layout).unwrap();
    assert_eq!(statistics.containers(), 4);
    assert_eq!(*statistics.row_counts(), UInt64Array::from(vec![100, 100, 100, 57]));
    for (at, column) in layout.columns.iter().enumerate() {
        let nested = column.field.data_type().is_nested();
        let interval = matches!(column.field.data_type(), DataType::Interval(_));
        let (min, max) = (statistics.min(column.id), statistics.max(column.id));
        assert_eq!(min.is_some(), !nested && !interval, "{}", column.field);
        let (Some(min), Some(max)) = (min, max) else { continue };
        for (group, start) in (0..357).step_by(100).enumerate() {
            let piece = rows.column(at).slice(start, 100.min(357 - start));
            let nulls = statistics.null_counts(column.id).unwrap();
            assert_eq!(
                nulls.as_primitive::<arrow::datatypes::UInt64Type>().value(group),
                piece.null_count() as u64
            );
            let compare =
                |bound: &ArrayRef, ord: fn(&dyn arrow::array::Datum, &dyn arrow::array::Datum) -> _| {
                    let bound = arrow::array::Scalar::new(bound.slice(group, 1));
                    let passed: Result<BooleanArray, arrow::error::ArrowError> = ord(&piece, &bound);
                    passed.unwrap().false_count()
                };
            assert_eq!(compare(&min, arrow::compute::kernels::cmp::gt_eq), 0, "{}", column.field);
            assert_eq!(compare(&max, arrow::compute::kernels::cmp::lt_eq), 0, "{}", column.field);
        }
    }
}

#[test]
fn a_nan_is_never_pruned() {
    let fixture = fixture();
    let layout = layout(vec![column(1, "a", &SqlType::Float8), column(2, "b", &SqlType::Float4)]);
    let with_nan: Vec<_> = (0..150).map(|row| if row == 120 { f64::NAN } else { f64::from(row) }).collect();
    let without: Vec<_> = (0..150).map(|row| row as f32).collect();
    let rows =
        batch(&layout, vec![Arc::new(Float64Array::from(with_nan)), Arc::new(Float32Array::from(without))]);
    let segment = open(&fixture.env, &write(&fixture.env, &layout, &rows, 150));
    let statistics = segment.statistics(&layout).unwrap();
    let max = statistics.max(ColumnId(1)).unwrap();
    assert!(max.as_primitive::<arrow::datatypes::Float64Type>().value(1).is_nan());
    let max = statistics.max(ColumnId(2)).unwrap();
    assert_eq!(max.as_primitive::<arrow::datatypes::Float32Type>().values(), &[99.0, 149.0]);
}

#[test]
fn wide_rows_are_fetched_in_small_blocks_once() {
    let fixture = fixture();
    let layout = layout(vec![column(1, "t", &SqlType::Text)]);
    let texts = StringArray::from_iter_values((0..100).map(|row| format!("{row}:{}", "lorem".repeat(2000))));
    let rows = batch(&layout, vec![Arc::new(texts)]);
    let segment = open(&fixture.env, &write(&fixture.env, &layout, &rows, 100));
    let fetch = |position| segment.take(&layout, &[ColumnId(1)], &[position]).unwrap();
    assert_eq!(fetch(70), rows.slice(70, 1));
    let after_one = fixture.env.columns.counts();
    assert_eq!(after_one, (0, 1));
    assert_eq!(fetch(71), rows.slice(71, 1));
    assert_eq!(fixture.env.columns.counts(), (1, 1));
    assert!(fixture.env.memory.used_bytes() < 70 * 10_000, "one block, not the row group");
}

#[test]
fn a_segment_takes_its_blocks_along() {
    let fixture = fixture();
    let (layout, batch) = every_type(300);
    let meta = write(&fixture.env, &layout, &batch, 300);
    assert_eq!(fixture.env.memory.used_bytes(), 0, "writing gives back what it took");
    let segment = open(&fixture.env, &meta);
    segment.read(&layout, &ids(&layout), 0..300).unwrap();
    assert!(fixture.env.memory.used_bytes() > 0);
    drop(segment);
    assert_eq!(fixture.env.memory.used_bytes(), 0);
}

#[test]
fn without_memory_rows_are_read_and_not_kept() {
    let fixture = fixture();
    let (layout, batch) = every_type(300);
    let meta = write(&fixture.env, &layout, &batch, 300);
    let memory = MemoryBudget::new(10_000);
    let env = StorageEnv::new(fixture.env.objects.clone(), memory.clone(), fixture.env.options.clone());
    let segment = open(&env, &meta);
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let (segment, layout, batch) = (&segment, &layout, &batch);
            scope.spawn(move || {
                for start in [0, 50 + thread, 199] {
                    let read = segment.read(layout, &ids(layout), start..start + 100).unwrap();
                    assert_eq!(read, batch.slice(start as usize, 100));
                    let taken = segment.take(layout, &ids(layout), &[start, 299 - start]).unwrap();
                    assert_eq!(taken.slice(0, 1), batch.slice(start as usize, 1));
                }
            });
        }
    });
    assert!(memory.used_bytes() <= 10_000);
}

#[test]
fn rows_that_do_not_fit_are_refused() {
    let fixture = fixture();
    let layout = layout(vec![column(1, "a", &SqlType::Int4)]);
    let rows = batch(&layout, vec![values(&DataType::Int32, 2, 9)]);
    let new = || SegmentWriter::new(&fixture.env, SHARD, SegmentId(1), &layout).unwrap();
    let times = [Timestamp(1); 2];
    assert!(new().append(&rows, &[RowId(5), RowId(5)], &times).is_err());
    assert!(new().append(&rows, &[RowId(5)], &times).is_err());
    assert!(new().append(&rows, &[RowId(5), RowId(6)], &times[..1]).is_err());
    let mut writer = new();
    writer.append(&rows, &[RowId(5), RowId(6)], &times).unwrap();
    assert!(writer.append(&rows, &[RowId(6), RowId(7)], &times).is_err());
    drop(writer);
    assert!(fixture.env.objects.list("").unwrap().is_empty(), "an unfinished segment leaves nothing");
    assert_eq!(std::fs::read_dir(fixture.dir.path().join(".tmp")).unwrap().count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_rows_at_any_positions(
        rows in 1usize..400,
        nulls in 1usize..9,
        step in 1usize..200,
        picks in proptest::collection::vec(any::<prop::sample::Index>(), 0..40),
        ends in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
    ) {
        let fixture = fixture();
        let layout = layout(vec![
            column(1, "a", &SqlType::Int8),
            column(2, "b", &SqlType::Text),
            column(3, "c", &SqlType::Vector(Some(4))),
            column(4, "d", &SqlType::Array(Box::new(SqlType::Text))),
        ]);
        let arrays = layout.columns.iter().map(|column| values(column.field.data_type(), rows, nulls)).collect();
        let batch = batch(&layout, arrays);
        let segment = open(&fixture.env, &write(&fixture.env, &layout, &batch, step));
        let picks: Vec<u32> = picks.iter().map(|pick| pick.index(rows) as u32).collect();
        let expected = arrow::compute::take_record_batch(&batch, &UInt32Array::from(picks.clone())).unwrap();
        prop_assert_eq!(segment.take(&layout, &ids(&layout), &picks).unwrap(), expected);
        let (a, b) = (ends.0.index(rows + 1), ends.1.index(rows + 1));
        let (start, end) = (a.min(b), a.max(b));
        let read = segment.read(&layout, &ids(&layout), start as u32..end as u32).unwrap();
        prop_assert_eq!(read, batch.slice(start, end - start));
    }
}
