//! Which columns of rows further out a subquery reads. DataFusion notes them once, when it plans a subquery; here they are
//! looked up as the plan is now, without those that a query around the reference, but inside of the subquery, has.

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::{Expr, LogicalPlan, Subquery};
use std::sync::Arc;

/// The columns that `plan` reads of rows further out.
pub(super) fn free(plan: &LogicalPlan) -> Vec<Column> {
    let mut found = Vec::new();
    collect(plan, &mut found);
    found
}

fn collect(plan: &LogicalPlan, found: &mut Vec<Column>) {
    // The closures never fail.
    let _ = plan.apply_expressions(|expr| {
        expr.apply(|expr| {
            if let Expr::OuterReferenceColumn(_, column) = expr {
                found.push(column.clone());
            } else if let Some(subquery) = subquery_of(expr) {
                let known = |column: &Column| plan.inputs().iter().any(|it| it.schema().has_column(column));
                found.extend(free(&subquery.subquery).into_iter().filter(|column| !known(column)));
            }
            Ok(TreeNodeRecursion::Continue)
        })
    });
    if let LogicalPlan::Join(join) = plan {
        collect(&join.left, found);
        let lateral = free(&join.right).into_iter();
        found.extend(lateral.filter(|column| !join.left.schema().has_column(column)));
        return;
    }
    plan.inputs().into_iter().for_each(|input| collect(input, found));
}

fn subquery_of(expr: &Expr) -> Option<&Subquery> {
    match expr {
        Expr::ScalarSubquery(subquery)
        | Expr::Exists(Exists { subquery, .. })
        | Expr::InSubquery(InSubquery { subquery, .. })
        | Expr::SetComparison(SetComparison { subquery, .. }) => Some(subquery),
        _ => None,
    }
}

/// A subquery whose list of outer columns is as its plan has them now.
fn current(subquery: Subquery) -> Subquery {
    let kept = free(&subquery.subquery);
    let is_free =
        |expr: &Expr| matches!(expr, Expr::OuterReferenceColumn(_, column) if kept.contains(column));
    let outer_ref_columns = subquery.outer_ref_columns.into_iter().filter(is_free).collect();
    Subquery { outer_ref_columns, ..subquery }
}

/// The expression, if it is a subquery, with its list of outer columns brought up to date.
pub(super) fn refreshed(expr: Expr) -> Transformed<Expr> {
    match expr {
        Expr::ScalarSubquery(subquery) => Transformed::yes(Expr::ScalarSubquery(current(subquery))),
        Expr::Exists(exists) => {
            Transformed::yes(Expr::Exists(Exists { subquery: current(exists.subquery), ..exists }))
        }
        Expr::InSubquery(within) => {
            Transformed::yes(Expr::InSubquery(InSubquery { subquery: current(within.subquery), ..within }))
        }
        other => Transformed::no(other),
    }
}

/// The right side of a lateral join; the plain plan once it reads no row further out.
pub(super) fn unwrapped(subquery: Subquery) -> LogicalPlan {
    let subquery = current(subquery);
    match subquery.outer_ref_columns.is_empty() {
        true => Arc::unwrap_or_clone(subquery.subquery),
        false => LogicalPlan::Subquery(subquery),
    }
}
