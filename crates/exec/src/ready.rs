//! Physical plans that run again and again: parameters stay parameters, whose values are put into slots before each run.
//! Only kinds of plan that keep nothing from one run to the next, or forget it when they are reset, are taken. Knows no statement text and no sessions.

use crate::append::AppendExec;
use crate::context::Statement;
use crate::functions::{Distance, Measure};
use crate::indexed::{computed, partial};
use crate::scan::CollectionScanExec;
use crate::table::PARALLEL_SCAN_ROWS_MIN;
use crate::topk::VectorTopKExec;
use crate::{Engine, QueryContext, from_datafusion};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::ScalarValue;
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result as DfResult;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::expr::{Placeholder, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{CrossJoinExec, HashJoinExec};
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::scalar_subquery::ScalarSubqueryExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;
use parking_lot::RwLock;
use quiver_base::{Error, Result, SqlState};
use quiver_cluster::Table;
use quiver_storage::{Indexed, TableLayout};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

/// The largest row of constants that a plan keeps, in bytes: sessions keep many plans.
const CONSTANT_BYTES_MAX: usize = 16 << 10;

/// A plan without a snapshot. One run at a time: the slots are the plan's own.
#[derive(Debug)]
pub struct ReadyPlan {
    plan: Arc<dyn ExecutionPlan>,
    /// What is done with its rows at last.
    projected: Option<Projected>,
    slots: Arc<Slots>,
    /// The only row of a query that reads nothing and has no slots, once it was asked for, if it is small.
    constant: OnceLock<RecordBatch>,
    scanned: Vec<Scanned>,
    /// Which side of a join is kept in memory was chosen by the tables' sizes.
    joins: bool,
    /// Of which a scan may have as many.
    tasks: usize,
}

/// A table that is scanned, and what of its size the plan depends on.
#[derive(Debug)]
struct Scanned {
    table: Arc<Table>,
    /// By several tasks: small ones are not.
    in_parallel: bool,
    rows: u64,
}

/// A parameter at one type.
#[derive(Clone, Debug)]
pub struct Slot {
    /// `$1`.
    pub id: String,
    /// The type that its place wants.
    pub field: FieldRef,
}

/// The values of one run.
#[derive(Debug, Default)]
struct Slots(RwLock<Vec<ScalarValue>>);

impl Slots {
    fn fill(&self, values: Vec<ScalarValue>) {
        *self.0.write() = values;
    }
}

impl ReadyPlan {
    /// Whether the plan is still the one that would be made now, for all that is in the tables.
    pub fn fits(&self, context: &QueryContext) -> Result<bool> {
        for scanned in &self.scanned {
            let rows = rows_of(context, &scanned.table)?;
            let is_other_size = self.joins && !is_like(rows, scanned.rows);
            let in_parallel = self.tasks > 1 && rows >= PARALLEL_SCAN_ROWS_MIN;
            if is_other_size || scanned.in_parallel != in_parallel {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether it is a row of expressions over nothing, as of `SELECT 1`: see [`Self::row`].
    pub fn reads_nothing(&self) -> bool {
        self.projected.is_some() && self.plan.is::<PlaceholderRowExec>()
    }

    /// All rows of a run, projected.
    fn at_once(&self, rows: Vec<RecordBatch>) -> Result<Rows> {
        let Some(projected) = &self.projected else { return Ok(Rows::Batches(rows)) };
        let rows = rows.iter().map(|batch| projected.evaluate(batch)).collect::<DfResult<_>>();
        rows.map(Rows::Batches).map_err(from_datafusion)
    }

    /// The only row of a plan that reads nothing; one value a slot.
    pub fn row(&self, values: Vec<ScalarValue>) -> Result<RecordBatch> {
        if let Some(row) = self.constant.get() {
            return Ok(row.clone());
        }
        let has_slots = !values.is_empty();
        self.slots.fill(values);
        let one = RecordBatchOptions::new().with_row_count(Some(1));
        let nothing = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &one)?;
        let projected = self.projected.as_ref().ok_or_else(|| Error::internal("a plan of nothing"))?;
        let row = projected.evaluate(&nothing).map_err(from_datafusion)?;
        if !has_slots && row.get_array_memory_size() <= CONSTANT_BYTES_MAX {
            // One run at a time: nobody else has set it.
            let _ = self.constant.set(row.clone());
        }
        Ok(row)
    }
}

impl Engine {
    /// Plans a query whose types are settled and whose placeholders say theirs. With the plan come the slots to fill, in order.
    /// `None`: plans of its kind are made for each run.
    pub async fn ready(
        &self,
        state: &SessionState,
        plan: &LogicalPlan,
    ) -> Result<Option<(ReadyPlan, Vec<Slot>)>> {
        let optimized = state.optimize(plan).map_err(from_datafusion)?;
        let slots = Arc::new(Slots::default());
        let mut wanted = Vec::new();
        let with_slots = with_slots(optimized, &slots, &mut wanted).map_err(from_datafusion)?;
        let planned = state.query_planner().create_physical_plan(&with_slots, state).await;
        let plan = planned.map_err(from_datafusion)?;
        let mut scans = Vec::new();
        if !can_run_again(&plan, &mut scans) {
            return Ok(None);
        }
        let context = state.config().get_extension::<QueryContext>();
        let context = context.ok_or_else(|| Error::internal("a statement without its context"))?;
        let scanned = |(table, in_parallel): (Arc<Table>, bool)| {
            Ok(Scanned { rows: rows_of(&context, &table)?, table, in_parallel })
        };
        let scanned = scans.into_iter().map(scanned).collect::<Result<_>>()?;
        let joins = plan.exists(|node| Ok(node.is::<HashJoinExec>() || node.is::<CrossJoinExec>()));
        let joins = joins.map_err(from_datafusion)?;
        let (plan, projected) = match Projected::of(&plan) {
            Some((input, projected)) => (input, Some(projected)),
            None => (plan, None),
        };
        let constant = OnceLock::new();
        let tasks = state.config().target_partitions();
        Ok(Some((ReadyPlan { plan, projected, slots, constant, scanned, joins, tasks }, wanted)))
    }

    /// Runs a plan for a statement; one value a slot.
    pub fn run_ready(
        &self,
        ready: &ReadyPlan,
        context: Arc<QueryContext>,
        values: Vec<ScalarValue>,
    ) -> Result<Rows> {
        ready.slots.fill(values);
        if let Some(scan) = ready.plan.downcast_ref::<CollectionScanExec>()
            && let Some(rows) = scan.look_up_at_once(context.clone())?
        {
            return ready.at_once(rows);
        }
        if let Some(search) = ready.plan.downcast_ref::<VectorTopKExec>() {
            let memory = &self.runtime().memory_pool;
            let rows = search.search_at_once(context.as_ref(), memory).map_err(from_datafusion)?;
            if let Some(rows) = rows {
                return ready.at_once(vec![rows]);
            }
        }
        // With fresh metrics: they would grow with every run.
        let plan = reset_plan_states(ready.plan.clone()).map_err(from_datafusion)?;
        let rows = execute_stream(plan, self.task(context)).map_err(from_datafusion)?;
        Ok(Rows::Stream(match &ready.projected {
            Some(projected) => projected.clone().over(rows),
            None => rows,
        }))
    }
}

/// Rows of a result.
pub enum Rows {
    /// All of them.
    Batches(Vec<RecordBatch>),
    /// As a plan that runs gives them.
    Stream(SendableRecordBatchStream),
}

/// A projection that was at the top of a plan. The operator for it makes metrics for each of its expressions at each run, which takes longer than
/// to evaluate them, and nobody sees those of a kept plan.
#[derive(Clone, Debug)]
struct Projected {
    exprs: Arc<[Arc<dyn PhysicalExpr>]>,
    schema: SchemaRef,
}

impl Projected {
    /// What is below it, and the projection; `None` if there is none.
    fn of(plan: &Arc<dyn ExecutionPlan>) -> Option<(Arc<dyn ExecutionPlan>, Projected)> {
        let projection = plan.downcast_ref::<ProjectionExec>()?;
        let exprs = projection.expr().iter().map(|output| output.expr.clone()).collect();
        Some((projection.input().clone(), Projected { exprs, schema: projection.schema() }))
    }

    fn over(self, rows: SendableRecordBatchStream) -> SendableRecordBatchStream {
        let schema = self.schema.clone();
        let projected = rows.map(move |batch| self.evaluate(&batch?));
        Box::pin(RecordBatchStreamAdapter::new(schema, projected))
    }

    fn evaluate(&self, rows: &RecordBatch) -> DfResult<RecordBatch> {
        let evaluate = |expr: &Arc<dyn PhysicalExpr>| expr.evaluate(rows)?.into_array(rows.num_rows());
        let columns = self.exprs.iter().map(evaluate).collect::<DfResult<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}

fn rows_of(context: &QueryContext, table: &Arc<Table>) -> Result<u64> {
    Ok(context.snapshots(table)?.iter().map(|snapshot| snapshot.row_count()).sum())
}

/// Whether a join of tables of one size is planned as one of those of the other.
fn is_like(rows: u64, planned: u64) -> bool {
    /// Below it any plan is quick.
    const SMALL_ROWS: u64 = 1_000;
    rows.max(planned) <= SMALL_ROWS
        || (rows <= planned.saturating_mul(2) && planned <= rows.saturating_mul(2))
}

/// Whether a plan can run twice once its state is reset, and what it scans.
fn can_run_again(plan: &Arc<dyn ExecutionPlan>, scanned: &mut Vec<(Arc<Table>, bool)>) -> bool {
    if let Some(scan) = plan.downcast_ref::<CollectionScanExec>() {
        if scan.lookup.is_none() {
            scanned.push((scan.table.clone(), scan.partitions() > 1));
        }
        return true;
    }
    if let Some(search) = plan.downcast_ref::<VectorTopKExec>() {
        // A parameter's value says whether a partial index has the rows.
        let children = search.children();
        return search.layout().is_none_or(|layout| !has_partial_index(layout))
            && children.into_iter().all(|child| can_run_again(child, scanned));
    }
    let is_plain = plan.is::<ProjectionExec>()
        || plan.is::<FilterExec>()
        || plan.is::<GlobalLimitExec>()
        || plan.is::<LocalLimitExec>()
        || plan.is::<CoalescePartitionsExec>()
        || plan.is::<CooperativeExec>()
        || plan.is::<UnionExec>()
        || plan.is::<AppendExec>()
        || plan.is::<SortPreservingMergeExec>()
        || plan.is::<PlaceholderRowExec>()
        || plan.is::<EmptyExec>();
    // These forget what they have when the plan is reset, before each run.
    let is_reset = plan.is::<ScalarSubqueryExec>()
        || plan.is::<AggregateExec>()
        || plan.is::<SortExec>()
        || plan.is::<RepartitionExec>()
        || plan.is::<HashJoinExec>()
        || plan.is::<CrossJoinExec>()
        || plan.is::<WindowAggExec>()
        || plan.is::<BoundedWindowAggExec>();
    (is_plain || is_reset)
        && !sorts_distances(plan)
        && plan.children().into_iter().all(|child| can_run_again(child, scanned))
}

/// Whether the nearest rows are sought by a sort: with the values of a run there may be a search for them.
fn sorts_distances(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.downcast_ref::<SortExec>().is_some_and(|sort| sort.fetch().is_some()) && measures(plan)
}

fn measures(plan: &Arc<dyn ExecutionPlan>) -> bool {
    // A search has been found there; a bound on a distance is no order.
    if plan.is::<VectorTopKExec>() || plan.is::<CollectionScanExec>() {
        return false;
    }
    let mut found = false;
    let is_measure = |expr: &Arc<dyn PhysicalExpr>| {
        let fun = expr.downcast_ref::<ScalarFunctionExpr>().map(|call| call.fun().inner());
        Ok(fun.is_some_and(|fun| fun.is::<Distance>() || fun.is::<Measure>()))
    };
    let visited = plan.apply_expressions(&mut |expr| {
        found |= expr.exists(is_measure)?;
        Ok(TreeNodeRecursion::Continue)
    });
    found || visited.is_err() || plan.children().into_iter().any(measures)
}

fn has_partial_index(layout: &TableLayout) -> bool {
    layout.vector_indexes.iter().any(|index| match &index.of {
        Indexed::Column { rows, .. } => rows.as_ref().is_some_and(|rows| partial(rows.as_ref()).is_some()),
        _ => computed(index).is_some_and(|computed| !computed.conjuncts.is_empty()),
    })
}

/// The plan with a slot for each placeholder.
fn with_slots(plan: LogicalPlan, slots: &Arc<Slots>, wanted: &mut Vec<Slot>) -> DfResult<LogicalPlan> {
    let changed = plan.transform_up_with_subqueries(|node| {
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            let changed = expr.transform_up(|expr| match expr {
                Expr::Placeholder(Placeholder { id, field: Some(field) }) => {
                    Ok(Transformed::yes(slot(id, field, slots, wanted)))
                }
                other => Ok(Transformed::no(other)),
            })?;
            Ok(changed.update_data(|expr| name.restore(expr)))
        })
    })?;
    Ok(changed.data)
}

fn slot(id: String, field: FieldRef, slots: &Arc<Slots>, wanted: &mut Vec<Slot>) -> Expr {
    let found = wanted.iter().position(|slot| slot.id == id && slot.field == field);
    let place = found.unwrap_or_else(|| {
        wanted.push(Slot { id: id.clone(), field: field.clone() });
        wanted.len() - 1
    });
    // Stable: it is one value throughout a run. What folds such calls has been over the plan before.
    let signature = Signature::nullary(Volatility::Stable);
    let param = Param { id, place, field, slots: slots.clone(), signature };
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(param)), vec![]))
}

