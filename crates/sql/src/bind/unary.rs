//! Operators of one operand that the engine has otherwise: `-x` and `~x`.

use super::coerce::{boxed, call};
use super::overloads;
use super::types::is_integer;
use super::typing::Typing;
use crate::functions::int_math;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use quiver_base::{Result, SqlType};

/// `-x`; the engine's own lets the least integer wrap around.
pub(super) fn negative(inner: Expr, typing: &Typing<'_>) -> Result<Expr> {
    let ty = typing.of(&inner)?;
    if !is_integer(&ty) {
        return Ok(Expr::Negative(boxed(inner)));
    }
    let zero = typing.cast(super::literal(ScalarValue::Int16(Some(0)), &SqlType::Int2), &ty)?;
    Ok(call(int_math("-", &ty), vec![zero, inner]))
}

/// `~x`, of bit strings or integers.
pub(super) fn bit_not(args: Vec<Expr>, typing: &Typing<'_>) -> Result<Expr> {
    let [arg] = args.as_slice() else { return Err(quiver_base::Error::internal("~ takes one operand")) };
    let ty = typing.of(arg)?;
    match &ty {
        ty if is_integer(ty) => {
            let minus_one = super::literal(ScalarValue::Int16(Some(-1)), &SqlType::Int2);
            let minus_one = typing.cast(minus_one, ty)?;
            let arg = boxed(arg.clone());
            Ok(Expr::BinaryExpr(BinaryExpr::new(arg, Operator::BitwiseXor, boxed(minus_one))))
        }
        SqlType::Bit(_) | SqlType::Varbit(_) => {
            match overloads::function_call("bitnot", args, typing)? {
                Ok(call) => Ok(call),
                Err(_) => Err(quiver_base::Error::internal("~ of bit strings is bitnot")),
            }
        }
        SqlType::Unknown => Err(quiver_base::Error::new(
            quiver_base::SqlState::AMBIGUOUS_FUNCTION,
            "operator is not unique: ~ unknown",
        )
        .with_hint("Could not choose a best candidate operator. You might need to add explicit type casts.")),
        ty => Err(quiver_base::Error::new(
            quiver_base::SqlState::UNDEFINED_FUNCTION,
            format!("operator does not exist: ~ {ty}"),
        )
        .with_hint(
            "No operator matches the given name and argument type. You might need to add an explicit type cast.",
        )),
    }
}
