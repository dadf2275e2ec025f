//! The extended protocol message by message: order, suspended portals, recovery at Sync, COPY, what is refused.

mod support;

use std::time::{Duration, Instant};
use support::TestServer;
use support::raw::{self, Raw, session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Texts, each with its NUL.
fn texts(texts: &[&str]) -> Vec<u8> {
    texts.iter().flat_map(|text| [text.as_bytes(), &[0]].concat()).collect()
}

/// P with declared parameter types.
async fn parse(session: &mut Raw<TcpStream>, name: &str, sql: &str, types: &[u32]) {
    let mut body = texts(&[name, sql]);
    body.extend_from_slice(&(types.len() as u16).to_be_bytes());
    types.iter().for_each(|ty| body.extend_from_slice(&ty.to_be_bytes()));
    session.send(b'P', &body).await;
}

/// B of text parameters, the result in `format`.
async fn bind(session: &mut Raw<TcpStream>, portal: &str, statement: &str, values: &[&str], format: u16) {
    let mut body = texts(&[portal, statement]);
    body.extend_from_slice(&0_u16.to_be_bytes());
    body.extend_from_slice(&(values.len() as u16).to_be_bytes());
    for value in values {
        body.extend_from_slice(&(value.len() as u32).to_be_bytes());
        body.extend_from_slice(value.as_bytes());
    }
    body.extend_from_slice(&1_u16.to_be_bytes());
    body.extend_from_slice(&format.to_be_bytes());
    session.send(b'B', &body).await;
}

async fn execute(session: &mut Raw<TcpStream>, portal: &str, rows: u32) {
    session.send(b'E', &[texts(&[portal]), rows.to_be_bytes().to_vec()].concat()).await;
}

async fn query(session: &mut Raw<TcpStream>, sql: &str) {
    session.send(b'Q', &texts(&[sql])).await;
}

/// The types of the messages up to ReadyForQuery, its status behind, and what an error said; settings are left out.
async fn until_ready(session: &mut Raw<TcpStream>) -> String {
    let mut seen = String::new();
    loop {
        match session.message().await {
            (b'S', _) => {}
            (b'Z', status) => {
                seen.push('Z');
                seen.push(char::from(status[0]));
                return seen;
            }
            (b'E', body) => {
                let state = body.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(b"C"));
                seen.push_str(&format!("E({})", String::from_utf8_lossy(state.unwrap_or_default())));
            }
            (b'C', body) => {
                seen.push_str(&format!("C({})", String::from_utf8_lossy(&body[..body.len() - 1])));
            }
            (ty, _) => seen.push(char::from(ty)),
        }
    }
}

#[tokio::test]
async fn describe_before_bind_and_declared_types_first() {
    let server = TestServer::start();
    let mut session = session(&server).await;
    // int8 is declared, the second is inferred from the column it is compared with.
    parse(&mut session, "s", "SELECT $1, i FROM (VALUES (1::smallint)) v (i) WHERE i = $2", &[20]).await;
    session.send(b'D', b"Ss\0").await;
    session.send(b'H', b"").await;
    assert_eq!(session.message().await, (b'1', Vec::new()));
    let (ty, parameters) = session.message().await;
    assert_eq!(
        (ty, parameters),
        (b't', [&[0, 2][..], &20_u32.to_be_bytes(), &21_u32.to_be_bytes()].concat())
    );
    let columns = session.find(b'T').await;
    assert_eq!(columns[..2], [0, 2]);
    bind(&mut session, "", "s", &["7", "1"], 1).await;
    execute(&mut session, "", 0).await;
    session.send(b'S', b"").await;
    let row = session.find(b'D').await;
    assert_eq!(row, [&[0, 2][..], &[0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 7], &[0, 0, 0, 2, 0, 1]].concat());
    assert_eq!(until_ready(&mut session).await, "C(SELECT 1)ZI");
    // A portal of an implicit transaction is gone after Sync; closing what is not there is no error.
    session.send(b'C', b"Pnowhere\0").await;
    session.send(b'D', b"P\0").await;
    session.send(b'S', b"").await;
    assert_eq!(until_ready(&mut session).await, "3E(34000)ZI");
    session.send(b'C', b"Ss\0").await;
    session.send(b'D', b"Ss\0").await;
    session.send(b'S', b"").await;
    assert_eq!(until_ready(&mut session).await, "3E(26000)ZI");
}

