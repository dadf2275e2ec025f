//! The operator: for each outer row, the inner query with the row's values put in.

use super::LateralApply;
use crate::filter::passes;
use arrow::array::{Array, ArrayRef, UInt32Array, new_null_array};
use arrow::compute::{concat_batches, filter_record_batch, take};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, Extension, LogicalPlan};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, ExecutionPlanProperties,
    InputDistributionRequirements, PlanProperties, ReplaceChildrenOptions, collect,
};
use futures::{StreamExt, TryStreamExt, stream};
use quiver_base::{Error, SqlState};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Inner queries that run at once for one partition of the outer side.
const INNER_CONCURRENCY: usize = 4;

/// The inner query, optimised, with placeholders; and what it takes to plan it.
#[derive(Clone, Debug)]
pub(super) struct Template {
    pub(super) inner: LogicalPlan,
    /// Names of the placeholders.
    pub(super) names: Vec<String>,
    pub(super) state: SessionState,
}

impl Template {
    async fn run(&self, values: Vec<ScalarValue>, task: &Arc<TaskContext>) -> Result<Vec<RecordBatch>> {
        let values: HashMap<&str, ScalarValue> = self.names.iter().map(String::as_str).zip(values).collect();
        let inner = filled(self.inner.clone(), &values)?;
        let plan = self.state.query_planner().create_physical_plan(&inner, &self.state).await?;
        collect(plan, task.clone()).await
    }
}

/// The plan with values in the place of placeholders, also in queries that run for each row within it; other placeholders stay.
fn filled(plan: LogicalPlan, values: &HashMap<&str, ScalarValue>) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| {
        let node = match &node {
            LogicalPlan::Extension(Extension { node: extension }) => {
                match extension.as_any().downcast_ref::<LateralApply>() {
                    Some(apply) => LogicalPlan::Extension(Extension {
                        node: Arc::new(apply.with_inner(filled(apply.inner().clone(), values)?)),
                    }),
                    None => node,
                }
            }
            _ => node,
        };
        let names = NamePreserver::new(&node);
        let changed = node.map_expressions(|expr| {
            let name = names.save(&expr);
            let filled = expr.transform_up(|expr| {
                Ok(match &expr {
                    Expr::Placeholder(Placeholder { id, field }) => match values.get(id.as_str()) {
                        Some(value) => {
                            let metadata = field.as_ref().map(|field| FieldMetadata::from(field.as_ref()));
                            Transformed::yes(Expr::Literal(value.clone(), metadata))
                        }
                        None => Transformed::no(expr),
                    },
                    _ => Transformed::no(expr),
                })
            })?;
            Ok(filled.update_data(|expr| name.restore(expr)))
        })?;
        match changed.transformed {
            true => changed.map_data(LogicalPlan::recompute_schema),
            false => Ok(changed),
        }
    })?;
    Ok(plan.data)
}

/// Runs the inner query for each outer row and pairs the rows.
#[derive(Clone, Debug)]
pub(super) struct LateralApplyExec {
    outer: Arc<dyn ExecutionPlan>,
    template: Arc<Template>,
    bindings: Vec<Arc<dyn PhysicalExpr>>,
    pairing: Pairing,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

/// What becomes of an outer row and the inner rows found for it.
#[derive(Clone, Debug)]
pub(super) struct Pairing {
    /// Without inner rows it comes out with NULLs.
    pub(super) keep_outer: bool,
    /// More than one inner row is an error.
    pub(super) single: bool,
    /// What a pair must satisfy.
    pub(super) on: Option<Arc<dyn PhysicalExpr>>,
    /// What an outer row must satisfy for the inner query to run.
    pub(super) when: Option<Arc<dyn PhysicalExpr>>,
}

impl LateralApplyExec {
    pub(super) fn new(
        outer: Arc<dyn ExecutionPlan>,
        template: Template,
        bindings: Vec<Arc<dyn PhysicalExpr>>,
        pairing: Pairing,
        schema: SchemaRef,
    ) -> Self {
        let properties = properties(&outer, &schema);
        let (template, metrics) = (Arc::new(template), ExecutionPlanMetricsSet::new());
        LateralApplyExec { outer, template, bindings, pairing, schema, properties, metrics }
    }

