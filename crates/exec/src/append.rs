//! UNION ALL in the order of its branches: the partitions of a union one after the other, while the next ones already compute.
//! Knows nothing of what the branches are.

use datafusion::common::internal_err;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::config::ConfigOptions;
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::Distribution;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::limit::{GlobalLimitExec, LocalLimitExec};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::{RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter};
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties,
    InputDistributionRequirements, Partitioning, PlanProperties, ReplaceChildrenOptions,
    SendableRecordBatchStream,
};
use futures::{StreamExt, stream};
use std::fmt;
use std::sync::Arc;

/// Batches of a branch that may wait while an earlier branch is read.
const BATCHES_AHEAD: usize = 2;

/// Puts [`AppendExec`] where a union's partitions would be merged as they come. The last rule.
#[derive(Debug)]
pub(crate) struct UnionsInOrder;

impl PhysicalOptimizerRule for UnionsInOrder {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let changed = plan.transform_up(|node| {
            let Some(merge) = node.downcast_ref::<CoalescePartitionsExec>() else {
                return Ok(Transformed::no(node));
            };
            if !is_union(merge.input()) {
                return Ok(Transformed::no(node));
            }
            let append: Arc<dyn ExecutionPlan> = Arc::new(AppendExec::new(merge.input().clone()));
            Ok(Transformed::yes(match merge.fetch() {
                Some(rows) => Arc::new(GlobalLimitExec::new(append, 0, Some(rows))),
                None => append,
            }))
        })?;
        let plan = changed.data;
        // A query's result is merged when it is run.
        Ok(match plan.output_partitioning().partition_count() > 1 && is_union(&plan) {
            true => Arc::new(AppendExec::new(plan)),
            false => plan,
        })
    }

    fn name(&self) -> &str {
        "unions_in_order"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Whether a plan puts out the partitions of a union, each with its rows in order, or what is collected of each: array_agg
/// collects in the order of the partitions.
fn is_union(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let collects =
        |plan: &AggregateExec| *plan.mode() == AggregateMode::Partial && plan.group_expr().is_empty();
    let passes_on = plan.is::<ProjectionExec>()
        || plan.is::<FilterExec>()
        || plan.is::<LocalLimitExec>()
        || plan.is::<CooperativeExec>()
        || plan.downcast_ref::<AggregateExec>().is_some_and(collects);
    plan.is::<UnionExec>() || (passes_on && plan.children().into_iter().all(is_union))
}

/// The input's partitions as one, in their order.
#[derive(Debug)]
pub(crate) struct AppendExec {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl AppendExec {
    fn new(input: Arc<dyn ExecutionPlan>) -> AppendExec {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(input.schema()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        AppendExec { input, properties, metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl DisplayAs for AppendExec {
    fn fmt_as(&self, _style: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AppendExec")
    }
}

impl ExecutionPlan for AppendExec {
    fn name(&self) -> &str {
        "AppendExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::UnspecifiedDistribution])
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.pop().filter(|_| children.is_empty()) {
            Some(input) => Ok(Arc::new(AppendExec::new(input))),
            None => internal_err!("AppendExec has one child"),
        }
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, task: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition != 0 {
            return internal_err!("AppendExec has one partition");
        }
        let (input, schema) = (self.input.clone(), self.input.schema());
        let branches = 0..input.output_partitioning().partition_count();
        let at_once = task.session_config().target_partitions().max(1);
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        // Each begins when it comes into the window of `at_once`; dropping a stream stops its branch.
        let batches = stream::iter(branches)
            .map(move |branch| std::future::ready(begin(&input, branch, task.clone())))
            .buffered(at_once)
            .flatten()
            .inspect(move |batch| {
                if let Ok(batch) = batch {
                    metrics.record_output(batch.num_rows());
                }
            });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// A branch that runs by itself, until it is some batches ahead of who reads it.
fn begin(input: &Arc<dyn ExecutionPlan>, branch: usize, task: Arc<TaskContext>) -> SendableRecordBatchStream {
    let mut running = RecordBatchReceiverStreamBuilder::new(input.schema(), BATCHES_AHEAD);
    let (batches, input) = (running.tx(), input.clone());
    running.spawn(async move {
        let mut rows = input.execute(branch, task)?;
        while let Some(batch) = rows.next().await {
            let failed = batch.is_err();
            if batches.send(batch).await.is_err() || failed {
                break;
            }
        }
        Ok(())
    });
    running.build()
}
