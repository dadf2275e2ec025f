//! Starting and stopping: what is refused, in which words, and what an operator sees from outside.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output};
use std::time::Duration;
use support::{TestServer, rows, try_connect, value};

/// What a start that must be refused says.
fn refusal(dir: &std::path::Path, options: &[(&str, &str)]) -> String {
    match TestServer::try_start(dir, options) {
        Ok(_) => panic!("the server started with {options:?}"),
        Err(message) => message,
    }
}

fn quiver(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quiver")).args(arguments).output().expect("the quiver binary runs")
}

/// One HTTP request over plain TCP: the status line and the body.
fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: quiver\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_serves_one_server_at_a_time() {
    let dir = tempfile::tempdir().expect("temp dir");
    let first = TestServer::start_on(dir.path(), &[]);
    let message = refusal(dir.path(), &[]);
    assert!(message.contains("is in use by another process"), "{message}");
    let client = first.connect().await;
    assert_eq!(value(&client, "SELECT 1").await, "1", "the first one goes on");
    drop(first);
    TestServer::start_on(dir.path(), &[]);
}

#[test]
fn a_folder_of_a_newer_version_is_refused_by_name() {
    let dir = tempfile::tempdir().expect("temp dir");
    drop(TestServer::start_on(dir.path(), &[]));
    let path = dir.path().join("data/VERSION");
    let text = std::fs::read_to_string(&path).expect("VERSION");
    std::fs::write(&path, text.replace("format 1", "format 999")).expect("written");
    let message = refusal(dir.path(), &[]);
    assert!(message.contains("VERSION\" has format 999; this Quiver reads up to"), "{message}");
    std::fs::write(&path, "something else").expect("written");
    let message = refusal(dir.path(), &[]);
    assert!(message.contains("is not a VERSION file of Quiver"), "{message}");
}

#[test]
fn a_folder_of_somebody_else_is_refused() {
    let dir = tempfile::tempdir().expect("temp dir");
    std::fs::create_dir(dir.path().join("data")).expect("made");
    std::fs::write(dir.path().join("data/thesis.txt"), "mine").expect("written");
    let message = refusal(dir.path(), &[]);
    assert!(message.contains("is not empty and has no VERSION file"), "{message}");
    assert!(message.contains("thesis.txt"), "{message}");
}

#[test]
fn bad_settings_are_refused_by_name() {
    let dir = tempfile::tempdir().expect("temp dir");
    let file = dir.path().join("quiver.toml");
    std::fs::write(&file, "lissen = 1\n").expect("written");
    let cases: [(&[(&str, &str)], &str); 8] = [
        (&[("--lissen", "127.0.0.1:0")], "unexpected argument '--lissen'"),
        (&[("env:QUIVER_LOG", "===")], "invalid log filter \"===\""),
        (&[("--memory-limit", "lots")], "invalid unit \"lots\" in memory-limit"),
        (&[("--memory-limit", "1MB")], "memory-limit must be at least"),
        (&[("--config", file.to_str().expect("UTF-8"))], "lissen"),
        (&[("--config", "/nowhere/quiver.toml")], "/nowhere/quiver.toml"),
        (&[("--object-store", "ftp://host/folder")], "ftp://host/folder"),
        (&[("--object-store", "s3://")], "names no bucket"),
    ];
    for (options, expected) in cases {
        let message = refusal(dir.path(), options);
        assert!(message.contains(expected), "{options:?} gave: {message}");
        assert!(!message.contains("panicked"), "{options:?} gave: {message}");
    }
}

#[test]
fn listening_to_other_machines_needs_a_password() {
    let dir = tempfile::tempdir().expect("temp dir");
    let data = dir.path().join("data");
    let data = data.to_str().expect("UTF-8");
    let output = quiver(&["start", "--data-dir", data, "--listen", "0.0.0.0:0", "--http", "127.0.0.1:0"]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("refusing to listen on 0.0.0.0:0 without a password"), "{message}");
    assert!(message.contains("hint: "), "{message}");
}

#[test]
fn help_and_version_read_well() {
    let help = String::from_utf8(quiver(&["start", "--help"]).stdout).expect("UTF-8");
    for option in
        ["--data-dir", "--listen", "--rpc", "--http", "--object-store", "--config", "--memory-limit"]
    {
        assert!(help.contains(option), "{option} is not in the help");
    }
    let version = quiver(&["--version"]);
    assert!(version.status.success());
    assert!(version.stdout.starts_with(b"quiver "));
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_stops_it_well_and_nothing_is_lost() {
    let dir = tempfile::tempdir().expect("temp dir");
    let mut server = TestServer::start_on(dir.path(), &[]);
    let client = server.connect().await;
    client
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY, e vector(2)); INSERT INTO t VALUES (1, '[1,2]'), (2, '[3,4]')")
        .await
        .expect("written");
    let (code, elapsed) = server.terminate();
    assert_eq!(code, Some(0));
    assert!(elapsed < Duration::from_secs(30), "stopping took {elapsed:?} with an idle connection");
    assert!(client.simple_query("SELECT 1").await.is_err(), "the connection is closed");
    let server = TestServer::start_on(dir.path(), &[]);
    let client = server.connect().await;
    assert_eq!(rows(&client, "SELECT id, e FROM t ORDER BY id").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_over_http() {
    let server = TestServer::start();
    let client = server.connect().await;
    client.batch_execute("SELECT 1").await.expect("selected");
    assert!(client.batch_execute("SELECT * FROM nowhere").await.is_err());
    assert_eq!(get(server.http(), "/healthz"), ("HTTP/1.1 200 OK".to_owned(), "ok\n".to_owned()));
    assert_eq!(get(server.http(), "/readyz"), ("HTTP/1.1 200 OK".to_owned(), "ready\n".to_owned()));
    assert!(get(server.http(), "/elsewhere").0.contains("404"));
    let (status, text) = get(server.http(), "/metrics");
    assert!(status.contains("200"), "{status}");
    let number = |name: &str| -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number")
    };
    assert_eq!(number("quiver_ready"), 1);
    assert_eq!(number("quiver_connections"), 1);
    assert!(number("quiver_statements_total") >= 1);
    assert_eq!(number("quiver_errors_total"), 1);
    assert!(number("quiver_memory_used_bytes") <= number("quiver_memory_limit_bytes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_database_has_a_hint() {
    let server = TestServer::start();
    let address = server.address();
    let mut config = tokio_postgres::Config::new();
    config.host(address.ip().to_string()).port(address.port()).user("somebody").dbname("nowhere");
    let Err(error) = config.connect(tokio_postgres::NoTls).await else { panic!("connected to no database") };
    let error = error.as_db_error().expect("an answer of the server");
    assert_eq!(error.code().code(), "3D000");
    assert_eq!(error.message(), "database \"nowhere\" does not exist");
    assert!(error.hint().is_some());
    assert!(try_connect(address).await.is_ok());
}
