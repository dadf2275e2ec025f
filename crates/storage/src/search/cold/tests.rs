//! Cold searches, from a store behind a network: how many rounds they take, what they find, and what they do about damage.

#![allow(clippy::unwrap_used)] // tests

use crate::objects::ObjectsOptions;
use crate::objects::testing::{Fault, FaultyStore};
use crate::testing::{KEY, KeyBetween, column};
use crate::{
    ComputedVectors, Indexed, JobControl, ObjectRef, Objects, PublishOutcome, RowBatch, RowFilter,
    SearchResult, Shard, ShardWrite, StorageEnv, StorageOptions, TableLayout, VectorIndexDef, VectorQuery,
};
use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, Int64Array};
use arrow::datatypes::{DataType, Field, Float32Type, Schema};
use arrow::record_batch::RecordBatch;
use quiver_base::{ColumnId, IndexId, MemoryBudget, RowId, ShardId, SqlState, SqlType, Timestamp};
use quiver_index::{ColumnParts, Effort, Element, IvfParams, Metric, VectorIndexKind};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

const VECTOR: ColumnId = ColumnId(2);
const ROWS: u64 = 4000;

/// A shard of one indexed segment in a store that counts.
struct Table {
    store: Arc<FaultyStore>,
    layout: TableLayout,
    writer: Reader,
    state: Vec<u8>,
    lists: ObjectRef,
    vectors: ObjectRef,
}

/// Vectors rounded to what an element can be.
#[derive(Debug)]
struct Packed {
    columns: [ColumnId; 1],
    dim: u32,
    element: Element,
}

impl ComputedVectors for Packed {
    fn columns(&self) -> &[ColumnId] {
        &self.columns
    }

    fn dim(&self) -> u32 {
        self.dim
    }

    fn element(&self) -> Element {
        self.element
    }

    fn is_sparse(&self) -> bool {
        false
    }

    fn evaluate(&self, batch: &RecordBatch) -> quiver_base::Result<ArrayRef> {
        let lists = batch.column(0).as_fixed_size_list();
        let values = lists.values().as_primitive::<Float32Type>().values().iter();
        let rounded = Float32Array::from_iter_values(values.map(|value| self.round(*value)));
        let (item, width) = (Arc::new(Field::new("item", DataType::Float32, true)), self.dim as i32);
        Ok(Arc::new(FixedSizeListArray::new(item, width, Arc::new(rounded), lists.nulls().cloned())))
    }
}

impl Packed {
    fn round(&self, value: f32) -> f32 {
        match self.element {
            Element::F32 => value,
            Element::F16 => half::f16::from_f32(value).to_f32(),
            Element::Bit => f32::from(u8::from(value > 0.0)),
        }
    }
}

/// The shard as some node has it.
struct Reader {
    shard: Arc<Shard>,
    _cache: TempDir,
}

fn env(store: &Arc<FaultyStore>, cache: &TempDir) -> Arc<StorageEnv> {
    let options = ObjectsOptions {
        attempts_max: 2,
        request_timeout: Duration::from_secs(10),
        part_bytes: 1 << 20,
        ..ObjectsOptions::new(cache.path())
    };
    let objects = Objects::remote(store.clone(), "p", options).unwrap();
    let options = StorageOptions { cold_bytes_min: 1, index_rows_min: 10, ..StorageOptions::default() };
    StorageEnv::new(objects, MemoryBudget::unlimited(), options)
}