    /// The pairs for every row of a batch, in order.
    async fn pairs(&self, outer: RecordBatch, task: Arc<TaskContext>) -> Result<RecordBatch> {
        let template = {
            let mut template = self.template.as_ref().clone();
            *template.state.config_mut() = task.session_config().clone();
            template
        };
        let rows = outer.num_rows();
        let evaluate = |binding: &Arc<dyn PhysicalExpr>| binding.evaluate(&outer)?.into_array(rows);
        let bindings: Vec<ArrayRef> = self.bindings.iter().map(evaluate).collect::<Result<_>>()?;
        let runs = self.pairing.when.as_ref().map(|when| passes(when, &outer)).transpose()?;
        let (template, task, runs) = (&template, &task, &runs);
        let (bindings, outer) = (&bindings, &outer);
        let pairs: Vec<RecordBatch> = stream::iter(0..rows)
            .map(|row| async move {
                if runs.as_ref().is_some_and(|runs| !(runs.is_valid(row) && runs.value(row))) {
                    return self.pair(outer, row, &[]);
                }
                let values = bindings.iter().map(|values| ScalarValue::try_from_array(values, row));
                let inner = template.run(values.collect::<Result<_>>()?, task).await?;
                self.pair(outer, row, &inner)
            })
            .buffered(INNER_CONCURRENCY)
            .try_collect()
            .await?;
        Ok(concat_batches(&self.schema, &pairs)?)
    }

    fn pair(&self, outer: &RecordBatch, row: usize, inner: &[RecordBatch]) -> Result<RecordBatch> {
        if self.pairing.single && inner.iter().map(RecordBatch::num_rows).sum::<usize>() > 1 {
            let message = "more than one row returned by a subquery used as an expression";
            return Err(crate::to_datafusion(Error::new(SqlState::CARDINALITY_VIOLATION, message)));
        }
        let mut found = Vec::with_capacity(inner.len());
        for inner in inner {
            let pairs = self.beside(outer, row, inner.columns(), inner.num_rows())?;
            found.push(match &self.pairing.on {
                Some(on) => filter_record_batch(&pairs, &passes(on, &pairs)?)?,
                None => pairs,
            });
        }
        let pairs = concat_batches(&self.schema, &found)?;
        if pairs.num_rows() > 0 || !self.pairing.keep_outer {
            return Ok(pairs);
        }
        let inner_fields = &self.schema.fields()[outer.num_columns()..];
        let nulls: Vec<ArrayRef> =
            inner_fields.iter().map(|field| new_null_array(field.data_type(), 1)).collect();
        self.beside(outer, row, &nulls, 1)
    }

    /// An outer row, repeated, beside inner rows.
    fn beside(
        &self,
        outer: &RecordBatch,
        row: usize,
        inner: &[ArrayRef],
        inner_rows: usize,
    ) -> Result<RecordBatch> {
        let same_row = UInt32Array::from(vec![row as u32; inner_rows]);
        let repeated = outer.columns().iter().map(|column| Ok(take(column, &same_row, None)?));
        let mut columns = repeated.collect::<Result<Vec<ArrayRef>>>()?;
        columns.extend(inner.iter().cloned());
        let options = RecordBatchOptions::new().with_row_count(Some(inner_rows));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}

fn properties(outer: &Arc<dyn ExecutionPlan>, schema: &SchemaRef) -> Arc<PlanProperties> {
    Arc::new(PlanProperties::new(
        EquivalenceProperties::new(schema.clone()),
        outer.output_partitioning().clone(),
        EmissionType::Incremental,
        Boundedness::Bounded,
    ))
}

impl DisplayAs for LateralApplyExec {
    fn fmt_as(&self, _style: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bindings: Vec<String> = self.bindings.iter().map(ToString::to_string).collect();
        let kind = if self.pairing.keep_outer { "left" } else { "inner" };
        write!(f, "LateralApply: {kind}, for each=[{}]", bindings.join(", "))?;
        if let Some(on) = &self.pairing.on {
            write!(f, ", on={on}")?;
        }
        if let Some(when) = &self.pairing.when {
            write!(f, ", when={when}")?;
        }
        let inner = self.template.inner.display_indent().to_string();
        write!(f, ", run=[{}]", inner.lines().map(str::trim).collect::<Vec<_>>().join(" <- "))
    }
}

impl ExecutionPlan for LateralApplyExec {
    fn name(&self) -> &str {
        "LateralApplyExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.outer]
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::UnspecifiedDistribution])
    }

    /// It does keep the order, but does not tell what it is, so nobody may count on it.
    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false]
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(outer) = children.pop().filter(|_| children.is_empty()) else {
            return internal_err!("LateralApplyExec has one child");
        };
        let properties = properties(&outer, &self.schema);
        let metrics = ExecutionPlanMetricsSet::new();
        Ok(Arc::new(LateralApplyExec { outer, properties, metrics, ..self.as_ref().clone() }))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let options =
            ReplaceChildrenOptions::new(datafusion::physical_plan::ChildrenPropertiesMode::Recompute);
        self.replace_children(children, options)
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for expr in self.bindings.iter().chain(&self.pairing.on).chain(&self.pairing.when) {
            if f(expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, task: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let outer = self.outer.execute(partition, task.clone())?;
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let apply = Arc::new(self.clone());
        let pairs = outer.then(move |batch| {
            let (apply, task, metrics) = (apply.clone(), task.clone(), metrics.clone());
            async move {
                let pairs = Box::pin(apply.pairs(batch?, task)).await?;
                metrics.record_output(pairs.num_rows());
                Ok(pairs)
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), pairs)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
