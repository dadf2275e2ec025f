//! Plans and runs: one per process.

use crate::append::UnionsInOrder;
use crate::lateral::{EngineQueryPlanner, LateralToApply, OneSubqueryEach};
use crate::memory::BudgetPool;
use crate::topk::VectorTopK;
use crate::{QueryContext, cancel, from_datafusion, functions};
use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::DFSchema;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::execution::{FunctionRegistry, SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::optimizer::Optimizer;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionConfig;
use quiver_base::{MemoryBudget, Result};
use std::sync::Arc;

/// Rows of a batch.
pub(crate) const BATCH_ROWS: usize = 8192;

/// DataFusion with our rules, operators, functions and memory limit.
#[derive(Debug)]
pub struct Engine {
    /// Everything a statement's state has but its context. Cloning it shares rules and functions.
    template: SessionState,
}

impl Engine {
    /// An engine whose queries draw from `memory`.
    pub fn new(memory: Arc<MemoryBudget>) -> Result<Arc<Engine>> {
        let sized = functions::sized::all(&memory);
        let runtime = runtime(memory)?;
        // First the query's own order is written down as a requirement; then sorts may go.
        let mut rules: Vec<_> =
            PhysicalOptimizer::new().rules.into_iter().map(crate::pushdown::careful).collect();
        rules.insert(1, Arc::new(VectorTopK));
        rules.push(Arc::new(UnionsInOrder));
        let mut logical_rules = Optimizer::new().rules;
        let own_lateral = logical_rules.iter().position(|rule| rule.name() == "decorrelate_lateral_join");
        // What DataFusion can make an ordinary join of stays one.
        logical_rules.insert(own_lateral.map_or(0, |at| at + 1), Arc::new(LateralToApply));
        let own_scalar = logical_rules.iter().position(|rule| rule.name() == "scalar_subquery_to_join");
        logical_rules.insert(own_scalar.unwrap_or(0), Arc::new(OneSubqueryEach));
        let mut template = SessionStateBuilder::new()
            .with_config(config())
            .with_runtime_env(runtime)
            .with_default_features()
            .with_optimizer_rules(logical_rules)
            .with_physical_optimizer_rules(rules)
            .with_query_planner(Arc::new(EngineQueryPlanner))
            .build();
        for function in functions::extension_functions().into_iter().chain(sized) {
            template.register_udf(function).map_err(from_datafusion)?;
        }
        let builtin: Vec<_> = template.aggregate_functions().values().cloned().collect();
        for function in functions::aggregate_functions(&builtin) {
            template.register_udaf(function).map_err(from_datafusion)?;
        }
        Ok(Arc::new(Engine { template }))
    }

    /// A session state for one statement: functions registered, rules installed, `context` attached.
    pub fn state(&self, context: Arc<QueryContext>) -> SessionState {
        let mut state = self.template.clone();
        state.config_mut().set_extension(context);
        state.mark_start_execution();
        state
    }

    /// A session state without data, to plan and evaluate what reads no table.
    pub fn bare_state(&self) -> SessionState {
        let mut state = self.template.clone();
        state.mark_start_execution();
        state
    }

    /// Optimises and plans.
    pub async fn plan(&self, state: &SessionState, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        let physical = state.create_physical_plan(plan).await.map_err(from_datafusion)?;
        stoppable(state, physical)
    }

    /// Runs a physical plan as one stream.
    pub fn run(
        &self,
        state: &SessionState,
        plan: Arc<dyn ExecutionPlan>,
    ) -> Result<SendableRecordBatchStream> {
        execute_stream(plan, state.task_ctx()).map_err(from_datafusion)
    }

    /// What all queries draw memory from.
    pub(crate) fn runtime(&self) -> &Arc<RuntimeEnv> {
        self.template.runtime_env()
    }

    /// What a plan runs with that was made for an earlier statement: the state without what only planning needs.
    pub(crate) fn task(&self, context: Arc<QueryContext>) -> Arc<TaskContext> {
        let mut config = self.template.config().clone();
        config.set_extension(context);
        let (session, runtime) = (self.template.session_id().to_owned(), self.template.runtime_env().clone());
        Arc::new(TaskContext::new(
            None,
            session,
            config,
            Default::default(),
            Default::default(),
            Default::default(),
            Default::default(),
            runtime,
        ))
    }

    /// An expression ready to evaluate over batches of `schema`, with types coerced. Simplified as a plan's would be: some
    /// functions, coalesce among them, exist only until then.
    pub fn bind_expr(
        &self,
        state: &SessionState,
        expr: Expr,
        schema: &DFSchema,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let context = SimplifyContext::builder()
            .with_schema(Arc::new(schema.clone()))
            .with_config_options(state.config_options().clone())
            .with_query_execution_start_time(state.execution_props().query_execution_start_time)
            .build();
        let simplifier = ExprSimplifier::new(context);
        let expr = simplifier.coerce(expr, schema).and_then(|expr| simplifier.simplify(expr));
        state.create_physical_expr(expr.map_err(from_datafusion)?, schema).map_err(from_datafusion)
    }
}

/// A plan that looks whether its statement is to stop where it computes for long.
fn stoppable(state: &SessionState, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    match state.config().get_extension::<QueryContext>() {
        Some(statement) => cancel::stoppable(plan, &statement).map_err(from_datafusion),
        None => Ok(plan),
    }
}

/// Evaluates expressions over a batch: one array each, as long as the batch.
pub fn evaluate(exprs: &[Arc<dyn PhysicalExpr>], batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
    let evaluate_one = |expr: &Arc<dyn PhysicalExpr>| expr.evaluate(batch)?.into_array(batch.num_rows());
    exprs.iter().map(|expr| evaluate_one(expr).map_err(from_datafusion)).collect()
}

fn runtime(memory: Arc<MemoryBudget>) -> Result<Arc<RuntimeEnv>> {
    let no_disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(BudgetPool::new(memory)))
        .with_disk_manager_builder(no_disk)
        .build_arc()
        .map_err(from_datafusion)
}

fn config() -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_batch_size(BATCH_ROWS)
        .with_information_schema(false)
        // The template's would be shared by all statements; tables are found through the caller's catalog.
        .with_create_default_catalog_and_schema(false);
    let options = config.options_mut();
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.parse_float_as_decimal = true;
    options.sql_parser.enable_ident_normalization = true;
    // PostgreSQL: NULLs are larger than everything else.
    options.sql_parser.default_null_ordering = "nulls_max".to_owned();
    options.sql_parser.collect_spans = true;
    options.execution.collect_statistics = false;
    // An interleaved union has no order of its branches.
    options.optimizer.prefer_existing_union = true;
    config
}
