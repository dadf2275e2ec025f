//! What a crash leaves, and what the next start makes of it.

#![allow(clippy::unwrap_used)] // tests
use super::*;

#[tokio::test]
async fn everything_acknowledged_is_there_after_a_crash() {
    let node = Node::new().await;
    let table = node.table("t").await;
    node.insert(&table, &[(1, "a"), (2, "b")]).await.unwrap();
    node.cluster.checkpoint().await.unwrap();
    let mut txn = node.begin().await;
    let row = txn.row(&table, 1);
    txn.lock_rows(&table, &[row], RowLock::Exclusive).await.unwrap();
    txn.delete(&table, &[row]).await.unwrap();
    txn.insert(&table, &batch(&[(3, "c")]), ConflictMode::Error).await.unwrap();
    txn.commit().await.unwrap();
    let mut open = node.begin().await;
    open.insert(&table, &batch(&[(4, "never committed")]), ConflictMode::Error).await.unwrap();
    drop(open);
    let before = node.begin().await.read_view().read_ts();
    let node = node.kill_and_reopen().await;
    assert_eq!(node.rows(&table).await, map(&[(2, "b"), (3, "c")]));
    node.insert(&table, &[(4, "d")]).await.unwrap();
    assert!(node.begin().await.read_view().read_ts() > before, "timestamps went back");
    // Keys and row ids go on where they were.
    assert!(node.insert(&table, &[(2, "x")]).await.is_err());
    node.cluster.shutdown().await.unwrap();
    let node = Node { cluster: Cluster::open(config(node.dir.path())).await.unwrap(), dir: node.dir };
    assert_eq!(node.rows(&table).await, map(&[(2, "b"), (3, "c"), (4, "d")]));
}

#[tokio::test]
async fn a_crash_between_rows_and_ddl_leaves_both_or_neither() {
    for (point, committed) in [("prepared", false), ("decided", true), ("committed", true)] {
        let node = Node::new().await;
        let mut txn = node.begin().await;
        let table = create(&mut txn, "t", 2);
        txn.insert(&table, &batch(&[(1, "a"), (2, "b"), (3, "c")]), ConflictMode::Error).await.unwrap();
        *node.cluster.crash_at.lock() = Some(point);
        assert!(txn.commit().await.is_err(), "{point}");
        let node = node.kill_and_reopen().await;
        let database = node.cluster.database("postgres").unwrap();
        assert_eq!(database.tables.contains_key(&table.id), committed, "{point}");
        if committed {
            assert_eq!(node.rows(&table).await, map(&[(1, "a"), (2, "b"), (3, "c")]), "{point}");
        } else {
            let other = node.table("t").await;
            assert!(
                other.shards.iter().all(|shard| !table.shards.contains(shard)),
                "a shard id was used again"
            );
        }
        assert!(node.cluster.meta.view().decisions.is_empty(), "{point}");
        assert!(node.cluster.data.values().all(|group| group.unresolved().is_empty()), "{point}");
    }
}

#[tokio::test]
async fn a_reader_never_sees_ddl_without_its_rows() {
    let node = Node::new().await;
    let mut txn = node.begin().await;
    let table = create(&mut txn, "t", 1);
    txn.insert(&table, &batch(&[(1, "a")]), ConflictMode::Error).await.unwrap();
    *node.cluster.crash_at.lock() = Some("decided");
    assert!(txn.commit().await.is_err());
    *node.cluster.crash_at.lock() = None;
    let mut reader = node.cluster.begin(node.database(), TxnOptions::default());
    {
        let mut statement = Box::pin(reader.begin_statement());
        let soon = tokio::time::timeout(std::time::Duration::from_millis(50), &mut statement).await;
        assert!(soon.is_err(), "it must wait for the rows");
        for group in node.cluster.data.values() {
            node.cluster.recover(group).await.unwrap();
        }
        statement.await.unwrap();
    }
    assert_eq!(reader.rows(&table), map(&[(1, "a")]));
}

#[tokio::test]
async fn a_checkpoint_shortens_the_log_and_loses_nothing() {
    let node = Node::with(|config| config.txn_stage_bytes = 2_000).await;
    let table = node.table("t").await;
    let mut expected = BTreeMap::new();
    let mut staged = node.begin().await;
    let names: Vec<String> = (0..500).map(|at| format!("staged {at}")).collect();
    let rows: Vec<(i64, &str)> = (1_000..).zip(names.iter().map(String::as_str)).collect();
    staged.insert(&table, &batch(&rows), ConflictMode::Error).await.unwrap();
    for round in 0..4 {
        for key in 0..5 {
            let key = round * 10 + key;
            node.insert(&table, &[(key, "x")]).await.unwrap();
            expected.insert(key, "x".to_owned());
        }
        node.cluster.checkpoint().await.unwrap();
    }
    staged.commit().await.unwrap();
    expected.extend(rows.iter().map(|(key, name)| (*key, (*name).to_owned())));
    let node = node.kill_and_reopen().await;
    assert_eq!(node.rows(&table).await, expected);
}

