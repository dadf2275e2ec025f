//! What DataFusion's plans lose on the way: the order of a subquery's rows under an aggregate, and the merged columns of an
//! outer join with USING.

use super::typing::Typing;
use crate::functions::is_collected;
use datafusion::common::{JoinConstraint, JoinType, ScalarValue};
use datafusion::error::Result as DfResult;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, Join, Limit, LogicalPlan, LogicalPlanBuilder, Sort as SortPlan,
};
use quiver_base::{Error, SqlState};
use quiver_exec::to_datafusion;
use std::sync::Arc;

/// Whether an aggregate's result is in the order of its rows.
fn is_ordered(name: &str) -> bool {
    matches!(name, "array_agg" | "first_value") || is_collected(name)
}

/// The number of a row in its subquery's order.
const PLACE: &str = "\u{1}place";

/// An aggregate over a sorted subquery takes its rows in that order: they are numbered where they are sorted.
pub(super) fn pass_on(plan: LogicalPlan) -> DfResult<(LogicalPlan, Option<Sort>)> {
    let LogicalPlan::Aggregate(mut aggregate) = plan else { return Ok((plan, None)) };
    let wanted = aggregate.aggr_expr.iter().any(|expr| wants_order(&expr.clone().unalias()));
    if !wanted {
        return Ok((LogicalPlan::Aggregate(aggregate), None));
    }
    let Some(input) = numbered(&aggregate.input)? else {
        return Ok((LogicalPlan::Aggregate(aggregate), None));
    };
    let place = input.schema().iter().find(|(_, field)| field.name() == PLACE);
    let place = place.map(|(qualifier, field)| Expr::from((qualifier, field)).sort(true, false));
    aggregate.input = Arc::new(input);
    Ok((LogicalPlan::Aggregate(aggregate), place))
}

fn wants_order(expr: &Expr) -> bool {
    match expr {
        Expr::AggregateFunction(function) => {
            is_ordered(function.func.name())
                && function.params.order_by.is_empty()
                && !function.params.distinct
        }
        _ => false,
    }
}

/// The aggregate in the order of its input.
pub(super) fn ordered(expr: Expr, place: &Sort) -> Expr {
    match expr {
        Expr::Alias(mut alias) => {
            alias.expr = Box::new(ordered(*alias.expr, place));
            Expr::Alias(alias)
        }
        expr if !wants_order(&expr) => expr,
        Expr::AggregateFunction(mut function) => {
            function.params.order_by = vec![place.clone()];
            Expr::AggregateFunction(function)
        }
        other => other,
    }
}

/// A plan over sorted rows with one more column: their numbers.
fn numbered(plan: &LogicalPlan) -> DfResult<Option<LogicalPlan>> {
    let build = |input: &LogicalPlan| -> DfResult<Option<(LogicalPlanBuilder, Expr)>> {
        let Some(input) = numbered(input)? else { return Ok(None) };
        let place = input.schema().iter().find(|(_, field)| field.name() == PLACE).map(Expr::from);
        Ok(place.map(|place| (LogicalPlanBuilder::from(input), place)))
    };
    Ok(Some(match plan {
        LogicalPlan::Sort(sort) => {
            let number = row_number().order_by(sort.expr.clone()).build()?.alias(PLACE);
            let input = LogicalPlanBuilder::from((*sort.input).clone()).window(vec![number])?.build()?;
            match sort.fetch {
                Some(_) => LogicalPlan::Sort(SortPlan { input: Arc::new(input), ..sort.clone() }),
                None => input,
            }
        }
        LogicalPlan::Limit(limit) => match numbered(&limit.input)? {
            Some(input) => {
                // What is cut off is what comes last by the numbers.
                let place = input.schema().iter().find(|(_, field)| field.name() == PLACE).map(Expr::from);
                let by: Vec<Sort> = place.into_iter().map(|place| place.sort(true, false)).collect();
                let input = LogicalPlanBuilder::from(input).sort(by)?.build()?;
                LogicalPlan::Limit(Limit { input: Arc::new(input), ..limit.clone() })
            }
            None => return Ok(None),
        },
        LogicalPlan::Filter(filter) => match build(&filter.input)? {
            Some((input, _)) => input.filter(filter.predicate.clone())?.build()?,
            None => return Ok(None),
        },
        LogicalPlan::SubqueryAlias(alias) => match build(&alias.input)? {
            Some((input, _)) => input.alias(alias.alias.clone())?.build()?,
            None => return Ok(None),
        },
        LogicalPlan::Projection(projection) => match build(&projection.input)? {
            Some((input, place)) => {
                let mut exprs = projection.expr.clone();
                exprs.push(place);
                input.project(exprs)?.build()?
            }
            None => return Ok(None),
        },
        _ => return Ok(None),
    }))
}

/// The clause that counts less than no rows.
pub(super) fn is_negative(limit: &Limit) -> Option<&'static str> {
    let negative = |expr: &Option<Box<Expr>>| {
        matches!(expr.as_deref(), Some(Expr::Literal(ScalarValue::Int64(Some(..0)), _)))
    };
    if negative(&limit.fetch) {
        return Some("LIMIT");
    }
    negative(&limit.skip).then_some("OFFSET")
}

/// 2201W, 2201X.
pub(super) fn negative_count(limit: &Limit) -> Error {
    let (state, clause) = match is_negative(limit) {
        Some("OFFSET") => (SqlState::INVALID_ROW_COUNT_IN_RESULT_OFFSET_CLAUSE, "OFFSET"),
        _ => (SqlState::INVALID_ROW_COUNT_IN_LIMIT_CLAUSE, "LIMIT"),
    };
    Error::new(state, format!("{clause} must not be negative"))
}

/// The limit that keeps a subquery's order.
pub(super) fn is_no_limit(limit: &Limit) -> bool {
    let most = |expr: &Expr| matches!(expr, Expr::Literal(ScalarValue::Int64(Some(i64::MAX)), _));
    limit.skip.is_none() && limit.fetch.as_deref().is_some_and(most)
}

/// The columns of USING are the left side's, or where that has no row the right side's. The statement names them without a
/// table only: [`super::prepare`] sees to that.
pub(super) fn merged(join: Join, typing: &Typing<'_>) -> DfResult<LogicalPlan> {
    let outer = matches!(join.join_type, JoinType::Full | JoinType::Right);
    if !outer || join.join_constraint != JoinConstraint::Using {
        return LogicalPlan::Join(join).recompute_schema();
    }
    let pairs = join.on.clone();
    let plan = LogicalPlan::Join(join).recompute_schema()?;
    let mut exprs = Vec::with_capacity(plan.schema().fields().len());
    for (qualifier, field) in plan.schema().iter() {
        let column = Expr::from((qualifier, field));
        let partner = pairs.iter().find(|(left, _)| *left == column).map(|(_, right)| right.clone());
        let Some(partner) = partner else {
            exprs.push(column);
            continue;
        };
        let both = typing.unify(vec![column, partner], "JOIN/USING").map_err(to_datafusion)?;
        exprs.push(coalesce(both).alias_qualified(qualifier.cloned(), field.name()));
    }
    LogicalPlanBuilder::from(plan).project(exprs)?.build()
}
