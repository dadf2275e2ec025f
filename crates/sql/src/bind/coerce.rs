//! Walks a plan that DataFusion's SQL planner made and gives every expression the types PostgreSQL would: casts by its
//! rules, untyped literals and parameters by their neighbours, ANY and ALL, scalar subqueries that may return one row only.

use super::calls::{boxed_type, coerce_function};
use super::cast_kernel::CastStyle;
use super::casts::{label_unnested, relabelled};
use super::choices;
use super::conditions;
use super::lost_types::LostTypes;
use super::overloads;
use super::params::Params;
use super::recursive;
use super::subquery;
use super::types::{is_float, is_number, needs_label};
use super::typing::{Typing, comparable, operand_type};
use super::unary::negative;
use super::unions;
use crate::catalog::is_vector_like;
use crate::functions::{
    Function, array_of_arrays, bit_aggregate, bytes_collected, called, is_collected, labelled_aggregate,
    one_zero, settled_aggregate, typed_as,
};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::{InSubquery, ScalarFunction, Sort};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    AggregateUDF, BinaryExpr, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator,
    WindowFunctionDefinition,
};
use quiver_base::{Result, SqlType};
use quiver_exec::{from_datafusion, to_datafusion};
use std::sync::Arc;

/// Types a whole plan.
pub(crate) fn coerce_plan(plan: LogicalPlan, params: &Params, style: &Arc<CastStyle>) -> Result<LogicalPlan> {
    let recursive = |node| match node {
        LogicalPlan::RecursiveQuery(query) => {
            let typed = recursive::typed(query, params, style)?;
            Ok(Transformed::new(typed, true, TreeNodeRecursion::Jump))
        }
        other => Ok(Transformed::no(other)),
    };
    let plan = plan
        .transform_down_up_with_subqueries(recursive, |node| coerce_node(node, params, style))
        .map_err(from_datafusion)?
        .data;
    Ok(plan)
}

/// Types one expression over a schema.
pub(crate) fn coerce_expr(
    expr: Expr,
    schema: &DFSchema,
    params: &Params,
    style: &Arc<CastStyle>,
) -> Result<Expr> {
    let typing = Typing { schema, params, style };
    let typed = expr.transform_up(|expr| Ok(Transformed::yes(coerce(expr, &typing).map_err(to_datafusion)?)));
    let typed = typed.map_err(from_datafusion)?.data;
    subqueries_in(typed, params, style)
}

/// Plans inside an expression that stands alone.
fn subqueries_in(expr: Expr, params: &Params, style: &Arc<CastStyle>) -> Result<Expr> {
    let replaced = expr.transform_up(|expr| {
        Ok(match expr {
            Expr::ScalarSubquery(mut inner) => {
                let plan = coerce_plan((*inner.subquery).clone(), params, style).map_err(to_datafusion)?;
                inner.subquery = Arc::new(plan);
                Transformed::yes(Expr::ScalarSubquery(inner))
            }
            other => Transformed::no(other),
        })
    });
    Ok(replaced.map_err(from_datafusion)?.data)
}

