//! tokio-postgres: everything in binary, prepared statements, pipelining, portals, COPY, errors, vectors.

use crate::Result;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use futures_util::{SinkExt, StreamExt, TryStreamExt, future};
use pgvector::Vector;
use serde_json::{Value, json};
use tokio_postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutStream};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use uuid::Uuid;

pub(crate) async fn run(url: &str) -> Result<()> {
    let (mut client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    types(&client).await?;
    statements(&client).await?;
    errors(&mut client).await?;
    transactions(&mut client).await?;
    copy(&client).await?;
    vectors(&client).await?;
    crate::tokio_vectors::run(&client).await?;
    cancel(&client).await
}

async fn types(client: &Client) -> Result<()> {
    client
        .batch_execute(
            "CREATE TABLE everything (flag bool, small int2, int int4, big int8, r float4, d float8, body text, name varchar(9),
             data bytea, day date, hour time, stamp timestamp, zoned timestamptz, key uuid, document json, documents jsonb,
             numbers int4[], words text[])",
        )
        .await?;
    let day = NaiveDate::from_ymd_opt(2024, 2, 29).ok_or("a date")?;
    let hour = NaiveTime::from_hms_micro_opt(23, 59, 58, 1).ok_or("a time")?;
    let stamp = NaiveDateTime::new(day, hour);
    let zoned: DateTime<Utc> = stamp.and_utc();
    let key = Uuid::new_v4();
    let document = json!({"a": [1, null, {"b": "ü"}]});
    let (numbers, words) = (vec![Some(1), None, Some(-3)], vec!["a", "b,c", "", "NULL"]);
    let marks: Vec<String> = (1..=18).map(|n| format!("${n}")).collect();
    let insert = format!("INSERT INTO everything VALUES ({}) RETURNING *", marks.join(", "));
    let row = client
        .query_one(
            &insert,
            &[
                &true,
                &-32768_i16,
                &i32::MAX,
                &i64::MIN,
                &1.5_f32,
                &0.1_f64,
                &"grüße \\ ' \"",
                &"short",
                &&b"\x00\xff"[..],
                &day,
                &hour,
                &stamp,
                &zoned,
                &key,
                &document,
                &document,
                &numbers,
                &words,
            ],
        )
        .await?;
    assert!(row.get::<_, bool>(0));
    assert_eq!(
        (row.get::<_, i16>(1), row.get::<_, i32>(2), row.get::<_, i64>(3)),
        (-32768, i32::MAX, i64::MIN)
    );
    assert_eq!((row.get::<_, f32>(4), row.get::<_, f64>(5)), (1.5, 0.1));
    assert_eq!((row.get::<_, &str>(6), row.get::<_, &str>(7)), ("grüße \\ ' \"", "short"));
    assert_eq!(row.get::<_, &[u8]>(8), b"\x00\xff");
    assert_eq!((row.get::<_, NaiveDate>(9), row.get::<_, NaiveTime>(10)), (day, hour));
    assert_eq!((row.get::<_, NaiveDateTime>(11), row.get::<_, DateTime<Utc>>(12)), (stamp, zoned));
    assert_eq!(row.get::<_, Uuid>(13), key);
    assert_eq!((row.get::<_, Value>(14), row.get::<_, Value>(15)), (document.clone(), document));
    assert_eq!(row.get::<_, Vec<Option<i32>>>(16), numbers);
    assert_eq!(row.get::<_, Vec<&str>>(17), words);
    Ok(())
}

async fn statements(client: &Client) -> Result<()> {
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY, body text NOT NULL)").await?;
    let insert = client.prepare("INSERT INTO t VALUES ($1, $2)").await?;
    assert_eq!(insert.params(), &[Type::INT4, Type::TEXT]);
    // Sent at once, answered in order.
    let bodies: Vec<String> = (0..50).map(|id| format!("row {id}")).collect();
    let ids: Vec<i32> = (0..50).collect();
    let pending = ids.iter().zip(&bodies).map(|(id, body)| {
        let insert = &insert;
        async move { client.execute(insert, &[id, body]).await }
    });
    assert!(future::try_join_all(pending).await?.iter().all(|count| *count == 1));
    let select = client.prepare_typed("SELECT body FROM t WHERE id = $1", &[Type::INT4]).await?;
    assert_eq!(select.columns()[0].type_(), &Type::TEXT);
    assert_eq!(client.query_one(&select, &[&7]).await?.get::<_, String>(0), "row 7");
    assert!(client.query_opt(&select, &[&70]).await?.is_none());
    let some = client.query("SELECT id FROM t WHERE id = ANY($1) ORDER BY id", &[&vec![3, 1, 99]]).await?;
    assert_eq!(some.iter().map(|row| row.get(0)).collect::<Vec<i32>>(), [1, 3]);
    let messages = client
        .simple_query("SELECT id, NULL AS n FROM t WHERE id < 2 ORDER BY id; DELETE FROM t WHERE id = 49")
        .await?;
    let rows: Vec<_> = messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((row.get(0), row.get(1))),
            _ => None,
        })
        .collect();
    assert_eq!(rows, [(Some("0"), None), (Some("1"), None)]);
    Ok(())
}

