//! Functions and operators of vectors and bit strings: which overload a call means, by PostgreSQL's rules, and the call
//! with its arguments cast.

use super::CastContext;
use super::cast_kernel::CastStyle;
use super::casts::cast_expr;
use super::types::{is_text, without_modifier};
use super::typing::{Typing, no_operator};
use crate::catalog::{Choice, chosen_function, is_vector_like, overloads};
use crate::functions::extension_function;
use crate::oids::type_oid;
use datafusion::logical_expr::expr::{ScalarFunction, Sort};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

/// What a name and argument types lead to.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    One(usize),
    None,
    Ambiguous,
}

/// Whether PostgreSQL casts unasked.
pub(super) fn is_implicit(from: &SqlType, to: &SqlType) -> bool {
    use SqlType::*;
    let rank =
        |ty: &SqlType| [Int2, Int4, Int8, Numeric(None), Float4, Float8].iter().position(|it| it == ty);
    match (from, to) {
        _ if from == to || *from == Unknown => true,
        (Bit(_), Varbit(_)) | (Varbit(_), Bit(_)) => true,
        (Vector(_), Halfvec(_) | Sparsevec(_)) | (Halfvec(_), Sparsevec(_)) => true,
        (Vector(_), Array(item)) => **item == Float4,
        (Array(a), Array(b)) => is_implicit(a, b),
        _ => matches!((rank(from), rank(to)), (Some(from), Some(to)) if from <= to),
    }
}

/// The overload among `candidates` for arguments of these types, without modifiers.
fn resolve(candidates: &[Vec<SqlType>], args: &[SqlType]) -> Found {
    let fits = |candidate: &Vec<SqlType>| {
        candidate.len() == args.len() && args.iter().zip(candidate).all(|(arg, to)| is_implicit(arg, to))
    };
    let mut left: Vec<usize> = (0..candidates.len()).filter(|at| fits(&candidates[*at])).collect();
    let known = |at: usize| args.iter().zip(&candidates[at]).filter(|(arg, _)| **arg != SqlType::Unknown);
    let preferred = |ty: &SqlType| matches!(ty, SqlType::Varbit(_) | SqlType::Float8);
    let scores: [&dyn Fn(usize) -> usize; 2] =
        [&|at| known(at).filter(|(arg, to)| arg == to).count(), &|at| {
            known(at).filter(|(arg, to)| arg == to || preferred(to)).count()
        }];
    for score in scores {
        if left.len() > 1 {
            let best = left.iter().map(|at| score(*at)).max();
            left.retain(|at| Some(score(*at)) == best);
        }
    }
    // What nobody knows the type of is taken for the one type that is known.
    let mut types = args.iter().filter(|arg| **arg != SqlType::Unknown);
    if left.len() > 1
        && let Some(first) = types.next()
        && types.all(|ty| ty == first)
        && args.contains(&SqlType::Unknown)
    {
        let same: Vec<usize> = left
            .iter()
            .copied()
            .filter(|at| candidates[*at].iter().all(|to| is_implicit(first, to)))
            .collect();
        let exact: Vec<usize> =
            same.iter().copied().filter(|at| candidates[*at].iter().all(|to| to == first)).collect();
        for narrower in [same, exact] {
            if !narrower.is_empty() {
                left = narrower;
            }
        }
    }
    match left.as_slice() {
        [] => Found::None,
        [one] => Found::One(*one),
        _ => Found::Ambiguous,
    }
}

