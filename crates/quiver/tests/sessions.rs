//! Sessions that get in each other's way: pgbench, deadlocks, advisory locks, time limits.

mod support;

use futures::SinkExt;
use std::process::Command;
use std::time::{Duration, Instant};
use support::{TestServer, rows, value};
use tokio_postgres::{Client, Error};

fn state(error: &Error) -> &str {
    error.code().map_or("", |code| code.code())
}

/// Whether something is still running after a moment.
async fn waits<T>(future: &mut (impl Future<Output = T> + Unpin)) -> bool {
    tokio::time::timeout(Duration::from_millis(150), future).await.is_err()
}

async fn pid(client: &Client) -> i32 {
    value(client, "SELECT pg_backend_pid()").await.parse().expect("a pid")
}

fn pgbench(server: &TestServer, arguments: &[&str]) -> String {
    let output = Command::new("pgbench")
        .args(["-h", "127.0.0.1", "-p", &server.address().port().to_string(), "-U", "quiver"])
        .args(arguments)
        .arg("quiver")
        .output()
        .expect("pgbench runs");
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "pgbench {arguments:?}: {text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn pgbench_balances_add_up() {
    let server = TestServer::start();
    pgbench(&server, &["-i", "-s", "1", "--quiet"]);
    for (script, mode) in [
        ("tpcb-like", "simple"),
        ("simple-update", "extended"),
        ("tpcb-like", "prepared"),
        ("select-only", "prepared"),
    ] {
        let text = pgbench(&server, &["-n", "-c", "8", "-j", "2", "-t", "15", "-M", mode, "-b", script]);
        assert!(text.contains("actually processed: 120/120"), "{script} {mode}: {text}");
        assert!(text.contains("number of failed transactions: 0 "), "{script} {mode}: {text}");
    }
    let client = server.connect().await;
    let sums =
        "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history),
        (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(tbalance) FROM pgbench_tellers),
        (SELECT count(*) FROM pgbench_history)";
    let found: Vec<String> = rows(&client, sums).await.remove(0).into_iter().flatten().collect();
    assert_eq!(found, ["t", "t", "360"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlocks_are_broken_whatever_locks_they_are_made_of() {
    let server = TestServer::start();
    let (one, two) = (server.connect().await, server.connect().await);
    one.batch_execute("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0), (2, 0)")
        .await
        .expect("made");
    let first_pid = pid(&one).await;
    let cases = [
        ("UPDATE t SET n = 1 WHERE id = 1", "UPDATE t SET n = 2 WHERE id = 2"),
        ("SELECT pg_advisory_xact_lock(1)", "SELECT pg_advisory_xact_lock(2)"),
        ("SELECT pg_advisory_lock(1)", "SELECT * FROM t WHERE id = 2 FOR UPDATE"),
    ];
    for (first, second) in cases {
        one.batch_execute(&format!("BEGIN; {first}")).await.expect("taken");
        two.batch_execute(&format!("BEGIN; {second}")).await.expect("taken");
        let mut wait = Box::pin(one.batch_execute(second));
        assert!(waits(&mut wait).await, "{second}");
        let started = Instant::now();
        let error = two.batch_execute(first).await.expect_err("a deadlock");
        assert_eq!(state(&error), "40P01", "{first}: {error}");
        assert!(started.elapsed() < Duration::from_secs(2));
        let detail = error.as_db_error().and_then(|error| error.detail()).unwrap_or_default().to_owned();
        assert_eq!(detail.lines().count(), 2, "{detail}");
        assert!(detail.contains(&format!("blocked by process {first_pid}.")), "{detail}");
        wait.await.expect("the other one goes on");
        one.batch_execute("COMMIT; SELECT pg_advisory_unlock_all()").await.expect("ended");
        two.batch_execute("ROLLBACK; SELECT pg_advisory_unlock_all()").await.expect("ended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn advisory_locks_are_waited_for_shown_and_freed_with_their_session() {
    let server = TestServer::start();
    let (holder, waiter, watcher) = (server.connect().await, server.connect().await, server.connect().await);
    holder.batch_execute("SELECT pg_advisory_lock(1573678846307946496)").await.expect("taken");
    let (holder_pid, waiter_pid) = (pid(&holder).await, pid(&waiter).await);
    let mut wait = Box::pin(waiter.batch_execute("SELECT pg_advisory_lock(1573678846307946496)"));
    assert!(waits(&mut wait).await);
    let blocking = value(&watcher, &format!("SELECT pg_blocking_pids({waiter_pid})")).await;
    assert_eq!(blocking, format!("{{{holder_pid}}}"));
    let shown =
        rows(&watcher, "SELECT pid, granted FROM pg_locks WHERE locktype = 'advisory' ORDER BY granted DESC")
            .await;
    let shown: Vec<String> = shown.into_iter().flatten().flatten().collect();
    assert_eq!(shown, [holder_pid.to_string(), "t".into(), waiter_pid.to_string(), "f".into()]);
    drop(holder);
    tokio::time::timeout(Duration::from_secs(5), wait).await.expect("freed").expect("taken");
    // Another database has locks of its own.
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(server.address().port()).user("quiver").dbname("postgres");
    let (other, connection) = config.connect(tokio_postgres::NoTls).await.expect("connected");
    tokio::spawn(connection);
    assert_eq!(value(&other, "SELECT pg_try_advisory_lock(1573678846307946496)").await, "t");
    assert_eq!(value(&watcher, "SELECT pg_try_advisory_lock(1573678846307946496)").await, "f");
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_end_at_a_cancel_and_at_time_limits() {
    let server = TestServer::start();
    let (holder, waiter) = (server.connect().await, server.connect().await);
    holder.batch_execute("SELECT pg_advisory_lock(1)").await.expect("taken");
    // Prepared once and run again: what stops it belongs to the run.
    for statement in ["SELECT pg_advisory_lock(1)", "SELECT pg_sleep(60)"] {
        let prepared = waiter.prepare(statement).await.expect("prepared");
        for _ in 0..2 {
            let cancel = waiter.cancel_token();
            let mut run = Box::pin(waiter.query(&prepared, &[]));
            assert!(waits(&mut run).await);
            cancel.cancel_query(tokio_postgres::NoTls).await.expect("sent");
            let error = tokio::time::timeout(Duration::from_secs(2), run)
                .await
                .expect("it ends")
                .expect_err("cancelled");
            assert_eq!(state(&error), "57014");
        }
    }
    // Often, as the clock and who waits see the end in either order; a wait that goes on would keep the session's locks.
    waiter.batch_execute("SET statement_timeout = 30").await.expect("set");
    for statement in ["SELECT pg_advisory_lock(1)", "SELECT pg_sleep(60)"].repeat(30) {
        let run = tokio::time::timeout(Duration::from_secs(10), waiter.batch_execute(statement));
        let error = run.await.expect("it ends").expect_err("too long");
        assert_eq!(
            error.as_db_error().map(|error| error.message()),
            Some("canceling statement due to statement timeout")
        );
    }
    // The cancel may come between two steps of the statement, when nothing of it runs in the session's own task.
    waiter.batch_execute("SET statement_timeout = 0").await.expect("set");
    for _ in 0..100 {
        let itself = waiter.batch_execute("SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(3)");
        assert_eq!(state(&itself.await.expect_err("cancelled")), "57014");
    }
    waiter.batch_execute("SET lock_timeout = 100").await.expect("set");
    let error = waiter.batch_execute("SELECT pg_advisory_lock(1)").await.expect_err("too long");
    assert_eq!(state(&error), "55P03");
    // An idle session, in a transaction and not.
    for (limit, begin, expected) in [
        ("idle_in_transaction_session_timeout", "BEGIN", "25P03"),
        ("idle_session_timeout", "SELECT 1", "57P05"),
    ] {
        let mut idle = support::raw::session(&server).await;
        idle.send(b'Q', format!("SET {limit} = 100; {begin}\0").as_bytes()).await;
        idle.find(b'Z').await;
        let error = tokio::time::timeout(Duration::from_secs(5), idle.find(b'E')).await.expect("ended");
        assert!(String::from_utf8_lossy(&error).contains(expected), "{limit}");
    }
}

/// What statements do that waited for DDL: bound anew, they see the table as it is then.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_waited_for_ddl_goes_by_the_new_table() {
    let server = TestServer::start();
    let (ddl, writer) = (server.connect().await, server.connect().await);
    ddl.batch_execute("CREATE TABLE t (id int PRIMARY KEY, n int)").await.expect("made");
    let statements = [
        ("ALTER TABLE t ADD COLUMN m int DEFAULT 7", "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)", "3"),
        ("ALTER TABLE t ALTER COLUMN m SET DEFAULT 8", "INSERT INTO t (id) VALUES (4)", "4"),
        ("CREATE INDEX ON t (n)", "UPDATE t SET n = 10 WHERE id = 1", "4"),
        ("ALTER TABLE t ALTER COLUMN n TYPE bigint", "UPDATE t SET n = 20 WHERE id = 2", "4"),
        ("ALTER TABLE t DROP COLUMN n", "DELETE FROM t WHERE id = 1", "3"),
        (
            "CREATE INDEX ON t (m)",
            "WITH gone AS (DELETE FROM t WHERE id = 2 RETURNING id) SELECT * FROM gone",
            "2",
        ),
        ("ALTER TABLE t ADD COLUMN l text DEFAULT 'l'", "SELECT * FROM t FOR UPDATE", "2"),
        ("ALTER TABLE t ALTER COLUMN m TYPE text", "UPDATE t SET m = '33'", "2"),
        ("TRUNCATE t", "UPDATE t SET m = 'gone'", "0"),
    ];
    for (change, statement, left) in statements {
        ddl.batch_execute(&format!("BEGIN; {change}")).await.expect(change);
        let mut wait = Box::pin(writer.batch_execute(statement));
        assert!(waits(&mut wait).await, "{statement}");
        ddl.batch_execute("COMMIT").await.expect(change);
        wait.await.expect(statement);
        assert_eq!(value(&writer, "SELECT count(*) FROM t").await, left, "{statement}");
    }
    ddl.batch_execute("BEGIN; ALTER TABLE t ADD COLUMN k int DEFAULT 5").await.expect("changed");
    let sink = writer.copy_in("COPY t FROM STDIN");
    let mut sink = Box::pin(sink);
    assert!(waits(&mut sink).await);
    ddl.batch_execute("COMMIT").await.expect("committed");
    let mut sink = Box::pin(sink.await.expect("begun"));
    sink.send(bytes::Bytes::from_static(b"1\ta\tb\t6\n")).await.expect("sent");
    sink.as_mut().finish().await.expect("copied");
    assert_eq!(value(&writer, "SELECT k FROM t").await, "6");
    // What held the lock wrote rows and nothing else.
    ddl.batch_execute("BEGIN; SAVEPOINT s; ALTER TABLE t ADD COLUMN j int; ROLLBACK TO s")
        .await
        .expect("undone");
    ddl.batch_execute("INSERT INTO t (id, k) VALUES (2, 6)").await.expect("written");
    let mut wait = Box::pin(writer.execute("UPDATE t SET k = 7 WHERE k = 6", &[]));
    assert!(waits(&mut wait).await);
    ddl.batch_execute("COMMIT").await.expect("committed");
    assert_eq!(wait.await.expect("changed"), 2);
    // A snapshot that stays: an index changes nothing, rows that were moved may not be seen.
    for (change, state_then) in [("CREATE INDEX ON t (k)", None), ("TRUNCATE t", Some("40001"))] {
        writer.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM t").await.expect("begun");
        ddl.batch_execute(&format!("BEGIN; {change}")).await.expect(change);
        let mut wait = Box::pin(writer.batch_execute("UPDATE t SET k = 9"));
        assert!(waits(&mut wait).await, "{change}");
        ddl.batch_execute("COMMIT").await.expect(change);
        let result = wait.await;
        assert_eq!(result.as_ref().err().map(state), state_then, "{change}");
        writer.batch_execute("COMMIT").await.expect("ended");
    }
    ddl.batch_execute("BEGIN; DROP TABLE t").await.expect("dropped");
    let mut wait = Box::pin(writer.batch_execute("DELETE FROM t"));
    assert!(waits(&mut wait).await);
    ddl.batch_execute("COMMIT").await.expect("committed");
    assert_eq!(state(&wait.await.expect_err("it is gone")), "42P01");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_waits_for_the_row_and_sees_what_became_of_it() {
    let server = TestServer::start();
    let (one, two) = (server.connect().await, server.connect().await);
    one.batch_execute("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1), (2, 10)")
        .await
        .expect("made");
    one.batch_execute("BEGIN; UPDATE t SET n = n + 1 WHERE id = 1").await.expect("changed");
    let mut wait = Box::pin(two.batch_execute("UPDATE t SET n = n * 10 WHERE n < 5"));
    assert!(waits(&mut wait).await);
    one.batch_execute("COMMIT").await.expect("committed");
    wait.await.expect("changed");
    assert_eq!(value(&one, "SELECT n FROM t WHERE id = 1").await, "20");
    // It no longer qualifies after the wait.
    one.batch_execute("BEGIN; UPDATE t SET n = 100 WHERE id = 1").await.expect("changed");
    let mut wait = Box::pin(two.execute("UPDATE t SET n = 0 WHERE n = 20", &[]));
    assert!(waits(&mut wait).await);
    one.batch_execute("COMMIT").await.expect("committed");
    assert_eq!(wait.await.expect("run"), 0);
    // First committer wins.
    two.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM t").await.expect("begun");
    one.batch_execute("BEGIN; UPDATE t SET n = 5 WHERE id = 1").await.expect("changed");
    let mut wait = Box::pin(two.batch_execute("UPDATE t SET n = 6 WHERE id = 1"));
    assert!(waits(&mut wait).await);
    one.batch_execute("COMMIT").await.expect("committed");
    assert_eq!(state(&wait.await.expect_err("a conflict")), "40001");
}
