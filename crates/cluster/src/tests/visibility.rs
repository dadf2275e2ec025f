//! Who sees what, when: isolation levels, savepoints, own DDL, sequences.

#![allow(clippy::unwrap_used)] // tests
use super::*;
use quiver_base::SqlState;

#[tokio::test]
async fn others_see_a_commit_whole_and_a_rollback_never() {
    let node = Node::new().await;
    let table = node.table("t").await;
    let mut txn = node.begin().await;
    txn.insert(&table, &batch(&[(1, "a"), (2, "b")]), ConflictMode::Error).await.unwrap();
    assert_eq!(txn.rows(&table), map(&[(1, "a"), (2, "b")]));
    assert!(node.rows(&table).await.is_empty());
    txn.rollback().await;
    assert!(node.rows(&table).await.is_empty());
    node.insert(&table, &[(1, "c")]).await.unwrap();
    assert_eq!(node.rows(&table).await, map(&[(1, "c")]));
}

#[tokio::test]
async fn read_committed_takes_a_snapshot_per_statement_and_repeatable_read_one() {
    let node = Node::new().await;
    let table = node.table("t").await;
    let mut committed = node.begin().await;
    let options = TxnOptions { isolation: Isolation::RepeatableRead, ..TxnOptions::default() };
    let mut repeatable = node.begin_with(options).await;
    node.insert(&table, &[(1, "a")]).await.unwrap();
    assert!(committed.rows(&table).is_empty());
    committed.begin_statement().await.unwrap();
    repeatable.begin_statement().await.unwrap();
    assert_eq!(committed.rows(&table), map(&[(1, "a")]));
    assert!(repeatable.rows(&table).is_empty());
    // Its own writes it does see.
    repeatable.insert(&table, &batch(&[(2, "b")]), ConflictMode::Error).await.unwrap();
    assert_eq!(repeatable.rows(&table), map(&[(2, "b")]));
}

#[tokio::test]
async fn update_and_delete_change_versions_and_a_savepoint_brings_them_back() {
    let node = Node::new().await;
    let table = node.table("t").await;
    node.insert(&table, &[(1, "a"), (2, "b"), (3, "c")]).await.unwrap();
    let mut txn = node.begin().await;
    let (one, two) = (txn.row(&table, 1), txn.row(&table, 2));
    assert_eq!(txn.lock_rows(&table, &[one, two], RowLock::Exclusive).await.unwrap(), LockOutcome::Unchanged);
    let updated = txn.update(&table, &[one], &batch(&[(1, "A")])).await.unwrap();
    let savepoint = txn.savepoint();
    assert_eq!(txn.delete(&table, &[two, two]).await.unwrap(), 1);
    txn.update(&table, &updated, &batch(&[(9, "again")])).await.unwrap();
    txn.insert(&table, &batch(&[(2, "new two"), (4, "d")]), ConflictMode::Error).await.unwrap();
    assert_eq!(txn.rows(&table), map(&[(2, "new two"), (3, "c"), (4, "d"), (9, "again")]));
    txn.rollback_to(savepoint);
    assert_eq!(txn.rows(&table), map(&[(1, "A"), (2, "b"), (3, "c")]));
    // Keys taken after the savepoint are free again, keys taken before it are not.
    txn.insert(&table, &batch(&[(4, "e")]), ConflictMode::Error).await.unwrap();
    let error = txn.insert(&table, &batch(&[(1, "x")]), ConflictMode::Error).await.unwrap_err();
    assert_eq!(error.state(), SqlState::UNIQUE_VIOLATION);
    txn.commit().await.unwrap();
    assert_eq!(node.rows(&table).await, map(&[(1, "A"), (2, "b"), (3, "c"), (4, "e")]));
}

#[tokio::test]
async fn fetch_returns_rows_in_the_order_asked_for() {
    let node = Node::new().await;
    let mut txn = node.begin().await;
    let table = create(&mut txn, "t", 3);
    txn.insert(&table, &batch(&[(1, "a"), (2, "b"), (3, "c"), (4, "d")]), ConflictMode::Error).await.unwrap();
    let order = [4, 1, 3, 2, 4];
    let refs: Vec<RowRef> = order.iter().map(|id| txn.row(&table, *id)).collect();
    let fetched = txn.fetch(&table, &refs).unwrap();
    let ids = fetched.column(0).as_any().downcast_ref::<Int64Array>().unwrap();
    assert_eq!(ids.values().as_ref(), &order);
    assert_eq!(txn.fetch(&table, &[]).unwrap().num_rows(), 0);
}

