//! CASE and COALESCE: their results of one type; where it is known which one is taken, that one, with its own length.

use super::casts::labelled;
use super::coerce::{alike_arrays, boxed};
use super::conditions::is_padded;
use super::types::{is_lost_in_choice, without_modifier};
use super::typing::Typing;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::Case;
use quiver_base::{Result, SqlType};

pub(super) fn is_null(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(value, _) if value.is_null())
}

/// A value that is always chosen, as it was before it met the others if only its length differs.
pub(super) fn chosen(own: Expr, met: Expr, typing: &Typing<'_>) -> Result<Expr> {
    let same = without_modifier(&typing.of(&own)?) == without_modifier(&typing.of(&met)?);
    Ok(if same { own } else { met })
}

/// A branch of a CASE.
struct Branch {
    when: Expr,
    then: Expr,
    /// The result before it was brought to the type of all.
    own: Expr,
}

/// Branches without those that are never taken; the one if the first is taken always.
fn reachable(branches: Vec<Branch>) -> std::result::Result<Vec<Branch>, Box<Branch>> {
    let never = |when: &Expr| match when {
        Expr::Literal(ScalarValue::Boolean(value), _) => !value.unwrap_or(false),
        when => is_null(when),
    };
    let mut kept: Vec<Branch> = branches.into_iter().filter(|branch| !never(&branch.when)).collect();
    match kept.first() {
        Some(Branch { when: Expr::Literal(ScalarValue::Boolean(Some(true)), _), .. }) => {
            Err(Box::new(kept.swap_remove(0)))
        }
        _ => Ok(kept),
    }
}

/// The arguments of COALESCE brought to one type, and what it always gives, if that is a constant.
pub(super) fn coalesced(args: Vec<Expr>, typing: &Typing<'_>) -> Result<(Vec<Expr>, Option<Expr>)> {
    let first = args.iter().position(|arg| !is_null(arg));
    let own = first.map(|at| typing.settle(args[at].clone())).transpose()?;
    let args = alike_arrays(typing.unify(args, "COALESCE")?, typing)?;
    let met = first.and_then(|at| args.get(at)).filter(|met| matches!(met, Expr::Literal(..))).cloned();
    let constant = own.zip(met).map(|(own, met)| chosen(own, met, typing)).transpose()?;
    Ok((args, constant))
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
    let mut own = results.iter().map(|it| typing.settle(it.clone())).collect::<Result<Vec<_>>>()?;
    let mut results = alike_arrays(typing.unify(results, "CASE")?, typing)?;
    let otherwise = if has_else { Some((own.remove(0), results.remove(0))) } else { None };
    let branches = whens.into_iter().zip(results).zip(own);
    let mut branches: Vec<Branch> = branches.map(|((when, then), own)| Branch { when, then, own }).collect();
    if expr.is_none() {
        let first = branches.first().map(|branch| branch.then.clone());
        branches = match (reachable(branches), &otherwise) {
            (Err(branch), _) => return chosen(branch.own, branch.then, typing),
            (Ok(branches), Some((own, met))) if branches.is_empty() => {
                return chosen(own.clone(), met.clone(), typing);
            }
            (Ok(branches), None) if branches.is_empty() => {
                let ty = first.map_or(Ok(SqlType::Text), |then| typing.of(&then))?;
                return typing.adapt(Expr::Literal(ScalarValue::Null, None), &ty);
            }
            (Ok(branches), _) => branches,
        };
    }
    let when_then_expr = branches.into_iter().map(|it| (boxed(it.when), boxed(it.then))).collect();
    let else_expr = otherwise.map(|(_, met)| boxed(met));
    let case = Expr::Case(Case { expr, when_then_expr, else_expr });
    let ty = typing.of(&case)?;
    Ok(if is_lost_in_choice(&ty) { labelled(case, &ty) } else { case })
}