async fn errors(client: &mut Client) -> Result<()> {
    for (statement, state) in [
        ("SELECT * FROM missing", SqlState::UNDEFINED_TABLE),
        ("SELECT missing", SqlState::UNDEFINED_COLUMN),
        ("SELEC", SqlState::SYNTAX_ERROR),
        ("SELECT 1 / 0", SqlState::DIVISION_BY_ZERO),
        ("INSERT INTO t VALUES (1, 'x')", SqlState::UNIQUE_VIOLATION),
        ("INSERT INTO t VALUES (1000, NULL)", SqlState::NOT_NULL_VIOLATION),
    ] {
        let error = client.execute(statement, &[]).await.expect_err(statement);
        assert_eq!(error.code(), Some(&state), "{statement}");
    }
    Ok(())
}

async fn transactions(client: &mut Client) -> Result<()> {
    let mut outer = client.transaction().await?;
    outer.execute("INSERT INTO t VALUES (100, 'kept')", &[]).await?;
    let inner = outer.savepoint("s").await?;
    assert!(inner.execute("INSERT INTO t VALUES (100, 'again')", &[]).await.is_err());
    inner.rollback().await?;
    // A portal gives its rows piece by piece.
    let portal = outer.bind("SELECT id FROM t WHERE id < $1 ORDER BY id", &[&100]).await?;
    assert_eq!(outer.query_portal(&portal, 20).await?.len(), 20);
    let next = outer.query_portal(&portal, 20).await?;
    assert_eq!((next.len(), next[0].get::<_, i32>(0)), (20, 20));
    assert_eq!(outer.query_portal(&portal, 0).await?.len(), 9);
    outer.commit().await?;
    let gone = client.transaction().await?;
    gone.execute("DELETE FROM t", &[]).await?;
    drop(gone);
    assert_eq!(client.query_one("SELECT count(*) FROM t", &[]).await?.get::<_, i64>(0), 50);
    Ok(())
}

async fn copy(client: &Client) -> Result<()> {
    client.batch_execute("CREATE TABLE c (id int8, body text)").await?;
    let sink = client.copy_in("COPY c FROM STDIN BINARY").await?;
    let writer = BinaryCopyInWriter::new(sink, &[Type::INT8, Type::TEXT]);
    let mut writer = std::pin::pin!(writer);
    for id in 0..1000_i64 {
        let body = (id % 3 != 0).then(|| format!("row {id}"));
        writer.as_mut().write(&[&id, &body]).await?;
    }
    assert_eq!(writer.finish().await?, 1000);
    let stream = client.copy_out("COPY (SELECT * FROM c ORDER BY id) TO STDOUT BINARY").await?;
    let rows: Vec<_> = BinaryCopyOutStream::new(stream, &[Type::INT8, Type::TEXT]).try_collect().await?;
    assert_eq!(rows.len(), 1000);
    assert_eq!((rows[4].get::<i64>(0), rows[4].get::<Option<&str>>(1)), (4, Some("row 4")));
    assert_eq!(rows[3].get::<Option<&str>>(1), None);
    let sink = client.copy_in::<_, &[u8]>("COPY c FROM STDIN").await?;
    let mut sink = std::pin::pin!(sink);
    sink.send(b"5000\tlast\n").await?;
    assert_eq!(sink.finish().await?, 1);
    let mut text = Vec::new();
    let stream = client.copy_out("COPY (SELECT * FROM c WHERE id >= 999 ORDER BY id) TO STDOUT").await?;
    let mut stream = std::pin::pin!(stream);
    while let Some(bytes) = stream.next().await {
        text.extend_from_slice(&bytes?);
    }
    assert_eq!(text, b"999\t\\N\n5000\tlast\n");
    Ok(())
}

async fn vectors(client: &Client) -> Result<()> {
    client
        .batch_execute(
            "CREATE TABLE items (id bigserial PRIMARY KEY, lang text, embedding vector(3));
             CREATE INDEX ON items USING hnsw (embedding vector_l2_ops)",
        )
        .await?;
    for (lang, vector) in
        [("de", vec![1.0, 0.0, 0.0]), ("en", vec![0.9, 0.1, 0.0]), ("de", vec![0.0, 0.0, 1.0])]
    {
        let vector = Vector::from(vector);
        client.execute("INSERT INTO items (lang, embedding) VALUES ($1, $2)", &[&lang, &vector]).await?;
    }
    let query = Vector::from(vec![1.0, 0.0, 0.0]);
    let statement =
        "SELECT id, embedding, embedding <=> $1 FROM items WHERE lang = $2 ORDER BY embedding <-> $1 LIMIT 5";
    let rows = client.query(statement, &[&query, &"de"]).await?;
    assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<i64>>(), [1, 3]);
    assert_eq!((rows[0].get::<_, Vector>(1), rows[0].get::<_, f64>(2)), (query, 0.0));
    Ok(())
}

async fn cancel(client: &Client) -> Result<()> {
    let token = client.cancel_token();
    let stop = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        token.cancel_query(NoTls).await
    };
    let (slept, stopped) = future::join(client.batch_execute("SELECT pg_sleep(20)"), stop).await;
    stopped?;
    assert_eq!(slept.expect_err("cancelled").code(), Some(&SqlState::QUERY_CANCELED));
    Ok(())
}
