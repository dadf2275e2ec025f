//! Where values are compared, sorted or grouped whose stored form does not say which are equal (intervals, JSON): by their
//! keys, or not at all.

use super::casts::labelled;
use super::nesting;
use super::types::{needs_label, without_modifier};
use super::typing::Typing;
use crate::functions::{
    called, frame_key, has_key, has_several_forms, interval_extreme_aggregate, is_collected, is_key, key,
    labelled_aggregate, one_zero, real_sum, windowed,
};
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::functions_aggregate::first_last::last_value_udaf;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, Case, NullTreatment, Sort, WindowFunction};
use datafusion::logical_expr::{
    AggregateUDF, BinaryExpr, Expr, LogicalPlan, Operator, WindowFunctionDefinition,
};
use quiver_base::{Error, Result, SqlState, SqlType};
use quiver_exec::to_datafusion;
use std::sync::Arc;

/// The value under its key; whatever else as it is.
pub(super) fn bare(expr: Expr) -> Expr {
    match (is_key(&expr), expr) {
        (true, Expr::ScalarFunction(mut function)) if function.args.len() == 1 => {
            function.args.pop().unwrap_or_else(|| Expr::ScalarFunction(function))
        }
        (_, expr) => expr,
    }
}

/// Two operands of a comparison as their keys.
pub(super) fn both(
    left: &Expr,
    right: &Expr,
    operator: &str,
    types: (&SqlType, &SqlType),
) -> Option<(Expr, Expr)> {
    let (a, b) = types;
    let numbers = |ty: &SqlType| matches!(ty, SqlType::Array(item) if matches!(**item, SqlType::Numeric(_)));
    let alike = without_modifier(a) == without_modifier(b) || numbers(a) && numbers(b);
    // Where equal values are stored alike, what is stored is compared: keys and joins can be looked up then.
    let equality = matches!(operator, "=" | "<>" | "!=") && !has_several_forms(a);
    if !alike || equality {
        return None;
    }
    Some((key(a, left.clone())?, key(b, right.clone())?))
}

fn keyed(expr: Expr, typing: &Typing<'_>) -> Result<Expr> {
    if is_key(&expr) {
        return Ok(expr);
    }
    let ty = typing.of(&expr)?;
    Ok(if has_key(&ty) { key(&ty, expr.clone()).unwrap_or(expr) } else { expr })
}

/// What rows are sorted by.
pub(super) fn sorted(order_by: Vec<Sort>, typing: &Typing<'_>) -> Result<Vec<Sort>> {
    order_by.into_iter().map(|sort| Ok(Sort { expr: keyed(sort.expr, typing)?, ..sort })).collect()
}

fn refused(what: &str) -> Error {
    Error::unsupported(format!("{what} of intervals"))
}

fn is_interval(expr: &Expr, typing: &Typing<'_>) -> Result<bool> {
    // Columns of tables first: a type is not known of every expression.
    match expr {
        Expr::GroupingSet(_) | Expr::Literal(..) => Ok(false),
        expr => Ok(matches!(typing.of(expr), Ok(SqlType::Interval(_)))),
    }
}

/// The sum of integers smaller than bigint, which is a bigint, and of reals, which is a real: once DataFusion has widened them,
/// only the function itself can say so.
fn own_sum(name: &str, args: &[Expr], typing: &Typing<'_>) -> Result<Option<Arc<AggregateUDF>>> {
    Ok(match (name, args) {
        ("sum", [argument]) => match typing.of(argument)? {
            SqlType::Int2 | SqlType::Int4 => Some(sum_udaf()),
            SqlType::Float4 => Some(real_sum()),
            _ => None,
        },
        _ => None,
    })
}

/// min and max of intervals are the last by their keys; counts of different ones count keys.
pub(super) fn in_aggregate(mut function: AggregateFunction, typing: &Typing<'_>) -> Result<Expr> {
    // The keys of a DISTINCT must be its arguments themselves, where it is the engine that finds what is different.
    if !function.params.distinct || is_collected(function.func.name()) {
        function.params.order_by = sorted(function.params.order_by, typing)?;
    }
    if let Some(sum) = own_sum(called(function.func.name()), &function.params.args, typing)? {
        function.func = sum;
    }
    let first = function.params.args.first().cloned();
    let Some((argument, ty)) = first.and_then(|it| typing.of(&it).ok().map(|ty| (it, ty))) else {
        return Ok(Expr::AggregateFunction(function));
    };
    match function.func.name() {
        "min" | "max" if has_key(&ty) => {
            let asc = function.func.name() == "max";
            let by = Sort { expr: keyed(argument, typing)?, asc, nulls_first: true };
            function.params.order_by = vec![by];
            function.params.distinct = false;
            function.params.null_treatment = Some(NullTreatment::IgnoreNulls);
            function.func = last_value_udaf();
            if needs_label(&ty) {
                function.func = labelled_aggregate(function.func, ty);
            }
        }
        "count" if function.params.distinct && has_several_forms(&ty) => {
            function.params.args = vec![keyed(argument, typing)?];
        }
        name if function.params.distinct
            && ["regr_", "corr", "covar_"].iter().any(|it| name.starts_with(it)) =>
        {
            return Err(Error::unsupported("DISTINCT in an aggregate of two arguments"));
        }
        _ if function.params.distinct && ty == SqlType::Interval(None) => {
            return Err(refused("an aggregate of different values"));
        }
        _ => {}
    }
    Ok(Expr::AggregateFunction(function))
}