fn coerce_node(
    plan: LogicalPlan,
    params: &Params,
    style: &Arc<CastStyle>,
) -> DfResult<Transformed<LogicalPlan>> {
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        let source = DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?;
        schema.merge(&source);
    }
    let typing = Typing { schema: &schema, params, style };
    let plan = match plan {
        LogicalPlan::Values(values) => return values_node(values.values, &typing),
        LogicalPlan::Union(union) => return Ok(Transformed::yes(unions::unified(union, params, style)?)),
        LogicalPlan::Join(join) if unions::is_set(&join) => unions::set(join, params, style)?,
        other => other,
    };
    super::keys::check(&plan, &typing)?;
    let (plan, place) = super::orders::pass_on(plan)?;
    if place.is_some() {
        schema = merge_schema(&plan.inputs());
    }
    let typing = Typing { schema: &schema, params, style };
    let group_types = group_types(&plan, &typing);
    let mut position = 0;
    let lost = LostTypes::under(&plan);
    let root = RootKind::of(&plan);
    let preserver = NamePreserver::new(&plan);
    let changed = plan.map_expressions(|expr| {
        let name = preserver.save(&expr);
        position += 1;
        let changed = expr.transform_up(|expr| {
            let expr = lost.restored(expr);
            Ok(Transformed::yes(coerce(expr, &typing).map_err(to_datafusion)?))
        })?;
        let finished = changed.data;
        let finished = match root {
            RootKind::Output => {
                let finished = finished.transform_up(subquery::as_value)?.data;
                typing.output(finished).map_err(to_datafusion)?
            }
            RootKind::Count => count(finished, &typing).map_err(to_datafusion)?,
            RootKind::Condition => {
                let finished = subquery::in_condition(finished, &schema)?;
                typing.adapt(finished, &SqlType::Bool).map_err(to_datafusion)?
            }
            RootKind::Order => overloads::sort_key(finished, &typing).map_err(to_datafusion)?,
            // A computed key of groups carries its type by itself: DataFusion loses track of what a column's field says.
            RootKind::Other => match group_types.get(position - 1) {
                Some(Some(ty)) => call(typed_as(ty), vec![finished]),
                _ => match &place {
                    Some(place) => super::orders::ordered(finished, place),
                    None => finished,
                },
            },
        };
        Ok(Transformed::yes(name.restore(finished)))
    })?;
    changed.map_data(|plan| match plan {
        LogicalPlan::Unnest(_) => label_unnested(plan.recompute_schema()?),
        LogicalPlan::Sort(mut sort) => {
            sort.expr = super::keys::sorted(sort.expr, &typing).map_err(to_datafusion)?;
            Ok(LogicalPlan::Sort(sort))
        }
        LogicalPlan::Limit(limit) if super::orders::is_negative(&limit).is_some() => {
            Err(to_datafusion(super::orders::negative_count(&limit)))
        }
        LogicalPlan::Limit(limit) if super::orders::is_no_limit(&limit) => {
            Ok(Arc::unwrap_or_clone(limit.input))
        }
        LogicalPlan::Join(join) => super::orders::merged(join, &typing),
        LogicalPlan::Projection(projection) if subquery::wants_join(&projection) => {
            subquery::join_into(projection).map_err(to_datafusion)
        }
        other => other.recompute_schema(),
    })
}

/// The types of the computed keys of groups, where an aggregate takes different values only.
fn group_types(plan: &LogicalPlan, typing: &Typing<'_>) -> Vec<Option<SqlType>> {
    let LogicalPlan::Aggregate(aggregate) = plan else { return Vec::new() };
    let distinct = aggregate.aggr_expr.iter().any(|expr| {
        matches!(expr.clone().unalias(), Expr::AggregateFunction(function) if function.params.distinct)
    });
    if !distinct {
        return Vec::new();
    }
    let ty = |expr: &Expr| match expr {
        Expr::Column(_) | Expr::GroupingSet(_) => None,
        expr => coerced_type(expr, typing),
    };
    aggregate.group_expr.iter().map(ty).collect()
}

fn coerced_type(expr: &Expr, typing: &Typing<'_>) -> Option<SqlType> {
    let typed = expr
        .clone()
        .transform_up(|expr| Ok(Transformed::yes(coerce(expr, typing).map_err(to_datafusion)?)))
        .ok()?;
    typing.of(&typed.data).ok().filter(|ty| *ty != SqlType::Unknown)
}

/// What a node's expressions are for: decides what an untyped one becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RootKind {
    Output,
    Count,
    Condition,
    Order,
    Other,
}

impl RootKind {
    fn of(plan: &LogicalPlan) -> RootKind {
        match plan {
            LogicalPlan::Projection(_) => RootKind::Output,
            LogicalPlan::Limit(_) => RootKind::Count,
            LogicalPlan::Filter(_) => RootKind::Condition,
            LogicalPlan::Sort(_) => RootKind::Order,
            _ => RootKind::Other,
        }
    }
}

