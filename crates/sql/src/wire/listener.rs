//! The listener: accepts connections, starts a task for each on its lane, stops them when the server stops.

use super::backend;
use super::connection::Connection;
use super::hba::{Hba, HbaSource};
use super::lanes::Lanes;
use super::scram::Verifier;
use super::startup::start;
use super::tls::{Tls, TlsFiles};
use crate::index_compiler::Compiler;
use crate::session::{Backends, Shared, Stop, Talker};
use quiver_base::{Error, Result, SqlState};
use quiver_cluster::Cluster;
use quiver_exec::Engine;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What the listener needs to know.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The password of superusers that have none of their own. Without rules it is needed to listen on anything but loopback, and
    /// clients on loopback need no password.
    pub password: Option<String>,
    /// What encrypts connections, for clients that ask for it.
    pub tls: Option<TlsFiles>,
    /// Who may connect from where, and how they prove who they are.
    pub hba: Option<HbaSource>,
    /// More sessions than this are refused with 53300.
    pub max_connections: usize,
    /// Longer messages end the connection with 08P01, in bytes.
    pub message_bytes_max: usize,
    /// How long a client may take to log in.
    pub startup_timeout: Duration,
    /// How long running statements may go on when the server stops, before they are cancelled.
    pub shutdown_grace: Duration,
}

impl ServerConfig {
    /// The usual limits.
    pub fn new(listen: SocketAddr) -> ServerConfig {
        ServerConfig {
            listen,
            password: None,
            tls: None,
            hba: None,
            max_connections: 500,
            message_bytes_max: 256 * 1024 * 1024,
            startup_timeout: Duration::from_secs(60),
            shutdown_grace: Duration::from_secs(30),
        }
    }
}

/// Counters, for /metrics.
#[derive(Debug, Default)]
pub struct SqlMetrics {
    connections: AtomicU64,
    connections_total: AtomicU64,
    statements_total: AtomicU64,
    errors_total: AtomicU64,
    busy_polls_total: AtomicU64,
    busy_polls_found_total: AtomicU64,
}

impl SqlMetrics {
    /// Connections now.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Connections accepted since the start.
    pub fn connections_total(&self) -> u64 {
        self.connections_total.load(Ordering::Relaxed)
    }

    /// Statements completed since the start.
    pub fn statements_total(&self) -> u64 {
        self.statements_total.load(Ordering::Relaxed)
    }

    /// Errors sent to clients since the start.
    pub fn errors_total(&self) -> u64 {
        self.errors_total.load(Ordering::Relaxed)
    }

    /// Times that a session polled its socket since the start.
    pub fn busy_polls_total(&self) -> u64 {
        self.busy_polls_total.load(Ordering::Relaxed)
    }

    /// Those of them in which something arrived.
    pub fn busy_polls_found_total(&self) -> u64 {
        self.busy_polls_found_total.load(Ordering::Relaxed)
    }

    pub(crate) fn count_busy_poll(&self, found: bool) {
        self.busy_polls_total.fetch_add(1, Ordering::Relaxed);
        self.busy_polls_found_total.fetch_add(u64::from(found), Ordering::Relaxed);
    }

    pub(crate) fn count_statement(&self) {
        self.statements_total.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_error(&self) {
        self.errors_total.fetch_add(1, Ordering::Relaxed);
    }
}

/// The SQL server.
#[derive(Debug)]
pub struct SqlServer {
    listener: TcpListener,
    local_addr: SocketAddr,
    server: Arc<Server>,
    lanes: Lanes,
}

/// What every connection's task has.
#[derive(Debug)]
pub(super) struct Server {
    pub config: ServerConfig,
    pub shared: Arc<Shared>,
    pub bootstrap_verifier: Option<Verifier>,
    pub tls: Option<Tls>,
    pub hba: Option<Arc<Hba>>,
    /// Sockets, logged in or not: some more than sessions, so that cancel requests and refusals get through.
    sockets: Arc<Semaphore>,
}

impl SqlServer {
    /// Opens the port. Nobody may reach a server without a password from another machine, so that is refused here.
    pub async fn bind(config: ServerConfig, cluster: Arc<Cluster>, engine: Arc<Engine>) -> Result<SqlServer> {
        let is_open = config.password.is_none() && config.hba.is_none();
        if !config.listen.ip().to_canonical().is_loopback() && is_open {
            return Err(Error::new(
                SqlState::CONFIG_FILE_ERROR,
                format!("refusing to listen on {} without a password", config.listen),
            )
            .with_hint(
                "Set a password, give rules (--hba), or listen on a loopback address such as 127.0.0.1:5433.",
            ));
        }
        let tls = config.tls.as_ref().map(Tls::load).transpose()?;
        let hba = config.hba.as_ref().map(Hba::load).transpose()?.map(Arc::new);
        let listener = TcpListener::bind(config.listen)
            .await
            .map_err(|error| Error::io(format!("could not listen on {}", config.listen), error))?;
        let local_addr =
            listener.local_addr().map_err(|error| Error::io("could not read the listen address", error))?;
        Compiler::install(&cluster, &engine);
        let shared = Shared {
            cluster,
            engine,
            backends: Backends::new(config.max_connections, hba.clone()),
            metrics: Arc::new(SqlMetrics::default()),
            shutdown: CancellationToken::new(),
            processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            talker: Talker::default(),
        };
        let server = Server {
            tls,
            hba,
            bootstrap_verifier: config.password.as_deref().map(Verifier::of_password),
            sockets: Arc::new(Semaphore::new(config.max_connections * 2 + 64)),
            shared: Arc::new(shared),
            config,
        };
        Ok(SqlServer { listener, local_addr, server: Arc::new(server), lanes: Lanes::new() })
    }