/// A parameter whose value is in a slot when the plan runs.
#[derive(Debug)]
pub(crate) struct Param {
    id: String,
    place: usize,
    field: FieldRef,
    slots: Arc<Slots>,
    signature: Signature,
}

impl Param {
    fn value(&self) -> DfResult<ScalarValue> {
        let value = self.slots.0.read().get(self.place).cloned();
        value.ok_or_else(|| {
            let message = format!("there is no parameter {}", self.id);
            crate::to_datafusion(Error::new(SqlState::UNDEFINED_PARAMETER, message))
        })
    }

    /// Of a call in a logical plan.
    pub(crate) fn of_call(expr: &Expr) -> Option<&Param> {
        match expr {
            Expr::ScalarFunction(call) => call.func.inner().downcast_ref(),
            _ => None,
        }
    }

    /// Of a call in a physical plan.
    pub(crate) fn of(expr: &Arc<dyn PhysicalExpr>) -> Option<&Param> {
        expr.downcast_ref::<ScalarFunctionExpr>()?.fun().inner().downcast_ref()
    }

    /// What it stands for in this run.
    pub(crate) fn literal(&self) -> DfResult<Arc<dyn PhysicalExpr>> {
        let metadata = (!self.field.metadata().is_empty()).then(|| FieldMetadata::from(self.field.as_ref()));
        Ok(Arc::new(Literal::new_with_metadata(self.value()?, metadata)))
    }

    /// The type of its values.
    pub(crate) fn data_type(&self) -> &DataType {
        self.field.data_type()
    }

    /// Where its values come from: a way to read the value of a later run.
    pub(crate) fn reader(&self) -> ParamReader {
        ParamReader { slots: self.slots.clone(), place: self.place }
    }
}

/// Reads a parameter's value in the run that is on.
#[derive(Clone, Debug)]
pub(crate) struct ParamReader {
    slots: Arc<Slots>,
    place: usize,
}

impl ParamReader {
    /// NULL if no run is on.
    pub(crate) fn value(&self) -> ScalarValue {
        self.slots.0.read().get(self.place).cloned().unwrap_or(ScalarValue::Null)
    }
}

impl PartialEq for Param {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place && Arc::ptr_eq(&self.slots, &other.slots)
    }
}

impl Eq for Param {}

impl Hash for Param {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.place.hash(state);
    }
}

impl ScalarUDFImpl for Param {
    fn name(&self) -> &str {
        &self.id
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> DfResult<DataType> {
        Ok(self.field.data_type().clone())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        Ok(self.field.clone())
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.value()?))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests;
