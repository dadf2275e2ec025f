//! percentile_disc, mode and percentile_cont of several fractions, in terms of the sorted array of their values.

use super::prepare::{call, cast};
use super::sets::last_name;
use datafusion::sql::sqlparser::ast::*;

/// The call in whose place another one stands, if it is one of these.
pub(super) fn of_array(function: &Function) -> Option<Expr> {
    let [by] = function.within_group.as_slice() else { return None };
    let FunctionArguments::List(list) = &function.args else { return None };
    if function.over.is_some() || list.duplicate_treatment.is_some() {
        return None;
    }
    let name = last_name(&function.name);
    let (target, fraction) = match (name.as_str(), list.args.as_slice()) {
        ("mode", []) => ("mode_of", None),
        ("percentile_disc", [FunctionArg::Unnamed(FunctionArgExpr::Expr(fraction))]) => {
            ("percentile_disc_of", Some(fraction))
        }
        ("percentile_cont", [FunctionArg::Unnamed(FunctionArgExpr::Expr(fraction))])
            if is_array(fraction) =>
        {
            ("percentile_cont_of", Some(fraction))
        }
        _ => return None,
    };
    let mut by = by.clone();
    if target == "percentile_cont_of" {
        by.expr = cast(Expr::Nested(Box::new(by.expr)), DataType::DoublePrecision);
    }
    let mut arguments = vec![sorted_array(by, function.filter.clone())];
    arguments.extend(fraction.cloned());
    Some(call(target, arguments))
}

fn is_array(expr: &Expr) -> bool {
    match expr {
        Expr::Array(_) => true,
        Expr::Nested(inner) => is_array(inner),
        Expr::Cast { data_type, .. } => matches!(data_type, DataType::Array(_)),
        _ => false,
    }
}

/// `array_agg(x ORDER BY x)`.
fn sorted_array(by: OrderByExpr, filter: Option<Box<Expr>>) -> Expr {
    let mut collected = call("array_agg", vec![by.expr.clone()]);
    if let Expr::Function(function) = &mut collected {
        function.filter = filter;
        if let FunctionArguments::List(list) = &mut function.args {
            list.clauses.push(FunctionArgumentClause::OrderBy(vec![by]));
        }
    }
    collected
}
