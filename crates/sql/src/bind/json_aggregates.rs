//! json_agg and its kin: the aggregates that collect values as JSON, in terms of those that there are.

use super::prepare::{call, cast};
use datafusion::sql::sqlparser::ast::*;

/// json_agg and jsonb_agg with DISTINCT or ORDER BY: the array, put together from array_agg's, which sorts.
pub(super) fn ordered(function: &Function) -> Option<Expr> {
    let to_json = match function.name.to_string().to_ascii_lowercase().as_str() {
        "json_agg" => "to_json",
        "jsonb_agg" => "to_jsonb",
        _ => return None,
    };
    let mut array = function.clone();
    let FunctionArguments::List(list) = &mut array.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(value))] = list.args.as_mut_slice() else { return None };
    let ordered = list.clauses.iter().any(|clause| matches!(clause, FunctionArgumentClause::OrderBy(_)));
    if list.duplicate_treatment == Some(DuplicateTreatment::Distinct) {
        // Different values come in their order where nothing else is said.
        if !ordered {
            let options = OrderByOptions { asc: None, nulls_first: None };
            let by = OrderByExpr { expr: value.clone(), options, with_fill: None };
            list.clauses.push(FunctionArgumentClause::OrderBy(vec![by]));
        }
        array.name = ObjectName::from(vec![Ident::new("array_agg")]);
        let items = if to_json == "to_json" { "json_items" } else { to_json };
        return Some(call(items, vec![Expr::Function(array)]));
    }
    if !ordered {
        return None;
    }
    *value = call(to_json, vec![value.clone()]);
    array.name = ObjectName::from(vec![Ident::new("array_agg")]);
    let array = Expr::Function(array);
    if to_json == "to_jsonb" {
        return Some(call(to_json, vec![array]));
    }
    let text = |text: &str| Expr::value(Value::SingleQuotedString(text.to_owned()));
    let items = call("array_to_string", vec![array, text(", "), text("null")]);
    let join = |left: Expr, right: Expr| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::StringConcat,
        right: Box::new(right),
    };
    Some(cast(Expr::Nested(Box::new(join(join(text("["), items), text("]")))), DataType::JSON))
}

/// json_agg and its kin collect values that are JSON already.
pub(super) fn collected(function: &mut Function) {
    let name = function.name.to_string().to_ascii_lowercase();
    let (collect, to_json) = match name.as_str() {
        "json_agg" => ("json_collect", "to_json"),
        "jsonb_agg" => ("jsonb_collect", "to_jsonb"),
        "json_object_agg" => ("json_object_collect", "to_json"),
        "jsonb_object_agg" => ("jsonb_object_collect", "to_jsonb"),
        _ => return,
    };
    function.name = ObjectName::from(vec![Ident::new(collect)]);
    let FunctionArguments::List(list) = &mut function.args else { return };
    match list.args.as_mut_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(value))] => {
            *value = call(to_json, vec![value.clone()]);
        }
        [
            FunctionArg::Unnamed(FunctionArgExpr::Expr(key)),
            FunctionArg::Unnamed(FunctionArgExpr::Expr(value)),
        ] => {
            *key = as_key(key.clone());
            *value = call(to_json, vec![value.clone()]);
        }
        _ => {}
    }
}

/// A key is a value as JSON has it, without the quotes of a string.
fn as_key(key: Expr) -> Expr {
    if matches!(key, Expr::Value(_)) {
        return key;
    }
    let whole = Expr::value(Value::SingleQuotedString("{}".to_owned()));
    let json = Box::new(call("to_json", vec![key]));
    Expr::Nested(Box::new(Expr::BinaryOp {
        left: json,
        op: BinaryOperator::HashLongArrow,
        right: Box::new(whole),
    }))
}
