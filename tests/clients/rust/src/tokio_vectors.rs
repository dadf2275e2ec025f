//! tokio-postgres with the pgvector crate: all four types in binary, their arrays, nulls, operators and COPY.

use crate::Result;
use crate::vector_samples::{CREATE, DISTANCES, QUERY, ROWS, Values, close, values};
use futures_util::TryStreamExt;
use pgvector::{Bit, HalfVector, SparseVector, Vector};
use tokio_postgres::Client;
use tokio_postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutStream};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSqlOwned, Kind, ToSql, Type};

pub(crate) async fn run(client: &Client) -> Result<()> {
    client.batch_execute(CREATE).await?;
    round_trip(client).await?;
    let Values { vector, half, sparse, bit } = values(&QUERY);
    operators(client, "vector", &vector).await?;
    operators(client, "halfvec", &half).await?;
    operators(client, "sparsevec", &sparse).await?;
    let hamming = "SELECT bit <~> $1, bit <%> $1 FROM vectors WHERE id < 4 ORDER BY bit <~> $1 LIMIT 1";
    let row = client.query_one(hamming, &[&bit]).await?;
    assert!(row.get::<_, f64>(0) == 1.0 && close(row.get(1), 1.0 / 3.0));
    lists(client).await?;
    copy(client).await?;
    errors(client).await
}

/// The rows as they are in the table, with one of nulls.
async fn round_trip(client: &Client) -> Result<()> {
    let insert = client
        .prepare("INSERT INTO vectors (id, vector, halfvec, sparsevec, bit) VALUES ($1, $2, $3, $4, $5)")
        .await?;
    let names: Vec<&str> = insert.params().iter().map(Type::name).collect();
    assert_eq!(names, ["int4", "vector", "halfvec", "sparsevec", "bit"]);
    assert_eq!(insert.params()[1].schema(), "public");
    for (id, row) in (1_i32..).zip(&ROWS) {
        let Values { vector, half, sparse, bit } = values(row);
        client.execute(&insert, &[&id, &vector, &half, &sparse, &bit]).await?;
    }
    let nothing = (None::<Vector>, None::<HalfVector>, None::<SparseVector>, None::<Bit>);
    client.execute(&insert, &[&4, &nothing.0, &nothing.1, &nothing.2, &nothing.3]).await?;
    let rows = client.query("SELECT vector, halfvec, sparsevec, bit FROM vectors ORDER BY id", &[]).await?;
    for (row, wanted) in rows.iter().zip(&ROWS) {
        let Values { vector, half, sparse, bit } = values(wanted);
        assert_eq!((row.get::<_, Vector>(0), row.get::<_, HalfVector>(1)), (vector, half));
        assert_eq!((row.get::<_, SparseVector>(2), row.get::<_, Bit>(3)), (sparse, bit));
    }
    assert_eq!((rows.len(), rows[3].get::<_, Option<SparseVector>>(2)), (4, None));
    Ok(())
}

async fn operators<T>(client: &Client, column: &str, query: &T) -> Result<()>
where
    T: ToSql + FromSqlOwned + Sync + PartialEq + std::fmt::Debug,
{
    for (operator, order, distances) in DISTANCES {
        let statement = format!(
            "SELECT id, {column} {operator} $1 FROM vectors WHERE id < 4 ORDER BY {column} {operator} $1 LIMIT 3"
        );
        let rows = client.query(&statement, &[query]).await?;
        let ids: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(ids, order, "{column} {operator}");
        for (id, distance) in rows.iter().map(|row| (row.get::<_, i32>(0), row.get::<_, f64>(1))) {
            assert!(close(distance, distances[id as usize - 1]), "{column} {operator} {distance}");
        }
    }
    let same = client.query_one(&format!("SELECT $1::{column}"), &[query]).await?;
    assert_eq!(&same.get::<_, T>(0), query);
    Ok(())
}

async fn lists(client: &Client) -> Result<()> {
    let [first, second] = [values(&ROWS[0]), values(&ROWS[1])];
    let update = client
        .prepare("UPDATE vectors SET vector_list = $1, halfvec_list = $2, sparsevec_list = $3, bit_list = $4 WHERE id = 1 RETURNING *")
        .await?;
    let Kind::Array(element) = update.params()[0].kind() else { return Err("an array's type".into()) };
    assert_eq!((element.name(), element.schema()), ("vector", "public"));
    let vectors = vec![Some(first.vector), None];
    let (halves, sparse, bits) = (vec![second.half], Vec::<SparseVector>::new(), vec![first.bit, second.bit]);
    let row = client.query_one(&update, &[&vectors, &halves, &sparse, &bits]).await?;
    assert_eq!(row.get::<_, Vec<Option<Vector>>>("vector_list"), vectors);
    assert_eq!(row.get::<_, Vec<HalfVector>>("halfvec_list"), halves);
    assert_eq!(row.get::<_, Vec<SparseVector>>("sparsevec_list"), sparse);
    assert_eq!(row.get::<_, Vec<Bit>>("bit_list"), bits);
    let found =
        client.query("SELECT id FROM vectors WHERE sparsevec = ANY($1)", &[&vec![second.sparse]]).await?;
    assert_eq!(found.iter().map(|row| row.get(0)).collect::<Vec<i32>>(), [2]);
    Ok(())
}

async fn copy(client: &Client) -> Result<()> {
    client
        .batch_execute(
            "CREATE TABLE copied (vector vector(3), halfvec halfvec(3), sparsevec sparsevec(3), bit bit(5))",
        )
        .await?;
    let columns = client.prepare("SELECT * FROM copied").await?;
    let types: Vec<Type> = columns.columns().iter().map(|column| column.type_().clone()).collect();
    let writer = BinaryCopyInWriter::new(client.copy_in("COPY copied FROM STDIN BINARY").await?, &types);
    let mut writer = std::pin::pin!(writer);
    for row in &ROWS {
        let Values { vector, half, sparse, bit } = values(row);
        writer.as_mut().write(&[&vector, &half, &sparse, &bit]).await?;
    }
    assert_eq!(writer.finish().await?, 3);
    let stream =
        client.copy_out("COPY (SELECT * FROM copied ORDER BY vector <-> '[1,1,0]') TO STDOUT BINARY").await?;
    let rows: Vec<_> = BinaryCopyOutStream::new(stream, &types).try_collect().await?;
    for (row, wanted) in rows.iter().zip(&ROWS) {
        let Values { vector, half, sparse, bit } = values(wanted);
        assert_eq!((row.get::<Vector>(0), row.get::<HalfVector>(1)), (vector, half));
        assert_eq!((row.get::<SparseVector>(2), row.get::<Bit>(3)), (sparse, bit));
    }
    assert_eq!(rows.len(), 3);
    Ok(())
}

async fn errors(client: &Client) -> Result<()> {
    let short = Vector::from(vec![1.0, 2.0]);
    let error =
        client.execute("INSERT INTO copied (vector) VALUES ($1)", &[&short]).await.expect_err("too short");
    assert_eq!(error.code(), Some(&SqlState::DATA_EXCEPTION));
    let error =
        client.query("SELECT $1::halfvec", &[&HalfVector::from(Vec::new())]).await.expect_err("no dimension");
    assert_eq!(error.code(), Some(&SqlState::DATA_EXCEPTION));
    let error = client.query("SELECT bit FROM copied WHERE bit <~> $1 > 0", &[&Bit::new(&[true])]).await;
    assert_eq!(error.expect_err("another length").code(), Some(&SqlState::DATA_EXCEPTION));
    Ok(())
}
