//! What real clients were seen to send: psql's meta-commands, run by psql itself, answer as PostgreSQL 16.14 answered when
//! they were captured; every captured statement of the drivers and tools runs. The captures lie in `shared/clients`.

mod support;

use bytes::{BufMut, BytesMut};
use futures::{SinkExt, pin_mut};
use std::path::PathBuf;
use std::process::Command;
use support::{TestServer, shared_dir};
use tokio_postgres::types::{IsNull, ToSql, Type};
use tokio_postgres::{Client, NoTls};

fn captures() -> PathBuf {
    shared_dir().join("clients")
}

async fn connect(server: &TestServer, user: &str, database: &str) -> Client {
    let address = server.address();
    let mut config = tokio_postgres::Config::new();
    config.host(address.ip().to_string()).port(address.port()).user(user).dbname(database);
    let (client, connection) = config.connect(NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

/// What is not there, by design: foreign keys, and indexes of part of a table. Their words are left out of the objects.
const LEFT_OUT: [&str; 2] = [" REFERENCES parent(id) ON DELETE CASCADE", " WHERE price > 0"];

async fn make_objects(client: &Client) {
    let path = captures().join("objects.sql");
    let mut sql =
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for words in LEFT_OUT {
        sql = sql.replace(words, "");
    }
    for statement in sql.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
        if statement.starts_with("CREATE EXTENSION") {
            let _ = client.simple_query(statement).await;
        } else {
            client.simple_query(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
        }
    }
}

/// Meta-commands with the file that holds PostgreSQL's answer.
const SAME: [(&str, &str); 27] = [
    ("d", "\\d"),
    ("dA", "\\dA"),
    ("dAc_hnsw", "\\dAc hnsw"),
    ("dC", "\\dC"),
    ("dP", "\\dP"),
    ("dT", "\\dT"),
    ("dT_vector", "\\dT vector"),
    ("d_items_embedding_idx", "\\d items_embedding_idx"),
    ("d_v_items", "\\d v_items"),
    ("db", "\\db"),
    ("dconfig_work_mem", "\\dconfig work_mem"),
    ("dd", "\\dd"),
    ("df", "\\df"),
    ("df_l2_distance", "\\df l2_distance"),
    ("di", "\\di"),
    ("dn", "\\dn"),
    ("do", "\\do"),
    ("dp", "\\dp"),
    ("dp_items", "\\dp items"),
    ("drds", "\\drds"),
    ("ds", "\\ds"),
    ("dt", "\\dt"),
    ("dv", "\\dv"),
    ("dxp_vector", "\\dx+ vector"),
    ("encoding", "\\encoding"),
    ("sf_l2_distance", "\\sf l2_distance"),
    ("d_items", "\\d items"),
];

/// Meta-commands whose answer tells of this server: sizes, databases, roles, PL/pgSQL. They have the same columns.
const SAME_COLUMNS: [(&str, &str); 5] =
    [("dip", "\\di+"), ("dtp", "\\dt+"), ("du", "\\du"), ("dx", "\\dx"), ("l", "\\l")];

/// Lines of PostgreSQL's answers that tell of what is left out of the objects, and what is there instead.
const EDITS: [(&str, &str, &str); 2] = [
    (
        "d_items",
        "    \"items_name_idx\" btree (name) WHERE price > 0::numeric\n",
        "    \"items_name_idx\" btree (name)\n",
    ),
    (
        "d_items",
        "Foreign-key constraints:\n    \"items_parent_id_fkey\" FOREIGN KEY (parent_id) REFERENCES parent(id) ON DELETE CASCADE\n",
        "",
    ),
];

/// The answer at the end of a capture, after the queries that psql sent.
fn answer(name: &str) -> String {
    let path = captures().join(format!("psql_{name}.txt"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut answer = match text.rsplit_once("**************************\n") {
        Some((_, answer)) => answer.trim_start_matches('\n').to_owned(),
        None => text,
    };
    for (of, line, instead) in EDITS {
        if of == name {
            assert!(answer.contains(line), "{name} has no {line}");
            answer = answer.replace(line, instead);
        }
    }
    answer.trim().to_owned()
}

fn psql(server: &TestServer, command: &str) -> String {
    let address = server.address();
    let output = Command::new("psql")
        .args(["-X", "-h", &address.ip().to_string(), "-p", &address.port().to_string()])
        .args(["-U", "postgres", "-d", "postgres", "-c", command])
        .env("PGCLIENTENCODING", "UTF8")
        .output()
        .expect("psql is installed");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr)).trim().to_owned()
}

/// Titles of columns, whatever their width.
fn columns(table: &str) -> Option<Vec<String>> {
    let mut lines = table.lines();
    let title = lines.by_ref().take_while(|line| !line.starts_with("---")).last()?;
    Some(title.split('|').map(|title| title.trim().to_owned()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_meta_commands_answer_as_postgresql() {
    let server = TestServer::start();
    let client = connect(&server, "postgres", "postgres").await;
    make_objects(&client).await;
    let mut wrong = Vec::new();
    for (name, command) in SAME {
        let (expected, found) = (answer(name), psql(&server, command));
        // Trailing blanks of lines depend on what psql was asked to do with them.
        let lines = |text: &str| text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
        if lines(&expected) != lines(&found) {
            wrong.push(format!("{command}\n--- PostgreSQL\n{expected}\n--- here\n{found}"));
        }
    }
    for (name, command) in SAME_COLUMNS {
        let (expected, found) = (answer(name), psql(&server, command));
        if columns(&expected) != columns(&found) {
            wrong.push(format!("{command}\n--- PostgreSQL\n{expected}\n--- here\n{found}"));
        }
    }
    assert!(wrong.is_empty(), "{} commands differ:\n{}", wrong.len(), wrong.join("\n\n"));
}

/// Statements that may fail, and how: what is refused by design, and what PostgreSQL refuses in this order too.
const MAY_FAIL: [(&str, &str); 16] = [
    ("CREATE TYPE vector", "0A000"),
    ("CREATE FUNCTION vector_", "0A000"),
    ("CREATE FUNCTION vector_", "42601"),
    ("FOREIGN KEY", "0A000"),
    ("references parent(id)", "0A000"),
    ("USING gin", "0A000"),
    ("((lower(name)))", "0A000"),
    ("varchar_pattern_ops", "0A000"),
    ("CREATE TABLE parent", "42P07"),
    ("CREATE TABLE items", "42P07"),
    ("SAVEPOINT \"_pg3_1\"", "25P01"),
    ("RELEASE \"_pg3_1\"", "25P01"),
    ("CURSOR", "25P01"),
    ("alembic_version", "42P01"),
    ("\"srv\"", "34000"),
    ("_django_curs_", "34000"),
];

/// A parameter of whatever type the server says: any plain value of it.
#[derive(Debug)]
struct Anything;

impl ToSql for Anything {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match *ty {
            Type::BOOL => out.put_u8(1),
            Type::INT2 => out.put_i16(1),
            Type::INT4 => out.put_i32(1),
            Type::INT8 => out.put_i64(1),
            Type::OID | Type::REGCLASS => out.put_u32(1259),
            Type::TEXT | Type::VARCHAR | Type::NAME | Type::CHAR => out.put_slice(b"r"),
            Type::JSONB => out.put_slice(b"\x01{}"),
            _ => return Ok(IsNull::Yes),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    tokio_postgres::types::to_sql_checked!();
}

async fn run(client: &Client, statement: &str) -> Result<(), tokio_postgres::Error> {
    if statement.starts_with("COPY") {
        let sink = client.copy_in::<_, bytes::Bytes>(statement).await?;
        pin_mut!(sink);
        // A signature, no flags, no extension, no rows.
        let empty = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\xff\xff";
        sink.send(bytes::Bytes::from_static(empty)).await?;
        return sink.finish().await.map(|_| ());
    }
    if !statement.contains("$1") {
        return client.simple_query(statement).await.map(|_| ());
    }
    let prepared = client.prepare(statement).await?;
    let params: Vec<&(dyn ToSql + Sync)> =
        prepared.params().iter().map(|_| &Anything as &(dyn ToSql + Sync)).collect();
    client.query(&prepared, &params).await.map(|_| ())
}

/// Every statement of a capture, in order.
async fn replay(name: &str) {
    let server = TestServer::start();
    let client = connect(&server, "postgres", "postgres").await;
    for table in [
        "CREATE TABLE parent (id bigserial PRIMARY KEY, name text UNIQUE NOT NULL)",
        "CREATE TABLE items (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, pid bigint, \
         name varchar(50) NOT NULL DEFAULT 'x', meta jsonb, tags text[], embedding vector(3), \
         created timestamptz DEFAULT now(), CHECK (length(name) > 0))",
    ] {
        client.simple_query(table).await.expect("a table");
    }
    let path = captures().join(format!("queries_{name}.sql"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (mut count, mut failed) = (0, Vec::new());
    for statement in text.split("\n;\n").map(str::trim).filter(|statement| !statement.is_empty()) {
        count += 1;
        let Err(error) = run(&client, statement).await else { continue };
        let state = error.code().map_or("", |state| state.code()).to_owned();
        let expected = MAY_FAIL.iter().any(|(words, code)| statement.contains(words) && *code == state);
        if !expected {
            failed.push(format!("{statement}\n   {state} {error:?}"));
        }
        // A failed statement ends what the capture had begun.
        let _ = client.simple_query("ROLLBACK").await;
    }
    assert!(count > 0, "{name} is empty");
    assert!(failed.is_empty(), "{} of {count} statements failed:\n{}", failed.len(), failed.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_psql_run() {
    replay("psql").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_psycopg_and_asyncpg_run() {
    replay("psycopg3").await;
    replay("asyncpg").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_sqlalchemy_and_alembic_run() {
    replay("sqlalchemy_psycopg").await;
    replay("sqlalchemy_psycopg2").await;
    replay("alembic").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_django_run() {
    replay("django").await;
}