#[tokio::test]
async fn own_ddl_is_visible_inside_and_gone_after_rollback() {
    let node = Node::new().await;
    let mut txn = node.begin().await;
    let version = txn.catalog().version;
    let savepoint = txn.savepoint();
    let table = create(&mut txn, "t", 1);
    assert!(txn.catalog().version > 1 << 62, "its plans must not be found by others");
    assert!(txn.database().tables.contains_key(&table.id));
    assert!(!node.cluster.database("postgres").unwrap().tables.contains_key(&table.id));
    txn.insert(&table, &batch(&[(1, "a")]), ConflictMode::Error).await.unwrap();
    // Others' DDL shows with the next statement, under one's own.
    let other = node.table("other").await;
    txn.begin_statement().await.unwrap();
    assert!(txn.database().tables.contains_key(&other.id) && txn.database().tables.contains_key(&table.id));
    assert_eq!(txn.rows(&table), map(&[(1, "a")]));
    txn.rollback_to(savepoint);
    assert!(!txn.database().tables.contains_key(&table.id));
    assert_eq!(txn.catalog().version, version + 1);
    txn.commit().await.unwrap();
    assert!(!node.cluster.database("postgres").unwrap().tables.contains_key(&table.id));
}

#[tokio::test]
async fn a_read_only_transaction_refuses_writes() {
    let node = Node::new().await;
    let table = node.table("t").await;
    let mut txn = node.begin_with(TxnOptions { read_only: true, ..TxnOptions::default() }).await;
    let error = txn.insert(&table, &batch(&[(1, "a")]), ConflictMode::Error).await.unwrap_err();
    assert_eq!(error.state(), SqlState::READ_ONLY_SQL_TRANSACTION);
}

fn sequence(txn: &mut Txn, max: i64, cycle: bool) -> Arc<Sequence> {
    let sequence = Arc::new(Sequence {
        id: TableId(txn.new_oid()),
        schema: PUBLIC_SCHEMA,
        name: "s".to_owned(),
        owner: BOOTSTRAP_ROLE,
        ty: SqlType::Int8,
        start: 1,
        increment: 1,
        min: 1,
        max,
        cycle,
        next: 1,
        exhausted: false,
        owned_by: None,
    });
    txn.edit(vec![CatalogEdit::PutSequence(txn.database().id, sequence.clone())]).unwrap();
    sequence
}

#[tokio::test]
async fn a_sequence_never_repeats_not_even_after_a_crash_or_before_its_commit() {
    let node = Node::new().await;
    let database = node.database();
    let mut txn = node.begin().await;
    let (endless, short) = (sequence(&mut txn, i64::MAX, false), sequence(&mut txn, 3, false));
    assert_eq!(node.cluster.next_value(database, endless.id).await.unwrap(), 1);
    assert_eq!(node.cluster.next_value(database, endless.id).await.unwrap(), 2);
    txn.commit().await.unwrap();
    assert_eq!(node.cluster.sequence_state(database, endless.id).await.unwrap(), (2, true));
    assert_eq!(
        node.cluster.next_values(database, endless.id, 40).await.unwrap(),
        (3..43).collect::<Vec<_>>()
    );
    assert_eq!(node.cluster.sequence_state(database, short.id).await.unwrap(), (1, false));
    for value in 1..=3 {
        assert_eq!(node.cluster.next_value(database, short.id).await.unwrap(), value);
    }
    let error = node.cluster.next_value(database, short.id).await.unwrap_err();
    assert_eq!(error.message(), "nextval: reached maximum value of sequence \"s\" (3)");
    let node = node.kill_and_reopen().await;
    let next = node.cluster.next_value(database, endless.id).await.unwrap();
    assert!((43..=75).contains(&next), "{next}");
    // A stop in good order skips nothing.
    node.cluster.shutdown().await.unwrap();
    let node = Node { cluster: Cluster::open(config(node.dir.path())).await.unwrap(), dir: node.dir };
    assert_eq!(node.cluster.next_value(database, endless.id).await.unwrap(), next + 1);
    node.cluster.set_value(database, short.id, 2, false).await.unwrap();
    assert_eq!(node.cluster.next_value(database, short.id).await.unwrap(), 2);
    let error = node.cluster.set_value(database, short.id, 4, true).await.unwrap_err();
    assert_eq!(error.message(), "setval: value 4 is out of bounds for sequence \"s\" (1..3)");
}