#[tokio::test]
async fn a_portal_goes_on_where_it_was_suspended() {
    let server = TestServer::start();
    let mut session = session(&server).await;
    parse(&mut session, "", "SELECT * FROM generate_series(1, 5)", &[]).await;
    bind(&mut session, "p", "", &[], 0).await;
    for _ in 0..3 {
        execute(&mut session, "p", 2).await;
    }
    execute(&mut session, "p", 2).await;
    session.send(b'S', b"").await;
    assert_eq!(until_ready(&mut session).await, "12DDsDDsDC(SELECT 1)C(SELECT 0)ZI");
}

#[tokio::test]
async fn after_an_error_everything_up_to_sync_is_skipped() {
    let server = TestServer::start();
    let mut session = session(&server).await;
    query(&mut session, "CREATE TABLE t (id int PRIMARY KEY)").await;
    until_ready(&mut session).await;
    // One implicit transaction up to Sync: the first row goes with the second one's error.
    for value in ["1", "x", "2"] {
        parse(&mut session, "", "INSERT INTO t VALUES ($1)", &[]).await;
        bind(&mut session, "", "", &[value], 0).await;
        execute(&mut session, "", 0).await;
    }
    session.send(b'S', b"").await;
    assert_eq!(until_ready(&mut session).await, "12C(INSERT 0 1)1E(22P02)ZI");
    query(&mut session, "SELECT * FROM t").await;
    assert_eq!(until_ready(&mut session).await, "TC(SELECT 0)ZI");
    // In a block the transaction stays, failed.
    query(&mut session, "BEGIN").await;
    assert_eq!(until_ready(&mut session).await, "C(BEGIN)ZT");
    parse(&mut session, "", "SELECT 1 / 0", &[]).await;
    bind(&mut session, "", "", &[], 0).await;
    execute(&mut session, "", 0).await;
    session.send(b'S', b"").await;
    assert!(until_ready(&mut session).await.ends_with("E(22012)ZE"));
    parse(&mut session, "", "SELECT 1", &[]).await;
    session.send(b'S', b"").await;
    assert_eq!(until_ready(&mut session).await, "E(25P02)ZE");
    parse(&mut session, "", "ROLLBACK", &[]).await;
    bind(&mut session, "", "", &[], 0).await;
    execute(&mut session, "", 0).await;
    session.send(b'S', b"").await;
    assert_eq!(until_ready(&mut session).await, "12C(ROLLBACK)ZI");
}

#[tokio::test]
async fn a_query_string_is_one_transaction_unless_it_says_otherwise() {
    let server = TestServer::start();
    let mut session = session(&server).await;
    query(&mut session, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); SELECT id FROM t")
        .await;
    assert_eq!(until_ready(&mut session).await, "C(CREATE TABLE)C(INSERT 0 1)TDC(SELECT 1)ZI");
    query(&mut session, "INSERT INTO t VALUES (2); SELECT 1 / 0; INSERT INTO t VALUES (3)").await;
    let seen = until_ready(&mut session).await;
    assert!(seen.starts_with("C(INSERT 0 1)") && seen.ends_with("E(22012)ZI"), "{seen}");
    query(&mut session, "INSERT INTO t VALUES (2); COMMIT; INSERT INTO t VALUES (3); SELECT 1 / 0").await;
    assert!(until_ready(&mut session).await.ends_with("E(22012)ZI"));
    query(&mut session, "BEGIN; INSERT INTO t VALUES (4); COMMIT; SELECT id FROM t").await;
    assert_eq!(until_ready(&mut session).await, "C(BEGIN)C(INSERT 0 1)C(COMMIT)TDDDC(SELECT 3)ZI");
    query(&mut session, "").await;
    assert_eq!(until_ready(&mut session).await, "IZI");
    query(&mut session, ";;  ; -- nothing\n").await;
    assert_eq!(until_ready(&mut session).await, "IZI");
}

