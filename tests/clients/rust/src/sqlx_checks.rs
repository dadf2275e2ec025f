//! sqlx: pools, prepared statements, transactions.

use crate::Result;
use chrono::{DateTime, TimeZone, Utc};
use futures_util::TryStreamExt;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, Executor, PgPool, Row, types::Json};
use uuid::Uuid;

pub(crate) async fn run(url: &str) -> Result<()> {
    let pool = PgPoolOptions::new().max_connections(3).connect(url).await?;
    types(&pool).await?;
    statements(&pool).await?;
    transactions(&pool).await?;
    pool.close().await;
    Ok(())
}

async fn types(pool: &PgPool) -> Result<()> {
    pool.execute(
        "CREATE TABLE everything (flag bool, small int2, int int4, big int8, r float4, d float8, body text, data bytea,
         zoned timestamptz, key uuid, documents jsonb, numbers int4[], words text[]); SELECT 1",
    )
    .await?;
    type Everything = (
        bool,
        i16,
        i32,
        i64,
        f32,
        f64,
        String,
        Vec<u8>,
        DateTime<Utc>,
        Uuid,
        Json<Vec<Option<i32>>>,
        Vec<Option<i32>>,
        Vec<String>,
    );
    let zoned = Utc.timestamp_micros(1_720_000_000_123_456).single().ok_or("a time")?;
    let key = Uuid::new_v4();
    let row: Everything = sqlx::query_as(
        "INSERT INTO everything VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) RETURNING *",
    )
    .bind(true)
    .bind(-7_i16)
    .bind(i32::MIN)
    .bind(i64::MAX)
    .bind(1.5_f32)
    .bind(0.1_f64)
    .bind("grüße")
    .bind(b"\x00\xff".to_vec())
    .bind(zoned)
    .bind(key)
    .bind(Json(vec![Some(1), None]))
    .bind(vec![Some(1), None])
    .bind(vec!["a", "b,c"])
    .fetch_one(pool)
    .await?;
    assert_eq!((row.0, row.1, row.2, row.3, row.4, row.5), (true, -7, i32::MIN, i64::MAX, 1.5, 0.1));
    assert_eq!((row.6.as_str(), row.7.as_slice(), row.8, row.9), ("grüße", &b"\x00\xff"[..], zoned, key));
    assert_eq!((row.10.0, row.11), (vec![Some(1), None], vec![Some(1), None]));
    assert_eq!(row.12, ["a", "b,c"]);
    Ok(())
}

async fn statements(pool: &PgPool) -> Result<()> {
    pool.execute("CREATE TABLE t (id int PRIMARY KEY, body text)").await?;
    for id in 0..20 {
        let done = sqlx::query("INSERT INTO t VALUES ($1, $2)")
            .bind(id)
            .bind(format!("row {id}"))
            .execute(pool)
            .await?;
        assert_eq!(done.rows_affected(), 1);
    }
    let mut rows = sqlx::query("SELECT id, body FROM t WHERE id >= $1 ORDER BY id").bind(18).fetch(pool);
    let mut found = Vec::new();
    while let Some(row) = rows.try_next().await? {
        found.push((row.get::<i32, _>("id"), row.get::<Option<String>, _>("body")));
    }
    assert_eq!(found, [(18, Some("row 18".to_owned())), (19, Some("row 19".to_owned()))]);
    let error = sqlx::query("INSERT INTO t VALUES (1, 'x')").execute(pool).await.expect_err("a duplicate");
    let error = error.as_database_error().ok_or("an error of the server")?;
    assert!(error.is_unique_violation());
    assert_eq!((error.constraint(), error.table()), (Some("t_pkey"), Some("t")));
    let error = sqlx::query("SELECT * FROM missing").execute(pool).await.expect_err("no table");
    assert_eq!(error.as_database_error().and_then(|error| error.code()).as_deref(), Some("42P01"));
    let counts = (0..10).map(|_| sqlx::query_scalar::<_, i64>("SELECT count(*) FROM t").fetch_one(pool));
    assert_eq!(futures_util::future::try_join_all(counts).await?, [20; 10]);
    Ok(())
}

async fn transactions(pool: &PgPool) -> Result<()> {
    let mut outer = pool.begin().await?;
    sqlx::query("INSERT INTO t VALUES (100, 'kept')").execute(&mut *outer).await?;
    let mut inner = outer.begin().await?;
    assert!(sqlx::query("INSERT INTO t VALUES (100, 'again')").execute(&mut *inner).await.is_err());
    inner.rollback().await?;
    outer.commit().await?;
    let mut undone = pool.begin().await?;
    sqlx::query("DELETE FROM t").execute(&mut *undone).await?;
    drop(undone);
    assert_eq!(sqlx::query_scalar::<_, i64>("SELECT count(*) FROM t").fetch_one(pool).await?, 21);
    Ok(())
}
