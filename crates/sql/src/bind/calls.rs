//! Calls of functions whose arguments are typed already: the function that their types mean, its arguments as it takes them.

use super::casts::labelled;
use super::choices;
use super::coerce::{boxed, call, placeholders_as};
use super::missing;
use super::nesting;
use super::overloads;
use super::prepare::{ALL_CALL, ANY_CALL, BIT_NOT, DISTINCT};
use super::quantified::quantified;
use super::resolve;
use super::types::{is_lost_in_choice, is_number, needs_label, without_modifier};
use super::typing::Typing;
use super::unary::bit_not;
use crate::catalog::is_vector_like;
use crate::functions::{Quantifier, extreme, has_key, matching_arrays, settled};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{Case, ScalarFunction};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, ScalarUDF};
use quiver_base::{Result, SqlType};
use std::sync::Arc;

/// greatest or least of values that are compared by a function: the best so far against each that follows.
fn extreme_of_vectors(name: &str, args: Vec<Expr>, typing: &Typing<'_>) -> Result<Expr> {
    let op = if name == "greatest" { Operator::Gt } else { Operator::Lt };
    let ty = chosen_type(&args, typing)?;
    let chosen = args.into_iter().map(Ok).reduce(|best, item| {
        let (best, item): (Expr, Expr) = (best?, item?);
        let is_null = |expr: &Expr| Expr::IsNull(boxed(expr.clone()));
        let better = overloads::comparison(op, item.clone(), best.clone(), typing)?;
        let case = Case {
            expr: None,
            when_then_expr: vec![
                (boxed(is_null(&item)), boxed(best.clone())),
                (boxed(is_null(&best)), boxed(item.clone())),
                (boxed(better), boxed(item)),
            ],
            else_expr: Some(boxed(best)),
        };
        let case = Expr::Case(case);
        Ok(match &ty {
            Some(ty) => labelled(case, ty),
            None => case,
        })
    });
    chosen.unwrap_or_else(|| Err(quiver_base::Error::internal("a choice among nothing")))
}

/// The type of the value that is chosen among some, where the engine's own choice does not say it.
fn chosen_type(args: &[Expr], typing: &Typing<'_>) -> Result<Option<SqlType>> {
    let types = args.iter().map(|arg| typing.of(arg)).collect::<Result<Vec<_>>>()?;
    let Some(first) = types.first().filter(|ty| is_lost_in_choice(ty)) else { return Ok(None) };
    Ok(Some(if types.iter().all(|ty| ty == first) { first.clone() } else { without_modifier(first) }))
}

/// The form of a function for the type of its argument, where the engine has one that gives something else.
fn exact_form(
    func: Arc<ScalarUDF>,
    args: Vec<Expr>,
    typing: &Typing<'_>,
) -> Result<(Arc<ScalarUDF>, Vec<Expr>)> {
    let [arg] = args.as_slice() else { return Ok((func, args)) };
    let exact = match (func.name(), typing.of(arg)?) {
        ("round", SqlType::Numeric(_)) => None,
        ("round", ty) if is_number(&ty) || ty == SqlType::Unknown => Some("round_even"),
        ("to_hex", SqlType::Int2 | SqlType::Int4) => Some("to_hex_int4"),
        _ => None,
    };
    match exact.and_then(crate::functions::exact) {
        Some(func) => Ok((func, placeholders_as(args, typing, &SqlType::Float8)?)),
        None => Ok((func, args)),
    }
}

