//! `ORDER BY distance LIMIT k` over a collection as a search. The rule recognises the shape in the physical plan:
//!
//! ```text
//! SortExec: [distance(column, constant) …] fetch=k      VectorTopKExec: k, query, filter, output expressions
//!   ProjectionExec, FilterExec, …                   =>
//!     CollectionScanExec: filter
//! ```
//!
//! A semi-join with a subquery (`IN (SELECT …)`, EXISTS) over the scan becomes a filter as well, whose values are found first.
//! What is measured may be an expression, if there is an index over it. Filters become part of the search, projections are computed for the winners only. A bound on the same distance needs no filter:
//! the nearest rows are the ones within it. With more sort keys after the distance the sort stays, over the k nearest and all that are
//! as far as the last of them.

mod choice;
mod exec;
mod members;
mod metrics;
mod output;
mod pace;
mod pattern;
mod run;

pub(crate) use choice::ChosenIndex;
pub(crate) use exec::VectorTopKExec;
pub(crate) use metrics::SearchMetrics;
pub(crate) use pattern::{Pipeline, substitute};

use crate::filter::Predicate;
use crate::scan::ScanColumn;
use crate::search::{Values, VectorSource, Wanted};
use arrow::datatypes::DataType;
use choice::choose;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, IsNullExpr};
use datafusion::physical_expr::utils::conjunction;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};
use pattern::NearestOrder;
use run::Search;
use std::sync::Arc;

/// The rule.
#[derive(Debug)]
pub(crate) struct VectorTopK;

impl PhysicalOptimizerRule for VectorTopK {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| match rewrite(&plan)? {
            Some(better) => Ok(Transformed::yes(better)),
            None => Ok(Transformed::no(plan)),
        })
        .data()
    }

    fn name(&self) -> &str {
        "VectorTopK"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn rewrite(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(sort) = plan.downcast_ref::<SortExec>() else { return Ok(None) };
    let Some(k) = sort.fetch().filter(|k| *k > 0) else { return Ok(None) };
    if sort.preserve_partitioning() {
        return Ok(None);
    }
    let Some(mut pipeline) = Pipeline::below(sort.input())? else { return Ok(None) };
    let first = &sort.expr()[0];
    let key = pipeline.over_table(first.expr.clone())?;
    let Some(order) = NearestOrder::of(&key, first.options.descending) else { return Ok(None) };
    let scan = &pipeline.scan;
    let column = order.measured.downcast_ref::<Column>().map(Column::index);
    let stored = column.and_then(|column| match scan.table_columns[column] {
        ScanColumn::Stored(id) => Some(id),
        ScanColumn::Shard | ScanColumn::Row => None,
    });
    let layout = scan.layout.as_ref();
    let index = layout.and_then(|layout| choose(&scan.table, layout, &order, stored, &pipeline.filters));
    let computed = index.as_ref().and_then(|index| index.computed);
    let dim = match (computed, column) {
        (Some(of), _) => of.dim() as usize,
        (None, Some(column)) => match scan.table_schema.field(column).data_type() {
            DataType::FixedSizeList(item, dim) if *item.data_type() == DataType::Float32 => *dim as usize,
            _ => return Ok(None),
        },
        (None, None) => return Ok(None),
    };
    let column = column.filter(|_| computed.is_none());
    let nulls_first = first.options.nulls_first;
    let source = VectorSource {
        table: scan.table.clone(),
        table_schema: scan.table_schema.clone(),
        table_columns: scan.table_columns.clone(),
        column,
        index,
        metric: order.metric,
        dim,
        values: Values::of(computed, &order.measured.data_type(&scan.table_schema)?),
    };
    let ties = sort.expr().len() > 1;
    let (within, filters): (Vec<_>, Vec<_>) =
        std::mem::take(&mut pipeline.filters).into_iter().partition(|filter| order.is_bounded_by(filter));
    // NULLs are within no bound.
    let nulls_first = nulls_first && within.is_empty();
    let null_filters = nulls_first.then(|| {
        let is_null = Arc::new(IsNullExpr::new(order.measured.clone()));
        filters.iter().cloned().chain([is_null as Arc<dyn PhysicalExpr>]).collect()
    });
    let predicate = |filters: Vec<Arc<dyn PhysicalExpr>>| {
        if filters.is_empty() {
            return Ok(None);
        }
        Predicate::new(conjunction(filters), &source.table_schema, &source.table_columns).map(Some)
    };
    let search = Search {
        query: order.query,
        wanted: Wanted { k, ties },
        predicate: predicate(filters)?,
        null_predicate: null_filters.map(predicate).transpose()?.flatten(),
        within: (!within.is_empty()).then(|| conjunction(within)),
        source: source.clone(),
    };
    let members = pipeline.members;
    // Whose NULLs are searched for by themselves.
    if members.is_some() && search.null_predicate.is_some() {
        return Ok(None);
    }
    let ordering = (!ties).then(|| sort.expr().clone());
    let settings = scan.settings;
    let layout = scan.layout.clone();
    let search = VectorTopKExec::new(search, pipeline.outputs, sort.schema(), ordering, settings)?;
    let search = search.with_layout(layout).with_members(members);
    let search: Arc<dyn ExecutionPlan> = Arc::new(search);
    Ok(Some(if ties { replace_children_if_necessary(plan.clone(), vec![search])? } else { search }))
}

#[cfg(test)]
mod tests;
