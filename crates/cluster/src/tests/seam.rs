//! Three nodes: what is acknowledged survives leaders, and every replica comes to the same state.

#![allow(clippy::unwrap_used)] // tests
use super::*;
use crate::testing::Nodes;
use parking_lot::Mutex;
use quiver_base::{ReplicaId, SqlState};
use std::collections::BTreeSet;
use std::time::Duration;

fn small(config: &mut ClusterConfig) {
    config.data_groups = 1;
    config.txn_stage_bytes = 2_000;
    config.storage.memtable_bytes_max = 20_000;
}

async fn begin(cluster: &Arc<Cluster>) -> Result<Txn> {
    let mut txn = cluster.begin(cluster.database("postgres")?.id, TxnOptions::default());
    txn.begin_statement().await?;
    Ok(txn)
}

async fn insert(cluster: &Arc<Cluster>, table: &Arc<Table>, rows: &[(i64, &str)]) -> Result<()> {
    let mut txn = begin(cluster).await?;
    txn.insert(table, &batch(rows), ConflictMode::Error).await?;
    txn.commit().await
}

fn named(cluster: &Cluster, name: &str) -> Arc<Table> {
    let database = cluster.database("postgres").unwrap();
    database.tables.values().find(|table| table.name == name).unwrap().clone()
}

/// Appends to both groups.
async fn touch(cluster: &Arc<Cluster>, table: &Arc<Table>) {
    insert(cluster, table, &[(-(cluster.timestamp().await.unwrap().0 as i64), "touch")]).await.unwrap();
    let mut txn = begin(cluster).await.unwrap();
    txn.edit(vec![CatalogEdit::PutComment(txn.database().id, (1, 1, 0), Some("touch".to_owned()))]).unwrap();
    txn.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_all_replicas_agree() {
    let mut nodes = Nodes::start(7, small).await;
    let first = nodes.lead(1).await;
    let mut txn = begin(&first).await.unwrap();
    create(&mut txn, "t", 2);
    txn.commit().await.unwrap();
    let table = named(&first, "t");

    // Writers go on while the leader is stopped under them.
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let writers: Vec<_> = (0..4_i64)
        .map(|writer| {
            let (cluster, table, acknowledged) = (first.clone(), table.clone(), acknowledged.clone());
            tokio::spawn(async move {
                for at in 0..400 {
                    let key = writer * 1_000 + at;
                    if insert(&cluster, &table, &[(key, "some words to fill a memtable with")]).await.is_err()
                    {
                        return;
                    }
                    acknowledged.lock().insert(key);
                }
            })
        })
        .collect();
    while acknowledged.lock().len() < 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(first);
    nodes.stop(1).await;
    futures::future::try_join_all(writers).await.unwrap();
    let count = acknowledged.lock().len();
    assert!((200..1_600).contains(&count), "{count}");

    let second = nodes.lead(2).await;
    let present: BTreeSet<i64> = begin(&second).await.unwrap().rows(&table).into_keys().collect();
    assert!(present.is_superset(&acknowledged.lock()), "acknowledged rows are gone");

    // The first node's disk is lost: it comes back as another replica.
    nodes.replace(&second, 1, ReplicaId(4)).await;
    // A transaction of rows and DDL, staged rows among them.
    let mut txn = begin(&second).await.unwrap();
    let other = create(&mut txn, "other", 1);
    let names: Vec<String> = (0..500).map(|at| format!("row {at}")).collect();
    let rows: Vec<(i64, &str)> = (0..).zip(names.iter().map(String::as_str)).collect();
    txn.insert(&other, &batch(&rows), ConflictMode::Error).await.unwrap();
    txn.commit().await.unwrap();
    nodes.assert_equal_states(async || touch(&second, &table).await).await;
    drop(second);

    // The new replica counts: it can lead, and has everything.
    nodes.stop(2).await;
    let first = nodes.lead(1).await;
    let present: BTreeSet<i64> = begin(&first).await.unwrap().rows(&table).into_keys().collect();
    assert!(present.is_superset(&acknowledged.lock()), "acknowledged rows are gone");
    assert_eq!(begin(&first).await.unwrap().rows(&named(&first, "other")).len(), 500);
    nodes.restart(2).await;
    nodes.assert_equal_states(async || touch(&first, &table).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deposed_leaders_checked_writes_are_refused() {
    let nodes = Nodes::start(8, small).await;
    let first = nodes.lead(1).await;
    let mut txn = begin(&first).await.unwrap();
    create(&mut txn, "t", 1);
    txn.commit().await.unwrap();
    let table = named(&first, "t");
    insert(&first, &table, &[(1, "a")]).await.unwrap();
    // Checked and locked under the first leader, not proposed.
    let mut checked = begin(&first).await.unwrap();
    checked.insert(&table, &batch(&[(2, "b")]), ConflictMode::Error).await.unwrap();
    let mut ddl = begin(&first).await.unwrap();
    create(&mut ddl, "u", 1);

    nodes.isolate(1);
    let second = nodes.lead(2).await;
    insert(&second, &table, &[(2, "of the new leader")]).await.unwrap();
    nodes.heal();
    // The first node leads again, in a later term: its old locks are worth nothing.
    let first = nodes.lead(1).await;
    assert_eq!(checked.commit().await.unwrap_err().state(), SqlState::SERIALIZATION_FAILURE);
    assert_eq!(ddl.commit().await.unwrap_err().state(), SqlState::SERIALIZATION_FAILURE);
    let rows = begin(&first).await.unwrap().rows(&table);
    assert_eq!(rows, map(&[(1, "a"), (2, "of the new leader")]));
    let error = insert(&second, &table, &[(3, "x")]).await.unwrap_err();
    assert_eq!(error.state(), SqlState::CANNOT_CONNECT_NOW);
    nodes.assert_equal_states(async || touch(&first, &table).await).await;
}