/// The same for what a window is made by.
pub(super) fn in_window(mut function: WindowFunction, typing: &Typing<'_>) -> Result<Expr> {
    let of_interval = match function.params.args.first() {
        Some(argument) => is_interval(argument, typing)?,
        None => false,
    };
    if let Some(sum) = own_sum(called(function.fun.name()), &function.params.args, typing)? {
        function.fun = WindowFunctionDefinition::AggregateUDF(sum);
    }
    if let WindowFunctionDefinition::AggregateUDF(aggregate) = function.fun {
        let name = aggregate.name();
        let aggregate = match of_interval && matches!(name, "min" | "max") {
            true => interval_extreme_aggregate(name == "max"),
            false => aggregate,
        };
        let ty = match (aggregate.name(), function.params.args.first()) {
            ("min" | "max", Some(argument)) => Some(typing.of(argument)?).filter(is_lost),
            _ => None,
        };
        function.fun = WindowFunctionDefinition::AggregateUDF(windowed(aggregate, ty));
    }
    function.params.order_by = sorted(function.params.order_by, typing)?;
    for sort in &mut function.params.order_by {
        sort.expr = frame_key(with_one_zero(sort.expr.clone(), typing)?);
    }
    let key = |expr| with_one_zero(keyed(expr, typing)?, typing);
    function.params.partition_by =
        function.params.partition_by.into_iter().map(key).collect::<Result<_>>()?;
    Ok(Expr::WindowFunction(Box::new(function)))
}

/// Windows take a float's two zeros for different ones.
fn with_one_zero(expr: Expr, typing: &Typing<'_>) -> Result<Expr> {
    Ok(match typing.of(&expr) {
        Ok(SqlType::Float4 | SqlType::Float8) => Expr::ScalarFunction(one_zero(expr)),
        _ => expr,
    })
}

/// NULL where the two are equal, else the first: DataFusion's own loses rows of outer joins.
pub(super) fn nullif(args: Vec<Expr>, typing: &Typing<'_>) -> Result<Expr> {
    let Ok([value, other]) = <[Expr; 2]>::try_from(args) else {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "NULLIF takes two arguments"));
    };
    nesting::check_nullif(&value)?;
    let own = typing.of(&value)?;
    let (left, right, ty, _) = typing.pair(value.clone(), other, "=")?;
    // The value is the result as it is, whatever it was turned into to be compared.
    let (value, ty) = if own == SqlType::Unknown { (bare(left.clone()), ty) } else { (value, own) };
    let equal = Expr::BinaryExpr(BinaryExpr::new(Box::new(left), Operator::Eq, Box::new(right)));
    let null = typing.adapt(Expr::Literal(ScalarValue::Null, None), &ty)?;
    let case = Expr::Case(Case {
        expr: None,
        when_then_expr: vec![(Box::new(Expr::IsTrue(Box::new(equal))), Box::new(null))],
        else_expr: Some(Box::new(value)),
    });
    // A varchar is compared as text and is text then.
    Ok(if is_lost(&ty) { labelled(case, &ty) } else { case })
}

/// Whether the engine loses what a value's type is: blanks at the end and the like are none of its business.
fn is_lost(ty: &SqlType) -> bool {
    matches!(ty, SqlType::Bpchar(_)) || needs_label(ty)
}

/// 0A000 where DataFusion itself would compare intervals.
pub(super) fn check(plan: &LogicalPlan, typing: &Typing<'_>) -> DfResult<()> {
    let any = |exprs: &[Expr]| -> DfResult<bool> {
        for expr in exprs {
            if is_interval(expr, typing).map_err(to_datafusion)? {
                return Ok(true);
            }
        }
        Ok(false)
    };
    let in_schema = |plan: &LogicalPlan| {
        plan.schema()
            .fields()
            .iter()
            .any(|field| matches!(SqlType::of_field(field), Some(SqlType::Interval(_))))
    };
    let what = match plan {
        LogicalPlan::Aggregate(aggregate) if any(&aggregate.group_expr)? => "GROUP BY",
        LogicalPlan::Distinct(_) if in_schema(plan) => "DISTINCT or UNION",
        LogicalPlan::Join(join) => {
            let keys: Vec<Expr> = join.on.iter().map(|(left, _)| left.clone()).collect();
            if !any(&keys)? {
                return Ok(());
            }
            "a join by equal columns"
        }
        _ => return Ok(()),
    };
    Err(to_datafusion(refused(what)))
}
