//! Scans a collection, or looks rows up by key. Reading is blocking work: it runs on blocking threads and hands batches over a
//! bounded channel.

mod read;

use crate::SearchSettings;
use crate::filter::Predicate;
use crate::keys::KeyLookup;
use crate::topk::substitute;
use arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Statistics, internal_err};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::{collect_columns, conjunction};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::filter_pushdown::{
    ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation, PushedDown,
};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, ReplaceChildrenOptions,
};
use quiver_base::ColumnId;
use quiver_cluster::Table;
use quiver_storage::TableLayout;
use std::fmt;
use std::sync::Arc;

/// Where a column of a scan comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScanColumn {
    /// A stored column.
    Stored(ColumnId),
    /// The row's shard.
    Shard,
    /// The row's id.
    Row,
}

/// Reads a collection through the statement's snapshots.
#[derive(Clone, Debug)]
pub(crate) struct CollectionScanExec {
    pub(crate) table: Arc<Table>,
    /// All columns of the table provider.
    pub(crate) table_schema: SchemaRef,
    pub(crate) table_columns: Arc<[ScanColumn]>,
    /// Output columns, by position in `table_schema`.
    pub(crate) projection: Arc<[usize]>,
    /// Over `table_schema`.
    pub(crate) predicate: Option<Arc<Predicate>>,
    pub(crate) lookup: Option<Arc<KeyLookup>>,
    limit: Option<usize>,
    rows_estimate: Option<u64>,
    /// Search settings at planning time, which EXPLAIN shows.
    pub(crate) settings: Option<SearchSettings>,
    /// The table at planning time, as storage wants it described: what indexes are over.
    pub(crate) layout: Option<Arc<TableLayout>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl CollectionScanExec {
    pub(crate) fn new(
        table: Arc<Table>,
        table_schema: SchemaRef,
        table_columns: Vec<ScanColumn>,
        projection: Vec<usize>,
        partitions: usize,
    ) -> Result<CollectionScanExec> {
        let schema = Arc::new(table_schema.project(&projection)?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(partitions.max(1)),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::Cooperative);
        Ok(CollectionScanExec {
            table,
            table_schema,
            table_columns: table_columns.into(),
            projection: projection.into(),
            predicate: None,
            lookup: None,
            limit: None,
            rows_estimate: None,
            settings: None,
            layout: None,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    /// If it is in place of another one, it may say more than keys to look up do.
    pub(crate) fn with_predicate(mut self, predicate: Option<Arc<dyn PhysicalExpr>>) -> Result<Self> {
        self.lookup = self.lookup.map(|lookup| Arc::new(lookup.among_others()));
        self.predicate = match predicate {
            Some(expr) => Some(Predicate::new(expr, &self.table_schema, &self.table_columns)?),
            None => None,
        };
        Ok(self)
    }

    pub(crate) fn with_lookup(mut self, lookup: Option<KeyLookup>) -> Self {
        self.lookup = lookup.map(Arc::new);
        self
    }

    pub(crate) fn with_limit(mut self, limit: Option<usize>) -> Self {
        self.limit = limit;
        self
    }

    pub(crate) fn with_settings(mut self, settings: Option<SearchSettings>) -> Self {
        self.settings = settings;
        self
    }

    pub(crate) fn with_layout(mut self, layout: Option<Arc<TableLayout>>) -> Self {
        self.layout = layout;
        self
    }

    pub(crate) fn with_rows_estimate(mut self, rows: Option<u64>) -> Self {
        self.rows_estimate = rows;
        self
    }
}

impl DisplayAs for CollectionScanExec {
    fn fmt_as(&self, _style: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let schema = self.schema();
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(f, "CollectionScan: {} columns=[{}]", self.table.name, columns.join(", "))?;
        if let Some(lookup) = &self.lookup {
            write!(f, ", key lookup={} ({} keys)", lookup.name, lookup.rows())?;
        }
        if let Some(predicate) = &self.predicate {
            write!(f, ", filter={predicate}")?;
            let indexes = predicate.indexes(&self.table);
            if self.lookup.is_none() && !indexes.is_empty() {
                write!(f, ", rows by=[{}]", indexes.join(", "))?;
            }
        }
        if let Some(limit) = self.limit {
            write!(f, ", limit={limit}")?;
        }
        Ok(())
    }
}

impl ExecutionPlan for CollectionScanExec {
    fn name(&self) -> &str {
        "CollectionScanExec"
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
        if children.is_empty() { Ok(self) } else { internal_err!("CollectionScanExec has no children") }
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    /// With metrics of its own: the same plan may run again.
    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(CollectionScanExec { metrics: ExecutionPlanMetricsSet::new(), ..self.as_ref().clone() }))
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        match &self.predicate {
            Some(predicate) => f(predicate.expr()),
            None => Ok(TreeNodeRecursion::Continue),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        read::start(self, partition, &context, &self.metrics)
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    /// Never exact: a plan may outlive the snapshot that it was made under.
    fn statistics_from_inputs(
        &self,
        _inputs: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        let rows = match (&self.lookup, self.rows_estimate) {
            (Some(lookup), _) => Some(lookup.rows()),
            (None, Some(rows)) => {
                let rows = rows as usize / if args.partition().is_some() { self.partitions() } else { 1 };
                Some(if self.predicate.is_some() { rows.div_ceil(5) } else { rows })
            }
            (None, None) => None,
        };
        if let Some(rows) = rows {
            statistics.num_rows = Precision::Inexact(rows.min(self.limit.unwrap_or(usize::MAX)));
        }
        Ok(Arc::new(statistics))
    }

    /// Takes filters that were not known when the table was asked, such as those on a scalar subquery's value.
    fn handle_child_pushdown_result(
        &self,
        phase: FilterPushdownPhase,
        pushed: ChildPushdownResult,
        _config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let filters: Vec<_> =
            pushed.parent_filters.iter().map(|pushed| self.over_table(pushed.filter.clone())).collect();
        let takes = phase == FilterPushdownPhase::Pre && self.limit.is_none() && !filters.is_empty();
        if !takes || filters.iter().any(|filter| filter.is_none()) {
            return Ok(FilterPushdownPropagation::if_all(pushed));
        }
        let own = self.predicate.iter().map(|predicate| predicate.expr().clone());
        let all = conjunction(own.chain(filters.into_iter().flatten()));
        let scan: Arc<dyn ExecutionPlan> = Arc::new(self.clone().with_predicate(Some(all))?);
        let taken = vec![PushedDown::Yes; pushed.parent_filters.len()];
        Ok(FilterPushdownPropagation::with_parent_pushdown_result(taken).with_updated_node(scan))
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(Arc::new(self.clone().with_limit(limit)))
    }

    fn fetch(&self) -> Option<usize> {
        self.limit
    }
}

impl CollectionScanExec {
    pub(crate) fn partitions(&self) -> usize {
        self.properties.partitioning.partition_count()
    }

    /// A filter over the output as one over the table; `None` if storage cannot evaluate it.
    fn over_table(&self, filter: Arc<dyn PhysicalExpr>) -> Option<Arc<dyn PhysicalExpr>> {
        let column = |index: &usize| {
            let name = self.table_schema.field(*index).name();
            (Arc::new(Column::new(name, *index)) as Arc<dyn PhysicalExpr>, name.clone())
        };
        let columns: Vec<_> = self.projection.iter().map(column).collect();
        let stored = |column: &Column| {
            matches!(self.table_columns[self.projection[column.index()]], ScanColumn::Stored(_))
        };
        let fits = !is_volatile(&filter) && collect_columns(&filter).iter().all(stored);
        if fits { substitute(filter, &columns).ok() } else { None }
    }

    pub(crate) fn limit(&self) -> Option<usize> {
        self.limit
    }
}

#[cfg(test)]
mod tests;
