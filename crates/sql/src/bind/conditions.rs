//! BETWEEN, IN, LIKE and SIMILAR TO, their operands brought to one type.

use super::coerce::{boxed, call};
use super::overloads;
use super::types::{is_number, is_text, without_modifier};
use super::typing::{Typing, wider};
use crate::catalog::is_vector_like;
use crate::functions::{exact, like_escape, similar_to_escape};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{Between, InList, Like, ScalarFunction};
use datafusion::logical_expr::utils::{conjunction, disjunction};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use quiver_base::{Error, Result, SqlType};

pub(super) fn between(between: Between, typing: &Typing<'_>) -> Result<Expr> {
    let Between { expr, negated, low, high } = between;
    if is_vector_like(&typing.of(&expr)?) {
        let low = overloads::comparison(Operator::GtEq, (*expr).clone(), typing.settle(*low)?, typing)?;
        let high = overloads::comparison(Operator::LtEq, *expr, typing.settle(*high)?, typing)?;
        let inside = Expr::BinaryExpr(BinaryExpr::new(boxed(low), Operator::And, boxed(high)));
        return Ok(if negated { Expr::Not(boxed(inside)) } else { inside });
    }
    let padded = is_padded(&expr, typing)?.then(|| expr.clone());
    let (expr, low, ..) = typing.pair(*expr, *low, ">=")?;
    let (expr, high, ..) = typing.pair(padded.map_or(expr, |it| *it), *high, "<=")?;
    Ok(Expr::Between(Between::new(boxed(expr), negated, boxed(low), boxed(high))))
}

/// Whether each operand it is compared with is a `char(n)` too, whose blanks at the end mean nothing.
pub(super) fn is_padded(expr: &Expr, typing: &Typing<'_>) -> Result<bool> {
    Ok(matches!(typing.of(expr)?, SqlType::Bpchar(_)))
}

/// `IN` of a list, among numbers as PostgreSQL takes it apart: constants become of one type with the operand, as items of one array;
/// every item that reads a column is compared by itself.
pub(super) fn in_list(list: InList, typing: &Typing<'_>) -> Result<Expr> {
    let own = typing.of(&list.expr)?;
    if !is_number(&own) {
        return within(list, typing);
    }
    let InList { expr, list, negated } = list;
    let list = list.into_iter().map(|item| typing.settle(item)).collect::<Result<Vec<_>>>()?;
    let (columns, constants): (Vec<Expr>, Vec<Expr>) = list.into_iter().partition(Expr::any_column_refs);
    let mut tests = Vec::with_capacity(columns.len() + 1);
    if !constants.is_empty() {
        let list = if constants.len() > 1 { alike(constants, own, typing)? } else { constants };
        tests.push(within(InList { expr: expr.clone(), list, negated }, typing)?);
    }
    for item in columns {
        let (left, right, ..) = typing.pair((*expr).clone(), item, "=")?;
        let op = if negated { Operator::NotEq } else { Operator::Eq };
        tests.push(Expr::BinaryExpr(BinaryExpr::new(boxed(left), op, boxed(right))));
    }
    let all = if negated { conjunction(tests) } else { disjunction(tests) };
    Ok(all.unwrap_or_else(|| super::literal(ScalarValue::Boolean(Some(negated)), &SqlType::Bool)))
}

/// Numbers as the widest type among them and `own`.
fn alike(items: Vec<Expr>, own: SqlType, typing: &Typing<'_>) -> Result<Vec<Expr>> {
    let types = items.iter().map(|item| typing.of(item)).collect::<Result<Vec<_>>>()?;
    let known = types.iter().filter(|ty| **ty != SqlType::Unknown);
    if !known.clone().all(is_number) {
        return Ok(items);
    }
    let all = without_modifier(&known.cloned().fold(own, wider));
    let cast = |(item, ty): (Expr, &SqlType)| match ty {
        SqlType::Unknown => typing.adapt(item, &all),
        ty if without_modifier(ty) == all => Ok(item),
        _ => typing.cast(item, &all),
    };
    items.into_iter().zip(&types).map(cast).collect()
}

pub(super) fn within(list: InList, typing: &Typing<'_>) -> Result<Expr> {
    let InList { mut expr, list, negated } = list;
    if matches!(typing.of(&expr)?, SqlType::Vector(_) | SqlType::Halfvec(_)) {
        // Arrow's kernels look no lists up in lists.
        let equal = |item| overloads::comparison(Operator::Eq, (*expr).clone(), typing.settle(item)?, typing);
        let tests = list.into_iter().map(equal).collect::<Result<Vec<_>>>()?;
        let any = disjunction(tests);
        let any = any.unwrap_or_else(|| super::literal(ScalarValue::Boolean(Some(false)), &SqlType::Bool));
        return Ok(if negated { Expr::Not(boxed(any)) } else { any });
    }
    let padded = is_padded(&expr, typing)?.then(|| expr.clone());
    let mut items = Vec::with_capacity(list.len());
    for item in list {
        let (left, item, ..) = typing.pair(*padded.clone().unwrap_or(expr), item, "=")?;
        expr = boxed(left);
        items.push(item);
    }
    Ok(Expr::InList(InList { expr, list: items, negated }))
}

/// LIKE, of texts or of bytes.
pub(super) fn like(like: Like, typing: &Typing<'_>) -> Result<Expr> {
    match !like.case_insensitive && typing.of(&like.expr)? == SqlType::Bytea {
        true => like_of_bytes(like, typing),
        false => Ok(Expr::Like(like_pattern(like, typing)?)),
    }
}

fn like_of_bytes(like: Like, typing: &Typing<'_>) -> Result<Expr> {
    let named = |name: &str, args: Vec<Expr>| -> Result<Expr> {
        let func = exact(name).ok_or_else(|| Error::internal("a function of bytes is missing"))?;
        Ok(Expr::ScalarFunction(ScalarFunction { func, args }))
    };
    let mut pattern = typing.adapt(*like.pattern, &SqlType::Bytea)?;
    let ty = typing.of(&pattern)?;
    if ty != SqlType::Bytea {
        return Err(super::typing::no_operator("~~", &SqlType::Bytea, &ty));
    }
    if let Some(escape) = like.escape_char.filter(|escape| *escape != '\\') {
        let escape = ScalarValue::Binary(Some(escape.to_string().into_bytes()));
        let escape = super::literal(escape, &SqlType::Bytea);
        pattern = named("bytea_like_escape", vec![pattern, escape])?;
    }
    let found = named("bytea_like", vec![*like.expr, pattern])?;
    Ok(if like.negated { Expr::Not(boxed(found)) } else { found })
}

fn like_pattern(like: Like, typing: &Typing<'_>) -> Result<Like> {
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
pub(super) fn similar_to(like: Like, typing: &Typing<'_>) -> Result<Expr> {
    let (negated, escape) = (like.negated, like.escape_char);
    let like = like_pattern(Like { escape_char: None, ..like }, typing)?;
    let escape = Expr::Literal(ScalarValue::Utf8(Some(escape.unwrap_or('\\').to_string())), None);
    let pattern = call(similar_to_escape(), vec![*like.pattern, escape]);
    let op = if negated { Operator::RegexNotMatch } else { Operator::RegexMatch };
    Ok(Expr::BinaryExpr(BinaryExpr::new(like.expr, op, boxed(pattern))))
}
