//! Brings the arguments of a call and the operands of an operator to the types of the function or operator that PostgreSQL
//! would choose, and refuses what PostgreSQL has none for. What computes the result is for others to know.

use super::CastContext;
use super::casts::cast_expr;
use super::overloads::{ambiguous_function, ambiguous_operator, no_function};
use super::types::{is_text, without_modifier};
use super::typing::{Typing, no_operator};
use crate::catalog::{ANY, Choice, Signature, chosen_function, chosen_operator, is_open};
use crate::functions::exact;
use crate::oids::{type_of_oid, type_oid};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{Expr, ScalarUDF};
use quiver_base::{Error, Result, SqlState, SqlType};
use quiver_exec::from_datafusion;
use std::sync::Arc;

/// Operands of an operator by its name; as they are if PostgreSQL has no operator of that name.
pub(super) fn operands(symbol: &str, left: Expr, right: Expr, typing: &Typing<'_>) -> Result<(Expr, Expr)> {
    let (left, right) = (typing.settle(left)?, typing.settle(right)?);
    let (a, b) = (without_modifier(&typing.of(&left)?), without_modifier(&typing.of(&right)?));
    match chosen_operator(symbol, &[type_oid(&a), type_oid(&b)]) {
        None => Ok((left, right)),
        Some(Choice::None) => Err(no_operator(symbol, &a, &b)),
        Some(Choice::Ambiguous) => Err(ambiguous_operator(symbol, &a, &b)),
        Some(Choice::One(Signature { args, .. }) | Choice::Undetermined(Signature { args, .. })) => {
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

/// The name that PostgreSQL has for what the engine calls otherwise. A function that returns rows is planned as one that returns
/// a list.
pub(crate) fn postgresql_name(planned: &str) -> &str {
    match planned {
        "array_remove_all" => "array_remove",
        "array_replace_all" => "array_replace",
        planned => planned.strip_suffix("_list").unwrap_or(planned),
    }
}

/// The function that a name of text functions stands for where the first argument is bytes, or the second a pattern.
pub(super) fn of_bytes_or_pattern(
    name: &str,
    args: &[Expr],
    typing: &Typing<'_>,
) -> Result<Option<Arc<ScalarUDF>>> {
    let types = args.iter().map(|arg| typing.of(arg)).collect::<Result<Vec<_>>>()?;
    Ok(match (name, types.as_slice()) {
        ("substring", [SqlType::Bytea, ..]) => exact("bytea_substr"),
        ("width_bucket", [_, SqlType::Array(item)]) if is_text(item) => exact("width_bucket_text"),
        (name, [SqlType::Bytea, ..]) => exact(&format!("bytea_{name}")),
        ("substring", [_, pattern]) if is_text(pattern) => exact("substring_pattern"),
        ("substring", [_, pattern, _]) if is_text(pattern) => exact("substring_similar"),
        _ => None,
    })
}

/// Whether an expression is a literal or a parameter that has no type yet.
pub(super) fn is_untyped(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(ScalarValue::Null | ScalarValue::Utf8(_), None) => true,
        Expr::Placeholder(placeholder) => placeholder.field.is_none(),
        _ => false,
    }
}

/// Whether whatever is of no type is a literal or a parameter, and no expression whose type is just not known here.
pub(super) fn all_untyped(args: &[Expr], types: &[SqlType]) -> bool {
    args.iter().zip(types).all(|(arg, ty)| *ty != SqlType::Unknown || is_untyped(arg))
}

/// 42804.
pub(super) fn undetermined() -> Error {
    let message = "could not determine polymorphic type because input has type unknown";
    Error::new(SqlState::DATATYPE_MISMATCH, message)
}

/// NULL in place of a call of a strict function with an argument that is; `result` is its type if the catalog says it.
pub(super) fn strict(call: Expr, result: Option<SqlType>, typing: &Typing<'_>) -> Result<Expr> {
    let is_null = |expr: &Expr| matches!(expr, Expr::Literal(value, _) if value.is_null());
    if !matches!(&call, Expr::ScalarFunction(function) if function.args.iter().any(is_null)) {
        return Ok(call);
    }
    match result.map_or_else(|| typing.of(&call), Ok)? {
        SqlType::Unknown => Ok(call),
        ty => {
            let null = ScalarValue::try_from(&ty.arrow_type()).map_err(from_datafusion)?;
            Ok(super::literal(null, &ty))
        }
    }
}

/// What the arguments of a call have become.
pub(super) struct Resolved {
    pub(super) args: Vec<Expr>,
    /// The type of the result; `None` if PostgreSQL has no such function, or one that follows the arguments.
    pub(super) result: Option<SqlType>,
    /// Whether the function gives NULL for any argument that is.
    pub(super) strict: bool,
}

/// Arguments of a function by its name, and the type of its result; as they are if PostgreSQL has no such name.
pub(super) fn arguments(name: &str, args: Vec<Expr>, typing: &Typing<'_>) -> Result<Resolved> {
    let args = args.into_iter().map(|arg| typing.settle(arg)).collect::<Result<Vec<_>>>()?;
    let types = args.iter().map(|arg| Ok(without_modifier(&typing.of(arg)?))).collect::<Result<Vec<_>>>()?;
    let oids: Vec<u32> = types.iter().map(type_oid).collect();
    // Text has both names for it, bytes only one.
    let name = if name == "strpos" && types.contains(&SqlType::Bytea) { "position" } else { name };
    let signature = match chosen_function(name, &oids) {
        None => return Ok(Resolved { args, result: None, strict: false }),
        Some(Choice::None) => return Err(no_function(name, &types)),
        Some(Choice::Ambiguous) => return Err(ambiguous_function(name, &types)),
        Some(Choice::Undetermined(_)) if all_untyped(&args, &types) => return Err(undetermined()),
        Some(Choice::One(signature) | Choice::Undetermined(signature)) => signature,
    };
    let mut typed = Vec::with_capacity(args.len());
    for ((arg, from), to) in args.into_iter().zip(&types).zip(&signature.args) {
        if *to == ANY
            && let Expr::Placeholder(Placeholder { id, field: None }) = &arg
        {
            let message = format!("could not determine data type of parameter {id}");
            return Err(Error::new(SqlState::INDETERMINATE_DATATYPE, message));
        }
        typed.push(match type_of_oid(*to).filter(|_| !is_open(*to)) {
            Some(to) => argument(arg, from, &to, typing)?,
            None => arg,
        });
    }
    let result = type_of_oid(signature.result).filter(|_| !is_open(signature.result));
    // What is planned as a list of the rows has a type of its own.
    let result = result.filter(|_| super::sets::rows_of(name).is_none());
    Ok(Resolved { args: typed, result, strict: signature.strict })
}

fn argument(arg: Expr, from: &SqlType, to: &SqlType, typing: &Typing<'_>) -> Result<Expr> {
    match from {
        SqlType::Unknown => typing.adapt(arg, to),
        // An array of arrays is of the type of one.
        from if from == to || type_oid(from) == type_oid(to) => Ok(arg),
        // The same strings.
        SqlType::Varchar(_) | SqlType::Name if *to == SqlType::Text => Ok(arg),
        from => cast_expr(arg, from, to, CastContext::Explicit, typing.style),
    }
}