/// LIMIT and OFFSET count in bigint; DataFusion reads literals of that type only.
fn count(expr: Expr, typing: &Typing<'_>) -> Result<Expr> {
    let expr = typing.adapt(expr, &SqlType::Int8)?;
    match &expr {
        Expr::Literal(ScalarValue::Null, _) => Ok(Expr::Literal(ScalarValue::Int64(None), None)),
        Expr::Literal(..) | Expr::Placeholder(_) => {
            let expr = typing.cast(expr, &SqlType::Int8)?;
            Ok(match expr {
                Expr::Literal(value, _) => Expr::Literal(value, None),
                other => other,
            })
        }
        _ => Ok(expr),
    }
}

/// VALUES: every column of one type.
fn values_node(rows: Vec<Vec<Expr>>, typing: &Typing<'_>) -> DfResult<Transformed<LogicalPlan>> {
    let width = rows.first().map_or(0, Vec::len);
    let mut columns: Vec<Vec<Expr>> = vec![Vec::with_capacity(rows.len()); width];
    for row in rows {
        for (column, expr) in columns.iter_mut().zip(row) {
            let expr = expr
                .transform_up(|expr| Ok(Transformed::yes(coerce(expr, typing).map_err(to_datafusion)?)))?
                .data;
            column.push(expr);
        }
    }
    let mut typed = Vec::with_capacity(width);
    for column in columns {
        let column = typing.unify(column, "VALUES").map_err(to_datafusion)?;
        typed.push(alike_digits(column, typing).map_err(to_datafusion)?.into_iter());
    }
    let count = typed.first().map_or(0, ExactSizeIterator::len);
    let rows: Vec<Vec<Expr>> =
        (0..count).map(|_| typed.iter_mut().filter_map(Iterator::next).collect()).collect();
    Ok(Transformed::yes(LogicalPlanBuilder::values(rows)?.build()?))
}

/// Numbers of one column of which some were cast to a precision and some have it of themselves: none says so.
fn alike_digits(column: Vec<Expr>, typing: &Typing<'_>) -> Result<Vec<Expr>> {
    let says = |expr: &Expr| matches!(expr, Expr::Literal(_, Some(_)));
    let numeric = |expr: &Expr| Ok(matches!(typing.of(expr)?, SqlType::Numeric(Some(_))));
    let mixed = column.iter().any(says) && !column.iter().all(says);
    if !mixed || !column.iter().map(numeric).collect::<Result<Vec<_>>>()?.contains(&true) {
        return Ok(column);
    }
    let bare = |expr| match expr {
        Expr::Literal(value, _) => Expr::Literal(value, None),
        other => other,
    };
    Ok(column.into_iter().map(bare).collect())
}

pub(super) fn boxed(expr: Expr) -> Box<Expr> {
    Box::new(expr)
}

