//! json_agg and its kin: the aggregates that collect values as JSON, in terms of those that there are.

use super::prepare::{call, cast};
use datafusion::sql::sqlparser::ast::*;

/// json_agg and its kin collect values that are JSON already. What is DISTINCT is sorted by its arguments, as PostgreSQL does
/// to find what is equal.
pub(super) fn collected(function: &mut Function) {
    let name = function.name.to_string().to_ascii_lowercase();
    let collect = match name.split_once("_agg") {
        Some((kind @ ("json" | "jsonb"), rest @ ("" | "_strict"))) => format!("{kind}_collect{rest}"),
        Some((
            kind @ ("json_object" | "jsonb_object"),
            rest @ ("" | "_strict" | "_unique" | "_unique_strict"),
        )) => format!("{kind}_collect{rest}"),
        Some(("string", "")) => name.clone(),
        _ => return,
    };
    let FunctionArguments::List(list) = &mut function.args else { return };
    sorted_if_distinct(list);
    if collect == name {
        return;
    }
    let to_json = if collect.starts_with("jsonb") { "to_jsonb" } else { "to_json" };
    function.name = ObjectName::from(vec![Ident::new(collect)]);
    if let [FunctionArg::Unnamed(FunctionArgExpr::Expr(key)), _] = list.args.as_mut_slice() {
        *key = as_key(key.clone());
    }
    if let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(value))) = list.args.last_mut() {
        *value = call(to_json, vec![value.clone()]);
    }
}

/// A key is a value as JSON has it, without the quotes of a string.
fn as_key(key: Expr) -> Expr {
    if matches!(key, Expr::Value(_)) {
        return cast(key, DataType::Text);
    }
    let whole = Expr::value(Value::SingleQuotedString("{}".to_owned()));
    let json = Box::new(call("to_json", vec![key]));
    Expr::Nested(Box::new(Expr::BinaryOp {
        left: json,
        op: BinaryOperator::HashLongArrow,
        right: Box::new(whole),
    }))
}

fn sorted_if_distinct(list: &mut FunctionArgumentList) {
    let is_sorted = list.clauses.iter().any(|clause| matches!(clause, FunctionArgumentClause::OrderBy(_)));
    if list.duplicate_treatment != Some(DuplicateTreatment::Distinct) || is_sorted {
        return;
    }
    let key = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) if !matches!(expr, Expr::Value(_)) => {
            Some(OrderByExpr {
                expr: expr.clone(),
                options: OrderByOptions { asc: None, nulls_first: None },
                with_fill: None,
            })
        }
        _ => None,
    };
    let keys: Vec<OrderByExpr> = list.args.iter().filter_map(key).collect();
    if !keys.is_empty() {
        list.clauses.push(FunctionArgumentClause::OrderBy(keys));
    }
}
