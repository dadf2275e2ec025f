//! `kill -9` at random moments: what was acknowledged is there after the restart, and nothing is half there.

mod support;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::{TestServer, rows};
use tokio_postgres::Client;

/// Small enough that flushes, merges and index builds happen all the time.
const OPTIONS: [(&str, &str); 1] = [("--memtable-size", "64kB")];
const WRITERS: i64 = 3;

/// What the writers know. A transaction is `rows_of_transaction` rows that share its number.
#[derive(Default)]
struct Known {
    /// Acknowledged inserts.
    acknowledged: BTreeSet<i64>,
    /// Sent, outcome unknown.
    attempted: BTreeSet<i64>,
    /// Acknowledged deletes.
    deleted: BTreeSet<i64>,
    /// Sent deletes, outcome unknown.
    maybe_deleted: BTreeSet<i64>,
}

fn rows_of_transaction(transaction: i64) -> i64 {
    1 + transaction % 7
}

fn kills() -> usize {
    std::env::var("QUIVER_KILLS").ok().and_then(|it| it.parse().ok()).unwrap_or(200)
}

/// Inserts and deletes whole transactions until the connection breaks.
async fn write(client: Client, known: Arc<Mutex<Known>>, mut next: i64, mut random: StdRng) {
    loop {
        next += WRITERS;
        known.lock().expect("lock").attempted.insert(next);
        if insert(&client, next, &mut random).await.is_err() {
            return;
        }
        known.lock().expect("lock").acknowledged.insert(next);
        if random.random_ratio(1, 5) {
            let victim = {
                let known = known.lock().expect("lock");
                let mine = known.acknowledged.iter().filter(|it| *it % WRITERS == next % WRITERS);
                mine.filter(|it| !known.maybe_deleted.contains(it)).copied().next()
            };
            let Some(victim) = victim else { continue };
            known.lock().expect("lock").maybe_deleted.insert(victim);
            let sql = format!("DELETE FROM t WHERE txn = {victim}");
            match client.execute(sql.as_str(), &[]).await {
                Ok(count) => assert_eq!(
                    count as i64,
                    rows_of_transaction(victim),
                    "a delete sees the whole transaction"
                ),
                Err(_) => return,
            }
            known.lock().expect("lock").deleted.insert(victim);
        }
    }
}

async fn insert(client: &Client, transaction: i64, random: &mut StdRng) -> Result<(), tokio_postgres::Error> {
    let row = |part: i64| {
        let id = transaction * 10 + part;
        format!("({id}, {transaction}, 'row {id}', '[{id},{part},{}]')", transaction % 100)
    };
    let parts = rows_of_transaction(transaction);
    if random.random_bool(0.5) {
        let values: Vec<String> = (0..parts).map(row).collect();
        client.batch_execute(&format!("INSERT INTO t VALUES {}", values.join(", "))).await
    } else {
        client.batch_execute("BEGIN").await?;
        for part in 0..parts {
            client.batch_execute(&format!("INSERT INTO t VALUES {}", row(part))).await?;
        }
        client.batch_execute("COMMIT").await
    }
}

/// Compares what is there with what is known; whatever was in doubt is settled by it.
async fn check(client: &Client, known: &mut Known) {
    let mut there: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for row in rows(client, "SELECT txn, id, body, embedding FROM t ORDER BY id").await {
        let cell = |i: usize| row[i].clone().expect("not null");
        let (transaction, id): (i64, i64) = (cell(0).parse().expect("txn"), cell(1).parse().expect("id"));
        assert_eq!(cell(2), format!("row {id}"));
        assert_eq!(cell(3), format!("[{id},{},{}]", id - transaction * 10, transaction % 100));
        there.entry(transaction).or_default().push(id);
    }
    for (transaction, ids) in &there {
        assert!(known.attempted.contains(transaction), "nobody wrote transaction {transaction}");
        assert!(!known.deleted.contains(transaction), "transaction {transaction} was deleted");
        let whole: Vec<i64> =
            (0..rows_of_transaction(*transaction)).map(|part| transaction * 10 + part).collect();
        assert_eq!(ids, &whole, "transaction {transaction} is half there");
    }
    for transaction in &known.acknowledged {
        if !there.contains_key(transaction) {
            assert!(known.maybe_deleted.contains(transaction), "transaction {transaction} was lost");
        }
    }
    let count: usize = there.values().map(Vec::len).sum();
    let counted = support::value(client, "SELECT count(*) FROM t").await;
    assert_eq!(counted, count.to_string(), "count(*) agrees with the rows");
    if let Some((transaction, ids)) = there.iter().next_back() {
        let id = ids[0];
        let found = support::value(client, &format!("SELECT txn FROM t WHERE id = {id}")).await;
        assert_eq!(found, transaction.to_string(), "the key finds its row");
        let query =
            format!("SELECT id FROM t ORDER BY embedding <-> '[{id},0,{}]' LIMIT 1", transaction % 100);
        assert_eq!(support::value(client, &query).await, id.to_string(), "the search finds its row");
    }
    known.acknowledged = there.keys().copied().collect();
    known.attempted = known.acknowledged.clone();
    known.deleted.clear();
    known.maybe_deleted.clear();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kill_9() {
    let seed = std::env::var("QUIVER_SEED").ok().and_then(|it| it.parse().ok()).unwrap_or_else(rand::random);
    println!("QUIVER_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().expect("temp dir");
    let mut server = TestServer::start_on(dir.path(), &OPTIONS);
    let client = server.connect().await;
    let create = "CREATE TABLE t (id bigint PRIMARY KEY, txn bigint NOT NULL, body text, embedding vector(3)) WITH (shards = 2);
        CREATE INDEX ON t USING hnsw (embedding vector_l2_ops)";
    client.batch_execute(create).await.expect("created");
    let known = Arc::new(Mutex::new(Known::default()));
    let mut next = 1_000;
    for _ in 0..kills() {
        let mut writers = Vec::new();
        for writer in 0..WRITERS {
            let client = server.connect().await;
            let random = StdRng::seed_from_u64(random.random());
            writers.push(tokio::spawn(write(client, known.clone(), next + writer, random)));
        }
        if random.random_ratio(1, 4) {
            let client = server.connect().await;
            tokio::spawn(async move { client.batch_execute("VACUUM t").await });
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(1..150))).await;
        server = server.crash_and_restart(&OPTIONS);
        for writer in writers {
            writer.await.expect("a writer ended well");
        }
        let mut taken = std::mem::take(&mut *known.lock().expect("lock"));
        next = taken.attempted.last().copied().unwrap_or(next) / WRITERS * WRITERS + WRITERS;
        check(&server.connect().await, &mut taken).await;
        *known.lock().expect("lock") = taken;
    }
}
