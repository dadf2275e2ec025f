//! A bulk load as COPY does it. Measured by hand: `cargo test --release -p quiver-cluster bulk -- --ignored --nocapture`.

#![allow(clippy::unwrap_used)] // tests
use super::*;
use arrow::array::{FixedSizeListArray, Float32Array};
use arrow::datatypes::{DataType, Field};
use std::time::Instant;

const ROWS: usize = 115_659;
const DIM: usize = 384;
const BATCH: usize = 10_000;

fn with_vectors(start: usize, count: usize) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values((start..start + count).map(|id| id as i64)));
    let names: ArrayRef =
        Arc::new(StringArray::from_iter_values((start..start + count).map(|id| format!("document {id}"))));
    let values = Float32Array::from_iter_values((0..count * DIM).map(|at| ((at + start) % 977) as f32));
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let vectors: ArrayRef = Arc::new(FixedSizeListArray::new(item, DIM as i32, Arc::new(values), None));
    RecordBatch::try_from_iter([("id", ids), ("name", names), ("v", vectors)]).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn bulk_load_speed() {
    let node = Node::new().await;
    let mut txn = node.begin().await;
    let mut table = Table::clone(&create(&mut txn, "t", 1));
    table.columns.push(Column {
        id: ColumnId(3),
        name: "v".to_owned(),
        ty: SqlType::Vector(Some(DIM as u16)),
        ..table.columns[1].clone()
    });
    let table = Arc::new(table);
    txn.edit(vec![CatalogEdit::PutTable(node.database(), table.clone())]).unwrap();
    txn.commit().await.unwrap();
    let batches: Vec<RecordBatch> =
        (0..ROWS).step_by(BATCH).map(|start| with_vectors(start, BATCH.min(ROWS - start))).collect();
    let begun = Instant::now();
    let mut txn = node.begin().await;
    for batch in &batches {
        let step = Instant::now();
        txn.insert(&table, batch, ConflictMode::Error).await.unwrap();
        println!("batch after {:?}", step.elapsed());
    }
    let inserted = begun.elapsed();
    txn.commit().await.unwrap();
    println!("{ROWS} rows: inserted after {inserted:?}, committed after {:?}", begun.elapsed());
    let count: u64 = node.cluster.table_stats(&table).shards.iter().map(|shard| shard.live_rows).sum();
    assert_eq!(count, ROWS as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn commit_speed() {
    let node = Arc::new(Node::new().await);
    let table = node.table("t").await;
    for clients in [1_i64, 4, 16, 64] {
        let begun = Instant::now();
        let each = 400 / clients.min(16);
        let tasks = (0..clients).map(|client| {
            let (node, table) = (node.clone(), table.clone());
            tokio::spawn(async move {
                for at in 0..each {
                    let key = clients * 1_000_000 + client * 10_000 + at;
                    node.insert(&table, &[(key, "a row")]).await.unwrap();
                }
            })
        });
        futures::future::try_join_all(tasks).await.unwrap();
        let commits = (clients * each) as f64;
        println!("{clients} clients: {:.0} commits a second", commits / begun.elapsed().as_secs_f64());
    }
    let table_reads = 2_000;
    let begun = Instant::now();
    for _ in 0..table_reads {
        let txn = node.begin().await;
        txn.read_view().snapshots(&table).unwrap();
    }
    println!("a read's transaction: {:?}", begun.elapsed() / table_reads);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn many_small_statements_in_one_transaction() {
    let node = Node::new().await;
    let table = node.table("t").await;
    let mut txn = node.begin().await;
    for tens in 0..3_i64 {
        let begun = Instant::now();
        for key in tens * 10_000..(tens + 1) * 10_000 {
            txn.begin_statement().await.unwrap();
            let view = txn.read_view();
            txn.insert(&table, &batch(&[(key, "a row")]), ConflictMode::Error).await.unwrap();
            drop(view);
        }
        println!("10,000 statements: {:?}", begun.elapsed());
    }
    let begun = Instant::now();
    assert_eq!(txn.rows(&table).len(), 30_000);
    println!("a scan: {:?}", begun.elapsed());
    let begun = Instant::now();
    txn.commit().await.unwrap();
    println!("commit: {:?}", begun.elapsed());
}
