//! Refuses to compare values of a type that has no order and no equality: json.

use super::CastStyle;
use super::params::Params;
use super::typing::{Typing, no_operator};
use crate::functions::is_collected;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, NullEquality};
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Distinct, Expr, JoinType, LogicalPlan};
use quiver_base::{Error, Result, SqlState, SqlType};
use quiver_exec::{from_datafusion, to_datafusion};
use std::sync::Arc;

/// 42883 where a plan sorts, groups or joins by json. What sorts is looked at first, as PostgreSQL does.
pub(super) fn check(plan: &LogicalPlan, params: &Params, style: &Arc<CastStyle>) -> Result<()> {
    for of_node in [check_order, check_equality] {
        let visited = plan.apply_with_subqueries(|node| {
            let schema = merge_schema(&node.inputs());
            let is_json = |expr: &Expr| {
                let typing = Typing { schema: &schema, params, style };
                matches!(typing.of(expr), Ok(SqlType::Json))
            };
            of_node(node, &is_json).map_err(to_datafusion)?;
            Ok(TreeNodeRecursion::Continue)
        });
        visited.map_err(from_datafusion)?;
    }
    Ok(())
}

/// 42883 in PostgreSQL's words.
pub(super) fn not_identified(what: &str) -> Error {
    let message = format!("could not identify {what} for type json");
    Error::new(SqlState::UNDEFINED_FUNCTION, message)
}

fn check_order(node: &LogicalPlan, is_json: &dyn Fn(&Expr) -> bool) -> Result<()> {
    let sorted = |order: &[Sort]| match order.iter().any(|sort| is_json(&sort.expr)) {
        true => Err(not_identified("an ordering operator")
            .with_hint("Use an explicit ordering operator or modify the query.")),
        false => Ok(()),
    };
    match node {
        // A set operation says first that it cannot tell which rows are equal.
        LogicalPlan::Sort(sort) if !is_set_operation(&sort.input) => sorted(&sort.expr),
        LogicalPlan::Window(window) => window.window_expr.iter().try_for_each(|expr| match expr {
            Expr::WindowFunction(function) => sorted(&function.params.order_by),
            _ => Ok(()),
        }),
        _ => Ok(()),
    }
}

fn check_equality(node: &LogicalPlan, is_json: &dyn Fn(&Expr) -> bool) -> Result<()> {
    let none = |exprs: &[Expr]| {
        if exprs.iter().any(is_json) { Err(not_identified("an equality operator")) } else { Ok(()) }
    };
    match node {
        LogicalPlan::Distinct(Distinct::All(input)) if has_json(input.schema()) => {
            Err(not_identified("an equality operator"))
        }
        LogicalPlan::Distinct(Distinct::On(on)) => none(&on.on_expr),
        LogicalPlan::Aggregate(aggregate) => {
            none(&aggregate.group_expr)?;
            aggregate.aggr_expr.iter().try_for_each(|expr| match unaliased(expr) {
                Expr::AggregateFunction(function) if function.params.distinct => {
                    let args = &function.params.args;
                    match is_collected(function.func.name()) {
                        true => args.iter().try_for_each(|arg| none(std::slice::from_ref(collected(arg)))),
                        false => none(args),
                    }
                }
                _ => Ok(()),
            })
        }
        LogicalPlan::Window(window) => window.window_expr.iter().try_for_each(|expr| match expr {
            Expr::WindowFunction(function) => none(&function.params.partition_by),
            _ => Ok(()),
        }),
        LogicalPlan::Join(join) if join.on.iter().any(|(left, right)| is_json(left) && is_json(right)) => {
            match join.null_equality {
                NullEquality::NullEqualsNull => Err(not_identified("an equality operator")),
                NullEquality::NullEqualsNothing => Err(no_operator("=", &SqlType::Json, &SqlType::Json)),
            }
        }
        _ => Ok(()),
    }
}

/// What an aggregate of JSON is called with, before it was made JSON.
fn collected(arg: &Expr) -> &Expr {
    match arg {
        Expr::ScalarFunction(call) if matches!(call.func.name(), "to_json" | "to_jsonb") => {
            call.args.first().unwrap_or(arg)
        }
        other => other,
    }
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

fn has_json(schema: &DFSchema) -> bool {
    schema.fields().iter().any(|field| SqlType::of_field(field) == Some(SqlType::Json))
}

/// Whether rows come from UNION, INTERSECT or EXCEPT.
fn is_set_operation(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => is_set_operation(&projection.input),
        LogicalPlan::Distinct(Distinct::All(input)) => matches!(&**input, LogicalPlan::Union(_)),
        LogicalPlan::Join(join) => {
            matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
                && join.null_equality == NullEquality::NullEqualsNull
        }
        _ => false,
    }
}
