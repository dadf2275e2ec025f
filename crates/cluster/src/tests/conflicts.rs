//! Transactions that want the same thing at the same time.

#![allow(clippy::unwrap_used)] // tests
use super::*;
use quiver_base::SqlState;
use std::time::Duration;

const REPEATABLE: TxnOptions =
    TxnOptions { isolation: Isolation::RepeatableRead, read_only: false, lock_timeout: None, session: 0 };

async fn waits<T>(future: &mut (impl Future<Output = T> + Unpin)) -> bool {
    tokio::time::timeout(Duration::from_millis(50), future).await.is_err()
}

#[tokio::test]
async fn a_duplicate_key_is_refused_with_the_words_of_postgresql() {
    let node = Node::new().await;
    let table = node.table("docs").await;
    node.insert(&table, &[(1, "a")]).await.unwrap();
    let error = node.insert(&table, &[(7, "x"), (1, "b")]).await.unwrap_err();
    assert_eq!(error.state(), SqlState::UNIQUE_VIOLATION);
    assert_eq!(error.message(), "duplicate key value violates unique constraint \"docs_pkey\"");
    assert_eq!(error.detail(), Some("Key (id)=(1) already exists."));
    assert_eq!((error.schema(), error.table()), (Some("public"), Some("docs")));
    assert_eq!(error.constraint(), Some("docs_pkey"));
    let error = node.insert(&table, &[(5, "x"), (5, "y")]).await.unwrap_err();
    assert_eq!(error.detail(), Some("Key (id)=(5) already exists."));
    assert_eq!(node.rows(&table).await, map(&[(1, "a")]));
}

#[tokio::test]
async fn conflicts_are_reported_and_the_other_rows_go_in() {
    let node = Node::new().await;
    let table = node.table("t").await;
    node.insert(&table, &[(1, "a")]).await.unwrap();
    let mut txn = node.begin().await;
    let rows = batch(&[(1, "x"), (2, "b"), (2, "y"), (3, "c")]);
    let outcome = txn.insert(&table, &rows, ConflictMode::Report(Vec::new())).await.unwrap();
    let one = txn.row(&table, 1);
    assert_eq!(outcome.conflicts, [(0, Prior::Row(one)), (2, Prior::SameBatch(1))]);
    assert_eq!(outcome.inserted.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [1, 3]);
    // An own row is a prior as well.
    let outcome = txn.insert(&table, &batch(&[(3, "z")]), ConflictMode::Report(Vec::new())).await.unwrap();
    assert_eq!(outcome.conflicts, [(0, Prior::Row(txn.row(&table, 3)))]);
    txn.commit().await.unwrap();
    assert_eq!(node.rows(&table).await, map(&[(1, "a"), (2, "b"), (3, "c")]));
}

#[tokio::test]
async fn an_insert_waits_for_who_holds_its_key() {
    let node = Node::new().await;
    let table = node.table("t").await;
    for commits in [true, false] {
        let key = i64::from(commits);
        let mut first = node.begin().await;
        first.insert(&table, &batch(&[(key, "first")]), ConflictMode::Error).await.unwrap();
        let rows = [(key, "second")];
        let mut second = Box::pin(node.insert(&table, &rows));
        assert!(waits(&mut second).await);
        if commits {
            first.commit().await.unwrap();
            assert_eq!(second.await.unwrap_err().state(), SqlState::UNIQUE_VIOLATION);
        } else {
            first.rollback().await;
            second.await.unwrap();
        }
    }
    assert_eq!(node.rows(&table).await, map(&[(0, "second"), (1, "first")]));
}