fn listed(types: &[SqlType]) -> String {
    types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// 42883.
pub(super) fn no_function(name: &str, args: &[SqlType]) -> Error {
    Error::new(SqlState::UNDEFINED_FUNCTION, format!("function {name}({}) does not exist", listed(args))).with_hint(
        "No function matches the given name and argument types. You might need to add explicit type casts.",
    )
}

/// 42725.
pub(super) fn ambiguous_function(name: &str, args: &[SqlType]) -> Error {
    Error::new(SqlState::AMBIGUOUS_FUNCTION, format!("function {name}({}) is not unique", listed(args)))
        .with_hint("Could not choose a best candidate function. You might need to add explicit type casts.")
}

/// An argument brought to the type that an overload takes.
fn argument(arg: Expr, from: &SqlType, to: &SqlType, typing: &Typing<'_>) -> Result<Expr> {
    match from {
        SqlType::Unknown => typing.adapt(arg, to),
        // A modifier means nothing to a function.
        from if without_modifier(from) == *to => Ok(arg),
        from => cast_expr(arg, from, to, CastContext::Explicit, typing.style),
    }
}

/// The name that PostgreSQL has for what the planner calls otherwise.
fn postgresql_name(name: &str) -> &str {
    match name {
        "strpos" => "position",
        name => name,
    }
}

/// A call of a function of vectors or bit strings; gives the arguments back if it is none.
pub(super) fn function_call(
    planned: &str,
    args: Vec<Expr>,
    typing: &Typing<'_>,
) -> Result<std::result::Result<Expr, Vec<Expr>>> {
    let name = postgresql_name(planned);
    let Some(found) = overloads(name) else { return Ok(Err(args)) };
    let args = args.into_iter().map(|arg| typing.settle(arg)).collect::<Result<Vec<_>>>()?;
    let types = args.iter().map(|arg| Ok(without_modifier(&typing.of(arg)?))).collect::<Result<Vec<_>>>()?;
    if found.shared && !types.iter().any(is_vector_like) {
        return Ok(Err(args));
    }
    let chosen = match resolve(&found.args, &types) {
        Found::One(at) => &found.args[at],
        Found::None => return Err(no_function(name, &types)),
        Found::Ambiguous => return Err(ambiguous_function(name, &types)),
    };
    let args = args.into_iter().zip(types.iter().zip(chosen));
    let args = args.map(|(arg, (from, to))| argument(arg, from, to, typing)).collect::<Result<Vec<_>>>()?;
    super::resolve::strict(call(name, args)?, None, typing).map(Ok)
}

fn call(name: &str, args: Vec<Expr>) -> Result<Expr> {
    let function =
        extension_function(name).ok_or_else(|| Error::unsupported(format!("the function {name}")))?;
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function, args)))
}

/// Refuses an aggregate that does not take a vector or a bit string.
pub(super) fn check_aggregate(name: &str, args: &[Expr], typing: &Typing<'_>) -> Result<()> {
    if !matches!(name, "avg" | "sum" | "min" | "max" | "bit_and" | "bit_or" | "bit_xor") {
        return Ok(());
    }
    let types = args.iter().map(|arg| Ok(without_modifier(&typing.of(arg)?))).collect::<Result<Vec<_>>>()?;
    if matches!(name, "avg" | "sum") && types.contains(&SqlType::Unknown) {
        return Err(ambiguous_function(name, &types));
    }
    let takes = |ty: &SqlType| match ty {
        SqlType::Vector(_) | SqlType::Halfvec(_) => matches!(name, "avg" | "sum"),
        SqlType::Bit(_) | SqlType::Varbit(_) => name.starts_with("bit_"),
        ty => !is_vector_like(ty),
    };
    match types.iter().all(takes) {
        true => Ok(()),
        false => Err(no_function(name, &types)),
    }
}

/// Refuses an aggregate of types that PostgreSQL has none for.
pub(super) fn check_signature(name: &str, args: &[Expr], typing: &Typing<'_>) -> Result<()> {
    // Its arguments come in another order here.
    if name.starts_with("percentile") || name == "count" {
        return Ok(());
    }
    let types = args.iter().map(|arg| Ok(without_modifier(&typing.of(arg)?))).collect::<Result<Vec<_>>>()?;
    let oids: Vec<u32> = types.iter().map(type_oid).collect();
    match chosen_function(name, &oids) {
        Some(Choice::None) => Err(no_function(name, &types)),
        Some(Choice::Ambiguous) => Err(ambiguous_function(name, &types)),
        Some(Choice::Undetermined(_)) if super::resolve::all_untyped(args, &types) => {
            Err(super::resolve::undetermined())
        }
        Some(Choice::One(_) | Choice::Undetermined(_)) | None => Ok(()),
    }
}