    /// Where it listens: the port the system chose, if 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Its counters.
    pub fn metrics(&self) -> Arc<SqlMetrics> {
        self.server.shared.metrics.clone()
    }

    /// Serves until `shutdown` is set. Then accepts nobody, ends idle sessions with 57P01, lets running statements end, cancels them
    /// after the grace time, and returns when all connections are closed.
    pub async fn serve(self, shutdown: CancellationToken) {
        let mut tasks = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                // Ended tasks are taken off the list.
                Some(_) = tasks.join_next() => continue,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.accept(&mut tasks, stream, peer),
                Err(error) => {
                    // Out of file descriptors, most likely: wait for some to be closed.
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(self.listener);
        self.server.shared.shutdown.cancel();
        if tokio::time::timeout(self.server.config.shutdown_grace, all(&mut tasks)).await.is_err() {
            for info in self.server.shared.backends.list() {
                info.interrupt.request(Stop::Terminate);
            }
            // A client that does not read what it is sent holds its connection; its task is dropped with the set.
            let _ = tokio::time::timeout(Duration::from_secs(5), all(&mut tasks)).await;
        }
    }

    fn accept(&self, tasks: &mut JoinSet<()>, stream: TcpStream, peer: SocketAddr) {
        let Ok(permit) = self.server.sockets.clone().try_acquire_owned() else {
            tracing::warn!(%peer, "too many sockets: connection dropped");
            return;
        };
        let server = self.server.clone();
        // A socket belongs to the runtime that reads it.
        let moved = stream.into_std().map_err(|error| Error::io("could not hand a connection over", error));
        let (stream, place) = match moved.and_then(|stream| Ok((stream, self.lanes.place()?))) {
            Ok(both) => both,
            Err(error) => {
                tracing::warn!(%peer, %error, "connection dropped");
                return;
            }
        };
        let lane = place.lane.clone();
        let life = async move {
            let _permit = permit;
            let metrics = server.shared.metrics.clone();
            metrics.connections_total.fetch_add(1, Ordering::Relaxed);
            metrics.connections.fetch_add(1, Ordering::Relaxed);
            match TcpStream::from_std(stream) {
                Ok(stream) => {
                    let life = async move { connection(&server, stream, peer).await };
                    place.within(life).await;
                }
                Err(error) => tracing::warn!(%peer, %error, "connection dropped"),
            }
            metrics.connections.fetch_sub(1, Ordering::Relaxed);
        };
        tasks.spawn_on(life, &lane);
    }
}

async fn all(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}

/// The life of one connection.
async fn connection(server: &Server, stream: TcpStream, peer: SocketAddr) {
    // Answers are small and waited for.
    let _ = stream.set_nodelay(true);
    let mut conn = Connection::new(stream, peer, server.config.message_bytes_max);
    let started = tokio::select! {
        started = tokio::time::timeout(server.config.startup_timeout, Box::pin(start(server, &mut conn))) => started,
        () = server.shared.shutdown.cancelled() => return,
    };
    match started {
        Ok(Ok(Some(session))) => session.serve(&mut conn).await,
        Ok(Ok(None)) => {}
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "connection refused");
            server.shared.metrics.count_error();
            backend::error(&mut conn.output.buffer, &error, true);
            // The client may be gone already.
            let _ = conn.output.flush().await;
        }
        Err(_) => tracing::debug!(%peer, "the client took too long to log in"),
    }
    conn.output.close().await;
}
