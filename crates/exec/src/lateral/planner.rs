//! Makes the operator for a lateral node.

use super::LateralApply;
use super::exec::{LateralApplyExec, Pairing, Template};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::error::Result;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use datafusion::prelude::SessionConfig;
use quiver_base::Error;
use std::sync::Arc;

/// DataFusion's planner, with ours for our nodes.
#[derive(Debug)]
pub(crate) struct EngineQueryPlanner;

#[async_trait]
impl QueryPlanner for EngineQueryPlanner {
    async fn create_physical_plan(
        &self,
        logical_plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(LateralPlanner)]);
        planner.create_physical_plan(logical_plan, session).await
    }
}

/// Plans [`LateralApply`].
#[derive(Debug)]
pub(crate) struct LateralPlanner;

#[async_trait]
impl ExtensionPlanner for LateralPlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        _context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(apply) = node.as_any().downcast_ref::<LateralApply>() else { return Ok(None) };
        let Some(state) = session.as_any().downcast_ref::<SessionState>() else {
            return Err(crate::to_datafusion(Error::internal("planned outside of a session")));
        };
        let outer_schema = apply.outer.schema();
        let bindings: Vec<Arc<dyn PhysicalExpr>> = apply
            .bindings
            .iter()
            .map(|binding| session.create_physical_expr(binding.clone(), outer_schema))
            .collect::<Result<_>>()?;
        let inner = state.optimize(&apply.inner)?;
        let on = match &apply.on {
            Some(on) => Some(session.create_physical_expr(on.clone(), apply.schema.as_ref())?),
            None => None,
        };
        let when = match &apply.when {
            Some(when) => Some(session.create_physical_expr(when.clone(), outer_schema)?),
            None => None,
        };
        let exec = LateralApplyExec::new(
            physical_inputs[0].clone(),
            Template { inner, names: apply.names.clone(), state: without_context(state) },
            bindings,
            Pairing { keep_outer: apply.keep_outer, single: apply.single, on, when },
            apply.schema.inner().clone(),
        );
        Ok(Some(Arc::new(exec)))
    }
}

/// The operator keeps the state as long as the plan lives; the statement's snapshots must not live as long.
fn without_context(state: &SessionState) -> SessionState {
    let mut state = state.clone();
    let options = state.config().options().clone();
    *state.config_mut() = SessionConfig::from(options.as_ref().clone());
    state
}