const VECTOR: SqlType = SqlType::Vector(None);
const HALFVEC: SqlType = SqlType::Halfvec(None);
const SPARSEVEC: SqlType = SqlType::Sparsevec(None);
const BIT: SqlType = SqlType::Bit(None);
const VARBIT: SqlType = SqlType::Varbit(None);

/// An operator's functions with the types of their operands.
type Operators = &'static [(&'static str, SqlType, SqlType)];

/// The functions behind an operator of vectors or bit strings, and whether nothing else has such an operator.
fn operators(symbol: &str) -> Option<(Operators, bool)> {
    Some(match symbol {
        "<->" => (
            &[
                ("l2_distance", VECTOR, VECTOR),
                ("l2_distance", HALFVEC, HALFVEC),
                ("l2_distance", SPARSEVEC, SPARSEVEC),
            ],
            true,
        ),
        "<#>" => (
            &[
                ("vector_negative_inner_product", VECTOR, VECTOR),
                ("halfvec_negative_inner_product", HALFVEC, HALFVEC),
                ("sparsevec_negative_inner_product", SPARSEVEC, SPARSEVEC),
            ],
            true,
        ),
        "<=>" => (
            &[
                ("cosine_distance", VECTOR, VECTOR),
                ("cosine_distance", HALFVEC, HALFVEC),
                ("cosine_distance", SPARSEVEC, SPARSEVEC),
            ],
            true,
        ),
        "<+>" => (
            &[
                ("l1_distance", VECTOR, VECTOR),
                ("l1_distance", HALFVEC, HALFVEC),
                ("l1_distance", SPARSEVEC, SPARSEVEC),
            ],
            true,
        ),
        "<~>" => (&[("hamming_distance", BIT, BIT)], true),
        "<%>" => (&[("jaccard_distance", BIT, BIT)], true),
        "+" => (&[("vector_add", VECTOR, VECTOR), ("halfvec_add", HALFVEC, HALFVEC)], false),
        "-" => (&[("vector_sub", VECTOR, VECTOR), ("halfvec_sub", HALFVEC, HALFVEC)], false),
        "*" => (&[("vector_mul", VECTOR, VECTOR), ("halfvec_mul", HALFVEC, HALFVEC)], false),
        "/" | "%" | "^" => (&[], false),
        "||" => (
            &[
                ("vector_concat", VECTOR, VECTOR),
                ("halfvec_concat", HALFVEC, HALFVEC),
                ("bitcat", VARBIT, VARBIT),
            ],
            false,
        ),
        "&" => (&[("bitand", BIT, BIT)], false),
        "|" => (&[("bitor", BIT, BIT)], false),
        "#" => (&[("bitxor", BIT, BIT)], false),
        "<<" => (&[("bitshiftleft", BIT, SqlType::Int4)], false),
        ">>" => (&[("bitshiftright", BIT, SqlType::Int4)], false),
        _ => return None,
    })
}

