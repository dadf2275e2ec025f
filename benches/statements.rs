//! Statements through a server in this process: what is gained by a kept plan, and how fast COPY decodes. Everything from the socket on is
//! measured, so compare with `SELECT 1` of the same run.
#![allow(missing_docs)] // criterion's macro makes a public function

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::{SinkExt, pin_mut};
use quiver_base::MemoryBudget;
use quiver_cluster::{Cluster, ClusterConfig};
use quiver_exec::Engine;
use quiver_sql::{ServerConfig, SqlServer};
use quiver_storage::StorageOptions;
use std::fmt::Write;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};
use tokio_util::sync::CancellationToken;

const DIM: usize = 128;
const ROWS: usize = 2000;

async fn client(folder: &std::path::Path) -> Client {
    let memory = MemoryBudget::new(4 << 30);
    let cluster = Cluster::open(ClusterConfig {
        data_dir: folder.join("data"),
        object_store: None,
        memory: memory.clone(),
        storage: StorageOptions::default(),
        background_threads: 1,
        data_groups: 1,
        txn_stage_bytes: 4 << 20,
        write_wait_max: Duration::from_secs(30),
        log_bytes_max: 256 << 20,
    });
    let cluster = cluster.await.expect("a new folder");
    let engine = Engine::new(memory).expect("an engine");
    let config = ServerConfig::new("127.0.0.1:0".parse().expect("an address"));
    let server = SqlServer::bind(config, cluster, engine).await.expect("a free port");
    let address = server.local_addr();
    tokio::spawn(server.serve(CancellationToken::new()));
    let parameters = format!("host={} port={} user=postgres dbname=postgres", address.ip(), address.port());
    let (client, connection) = tokio_postgres::connect(&parameters, NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

/// A vector's text; the same for the same number.
fn vector(number: usize) -> String {
    let mut text = "[".to_owned();
    for i in 0..DIM {
        let _ = write!(
            text,
            "{}{}",
            if i == 0 { "" } else { "," },
            ((number * 31 + i * 17) % 101) as f32 / 101.0
        );
    }
    text + "]"
}

fn rows() -> String {
    let mut rows = String::new();
    for row in 0..ROWS {
        let _ = writeln!(rows, "{row}\ttenant {}\t{}", row % 50, vector(row));
    }
    rows
}

async fn copy(client: &Client, rows: &str) {
    let sink = client.copy_in("COPY docs FROM STDIN").await.expect("COPY begins");
    pin_mut!(sink);
    sink.send(bytes::Bytes::from(rows.to_owned())).await.expect("rows are taken");
    sink.finish().await.expect("rows are stored");
}

fn statements(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = Runtime::new().expect("a runtime");
    let client = runtime.block_on(client(folder.path()));
    let run = |sql: &str| runtime.block_on(client.batch_execute(sql)).expect("a statement");
    run(&format!("CREATE TABLE docs (id bigint PRIMARY KEY, tenant text, embedding vector({DIM}))"));
    let rows = rows();

    let mut group = c.benchmark_group("copy");
    group.throughput(Throughput::Bytes(rows.len() as u64)).sample_size(10);
    group.bench_function("text, vectors of 128", |it| {
        it.iter(|| {
            run("TRUNCATE docs");
            runtime.block_on(copy(&client, &rows));
        });
    });
    group.finish();

    run("CREATE INDEX ON docs USING hnsw (embedding vector_l2_ops)");
    let one = runtime.block_on(client.prepare("SELECT 1")).expect("a statement");
    let key = runtime.block_on(client.prepare("SELECT tenant FROM docs WHERE id = 77")).expect("a statement");
    let search = format!("SELECT id FROM docs ORDER BY embedding <-> '{}' LIMIT 10", vector(5));
    let prepared = runtime.block_on(client.prepare(&search)).expect("a statement");
    let mut group = c.benchmark_group("statements");
    for (name, statement) in [("SELECT 1", &one), ("key lookup", &key), ("search", &prepared)] {
        group.bench_function(format!("{name}, prepared"), |it| {
            it.iter(|| runtime.block_on(client.query(statement, &[])).expect("an answer"));
        });
    }
    group.bench_function("search, sent as text", |it| {
        it.iter(|| runtime.block_on(client.simple_query(&search)).expect("an answer"));
    });
    let mut turn = 0;
    group.bench_function("search, another text each time", |it| {
        it.iter(|| {
            turn += 1;
            let search = format!("SELECT id FROM docs ORDER BY embedding <-> '{}' LIMIT 10", vector(turn));
            runtime.block_on(client.simple_query(&search)).expect("an answer")
        });
    });
    group.finish();
}

criterion_group!(benches, statements);
criterion_main!(benches);
