//! The main job on real input: 115,659 embeddings by binary COPY, indexed, searched, and still there after `kill -9`.

mod support;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float16Type, Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;
use bytes::{BufMut, Bytes, BytesMut};
use futures::SinkExt;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::path::Path;
use std::time::Instant;
use support::s3::S3Server;
use support::{TestServer, rows, value, wordnet_dir};
use tokio_postgres::Client;

const ROWS: &str = "115659";
const QUERIES: usize = 200;
const K: usize = 10;

fn batches(name: &str, batch_rows: usize) -> impl Iterator<Item = RecordBatch> {
    let path = wordnet_dir().join(name);
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
    reader.with_batch_size(batch_rows).build().expect("a reader").map(|batch| batch.expect("rows"))
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> &'a dyn Array {
    batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name}")).as_ref()
}

fn vector(batch: &RecordBatch, row: usize) -> Vec<f32> {
    let value = column(batch, "embedding").as_fixed_size_list().value(row);
    value.as_primitive::<Float16Type>().values().iter().map(|it| it.to_f32()).collect()
}

/// Rows in COPY's binary format, sent to the server in pieces.
async fn load(client: &Client) {
    let copy = "COPY wordnet (id, pos, lexname, gloss, links, embedding) FROM STDIN (FORMAT binary)";
    let sink = client.copy_in::<_, Bytes>(copy).await.expect("COPY begins");
    futures::pin_mut!(sink);
    let mut header = BytesMut::from(&b"PGCOPY\n\xff\r\n\0"[..]);
    header.put_i64(0);
    sink.send(header.freeze()).await.expect("sent");
    for batch in batches("base.parquet", 512) {
        sink.send(binary_rows(&batch)).await.expect("sent");
    }
    sink.send(Bytes::from_static(&[0xff, 0xff])).await.expect("sent");
    let count = sink.finish().await.expect("COPY ends");
    assert_eq!(count.to_string(), ROWS);
}

fn binary_rows(batch: &RecordBatch) -> Bytes {
    let ids = column(batch, "id").as_primitive::<Int64Type>();
    let texts = ["pos", "lexname", "gloss"].map(|name| column(batch, name).as_string::<i32>());
    let links = column(batch, "pointers").as_primitive::<Int32Type>();
    let mut out = BytesMut::with_capacity(batch.num_rows() * 2_048);
    for row in 0..batch.num_rows() {
        out.put_i16(6);
        out.put_i32(8);
        out.put_i64(ids.value(row));
        for text in texts {
            let text = text.value(row).as_bytes();
            out.put_i32(i32::try_from(text.len()).expect("short"));
            out.put_slice(text);
        }
        out.put_i32(4);
        out.put_i32(links.value(row));
        let vector = vector(batch, row);
        out.put_i32(i32::try_from(4 + 4 * vector.len()).expect("short"));
        out.put_u16(u16::try_from(vector.len()).expect("short"));
        out.put_u16(0);
        vector.into_iter().for_each(|value| out.put_f32(value));
    }
    out.freeze()
}

/// A query's text literal and the ids of its true nearest neighbours.
struct Query {
    literal: String,
    nearest: Vec<i64>,
}

fn queries() -> Vec<Query> {
    let queries = batches("queries.parquet", QUERIES).next().expect("queries");
    let truth = batches("truth_l2_top100.parquet", QUERIES).next().expect("truth");
    let neighbours = column(&truth, "neighbours").as_fixed_size_list();
    let query = |row: usize| {
        let literal: Vec<String> = vector(&queries, row).iter().map(f32::to_string).collect();
        let nearest = neighbours.value(row);
        let nearest = nearest.as_primitive::<Int32Type>().values()[..K].iter().map(|id| i64::from(*id));
        Query { literal: format!("[{}]", literal.join(",")), nearest: nearest.collect() }
    };
    (0..QUERIES).map(query).collect()
}

async fn ids(client: &Client, sql: &str) -> Vec<i64> {
    let id = |row: Vec<Option<String>>| row[0].as_deref().expect("not null").parse().expect("an id");
    rows(client, sql).await.into_iter().map(id).collect()
}

