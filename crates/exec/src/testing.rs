//! Tables for tests, right on storage: no log and no transactions.
#![allow(clippy::unwrap_used)] // tests

use crate::context::Statement;
use crate::{CollectionTable, Engine, SearchSettings};
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Schema;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    MemorySchemaProvider,
};
use datafusion::prelude::SessionContext;
use parking_lot::Mutex;
use quiver_base::{
    ColumnId, FIELD_ID_KEY, IndexId, MemoryBudget, Result, RowId, ShardId, SqlType, TableId, Timestamp,
};
use quiver_cluster::{Column, Index, IndexMethod, KeyColumn, Table};
use quiver_index::{HnswParams, Metric, VectorIndexKind};
use quiver_storage::{
    ColumnDef, Indexed, JobControl, KeyDef, Objects, RowBatch, Shard, ShardWrite, Snapshot, StorageEnv,
    StorageOptions, TableLayout, VectorIndexDef,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Stands for a statement's context.
#[derive(Debug, Default)]
pub(crate) struct TestStatement {
    snapshots: Mutex<HashMap<ShardId, Arc<Snapshot>>>,
    layouts: Mutex<HashMap<TableId, Arc<TableLayout>>>,
    pub(crate) search: Mutex<SearchSettings>,
    pub(crate) cancelled: AtomicBool,
}

impl Statement for TestStatement {
    fn snapshots(&self, table: &Table) -> Result<Vec<Arc<Snapshot>>> {
        Ok(table.shards.iter().map(|shard| self.snapshots.lock()[shard].clone()).collect())
    }

    fn layout(&self, table: &Arc<Table>) -> Arc<TableLayout> {
        self.layouts.lock()[&table.id].clone()
    }

    fn search(&self) -> SearchSettings {
        *self.search.lock()
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// An engine with tables.
pub(crate) struct Fixture {
    pub(crate) context: SessionContext,
    pub(crate) statement: Arc<TestStatement>,
    env: Arc<StorageEnv>,
    shards: Vec<(Arc<Shard>, Arc<TableLayout>)>,
    next_shard: u64,
    _dir: tempfile::TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Fixture {
        Self::with_memory(MemoryBudget::unlimited())
    }

    pub(crate) fn with_memory(memory: Arc<MemoryBudget>) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("file://{}", dir.path().join("objects").display());
        let cache = dir.path().join("cache");
        let open = async move { Objects::open(&url, &cache).await };
        let objects = std::thread::spawn(|| {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(open)
        });
        let objects = objects.join().unwrap().unwrap();
        let env = StorageEnv::new(objects, MemoryBudget::unlimited(), small_segments());
        let statement = Arc::new(TestStatement::default());
        let mut state = Engine::new(memory).unwrap().bare_state();
        state.config_mut().set_extension(statement.clone());
        let (catalogs, catalog) = (MemoryCatalogProviderList::new(), MemoryCatalogProvider::new());
        catalog.register_schema("public", Arc::new(MemorySchemaProvider::new())).unwrap();
        catalogs.register_catalog("datafusion".to_owned(), Arc::new(catalog));
        state.register_catalog_list(Arc::new(catalogs));
        let context = SessionContext::new_with_state(state);
        Fixture { context, statement, env, shards: vec![], next_shard: 1, _dir: dir }
    }

    /// Makes a table and registers it. Rows go to its shards in turn. A column named `id` is its primary key; a vector column gets an L2
    /// index.
    pub(crate) fn table(
        &mut self,
        name: &str,
        columns: &[(&str, SqlType)],
        shards: usize,
        rows: &[ArrayRef],
    ) {
        let table = Arc::new(self.describe(name, columns, shards));
        let layout = Arc::new(layout_of(&table));
        let fields: Vec<_> = layout.columns.iter().map(|column| column.field.clone()).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), rows.to_vec()).unwrap();
        for (at, shard_id) in table.shards.iter().enumerate() {
            let shard = Shard::new(*shard_id, self.env.clone());
            let rows: Vec<u32> =
                (0..batch.num_rows() as u32).filter(|row| *row as usize % shards == at).collect();
            let row_ids: Vec<RowId> = rows.iter().map(|row| RowId(u64::from(*row) + 1)).collect();
            let part =
                arrow::compute::take_record_batch(&batch, &arrow::array::UInt32Array::from(rows)).unwrap();
            if part.num_rows() > 0 {
                let insert = Arc::new(RowBatch { batch: part, row_ids });
                shard.commit(Timestamp(1), ShardWrite { inserts: vec![insert], deletes: vec![] }, None);
            }
            self.statement.snapshots.lock().insert(*shard_id, shard.snapshot(Timestamp(1), None));
            self.shards.push((shard, layout.clone()));
        }
        self.statement.layouts.lock().insert(table.id, layout);
        self.context.register_table(name, CollectionTable::new(table, false)).unwrap();
    }

    /// Flushes every table and builds its indexes.
    pub(crate) fn seal(&self) {
        for (shard, layout) in &self.shards {
            let flush = shard.flush_job();
            let mut next = flush.or_else(|| shard.pending_work_now(layout, &[], Timestamp(1)));
            while let Some(job) = next {
                let control = JobControl { threads: 1, ..Default::default() };
                let publish = shard.run_job(&job, layout, Timestamp(1), &control).unwrap();
                shard.publish(&publish);
                next = shard.pending_work_now(layout, &[], Timestamp(1));
            }
            let snapshot = shard.snapshot(Timestamp(1), None);
            self.statement.snapshots.lock().insert(shard.id(), snapshot);
        }
    }

    fn describe(&mut self, name: &str, columns: &[(&str, SqlType)], shards: usize) -> Table {
        let column = |(at, (name, ty)): (usize, &(&str, SqlType))| Column {
            id: ColumnId(at as _),
            name: (*name).to_owned(),
            ty: ty.clone(),
            not_null: *name == "id",
            default: None,
            identity: None,
            missing: None,
            dropped: false,
        };
        let columns: Vec<Column> = (1..).zip(columns).map(column).collect();
        let id = self.next_shard as u32 + 20_000;
        let indexes = columns.iter().filter_map(|column| index_of(id, name, column)).collect();
        let first = self.next_shard;
        self.next_shard += shards as u64;
        Table {
            id: TableId(id),
            schema: 2200,
            name: name.to_owned(),
            owner: 10,
            columns,
            constraints: vec![],
            indexes,
            shards: (first..self.next_shard).map(ShardId).collect(),
            shard_key: vec![],
            options: vec![],
            version: 1,
        }
    }

    /// Rows of a query as text, NULL as "NULL", columns separated by "|".
    pub(crate) async fn rows(&self, sql: &str) -> Vec<String> {
        let batches = self.context.sql(sql).await.unwrap().collect().await;
        let batches = batches.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let options = FormatOptions::default().with_null("NULL");
        let mut rows = vec![];
        for batch in &batches {
            let columns: Vec<ArrayFormatter<'_>> = batch
                .columns()
                .iter()
                .map(|column| ArrayFormatter::try_new(column.as_ref(), &options).unwrap())
                .collect();
            for row in 0..batch.num_rows() {
                let values: Vec<String> =
                    columns.iter().map(|column| column.value(row).to_string()).collect();
                rows.push(values.join("|"));
            }
        }
        rows
    }

    /// The physical plan, one operator a line.
    pub(crate) async fn explain(&self, sql: &str) -> String {
        let plan = self.context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        datafusion::physical_plan::displayable(plan.as_ref()).indent(false).to_string()
    }

    /// The plan after a run, with what it did.
    pub(crate) async fn explain_analyze(&self, sql: &str) -> String {
        let batches =
            self.context.sql(&format!("EXPLAIN ANALYZE {sql}")).await.unwrap().collect().await.unwrap();
        batches.iter().flat_map(|batch| batch.column(1).as_string::<i32>().iter().flatten()).collect()
    }

    /// The error of a query.
    pub(crate) async fn error(&self, sql: &str) -> quiver_base::Error {
        let error = match self.context.sql(sql).await {
            Ok(frame) => frame.collect().await.expect_err(sql),
            Err(error) => error,
        };
        crate::from_datafusion(error)
    }
}

