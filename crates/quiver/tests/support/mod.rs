//! What the tests of the whole server share: the real binary as a child process on a folder of its own, real connections
//! to it, and the WordNet embeddings.

#![allow(dead_code)] // each test binary uses a part of it

pub(crate) mod raw;
pub(crate) mod s3;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio_postgres::{Client, NoTls};

/// A `quiver start` of its own. Killed when dropped.
pub(crate) struct TestServer {
    child: Child,
    address: SocketAddr,
    http: SocketAddr,
    dir: PathBuf,
    _temp: Option<tempfile::TempDir>,
}

impl TestServer {
    /// A server on an empty folder.
    pub(crate) fn start() -> TestServer {
        let temp = tempfile::tempdir().expect("temp dir");
        let mut server = TestServer::start_on(temp.path(), &[]);
        server._temp = Some(temp);
        server
    }

    /// A server on a given folder, with more options.
    pub(crate) fn start_on(dir: &Path, options: &[(&str, &str)]) -> TestServer {
        TestServer::try_start(dir, options)
            .unwrap_or_else(|error| panic!("the server did not start: {error}"))
    }

    /// The same; what it printed to standard error if it did not get ready.
    pub(crate) fn try_start(dir: &Path, options: &[(&str, &str)]) -> Result<TestServer, String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quiver"));
        command.arg("start").arg("--data-dir").arg(dir.join("data"));
        command.args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        for (name, value) in options {
            match name.strip_prefix("env:") {
                Some(variable) => command.env(variable, value),
                None => command.arg(name).arg(value),
            };
        }
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the quiver binary runs");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        stdout.read_line(&mut line).expect("standard output");
        let mut stderr = child.stderr.take().expect("piped");
        let Some((address, http)) = parse_ready(&line) else {
            let mut text = String::new();
            stderr.read_to_string(&mut text).expect("standard error");
            child.wait().expect("it ended");
            return Err(format!("{line}{text}"));
        };
        // Nobody may block on a full pipe: what the server says later is passed on.
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::stderr()));
        Ok(TestServer { child, address, http, dir: dir.to_owned(), _temp: None })
    }

    /// Where PostgreSQL clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where /metrics is.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    /// A connection as the role `quiver` to the database `quiver`.
    pub(crate) async fn connect(&self) -> Client {
        try_connect(self.address).await.expect("a connection")
    }

    /// The process's id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("it ended");
    }

    /// `kill -9`, then the same folder again.
    pub(crate) fn crash_and_restart(mut self, options: &[(&str, &str)]) -> TestServer {
        self.child.kill().expect("killed");
        self.child.wait().expect("it ended");
        let temp = self._temp.take();
        let dir = self.dir.clone();
        drop(self);
        let mut server = TestServer::start_on(&dir, options);
        server._temp = temp;
        server
    }

    /// SIGTERM; its exit code and how long it took.
    pub(crate) fn terminate(&mut self) -> (Option<i32>, Duration) {
        let started = Instant::now();
        let pid = i32::try_from(self.child.id()).expect("a pid");
        // SAFETY: a signal to a child that has not been waited for.
        unsafe { libc::kill(pid, libc::SIGTERM) };
        let status = self.child.wait().expect("it ended");
        (status.code(), started.elapsed())
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection, or why there is none.
pub(crate) async fn try_connect(address: SocketAddr) -> Result<Client, tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host(address.ip().to_string()).port(address.port()).user("quiver").dbname("quiver");
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

fn parse_ready(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let rest = line.trim().strip_prefix("quiver is ready: postgres ")?;
    let (postgres, http) = rest.split_once(", http ")?;
    Some((postgres.parse().ok()?, http.parse().ok()?))
}

/// What the tests do not bring themselves: `QUIVER_SHARED`, or `shared` beside the checkout.
pub(crate) fn shared_dir() -> PathBuf {
    let shared = std::env::var_os("QUIVER_SHARED").map(PathBuf::from);
    shared.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"))
}

/// The folder that holds the WordNet set.
pub(crate) fn wordnet_dir() -> PathBuf {
    shared_dir().join("data/wordnet")
}

/// One SQL statement's rows as text, as psql would show them.
pub(crate) async fn rows(client: &Client, sql: &str) -> Vec<Vec<Option<String>>> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let row = |message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect())
        }
        _ => None,
    };
    messages.into_iter().filter_map(row).collect()
}

/// One value.
pub(crate) async fn value(client: &Client, sql: &str) -> String {
    rows(client, sql).await[0][0].clone().unwrap_or_default()
}
