//! Scalar subqueries that refer to the outer query: DataFusion joins them in, which wants an aggregate. One that has none
//! gets one that fails on a second row (21000), as PostgreSQL does.

use super::CastContext;
use super::casts::cast_expr;
use super::typing::Typing;
use crate::functions::{Function, Quantifier, array_of_nothing, compare_array, one_zero, single_value};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::{AggregateFunction, Exists, InSubquery, ScalarFunction, Sort};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    AggregateUDF, BinaryExpr, Distinct, Expr, LogicalPlan, LogicalPlanBuilder, Operator, Projection,
    Sort as SortPlan, Subquery, lit, when,
};
use quiver_base::{Result, SqlType};
use quiver_exec::from_datafusion;
use std::sync::Arc;

/// A subquery of numbers of type `from` as one of doubles with one zero, as joins take the two for different ones.
pub(super) fn as_doubles(subquery: Subquery, from: &SqlType, typing: &Typing<'_>) -> Result<Subquery> {
    let plan = (*subquery.subquery).clone();
    let name = plan.schema().field(0).name().clone();
    let plan = own_name(plan).map_err(from_datafusion)?;
    let column = Expr::from(plan.schema().qualified_field(0));
    let double = cast_expr(column, from, &SqlType::Float8, CastContext::Explicit, typing.style)?;
    let plan =
        LogicalPlanBuilder::from(plan).project(vec![Expr::ScalarFunction(one_zero(double)).alias(name)]);
    let plan = plan.and_then(LogicalPlanBuilder::build).map_err(from_datafusion)?;
    Ok(Subquery { subquery: Arc::new(plan), ..subquery })
}

/// Wraps a correlated subquery unless it already returns one row.
pub(super) fn at_most_one_row(subquery: Subquery) -> Result<Expr> {
    let done = subquery.outer_ref_columns.is_empty() || returns_one_row(&subquery.subquery);
    if done || joinable(&subquery).is_some() {
        return Ok(Expr::ScalarSubquery(subquery));
    }
    let plan = (*subquery.subquery).clone();
    let name = plan.schema().field(0).name().clone();
    let (plan, order_by, first) = without_limit(plan)?;
    let plan = own_name(plan).map_err(from_datafusion)?;
    let column = Expr::from(plan.schema().qualified_field(0));
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

/// The query's first column under a name that no other has: DataFusion puts columns beside it that its conditions read.
fn own_name(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    match plan {
        LogicalPlan::Projection(mut projection) => {
            // The others stay: the order may be theirs.
            let value = projection.expr.first().map(|value| value.clone().unalias().alias("\u{1}value"));
            projection.expr.splice(0..0, value);
            Projection::try_new(projection.expr, projection.input).map(LogicalPlan::Projection)
        }
        other => Ok(other),
    }
}

/// Whether a query gives one row whatever it reads: an aggregate without GROUP BY and without HAVING.
pub(super) fn is_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => is_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_one_row(&alias.input),
        LogicalPlan::Sort(sort) => sort.fetch.is_none() && is_one_row(&sort.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        _ => false,
    }
}

/// EXISTS over an aggregate that always has its row is true; with HAVING and a reference to the outer query DataFusion would
/// lose the row of nothing.
pub(super) fn existence(exists: Exists) -> Result<Expr> {
    if is_one_row(&exists.subquery.subquery) {
        return Ok(lit(!exists.negated));
    }
    if !exists.subquery.outer_ref_columns.is_empty() && filters_one_row(&exists.subquery.subquery) {
        return Err(quiver_base::Error::unsupported("EXISTS over a correlated aggregate with HAVING"));
    }
    Ok(Expr::Exists(exists))
}

fn filters_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => filters_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => filters_one_row(&alias.input),
        LogicalPlan::Filter(filter) => is_one_row(&filter.input),
        _ => false,
    }
}

/// A condition whose subqueries DataFusion joins with all that NULL means: a part of its own that is IN or EXISTS becomes a
/// join, NOT IN with references to the outer query becomes NOT EXISTS, and IN inside anything else becomes a value.
pub(super) fn in_condition(condition: Expr, schema: &DFSchema) -> DfResult<Expr> {
    let mut parts = Vec::new();
    for part in split_conjunction(&condition) {
        parts.push(match part.clone() {
            Expr::InSubquery(within) => joined(within, schema)?,
            Expr::Not(inner) => match *inner {
                Expr::InSubquery(within) => {
                    joined(InSubquery { negated: !within.negated, ..within }, schema)?
                }
                other => Expr::Not(Box::new(values_within(other)?)),
            },
            other => values_within(other)?,
        });
    }
    Ok(parts.into_iter().reduce(Expr::and).unwrap_or(condition))
}

