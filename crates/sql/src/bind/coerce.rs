//! Walks a plan that DataFusion's SQL planner made and gives every expression the types PostgreSQL would: casts by its
//! rules, untyped literals and parameters by their neighbours, ANY and ALL, scalar subqueries that may return one row only.

use super::cast_kernel::CastStyle;
use super::lost_types::LostTypes;
use super::params::Params;
use super::prepare::{ALL_CALL, ANY_CALL};
use super::subquery;
use super::types::{is_number, is_text};
use super::typing::{Typing, operand_type};
use super::unions;
use crate::functions::{Function, Quantifier, compare_array, like_escape, similar_to_escape, typed_as};
use arrow::array::Array;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::{Between, Case, InList, InSubquery, Like, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, LogicalPlanBuilder, Operator};
use quiver_base::{Result, SqlType};
use quiver_exec::{from_datafusion, to_datafusion};
use std::sync::Arc;

/// Types a whole plan.
pub(crate) fn coerce_plan(plan: LogicalPlan, params: &Params, style: &Arc<CastStyle>) -> Result<LogicalPlan> {
    let plan = plan
        .transform_up_with_subqueries(|node| coerce_node(node, params, style))
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
                typing.adapt(finished, &SqlType::Text).map_err(to_datafusion)?
            }
            RootKind::Count => count(finished, &typing).map_err(to_datafusion)?,
            RootKind::Condition => {
                let finished = subquery::in_condition(finished, &schema)?;
                typing.adapt(finished, &SqlType::Bool).map_err(to_datafusion)?
            }
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
        LogicalPlan::Sort(mut sort) => {
            sort.expr = super::keys::sorted(sort.expr, &typing).map_err(to_datafusion)?;
            Ok(LogicalPlan::Sort(sort))
        }
        LogicalPlan::Limit(limit) if super::orders::is_no_limit(&limit) => {
            Ok(Arc::unwrap_or_clone(limit.input))
        }
        LogicalPlan::Join(join) => super::orders::merged(join),
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
    Other,
}

