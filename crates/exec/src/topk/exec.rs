//! The operator: searches, fetches the winners' columns, computes the output for them.

use super::metrics::Counters;
use super::pattern::substitute;
use super::{Output, SearchMetrics};
use crate::context::{Statement, running_statement};
use crate::engine::BATCH_ROWS;
use crate::filter::{Predicate, with_subquery_values};
use crate::search::{self, TableView, VectorSource, Wanted};
use crate::vector::Vectors;
use crate::{SearchSettings, to_datafusion};
use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Statistics, internal_err};
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::metrics::{MetricsSet, RecordOutput};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, ReplaceChildrenOptions,
};
use quiver_index::Metric;
use std::fmt;
use std::sync::Arc;

/// What a hit takes in memory until its columns are fetched.
const HIT_BYTES: usize = 64;

/// How many rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) k: usize,
    pub(super) ties: bool,
}

/// The k nearest rows that pass a filter, nearest first.
#[derive(Clone, Debug)]
pub(crate) struct VectorTopKExec {
    source: VectorSource,
    query: Arc<dyn PhysicalExpr>,
    limit: Limit,
    predicate: Option<Arc<Predicate>>,
    /// Columns of the table that `outputs` reads.
    fetched: Vec<usize>,
    /// Over `fetched`.
    outputs: Vec<Output>,
    /// The settings at planning time, for EXPLAIN only.
    settings: Option<SearchSettings>,
    properties: Arc<PlanProperties>,
    metrics: SearchMetrics,
}

impl VectorTopKExec {
    /// `filter` and `outputs` are over the table's columns; `schema` and `ordering` are those of the sort that it stands for.
    #[expect(clippy::too_many_arguments)] // each is a part of the plan that it replaces
    pub(super) fn new(
        source: VectorSource,
        query: Arc<dyn PhysicalExpr>,
        limit: Limit,
        filter: Option<Arc<dyn PhysicalExpr>>,
        outputs: Vec<Output>,
        schema: SchemaRef,
        ordering: Option<LexOrdering>,
        settings: Option<SearchSettings>,
    ) -> Result<VectorTopKExec> {
        let equivalences = EquivalenceProperties::new_with_orderings(schema, ordering);
        let predicate = match filter {
            Some(filter) => Some(Predicate::new(filter, &source.table_schema, &source.table_columns)?),
            None => None,
        };
        let (fetched, outputs) = narrow(outputs, &source.table_schema)?;
        let properties = properties(equivalences);
        let metrics = SearchMetrics::default();
        Ok(VectorTopKExec {
            source,
            query,
            limit,
            predicate,
            fetched,
            outputs,
            settings,
            properties,
            metrics,
        })
    }

    fn over_table(&self) -> Result<Vec<Output>> {
        let table_columns: Vec<Output> = self.fetched.iter().map(|index| self.table_column(*index)).collect();
        self.outputs
            .iter()
            .map(|(expr, name)| Ok((substitute(expr.clone(), &table_columns)?, name.clone())))
            .collect()
    }

    fn table_column(&self, index: usize) -> Output {
        let name = self.source.table_schema.field(index).name();
        (Arc::new(Column::new(name, index)), name.clone())
    }

    /// Blocking.
    fn run(&self, statement: &dyn Statement, task: &TaskContext, counters: &Counters) -> Result<RecordBatch> {
        let view = TableView::new(statement, &self.source.table).map_err(to_datafusion)?;
        let filter = search::prepare(self.predicate.as_ref()).map_err(to_datafusion)?;
        statement.check_cancel().map_err(to_datafusion)?;
        let memory = MemoryConsumer::new("VectorTopK").register(task.memory_pool());
        memory.try_grow(self.limit.k.min(view.row_count() as usize) * HIT_BYTES)?;
        let query = query_vector(&self.query)?;
        let Some(query) = query.row(0) else {
            let limit = if self.limit.ties { usize::MAX } else { self.limit.k };
            let rows = self.source.any_rows(&view, &self.fetched, limit, filter);
            return self.output(&rows.map_err(to_datafusion)?);
        };
        let wanted = Wanted { k: self.limit.k, ties: self.limit.ties };
        let (hits, stats) =
            self.source.nearest(&view, statement.search(), query, wanted, filter).map_err(to_datafusion)?;
        counters.record(&stats);
        let rows = self.source.fetch(&view, &hits, &self.fetched).map_err(to_datafusion)?;
        self.output(&self.in_exact_order(rows, query)?)
    }

    /// A cosine's search score has fewer digits than the distance function's result: rows that are shown with it are put in
    /// its order.
    fn in_exact_order(&self, rows: RecordBatch, query: &[f32]) -> Result<RecordBatch> {
        let vectors = self.fetched.binary_search(&self.source.column).ok();
        let Some(at) = vectors.filter(|_| self.source.metric == Metric::Cosine) else { return Ok(rows) };
        let vectors = Vectors::from_array(rows.column(at)).map_err(to_datafusion)?;
        let distances: Vec<f64> = (0..rows.num_rows())
            .map_while(|row| {
                vectors.row(row).map(|vector| self.source.metric.distance_between(vector, query))
            })
            .take_while(|distance| !distance.is_nan())
            .collect();
        if distances.is_sorted() {
            return Ok(rows);
        }
        let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
        order[..distances.len()].sort_by(|a, b| distances[*a as usize].total_cmp(&distances[*b as usize]));
        Ok(take_record_batch(&rows, &UInt32Array::from(order))?)
    }

