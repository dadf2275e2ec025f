//! Background work as transactions see it: not at all, but for speed and space.

#![allow(clippy::unwrap_used)] // tests
use super::*;
use std::time::Duration;

async fn until(mut done: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it did not happen in 5 s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_flushed_by_size_and_stay_readable_in_old_snapshots() {
    let node = Node::with(|config| config.storage.memtable_bytes_max = 2_000).await;
    let table = node.table("t").await;
    node.insert(&table, &[(0, "old")]).await.unwrap();
    let reader = node.begin().await;
    for key in 1..60 {
        node.insert(&table, &[(key, "a value that takes some room")]).await.unwrap();
    }
    until(|| node.cluster.table_stats(&table).shards[0].segments > 0).await;
    node.cluster.compact(node.database(), table.id, true).await.unwrap();
    let stats = node.cluster.table_stats(&table).shards[0].clone();
    assert_eq!((stats.segments, stats.memtable_rows, stats.live_rows), (1, 0, 60));
    assert_eq!(reader.rows(&table), map(&[(0, "old")]));
    assert_eq!(node.rows(&table).await.len(), 60);
    let node = node.kill_and_reopen().await;
    assert_eq!(node.rows(&table).await.len(), 60);
    assert!(node.insert(&table, &[(30, "x")]).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_of_dropped_tables_go_once_nobody_reads_them() {
    let node = Node::new().await;
    let table = node.table("t").await;
    node.insert(&table, &[(1, "a")]).await.unwrap();
    node.cluster.compact(node.database(), table.id, false).await.unwrap();
    let reader = node.begin().await;
    let mut txn = node.begin().await;
    txn.lock_table(table.id, TableLock::Exclusive).await.unwrap();
    txn.edit(vec![CatalogEdit::DropTable(node.database(), table.id)]).unwrap();
    txn.commit().await.unwrap();
    let shards = || node.cluster.data.values().map(|group| group.shards().len()).sum::<usize>();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(shards(), 1, "somebody reads it");
    assert_eq!(reader.rows(&table), map(&[(1, "a")]));
    drop(reader);
    until(|| shards() == 0).await;
    let node = node.kill_and_reopen().await;
    assert!(node.cluster.data.values().all(|group| group.shards().is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_memory_makes_writers_wait_for_flushes_not_fail() {
    let node = Node::with(|config| config.memory = MemoryBudget::new(4 << 20)).await;
    let table = node.table("t").await;
    let words = "words ".repeat(1_000);
    for key in 0..1_500 {
        node.insert(&table, &[(key, &words)]).await.unwrap();
    }
    assert!(node.cluster.table_stats(&table).shards[0].segments > 0, "nothing was flushed");
    assert_eq!(node.cluster.table_stats(&table).shards[0].live_rows, 1_500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_of_a_dropped_shard_go_even_if_a_crash_came_between() {
    let node = Node::new().await;
    let table = node.table("t").await;
    node.insert(&table, &[(1, "a")]).await.unwrap();
    node.cluster.compact(node.database(), table.id, false).await.unwrap();
    let orphan = node.dir.path().join("objects/shards").join(table.shards[0].to_string());
    assert!(orphan.exists());
    // As if the folder of a shard that was dropped long ago were still there.
    let mut txn = node.begin().await;
    let gone = txn.new_shards(1)[0];
    create(&mut txn, "u", 1);
    txn.commit().await.unwrap();
    let left = node.dir.path().join("objects/shards").join(gone.to_string());
    std::fs::create_dir_all(left.join("1")).unwrap();
    std::fs::write(left.join("1/data-00000000.parquet"), "x").unwrap();
    let node = node.kill_and_reopen().await;
    until(|| !left.join("1/data-00000000.parquet").exists()).await;
    assert_eq!(node.rows(&table).await, map(&[(1, "a")]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_transaction_loads_into_its_own_table_leaves_memory_before_the_commit() {
    let node = Node::with(|config| {
        config.txn_stage_bytes = 10_000;
        config.storage.memtable_bytes_max = 50_000;
    })
    .await;
    let mut txn = node.begin().await;
    let table = create(&mut txn, "t", 1);
    let words = "words ".repeat(20);
    for start in (0..4_000).step_by(500) {
        let rows: Vec<(i64, &str)> = (start..start + 500).map(|key| (key, words.as_str())).collect();
        txn.insert(&table, &batch(&rows), ConflictMode::Error).await.unwrap();
    }
    until(|| node.cluster.table_stats(&table).shards[0].staged_bytes < 50_000).await;
    assert_eq!(txn.rows(&table).len(), 4_000);
    let error = txn.insert(&table, &batch(&[(7, "x")]), ConflictMode::Error).await.unwrap_err();
    assert_eq!(error.detail(), Some("Key (id)=(7) already exists."));
    txn.commit().await.unwrap();
    let node = node.kill_and_reopen().await;
    assert_eq!(node.rows(&table).await.len(), 4_000);
}

#[tokio::test]
async fn numbers_say_what_the_node_does_and_damage_has_a_name() {
    let node = Node::new().await;
    let table = node.table("t").await;
    node.insert(&table, &[(1, "a")]).await.unwrap();
    let mut txn = node.begin().await;
    txn.insert(&table, &batch(&[(2, "b")]), ConflictMode::Error).await.unwrap();
    assert_eq!(node.cluster.lock_counts(), (2, 0), "the table and a key");
    txn.rollback().await;
    assert_eq!(node.cluster.lock_counts(), (0, 0));
    let groups = node.cluster.group_stats();
    assert_eq!(groups.len(), 3);
    assert!(groups.iter().all(|group| group.leads_in.is_some()));
    let applied = || node.cluster.group_stats().iter().all(|group| group.applied == group.commit);
    until(applied).await;
    node.cluster.compact(node.database(), table.id, false).await.unwrap();
    node.cluster.verify().await.unwrap();
    let segment = node.dir.path().join("objects/shards").join(table.shards[0].to_string());
    let rows = walk(&segment).into_iter().find(|path| path.extension().is_some_and(|end| end == "parquet"));
    let rows = rows.unwrap();
    let mut bytes = std::fs::read(&rows).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&rows, bytes).unwrap();
    let error = node.cluster.verify().await.unwrap_err();
    assert_eq!(error.state(), quiver_base::SqlState::DATA_CORRUPTED);
    let name = rows.file_name().unwrap().to_string_lossy().into_owned();
    assert!(error.message().contains(&name), "{error}");
}

fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