#[tokio::test]
async fn a_data_folder_serves_one_process() {
    let node = Node::new().await;
    let error = Cluster::open(config(node.dir.path())).await.unwrap_err();
    assert_eq!(error.state(), quiver_base::SqlState::OBJECT_IN_USE);
    assert!(node.cluster.is_ready());
    node.cluster.shutdown().await.unwrap();
    assert!(!node.cluster.is_ready());
    Cluster::open(config(node.dir.path())).await.unwrap();
}

/// Random transactions against a model, with crashes, checkpoints and background work in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_random_history_with_crashes_matches_a_model() {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    for seed in 0..3 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut node = Node::with(|config| {
            config.txn_stage_bytes = 600;
            config.storage.memtable_bytes_max = 4_000;
        })
        .await;
        let mut txn = node.begin().await;
        let table = create(&mut txn, "t", 2);
        txn.commit().await.unwrap();
        let mut model: BTreeMap<i64, String> = BTreeMap::new();
        for step in 0..60 {
            let mut txn = node.begin().await;
            let mut next = model.clone();
            for op in 0..random.random_range(1..5) {
                let value = format!("{seed}/{step}/{op}");
                match random.random_range(0..4) {
                    0 | 1 => {
                        let start = random.random_range(0..60);
                        let keys = start..start + random.random_range(1..12);
                        let rows: Vec<_> = keys.map(|key| (key, value.as_str())).collect();
                        let mode = ConflictMode::Report(Vec::new());
                        txn.insert(&table, &batch(&rows), mode).await.unwrap();
                        for (key, value) in rows {
                            next.entry(key).or_insert_with(|| value.to_owned());
                        }
                    }
                    2 if !next.is_empty() => {
                        let key = *next.keys().nth(random.random_range(0..next.len())).unwrap();
                        let row = txn.row(&table, key);
                        txn.lock_rows(&table, &[row], RowLock::Exclusive).await.unwrap();
                        txn.delete(&table, &[row]).await.unwrap();
                        next.remove(&key);
                    }
                    _ if !next.is_empty() => {
                        let key = *next.keys().nth(random.random_range(0..next.len())).unwrap();
                        let row = txn.row(&table, key);
                        txn.lock_rows(&table, &[row], RowLock::Exclusive).await.unwrap();
                        txn.update(&table, &[row], &batch(&[(key, &value)])).await.unwrap();
                        next.insert(key, value);
                    }
                    _ => {}
                }
                assert_eq!(txn.rows(&table), next, "seed {seed}, step {step}");
            }
            match random.random_range(0..10) {
                0 => txn.rollback().await,
                1 => drop(txn),
                _ => {
                    txn.commit().await.unwrap();
                    model = next;
                }
            }
            match random.random_range(0..20) {
                0 | 1 => node = node.kill_and_reopen().await,
                2 => node.cluster.checkpoint().await.unwrap(),
                3 => node.cluster.compact(node.database(), table.id, false).await.unwrap(),
                4 => node.cluster.compact(node.database(), table.id, true).await.unwrap(),
                _ => {}
            }
            assert_eq!(node.rows(&table).await, model, "seed {seed}, step {step}");
        }
    }
}

/// Writers of pairs of rows are cut off in the middle of whatever they do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_under_load_keeps_every_acknowledged_pair_and_no_half_one() {
    let node = Node::with(|config| config.storage.memtable_bytes_max = 5_000).await;
    let mut txn = node.begin().await;
    let table = create(&mut txn, "t", 2);
    txn.commit().await.unwrap();
    let acknowledged = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let writers: Vec<_> = (0..6_i64)
        .map(|writer| {
            let (cluster, table, acknowledged) = (node.cluster.clone(), table.clone(), acknowledged.clone());
            let database = node.database();
            tokio::spawn(async move {
                for at in 0.. {
                    let key = (writer * 1_000 + at) * 2;
                    let mut txn = cluster.begin(database, TxnOptions::default());
                    let pair = batch(&[(key, "one"), (key + 1, "other")]);
                    let inserted = txn.insert(&table, &pair, ConflictMode::Error).await;
                    if inserted.is_err() || txn.commit().await.is_err() {
                        return;
                    }
                    acknowledged.lock().push(key);
                }
            })
        })
        .collect();
    while acknowledged.lock().len() < 300 {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let node = node.kill_and_reopen().await;
    for writer in writers {
        writer.await.unwrap();
    }
    let rows = node.rows(&table).await;
    for key in acknowledged.lock().iter() {
        assert!(rows.contains_key(key) && rows.contains_key(&(key + 1)), "{key} was acknowledged");
    }
    for key in rows.keys() {
        assert!(rows.contains_key(&(key ^ 1)), "half of a transaction is there: {key}");
    }
}

#[tokio::test]
async fn a_long_log_is_checkpointed_by_itself() {
    let node = Node::with(|config| config.log_bytes_max = 50_000).await;
    let table = node.table("t").await;
    let words = "words ".repeat(100);
    for key in 0..300 {
        node.insert(&table, &[(key, &words)]).await.unwrap();
    }
    let longest = || node.cluster.group_stats().iter().map(|group| group.log_bytes).max().unwrap();
    for _ in 0..400 {
        if longest() < 60_000 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(longest() < 60_000, "a restart would replay {} bytes", longest());
    assert!(node.cluster.group_stats().iter().any(|group| group.checkpoint.0 > 100));
    let node = node.kill_and_reopen().await;
    assert_eq!(node.rows(&table).await.len(), 300);
}
