//! The operator: a search, its output expressions and its place in a plan.

use super::members::Members;
use super::output::{Output, Outputs};
use super::pace::{Moment, Pace};
use super::run::Search;
use super::{SearchMetrics, pattern::substitute};
use crate::SearchSettings;
use crate::context::{Statement, running_statement};
use crate::engine::BATCH_ROWS;
use crate::search::Values;
use crate::to_datafusion;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Statistics, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{Distribution, EquivalenceProperties, LexOrdering, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::metrics::{MetricsSet, RecordOutput};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::{RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter};
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements,
    Partitioning, PlanProperties, ReplaceChildrenOptions,
};
use futures::stream;
use quiver_index::{Metric, VectorIndexKind};
use quiver_storage::TableLayout;
use std::fmt;
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// The k nearest rows that pass a filter, nearest first.
#[derive(Clone, Debug)]
pub(crate) struct VectorTopKExec {
    search: Search,
    outputs: Outputs,
    /// The settings at planning time, for EXPLAIN only.
    settings: Option<SearchSettings>,
    properties: Arc<PlanProperties>,
    metrics: SearchMetrics,
    layout: Option<Arc<TableLayout>>,
    members: Option<Members>,
    pace: Pace,
}

impl VectorTopKExec {
    /// `outputs` are over the table's columns; `schema` and `ordering` are those of the sort that it stands for.
    pub(super) fn new(
        search: Search,
        outputs: Vec<Output>,
        schema: SchemaRef,
        ordering: Option<LexOrdering>,
        settings: Option<SearchSettings>,
    ) -> Result<VectorTopKExec> {
        let properties = properties(EquivalenceProperties::new_with_orderings(schema, ordering));
        let outputs = Outputs::new(outputs, search.within.clone(), &search.source.table_schema)?;
        let metrics = SearchMetrics::default();
        let pace = Pace::default();
        Ok(VectorTopKExec {
            search,
            outputs,
            settings,
            properties,
            metrics,
            layout: None,
            members: None,
            pace,
        })
    }

    /// Remembers what the indexes of the table were over.
    pub(super) fn with_layout(mut self, layout: Option<Arc<TableLayout>>) -> VectorTopKExec {
        self.layout = layout;
        self
    }

    /// Only rows that a semi-join lets through.
    pub(super) fn with_members(mut self, members: Option<Members>) -> VectorTopKExec {
        self.members = members;
        self
    }

    /// The table at planning time, as storage wants it described.
    pub(crate) fn layout(&self) -> Option<&TableLayout> {
        self.layout.as_deref()
    }

    /// The rows of a search that is expected to be quick, without a stream; nobody sees how it went. `None` if it may take longer.
    pub(crate) fn search_at_once(
        &self,
        statement: &dyn Statement,
        memory: &Arc<dyn MemoryPool>,
    ) -> Result<Option<RecordBatch>> {
        let is_quick = self.members.is_none() && self.pace.is_quick();
        if !is_quick || !self.search.is_local(statement).map_err(to_datafusion)? {
            return Ok(None);
        }
        let began = Moment::now();
        let rows = self.search.rows(statement, memory, None, self.outputs.fetched())?;
        let rows = self.outputs.evaluate(&rows, &self.schema())?;
        self.pace.note(began.elapsed());
        Ok(Some(rows))
    }
}

fn properties(equivalences: EquivalenceProperties) -> Arc<PlanProperties> {
    let partitioning = Partitioning::UnknownPartitioning(1);
    let properties =
        PlanProperties::new(equivalences, partitioning, EmissionType::Final, Boundedness::Bounded);
    Arc::new(properties.with_scheduling_type(SchedulingType::Cooperative))
}

