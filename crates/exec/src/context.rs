//! What a running query needs besides its plan. It travels as an extension of DataFusion's session config, so that a plan
//! holds no snapshot and can be used again.

use crate::to_datafusion;
use datafusion::execution::TaskContext;
use datafusion::prelude::SessionConfig;
use quiver_base::{Error, Result, SqlState};
use quiver_cluster::{ReadView, Table};
use quiver_storage::{Snapshot, TableLayout};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Per-statement state that operators and functions find through the task context.
#[derive(Clone, Debug)]
pub struct QueryContext {
    /// Catalog and snapshots.
    pub view: ReadView,
    /// Search settings at the time the statement began.
    pub search: SearchSettings,
    /// Set when the statement is cancelled or timed out: blocking work stops at its next batch with 57014.
    pub cancel: Arc<AtomicBool>,
}

/// What operators ask of the running statement.
pub(crate) trait Statement: Send + Sync + fmt::Debug {
    /// One snapshot a shard, in the order of `table.shards`.
    fn snapshots(&self, table: &Table) -> Result<Vec<Arc<Snapshot>>>;
    /// The table as storage wants it described.
    fn layout(&self, table: &Arc<Table>) -> Arc<TableLayout>;
    fn search(&self) -> SearchSettings;
    fn is_cancelled(&self) -> bool;

    /// Fails with 57014 once the statement is cancelled.
    fn check_cancel(&self) -> Result<()> {
        if self.is_cancelled() {
            return Err(Error::new(SqlState::QUERY_CANCELED, "canceling statement due to user request"));
        }
        Ok(())
    }
}

impl Statement for QueryContext {
    fn snapshots(&self, table: &Table) -> Result<Vec<Arc<Snapshot>>> {
        self.view.snapshots(table)
    }

    fn layout(&self, table: &Arc<Table>) -> Arc<TableLayout> {
        self.view.layout(table)
    }

    fn search(&self) -> SearchSettings {
        self.search
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}

/// The statement that a session's config belongs to, if it belongs to one.
pub(crate) fn statement(config: &SessionConfig) -> Option<Arc<dyn Statement>> {
    #[cfg(test)]
    if let Some(statement) = config.get_extension::<crate::testing::TestStatement>() {
        return Some(statement);
    }
    config.get_extension::<QueryContext>().map(|context| context as Arc<dyn Statement>)
}

/// The statement that a task runs for.
pub(crate) fn running_statement(task: &TaskContext) -> datafusion::error::Result<Arc<dyn Statement>> {
    statement(task.session_config())
        .ok_or_else(|| to_datafusion(Error::internal("a table was read outside of a statement")))
}

/// Settings that change how a vector search runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchSettings {
    /// hnsw.ef_search.
    pub ef_search: usize,
    /// ivfflat.probes.
    pub probes: usize,
    /// enable_indexscan: off means exact.
    pub use_index: bool,
}

impl Default for SearchSettings {
    fn default() -> Self {
        SearchSettings { ef_search: 40, probes: 1, use_index: true }
    }
}