/// Vectors around a few places; every 50th is missing, and many are the same.
fn vector(row: u64, dim: usize) -> Option<Vec<Option<f32>>> {
    let hash = |a: u64, b: u64| (a * 1_000_003 + b + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let noise = |a: u64, b: u64| hash(a, b) as f32 / (1u64 << 24) as f32 - 0.5;
    let row = if row % 10 == 3 { 3 } else { row };
    let place = hash(row, 999) % 20;
    let at = |at: u64| Some(4.0 * noise(place + 1_000_000, at) + noise(row, at));
    (row % 50 != 7).then(|| (0..dim as u64).map(at).collect())
}

impl Table {
    fn new(dim: usize, metric: Metric) -> Table {
        Table::of(dim, metric, Indexed::Column { column: VECTOR, rows: None })
    }

    /// An index over what is made of the column.
    fn computed(dim: usize, metric: Metric, element: Element) -> Table {
        let packed = Packed { columns: [VECTOR], dim: dim as u32, element };
        Table::of(dim, metric, Indexed::Computed(Arc::new(packed)))
    }

    fn of(dim: usize, metric: Metric, of: Indexed) -> Table {
        let columns = vec![
            column(KEY, "key", &SqlType::Int8),
            column(VECTOR, "vector", &SqlType::Vector(Some(dim as u16))),
        ];
        let index = VectorIndexDef {
            id: IndexId(7),
            of,
            metric,
            kind: VectorIndexKind::IvfFlat(IvfParams { lists: 40 }),
        };
        let layout = TableLayout { columns, vector_indexes: vec![index], ..TableLayout::default() };
        let fields: Vec<_> = layout.columns.iter().map(|column| column.field.clone()).collect();
        let vectors = (0..ROWS).map(|row| vector(row, dim));
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(0..ROWS as i64)),
            Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(vectors, dim as i32)),
        ];
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
        let rows = Arc::new(RowBatch { batch, row_ids: (1..=ROWS).map(RowId).collect() });

        let (store, cache) = (Arc::<FaultyStore>::default(), tempfile::tempdir().unwrap());
        let shard = Shard::new(ShardId(1), env(&store, &cache));
        shard.commit(Timestamp(1), ShardWrite { inserts: vec![rows], deletes: vec![] }, None);
        let control = JobControl { threads: 1, ..JobControl::default() };
        let mut job = shard.flush_job();
        while let Some(next) = job {
            let publish = shard.run_job(&next, &layout, Timestamp(1), &control).unwrap();
            assert_eq!(shard.publish(&publish), PublishOutcome::Done);
            job = shard.pending_work_now(&layout, &[], Timestamp(1));
        }
        assert!(shard.is_indexed(&layout, IndexId(7)));
        let version = shard.version();
        let meta = version.segments.first().unwrap().meta();
        let (lists, vectors) = (
            meta.graphs[0].1.clone(),
            meta.index_vector_file(IndexId(7)).unwrap_or(&meta.vectors[0].1).clone(),
        );
        let state = shard.encode_state()();
        drop(version);
        Table { store, layout, writer: Reader { shard, _cache: cache }, state, lists, vectors }
    }

    /// Another node, whose cache is empty.
    fn reader(&self) -> Reader {
        let cache = tempfile::tempdir().unwrap();
        let shard = Shard::restore(env(&self.store, &cache), &self.state).unwrap();
        Reader { shard, _cache: cache }
    }

    fn query(&self, row: u64, k: usize, filter: Option<(i64, i64)>) -> VectorQuery {
        let index = &self.layout.vector_indexes[0];
        let dim = self.layout.columns[1].field.data_type().clone();
        let DataType::FixedSizeList(_, dim) = dim else { panic!("a vector") };
        VectorQuery {
            column: VECTOR,
            index: None,
            metric: index.metric,
            query: vector(row, dim as usize).unwrap().into_iter().flatten().map(|x| x + 0.01).collect(),
            sparse: None,
            k,
            effort: Effort::new(40, 4),
            exact: false,
            filter: filter.map(|(low, high)| -> Arc<dyn RowFilter> { KeyBetween::filter(low, high) }),
        }
    }

    fn search(&self, reader: &Reader, query: &VectorQuery) -> quiver_base::Result<SearchResult> {
        reader.shard.snapshot(Timestamp(1), None).search(&self.layout, query)
    }
}

fn rows(result: &SearchResult) -> Vec<(RowId, Option<f64>)> {
    result.hits.iter().map(|hit| (hit.row_id, hit.distance)).collect()
}

#[test]
fn a_cold_query_is_three_rounds_deep_and_a_warm_one_reads_nothing() {
    for (dim, metric) in
        [(48, Metric::L2), (48, Metric::Cosine), (32, Metric::InnerProduct), (12, Metric::L2)]
    {
        let table = Table::new(dim, metric);
        let reader = table.reader();
        for (row, depth) in [(11, 3), (11, 0), (1234, 2), (1234, 0), (3, 2)] {
            let query = table.query(row, 10, None);
            let (rounds, requests) = (table.store.rounds(), table.store.requests());
            let found = table.search(&reader, &query).unwrap();
            let (rounds, requests) = (table.store.rounds() - rounds, table.store.requests() - requests);
            assert!(rounds <= depth, "{metric}, row {row}: {rounds} rounds");
            assert_eq!(found.stats.remote_reads, requests, "{metric}, row {row}");
            assert_eq!(found.stats.remote_bytes > 0, depth > 0, "{metric}, row {row}");
            // In so small a segment what is wanted lies so near to each other that most of it is read.
            assert!(found.stats.remote_bytes < table.lists.bytes + table.vectors.bytes);
            assert_eq!(found.stats.strategy, "lists: 1");
            let near = table.search(&table.writer, &query).unwrap();
            assert_eq!(rows(&found), rows(&near), "{metric}, row {row}");
            assert_eq!(near.stats.remote_reads, 0);
        }
    }
}

#[test]
fn a_vector_where_a_block_begins_is_not_taken_for_the_block() {
    let table = Table::new(48, Metric::L2);
    let reader = table.reader();
    let parts = ColumnParts::new(ROWS as u32, 48, Element::F32);
    let begins_block = |row: &u64| (parts.vector(*row as u32).start - 64).is_multiple_of(64 * 1024);
    let first = (0..ROWS).find(begins_block).unwrap();
    table.search(&reader, &table.query(first, 10, None)).unwrap();
    let few = table.query(first, 10, Some((first as i64 - 2, first as i64 + 9)));
    let found = table.search(&reader, &few).unwrap();
    assert_eq!(rows(&found), rows(&table.search(&table.writer, &few).unwrap()));
}