fn small_segments() -> StorageOptions {
    StorageOptions { index_rows_min: 100, row_group_rows: 128, ..Default::default() }
}

fn index_of(table: u32, name: &str, column: &Column) -> Option<Index> {
    let (method, unique) = match &column.ty {
        SqlType::Vector(_) => {
            let params = HnswParams { m: 16, ef_construction: 64, ..HnswParams::default() };
            (IndexMethod::Vector { metric: Metric::L2, kind: VectorIndexKind::Hnsw(params) }, false)
        }
        _ if column.name == "id" => (IndexMethod::BTree, true),
        _ => return None,
    };
    Some(Index {
        id: IndexId(table * 100 + column.id.0 as u32),
        name: format!("{name}_{}_idx", column.name),
        method,
        columns: vec![KeyColumn::ascending(column.id)],
        unique,
        options: vec![],
        predicate: None,
    })
}

fn layout_of(table: &Table) -> TableLayout {
    let column = |column: &Column| {
        let field = column.ty.field(&column.name, !column.not_null);
        let mut metadata = field.metadata().clone();
        metadata.insert(FIELD_ID_KEY.to_owned(), column.id.to_string());
        ColumnDef { id: column.id, field: Arc::new(field.with_metadata(metadata)), missing: None }
    };
    let mut layout =
        TableLayout { columns: table.columns.iter().map(column).collect(), ..Default::default() };
    for index in &table.indexes {
        let columns: Vec<ColumnId> = index.columns.iter().map(|key| key.column).collect();
        match &index.method {
            IndexMethod::BTree | IndexMethod::Hash | IndexMethod::Gin => {
                layout.keys.push(KeyDef { id: index.id, columns });
            }
            IndexMethod::Vector { metric, kind } => layout.vector_indexes.push(VectorIndexDef {
                id: index.id,
                of: Indexed::Column { column: columns[0], rows: None },
                metric: *metric,
                kind: *kind,
            }),
        }
    }
    layout
}