/// A call with its arguments brought to what the function takes.
pub(super) fn coerce_function(function: ScalarFunction, typing: &Typing<'_>) -> Result<Expr> {
    let ScalarFunction { func, args } = function;
    missing::refuse(&func, &args, typing)?;
    let (func, args) = exact_form(func, args, typing)?;
    let args = match func.name() {
        ANY_CALL => return quantified(args, typing, Quantifier::Any),
        ALL_CALL => return quantified(args, typing, Quantifier::All),
        "nullif" => return super::keys::nullif(args, typing),
        name @ ("greatest" | "least") => {
            let args = typing.unify(args, &name.to_uppercase())?;
            let types = args.iter().map(|arg| typing.of(arg)).collect::<Result<Vec<_>>>()?;
            if types.contains(&SqlType::Json) {
                return Err(super::unordered::not_identified("a comparison function"));
            }
            if types.iter().any(is_vector_like) {
                return extreme_of_vectors(name, args, typing);
            }
            if let Some(ty) = types.first().filter(|ty| has_key(ty)) {
                return Ok(call(extreme(name == "greatest", ty), args));
            }
            if let Some(ty) = chosen_type(&args, typing)? {
                let call = Expr::ScalarFunction(ScalarFunction { func: settled(func), args });
                return Ok(labelled(call, &ty));
            }
            args
        }
        "coalesce" => {
            let (args, constant) = choices::coalesced(args, typing)?;
            if let Some(constant) = constant {
                return Ok(constant);
            }
            let args = nesting::flat_coalesce(args)?;
            if let Some(ty) = chosen_type(&args, typing)? {
                let call = Expr::ScalarFunction(ScalarFunction { func: settled(func), args });
                return Ok(labelled(call, &ty));
            }
            args
        }
        "make_array" => {
            let args = overloads::alike(args, typing)?;
            let first = args.first().map(|arg| typing.of(arg)).transpose()?;
            if let Some(ty @ SqlType::Array(_)) = first {
                let array = Expr::ScalarFunction(ScalarFunction { func: settled(func), args });
                let array = call(matching_arrays(), vec![array]);
                return Ok(labelled(array, &SqlType::Array(boxed_type(&ty))));
            }
            if let Some(ty) = first.filter(needs_label) {
                let call = Expr::ScalarFunction(ScalarFunction { func, args });
                let array = SqlType::Array(boxed_type(&ty));
                return Ok(labelled(call, &array));
            }
            args
        }
        "pg_typeof" if args.first().is_some_and(resolve::is_untyped) => {
            vec![Expr::Literal(ScalarValue::Null, None)]
        }
        BIT_NOT => return bit_not(args, typing),
        DISTINCT => return distinct(args, typing),
        name => match overloads::function_call(name, args, typing)? {
            Ok(call) => return Ok(call),
            Err(args) => {
                let resolved = resolve::arguments(resolve::postgresql_name(name), args, typing)?;
                let args = placeholders_as(resolved.args, typing, &SqlType::Text)?;
                let func =
                    resolve::of_bytes_or_pattern(name, &args, typing)?.unwrap_or_else(|| settled(func));
                let call = Expr::ScalarFunction(ScalarFunction { func, args });
                let call = declared(call, resolved.result.clone(), typing)?;
                return if resolved.strict {
                    resolve::strict(call, resolved.result, typing)
                } else {
                    Ok(call)
                };
            }
        },
    };
    Ok(Expr::ScalarFunction(ScalarFunction { func: settled(func), args }))
}

/// A call with the type that the catalog says its result has.
fn declared(call: Expr, result: Option<SqlType>, typing: &Typing<'_>) -> Result<Expr> {
    let Some(result) = result else { return Ok(call) };
    let ty = typing.of(&call)?;
    let numbers = |ty: &SqlType| match ty {
        SqlType::Array(item) => is_number(item),
        ty => is_number(ty),
    };
    let other_number = numbers(&ty) && numbers(&result) && without_modifier(&ty) != result;
    if other_number { typing.cast(call, &result) } else { Ok(call) }
}

pub(super) fn boxed_type(ty: &SqlType) -> Box<SqlType> {
    Box::new(without_modifier(ty))
}

/// IS DISTINCT FROM, negated if there is a third operand.
fn distinct(args: Vec<Expr>, typing: &Typing<'_>) -> Result<Expr> {
    let op = if args.len() == 3 { Operator::IsNotDistinctFrom } else { Operator::IsDistinctFrom };
    let mut args = args.into_iter();
    let (Some(left), Some(right)) = (args.next(), args.next()) else {
        return Err(quiver_base::Error::internal("IS DISTINCT FROM has two operands"));
    };
    let (left, right, ..) = typing.pair(left, right, "=")?;
    Ok(Expr::BinaryExpr(BinaryExpr::new(boxed(left), op, boxed(right))))
}
