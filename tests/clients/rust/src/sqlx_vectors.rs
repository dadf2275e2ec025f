//! sqlx with the pgvector crate: it looks types up by name, tells the server their oids and reads binary results.

use crate::Result;
use crate::vector_samples::{CREATE, DISTANCES, QUERY, ROWS, Values, close, values};
use pgvector::{Bit, HalfVector, SparseVector, Vector};
use sqlx::postgres::{PgHasArrayType, Postgres};
use sqlx::{AssertSqlSafe, Column, Executor, PgPool, Row, Statement, TypeInfo};

pub(crate) async fn run(pool: &PgPool) -> Result<()> {
    pool.execute(CREATE).await?;
    round_trip(pool).await?;
    let Values { vector, half, sparse, bit } = values(&QUERY);
    operators(pool, "vector", &vector).await?;
    operators(pool, "halfvec", &half).await?;
    operators(pool, "sparsevec", &sparse).await?;
    let hamming = "SELECT bit <~> $1, bit <%> $1 FROM vectors WHERE id < 4 ORDER BY bit <~> $1 LIMIT 1";
    let found: (f64, f64) = sqlx::query_as(hamming).bind(&bit).fetch_one(pool).await?;
    assert!(found.0 == 1.0 && close(found.1, 1.0 / 3.0));
    lists(pool).await?;
    errors(pool).await
}

type Loaded = (i32, Option<Vector>, Option<HalfVector>, Option<SparseVector>, Option<Bit>);

async fn round_trip(pool: &PgPool) -> Result<()> {
    let insert = "INSERT INTO vectors (id, vector, halfvec, sparsevec, bit) VALUES ($1, $2, $3, $4, $5)";
    for (id, row) in (1_i32..).zip(&ROWS) {
        let Values { vector, half, sparse, bit } = values(row);
        sqlx::query(insert).bind(id).bind(vector).bind(half).bind(sparse).bind(bit).execute(pool).await?;
    }
    let nulls = sqlx::query(insert).bind(4).bind(None::<Vector>).bind(None::<HalfVector>);
    nulls.bind(None::<SparseVector>).bind(None::<Bit>).execute(pool).await?;
    let select = "SELECT id, vector, halfvec, sparsevec, bit FROM vectors ORDER BY id";
    let rows: Vec<Loaded> = sqlx::query_as(select).fetch_all(pool).await?;
    for (row, wanted) in rows.iter().zip(&ROWS) {
        let Values { vector, half, sparse, bit } = values(wanted);
        assert_eq!((&row.1, &row.2), (&Some(vector), &Some(half)));
        assert_eq!((&row.3, &row.4), (&Some(sparse), &Some(bit)));
    }
    assert_eq!(rows[3], (4, None, None, None, None));
    let mut connection = pool.acquire().await?;
    let prepared = connection.prepare(sqlx::SqlStr::from_static(select)).await;
    let names: Vec<String> = prepared?.columns().iter().map(|column| column.type_info().name().to_lowercase()).collect();
    assert_eq!(names, ["int4", "vector", "halfvec", "sparsevec", "bit"]);
    Ok(())
}

async fn operators<T>(pool: &PgPool, column: &str, query: &T) -> Result<()>
where
    T: Clone + PartialEq + std::fmt::Debug + Send + Sync + Unpin + PgHasArrayType,
    T: sqlx::Type<Postgres> + for<'q> sqlx::Encode<'q, Postgres> + for<'r> sqlx::Decode<'r, Postgres> + 'static,
{
    for (operator, order, distances) in DISTANCES {
        let statement =
            format!("SELECT id, {column} {operator} $1 FROM vectors WHERE id < 4 ORDER BY {column} {operator} $1 LIMIT 3");
        let rows: Vec<(i32, f64)> =
            sqlx::query_as(AssertSqlSafe(statement)).bind(query.clone()).fetch_all(pool).await?;
        assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), order, "{column} {operator}");
        for (id, distance) in rows {
            assert!(close(distance, distances[id as usize - 1]), "{column} {operator} {distance}");
        }
    }
    let statement = format!("SELECT $1::{column}, $2::{column}[]");
    let list = vec![Some(query.clone()), None];
    let row = sqlx::query(AssertSqlSafe(statement)).bind(query.clone()).bind(list.clone()).fetch_one(pool).await?;
    assert_eq!((row.get::<T, _>(0), row.get::<Vec<Option<T>>, _>(1)), (query.clone(), list));
    Ok(())
}

async fn lists(pool: &PgPool) -> Result<()> {
    let [first, second] = [values(&ROWS[0]), values(&ROWS[1])];
    let update = "UPDATE vectors SET vector_list = $1, halfvec_list = $2, sparsevec_list = $3, bit_list = $4 WHERE id = 1
                  RETURNING vector_list, halfvec_list, sparsevec_list, bit_list";
    type Lists = (Vec<Option<Vector>>, Vec<HalfVector>, Vec<SparseVector>, Vec<Bit>);
    let given: Lists = (vec![Some(first.vector), None], vec![second.half], vec![], vec![first.bit, second.bit]);
    let query = sqlx::query_as(update).bind(&given.0).bind(&given.1).bind(&given.2).bind(&given.3);
    let found: Lists = query.fetch_one(pool).await?;
    assert_eq!(found, given);
    let insert = "INSERT INTO vectors (id, sparsevec, vector) SELECT * FROM unnest($1::int[], $2::sparsevec[], $3::vector[])";
    let (ids, vectors) = (vec![10, 11], vec![second.vector.clone(), second.vector]);
    let query = sqlx::query(insert).bind(ids).bind(vec![first.sparse, second.sparse]).bind(vectors);
    assert_eq!(query.execute(pool).await?.rows_affected(), 2);
    let text: String = sqlx::query_scalar("SELECT sparsevec::text FROM vectors WHERE id = 11").fetch_one(pool).await?;
    assert_eq!(text, "{2:2,3:0.5}/3");
    Ok(())
}

async fn errors(pool: &PgPool) -> Result<()> {
    for (statement, code) in [
        ("INSERT INTO vectors (id, vector) VALUES (20, '[1,2]')", "22000"),
        ("INSERT INTO vectors (id, bit) VALUES (20, '11')", "22026"),
        ("SELECT '[1'::halfvec", "22P02"),
    ] {
        let error = sqlx::query(statement).execute(pool).await.expect_err(statement);
        assert_eq!(error.as_database_error().and_then(|error| error.code()).as_deref(), Some(code), "{statement}");
    }
    Ok(())
}
