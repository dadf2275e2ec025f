//! ANY and ALL of an array.

use super::casts::LABEL;
use super::coerce::{boxed, call};
use super::conditions;
use super::types::{is_float, is_number, without_modifier};
use super::typing::{Typing, operand_type, wider};
use crate::catalog::is_vector_like;
use crate::functions::{Quantifier, compare_array};
use arrow::array::Array;
use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::expr::InList;
use quiver_base::{Error, Result, SqlState, SqlType};

/// `x = ANY (array)`: a list of constants is IN, which storage can look up; anything else is computed.
pub(super) fn quantified(args: Vec<Expr>, typing: &Typing<'_>, quantifier: Quantifier) -> Result<Expr> {
    let mut args = args.into_iter();
    let (operator, left, right) = match (args.next(), args.next(), args.next()) {
        (Some(Expr::Literal(ScalarValue::Utf8(Some(operator)), _)), Some(left), Some(right)) => {
            (operator, left, right)
        }
        _ => return Err(Error::internal("a malformed ANY or ALL")),
    };
    let left_type = typing.of(&left)?;
    let right = match &left_type {
        SqlType::Unknown => typing.adapt(right, &SqlType::Array(Box::new(SqlType::Text)))?,
        ty => typing.adapt(right, &SqlType::Array(Box::new(without_modifier(&operand_type(ty)))))?,
    };
    let item = match typing.of(&right)? {
        // An array of arrays has the items of these.
        SqlType::Array(mut item) => {
            while let SqlType::Array(inner) = *item {
                item = inner;
            }
            *item
        }
        SqlType::Int2Vector => SqlType::Int2,
        SqlType::OidVector => SqlType::Oid,
        ty => {
            return Err(Error::new(
                SqlState::WRONG_OBJECT_TYPE,
                format!("op ANY/ALL (array) requires array on right side, not {ty}"),
            ));
        }
    };
    let left = typing.adapt(left, &operand_type(&item))?;
    if matches!(typing.of(&left)?, SqlType::Array(_)) {
        return Err(super::typing::no_operator(&operator, &typing.of(&left)?, &item));
    }
    let name = ["=", "<>", "<", "<=", ">", ">=", "~~", "!~~", "~~*", "!~~*", "~", "!~", "~*", "!~*"]
        .into_iter()
        .find(|name| *name == operator || (*name == "<>" && operator == "!="));
    let Some(name) = name else {
        return Err(Error::unsupported(format!("{operator} with ANY or ALL")));
    };
    let in_list = matches!((quantifier, name), (Quantifier::Any, "=") | (Quantifier::All, "<>"));
    if in_list && let Some(list) = constants(&right, &item) {
        let list = match is_vector_like(&item) {
            true => list.into_iter().map(|value| typing.cast(value, &item)).collect::<Result<_>>()?,
            false => list,
        };
        return conditions::within(InList { expr: boxed(left), list, negated: name == "<>" }, typing);
    }
    let bytes = matches!(item, SqlType::Sparsevec(_) | SqlType::Bit(_) | SqlType::Varbit(_));
    if is_vector_like(&item) && !(bytes && matches!(name, "=" | "<>")) {
        return Err(Error::unsupported(format!("{operator} with ANY or ALL of {item}")));
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
    let both = match is_float(&own) || is_float(item) {
        true => SqlType::Float8,
        false => without_modifier(&wider(own.clone(), item.clone())),
    };
    let left = if own == both { left } else { typing.cast(left, &both)? };
    let right = if *item == both { right } else { typing.cast(right, &SqlType::Array(Box::new(both)))? };
    Ok((left, right))
}

/// The items of a constant array that is not NULL and not empty.
fn constants(array: &Expr, item: &SqlType) -> Option<Vec<Expr>> {
    match array {
        Expr::ScalarFunction(labelled)
            if matches!(labelled.func.name(), "cast" | LABEL) && is_vector_like(item) =>
        {
            constants(labelled.args.first()?, item)
        }
        Expr::Literal(ScalarValue::List(list), _) if list.len() == 1 && !list.is_null(0) => {
            let items = list.value(0);
            let items: DfResult<Vec<Expr>> = (0..items.len())
                .map(|row| {
                    let value = ScalarValue::try_from_array(&items, row)?;
                    Ok(if is_vector_like(item) {
                        super::literal(value, item)
                    } else {
                        Expr::Literal(value, None)
                    })
                })
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