/// An operator between settled operands; gives them back if it is none of vectors and bit strings.
pub(super) fn operator_call(
    symbol: &str,
    left: Expr,
    right: Expr,
    typing: &Typing<'_>,
) -> Result<std::result::Result<Expr, (Expr, Expr)>> {
    let Some((candidates, own)) = operators(symbol) else { return Ok(Err((left, right))) };
    let types = [without_modifier(&typing.of(&left)?), without_modifier(&typing.of(&right)?)];
    let text = symbol == "||" && types.iter().any(is_text);
    let array = symbol == "||" && types.iter().any(|ty| matches!(ty, SqlType::Array(_)));
    if text || array || (!own && !types.iter().any(is_vector_like)) {
        return Ok(Err((left, right)));
    }
    // A sparsevec has no concatenation of its own: what stands beside it is read as text.
    if symbol == "||" && types.contains(&SPARSEVEC) && types.contains(&SqlType::Unknown) {
        return Ok(Err((left, right)));
    }
    let args: Vec<Vec<SqlType>> = candidates.iter().map(|(_, a, b)| vec![a.clone(), b.clone()]).collect();
    let [a, b] = &types;
    // An untyped operand is of the other's type if there is such an operator.
    let guess = match (a, b) {
        (SqlType::Unknown, other) | (other, SqlType::Unknown) => [other.clone(), other.clone()],
        _ => types.clone(),
    };
    let exact = args.iter().position(|candidate| candidate.as_slice() == guess.as_slice());
    let found = match exact {
        Some(at) => Found::One(at),
        None => resolve(&args, &types),
    };
    let at = match found {
        Found::One(at) => at,
        Found::None => return Err(no_operator(symbol, a, b)),
        Found::Ambiguous => return Err(ambiguous_operator(symbol, a, b)),
    };
    let (name, to_left, to_right) = &candidates[at];
    let args = vec![argument(left, a, to_left, typing)?, argument(right, b, to_right, typing)?];
    call(name, args).map(Ok)
}

/// 42725.
pub(super) fn ambiguous_operator(symbol: &str, a: &SqlType, b: &SqlType) -> Error {
    Error::new(SqlState::AMBIGUOUS_FUNCTION, format!("operator is not unique: {a} {symbol} {b}"))
        .with_hint("Could not choose a best candidate operator. You might need to add explicit type casts.")
}

/// The type in which two values of these types are compared; `None` if they cannot be.
pub(super) fn common_type(a: &SqlType, b: &SqlType) -> Option<SqlType> {
    let (a, b) = (without_modifier(a), without_modifier(b));
    if !is_vector_like(&a) || !is_vector_like(&b) {
        return None;
    }
    match (a == b, is_implicit(&a, &b), is_implicit(&b, &a)) {
        (true, ..) => Some(a),
        // Both ways: bit and bit varying, of which the longer word is preferred.
        (_, true, true) => Some(VARBIT),
        (_, true, false) => Some(b),
        (_, false, true) => Some(a),
        _ => None,
    }
}

/// A comparison of two typed values of which one is a vector or a bit string.
pub(super) fn comparison(op: Operator, left: Expr, right: Expr, typing: &Typing<'_>) -> Result<Expr> {
    let (a, b) = (typing.of(&left)?, typing.of(&right)?);
    let ty = match (&a, &b) {
        (SqlType::Unknown, other) | (other, SqlType::Unknown) => Some(without_modifier(other)),
        _ => common_type(&a, &b),
    };
    let ty = ty.ok_or_else(|| no_operator(&op.to_string(), &a, &b))?;
    let (left, right) = (argument(left, &a, &ty, typing)?, argument(right, &b, &ty, typing)?);
    let canonical = !matches!(ty, SqlType::Vector(_) | SqlType::Halfvec(_));
    if canonical && matches!(op, Operator::Eq | Operator::NotEq) {
        // Equal bytes are equal values: an equality that joins and scans can use.
        return Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))));
    }
    let word = match op {
        Operator::Lt => "lt",
        Operator::LtEq => "le",
        Operator::Eq => "eq",
        Operator::NotEq => "ne",
        Operator::GtEq => "ge",
        _ => "gt",
    };
    let name = match ty {
        SqlType::Bit(_) | SqlType::Varbit(_) => format!("bit{word}"),
        ty => format!("{ty}_{word}"),
    };
    call(&name, vec![left, right])
}

