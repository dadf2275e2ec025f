//! Segments in an S3 bucket: written, searched, and found again by a server that starts over.

mod support;

use std::path::Path;
use support::s3::S3Server;
use support::{TestServer, rows, value};

/// Options of a server whose segments are small and in the bucket.
fn options<'a>(endpoint: &'a str, url: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut options = S3Server::options(endpoint, url).to_vec();
    options.push(("--memtable-size", "256kB"));
    options
}

fn files_below(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

/// The searches whose answers must be the same before and after.
async fn answers(client: &tokio_postgres::Client) -> Vec<Vec<Vec<Option<String>>>> {
    let queries = [
        "SELECT count(*), sum(id), count(DISTINCT body) FROM t",
        "SELECT id, body FROM t WHERE id = 4321",
        "SELECT id FROM t ORDER BY e <-> '[0.11,0.52,0.93,0.34]' LIMIT 10",
        "SELECT id FROM t WHERE id % 10 = 3 ORDER BY e <-> '[0.11,0.52,0.93,0.34]' LIMIT 10",
    ];
    let mut answers = Vec::new();
    for query in queries {
        answers.push(rows(client, query).await);
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_indexes_live_in_the_bucket() {
    let buckets = tempfile::tempdir().expect("temp dir");
    std::fs::create_dir(buckets.path().join("bucket")).expect("a bucket");
    let s3 = S3Server::start(buckets.path());
    let endpoint = s3.endpoint();
    let options = options(&endpoint, "s3://bucket/some/prefix");

    let dir = tempfile::tempdir().expect("temp dir");
    let server = TestServer::start_on(dir.path(), &options);
    let client = server.connect().await;
    client
        .batch_execute(
            "CREATE TABLE t (id bigint PRIMARY KEY, body text, e vector(4)) WITH (shards = 2);
             INSERT INTO t SELECT i, 'row ' || i,
                 ('[' || (i * 7 % 101) / 101.0 || ',' || (i * 13 % 103) / 103.0 || ',' || (i * 17 % 107) / 107.0
                  || ',' || (i * 19 % 109) / 109.0 || ']')::vector
             FROM generate_series(1, 10000) AS g(i);
             CREATE INDEX ON t USING hnsw (e vector_l2_ops);
             DELETE FROM t WHERE id % 100 = 0;
             UPDATE t SET body = 'changed' WHERE id = 4321",
        )
        .await
        .expect("loaded");
    client.batch_execute("VACUUM t").await.expect("vacuumed");
    let before = answers(&client).await;
    assert_eq!(before[0][0][0].as_deref(), Some("9900"));
    assert_eq!(before[1][0][1].as_deref(), Some("changed"));
    assert_eq!((before[2].len(), before[3].len()), (10, 10));
    let objects = files_below(&buckets.path().join("bucket/some/prefix"));
    assert!(objects > 3, "{objects} objects are in the bucket");

    let server = server.crash_and_restart(&options);
    assert_eq!(answers(&server.connect().await).await, before, "after kill -9");
    drop(server);
    std::fs::remove_dir_all(dir.path().join("data/cache")).expect("the cache folder is only a cache");
    let mut server = TestServer::start_on(dir.path(), &options);
    let client = server.connect().await;
    assert_eq!(answers(&client).await, before, "with an empty cache");
    client.batch_execute("INSERT INTO t VALUES (20000, 'late', '[1,1,1,1]')").await.expect("inserted");
    assert_eq!(server.terminate().0, Some(0));
    let server = TestServer::start_on(dir.path(), &options);
    assert_eq!(value(&server.connect().await, "SELECT body FROM t WHERE id = 20000").await, "late");
}

/// What the search in a plan did, by EXPLAIN ANALYZE.
async fn counted(client: &tokio_postgres::Client, name: &str, search: &str) -> u64 {
    let plan = rows(client, &format!("EXPLAIN ANALYZE {search}")).await;
    let line = plan.iter().filter_map(|row| row[0].as_deref()).find(|line| line.contains("VectorTopK"));
    let line = line.expect("a search").to_owned();
    let (_, number) = line.split_once(&format!("{name}=")).unwrap_or_else(|| panic!("no {name} in {line}"));
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("{name} in {line}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_read_in_parts_where_the_cache_has_nothing() {
    let buckets = tempfile::tempdir().expect("temp dir");
    std::fs::create_dir(buckets.path().join("bucket")).expect("a bucket");
    let s3 = S3Server::start(buckets.path());
    let endpoint = s3.endpoint();
    let mut options = S3Server::options(&endpoint, "s3://bucket/cold").to_vec();
    options.push(("--cold-size", "1kB"));

    let dir = tempfile::tempdir().expect("temp dir");
    let server = TestServer::start_on(dir.path(), &options);
    let client = server.connect().await;
    client
        .batch_execute(
            "CREATE TABLE t (id bigint PRIMARY KEY, e vector(32));
             INSERT INTO t SELECT i, (SELECT array_agg(sin(i * d)) FROM generate_series(1, 32) d)::vector
             FROM generate_series(1, 12000) AS g(i);
             CREATE INDEX ON t USING ivfflat (e vector_l2_ops) WITH (lists = 40)",
        )
        .await
        .expect("loaded");
    client.batch_execute("VACUUM t").await.expect("vacuumed");
    let vector = value(&client, "SELECT e FROM t WHERE id = 1234").await;
    let search = format!("SELECT id FROM t ORDER BY e <-> '{vector}' LIMIT 10");
    let set = "SET ivfflat.probes = 5";
    client.batch_execute(set).await.expect("set");
    let here = rows(&client, &search).await;
    assert_eq!(here[0][0].as_deref(), Some("1234"));
    assert_eq!(counted(&client, "remote_reads", &search).await, 0, "what was written here is in the cache");

    drop(server);
    std::fs::remove_dir_all(dir.path().join("data/cache")).expect("the cache folder is only a cache");
    let server = TestServer::start_on(dir.path(), &options);
    let client = server.connect().await;
    client.batch_execute(set).await.expect("set");
    let reads = counted(&client, "remote_reads", &search).await;
    assert!(reads >= 3, "a head, lists and vectors in {reads} requests");
    assert_eq!(rows(&client, &search).await, here, "the same answer from parts");
    assert_eq!(counted(&client, "remote_reads", &search).await, 0, "what came is kept");
}

#[test]
fn a_prefix_serves_one_cluster() {
    let buckets = tempfile::tempdir().expect("temp dir");
    std::fs::create_dir(buckets.path().join("bucket")).expect("a bucket");
    let s3 = S3Server::start(buckets.path());
    let endpoint = s3.endpoint();
    let options = options(&endpoint, "s3://bucket/one");
    let (first, second) = (tempfile::tempdir().expect("temp dir"), tempfile::tempdir().expect("temp dir"));
    drop(TestServer::start_on(first.path(), &options));
    let Err(message) = TestServer::try_start(second.path(), &options) else { panic!("both started") };
    assert!(message.contains("belongs to another cluster"), "{message}");
}

#[test]
fn a_bucket_that_does_not_exist_is_a_clear_error() {
    let buckets = tempfile::tempdir().expect("temp dir");
    let s3 = S3Server::start(buckets.path());
    let endpoint = s3.endpoint();
    let dir = tempfile::tempdir().expect("temp dir");
    let started = TestServer::try_start(dir.path(), &options(&endpoint, "s3://nowhere/prefix"));
    let Err(message) = started else { panic!("it started without its bucket") };
    assert!(message.contains("the bucket does not exist"), "{message}");
    assert!(message.contains("nowhere"), "{message}");
}