impl DisplayAs for VectorTopKExec {
    fn fmt_as(&self, _style: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let search = &self.search;
        write!(f, "VectorTopK: {} ", search.source.table.name)?;
        match (&search.source.index, self.settings) {
            (Some(_), Some(settings)) if !settings.use_index => write!(f, "exact")?,
            (Some(index), Some(settings)) => match index.kind {
                VectorIndexKind::Hnsw(_) => {
                    write!(f, "index={}, ef_search={}", index.name, settings.ef_search)?
                }
                VectorIndexKind::IvfFlat(_) => write!(f, "index={}, probes={}", index.name, settings.probes)?,
            },
            (Some(index), None) => write!(f, "index={}", index.name)?,
            (None, _) => write!(f, "exact")?,
        }
        match (search.source.values, search.source.metric) {
            // What zeros and ones are measured by in its place.
            (Values::Bit, Metric::L2) => write!(f, ", metric=hamming")?,
            (_, metric) => write!(f, ", metric={metric}")?,
        }
        write!(f, ", k={}", search.wanted.k)?;
        write!(f, "{}", if search.wanted.ties { " with ties" } else { "" })?;
        write!(f, "{}", if search.null_predicate.is_some() { ", nulls first" } else { "" })?;
        if let Some(predicate) = &search.predicate {
            write!(f, ", filter={predicate}")?;
            let indexes = predicate.indexes(&search.source.table);
            if !indexes.is_empty() {
                write!(f, ", rows by=[{}]", indexes.join(", "))?;
            }
        }
        if let Some(members) = &self.members {
            write!(f, ", members=[{members}]")?;
        }
        if let Some(within) = &search.within {
            write!(f, ", within={within}")?;
        }
        write!(f, ", output=[{}]", self.outputs.names().collect::<Vec<_>>().join(", "))?;
        match self.metrics.strategy() {
            Some(strategy) => write!(f, ", searched=[{strategy}]"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for VectorTopKExec {
    fn name(&self) -> &str {
        "VectorTopKExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.members.iter().map(|members| &members.plan).collect()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::SinglePartition; self.children().len()])
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false; self.children().len()]
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (&self.members, children.pop()) {
            (None, None) => Ok(self),
            (Some(members), Some(plan)) if children.is_empty() => {
                let members = Some(Members { plan, ..members.clone() });
                Ok(Arc::new(VectorTopKExec { members, ..self.as_ref().clone() }))
            }
            _ => internal_err!("VectorTopKExec has a child for each subquery"),
        }
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    /// With metrics of its own: the same plan may run again.
    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(VectorTopKExec { metrics: SearchMetrics::default(), ..self.as_ref().clone() }))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let filter = self.search.predicate.iter().map(|predicate| predicate.expr());
        for expr in [&self.search.query].into_iter().chain(filter).chain(self.outputs.exprs()) {
            if f(expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, task: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let statement = running_statement(&task)?;
        let counters = self.metrics.start(partition);
        let (search, outputs, schema, pace) =
            (self.search.clone(), self.outputs.clone(), self.schema(), self.pace.clone());
        let is_local = search.is_local(statement.as_ref()).map_err(to_datafusion)?;
        // Blocking.
        let find = move |search: &Search, task: &TaskContext| {
            let began = Moment::now();
            let elapsed = counters.baseline.elapsed_compute().clone();
            let timer = elapsed.timer();
            let memory = task.memory_pool();
            let rows = search.rows(statement.as_ref(), memory, Some(&counters), outputs.fetched())?;
            let rows = outputs.evaluate(&rows, &schema)?.record_output(&counters.baseline);
            timer.done();
            pace.note(began.elapsed());
            Ok(rows)
        };
        if self.members.is_none() && is_local && self.pace.is_quick() {
            let found = async move { find(&search, &task) };
            return Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream::once(found))));
        }
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.schema(), 1);
        let out = builder.tx();
        let run = move |search: &Search, task: &TaskContext| {
            let rows = find(search, task)?;
            for start in (0..rows.num_rows()).step_by(BATCH_ROWS) {
                let piece = rows.slice(start, BATCH_ROWS.min(rows.num_rows() - start));
                if out.blocking_send(Ok(piece)).is_err() {
                    break;
                }
            }
            Ok(())
        };
        match self.members.clone() {
            None => builder.spawn_blocking(move || run(&search, &task)),
            Some(members) => builder.spawn(async move {
                let Some((filter, _memory)) = members.filter(&task, &search.source.table_schema).await?
                else {
                    return Ok(());
                };
                let search = search.among(filter)?;
                let found = spawn_blocking(move || run(&search, &task)).await;
                found.map_err(|cause| DataFusionError::ExecutionJoin(Box::new(cause)))?
            }),
        }
        Ok(builder.build())
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.set())
    }

    fn statistics_from_inputs(
        &self,
        _inputs: &[Arc<Statistics>],
        _args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        statistics.num_rows = Precision::Inexact(self.search.wanted.k);
        Ok(Arc::new(statistics))
    }

    fn fetch(&self) -> Option<usize> {
        (!self.search.wanted.ties).then_some(self.search.wanted.k)
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        if self.search.wanted.ties {
            return None;
        }
        let mut fewer = self.clone();
        fewer.search.wanted.k = limit?.min(self.search.wanted.k);
        fewer.metrics = SearchMetrics::default();
        Some(Arc::new(fewer))
    }

    /// Takes a projection in, so that columns it drops are not fetched: above all the vector, when it only served to sort.
    fn try_swapping_with_projection(
        &self,
        projection: &ProjectionExec,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let table_schema = &self.search.source.table_schema;
        let below = self.outputs.over_table(table_schema)?;
        let outputs = projection
            .expr()
            .iter()
            .map(|output| Ok((substitute(output.expr.clone(), &below)?, output.alias.clone())))
            .collect::<Result<Vec<Output>>>()?;
        let outputs = Outputs::new(outputs, self.search.within.clone(), table_schema)?;
        let properties = properties(projection.properties().eq_properties.clone());
        let metrics = SearchMetrics::default();
        Ok(Some(Arc::new(VectorTopKExec { outputs, properties, metrics, ..self.clone() })))
    }
}