/// The share of the true ten nearest that the server finds.
async fn recall(client: &Client, queries: &[Query], ef_search: usize) -> f64 {
    client.batch_execute(&format!("SET hnsw.ef_search = {ef_search}")).await.expect("set");
    let started = Instant::now();
    let mut found = 0;
    for query in queries {
        let sql = format!("SELECT id FROM wordnet ORDER BY embedding <-> '{}' LIMIT {K}", query.literal);
        let ids = ids(client, &sql).await;
        assert_eq!(ids.len(), K);
        found += ids.iter().filter(|id| query.nearest.contains(id)).count();
    }
    let recall = found as f64 / (queries.len() * K) as f64;
    let per_second = queries.len() as f64 / started.elapsed().as_secs_f64();
    println!("ef_search {ef_search}: recall@{K} {recall:.4}, {per_second:.0} queries/s on one connection");
    recall
}

async fn check(client: &Client, queries: &[Query]) {
    assert_eq!(value(client, "SELECT count(*) FROM wordnet").await, ROWS);
    let plan = rows(
        client,
        &format!(
            "EXPLAIN ANALYZE SELECT id FROM wordnet ORDER BY embedding <-> '{}' LIMIT {K}",
            queries[0].literal
        ),
    )
    .await;
    let plan: Vec<String> =
        plan.into_iter().flatten().flatten().map(|line| line.chars().take(200).collect()).collect();
    println!("{}", plan.join("\n"));
    let at_80 = recall(client, queries, 80).await;
    assert!(at_80 >= 0.95, "recall at ef_search 80 is {at_80}");
    let at_200 = recall(client, queries, 200).await;
    assert!(at_200 >= 0.99, "recall at ef_search 200 is {at_200}");
}

/// Without the index the answer is the true one; with a filter it is never short.
async fn check_exact_and_filtered(client: &Client, queries: &[Query]) {
    for query in &queries[..3] {
        let filtered = format!(
            "SELECT id FROM wordnet WHERE lexname = 'noun.food' ORDER BY embedding <-> '{}' LIMIT {K}",
            query.literal
        );
        let through_index = ids(client, &filtered).await;
        client.batch_execute("SET enable_indexscan = off").await.expect("set");
        assert_eq!(recall(client, std::slice::from_ref(query), 40).await, 1.0);
        let exact = ids(client, &filtered).await;
        client.batch_execute("RESET enable_indexscan").await.expect("reset");
        assert_eq!((through_index.len(), exact.len()), (K, K));
        let common = exact.iter().filter(|id| through_index.contains(id)).count();
        assert!(common >= K - 1, "a filtered search found {common} of {K}");
    }
}

/// Loads, indexes, searches, kills the server and searches again. `before_restart` runs while nobody serves.
async fn whole_way(options: &[(&str, &str)], before_restart: impl FnOnce(&Path)) {
    let dir = tempfile::tempdir().expect("temp dir");
    let server = TestServer::start_on(dir.path(), options);
    let client = server.connect().await;
    client
        .batch_execute(
            "CREATE COLLECTION wordnet (id bigint PRIMARY KEY, pos text NOT NULL, lexname text NOT NULL,
                 gloss text NOT NULL, links integer NOT NULL, embedding vector(384) NOT NULL)",
        )
        .await
        .expect("created");
    let started = Instant::now();
    load(&client).await;
    println!("COPY: {:.1} s", started.elapsed().as_secs_f64());
    let started = Instant::now();
    client
        .batch_execute(
            "CREATE INDEX ON wordnet USING hnsw (embedding vector_l2_ops) WITH (m = 16, ef_construction = 64)",
        )
        .await
        .expect("indexed");
    println!("CREATE INDEX: {:.1} s", started.elapsed().as_secs_f64());
    let queries = queries();
    check(&client, &queries).await;
    check_exact_and_filtered(&client, &queries).await;

    server.kill();
    before_restart(dir.path());
    let started = Instant::now();
    let server = TestServer::start_on(dir.path(), options);
    println!("restart after kill -9: {:.1} s", started.elapsed().as_secs_f64());
    check(&server.connect().await, &queries).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wordnet_is_loaded_indexed_searched_and_survives_kill_9() {
    whole_way(&[], |_| {}).await;
}

/// The restarted server finds its segments in the bucket: its cache folder is gone.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_from_a_bucket() {
    let buckets = tempfile::tempdir().expect("temp dir");
    std::fs::create_dir(buckets.path().join("bucket")).expect("a bucket");
    let s3 = S3Server::start(buckets.path());
    let endpoint = s3.endpoint();
    whole_way(&S3Server::options(&endpoint, "s3://bucket/wordnet"), |dir| {
        std::fs::remove_dir_all(dir.join("data/cache")).expect("the cache folder is only a cache");
    })
    .await;
}