#[test]
fn cold_vectors_of_f16_and_of_bits_are_those_that_lie_here() {
    let mut bytes = Vec::new();
    for (element, metric) in [
        (Element::F32, Metric::L2),
        (Element::F16, Metric::L2),
        (Element::F16, Metric::Cosine),
        (Element::Bit, Metric::L2),
        (Element::Bit, Metric::Jaccard),
    ] {
        let table = Table::computed(48, metric, element);
        let packed = Packed { columns: [VECTOR], dim: 48, element };
        let reader = table.reader();
        for (row, filter) in [(11, None), (1234, None), (42, Some((100, 130)))] {
            let plain = table.query(row, 10, filter);
            let query = plain.query.iter().map(|value| packed.round(*value)).collect();
            let query = VectorQuery { index: Some(IndexId(7)), query, ..plain };
            let found = table.search(&reader, &query).unwrap();
            assert!(found.stats.remote_reads > 0, "{element:?} {metric}");
            let near = table.search(&table.writer, &query).unwrap();
            // Of bits many are equally far.
            let distances =
                |found: &SearchResult| found.hits.iter().map(|hit| hit.distance).collect::<Vec<_>>();
            assert_eq!(distances(&found), distances(&near), "{element:?} {metric}, row {row}");
            assert_eq!(found.hits.len(), 10);
        }
        bytes.push(table.vectors.bytes);
    }
    assert!(bytes[1] * 2 < bytes[0] + 10_000 && bytes[1] == bytes[2], "{bytes:?}");
    assert!(bytes[3] * 32 < bytes[0] + 100_000 && bytes[3] == bytes[4], "{bytes:?}");
}

#[test]
fn filters_nulls_and_what_lists_cannot_answer() {
    let table = Table::new(40, Metric::L2);
    for (low, high) in [(100, 103), (0, 60), (200, 600), (500, 3500), (9000, 9001)] {
        let reader = table.reader();
        for k in [1, 10, 50] {
            let query = table.query(42, k, Some((low, high)));
            let near = table.search(&table.writer, &query).unwrap();
            let found = table.search(&reader, &query).unwrap();
            assert_eq!(found.hits.len(), near.hits.len(), "{low}..{high}, k {k}");
            assert_eq!(found.hits.len(), k.min((high.min(ROWS as i64) - low).max(0) as usize));
            assert!(found.hits.iter().all(|hit| (low..high).contains(&(hit.row_id.0 as i64 - 1))));
            if high - low <= 256 {
                assert_eq!(rows(&found), rows(&near), "{low}..{high}, k {k}");
            }
            let missing = found.hits.iter().filter(|hit| hit.distance.is_none());
            assert!(missing.count() == 0 || found.hits.len() == (high - low) as usize);
        }
        assert!(
            !reader
                .shard
                .version()
                .segments
                .iter()
                .any(|sealed| { sealed.segment.env().objects.is_at_hand(&table.vectors.path) })
        );
    }
    // More than lists hold: everything is fetched and compared.
    let (reader, query) = (table.reader(), table.query(42, ROWS as usize, None));
    let found = table.search(&reader, &query).unwrap();
    assert_eq!(found.hits.len(), ROWS as usize);
    assert_eq!(rows(&found), rows(&table.search(&table.writer, &query).unwrap()));
}

#[test]
fn a_failing_store_and_damage_are_errors_and_never_short_answers() {
    let table = Table::new(32, Metric::L2);
    let query = table.query(77, 10, None);
    let wanted = rows(&table.search(&table.writer, &query).unwrap());

    let reader = table.reader();
    table.store.inject(Fault::Fail, 1);
    assert_eq!(rows(&table.search(&reader, &query).unwrap()), wanted, "one failure is tried again");
    for _ in 0..2 {
        let reader = table.reader();
        table.store.inject(Fault::Fail, 1000);
        let error = table.search(&reader, &query).unwrap_err();
        assert_eq!(error.state(), SqlState::IO_ERROR);
        assert!(error.to_string().contains(&table.lists.path), "{error}");
        table.store.clear();
        assert_eq!(rows(&table.search(&reader, &query).unwrap()), wanted, "a failure is not kept");
    }

    // Behind the heads: 40 centres, or where no row has been.
    for (object, from) in [(&table.vectors, 1000), (&table.lists, 40 * 32 * 4 + 1000), (&table.lists, 70)] {
        let path = format!("p/{}", object.path);
        let damage = || table.store.damage(&path, from);
        futures::executor::block_on(damage()).unwrap();
        let error = table.search(&table.reader(), &query).unwrap_err();
        assert_eq!(error.state().code(), "XX001", "{error}");
        assert!(error.to_string().contains(&object.path), "{error}");
        futures::executor::block_on(damage()).unwrap();
        assert_eq!(rows(&table.search(&table.reader(), &query).unwrap()), wanted);
    }
    // With a filter of few rows, blocks of vectors are read.
    futures::executor::block_on(table.store.damage(&format!("p/{}", table.vectors.path), 70_000)).unwrap();
    let few = table.query(77, 10, Some((3000, 3005)));
    let error = table.search(&table.reader(), &few).unwrap_err();
    assert_eq!(error.state().code(), "XX001", "{error}");
    assert!(error.to_string().contains(&table.vectors.path), "{error}");
}
