//! `quiver demo`: loads the sample that ships in the binary through a real PostgreSQL connection, searches it and prints the
//! answers. A client like any other: it knows nothing of the server it talks to but its address.

use arrow::array::AsArray;
use arrow::datatypes::{Float16Type, Int32Type, Int64Type};
use arrow::record_batch::RecordBatch;
use bytes::{BufMut, Bytes, BytesMut};
use futures::SinkExt;
use indicatif::{ProgressBar, ProgressStyle};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use quiver_base::{Error, Result, SqlState};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// 4,000 synsets of WordNet with their embeddings; see `demo/README.md`.
const SAMPLE: &[u8] = include_bytes!("../../../demo/wordnet-sample.parquet");

const CREATE: &str = "CREATE COLLECTION wordnet (
    id        bigint PRIMARY KEY,
    pos       text NOT NULL,
    category  text NOT NULL,
    words     text NOT NULL,
    gloss     text NOT NULL,
    links     integer NOT NULL,
    embedding vector(384) NOT NULL
)";

const COPY: &str =
    "COPY wordnet (id, pos, category, words, gloss, links, embedding) FROM STDIN (FORMAT binary)";

const INDEX: &str =
    "CREATE INDEX ON wordnet USING hnsw (embedding vector_l2_ops) WITH (m = 16, ef_construction = 64)";

/// Searches, each with what it shows.
const SEARCHES: [(&str, &str); 4] = [
    (
        "Nearest neighbours of \"dog\"",
        "SELECT words, category, round((embedding <-> (SELECT embedding FROM wordnet WHERE words LIKE 'dog, %' LIMIT 1))::numeric, 3) AS distance
FROM wordnet
ORDER BY embedding <-> (SELECT embedding FROM wordnet WHERE words LIKE 'dog, %' LIMIT 1)
LIMIT 6",
    ),
    (
        "The same among food only: the filter is applied before the top 6 are taken",
        "SELECT words, left(gloss, 60) AS gloss
FROM wordnet
WHERE category = 'noun.food'
ORDER BY embedding <-> (SELECT embedding FROM wordnet WHERE words LIKE 'dog, %' LIMIT 1)
LIMIT 6",
    ),
    (
        "Which categories the 100 nearest to \"coffee\" fall in",
        "SELECT category, count(*) AS hits, min(words) AS example
FROM (
    SELECT category, words FROM wordnet
    ORDER BY embedding <=> (SELECT embedding FROM wordnet WHERE words LIKE 'coffee, %' AND category = 'noun.food' LIMIT 1)
    LIMIT 100
) AS nearest
GROUP BY category ORDER BY hits DESC, category LIMIT 5",
    ),
    (
        "How that search runs",
        "EXPLAIN ANALYZE SELECT words FROM wordnet
WHERE pos = 'noun'
ORDER BY embedding <-> (SELECT embedding FROM wordnet WHERE words LIKE 'dog, %' LIMIT 1)
LIMIT 6",
    ),
];

/// Loads the sample unless it is there, searches, prints. The server keeps serving afterwards.
pub(crate) async fn run(address: SocketAddr) -> Result<()> {
    let client = connect(address).await?;
    match is_loaded(&client).await? {
        true => println!("\nThe sample is loaded already."),
        false => load(&client).await?,
    }
    for (title, sql) in SEARCHES {
        show(&client, title, sql).await?;
    }
    println!(
        "\nGo on with any PostgreSQL client; ctrl-C stops the server:\n\n    psql -h {} -p {} quiver\n",
        address.ip(),
        address.port()
    );
    Ok(())
}

async fn connect(address: SocketAddr) -> Result<Client> {
    let mut config = tokio_postgres::Config::new();
    config.host(address.ip().to_string()).port(address.port()).user("quiver").dbname("quiver");
    config.connect_timeout(Duration::from_secs(10));
    let (client, connection) = config.connect(NoTls).await.map_err(client_error)?;
    tokio::spawn(connection);
    Ok(client)
}

async fn is_loaded(client: &Client) -> Result<bool> {
    client.batch_execute("CREATE EXTENSION IF NOT EXISTS vector").await.map_err(client_error)?;
    let there = client.query_one("SELECT to_regclass('public.wordnet') IS NOT NULL", &[]).await;
    match there.map_err(client_error)?.get(0) {
        false => Ok(false),
        true => {
            let count = client.query_one("SELECT count(*) FROM wordnet", &[]).await.map_err(client_error)?;
            Ok(count.get::<_, i64>(0) > 0)
        }
    }
}