#[tokio::test]
async fn an_insert_waits_for_who_deletes_its_key() {
    let node = Node::new().await;
    let table = node.table("t").await;
    node.insert(&table, &[(1, "old"), (2, "old")]).await.unwrap();
    let mut first = node.begin().await;
    let rows = [first.row(&table, 1), first.row(&table, 2)];
    first.lock_rows(&table, &rows, RowLock::Exclusive).await.unwrap();
    first.delete(&table, &rows[..1]).await.unwrap();
    first.update(&table, &rows[1..], &batch(&[(3, "moved")])).await.unwrap();
    let rows = [(1, "new"), (2, "new")];
    let mut second = Box::pin(node.insert(&table, &rows));
    assert!(waits(&mut second).await);
    first.commit().await.unwrap();
    second.await.unwrap();
    assert_eq!(node.rows(&table).await, map(&[(1, "new"), (2, "new"), (3, "moved")]));
}

#[tokio::test]
async fn a_changed_row_is_read_again_under_read_committed_and_refused_under_repeatable_read() {
    let node = Node::new().await;
    let table = node.table("t").await;
    node.insert(&table, &[(1, "a")]).await.unwrap();
    let mut committed = node.begin().await;
    let mut repeatable = node.begin_with(REPEATABLE).await;
    let mut writer = node.begin().await;
    let row = writer.row(&table, 1);
    writer.lock_rows(&table, &[row], RowLock::Exclusive).await.unwrap();
    writer.update(&table, &[row], &batch(&[(1, "b")])).await.unwrap();
    {
        let rows = [row];
        let mut lock = Box::pin(committed.lock_rows(&table, &rows, RowLock::Exclusive));
        assert!(waits(&mut lock).await);
        writer.commit().await.unwrap();
        assert_eq!(lock.await.unwrap(), LockOutcome::Changed);
    }
    committed.begin_statement().await.unwrap();
    let row_now = committed.row(&table, 1);
    assert_eq!(
        committed.lock_rows(&table, &[row_now], RowLock::Exclusive).await.unwrap(),
        LockOutcome::Unchanged
    );
    committed.update(&table, &[row_now], &batch(&[(1, "c")])).await.unwrap();
    committed.commit().await.unwrap();
    let error = repeatable.lock_rows(&table, &[row], RowLock::Exclusive).await.unwrap_err();
    assert_eq!(error.state(), SqlState::SERIALIZATION_FAILURE);
    assert_eq!(error.message(), "could not serialize access due to concurrent update");
    assert_eq!(node.rows(&table).await, map(&[(1, "c")]));
}

#[tokio::test]
async fn a_deadlock_costs_one_transaction_and_lock_timeout_its_statement() {
    let node = Node::new().await;
    let table = node.table("t").await;
    node.insert(&table, &[(1, "a"), (2, "b")]).await.unwrap();
    let (mut first, mut second) = (node.begin().await, node.begin().await);
    let (one, two) = (first.row(&table, 1), first.row(&table, 2));
    first.lock_rows(&table, &[one], RowLock::Exclusive).await.unwrap();
    second.lock_rows(&table, &[two], RowLock::Exclusive).await.unwrap();
    let mut impatient = node
        .begin_with(TxnOptions { lock_timeout: Some(Duration::from_millis(10)), ..TxnOptions::default() })
        .await;
    let error = impatient.lock_rows(&table, &[one], RowLock::Exclusive).await.unwrap_err();
    assert_eq!(error.state(), SqlState::LOCK_NOT_AVAILABLE);
    let twos = [two];
    let mut wait = Box::pin(first.lock_rows(&table, &twos, RowLock::Exclusive));
    assert!(waits(&mut wait).await);
    let error = second.lock_rows(&table, &[one], RowLock::Exclusive).await.unwrap_err();
    assert_eq!(error.state(), SqlState::DEADLOCK_DETECTED);
    second.rollback().await;
    assert_eq!(wait.await.unwrap(), LockOutcome::Unchanged);
}

