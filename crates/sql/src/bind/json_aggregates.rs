//! json_agg and its kin: the aggregates that collect values as JSON, in terms of those that there are.

use super::prepare::{call, cast};
use datafusion::sql::sqlparser::ast::*;

/// json_agg and jsonb_agg with ORDER BY: the array, put together from array_agg's, which sorts.
pub(super) fn ordered(function: &Function) -> Option<Expr> {
    let to_json = match function.name.to_string().to_ascii_lowercase().as_str() {
        "json_agg" => "to_json",
        "jsonb_agg" => "to_jsonb",
        _ => return None,
    };
    let mut array = function.clone();
    let FunctionArguments::List(list) = &mut array.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(value))] = list.args.as_mut_slice() else { return None };
    if list.duplicate_treatment == Some(DuplicateTreatment::Distinct)
        || !list.clauses.iter().any(|clause| matches!(clause, FunctionArgumentClause::OrderBy(_)))
    {
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
    if let FunctionArguments::List(list) = &mut function.args
        && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(value))) = list.args.last_mut()
    {
        *value = call(to_json, vec![value.clone()]);
    }
}