async fn load(client: &Client) -> Result<()> {
    let corrupt =
        |cause: parquet::errors::ParquetError| Error::corrupt(format!("the demo's sample: {cause}"));
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from_static(SAMPLE)).map_err(corrupt)?;
    let rows = u64::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or(0);
    client.batch_execute("DROP TABLE IF EXISTS wordnet").await.map_err(client_error)?;
    client.batch_execute(CREATE).await.map_err(client_error)?;

    println!("\nLoading {rows} rows of WordNet with their embeddings by COPY:");
    let style = ProgressStyle::with_template("  {bar:40} {pos}/{len} rows, {per_sec}")
        .map_err(|cause| Error::internal(cause.to_string()))?;
    let bar = ProgressBar::new(rows).with_style(style);
    let sink = client.copy_in::<_, Bytes>(COPY).await.map_err(client_error)?;
    futures::pin_mut!(sink);
    sink.send(binary_header()).await.map_err(client_error)?;
    for batch in reader.with_batch_size(250).build().map_err(corrupt)? {
        let batch = batch?;
        sink.send(binary_rows(&batch)?).await.map_err(client_error)?;
        bar.inc(batch.num_rows() as u64);
    }
    sink.send(Bytes::from_static(&[0xff, 0xff])).await.map_err(client_error)?;
    sink.finish().await.map_err(client_error)?;
    bar.finish();

    let started = Instant::now();
    client.batch_execute(INDEX).await.map_err(client_error)?;
    println!("  CREATE INDEX … USING hnsw took {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// The file header of COPY's binary format.
fn binary_header() -> Bytes {
    let mut header = BytesMut::from(&b"PGCOPY\n\xff\r\n\0"[..]);
    header.put_i32(0);
    header.put_i32(0);
    header.freeze()
}

/// Rows in COPY's binary format; the vector as pgvector sends it: dimension, 0, big-endian floats.
fn binary_rows(batch: &RecordBatch) -> Result<Bytes> {
    let column = |name: &str| {
        batch
            .column_by_name(name)
            .ok_or_else(|| Error::corrupt(format!("the demo's sample has no column {name}")))
    };
    let ids = column("id")?.as_primitive::<Int64Type>();
    let texts = [column("pos")?, column("lexname")?, column("words")?, column("gloss")?]
        .map(|it| it.as_string::<i32>());
    let links = column("pointers")?.as_primitive::<Int32Type>();
    let embeddings = column("embedding")?.as_fixed_size_list();
    let dim = u16::try_from(embeddings.value_length()).map_err(|_| Error::corrupt("the demo's sample"))?;
    let mut out = BytesMut::with_capacity(batch.num_rows() * 2_048);
    for row in 0..batch.num_rows() {
        out.put_i16(7);
        out.put_i32(8);
        out.put_i64(ids.value(row));
        for text in texts {
            let text = text.value(row).as_bytes();
            out.put_i32(i32::try_from(text.len()).map_err(|_| Error::corrupt("the demo's sample"))?);
            out.put_slice(text);
        }
        out.put_i32(4);
        out.put_i32(links.value(row));
        out.put_i32(4 + 4 * i32::from(dim));
        out.put_u16(dim);
        out.put_u16(0);
        let vector = embeddings.value(row);
        for value in vector.as_primitive::<Float16Type>().values() {
            out.put_f32(value.to_f32());
        }
    }
    Ok(out.freeze())
}

/// Prints a statement and its answer as a table.
async fn show(client: &Client, title: &str, sql: &str) -> Result<()> {
    println!("\n{title}:\n");
    for line in sql.lines() {
        println!("    {line}");
    }
    let started = Instant::now();
    let messages = client.simple_query(sql).await.map_err(client_error)?;
    let elapsed = started.elapsed();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for message in messages {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                rows.push(columns.iter().map(|it| it.name().to_owned()).collect());
            }
            SimpleQueryMessage::Row(row) => {
                rows.push((0..row.len()).map(|i| row.get(i).unwrap_or("").to_owned()).collect());
            }
            _ => {}
        }
    }
    print_table(&rows);
    println!("    {} rows in {:.1} ms", rows.len().saturating_sub(1), elapsed.as_secs_f64() * 1e3);
    Ok(())
}

/// The first row is the heading.
fn print_table(rows: &[Vec<String>]) {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    println!();
    for (position, row) in rows.iter().enumerate() {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        println!("    {}", cells.join(" | ").trim_end());
        if position == 0 {
            let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            println!("    {}", rules.join("-+-"));
        }
    }
}

fn client_error(cause: tokio_postgres::Error) -> Error {
    match cause.as_db_error() {
        Some(error) => Error::new(
            SqlState::INTERNAL_ERROR,
            format!("{} (SQLSTATE {})", error.message(), error.code().code()),
        ),
        None => Error::new(SqlState::CONNECTION_FAILURE, cause.to_string()),
    }
}
