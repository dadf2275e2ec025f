//! `ORDER BY distance LIMIT k` over a collection as a search. The rule recognises the shape in the physical plan:
//!
//! ```text
//! SortExec: [distance(column, constant) …] fetch=k      VectorTopKExec: k, query, filter, output expressions
//!   ProjectionExec, FilterExec, …                   =>
//!     CollectionScanExec: filter
//! ```
//!
//! Filters become part of the search, projections are computed for the winners only. With more sort keys after the distance the
//! sort stays, over the k nearest and all that are as far as the last of them.

mod exec;
mod metrics;
mod pattern;

pub(crate) use exec::VectorTopKExec;
pub(crate) use metrics::SearchMetrics;
pub(crate) use pattern::substitute;

use crate::search::VectorSource;
use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::conjunction;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};
use pattern::{NearestOrder, Pipeline};
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
    let Some(pipeline) = Pipeline::below(sort.input())? else { return Ok(None) };
    let first = &sort.expr()[0];
    let key = pipeline.over_table(first.expr.clone())?;
    let Some(order) = NearestOrder::of(&key, first.options.descending) else { return Ok(None) };
    let field = pipeline.scan.table_schema.field(order.column);
    // A search finds NULL distances last.
    if first.options.nulls_first && field.is_nullable() {
        return Ok(None);
    }
    let DataType::FixedSizeList(_, dim) = field.data_type() else { return Ok(None) };
    let scan = &pipeline.scan;
    let source = VectorSource {
        table: scan.table.clone(),
        table_schema: scan.table_schema.clone(),
        table_columns: scan.table_columns.clone(),
        column: order.column,
        metric: order.metric,
        dim: *dim as usize,
    };
    let ties = sort.expr().len() > 1;
    let filter = (!pipeline.filters.is_empty()).then(|| conjunction(pipeline.filters.clone()));
    let ordering = (!ties).then(|| sort.expr().clone());
    let search = VectorTopKExec::new(
        source,
        order.query,
        exec::Limit { k, ties },
        filter,
        pipeline.outputs,
        sort.schema(),
        ordering,
        scan.settings,
    )?;
    let search: Arc<dyn ExecutionPlan> = Arc::new(search);
    Ok(Some(if ties { replace_children_if_necessary(plan.clone(), vec![search])? } else { search }))
}

/// An expression and the name of the column it makes.
pub(crate) type Output = (Arc<dyn PhysicalExpr>, String);

#[cfg(test)]
mod tests;
