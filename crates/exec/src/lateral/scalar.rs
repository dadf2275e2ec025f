//! Correlated scalar subqueries in SELECT lists and conditions: each becomes a lateral join that adds its value as a column. One
//! under a CASE runs only for the rows whose branch it is.

use super::{LateralApply, reads_only, template};
use arrow::datatypes::Field;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Aggregate, Expr, Extension, Filter, LogicalPlan, Projection, Subquery, lit};
use std::sync::Arc;

/// Whether an expression over `input` holds a scalar subquery that reads the input's row.
pub(super) fn has_correlated(expr: &Expr, input: &LogicalPlan) -> bool {
    let correlated =
        |expr: &Expr| matches!(expr, Expr::ScalarSubquery(subquery) if reads_only(subquery, input.schema()));
    expr.exists(|expr| Ok(correlated(expr))).unwrap_or(false)
}

pub(super) fn any_correlated(projection: &Projection) -> bool {
    projection.expr.iter().any(|expr| has_correlated(expr, &projection.input))
}

pub(super) fn in_projection(projection: &Projection) -> Result<LogicalPlan> {
    let names = NamePreserver::new_for_projection();
    let mut input = projection.input.clone();
    let mut exprs = Vec::with_capacity(projection.expr.len());
    for expr in &projection.expr {
        let name = names.save(expr);
        exprs.push(name.restore(with_values(expr.clone(), None, &mut input)?));
    }
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, input)?))
}

pub(super) fn in_filter(filter: &Filter) -> Result<LogicalPlan> {
    let mut input = filter.input.clone();
    let predicate = with_values(filter.predicate.clone(), None, &mut input)?;
    let filtered = LogicalPlan::Filter(Filter::try_new(predicate, input)?);
    let columns = filter.input.schema().columns().into_iter().map(Expr::Column).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(filtered))?))
}

/// Whether a group's key or the argument of an aggregate is such a subquery.
pub(super) fn in_arguments(aggregate: &Aggregate) -> bool {
    let mut exprs = aggregate.group_expr.iter().chain(&aggregate.aggr_expr);
    exprs.any(|expr| has_correlated(expr, &aggregate.input))
}

pub(super) fn in_aggregate(aggregate: &Aggregate) -> Result<LogicalPlan> {
    let mut input = aggregate.input.clone();
    let mut replaced = |exprs: &[Expr]| -> Result<Vec<Expr>> {
        let with_value = |expr: &Expr| {
            let name = expr.schema_name().to_string();
            let value = with_values(expr.clone(), None, &mut input)?;
            Ok(if value.schema_name().to_string() == name { value } else { value.alias(name) })
        };
        exprs.iter().map(with_value).collect()
    };
    let groups = replaced(&aggregate.group_expr)?;
    let aggregates = replaced(&aggregate.aggr_expr)?;
    Ok(LogicalPlan::Aggregate(Aggregate::try_new(input, groups, aggregates)?))
}

/// The expression with subqueries replaced by columns, which `input` is made to have. `when` holds wherever the expression is
/// evaluated at all.
fn with_values(expr: Expr, when: Option<&Expr>, input: &mut Arc<LogicalPlan>) -> Result<Expr> {
    match expr {
        Expr::Alias(mut alias) => {
            *alias.expr = with_values(*alias.expr, when, input)?;
            Ok(Expr::Alias(alias))
        }
        // A function of one argument always evaluates it; others may not.
        Expr::ScalarFunction(mut function) if function.args.len() == 1 => {
            let argument = function.args.remove(0);
            function.args.push(with_values(argument, when, input)?);
            Ok(Expr::ScalarFunction(function))
        }
        Expr::Case(case) if case.expr.is_none() => in_branches(case, when, input),
        other => {
            let replaced = other.transform(|expr| match expr {
                Expr::ScalarSubquery(subquery) if reads_only(&subquery, input.schema()) => {
                    let (wider, value) = add_value(input, &subquery, when)?;
                    *input = Arc::new(wider);
                    Ok(Transformed::yes(value))
                }
                other => Ok(Transformed::no(other)),
            })?;
            Ok(replaced.data)
        }
    }
}

/// `CASE WHEN a THEN x WHEN b THEN y END`: `y` matters where `a` does not hold and `b` does, and where `when` holds.
fn in_branches(mut case: Case, when: Option<&Expr>, input: &mut Arc<LogicalPlan>) -> Result<Expr> {
    let mut before: Vec<(Box<Expr>, Box<Expr>)> = Vec::new();
    let mut repeatable = true;
    for (condition, value) in &mut case.when_then_expr {
        **condition = with_values(condition.as_ref().clone(), when, input)?;
        repeatable &= !condition.is_volatile();
        let (truth, falsehood) = (Box::new(lit(true)), Box::new(lit(false)));
        let branches = before.iter().cloned().chain([(condition.clone(), truth)]).collect();
        let mut chosen = Expr::Case(Case::new(None, branches, Some(falsehood.clone())));
        if let Some(when) = when {
            let inner = vec![(Box::new(when.clone()), Box::new(chosen))];
            chosen = Expr::Case(Case::new(None, inner, Some(falsehood.clone())));
        }
        let chosen = if repeatable { Some(&chosen) } else { when };
        **value = with_values(value.as_ref().clone(), chosen, input)?;
        before.push((condition.clone(), falsehood));
    }
    if let Some(otherwise) = case.else_expr.take() {
        case.else_expr = Some(Box::new(with_values(*otherwise, when, input)?));
    }
    Ok(Expr::Case(case))
}

fn add_value(
    outer: &Arc<LogicalPlan>,
    subquery: &Subquery,
    when: Option<&Expr>,
) -> Result<(LogicalPlan, Expr)> {
    let (inner, names, bindings) = template(&subquery.subquery, outer.schema())?;
    // No other column of the row has this number.
    let name = format!("__scalar_{}", outer.schema().fields().len());
    let value: Field = inner.schema().field(0).as_ref().clone();
    let value = value.with_name(&name).with_nullable(true);
    let value = DFSchema::from_unqualified_fields(vec![value].into(), Default::default())?;
    let node = LateralApply {
        outer: outer.as_ref().clone(),
        names,
        bindings,
        keep_outer: true,
        single: true,
        on: None,
        when: when.cloned(),
        schema: Arc::new(outer.schema().join(&value)?),
        inner: Arc::new(inner),
    };
    let wider = LogicalPlan::Extension(Extension { node: Arc::new(node) });
    Ok((wider, Expr::Column(Column::new_unqualified(name))))
}
