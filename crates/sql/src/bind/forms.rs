//! Calls that have a grammar of their own: TRIM, OVERLAY, POSITION, SUBSTR, OVERLAPS, arguments by name. Each is a plain call of a
//! function.

use super::names::folded;
use super::prepare::{call, cast, number_in};
use super::rows::tuple;
use super::sets::last_name;
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

/// The names of a function's arguments, and how many of them must be given; what is left out of the others is 0.
fn argument_names(function: &str) -> Option<(&'static [&'static str], usize)> {
    Some(match function {
        "make_interval" => (&["years", "months", "weeks", "days", "hours", "mins", "secs"], 0),
        "make_date" => (&["year", "month", "day"], 3),
        "make_time" => (&["hour", "min", "sec"], 3),
        "make_timestamp" => (&["year", "month", "mday", "hour", "min", "sec"], 6),
        _ => return None,
    })
}

/// `make_interval(days => 3)`: arguments go where their names are.
pub(super) fn place_named_arguments(function: &mut Function) -> Result<()> {
    let FunctionArguments::List(list) = &mut function.args else { return Ok(()) };
    let first_named = list.args.iter().position(|arg| !matches!(arg, FunctionArg::Unnamed(_)));
    let name = last_name(&function.name);
    let (Some(first_named), Some((names, wanted))) = (first_named, argument_names(&name)) else {
        return Ok(());
    };
    let missing = || {
        let message = format!("function {name} with these named arguments does not exist");
        Error::new(SqlState::UNDEFINED_FUNCTION, message)
    };
    let mut named: Vec<Option<FunctionArg>> = vec![None; names.len()];
    for (position, arg) in list.args.iter().enumerate() {
        let (at, expr) = match arg {
            FunctionArg::Unnamed(expr) if position < first_named => (Some(position), expr),
            FunctionArg::Unnamed(_) => {
                let message = "positional argument cannot follow named argument";
                return Err(Error::new(SqlState::SYNTAX_ERROR, message));
            }
            FunctionArg::Named { name, arg, .. } => (names.iter().position(|it| *it == folded(name)), arg),
            FunctionArg::ExprNamed { name: Expr::Identifier(name), arg, .. } => {
                (names.iter().position(|it| *it == folded(name)), arg)
            }
            FunctionArg::ExprNamed { .. } => (None, &FunctionArgExpr::Wildcard),
        };
        let place = at.and_then(|at| named.get_mut(at)).filter(|place| place.is_none());
        *place.ok_or_else(missing)? = Some(FunctionArg::Unnamed(expr.clone()));
    }
    if named.iter().take(wanted).any(Option::is_none) {
        return Err(missing());
    }
    let zero = cast(Expr::value(Value::Number("0".to_owned(), false)), DataType::Int4(None));
    let zero = FunctionArg::Unnamed(FunctionArgExpr::Expr(zero));
    list.args = named.into_iter().map(|arg| arg.unwrap_or_else(|| zero.clone())).collect();
    Ok(())
}

/// `current_timestamp(2)`: the time with so many digits of its seconds.
pub(super) fn rounded_clock(function: &Function) -> Option<Expr> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(digits))] = list.args.as_slice() else { return None };
    let Expr::Value(ValueWithSpan { value: Value::Number(digits, _), .. }) = number_in(digits)? else {
        return None;
    };
    let digits = Some(digits.parse().ok()?);
    let name = last_name(&function.name);
    let ty = match name.as_str() {
        "current_timestamp" => DataType::Timestamp(digits, TimezoneInfo::WithTimeZone),
        "localtimestamp" => DataType::Timestamp(digits, TimezoneInfo::None),
        "localtime" => DataType::Time(digits, TimezoneInfo::None),
        _ => return None,
    };
    Some(cast(call(&name, Vec::new()), ty))
}
