//! Brings the arguments of a call and the operands of an operator to the types of the function or operator that PostgreSQL
//! would choose, and refuses what PostgreSQL has none for. What computes the result is for others to know.

use super::CastContext;
use super::casts::cast_expr;
use super::overloads::{ambiguous_function, ambiguous_operator, no_function};
use super::types::{is_text, without_modifier};
use super::typing::{Typing, no_operator};
use crate::catalog::{Choice, Signature, chosen_function, chosen_operator, is_open};
use crate::functions::exact;
use crate::oids::{type_of_oid, type_oid};
use datafusion::logical_expr::{Expr, ScalarUDF};
use quiver_base::{Result, SqlType};
use std::sync::Arc;

/// Operands of an operator by its name; as they are if PostgreSQL has no operator of that name.
pub(super) fn operands(symbol: &str, left: Expr, right: Expr, typing: &Typing<'_>) -> Result<(Expr, Expr)> {
    let (left, right) = (typing.settle(left)?, typing.settle(right)?);
    let (a, b) = (without_modifier(&typing.of(&left)?), without_modifier(&typing.of(&right)?));
    match chosen_operator(symbol, &[type_oid(&a), type_oid(&b)]) {
        None => Ok((left, right)),
        Some(Choice::None) => Err(no_operator(symbol, &a, &b)),
        Some(Choice::Ambiguous) => Err(ambiguous_operator(symbol, &a, &b)),
        Some(Choice::One(Signature { args, .. })) => {
            let [to_left, to_right] = args.as_slice() else { return Ok((left, right)) };
            Ok((operand(left, &a, *to_left, typing)?, operand(right, &b, *to_right, typing)?))
        }
    }
}

/// Operators compute with mixed types themselves: only what has no type gets one, and blanks at the end of char(n) go.
fn operand(expr: Expr, from: &SqlType, to: u32, typing: &Typing<'_>) -> Result<Expr> {
    match type_of_oid(to).filter(|_| !is_open(to)) {
        Some(to) if *from == SqlType::Unknown || is_unpadded(from, &to) => argument(expr, from, &to, typing),
        _ => Ok(expr),
    }
}

fn is_unpadded(from: &SqlType, to: &SqlType) -> bool {
    matches!(from, SqlType::Bpchar(_)) && *to == SqlType::Text
}

/// The name that PostgreSQL has for what the planner calls otherwise: `substring` is planned as `substr`.
pub(super) fn postgresql_name(planned: &str) -> &str {
    if planned == "substr" { "substring" } else { planned }
}

/// The function that a name of text functions stands for where the first argument is bytes, or the second a pattern.
pub(super) fn of_bytes_or_pattern(
    name: &str,
    args: &[Expr],
    typing: &Typing<'_>,
) -> Result<Option<Arc<ScalarUDF>>> {
    let types = args.iter().map(|arg| typing.of(arg)).collect::<Result<Vec<_>>>()?;
    Ok(match (name, types.as_slice()) {
        (name, [SqlType::Bytea, ..]) => exact(&format!("bytea_{name}")),
        ("substr", [_, pattern]) if is_text(pattern) => exact("substring_pattern"),
        _ => None,
    })
}

/// Arguments of a function by its name, and the type of its result; as they are if PostgreSQL has no such name.
pub(super) fn arguments(
    name: &str,
    args: Vec<Expr>,
    typing: &Typing<'_>,
) -> Result<(Vec<Expr>, Option<SqlType>)> {
    let args = args.into_iter().map(|arg| typing.settle(arg)).collect::<Result<Vec<_>>>()?;
    let types = args.iter().map(|arg| Ok(without_modifier(&typing.of(arg)?))).collect::<Result<Vec<_>>>()?;
    let oids: Vec<u32> = types.iter().map(type_oid).collect();
    let signature = match chosen_function(name, &oids) {
        None => return Ok((args, None)),
        Some(Choice::None) => return Err(no_function(name, &types)),
        Some(Choice::Ambiguous) => return Err(ambiguous_function(name, &types)),
        Some(Choice::One(signature)) => signature,
    };
    let mut typed = Vec::with_capacity(args.len());
    for ((arg, from), to) in args.into_iter().zip(&types).zip(&signature.args) {
        typed.push(match type_of_oid(*to).filter(|_| !is_open(*to)) {
            Some(to) => argument(arg, from, &to, typing)?,
            None => arg,
        });
    }
    let result = type_of_oid(signature.result).filter(|_| !is_open(signature.result));
    Ok((typed, result))
}

fn argument(arg: Expr, from: &SqlType, to: &SqlType, typing: &Typing<'_>) -> Result<Expr> {
    match from {
        SqlType::Unknown => typing.adapt(arg, to),
        from if from == to => Ok(arg),
        // The same strings.
        SqlType::Varchar(_) | SqlType::Name if *to == SqlType::Text => Ok(arg),
        from => cast_expr(arg, from, to, CastContext::Explicit, typing.style),
    }
}
