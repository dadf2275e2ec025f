//! Days beside points in time: compared as their first instant, also those that are further away than timestamps go.

use super::cast_kernel::{CastContext, cast_array};
use super::casts::literal;
use super::typing::Typing;
use crate::calendar::DAY_US;
use crate::functions::Function;
use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{Date32Type, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, Volatility};
use quiver_base::{Result, SqlType};
use std::sync::Arc;

/// A day as an operand of a comparison of timestamps; whatever else is cast.
pub(super) fn as_bound(expr: Expr, to: &SqlType, typing: &Typing<'_>) -> Result<Expr> {
    if typing.of(&expr)? != SqlType::Date || matches!(expr, Expr::Placeholder(_)) {
        return typing.cast(expr, to);
    }
    if let Expr::Literal(ScalarValue::Date32(Some(day)), _) = &expr {
        let day = *day;
        return match i64::from(day).checked_mul(DAY_US) {
            Some(_) => typing.cast(expr, to),
            None => {
                let edge = ScalarValue::TimestampMicrosecond(Some(edge(day)), None);
                typing.cast(literal(edge, &SqlType::Timestamp(None)), to)
            }
        };
    }
    let (style, ty) = (typing.style.clone(), to.clone());
    let volatility =
        if matches!(to, SqlType::Timestamptz(_)) { Volatility::Stable } else { Volatility::Immutable };
    let function = Function::new(&format!("first instant as {to}"), volatility, to.clone(), move |args| {
        let days = args.array(0).as_primitive::<Date32Type>();
        let first = |day: i32| i64::from(day).checked_mul(DAY_US).unwrap_or_else(|| edge(day));
        let times: ArrayRef = Arc::new(days.unary::<_, TimestampMicrosecondType>(first));
        cast_array(&times, &SqlType::Timestamp(None), &ty, CastContext::Explicit, &style)
    });
    Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function.udf(), vec![expr])))
}

/// Past the last timestamp, or before the first.
fn edge(day: i32) -> i64 {
    if day > 0 { i64::MAX } else { i64::MIN }
}