    fn output(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let count = rows.num_rows();
        let columns = self.outputs.iter().map(|(expr, _)| expr.evaluate(rows)?.into_array(count));
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let columns = columns.collect::<Result<_>>()?;
        Ok(RecordBatch::try_new_with_options(self.schema(), columns, &options)?)
    }
}

/// The query vector, once scalar subqueries have run.
fn query_vector(query: &Arc<dyn PhysicalExpr>) -> Result<Vectors> {
    let query = with_subquery_values(query.clone())?;
    let one_row = RecordBatchOptions::new().with_row_count(Some(1));
    let nothing = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &one_row)?;
    Vectors::new(&query.evaluate(&nothing)?).map_err(to_datafusion)
}

fn properties(equivalences: EquivalenceProperties) -> Arc<PlanProperties> {
    let partitioning = Partitioning::UnknownPartitioning(1);
    let properties =
        PlanProperties::new(equivalences, partitioning, EmissionType::Final, Boundedness::Bounded);
    Arc::new(properties.with_scheduling_type(SchedulingType::Cooperative))
}

/// The columns that `outputs`, over all of `schema`, read, and `outputs` over just those.
fn narrow(outputs: Vec<Output>, schema: &Schema) -> Result<(Vec<usize>, Vec<Output>)> {
    let mut fetched: Vec<usize> = outputs
        .iter()
        .flat_map(|(expr, _)| collect_columns(expr).into_iter().map(|column| column.index()))
        .collect();
    fetched.sort_unstable();
    fetched.dedup();
    let renumbered: Vec<Output> = (0..schema.fields().len())
        .map(|index| {
            let name = schema.field(index).name();
            let place = fetched.binary_search(&index).unwrap_or_default();
            (Arc::new(Column::new(name, place)) as Arc<dyn PhysicalExpr>, name.clone())
        })
        .collect();
    let outputs = outputs
        .into_iter()
        .map(|(expr, name)| Ok((substitute(expr, &renumbered)?, name)))
        .collect::<Result<_>>()?;
    Ok((fetched, outputs))
}

impl DisplayAs for VectorTopKExec {
    fn fmt_as(&self, _style: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VectorTopK: {} ", self.source.table.name)?;
        match (self.source.index_name(), self.settings) {
            (Some(_), Some(settings)) if !settings.use_index => write!(f, "exact")?,
            (Some(name), Some(settings)) => write!(f, "index={name}, ef_search={}", settings.ef_search)?,
            (Some(name), None) => write!(f, "index={name}")?,
            (None, _) => write!(f, "exact")?,
        }
        write!(f, ", metric={}, k={}", self.source.metric, self.limit.k)?;
        if self.limit.ties {
            write!(f, " with ties")?;
        }
        if let Some(predicate) = &self.predicate {
            write!(f, ", filter={predicate}")?;
        }
        let output: Vec<&str> = self.outputs.iter().map(|(_, name)| name.as_str()).collect();
        write!(f, ", output=[{}]", output.join(", "))?;
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
        vec![]
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() { Ok(self) } else { internal_err!("VectorTopKExec has no children") }
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let filter = self.predicate.iter().map(|predicate| predicate.expr());
        for expr in [&self.query].into_iter().chain(filter).chain(self.outputs.iter().map(|(expr, _)| expr)) {
            if f(expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, task: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let statement = running_statement(&task)?;
        let counters = self.metrics.start(partition);
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.schema(), 1);
        let (search, out) = (self.clone(), builder.tx());
        builder.spawn_blocking(move || {
            let elapsed = counters.baseline.elapsed_compute().clone();
            let timer = elapsed.timer();
            let rows = search.run(statement.as_ref(), &task, &counters)?;
            timer.done();
            for start in (0..rows.num_rows()).step_by(BATCH_ROWS) {
                let piece = rows.slice(start, BATCH_ROWS.min(rows.num_rows() - start));
                if out.blocking_send(Ok(piece.record_output(&counters.baseline))).is_err() {
                    break;
                }
            }
            Ok(())
        });
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
        statistics.num_rows = Precision::Inexact(self.limit.k);
        Ok(Arc::new(statistics))
    }

    fn fetch(&self) -> Option<usize> {
        (!self.limit.ties).then_some(self.limit.k)
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        if self.limit.ties {
            return None;
        }
        let mut fewer = self.clone();
        fewer.limit.k = limit?.min(self.limit.k);
        fewer.metrics = SearchMetrics::default();
        Some(Arc::new(fewer))
    }

    /// Takes a projection in, so that columns it drops are not fetched: above all the vector, when it only served to sort.
    fn try_swapping_with_projection(
        &self,
        projection: &ProjectionExec,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let below = self.over_table()?;
        let outputs = projection
            .expr()
            .iter()
            .map(|output| Ok((substitute(output.expr.clone(), &below)?, output.alias.clone())))
            .collect::<Result<Vec<Output>>>()?;
        let (fetched, outputs) = narrow(outputs, &self.source.table_schema)?;
        let properties = properties(projection.properties().eq_properties.clone());
        let metrics = SearchMetrics::default();
        Ok(Some(Arc::new(VectorTopKExec { fetched, outputs, properties, metrics, ..self.clone() })))
    }
}
