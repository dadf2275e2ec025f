//! Whole-node tests: a cluster in a temporary folder.

#![allow(clippy::unwrap_used)] // tests

mod bulk;
mod commit;
mod conflicts;
mod recovery;
mod seam;
mod upkeep;
mod visibility;

use crate::*;
use arrow::array::{Array, ArrayRef, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use quiver_base::{ColumnId, DatabaseId, IndexId, MemoryBudget, Result, SqlType, TableId};
use quiver_storage::ScanRequest;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

pub(crate) const ID: ColumnId = ColumnId(1);
pub(crate) const NAME: ColumnId = ColumnId(2);

pub(crate) fn config(dir: &Path) -> ClusterConfig {
    ClusterConfig { background_threads: 1, ..ClusterConfig::new(dir, MemoryBudget::unlimited()) }
}

/// A node in a folder that goes with it.
pub(crate) struct Node {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) dir: tempfile::TempDir,
}

impl Node {
    pub(crate) async fn new() -> Node {
        Node::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut ClusterConfig)) -> Node {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        change(&mut config);
        Node { cluster: Cluster::open(config).await.unwrap(), dir }
    }

    /// As if killed: nothing is flushed or checkpointed, and what was not fsynced before is not now.
    pub(crate) async fn kill_and_reopen(self) -> Node {
        let Node { cluster, dir } = self;
        let config = cluster.config.clone();
        cluster.abandon().await;
        drop(cluster);
        Node { cluster: Cluster::open(config).await.unwrap(), dir }
    }

    pub(crate) fn database(&self) -> DatabaseId {
        self.cluster.database("postgres").unwrap().id
    }

    pub(crate) async fn begin(&self) -> Txn {
        self.begin_with(TxnOptions::default()).await
    }

    pub(crate) async fn begin_with(&self, options: TxnOptions) -> Txn {
        let mut txn = self.cluster.begin(self.database(), options);
        txn.begin_statement().await.unwrap();
        txn
    }

    /// `CREATE TABLE name (id bigint PRIMARY KEY, name text)`.
    pub(crate) async fn table(&self, name: &str) -> Arc<Table> {
        let mut txn = self.begin().await;
        let table = create(&mut txn, name, 1);
        txn.commit().await.unwrap();
        self.named(&table.name)
    }

    pub(crate) fn named(&self, name: &str) -> Arc<Table> {
        let database = self.cluster.database("postgres").unwrap();
        database.tables.values().find(|table| table.name == name).unwrap().clone()
    }

    pub(crate) async fn insert(&self, table: &Arc<Table>, rows: &[(i64, &str)]) -> Result<()> {
        let mut txn = self.begin().await;
        txn.insert(table, &batch(rows), ConflictMode::Error).await?;
        txn.commit().await
    }

    pub(crate) async fn rows(&self, table: &Arc<Table>) -> BTreeMap<i64, String> {
        self.begin().await.rows(table)
    }
}

/// A table in a transaction that has not committed.
pub(crate) fn create(txn: &mut Txn, name: &str, shards: usize) -> Arc<Table> {
    let column = |id, name: &str, ty| Column {
        id,
        name: name.to_owned(),
        ty,
        not_null: false,
        default: None,
        identity: None,
        missing: None,
        dropped: false,
    };
    let (table, index) = (TableId(txn.new_oid()), IndexId(txn.new_oid()));
    let key = KeyColumn::ascending;
    let table = Arc::new(Table {
        id: table,
        schema: PUBLIC_SCHEMA,
        name: name.to_owned(),
        owner: BOOTSTRAP_ROLE,
        columns: vec![column(ID, "id", SqlType::Int8), column(NAME, "name", SqlType::Text)],
        constraints: vec![Constraint {
            id: txn.new_oid(),
            name: format!("{name}_pkey"),
            kind: ConstraintKind::PrimaryKey { index },
        }],
        indexes: vec![Index {
            id: index,
            name: format!("{name}_pkey"),
            method: IndexMethod::BTree,
            columns: vec![key(ID)],
            unique: true,
            options: Vec::new(),
            predicate: None,
        }],
        shards: txn.new_shards(shards),
        shard_key: vec![ID],
        options: Vec::new(),
        version: 1,
    });
    txn.edit(vec![CatalogEdit::PutTable(txn.database().id, table.clone())]).unwrap();
    table
}

pub(crate) fn batch(rows: &[(i64, &str)]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|(id, _)| *id)));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, name)| *name)));
    RecordBatch::try_from_iter([("id", ids), ("name", names)]).unwrap()
}

impl Txn {
    /// What the current statement sees of a table, with references.
    pub(crate) fn seen(&self, table: &Arc<Table>) -> Vec<(i64, String, RowRef)> {
        let view = self.read_view();
        let layout = view.layout(table);
        let request = ScanRequest { columns: vec![ID, NAME], filter: None, batch_rows: 1_000 };
        let mut rows = Vec::new();
        for (shard, snapshot) in table.shards.iter().zip(view.snapshots(table).unwrap()) {
            for part in snapshot.scan_parts(&layout, &request).unwrap() {
                for scanned in snapshot.scan_part(&layout, &request, &part).unwrap() {
                    let ids = scanned.batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
                    let names = scanned.batch.column(1).as_any().downcast_ref::<StringArray>().unwrap();
                    for at in 0..ids.len() {
                        let row = RowRef { shard: *shard, row: scanned.row_ids[at] };
                        rows.push((ids.value(at), names.value(at).to_owned(), row));
                    }
                }
            }
        }
        rows.sort_by_key(|(id, ..)| *id);
        rows
    }

    pub(crate) fn rows(&self, table: &Arc<Table>) -> BTreeMap<i64, String> {
        let seen = self.seen(table);
        let count = seen.len();
        let rows: BTreeMap<_, _> = seen.into_iter().map(|(id, name, _)| (id, name)).collect();
        assert_eq!(rows.len(), count, "a primary key is there twice");
        rows
    }

    pub(crate) fn row(&self, table: &Arc<Table>, id: i64) -> RowRef {
        self.seen(table).into_iter().find(|(at, ..)| *at == id).unwrap().2
    }
}

pub(crate) fn map(rows: &[(i64, &str)]) -> BTreeMap<i64, String> {
    rows.iter().map(|(id, name)| (*id, (*name).to_owned())).collect()
}
