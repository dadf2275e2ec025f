//! Row values: `(a, b) = (c, d)`, `(a, b) IN (…)`, and rows compared with subqueries. DataFusion has no rows: each becomes
//! comparisons of its columns.

use super::prepare::{bare_select, call, query_of};
use datafusion::sql::sqlparser::ast::*;

/// The columns of `(a, b)` or `ROW(a, b)`.
pub(super) fn tuple(expr: &Expr) -> Option<Vec<Expr>> {
    match expr {
        Expr::Tuple(items) => Some(items.clone()),
        Expr::Nested(inner) => tuple(inner),
        Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("row") => {
            let FunctionArguments::List(list) = &function.args else { return None };
            let item = |arg: &FunctionArg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
                _ => None,
            };
            list.args.iter().map(item).collect()
        }
        _ => None,
    }
}

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn nested(expr: Expr) -> Expr {
    Expr::Nested(Box::new(expr))
}

fn joined(op: &BinaryOperator, all: impl Iterator<Item = Expr>) -> Option<Expr> {
    all.reduce(|a, b| nested(binary(a, op.clone(), b)))
}

/// `(a, b) < (c, d)` and its kin, column by column.
pub(super) fn comparison(left: &Expr, op: &BinaryOperator, right: &Expr) -> Option<Expr> {
    let left = tuple(left)?;
    if let Some(query) = subquery(right) {
        return to_subquery(left, op, query);
    }
    compare(left, op, tuple(right)?)
}

fn subquery(expr: &Expr) -> Option<&Query> {
    match expr {
        Expr::Subquery(query) => Some(query),
        Expr::Nested(inner) => subquery(inner),
        _ => None,
    }
}

fn compare(left: Vec<Expr>, op: &BinaryOperator, right: Vec<Expr>) -> Option<Expr> {
    if left.len() != right.len() {
        return None;
    }
    let pairs = || left.iter().cloned().zip(right.iter().cloned());
    match op {
        BinaryOperator::Eq => {
            joined(&BinaryOperator::And, pairs().map(|(a, b)| binary(a, BinaryOperator::Eq, b)))
        }
        BinaryOperator::NotEq => {
            joined(&BinaryOperator::Or, pairs().map(|(a, b)| binary(a, BinaryOperator::NotEq, b)))
        }
        BinaryOperator::Lt | BinaryOperator::LtEq | BinaryOperator::Gt | BinaryOperator::GtEq => {
            let strict = match op {
                BinaryOperator::Lt | BinaryOperator::LtEq => BinaryOperator::Lt,
                _ => BinaryOperator::Gt,
            };
            let mut result: Option<Expr> = None;
            for (a, b) in pairs().rev() {
                result = Some(match result {
                    None => binary(a, op.clone(), b),
                    Some(rest) => {
                        let less = binary(a.clone(), strict.clone(), b.clone());
                        let equal = binary(a, BinaryOperator::Eq, b);
                        let rest = nested(binary(equal, BinaryOperator::And, rest));
                        nested(binary(less, BinaryOperator::Or, rest))
                    }
                });
            }
            result
        }
        _ => None,
    }
}

/// `(a, b) IN ((1, 2), (3, 4))`.
pub(super) fn within(expr: &Expr, list: &[Expr], negated: bool) -> Option<Expr> {
    let left = tuple(expr)?;
    let all: Option<Vec<Expr>> =
        list.iter().map(|item| compare(left.clone(), &BinaryOperator::Eq, tuple(item)?)).collect();
    let any = joined(&BinaryOperator::Or, all?.into_iter())?;
    Some(if negated { not(any) } else { any })
}

fn not(expr: Expr) -> Expr {
    Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(nested(expr)) }
}

/// Names for a subquery's columns that nobody else has.
fn columns(count: usize) -> Vec<Ident> {
    (0..count).map(|index| Ident::with_quote('"', format!("row\u{1}{index}"))).collect()
}

