//! Builds a node from its configuration (cluster, then queries, then the two listeners) and stops it in reverse.

use crate::config::Config;
use crate::http::Health;
use quiver_base::{Error, MemoryBudget, Result};
use quiver_cluster::{Cluster, ClusterConfig};
use quiver_exec::Engine;
use quiver_sql::{ServerConfig, SqlServer};
use quiver_storage::StorageOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// An open node with its listeners bound, not yet serving.
pub(crate) struct Server {
    cluster: Arc<Cluster>,
    sql: SqlServer,
    http: TcpListener,
}

impl Server {
    /// Opens the data folder and binds both addresses.
    pub(crate) async fn open(config: &Config) -> Result<Server> {
        let memory = MemoryBudget::new(config.memory_limit_bytes);
        let cluster = Cluster::open(ClusterConfig {
            data_dir: config.data_dir.clone(),
            object_store: config.object_store.clone(),
            memory: memory.clone(),
            storage: StorageOptions {
                memtable_bytes_max: config.memtable_bytes,
                column_cache_bytes: config.memory_limit_bytes / 8,
                range_cache_bytes: config.memory_limit_bytes / 8,
                cold_bytes_min: config.cold_bytes as u64,
                ..StorageOptions::default()
            },
            background_threads: config.background_threads,
            data_groups: 2,
            txn_stage_bytes: 4 << 20,
            write_wait_max: Duration::from_secs(30),
            log_bytes_max: 256 << 20,
        })
        .await?;
        let engine = Engine::new(memory)?;
        let sql_config = ServerConfig {
            password: config.password.clone(),
            tls: config.tls.clone(),
            hba: config.hba.clone(),
            max_connections: config.max_connections,
            ..ServerConfig::new(config.listen)
        };
        let sql = SqlServer::bind(sql_config, cluster.clone(), engine).await?;
        let http = TcpListener::bind(config.http)
            .await
            .map_err(|cause| Error::io(format!("cannot listen on {}", config.http), cause))?;
        Ok(Server { cluster, sql, http })
    }

    /// Where PostgreSQL clients connect.
    pub(crate) fn postgres_address(&self) -> SocketAddr {
        self.sql.local_addr()
    }

    /// Says that it is ready, serves until `stop`, then lets what runs finish, flushes and closes.
    pub(crate) async fn serve(
        self,
        stop: impl Future<Output = ()> + Send + 'static,
        demo: Option<JoinHandle<Result<()>>>,
    ) -> Result<()> {
        let http = self.http.local_addr().map_err(|cause| Error::io("http listener", cause))?;
        println!("quiver is ready: postgres {}, http {http}", self.sql.local_addr());
        std::io::stdout().flush().map_err(|cause| Error::io("standard output", cause))?;
        let health = Health::new(self.cluster.clone(), self.sql.metrics())?;
        let http = tokio::spawn(health.serve(self.http));
        let watch = tokio::spawn(async move {
            if let Some(demo) = demo
                && let Ok(Err(error)) = demo.await
            {
                eprintln!("quiver: the demo stopped: {error}");
            }
        });
        let stopping = CancellationToken::new();
        let signal = tokio::spawn({
            let stopping = stopping.clone();
            async move {
                stop.await;
                stopping.cancel();
            }
        });
        self.sql.serve(stopping).await;
        signal.abort();
        watch.abort();
        http.abort();
        self.cluster.shutdown().await
    }
}

/// Resolves on ctrl-C or SIGTERM.
pub(crate) async fn stop_signal() {
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminate => {}
    }
}
