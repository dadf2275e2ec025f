//! What a running query needs besides its plan. It travels as an extension of DataFusion's session config, so that a plan
//! holds no snapshot and can be used again.

use crate::to_datafusion;
use datafusion::execution::TaskContext;
use quiver_base::{Error, Result, SqlState};
use quiver_cluster::ReadView;
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

impl QueryContext {
    /// The statement's context, from where operators run.
    pub(crate) fn of(task: &TaskContext) -> datafusion::error::Result<Arc<QueryContext>> {
        let context = task.session_config().get_extension::<QueryContext>();
        context.ok_or_else(|| to_datafusion(Error::internal("a scan outside of a statement")))
    }

    /// Fails with 57014 once the statement is cancelled.
    pub(crate) fn check_cancel(&self) -> Result<()> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(Error::new(SqlState::QUERY_CANCELED, "canceling statement due to user request"));
        }
        Ok(())
    }
}

/// Settings that change how a vector search runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchSettings {
    /// hnsw.ef_search.
    pub ef_search: usize,
    /// enable_indexscan: off means exact.
    pub use_index: bool,
}

impl Default for SearchSettings {
    fn default() -> Self {
        SearchSettings { ef_search: 40, use_index: true }
    }
}
