//! `ARRAY(SELECT …)`, and subqueries that ANY and ALL compare with: the rows as an array.

use super::prepare::{bare_select, call, number_in, query_of};
use super::sets;
use datafusion::sql::sqlparser::ast::*;
use quiver_base::{Error, Result};

/// `ARRAY(SELECT x … ORDER BY y)` is `(SELECT array_agg(x ORDER BY y) …)`, with an empty array for NULL.
pub(super) fn array_subquery(function: &mut Function) -> Option<Expr> {
    let FunctionArguments::Subquery(query) = &function.args else { return None };
    array_query((**query).clone())
}

/// The rows of a subquery as an array, for ANY and ALL.
pub(super) fn array_of(query: &Query) -> Result<Expr> {
    array_query(query.clone()).ok_or_else(|| Error::unsupported(format!("ANY or ALL of ({query})")))
}

fn array_query(mut query: Query) -> Option<Expr> {
    let inner = Ident::with_quote('"', "\u{1}array");
    let mut clauses = Vec::new();
    let argument;
    match query.body.as_mut() {
        // A plain SELECT: aggregate in place, so that correlated columns stay one level deep.
        SetExpr::Select(select) if is_plain(select) && query.limit_clause.is_none() => {
            argument = match select.projection.first()? {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => expr.clone(),
                _ => return None,
            };
            if let Some(OrderBy { kind: OrderByKind::Expressions(exprs), .. }) = query.order_by.take() {
                let by_position = |item: &mut OrderByExpr| {
                    if number_in(&item.expr).is_some() {
                        item.expr = argument.clone();
                    }
                };
                let mut exprs = exprs;
                exprs.iter_mut().for_each(by_position);
                clauses.push(FunctionArgumentClause::OrderBy(exprs));
            }
            let aggregate = aggregate(argument, clauses);
            select.projection = vec![SelectItem::ExprWithAlias { expr: aggregate, alias: inner }];
        }
        _ => {
            let column = Expr::Identifier(inner.clone());
            let outer = derived(query, inner.clone());
            query = outer;
            if let SetExpr::Select(select) = query.body.as_mut() {
                let aggregate = aggregate(column, Vec::new());
                select.projection = vec![SelectItem::ExprWithAlias { expr: aggregate, alias: inner }];
            }
        }
    }
    let subquery = Expr::Subquery(Box::new(query));
    Some(call("array_or_empty", vec![subquery]))
}

fn is_plain(select: &Select) -> bool {
    select.distinct.is_none()
        && select.having.is_none()
        && matches!(&select.group_by, GroupByExpr::Expressions(exprs, _) if exprs.is_empty())
        && matches!(
            select.projection.as_slice(),
            [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] if !sets::makes_rows(expr)
        )
}

fn aggregate(argument: Expr, clauses: Vec<FunctionArgumentClause>) -> Expr {
    let Expr::Function(mut function) = call("array_agg", vec![argument]) else {
        return Expr::value(Value::Null);
    };
    if let FunctionArguments::List(list) = &mut function.args {
        list.clauses = clauses;
    }
    Expr::Function(function)
}

/// `SELECT … FROM (query) AS q (column)`.
fn derived(query: Query, column: Ident) -> Query {
    let columns = vec![TableAliasColumnDef { name: column, data_type: None }];
    let alias = TableAlias { explicit: true, name: Ident::with_quote('"', "\u{1}q"), columns, at: None };
    let factor =
        TableFactor::Derived { lateral: false, subquery: Box::new(query), alias: Some(alias), sample: None };
    let mut outer = bare_select();
    outer.from = vec![TableWithJoins { relation: factor, joins: Vec::new() }];
    query_of(outer)
}