#[tokio::test]
async fn copy_in_blocks_pipelines_and_with_a_change_of_mind() {
    let server = TestServer::start();
    let mut session = session(&server).await;
    query(&mut session, "CREATE TABLE t (id int PRIMARY KEY, name text)").await;
    until_ready(&mut session).await;
    query(&mut session, "BEGIN; COPY t FROM STDIN").await;
    session.find(b'G').await;
    session.send(b'd', b"1\ton").await;
    session.send(b'd', b"e\n2\t\\N\n").await;
    session.send(b'c', b"").await;
    assert_eq!(until_ready(&mut session).await, "C(COPY 2)ZT");
    query(&mut session, "COPY t TO STDOUT; COMMIT").await;
    assert_eq!(until_ready(&mut session).await, "HddcC(COPY 2)C(COMMIT)ZI");
    // The client gives up: nothing of it stays.
    query(&mut session, "COPY t FROM STDIN").await;
    session.find(b'G').await;
    session.send(b'd', b"3\tx\n").await;
    session.send(b'f', b"changed my mind\0").await;
    assert_eq!(until_ready(&mut session).await, "E(57014)ZI");
    // In the extended protocol, with Sync sent ahead of the data's end.
    parse(&mut session, "", "COPY t FROM STDIN (FORMAT csv)", &[]).await;
    bind(&mut session, "", "", &[], 0).await;
    execute(&mut session, "", 0).await;
    session.send(b'H', b"").await;
    session.find(b'G').await;
    session.send(b'd', b"3,three\n").await;
    session.send(b'c', b"").await;
    session.send(b'S', b"").await;
    assert_eq!(until_ready(&mut session).await, "C(COPY 1)ZI");
    // What cannot be read ends it; the data that is still on its way is skipped.
    query(&mut session, "COPY t FROM STDIN").await;
    session.find(b'G').await;
    session.send(b'd', b"x\ty\n").await;
    session.send(b'd', b"5\tfive\n").await;
    session.send(b'c', b"").await;
    assert_eq!(until_ready(&mut session).await, "E(22P02)ZI");
    query(&mut session, "SELECT count(*) FROM t").await;
    assert_eq!(session.find(b'D').await.last(), Some(&b'3'));
    assert_eq!(until_ready(&mut session).await, "C(SELECT 1)ZI");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_the_session_goes_on() {
    let server = TestServer::start();
    let mut session = session(&server).await;
    session.send(b'F', &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await;
    assert_eq!(until_ready(&mut session).await, "E(0A000)ZI");
    parse(&mut session, "", "SELECT 1; SELECT 2", &[]).await;
    session.send(b'S', b"").await;
    assert_eq!(until_ready(&mut session).await, "E(42601)ZI");
    parse(&mut session, "", "SELECT $1", &[999_999]).await;
    session.send(b'S', b"").await;
    assert_eq!(until_ready(&mut session).await, "E(42704)ZI");
    parse(&mut session, "a", "SELECT $1::int", &[]).await;
    parse(&mut session, "a", "SELECT 1", &[]).await;
    session.send(b'S', b"").await;
    assert_eq!(until_ready(&mut session).await, "1E(42P05)ZI");
    bind(&mut session, "", "a", &["1", "2"], 0).await;
    session.send(b'S', b"").await;
    assert_eq!(until_ready(&mut session).await, "E(08P01)ZI");
    bind(&mut session, "", "a", &["1"], 7).await;
    session.send(b'S', b"").await;
    assert_eq!(until_ready(&mut session).await, "E(22023)ZI");
    query(&mut session, "SELECT 1").await;
    assert_eq!(until_ready(&mut session).await, "TDC(SELECT 1)ZI");
    session.send(b'?', b"").await;
    let error = session.find(b'E').await;
    assert!(String::from_utf8_lossy(&error).contains("08P01"), "an unknown message ends the connection");
}

/// One of them has the plan that the statement keeps; neither sees the other's parameter.
#[tokio::test]
async fn two_portals_of_a_statement_run_side_by_side() {
    let server = TestServer::start();
    let mut client = server.connect().await;
    let load = "CREATE TABLE t (i int); INSERT INTO t SELECT i FROM generate_series(1, 40000) i";
    client.batch_execute(load).await.expect("rows");
    let statement = client.prepare("SELECT i FROM t WHERE i > $1").await.expect("prepared");
    for above in [39_999, 39_998] {
        let rows = client.query(&statement, &[&above]).await.expect("rows");
        assert_eq!(rows.len(), 40_000 - above as usize);
    }
    let tx = client.transaction().await.expect("a transaction");
    let all = tx.bind(&statement, &[&0]).await.expect("a portal");
    let few = tx.bind(&statement, &[&39_990]).await.expect("a portal");
    let begun = tx.query_portal(&all, 1).await.expect("a row");
    assert_eq!(tx.query_portal(&few, 0).await.expect("rows").len(), 10);
    let rest = tx.query_portal(&all, 0).await.expect("rows");
    let mut found: Vec<i32> = begun.iter().chain(&rest).map(|row| row.get(0)).collect();
    found.sort_unstable();
    assert!(found.into_iter().eq(1..=40_000));
}

/// The body of /metrics.
async fn metrics(server: &TestServer) -> String {
    let mut http = TcpStream::connect(server.http()).await.expect("connected");
    http.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.expect("sent");
    let mut text = String::new();
    http.read_to_string(&mut text).await.expect("an answer");
    text
}

async fn polls(server: &TestServer) -> u64 {
    let text = metrics(server).await;
    let line = text.lines().find_map(|line| line.strip_prefix("quiver_busy_polls_total "));
    line.expect("a counter").parse().expect("a number")
}

/// Short messages of a lone session, until its socket is polled.
async fn until_polled(server: &TestServer, session: &mut Raw<TcpStream>) {
    let (before, begun) = (polls(server).await, Instant::now());
    // One processor cannot poll and answer.
    let can = std::thread::available_parallelism().is_ok_and(|processors| processors.get() > 1);
    while can && polls(server).await == before {
        for _ in 0..200 {
            session.send(b'S', &[]).await;
            assert_eq!(until_ready(session).await, "ZI");
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "a lone session's socket is polled");
    }
}

#[tokio::test]
async fn a_socket_that_is_polled_misses_nothing() {
    let server = TestServer::start();
    let mut session = session(&server).await;
    query(&mut session, "SET quiver.busy_poll_us = 1000").await;
    until_ready(&mut session).await;
    until_polled(&server, &mut session).await;
    // In two pieces, the second of which comes while the socket is polled or much later.
    let text = texts(&["SELECT 2"]);
    let message = [&[b'Q'][..], &(text.len() as u32 + 4).to_be_bytes(), &text].concat();
    for turn in 0..40 {
        let (first, second) = message.split_at(1 + turn % (message.len() - 1));
        session.stream.write_all(first).await.expect("sent");
        tokio::time::sleep(Duration::from_micros([0, 100, 800, 3_000][turn % 4])).await;
        session.stream.write_all(second).await.expect("sent");
        assert_eq!(until_ready(&mut session).await, "TDC(SELECT 1)ZI");
    }
    // Longer than what is taken at once.
    for bytes in [4_080, 4_096, 5_000, 300_000] {
        until_polled(&server, &mut session).await;
        query(&mut session, &format!("SELECT length('{}')", "x".repeat(bytes))).await;
        assert_eq!(session.find(b'D').await[6..], *bytes.to_string().as_bytes());
        session.find(b'Z').await;
    }
    // After a rest.
    tokio::time::sleep(Duration::from_millis(50)).await;
    query(&mut session, "SELECT 2").await;
    assert_eq!(until_ready(&mut session).await, "TDC(SELECT 1)ZI");
    // Two that talk at once are both answered.
    let mut other = raw::session(&server).await;
    for _ in 0..300 {
        query(&mut session, "SELECT 2").await;
        query(&mut other, "SELECT 3").await;
        assert_eq!(until_ready(&mut session).await, "TDC(SELECT 1)ZI");
        assert_eq!(until_ready(&mut other).await, "TDC(SELECT 1)ZI");
    }
}

#[tokio::test]
async fn a_session_that_is_polled_can_be_ended() {
    let server = TestServer::start();
    let client = server.connect().await;
    let mut session = session(&server).await;
    query(&mut session, "SET quiver.busy_poll_us = 1000").await;
    until_ready(&mut session).await;
    until_polled(&server, &mut session).await;
    query(&mut session, "SELECT pg_backend_pid()").await;
    let pid = String::from_utf8(session.find(b'D').await[6..].to_vec()).expect("a pid");
    session.find(b'Z').await;
    let ended = tokio::spawn(async move {
        // It goes on asking until it is told.
        loop {
            query(&mut session, "SELECT 1").await;
            loop {
                match session.message().await {
                    (b'E', body) => return String::from_utf8_lossy(&body).into_owned(),
                    (b'Z', _) => break,
                    _ => {}
                }
            }
        }
    });
    client.batch_execute(&format!("SELECT pg_terminate_backend({pid})")).await.expect("it is there");
    let error =
        tokio::time::timeout(Duration::from_secs(10), ended).await.expect("in time").expect("an error");
    assert!(error.contains("57P01"), "{error}");
    // The end of a connection is seen where its socket is polled: its place is free again.
    let mut session = raw::session(&server).await;
    until_polled(&server, &mut session).await;
    drop(session);
    for _ in 0..100 {
        if metrics(&server).await.contains("quiver_connections 1\n") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the session outlives its connection");
}
