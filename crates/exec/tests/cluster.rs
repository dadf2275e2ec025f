//! Queries over a real node: transactions, own uncommitted rows, flushes and merges, compared with brute force.
#![allow(clippy::unwrap_used)] // tests

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    MemorySchemaProvider,
};
use datafusion::prelude::SessionContext;
use quiver_base::{ColumnId, DatabaseId, IndexId, MemoryBudget, SqlType, TableId};
use quiver_cluster::{
    CatalogEdit, Cluster, ClusterConfig, Column, ConflictMode, Constraint, ConstraintKind, Index,
    IndexMethod, KeyColumn, RowLock, RowRef, Table, Txn, TxnOptions,
};
use quiver_exec::{CollectionTable, Engine, QueryContext, ROW_COLUMN, SHARD_COLUMN, SearchSettings, vector};
use quiver_index::{HnswParams, Metric, VectorIndexKind};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::sync::Arc;
use tempfile::TempDir;

const DIM: usize = 4;

type Model = BTreeMap<i64, (String, Option<Vec<f32>>)>;

struct Node {
    cluster: Arc<Cluster>,
    engine: Arc<Engine>,
    _dir: TempDir,
}

impl Node {
    async fn new() -> Node {
        let dir = tempfile::tempdir().unwrap();
        let memory = MemoryBudget::unlimited();
        let mut config = ClusterConfig::new(dir.path(), memory.clone());
        config.background_threads = 1;
        config.storage.index_rows_min = 20;
        config.storage.row_group_rows = 16;
        let cluster = Cluster::open(config).await.unwrap();
        Node { cluster, engine: Engine::new(memory).unwrap(), _dir: dir }
    }

    fn database(&self) -> DatabaseId {
        self.cluster.database("postgres").unwrap().id
    }

    async fn begin(&self) -> Txn {
        let mut txn = self.cluster.begin(self.database(), TxnOptions::default());
        txn.begin_statement().await.unwrap();
        txn
    }

    /// What a statement of `txn` reads; its first column, which is a bigint.
    async fn query(&self, txn: &mut Txn, table: &Arc<Table>, sql: &str) -> Vec<i64> {
        let batches = self.batches(txn, table, sql).await;
        batches
            .iter()
            .flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec())
            .collect()
    }

    async fn batches(&self, txn: &mut Txn, table: &Arc<Table>, sql: &str) -> Vec<RecordBatch> {
        txn.begin_statement().await.unwrap();
        let context = QueryContext {
            view: txn.read_view(),
            search: SearchSettings { ef_search: 100, ..SearchSettings::default() },
            cancel: Arc::default(),
        };
        let mut state = self.engine.state(Arc::new(context));
        let (catalogs, catalog) = (MemoryCatalogProviderList::new(), MemoryCatalogProvider::new());
        catalog.register_schema("public", Arc::new(MemorySchemaProvider::new())).unwrap();
        catalogs.register_catalog("datafusion".to_owned(), Arc::new(catalog));
        state.register_catalog_list(Arc::new(catalogs));
        let session = SessionContext::new_with_state(state);
        session.register_table("docs", CollectionTable::new(table.clone(), true)).unwrap();
        session.sql(sql).await.unwrap().collect().await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    async fn refs(&self, txn: &mut Txn, table: &Arc<Table>, condition: &str) -> Vec<RowRef> {
        let sql = format!("SELECT {SHARD_COLUMN}, {ROW_COLUMN} FROM docs WHERE {condition}");
        let batches = self.batches(txn, table, &sql).await;
        let column = |batch: &RecordBatch, at: usize| batch.column(at).as_primitive::<Int64Type>().clone();
        batches
            .iter()
            .flat_map(|batch| {
                let (shards, rows) = (column(batch, 0), column(batch, 1));
                (0..batch.num_rows())
                    .map(|at| RowRef {
                        shard: quiver_base::ShardId(shards.value(at) as u64),
                        row: quiver_base::RowId(rows.value(at) as u64),
                    })
                    .collect::<Vec<_>>()
            })
            .collect()
    }
}

fn create(txn: &mut Txn, shards: usize) -> Arc<Table> {
    let column = |id, name: &str, ty| Column {
        id: ColumnId(id),
        name: name.to_owned(),
        ty,
        not_null: name == "id",
        default: None,
        identity: None,
        missing: None,
        dropped: false,
    };
    let index = |id, name: &str, method, column, unique| Index {
        id,
        name: name.to_owned(),
        method,
        columns: vec![KeyColumn::ascending(ColumnId(column))],
        unique,
        options: vec![],
        predicate: None,
    };
    let (key, graph) = (IndexId(txn.new_oid()), IndexId(txn.new_oid()));
    let hnsw = IndexMethod::Vector {
        metric: Metric::L2,
        kind: VectorIndexKind::Hnsw(HnswParams { m: 16, ef_construction: 64, ..HnswParams::default() }),
    };
    let primary = ConstraintKind::PrimaryKey { index: key };
    let table = Arc::new(Table {
        id: TableId(txn.new_oid()),
        schema: 2200,
        name: "docs".to_owned(),
        owner: 10,
        columns: vec![
            column(1, "id", SqlType::Int8),
            column(2, "lang", SqlType::Text),
            column(3, "embedding", SqlType::Vector(Some(DIM as u16))),
        ],
        constraints: vec![Constraint { id: txn.new_oid(), name: "docs_pkey".to_owned(), kind: primary }],
        indexes: vec![
            index(key, "docs_pkey", IndexMethod::BTree, 1, true),
            index(graph, "docs_embedding_idx", hnsw, 3, false),
        ],
        shards: txn.new_shards(shards),
        shard_key: vec![ColumnId(1)],
        options: vec![],
        version: 1,
    });
    txn.edit(vec![CatalogEdit::PutTable(txn.database().id, table.clone())]).unwrap();
    table
}