#[tokio::test]
async fn rows_can_be_locked_without_waiting() {
    let node = Node::new().await;
    let table = node.table("t").await;
    node.insert(&table, &[(1, "a"), (2, "b"), (3, "c")]).await.unwrap();
    let (mut first, mut second) = (node.begin().await, node.begin().await);
    let rows: Vec<RowRef> = first.seen(&table).into_iter().map(|(_, _, row)| row).collect();
    first.lock_rows(&table, &rows[..1], RowLock::Exclusive).await.unwrap();
    let mut deleter = node.begin().await;
    deleter.lock_rows(&table, &rows[2..], RowLock::Exclusive).await.unwrap();
    deleter.delete(&table, &rows[2..]).await.unwrap();
    deleter.commit().await.unwrap();
    use RowTry::{Busy, Changed, Locked};
    let tried = second.try_lock_rows(&table, &rows, RowLock::Exclusive).await.unwrap();
    assert_eq!(tried, [Busy, Locked, Changed]);
    let tried = first.try_lock_rows(&table, &rows, RowLock::Exclusive).await.unwrap();
    assert_eq!(tried, [Locked, Busy, Busy]);
}

#[tokio::test]
async fn sharers_lock_a_row_together_and_keep_writers_out() {
    let node = Node::new().await;
    let table = node.table("t").await;
    node.insert(&table, &[(1, "a")]).await.unwrap();
    let (mut first, mut second, mut writer) = (node.begin().await, node.begin().await, node.begin().await);
    let row = first.row(&table, 1);
    first.lock_rows(&table, &[row], RowLock::Shared).await.unwrap();
    second.lock_rows(&table, &[row], RowLock::Shared).await.unwrap();
    let tried = writer.try_lock_rows(&table, &[row], RowLock::Exclusive).await.unwrap();
    assert_eq!(tried, [RowTry::Busy]);
    first.rollback().await;
    second.rollback().await;
    let tried = writer.try_lock_rows(&table, &[row], RowLock::Exclusive).await.unwrap();
    assert_eq!(tried, [RowTry::Locked]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_never_see_half_a_transfer() {
    const ACCOUNTS: i64 = 12;
    let node = Arc::new(Node::with(|config| config.storage.memtable_bytes_max = 3_000).await);
    let mut txn = node.begin().await;
    let table = create(&mut txn, "t", 3);
    let accounts: Vec<(i64, &str)> = (0..ACCOUNTS).map(|id| (id, "100")).collect();
    txn.insert(&table, &batch(&accounts), ConflictMode::Error).await.unwrap();
    txn.commit().await.unwrap();
    let transfers = (0..4_i64).map(|client| {
        let (node, table) = (node.clone(), table.clone());
        tokio::spawn(async move {
            for at in 0..25_i64 {
                let (from, to) = ((client + at) % ACCOUNTS, (client * 5 + at * 7 + 1) % ACCOUNTS);
                if from == to {
                    continue;
                }
                let mut txn = node.begin().await;
                loop {
                    let seen = txn.seen(&table);
                    // In one order, so that transfers never wait for each other in a circle.
                    let (low, high) = (&seen[from.min(to) as usize], &seen[from.max(to) as usize]);
                    let rows = [low.2, high.2];
                    if txn.lock_rows(&table, &rows, RowLock::Exclusive).await.unwrap() == LockOutcome::Changed
                    {
                        txn.begin_statement().await.unwrap();
                        continue;
                    }
                    let amount =
                        |id: i64, by: i64| (seen[id as usize].1.parse::<i64>().unwrap() + by).to_string();
                    let (less, more) = (amount(from, -5), amount(to, 5));
                    let new = if from < to {
                        [(from, &*less), (to, &*more)]
                    } else {
                        [(to, &*more), (from, &*less)]
                    };
                    txn.update(&table, &rows, &batch(&new)).await.unwrap();
                    break;
                }
                txn.commit().await.unwrap();
            }
        })
    });
    let transfers = futures::future::join_all(transfers);
    let sum =
        |rows: BTreeMap<i64, String>| rows.values().map(|value| value.parse::<i64>().unwrap()).sum::<i64>();
    let reader = async {
        loop {
            assert_eq!(sum(node.rows(&table).await), ACCOUNTS * 100);
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        done = transfers => assert!(done.into_iter().all(|client| client.is_ok())),
        () = reader => {}
    }
    assert_eq!(sum(node.rows(&table).await), ACCOUNTS * 100);
}

#[tokio::test]
async fn an_exclusive_lock_keeps_writers_out_and_a_stale_table_is_refused() {
    let node = Node::new().await;
    let table = node.table("t").await;
    let mut ddl = node.begin().await;
    ddl.lock_table(table.id, TableLock::Exclusive).await.unwrap();
    let rows = [(1, "a")];
    let mut writer = Box::pin(node.insert(&table, &rows));
    assert!(waits(&mut writer).await);
    let truncated = Arc::new(Table { shards: ddl.new_shards(1), version: 2, ..Table::clone(&table) });
    ddl.edit(vec![CatalogEdit::PutTable(node.database(), truncated.clone())]).unwrap();
    ddl.commit().await.unwrap();
    assert_eq!(writer.await.unwrap_err().state(), SqlState::SERIALIZATION_FAILURE);
    node.insert(&truncated, &[(1, "a")]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_key_is_won_once_whoever_races_for_it() {
    let node = Arc::new(Node::new().await);
    let table = node.table("t").await;
    let racers = (0..8).map(|racer| {
        let (node, table) = (node.clone(), table.clone());
        tokio::spawn(async move {
            let mut won = 0;
            for key in 0..20 {
                match node.insert(&table, &[(key, &format!("racer {racer}"))]).await {
                    Ok(()) => won += 1,
                    Err(error) => assert_eq!(error.state(), SqlState::UNIQUE_VIOLATION),
                }
            }
            won
        })
    });
    let won = futures::future::try_join_all(racers).await.unwrap();
    assert_eq!(won.into_iter().sum::<i32>(), 20);
    assert_eq!(node.rows(&table).await.len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_incremented_by_many_lose_no_update() {
    let node = Arc::new(Node::new().await);
    let table = node.table("t").await;
    node.insert(&table, &[(1, "0")]).await.unwrap();
    let clients = (0..6).map(|_| {
        let (node, table) = (node.clone(), table.clone());
        tokio::spawn(async move {
            for _ in 0..10 {
                let mut txn = node.begin().await;
                loop {
                    let (_, value, row) = txn.seen(&table).remove(0);
                    if txn.lock_rows(&table, &[row], RowLock::Exclusive).await.unwrap()
                        == LockOutcome::Unchanged
                    {
                        let next = (value.parse::<i64>().unwrap() + 1).to_string();
                        txn.update(&table, &[row], &batch(&[(1, &next)])).await.unwrap();
                        break;
                    }
                    txn.begin_statement().await.unwrap();
                }
                txn.commit().await.unwrap();
            }
        })
    });
    futures::future::try_join_all(clients).await.unwrap();
    assert_eq!(node.rows(&table).await, map(&[(1, "60")]));
}

/// `INSERT … ON CONFLICT DO UPDATE SET name = name + 1` by many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upserts_by_many_lose_no_update() {
    let node = Arc::new(Node::with(|config| config.storage.memtable_bytes_max = 2_000).await);
    let table = node.table("t").await;
    let clients = (0..6_i64).map(|client| {
        let (node, table) = (node.clone(), table.clone());
        tokio::spawn(async move {
            for at in 0..15 {
                let key = (client + at) % 3;
                let mut txn = node.begin().await;
                let mode = ConflictMode::Report(Vec::new());
                let outcome = txn.insert(&table, &batch(&[(key, "1")]), mode).await.unwrap();
                if let [(0, Prior::Row(row))] = outcome.conflicts[..] {
                    let old = txn.fetch(&table, &[row]).unwrap();
                    let old =
                        old.column(1).as_any().downcast_ref::<StringArray>().unwrap().value(0).to_owned();
                    let new = (old.parse::<i64>().unwrap() + 1).to_string();
                    txn.update(&table, &[row], &batch(&[(key, &new)])).await.unwrap();
                }
                txn.commit().await.unwrap();
            }
        })
    });
    futures::future::try_join_all(clients).await.unwrap();
    assert_eq!(node.rows(&table).await, map(&[(0, "30"), (1, "30"), (2, "30")]));
}