/// Values of one column of a result or one list: all of one type, modifiers left out where they differ.
pub(super) fn alike(exprs: Vec<Expr>, typing: &Typing<'_>) -> Result<Vec<Expr>> {
    let types = exprs.iter().map(|expr| typing.of(expr)).collect::<Result<Vec<_>>>()?;
    let Some(first) = types.iter().find(|ty| is_vector_like(ty)) else { return Ok(exprs) };
    if types.iter().all(|ty| ty == first) {
        return Ok(exprs);
    }
    let mut target = without_modifier(first);
    for ty in types.iter().filter(|ty| **ty != SqlType::Unknown) {
        let ty = without_modifier(ty);
        if is_implicit(&target, &ty) && !is_implicit(&ty, &target) {
            target = ty;
        }
    }
    let style: &Arc<CastStyle> = typing.style;
    let cast = |(expr, from): (Expr, &SqlType)| match from {
        SqlType::Unknown => typing.adapt(expr, &target),
        from if is_implicit(&without_modifier(from), &target) => {
            cast_expr(expr, from, &target, CastContext::Explicit, style)
        }
        _ => Ok(expr),
    };
    exprs.into_iter().zip(&types).map(cast).collect()
}

/// The sort key of a window, whose frames want text.
pub(super) fn frame_key(expr: Expr, typing: &Typing<'_>) -> Result<Expr> {
    match typing.of(&expr)? {
        ty if is_vector_like(&ty) => call("order_key_text", vec![expr]),
        // Texts of them sort as they do.
        SqlType::Uuid => typing.cast(expr, &SqlType::Text),
        _ => Ok(expr),
    }
}

/// The type of a sort key whose bytes do not sort as its values do.
pub(super) fn badly_sorted(order: &[Sort], typing: &Typing<'_>) -> Result<Option<SqlType>> {
    let types = order.iter().map(|sort| typing.of(&sort.expr)).collect::<Result<Vec<_>>>()?;
    let unsorted =
        |ty: &SqlType| matches!(ty, SqlType::Sparsevec(_) | SqlType::Varbit(_) | SqlType::Bit(None));
    Ok(types.into_iter().find(unsorted))
}

/// A sort key: as it is, or bytes that sort as PostgreSQL sorts the values.
pub(super) fn sort_key(expr: Expr, typing: &Typing<'_>) -> Result<Expr> {
    match is_vector_like(&typing.of(&expr)?) {
        true => call("order_key", vec![expr]),
        false => Ok(expr),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overloads_are_chosen_as_postgresql_chooses() {
        let own = |types: &[SqlType]| types.iter().map(|ty| vec![ty.clone(), ty.clone()]).collect::<Vec<_>>();
        let distances = own(&[VECTOR, HALFVEC, SPARSEVEC]);
        let unknown = SqlType::Unknown;
        for (args, expected) in [
            ([VECTOR, VECTOR], Found::One(0)),
            ([VECTOR, HALFVEC], Found::One(1)),
            ([SPARSEVEC, VECTOR], Found::One(2)),
            ([VECTOR, unknown.clone()], Found::One(0)),
            ([unknown.clone(), HALFVEC], Found::One(1)),
            ([unknown.clone(), unknown], Found::Ambiguous),
            ([VECTOR, SqlType::Array(Box::new(SqlType::Float4))], Found::None),
            ([SqlType::Int4, SqlType::Int4], Found::None),
            ([VECTOR, BIT], Found::None),
        ] {
            assert_eq!(resolve(&distances, &args), expected, "{args:?}");
        }
        assert_eq!(resolve(&own(&[BIT, VARBIT]), &[BIT, VARBIT]), Found::One(1));
        let norms = vec![vec![HALFVEC], vec![SPARSEVEC]];
        assert_eq!(resolve(&norms, &[VECTOR]), Found::Ambiguous);
        assert_eq!(resolve(&norms, &[HALFVEC]), Found::One(0));
    }
}
