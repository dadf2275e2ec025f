//! CASE and COALESCE: their results of one type; where it is known which one is taken, that one, with its own length.

use super::casts::labelled;
use super::coerce::{alike_arrays, boxed};
use super::conditions::is_padded;
use super::types::needs_label;
use super::typing::Typing;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::Case;
use quiver_base::{Result, SqlType};

fn is_null(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(value, _) if value.is_null())
}

/// What COALESCE always gives, if that is a constant.
pub(super) fn first_constant(args: &[Expr]) -> Option<&Expr> {
    args.iter().find(|arg| !is_null(arg)).filter(|arg| matches!(arg, Expr::Literal(..)))
}

/// Branches without those that are never taken; the one result if the first is taken always. What is constant says its own
/// type, length included.
fn reachable(branches: Vec<(Expr, Expr)>) -> std::result::Result<Vec<(Expr, Expr)>, Expr> {
    let never = |when: &Expr| match when {
        Expr::Literal(ScalarValue::Boolean(value), _) => !value.unwrap_or(false),
        when => is_null(when),
    };
    let mut kept: Vec<(Expr, Expr)> = branches.into_iter().filter(|(when, _)| !never(when)).collect();
    match kept.first() {
        Some((Expr::Literal(ScalarValue::Boolean(Some(true)), _), _)) => Err(kept.swap_remove(0).1),
        _ => Ok(kept),
    }
}

pub(super) fn case(case: Case, typing: &Typing<'_>) -> Result<Expr> {
    let Case { mut expr, when_then_expr, else_expr } = case;
    let padded = match &expr {
        Some(operand) if is_padded(operand, typing)? => Some(operand.clone()),
        _ => None,
    };
    let mut whens = Vec::with_capacity(when_then_expr.len());
    let mut results = Vec::with_capacity(when_then_expr.len() + 1);
    for (when, then) in when_then_expr {
        let when = match expr {
            Some(operand) => {
                let (operand, when, ..) = typing.pair(*padded.clone().unwrap_or(operand), *when, "=")?;
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
    // What stands last is the first to say the type.
    let has_else = else_expr.is_some();
    results.splice(..0, else_expr.map(|result| *result));
    let mut results = alike_arrays(typing.unify(results, "CASE")?, typing)?;
    let else_expr = if has_else { Some(boxed(results.remove(0))) } else { None };
    let mut branches: Vec<(Expr, Expr)> = whens.into_iter().zip(results).collect();
    if expr.is_none() {
        let first = branches.first().map(|(_, then)| then.clone());
        branches = match (reachable(branches), &else_expr) {
            (Err(result), _) => return Ok(result),
            (Ok(branches), Some(result)) if branches.is_empty() => return Ok((**result).clone()),
            (Ok(branches), None) if branches.is_empty() => {
                let ty = first.map_or(Ok(SqlType::Text), |then| typing.of(&then))?;
                return typing.adapt(Expr::Literal(ScalarValue::Null, None), &ty);
            }
            (Ok(branches), _) => branches,
        };
    }
    let when_then_expr = branches.into_iter().map(|(when, then)| (boxed(when), boxed(then))).collect();
    let case = Expr::Case(Case { expr, when_then_expr, else_expr });
    let ty = typing.of(&case)?;
    Ok(if needs_label(&ty) { labelled(case, &ty) } else { case })
}