/// One expression whose parts are typed already.
fn coerce(expr: Expr, typing: &Typing<'_>) -> Result<Expr> {
    match expr {
        Expr::Cast(cast) => typing.lower_cast(cast),
        Expr::Placeholder(placeholder) => {
            typing.params.seen(&placeholder.id);
            typing.settle(Expr::Placeholder(placeholder))
        }
        Expr::Between(between) => conditions::between(between, typing),
        Expr::InList(list) => conditions::in_list(list, typing),
        Expr::Like(like) => conditions::like(like, typing),
        Expr::SimilarTo(like) => conditions::similar_to(like, typing),
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if matches!(op, Operator::IsDistinctFrom | Operator::IsNotDistinctFrom) =>
        {
            let (left, right, ..) = typing.pair(*left, *right, "=")?;
            Ok(Expr::BinaryExpr(BinaryExpr::new(boxed(left), op, boxed(right))))
        }
        Expr::Case(case) => choices::case(case, typing),
        Expr::Negative(inner) => negative(*inner, typing),
        Expr::Not(inner) => Ok(Expr::Not(boxed(typing.adapt(*inner, &SqlType::Bool)?))),
        Expr::IsTrue(inner) => Ok(Expr::IsTrue(boxed(typing.adapt(*inner, &SqlType::Bool)?))),
        Expr::IsFalse(inner) => Ok(Expr::IsFalse(boxed(typing.adapt(*inner, &SqlType::Bool)?))),
        Expr::IsNull(inner) => Ok(Expr::IsNull(boxed(typing.adapt(*inner, &SqlType::Text)?))),
        Expr::IsNotNull(inner) => Ok(Expr::IsNotNull(boxed(typing.adapt(*inner, &SqlType::Text)?))),
        Expr::ScalarFunction(function) => coerce_function(function, typing),
        Expr::AggregateFunction(mut function) => {
            overloads::check_aggregate(called(function.func.name()), &function.params.args, typing)?;
            overloads::check_signature(called(function.func.name()), &function.params.args, typing)?;
            function.params.args = placeholders_as(function.params.args, typing, &SqlType::Text)?;
            if is_any_order(called(function.func.name())) {
                function.params.order_by.clear();
            }
            if !function.params.distinct || is_collected(function.func.name()) {
                function.params.order_by = sort_keys(function.params.order_by, typing)?;
            } else if let Some(ty) = overloads::badly_sorted(&function.params.order_by, typing)? {
                // The keys of a DISTINCT must be its arguments themselves.
                return Err(quiver_base::Error::unsupported(format!(
                    "an aggregate of DISTINCT values ordered by {ty}"
                )));
            }
            let first = function.params.args.first().map(|arg| typing.of(arg)).transpose()?;
            function.func = overloaded(function.func, first.as_ref());
            if let Some(ty @ SqlType::Array(_)) = &first
                && function.func.name() == "array_agg"
            {
                function.func = array_of_arrays(function.func, SqlType::Array(boxed_type(ty)));
            } else if let Some(ty) = first.filter(needs_label)
                && function.func.name() == "array_agg"
            {
                function.func = labelled_aggregate(function.func, SqlType::Array(boxed_type(&ty)));
            }
            super::keys::in_aggregate(function, typing)
        }
        Expr::Exists(exists) => subquery::existence(exists),
        Expr::InSubquery(InSubquery { expr, subquery, negated })
            if subquery::is_one_row(&subquery.subquery) && !subquery.outer_ref_columns.is_empty() =>
        {
            // Equal to the only row: DataFusion's join would have no row where the aggregate had none to read.
            let (left, right, ..) = typing.pair(*expr, Expr::ScalarSubquery(subquery), "=")?;
            let op = if negated { Operator::NotEq } else { Operator::Eq };
            Ok(Expr::BinaryExpr(BinaryExpr::new(boxed(left), op, boxed(right))))
        }
        Expr::WindowFunction(mut function) => {
            if let WindowFunctionDefinition::AggregateUDF(aggregate) = function.fun {
                overloads::check_aggregate(called(aggregate.name()), &function.params.args, typing)?;
                let first = function.params.args.first().map(|arg| typing.of(arg)).transpose()?;
                function.fun = WindowFunctionDefinition::AggregateUDF(overloaded(aggregate, first.as_ref()));
            }
            let order = function.params.order_by;
            let keyed = |sort: Sort| Ok(Sort { expr: overloads::frame_key(sort.expr, typing)?, ..sort });
            function.params.order_by = order.into_iter().map(keyed).collect::<Result<_>>()?;
            super::keys::in_window(*function, typing)
        }
        Expr::InSubquery(InSubquery { expr, mut subquery, negated }) => {
            let column = subquery.subquery.schema().field(0).clone();
            let expr = match SqlType::of_field(&column) {
                Some(SqlType::Interval(_)) => {
                    return Err(quiver_base::Error::unsupported("IN with a subquery of intervals"));
                }
                Some(ty) => {
                    let expr = typing.adapt(*expr, &operand_type(&ty))?;
                    let own = typing.of(&expr)?;
                    if !comparable("=", &own, &ty) {
                        return Err(super::typing::no_operator("=", &own, &ty));
                    }
                    match is_number(&own) && is_number(&ty) && (is_float(&own) || is_float(&ty)) {
                        true => {
                            subquery = subquery::as_doubles(subquery, &ty, typing)?;
                            Expr::ScalarFunction(one_zero(typing.cast(expr, &SqlType::Float8)?))
                        }
                        false => expr,
                    }
                }
                None => *expr,
            };
            Ok(Expr::InSubquery(InSubquery { expr: boxed(expr), subquery, negated }))
        }
        Expr::ScalarSubquery(subquery) => {
            let field = subquery.subquery.schema().field(0).clone();
            let value = subquery::at_most_one_row(subquery)?;
            Ok(match super::lost_types::of_list(&field) {
                Some(ty) => call(typed_as(&ty), vec![value]),
                None => value,
            })
        }
        other => Ok(other),
    }
}

