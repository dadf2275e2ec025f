//! Calls that have a grammar of their own: TRIM, OVERLAY, POSITION, SUBSTR, OVERLAPS. Each is a call of a function.

use super::prepare::call;
use super::rows::tuple;
use datafusion::sql::sqlparser::ast::*;
use quiver_base::{Error, Result, SqlState};

/// The call that a form stands for; `None` of what is none.
pub(super) fn called(expr: &Expr) -> Result<Option<Expr>> {
    Ok(match expr {
        Expr::Trim { trim_where, trim_what, expr, trim_characters: None } => {
            let name = match trim_where {
                Some(TrimWhereField::Leading) => "ltrim",
                Some(TrimWhereField::Trailing) => "rtrim",
                _ => "btrim",
            };
            let what = trim_what.iter().map(|what| (**what).clone());
            Some(call(name, std::iter::once((**expr).clone()).chain(what).collect()))
        }
        Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
            let parts = [Some(expr), Some(overlay_what), Some(overlay_from), overlay_for.as_ref()];
            Some(call("overlay", parts.into_iter().flatten().map(|part| (**part).clone()).collect()))
        }
        Expr::Position { expr, r#in } => Some(call("position", vec![(**r#in).clone(), (**expr).clone()])),
        Expr::Substring { expr, substring_from: Some(from), substring_for, shorthand: true, .. } => {
            let parts = [Some(expr), Some(from), substring_for.as_ref()];
            Some(call("substr", parts.into_iter().flatten().map(|part| (**part).clone()).collect()))
        }
        Expr::BinaryOp { left, op: BinaryOperator::Overlaps, right } => {
            let (Some(left), Some(right)) = (tuple(left), tuple(right)) else { return Ok(None) };
            for (side, row) in [("left", &left), ("right", &right)] {
                if row.len() != 2 {
                    let message = format!("wrong number of parameters on {side} side of OVERLAPS expression");
                    return Err(Error::new(SqlState::SYNTAX_ERROR, message));
                }
            }
            Some(call("overlaps", left.into_iter().chain(right).collect()))
        }
        _ => None,
    })
}
