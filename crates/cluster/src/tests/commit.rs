//! Commits of more than a few rows: staged, mixed with DDL, over several shards.

#![allow(clippy::unwrap_used)] // tests
use super::*;
use quiver_base::SqlState;

fn many(ids: std::ops::Range<i64>) -> RecordBatch {
    let names: Vec<String> = ids.clone().map(|id| format!("row {id}")).collect();
    let rows: Vec<(i64, &str)> = ids.zip(names.iter().map(String::as_str)).collect();
    batch(&rows)
}

#[tokio::test]
async fn staged_rows_are_invisible_until_the_commit_and_checked_like_all_others() {
    let node = Node::with(|config| config.txn_stage_bytes = 10_000).await;
    let table = node.table("t").await;
    let mut txn = node.begin().await;
    for start in (0..5_000).step_by(1_000) {
        txn.insert(&table, &many(start..start + 1_000), ConflictMode::Error).await.unwrap();
    }
    assert!(node.cluster.data.values().any(|group| !group.unresolved().is_empty()), "nothing was staged");
    assert_eq!(txn.rows(&table).len(), 5_000);
    let error = txn.insert(&table, &many(4_999..5_001), ConflictMode::Error).await.unwrap_err();
    assert_eq!(error.detail(), Some("Key (id)=(4999) already exists."));
    let first = txn.row(&table, 0);
    assert_eq!(txn.delete(&table, &[first]).await.unwrap(), 1);
    assert_eq!(txn.delete(&table, &[first]).await.unwrap(), 0);
    assert_eq!(txn.rows(&table).len(), 4_999);
    txn.insert(&table, &batch(&[(0, "again")]), ConflictMode::Error).await.unwrap();
    assert!(node.rows(&table).await.is_empty());
    txn.commit().await.unwrap();
    let rows = node.rows(&table).await;
    assert_eq!((rows.len(), rows[&0].as_str(), rows[&4_999].as_str()), (5_000, "again", "row 4999"));
    assert!(node.cluster.data.values().all(|group| group.unresolved().is_empty()));
}

#[tokio::test]
async fn nothing_is_staged_while_a_savepoint_could_take_it_back() {
    let node = Node::with(|config| config.txn_stage_bytes = 10_000).await;
    let table = node.table("t").await;
    let mut txn = node.begin().await;
    txn.insert(&table, &many(0..1_000), ConflictMode::Error).await.unwrap();
    let savepoint = txn.savepoint();
    txn.insert(&table, &many(1_000..3_000), ConflictMode::Error).await.unwrap();
    txn.rollback_to(savepoint);
    assert_eq!(txn.rows(&table).len(), 1_000);
    txn.insert(&table, &many(2_000..2_500), ConflictMode::Error).await.unwrap();
    txn.release(savepoint);
    txn.commit().await.unwrap();
    assert_eq!(node.rows(&table).await.len(), 1_500);
}

#[tokio::test]
async fn what_a_dropped_transaction_staged_is_aborted() {
    let node = Node::with(|config| config.txn_stage_bytes = 1_000).await;
    let table = node.table("t").await;
    let mut txn = node.begin().await;
    txn.insert(&table, &many(0..1_000), ConflictMode::Error).await.unwrap();
    drop(txn);
    let unresolved = || node.cluster.data.values().any(|group| !group.unresolved().is_empty());
    while unresolved() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    node.insert(&table, &[(5, "x")]).await.unwrap();
    assert_eq!(node.rows(&table).await.len(), 1);
}

#[tokio::test]
async fn ddl_and_rows_commit_together() {
    let node = Node::new().await;
    let mut txn = node.begin().await;
    let table = create(&mut txn, "t", 3);
    txn.insert(&table, &many(0..100), ConflictMode::Error).await.unwrap();
    assert_eq!(txn.rows(&table).len(), 100);
    txn.commit().await.unwrap();
    assert!(node.cluster.meta.view().decisions.is_empty());
    let table = node.named("t");
    assert_eq!(node.rows(&table).await.len(), 100);
    // All shards are used, and an update that changes the key moves the row.
    let used: std::collections::HashSet<_> =
        node.begin().await.seen(&table).into_iter().map(|(_, _, row)| row.shard).collect();
    assert_eq!(used.len(), 3);
    let mut txn = node.begin().await;
    let rows: Vec<RowRef> = txn.seen(&table).into_iter().map(|(_, _, row)| row).collect();
    txn.lock_rows(&table, &rows, RowLock::Exclusive).await.unwrap();
    txn.update(&table, &rows, &many(1_000..1_100)).await.unwrap();
    txn.commit().await.unwrap();
    assert_eq!(
        node.rows(&table).await.keys().copied().collect::<Vec<_>>(),
        (1_000..1_100).collect::<Vec<_>>()
    );
    let error = node.insert(&table, &[(1_050, "x")]).await.unwrap_err();
    assert_eq!(error.state(), SqlState::UNIQUE_VIOLATION);
}

#[tokio::test]
async fn a_new_key_is_checked_over_old_rows_and_over_rows_of_its_own_transaction() {
    let node = Node::new().await;
    let table = node.table("t").await;
    node.insert(&table, &[(1, "a"), (2, "b")]).await.unwrap();
    let mut txn = node.begin().await;
    txn.lock_table(table.id, TableLock::Exclusive).await.unwrap();
    txn.insert(&table, &batch(&[(3, "c")]), ConflictMode::Error).await.unwrap();
    let index = Index {
        id: IndexId(txn.new_oid()),
        name: "t_name_key".to_owned(),
        columns: vec![KeyColumn::ascending(NAME)],
        ..table.indexes[0].clone()
    };
    let changed =
        Table { indexes: vec![table.indexes[0].clone(), index.clone()], version: 2, ..Table::clone(&table) };
    let changed = Arc::new(changed);
    txn.edit(vec![CatalogEdit::PutTable(node.database(), changed.clone())]).unwrap();
    txn.check_unique(&changed, index.id).await.unwrap();
    let error = txn.insert(&changed, &batch(&[(4, "c")]), ConflictMode::Error).await.unwrap_err();
    assert_eq!(error.detail(), Some("Key (name)=(c) already exists."));
    txn.insert(&table, &batch(&[(5, "a")]), ConflictMode::Error).await.unwrap();
    let error = txn.check_unique(&changed, index.id).await.unwrap_err();
    assert_eq!(error.message(), "could not create unique index \"t_name_key\"");
    assert_eq!(error.detail(), Some("Key (name)=(a) is duplicated."));
}