impl RootKind {
    fn of(plan: &LogicalPlan) -> RootKind {
        match plan {
            LogicalPlan::Projection(_) => RootKind::Output,
            LogicalPlan::Limit(_) => RootKind::Count,
            LogicalPlan::Filter(_) => RootKind::Condition,
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
        typed.push(typing.unify(column).map_err(to_datafusion)?.into_iter());
    }
    let count = typed.first().map_or(0, ExactSizeIterator::len);
    let rows: Vec<Vec<Expr>> =
        (0..count).map(|_| typed.iter_mut().filter_map(Iterator::next).collect()).collect();
    Ok(Transformed::yes(LogicalPlanBuilder::values(rows)?.build()?))
}

fn boxed(expr: Expr) -> Box<Expr> {
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
        Expr::Between(between) => coerce_between(between, typing),
        Expr::InList(list) => coerce_in(list, typing),
        Expr::Like(like) => Ok(Expr::Like(coerce_like(like, typing)?)),
        Expr::SimilarTo(like) => similar_to(like, typing),
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if matches!(op, Operator::IsDistinctFrom | Operator::IsNotDistinctFrom) =>
        {
            let (left, right, ..) = typing.pair(*left, *right, "=")?;
            Ok(Expr::BinaryExpr(BinaryExpr::new(boxed(left), op, boxed(right))))
        }
        Expr::Case(case) => coerce_case(case, typing),
        Expr::Not(inner) => Ok(Expr::Not(boxed(typing.adapt(*inner, &SqlType::Bool)?))),
        Expr::IsTrue(inner) => Ok(Expr::IsTrue(boxed(typing.adapt(*inner, &SqlType::Bool)?))),
        Expr::IsFalse(inner) => Ok(Expr::IsFalse(boxed(typing.adapt(*inner, &SqlType::Bool)?))),
        Expr::IsNull(inner) => Ok(Expr::IsNull(boxed(typing.adapt(*inner, &SqlType::Text)?))),
        Expr::IsNotNull(inner) => Ok(Expr::IsNotNull(boxed(typing.adapt(*inner, &SqlType::Text)?))),
        Expr::ScalarFunction(function) => coerce_function(function, typing),
        Expr::AggregateFunction(mut function) => {
            function.params.args = placeholders_as(function.params.args, typing, &SqlType::Text)?;
            super::keys::in_aggregate(function, typing)
        }
        Expr::WindowFunction(function) => super::keys::in_window(*function, typing),
        Expr::Exists(exists) => subquery::existence(exists),
        Expr::InSubquery(InSubquery { expr, subquery, negated })
            if subquery::is_one_row(&subquery.subquery) && !subquery.outer_ref_columns.is_empty() =>
        {
            // Equal to the only row: DataFusion's join would have no row where the aggregate had none to read.
            let (left, right, ..) = typing.pair(*expr, Expr::ScalarSubquery(subquery), "=")?;
            let op = if negated { Operator::NotEq } else { Operator::Eq };
            Ok(Expr::BinaryExpr(BinaryExpr::new(boxed(left), op, boxed(right))))
        }
        Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
            let column = subquery.subquery.schema().field(0).clone();
            let expr = match SqlType::of_field(&column) {
                Some(SqlType::Interval) => {
                    return Err(quiver_base::Error::unsupported("IN with a subquery of intervals"));
                }
                Some(ty) => typing.adapt(*expr, &operand_type(&ty))?,
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

fn placeholders_as(args: Vec<Expr>, typing: &Typing<'_>, ty: &SqlType) -> Result<Vec<Expr>> {
    args.into_iter()
        .map(|arg| match arg {
            Expr::Placeholder(_) => typing.adapt(arg, ty),
            other => Ok(other),
        })
        .collect()
}

fn coerce_between(between: Between, typing: &Typing<'_>) -> Result<Expr> {
    let Between { expr, negated, low, high } = between;
    let (expr, low, ..) = typing.pair(*expr, *low, ">=")?;
    let (expr, high, ..) = typing.pair(expr, *high, "<=")?;
    Ok(Expr::Between(Between::new(boxed(expr), negated, boxed(low), boxed(high))))
}

fn coerce_in(list: InList, typing: &Typing<'_>) -> Result<Expr> {
    let InList { mut expr, list, negated } = list;
    let mut items = Vec::with_capacity(list.len());
    for item in list {
        let (left, item, ..) = typing.pair(*expr, item, "=")?;
        expr = boxed(left);
        items.push(item);
    }
    Ok(Expr::InList(InList { expr, list: items, negated }))
}

fn coerce_like(like: Like, typing: &Typing<'_>) -> Result<Like> {
    let text = |expr: Expr| -> Result<Expr> {
        let expr = typing.adapt(expr, &SqlType::Text)?;
        let ty = typing.of(&expr)?;
        match is_text(&ty) {
            true => Ok(expr),
            false => Err(super::typing::no_operator("~~", &ty, &SqlType::Text)),
        }
    };
    let (expr, mut pattern) = (text(*like.expr)?, text(*like.pattern)?);
    // The engine knows the backslash alone.
    if let Some(escape) = like.escape_char.filter(|escape| *escape != '\\') {
        let escape = Expr::Literal(ScalarValue::Utf8(Some(escape.to_string())), None);
        pattern = call(like_escape(), vec![pattern, escape]);
    }
    Ok(Like { expr: boxed(expr), pattern: boxed(pattern), escape_char: None, ..like })
}

/// SIMILAR TO is a match of the whole text with the pattern as a regular expression.
fn similar_to(like: Like, typing: &Typing<'_>) -> Result<Expr> {
    let (negated, escape) = (like.negated, like.escape_char);
    let like = coerce_like(Like { escape_char: None, ..like }, typing)?;
    let escape = Expr::Literal(ScalarValue::Utf8(Some(escape.unwrap_or('\\').to_string())), None);
    let pattern = call(similar_to_escape(), vec![*like.pattern, escape]);
    let op = if negated { Operator::RegexNotMatch } else { Operator::RegexMatch };
    Ok(Expr::BinaryExpr(BinaryExpr::new(like.expr, op, boxed(pattern))))
}

fn call(function: Function, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(function.udf(), args))
}

fn coerce_case(case: Case, typing: &Typing<'_>) -> Result<Expr> {
    let Case { mut expr, when_then_expr, else_expr } = case;
    let mut whens = Vec::with_capacity(when_then_expr.len());
    let mut results = Vec::with_capacity(when_then_expr.len() + 1);
    for (when, then) in when_then_expr {
        let when = match expr {
            Some(operand) => {
                let (operand, when, ..) = typing.pair(*operand, *when, "=")?;
                expr = Some(boxed(operand));
                when
            }
            // NULL is not true, which DataFusion forgets of nested ones.
            None => match typing.adapt(*when, &SqlType::Bool)? {
                when @ (Expr::Case(_) | Expr::ScalarFunction(_)) => Expr::IsTrue(boxed(when)),
                when => when,
            },
        };
        whens.push(when);
        results.push(*then);
    }
    let has_else = else_expr.is_some();
    results.extend(else_expr.map(|result| *result));
    let mut results = typing.unify(results)?;
    let else_expr = if has_else { results.pop().map(boxed) } else { None };
    let when_then_expr = whens.into_iter().map(boxed).zip(results.into_iter().map(boxed)).collect();
    Ok(Expr::Case(Case { expr, when_then_expr, else_expr }))
}

fn coerce_function(function: ScalarFunction, typing: &Typing<'_>) -> Result<Expr> {
    let ScalarFunction { func, args } = function;
    let args = match func.name() {
        ANY_CALL => return quantified(args, typing, Quantifier::Any),
        ALL_CALL => return quantified(args, typing, Quantifier::All),
        "coalesce" | "greatest" | "least" => {
            let function = ScalarFunction { func, args: typing.unify(args)? };
            if let Some(name) = super::keys::choice(&function, typing)? {
                return Ok(call(crate::functions::interval_extreme(name), function.args));
            }
            return Ok(Expr::ScalarFunction(function));
        }
        "nullif" => return nullif(args, typing),
        "round" | "to_hex" if args.len() == 1 => {
            let ty = typing.of(&args[0])?;
            let exact = match (func.name(), ty) {
                ("round", SqlType::Numeric(_) | SqlType::Unknown) => None,
                ("round", _) => Some("round_even"),
                (_, SqlType::Int2 | SqlType::Int4) => Some("to_hex_int4"),
                _ => None,
            };
            match exact.and_then(crate::functions::exact) {
                Some(func) => return Ok(Expr::ScalarFunction(ScalarFunction { func, args })),
                None => args,
            }
        }
        name if name.ends_with("_distance")
            || name.starts_with("vector_")
            || matches!(name, "inner_product" | "negative_inner_product" | "l2_norm" | "l2_normalize") =>
        {
            let mut vector = SqlType::Vector(None);
            for arg in &args {
                if let ty @ SqlType::Vector(Some(_)) = typing.of(arg)? {
                    vector = ty;
                }
            }
            args.into_iter().map(|arg| typing.adapt(arg, &vector)).collect::<Result<_>>()?
        }
        _ => placeholders_as(args, typing, &SqlType::Text)?,
    };
    Ok(Expr::ScalarFunction(ScalarFunction { func, args }))
}

/// NULL where the two are equal, else the first: DataFusion's own loses rows of outer joins.
fn nullif(args: Vec<Expr>, typing: &Typing<'_>) -> Result<Expr> {
    let Ok([value, other]) = <[Expr; 2]>::try_from(args) else {
        return Err(quiver_base::Error::new(
            quiver_base::SqlState::SYNTAX_ERROR,
            "NULLIF takes two arguments",
        ));
    };
    let (left, right, ty, _) = typing.pair(value, other, "=")?;
    let value = super::keys::bare(left.clone());
    let equal = Expr::BinaryExpr(BinaryExpr::new(boxed(left), Operator::Eq, boxed(right)));
    let null = typing.adapt(Expr::Literal(ScalarValue::Null, None), &ty)?;
    Ok(Expr::Case(Case {
        expr: None,
        when_then_expr: vec![(boxed(Expr::IsTrue(boxed(equal))), boxed(null))],
        else_expr: Some(boxed(value)),
    }))
}

/// `x = ANY (array)`: a list of constants is IN, which storage can look up; anything else is computed.
fn quantified(args: Vec<Expr>, typing: &Typing<'_>, quantifier: Quantifier) -> Result<Expr> {
    let mut args = args.into_iter();
    let (operator, left, right) = match (args.next(), args.next(), args.next()) {
        (Some(Expr::Literal(ScalarValue::Utf8(Some(operator)), _)), Some(left), Some(right)) => {
            (operator, left, right)
        }
        _ => return Err(quiver_base::Error::internal("a malformed ANY or ALL")),
    };
    let left_type = typing.of(&left)?;
    let right = match &left_type {
        SqlType::Unknown => typing.adapt(right, &SqlType::Array(Box::new(SqlType::Text)))?,
        ty => typing
            .adapt(right, &SqlType::Array(Box::new(super::types::without_modifier(&operand_type(ty)))))?,
    };
    let item = match typing.of(&right)? {
        SqlType::Array(item) => *item,
        SqlType::Int2Vector => SqlType::Int2,
        SqlType::OidVector => SqlType::Oid,
        ty => {
            return Err(quiver_base::Error::new(
                quiver_base::SqlState::WRONG_OBJECT_TYPE,
                format!("op ANY/ALL (array) requires array on right side, not {ty}"),
            ));
        }
    };
    let left = typing.adapt(left, &operand_type(&item))?;
    let name = ["=", "<>", "<", "<=", ">", ">=", "~~", "!~~", "~~*", "!~~*", "~", "!~", "~*", "!~*"]
        .into_iter()
        .find(|name| *name == operator || (*name == "<>" && operator == "!="));
    let Some(name) = name else {
        return Err(quiver_base::Error::unsupported(format!("{operator} with ANY or ALL")));
    };
    let in_list = matches!((quantifier, name), (Quantifier::Any, "=") | (Quantifier::All, "<>"));
    if in_list && let Some(list) = constants(&right) {
        return coerce_in(InList { expr: boxed(left), list, negated: name == "<>" }, typing);
    }
    let (left, right) = same_number(left, right, &item, typing)?;
    Ok(call(compare_array(name, quantifier), vec![left, right]))
}

/// Numbers of different types are compared as the wider one.
fn same_number(left: Expr, right: Expr, item: &SqlType, typing: &Typing<'_>) -> Result<(Expr, Expr)> {
    let own = typing.of(&left)?;
    if !is_number(&own) || !is_number(item) || own == *item {
        return Ok((left, right));
    }
    let both = super::types::without_modifier(&super::typing::wider(own.clone(), item.clone()));
    let left = if own == both { left } else { typing.cast(left, &both)? };
    let right = if *item == both { right } else { typing.cast(right, &SqlType::Array(Box::new(both)))? };
    Ok((left, right))
}

/// The items of a constant array that is not NULL and not empty.
fn constants(array: &Expr) -> Option<Vec<Expr>> {
    match array {
        Expr::Literal(ScalarValue::List(list), _) if list.len() == 1 && !list.is_null(0) => {
            let items = list.value(0);
            let items: DfResult<Vec<Expr>> = (0..items.len())
                .map(|row| Ok(Expr::Literal(ScalarValue::try_from_array(&items, row)?, None)))
                .collect();
            items.ok().filter(|items| !items.is_empty())
        }
        Expr::ScalarFunction(function)
            if function.func.name() == "make_array"
                && !function.args.is_empty()
                && function
                    .args
                    .iter()
                    .all(|arg| matches!(arg, Expr::Literal(..) | Expr::Placeholder(_))) =>
        {
            Some(function.args.clone())
        }
        _ => None,
    }
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
