//! /healthz (the process runs), /readyz (writes are accepted) and /metrics (Prometheus text) over plain HTTP.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus::{Encoder, IntCounter, IntGauge, Registry, TextEncoder};
use quiver_base::{Error, Result};
use quiver_cluster::Cluster;
use quiver_sql::SqlMetrics;
use std::sync::Arc;
use tokio::net::TcpListener;

/// What the handlers look at.
#[derive(Clone)]
pub(crate) struct Health {
    cluster: Arc<Cluster>,
    sql: Arc<SqlMetrics>,
    registry: Registry,
    gauges: Arc<Gauges>,
}

/// Numbers that are read when they are asked for.
struct Gauges {
    memory_used_bytes: IntGauge,
    memory_limit_bytes: IntGauge,
    ready: IntGauge,
    connections: IntGauge,
    connections_total: IntCounter,
    statements_total: IntCounter,
    errors_total: IntCounter,
    busy_polls_total: IntCounter,
    busy_polls_found_total: IntCounter,
}

impl Health {
    /// Handlers over a node and its SQL server's counters.
    pub(crate) fn new(cluster: Arc<Cluster>, sql: Arc<SqlMetrics>) -> Result<Health> {
        let registry = Registry::new();
        let internal = |cause: prometheus::Error| Error::internal(format!("metrics: {cause}"));
        let counter = |name: &str, help: &str| -> Result<IntCounter> {
            let counter = IntCounter::new(name, help).map_err(internal)?;
            registry.register(Box::new(counter.clone())).map_err(internal)?;
            Ok(counter)
        };
        let gauge = |name: &str, help: &str| -> Result<IntGauge> {
            let gauge = IntGauge::new(name, help).map_err(internal)?;
            registry.register(Box::new(gauge.clone())).map_err(internal)?;
            Ok(gauge)
        };
        let gauges = Gauges {
            memory_used_bytes: gauge("quiver_memory_used_bytes", "Bytes reserved from the memory limit")?,
            memory_limit_bytes: gauge("quiver_memory_limit_bytes", "The memory limit")?,
            ready: gauge("quiver_ready", "1 if writes are accepted")?,
            connections: gauge("quiver_connections", "Connections now")?,
            connections_total: counter("quiver_connections_total", "Connections accepted since the start")?,
            statements_total: counter("quiver_statements_total", "Statements completed since the start")?,
            errors_total: counter("quiver_errors_total", "Errors sent to clients since the start")?,
            busy_polls_total: counter(
                "quiver_busy_polls_total",
                "Times that a session polled its socket since the start",
            )?,
            busy_polls_found_total: counter(
                "quiver_busy_polls_found_total",
                "Times that something arrived while a session polled its socket",
            )?,
        };
        Ok(Health { cluster, sql, registry, gauges: Arc::new(gauges) })
    }

    fn refresh(&self) {
        let memory = self.cluster.memory();
        let set = |gauge: &IntGauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        let raise = |counter: &IntCounter, value: u64| counter.inc_by(value.saturating_sub(counter.get()));
        set(&self.gauges.memory_used_bytes, memory.used_bytes() as u64);
        set(&self.gauges.memory_limit_bytes, memory.limit_bytes() as u64);
        set(&self.gauges.ready, u64::from(self.cluster.is_ready()));
        set(&self.gauges.connections, self.sql.connections());
        raise(&self.gauges.connections_total, self.sql.connections_total());
        raise(&self.gauges.statements_total, self.sql.statements_total());
        raise(&self.gauges.errors_total, self.sql.errors_total());
        raise(&self.gauges.busy_polls_total, self.sql.busy_polls_total());
        raise(&self.gauges.busy_polls_found_total, self.sql.busy_polls_found_total());
    }

    /// Serves until the listener's task is dropped.
    pub(crate) async fn serve(self, listener: TcpListener) -> std::io::Result<()> {
        let router = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self);
        axum::serve(listener, router).await
    }
}

async fn ready(State(health): State<Health>) -> impl IntoResponse {
    match health.cluster.is_ready() {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "a group has no leader\n"),
    }
}

async fn metrics(State(health): State<Health>) -> impl IntoResponse {
    health.refresh();
    let mut text = Vec::new();
    match TextEncoder::new().encode(&health.registry.gather(), &mut text) {
        Ok(()) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(cause) => (StatusCode::INTERNAL_SERVER_ERROR, cause.to_string()).into_response(),
    }
}