fn values_within(expr: Expr) -> DfResult<Expr> {
    let replaced = expr.transform_up(|expr| match expr {
        Expr::InSubquery(_) => as_value(expr),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(replaced.data)
}

fn joined(within: InSubquery, schema: &DFSchema) -> DfResult<Expr> {
    if !within.negated || within.subquery.outer_ref_columns.is_empty() {
        return Ok(Expr::InSubquery(within));
    }
    let nested = within.expr.exists(|expr| {
        Ok(matches!(
            expr,
            Expr::OuterReferenceColumn(..) | Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_)
        ))
    })?;
    if nested {
        return as_value(Expr::InSubquery(within)).map(|value| value.data);
    }
    let InSubquery { expr, mut subquery, .. } = within;
    let outside = expr
        .transform_up(|expr| {
            Ok(match expr {
                Expr::Column(column) => {
                    let field = schema.qualified_field_from_column(&column)?.1.clone();
                    let outer = Expr::OuterReferenceColumn(field, column);
                    if !subquery.outer_ref_columns.contains(&outer) {
                        subquery.outer_ref_columns.push(outer.clone());
                    }
                    Transformed::yes(outer)
                }
                other => Transformed::no(other),
            })
        })?
        .data;
    let column = Expr::from(subquery.subquery.schema().qualified_field(0));
    // A row that is equal or may be: either keeps NOT IN from being true.
    let hit = Expr::IsNotFalse(Box::new(outside.eq(column)));
    let plan = LogicalPlanBuilder::from((*subquery.subquery).clone()).filter(hit)?.build()?;
    let subquery = Subquery { subquery: Arc::new(plan), ..subquery };
    Ok(Expr::Exists(Exists { subquery, negated: true }))
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

/// `LIMIT 1` off the top, and the order under it: what an ordered "first of" aggregate does instead. The value is the first column
/// of what is left.
fn without_limit(plan: LogicalPlan) -> Result<(LogicalPlan, Vec<Sort>, bool)> {
    let LogicalPlan::Limit(limit) = &plan else { return Ok((plan, Vec::new(), false)) };
    let one = matches!(
        limit.fetch.as_deref(),
        Some(Expr::Literal(datafusion::common::ScalarValue::Int64(Some(1)), _))
    );
    if !one || limit.skip.is_some() {
        return Ok((plan, Vec::new(), false));
    }
    Ok(match limit.input.as_ref() {
        LogicalPlan::Sort(sort) => ((*sort.input).clone(), sort.expr.clone(), true),
        LogicalPlan::Projection(projection) => match projection.input.as_ref() {
            LogicalPlan::Sort(sort) => {
                beside_its_order(projection, sort).map(|(plan, by)| (plan, by, true))?
            }
            _ => ((*limit.input).clone(), Vec::new(), true),
        },
        _ => (plan, Vec::new(), false),
    })
}

/// A projection that leaves out what its rows are sorted by, over the rows as they were: with that in further columns.
fn beside_its_order(projection: &Projection, sort: &SortPlan) -> Result<(LogicalPlan, Vec<Sort>)> {
    let name = |place: usize| format!("\u{1}by{place}");
    let mut exprs = projection.expr.clone();
    exprs.extend(sort.expr.iter().enumerate().map(|(place, by)| by.expr.clone().alias(name(place))));
    let plan = LogicalPlanBuilder::from((*sort.input).clone())
        .project(exprs)
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)?;
    let column = |place: usize| Expr::Column(Column::new_unqualified(name(place)));
    let order = sort.expr.iter().enumerate().map(|(place, by)| column(place).sort(by.asc, by.nulls_first));
    Ok((plan, order.collect()))
}

/// The parts of a subquery that can be joined in by its conditions, whatever they are: `SELECT value FROM source WHERE condition`
/// with references to the outer query in the condition or the value only.
struct Joinable {
    value: Expr,
    /// The value is an aggregate over the source's rows, as it stands; else it is of the only row.
    aggregated: bool,
    condition: Expr,
    source: LogicalPlan,
}

fn joinable(subquery: &Subquery) -> Option<Joinable> {
    let LogicalPlan::Projection(projection) = subquery.subquery.as_ref() else { return None };
    let [value] = projection.expr.as_slice() else { return None };
    let (filter, value, aggregated) = match projection.input.as_ref() {
        LogicalPlan::Filter(filter) => (filter, value.clone().unalias(), false),
        LogicalPlan::Aggregate(aggregate) => {
            let ([], [only], LogicalPlan::Filter(filter)) =
                (aggregate.group_expr.as_slice(), aggregate.aggr_expr.as_slice(), aggregate.input.as_ref())
            else {
                return None;
            };
            if !matches!(value.clone().unalias(), Expr::Column(_)) {
                return None;
            }
            (filter, only.clone().unalias(), true)
        }
        _ => return None,
    };
    let plain = split_conjunction(&filter.predicate).into_iter().all(is_equality);
    // DataFusion joins on equalities by itself.
    if plain || has_outer_reference(&filter.input) {
        return None;
    }
    let (condition, source) = (filter.predicate.clone(), (*filter.input).clone());
    Some(Joinable { value, aggregated, condition, source })
}

/// A condition on the subquery's own columns, or one of them equal to an outer column.
fn is_equality(expr: &Expr) -> bool {
    if !expr.contains_outer() {
        return true;
    }
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            let outer = |expr: &Expr| matches!(expr, Expr::OuterReferenceColumn(..));
            (outer(left) && !right.contains_outer()) || (outer(right) && !left.contains_outer())
        }
        _ => false,
    }
}