/// The aggregate for a first argument of a type.
fn overloaded(aggregate: Arc<AggregateUDF>, first: Option<&SqlType>) -> Arc<AggregateUDF> {
    let special = match (aggregate.name(), first) {
        (name, Some(ty)) if is_vector_like(ty) => bit_aggregate(name),
        ("string_agg", Some(SqlType::Bytea)) => Some(bytes_collected()),
        _ => None,
    };
    special.unwrap_or_else(|| settled_aggregate(aggregate))
}

fn sort_keys(order: Vec<Sort>, typing: &Typing<'_>) -> Result<Vec<Sort>> {
    let keyed = |sort: Sort| Ok(Sort { expr: overloads::sort_key(sort.expr, typing)?, ..sort });
    order.into_iter().map(keyed).collect()
}

pub(super) fn placeholders_as(args: Vec<Expr>, typing: &Typing<'_>, ty: &SqlType) -> Result<Vec<Expr>> {
    args.into_iter()
        .map(|arg| match arg {
            Expr::Placeholder(_) => typing.adapt(arg, ty),
            other => Ok(other),
        })
        .collect()
}

pub(super) fn call(function: Function, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(function.udf(), args))
}

/// Arrays whose items say what they are in some and not in others, all of one Arrow type.
pub(super) fn alike_arrays(exprs: Vec<Expr>, typing: &Typing<'_>) -> Result<Vec<Expr>> {
    let types = exprs.iter().map(|expr| typing.of(expr)).collect::<Result<Vec<_>>>()?;
    let Some(array) = types.iter().find(|ty| matches!(ty, SqlType::Array(_)) && needs_label(ty)) else {
        return Ok(exprs);
    };
    let is_null = |expr: &Expr| matches!(expr, Expr::Literal(value, _) if value.is_null());
    let arrow_type = |expr: &Expr| {
        let field = expr.to_field(typing.schema).map(|(_, field)| field).map_err(from_datafusion)?;
        Ok(field.data_type().clone())
    };
    let found = exprs.iter().filter(|expr| !is_null(expr)).map(arrow_type).collect::<Result<Vec<_>>>()?;
    let one = found.first().filter(|first| found.iter().all(|ty| ty == *first));
    let label = |(expr, ty): (Expr, &SqlType)| -> Result<Expr> {
        match one {
            Some(one) if is_null(&expr) => {
                Ok(super::literal(ScalarValue::try_from(one).map_err(from_datafusion)?, array))
            }
            None if ty == array => Ok(relabelled(expr, array, typing.style)),
            _ => Ok(expr),
        }
    };
    exprs.into_iter().zip(&types).map(label).collect()
}

/// Aggregates that give the same in whatever order the rows come.
fn is_any_order(name: &str) -> bool {
    matches!(
        name,
        "min" | "max" | "sum" | "avg" | "count" | "bool_and" | "bool_or" | "bit_and" | "bit_or" | "bit_xor"
    )
}

/// Visits every expression of a plan, subqueries' included.
pub(crate) fn visit_exprs(plan: &LogicalPlan, mut visit: impl FnMut(&Expr)) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                visit(expr);
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })
    .map_err(from_datafusion)?;
    Ok(())
}