/// Random small vectors, some of them NULL, and what else a table of documents has.
pub(crate) struct Docs {
    pub(crate) vectors: Vec<Option<Vec<f32>>>,
    pub(crate) langs: Vec<&'static str>,
}

pub(crate) const DIM: usize = 8;

impl Docs {
    pub(crate) fn random(rows: usize, seed: u64) -> Docs {
        use rand::{Rng, SeedableRng};
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let mut vector = |_| {
            let values = (0..DIM).map(|_| random.random_range(-1.0..1.0f32)).collect();
            (!random.random_ratio(1, 50)).then_some(values)
        };
        let vectors = (0..rows).map(&mut vector).collect();
        let langs = (0..rows).map(|row| ["en", "de", "fr", "en", "en"][row * 7 % 5]).collect();
        Docs { vectors, langs }
    }

    /// Columns id, lang, size, embedding.
    pub(crate) fn load(&self, fixture: &mut Fixture, name: &str, shards: usize) {
        let columns = [
            ("id", SqlType::Int8),
            ("lang", SqlType::Text),
            ("size", SqlType::Int4),
            ("embedding", SqlType::Vector(Some(DIM as u16))),
        ];
        let texts: Vec<Option<String>> =
            self.vectors.iter().map(|vector| vector.as_deref().map(crate::vector::format)).collect();
        let texts: ArrayRef = Arc::new(StringArray::from(texts));
        let rows = self.vectors.len();
        let arrays: [ArrayRef; 4] = [
            Arc::new(Int64Array::from_iter_values(0..rows as i64)),
            Arc::new(StringArray::from(self.langs.clone())),
            Arc::new((0..rows as i32).map(Some).collect::<arrow::array::Int32Array>()),
            crate::vector::to_vector(&texts, Some(DIM as u16)).unwrap(),
        ];
        fixture.table(name, &columns, shards, &arrays);
    }

    /// Ids of the rows that pass, nearest first, NULL vectors last.
    pub(crate) fn nearest(
        &self,
        metric: Metric,
        query: &[f32],
        passes: impl Fn(usize) -> bool,
    ) -> Vec<usize> {
        let distance = |row: usize| {
            self.vectors[row]
                .as_deref()
                .map_or(f64::INFINITY, |vector| metric.distance_between(vector, query))
        };
        let mut rows: Vec<usize> = (0..self.vectors.len()).filter(|row| passes(*row)).collect();
        rows.sort_by(|a, b| distance(*a).total_cmp(&distance(*b)));
        rows
    }
}