fn batch(table: &Table, rows: &Model) -> RecordBatch {
    let texts: Vec<Option<String>> =
        rows.values().map(|(_, vector)| vector.as_deref().map(vector::format)).collect();
    let texts: ArrayRef = Arc::new(StringArray::from(texts));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.keys().copied())),
        Arc::new(StringArray::from_iter_values(rows.values().map(|(lang, _)| lang))),
        vector::to_vector(&texts, Some(DIM as u16)).unwrap(),
    ];
    let fields: Vec<_> =
        table.columns.iter().map(|column| column.ty.field(&column.name, !column.not_null)).collect();
    RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns).unwrap()
}

fn random_row(random: &mut StdRng) -> (String, Option<Vec<f32>>) {
    let vector = (0..DIM).map(|_| random.random_range(-1.0..1.0f32)).collect();
    let lang = if random.random_bool(0.3) { "en" } else { "de" };
    (lang.to_owned(), random.random_bool(0.95).then_some(vector))
}

fn nearest(model: &Model, query: &[f32], lang: Option<&str>) -> Vec<i64> {
    let distance = |vector: &Vec<f32>| Metric::L2.distance_between(vector, query);
    let mut rows: Vec<(f64, i64)> = model
        .iter()
        .filter(|(_, row)| lang.is_none_or(|lang| row.0 == lang))
        .filter_map(|(id, row)| Some((distance(row.1.as_ref()?), *id)))
        .collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    rows.into_iter().map(|(_, id)| id).collect()
}

/// Everything that is asked of a state of the table.
async fn check(node: &Node, txn: &mut Txn, table: &Arc<Table>, model: &Model, random: &mut StdRng) {
    let query: Vec<f32> = (0..DIM).map(|_| random.random_range(-1.0..1.0f32)).collect();
    let text = vector::format(&query);
    for lang in [None, Some("en")] {
        let filter = lang.map_or_else(|| "true".to_owned(), |lang| format!("lang = '{lang}'"));
        let near = nearest(model, &query, lang);
        let sql = format!(
            "SELECT id FROM docs WHERE {filter} AND embedding IS NOT NULL ORDER BY l2_distance(embedding, '{text}') LIMIT 8"
        );
        let found = node.query(txn, table, &sql).await;
        assert_eq!(found, near[..near.len().min(8)], "{sql}");
    }
    let count = node.query(txn, table, "SELECT count(*) FROM docs").await;
    assert_eq!(count, [model.len() as i64]);
    let ids = node.query(txn, table, "SELECT id FROM docs WHERE lang = 'en' ORDER BY id").await;
    let expected: Vec<i64> = model.iter().filter(|(_, row)| row.0 == "en").map(|(id, _)| *id).collect();
    assert_eq!(ids, expected);
    let id = random.random_range(0..200);
    let found = node.query(txn, table, &format!("SELECT id FROM docs WHERE id = {id}")).await;
    assert_eq!(found.len(), usize::from(model.contains_key(&id)), "id {id}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_random_history_reads_as_brute_force_says() {
    let node = Node::new().await;
    for seed in 0..3 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut txn = node.begin().await;
        let table = create(&mut txn, 1 + seed as usize % 2);
        let (mut committed, mut model) = (Model::new(), Model::new());
        for step in 0..40 {
            match random.random_range(0..10) {
                0..=4 => {
                    let rows: Model = (0..random.random_range(1..30))
                        .map(|_| (random.random_range(0..200), random_row(&mut random)))
                        .filter(|(id, _)| !model.contains_key(id))
                        .collect();
                    txn.begin_statement().await.unwrap();
                    txn.insert(&table, &batch(&table, &rows), ConflictMode::Error).await.unwrap();
                    model.extend(rows);
                }
                5 => {
                    let limit = random.random_range(0..200);
                    let rows =
                        node.refs(&mut txn, &table, &format!("id >= {limit} AND id < {limit} + 20")).await;
                    txn.lock_rows(&table, &rows, RowLock::Exclusive).await.unwrap();
                    let ended = txn.delete(&table, &rows).await.unwrap();
                    let before = model.len();
                    model.retain(|id, _| !(limit..limit + 20).contains(id));
                    assert_eq!(ended, before - model.len());
                }
                6 | 7 => {
                    txn.commit().await.unwrap();
                    committed = model.clone();
                    txn = node.begin().await;
                }
                // Before its first commit there is no table to come back to.
                8 if !committed.is_empty() => {
                    txn.rollback().await;
                    model = committed.clone();
                    txn = node.begin().await;
                }
                _ if !committed.is_empty() => {
                    let full = random.random_bool(0.5);
                    node.cluster.compact(node.database(), table.id, full).await.unwrap();
                }
                _ => {}
            }
            check(&node, &mut txn, &table, &model, &mut random).await;
            if !committed.is_empty() && step % 5 == 0 {
                let mut other = node.begin().await;
                check(&node, &mut other, &table, &committed, &mut random).await;
            }
        }
        txn.commit().await.unwrap();
        let mut txn = node.begin().await;
        txn.edit(vec![CatalogEdit::DropTable(node.database(), table.id)]).unwrap();
        txn.commit().await.unwrap();
    }
}
