//! Plans and runs: one per process.

use crate::QueryContext;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use quiver_base::{MemoryBudget, Result};
use std::sync::Arc;

/// DataFusion with our rules, operators, functions and memory limit.
#[derive(Debug)]
pub struct Engine {}

impl Engine {
    /// An engine whose queries draw from `memory`.
    pub fn new(_memory: Arc<MemoryBudget>) -> Result<Arc<Engine>> {
        unimplemented!()
    }

    /// A session state for one statement: functions registered, rules installed, `context` attached.
    pub fn state(&self, _context: Arc<QueryContext>) -> SessionState {
        unimplemented!()
    }

    /// Optimises and plans.
    pub async fn plan(&self, _state: &SessionState, _plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        unimplemented!()
    }

    /// Runs a physical plan as one stream.
    pub fn run(
        &self,
        _state: &SessionState,
        _plan: Arc<dyn ExecutionPlan>,
    ) -> Result<SendableRecordBatchStream> {
        unimplemented!()
    }
}
