//! Scalar subqueries that refer to the outer query: DataFusion joins them in, which wants an aggregate. One that has none
//! gets one that fails on a second row (21000), as PostgreSQL does.

use crate::functions::single_value;
use datafusion::logical_expr::expr::{AggregateFunction, Sort};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, LogicalPlanBuilder, Subquery};
use quiver_base::Result;
use quiver_exec::from_datafusion;
use std::sync::Arc;

/// Wraps a correlated subquery unless it already returns one row.
pub(super) fn at_most_one_row(subquery: Subquery) -> Result<Expr> {
    if subquery.outer_ref_columns.is_empty() || returns_one_row(&subquery.subquery) {
        return Ok(Expr::ScalarSubquery(subquery));
    }
    let plan = (*subquery.subquery).clone();
    let (plan, sort, first) = without_limit(plan);
    let (qualifier, field) = plan.schema().qualified_field(0);
    let name = field.name().clone();
    let column = Expr::from((qualifier, field));
    let order_by: Vec<Sort> = if first { sort } else { Vec::new() };
    let aggregate = Expr::AggregateFunction(AggregateFunction::new_udf(
        single_value(first),
        vec![column],
        false,
        None,
        order_by,
        None,
    ))
    .alias("\u{1}single");
    let plan = LogicalPlanBuilder::from(plan)
        .aggregate(Vec::<Expr>::new(), vec![aggregate])
        .and_then(|builder| builder.project(vec![datafusion::logical_expr::col("\u{1}single").alias(name)]))
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)?;
    Ok(Expr::ScalarSubquery(Subquery { subquery: Arc::new(plan), ..subquery }))
}

fn returns_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => returns_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => returns_one_row(&alias.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        LogicalPlan::Sort(sort) => returns_one_row(&sort.input),
        LogicalPlan::Limit(limit) => returns_one_row(&limit.input),
        LogicalPlan::Distinct(Distinct::All(input)) => returns_one_row(input),
        LogicalPlan::Filter(_) => false,
        _ => false,
    }
}

/// `LIMIT 1` off the top, and the order under it: what an ordered "first of" aggregate does instead.
fn without_limit(plan: LogicalPlan) -> (LogicalPlan, Vec<Sort>, bool) {
    let LogicalPlan::Limit(limit) = &plan else { return (plan, Vec::new(), false) };
    let one = matches!(
        limit.fetch.as_deref(),
        Some(Expr::Literal(datafusion::common::ScalarValue::Int64(Some(1)), _))
    );
    if !one || limit.skip.is_some() {
        return (plan, Vec::new(), false);
    }
    match limit.input.as_ref() {
        LogicalPlan::Sort(sort) => ((*sort.input).clone(), sort.expr.clone(), true),
        LogicalPlan::Projection(_) => ((*limit.input).clone(), Vec::new(), true),
        _ => (plan, Vec::new(), false),
    }
}