fn has_outer_reference(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let walked = plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found |= expr.contains_outer();
            Ok(TreeNodeRecursion::Continue)
        })
    });
    walked.is_err() || found
}

/// Whether a select list has such a subquery.
pub(super) fn wants_join(projection: &Projection) -> bool {
    projection.expr.iter().any(|expr| {
        let found = expr.exists(|expr| {
            Ok(matches!(expr, Expr::ScalarSubquery(subquery) if joinable(subquery).is_some()))
        });
        found.unwrap_or(false)
    })
}

/// Joins such subqueries of a select list into its input.
pub(super) fn join_into(projection: Projection) -> Result<LogicalPlan> {
    let mut input = (*projection.input).clone();
    let mut exprs = Vec::with_capacity(projection.expr.len());
    let mut count = 0;
    for expr in projection.expr {
        let name = expr.qualified_name();
        let replaced = expr.transform_up(|expr| {
            let Expr::ScalarSubquery(subquery) = &expr else { return Ok(Transformed::no(expr)) };
            let Some(parts) = joinable(subquery) else { return Ok(Transformed::no(expr)) };
            count += 1;
            let (joined, column) = join_one(input.clone(), parts, count)?;
            input = joined;
            Ok(Transformed::yes(column))
        });
        let replaced = replaced.map_err(from_datafusion)?;
        exprs.push(match replaced.transformed {
            true => replaced.data.unalias_nested().data.alias_qualified(name.0, name.1),
            false => replaced.data,
        });
    }
    LogicalPlanBuilder::from(input)
        .project(exprs)
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)
}