/// `SELECT … FROM (query) AS q(columns)`.
fn over(query: &Query, columns: &[Ident], item: Expr, condition: Option<Expr>) -> Query {
    let names = columns.iter().map(|name| TableAliasColumnDef { name: name.clone(), data_type: None });
    let alias = TableAlias {
        explicit: true,
        name: Ident::with_quote('"', "\u{1}rows"),
        columns: names.collect(),
        at: None,
    };
    let relation = TableFactor::Derived {
        lateral: false,
        subquery: Box::new(query.clone()),
        alias: Some(alias),
        sample: None,
    };
    let mut select = bare_select();
    select.projection = vec![SelectItem::UnnamedExpr(item)];
    select.from = vec![TableWithJoins { relation, joins: Vec::new() }];
    select.selection = condition;
    query_of(select)
}

/// `(a, b) = (SELECT c, d …)`: the comparison of the subquery's one row.
fn to_subquery(left: Vec<Expr>, op: &BinaryOperator, query: &Query) -> Option<Expr> {
    let names = columns(left.len());
    let right = names.iter().cloned().map(Expr::Identifier).collect();
    let compared = compare(left, op, right)?;
    Some(Expr::Subquery(Box::new(over(query, &names, compared, None))))
}

/// `(a, b) IN (SELECT c, d …)` where NULL and false mean the same: the condition of a WHERE.
pub(super) fn semi_join(condition: &mut Expr) {
    match condition {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            semi_join(left);
            semi_join(right);
        }
        Expr::Nested(inner) => semi_join(inner),
        Expr::InSubquery { expr, subquery, negated } => {
            let Some(left) = tuple(expr) else { return };
            let names = columns(left.len());
            let right = names.iter().cloned().map(Expr::Identifier).collect();
            let Some(equal) = compare(left, &BinaryOperator::Eq, right) else { return };
            // A row that may be the same keeps NOT IN from being true.
            let equal = if *negated { Expr::IsNotFalse(Box::new(nested(equal))) } else { equal };
            let one = Expr::value(Value::Number("1".to_owned(), false));
            let subquery = Box::new(over(subquery, &names, one, Some(equal)));
            *condition = Expr::Exists { subquery, negated: *negated };
        }
        _ => {}
    }
}

/// The same as a value: true if a row is equal, NULL if one may be, false otherwise.
pub(super) fn within_subquery(expr: &Expr, query: &Query, negated: bool) -> Option<Expr> {
    let left = tuple(expr)?;
    let names = columns(left.len());
    let right = names.iter().cloned().map(Expr::Identifier).collect();
    let equal = compare(left, &BinaryOperator::Eq, right)?;
    let any = call("bool_or", vec![equal]);
    let found = Expr::Subquery(Box::new(over(query, &names, any, None)));
    let no = Expr::value(Value::Boolean(false));
    let rows = over(query, &names, Expr::value(Value::Number("1".to_owned(), false)), None);
    // bool_or passes over NULLs: an unknown comparison makes anything but true unknown.
    let unknown = Expr::IsNull(Box::new(nested(compare(
        tuple(expr)?,
        &BinaryOperator::Eq,
        names.iter().cloned().map(Expr::Identifier).collect(),
    )?)));
    let unknown = Expr::Exists { subquery: Box::new(with_condition(rows, unknown)), negated: false };
    let case = Expr::Case {
        case_token: helpers::attached_token::AttachedToken::empty(),
        end_token: helpers::attached_token::AttachedToken::empty(),
        operand: None,
        conditions: vec![
            CaseWhen { condition: found, result: Expr::value(Value::Boolean(true)) },
            CaseWhen { condition: unknown, result: Expr::value(Value::Null) },
        ],
        else_result: Some(Box::new(no)),
    };
    Some(if negated { not(case) } else { case })
}

fn with_condition(mut query: Query, condition: Expr) -> Query {
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.selection = Some(condition);
    }
    query
}
