//! What is done to correlated scalar subqueries before DataFusion makes joins of them. Of a SELECT list it makes joins of all or of
//! none, so that one which only a lateral join can evaluate would make all of them slow: each expression gets a list of its own.
//! And it takes conditions out of recursive queries, which are then other queries: those are lateral joins at once.

use super::{reads_only, scalar, scope};
use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use std::sync::Arc;

/// Puts projections under a projection, one for each of its expressions with a correlated subquery if there are several; and makes
/// lateral joins of what holds a correlated recursive query.
#[derive(Debug)]
pub(crate) struct OneSubqueryEach;

impl OptimizerRule for OneSubqueryEach {
    fn name(&self) -> &str {
        "one_subquery_each"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Projection(projection)
                if projection.expr.iter().filter(|expr| has_correlated(expr)).count() > 1 =>
            {
                Ok(Transformed::yes(split(projection)?))
            }
            LogicalPlan::Projection(projection)
                if projection.expr.iter().any(|expr| is_recursive(expr, &projection.input)) =>
            {
                Ok(Transformed::yes(scalar::in_projection(&projection)?))
            }
            LogicalPlan::Filter(filter) if is_recursive(&filter.predicate, &filter.input) => {
                Ok(Transformed::yes(scalar::in_filter(&filter)?))
            }
            other => Ok(Transformed::no(other)),
        }
    }
}

fn has_correlated(expr: &Expr) -> bool {
    let correlated = |expr: &Expr| matches!(expr, Expr::ScalarSubquery(subquery) if !subquery.outer_ref_columns.is_empty());
    expr.exists(|expr| Ok(correlated(expr))).unwrap_or(false)
}

/// Whether there is a subquery over the input's row with a recursive query in it that reads that row.
fn is_recursive(expr: &Expr, input: &LogicalPlan) -> bool {
    let reads =
        |plan: &LogicalPlan| matches!(plan, LogicalPlan::RecursiveQuery(_)) && !scope::free(plan).is_empty();
    let found = |expr: &Expr| match expr {
        Expr::ScalarSubquery(subquery) => {
            reads_only(subquery, input.schema())
                && subquery.subquery.exists(|plan| Ok(reads(plan))).unwrap_or(false)
        }
        _ => false,
    };
    expr.exists(|expr| Ok(found(expr))).unwrap_or(false)
}

fn split(projection: Projection) -> Result<LogicalPlan> {
    let names = NamePreserver::new_for_projection();
    let mut input = projection.input;
    let mut exprs = Vec::with_capacity(projection.expr.len());
    for expr in projection.expr {
        if !has_correlated(&expr) {
            exprs.push(expr);
            continue;
        }
        let saved = names.save(&expr);
        // No other column of the row has this number.
        let name = format!("__part_{}", input.schema().fields().len());
        let mut wider: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
        wider.push(expr.unalias().alias(&name));
        input = Arc::new(LogicalPlan::Projection(Projection::try_new(wider, input)?));
        exprs.push(saved.restore(Expr::Column(Column::new_unqualified(name))));
    }
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, input)?))
}