fn join_one(input: LogicalPlan, parts: Joinable, number: usize) -> DfResult<(LogicalPlan, Expr)> {
    let own = |index: usize| format!("\u{1}s{number}_{index}");
    let hit = format!("\u{1}hit{number}");
    let row = format!("\u{1}row{number}");
    let value_name = format!("\u{1}value{number}");
    let source_schema = parts.source.schema().clone();
    let mut columns: Vec<Expr> = source_schema
        .iter()
        .enumerate()
        .map(|(index, (qualifier, field))| Expr::from((qualifier, field)).alias(own(index)))
        .collect();
    columns.push(lit(true).alias(hit.clone()));
    let source = LogicalPlanBuilder::from(parts.source).project(columns)?.build()?;
    // Inner columns get their new names, outer references become columns of the input.
    let rename = |expr: Expr| -> DfResult<Expr> {
        let renamed = expr.transform_up(|expr| {
            Ok(match expr {
                Expr::Column(column) => {
                    let index = source_schema.index_of_column(&column)?;
                    Transformed::yes(Expr::Column(Column::new_unqualified(own(index))))
                }
                Expr::OuterReferenceColumn(_, column) => Transformed::yes(Expr::Column(column)),
                other => Transformed::no(other),
            })
        })?;
        Ok(renamed.data)
    };
    // One at a time: an outer reference must not be taken for an inner column afterwards.
    let condition = rename(parts.condition)?;
    let hit = Expr::Column(Column::new_unqualified(hit));
    let value = match (rename(parts.value)?, parts.aggregated) {
        (Expr::AggregateFunction(mut function), true) => {
            let filter = function.params.filter.take().map_or(hit.clone(), |filter| hit.clone().and(*filter));
            function.params.filter = Some(Box::new(filter));
            Expr::AggregateFunction(function)
        }
        (value, _) => aggregate(single_value(false), when(hit, value).end()?),
    };
    let outer_schema = input.schema().clone();
    let numbered = LogicalPlanBuilder::from(input)
        .window(vec![datafusion::functions_window::expr_fn::row_number().alias(row.clone())])?
        .build()?;
    let joined = LogicalPlanBuilder::from(numbered).join_on(source, JoinType::Left, [condition])?.build()?;
    let mut aggregates: Vec<Expr> = outer_schema
        .iter()
        .enumerate()
        .map(|(index, (qualifier, field))| {
            aggregate(single_value(true), Expr::from((qualifier, field)))
                .alias(format!("\u{1}o{number}_{index}"))
        })
        .collect();
    aggregates.push(value.alias(value_name.clone()));
    let grouped = LogicalPlanBuilder::from(joined)
        .aggregate(vec![Expr::Column(Column::new_unqualified(row))], aggregates)?
        .build()?;
    let mut restored: Vec<Expr> = outer_schema
        .iter()
        .enumerate()
        .map(|(index, (qualifier, field))| {
            Expr::Column(Column::new_unqualified(format!("\u{1}o{number}_{index}")))
                .alias_qualified(qualifier.cloned(), field.name())
        })
        .collect();
    let column = Expr::Column(Column::new_unqualified(value_name));
    restored.push(column.clone());
    let plan = LogicalPlanBuilder::from(grouped).project(restored)?.build()?;
    Ok((plan, column))
}

fn aggregate(function: Arc<AggregateUDF>, argument: Expr) -> Expr {
    Expr::AggregateFunction(AggregateFunction::new_udf(
        function,
        vec![argument],
        false,
        None,
        Vec::new(),
        None,
    ))
}

/// EXISTS and IN as values, which DataFusion has as conditions only: a count of rows, and a comparison with the rows' array.
pub(super) fn as_value(expr: Expr) -> DfResult<Transformed<Expr>> {
    let scalar = |plan: LogicalPlan, of: &Subquery| {
        Expr::ScalarSubquery(Subquery { subquery: Arc::new(plan), ..of.clone() })
    };
    match expr {
        Expr::Exists(Exists { subquery, negated }) => {
            let rows = datafusion::functions_aggregate::expr_fn::count(lit(1)).alias("\u{1}rows");
            let plan = LogicalPlanBuilder::from((*subquery.subquery).clone())
                .aggregate(Vec::<Expr>::new(), vec![rows])?
                .build()?;
            let count = scalar(plan, &subquery);
            Ok(Transformed::yes(if negated { count.eq(lit(0_i64)) } else { count.gt(lit(0_i64)) }))
        }
        Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
            let input = (*subquery.subquery).clone();
            let column = Expr::from(input.schema().qualified_field(0));
            let items = datafusion::functions_aggregate::expr_fn::array_agg(column).alias("\u{1}items");
            let plan = LogicalPlanBuilder::from(input).aggregate(Vec::<Expr>::new(), vec![items])?.build()?;
            let call = |function: Function, args: Vec<Expr>| {
                Expr::ScalarFunction(ScalarFunction::new_udf(function.udf(), args))
            };
            let items = call(array_of_nothing(), vec![scalar(plan, &subquery)]);
            let (operator, quantifier) =
                if negated { ("<>", Quantifier::All) } else { ("=", Quantifier::Any) };
            Ok(Transformed::yes(call(compare_array(operator, quantifier), vec![*expr, items])))
        }
        other => Ok(Transformed::no(other)),
    }
}
