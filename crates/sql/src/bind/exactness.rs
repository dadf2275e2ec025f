//! Forms whose plain reading by the planner would give another answer than PostgreSQL's: put right in the tree, or refused.

use super::names::folded;
use super::prepare::cast;
use datafusion::sql::sqlparser::ast::*;
use quiver_base::{Error, Result};
use std::ops::ControlFlow;

/// Minus binds tighter than `^`: `-2 ^ 2` is 4.
pub(super) fn bind_minus(expr: &mut Expr) {
    let Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } = expr else { return };
    if !matches!(inner.as_ref(), Expr::BinaryOp { op: BinaryOperator::PGExp, .. }) {
        return;
    }
    let mut power = (**inner).clone();
    negate_base(&mut power);
    *expr = power;
}

fn negate_base(expr: &mut Expr) {
    if let Expr::BinaryOp { left, op: BinaryOperator::PGExp, .. } = expr {
        return negate_base(left);
    }
    *expr = Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(expr.clone()) };
}

/// An integer past bigint is numeric: read from its digits, as the planner's own reading stops at 38.
pub(super) fn large_number(text: &str) -> Option<Expr> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let numeric = DataType::Numeric(ExactNumberInfo::None);
    digits.then(|| cast(Expr::value(Value::SingleQuotedString(text.to_owned())), numeric))
}

/// A number that is cast to a double is read as one: as a numeric it may have no place.
pub(super) fn float_literal(expr: &mut Expr, to: &DataType) {
    let float = matches!(
        to,
        DataType::Float8
            | DataType::DoublePrecision
            | DataType::Double(_)
            | DataType::Float(_)
            | DataType::Float4
            | DataType::Real
    );
    if let (true, Expr::Value(ValueWithSpan { value: Value::Number(text, _), .. })) = (float, &*expr) {
        *expr = Expr::value(Value::SingleQuotedString(text.replace('_', "")));
    }
}

/// `t.*` as a value.
pub(super) fn is_row(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_row(inner),
        Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => true,
        Expr::CompoundFieldAccess { access_chain, .. } => {
            matches!(access_chain.last(), Some(AccessExpr::Dot(Expr::Wildcard(_))))
        }
        _ => false,
    }
}

/// DISTINCT ON (1) means the first column of the select list.
pub(super) fn distinct_on_positions(select: &mut Select) {
    let items: Vec<Option<Expr>> = select
        .projection
        .iter()
        .map(|item| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr.clone()),
            _ => None,
        })
        .collect();
    let Some(Distinct::On(exprs)) = &mut select.distinct else { return };
    for expr in exprs {
        let position = match expr {
            Expr::Value(ValueWithSpan { value: Value::Number(text, _), .. }) => text.parse::<usize>().ok(),
            _ => None,
        };
        let before = position.and_then(|position| position.checked_sub(1)).unwrap_or(usize::MAX);
        let wildcard = items.iter().take(before).any(Option::is_none);
        if let (false, Some(Some(item))) = (wildcard, items.get(before)) {
            *expr = item.clone();
        }
    }
}

/// The planner drops the order of a subquery in FROM unless it has a limit: it gets one, which the plan pass takes away.
pub(super) fn keep_order(factor: &mut TableFactor) {
    let TableFactor::Derived { subquery, .. } = factor else { return };
    if subquery.order_by.is_some() && subquery.limit_clause.is_none() && subquery.fetch.is_none() {
        let limit = Expr::value(Value::Number(i64::MAX.to_string(), false));
        subquery.limit_clause =
            Some(LimitClause::LimitOffset { limit: Some(limit), offset: None, limit_by: Vec::new() });
    }
}

/// An outer join's USING merges columns: names of either side's own column are refused then.
pub(super) fn check_select(select: &Select) -> Result<()> {
    let mut merged: Vec<String> = Vec::new();
    for join in select.from.iter().flat_map(|from| &from.joins) {
        let (JoinOperator::FullOuter(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::Right(constraint)) = &join.join_operator
        else {
            continue;
        };
        match constraint {
            JoinConstraint::Using(names) => {
                for name in names {
                    merged.extend(name.0.last().and_then(|part| part.as_ident()).map(folded));
                }
            }
            JoinConstraint::Natural => {
                return Err(Error::unsupported("NATURAL with a RIGHT or FULL JOIN"));
            }
            _ => {}
        }
    }
    if merged.is_empty() {
        return Ok(());
    }
    let own = visit_expressions(select, |expr| match expr {
        Expr::CompoundIdentifier(parts) if parts.last().is_some_and(|it| merged.contains(&folded(it))) => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    let whole = select.projection.iter().any(|item| matches!(item, SelectItem::QualifiedWildcard(..)));
    match own.is_break() || whole {
        true => Err(Error::unsupported("one side's own column of a RIGHT or FULL JOIN with USING")),
        false => Ok(()),
    }
}

/// A WITH query that is read twice is planned twice: refused where that shows.
pub(crate) fn check_query(query: &Query) -> Result<()> {
    let Some(with) = &query.with else { return Ok(()) };
    // What writes runs once, however often its rows are read.
    for cte in with.cte_tables.iter().filter(|cte| !crate::dml::is_write(&cte.query)) {
        let changing = visit_expressions(&cte.query, |expr| match expr {
            Expr::Function(function) if is_volatile(function) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        if changing.is_continue() {
            continue;
        }
        let name = folded(&cte.alias.name);
        let mut uses = 0;
        let _ = visit_relations(query, |relation| {
            if let [part] = relation.0.as_slice()
                && part.as_ident().is_some_and(|ident| folded(ident) == name)
            {
                uses += 1;
            }
            ControlFlow::<()>::Continue(())
        });
        if uses > 1 {
            return Err(Error::unsupported(format!(
                "reading the WITH query \"{name}\", which calls a volatile function, more than once"
            )));
        }
    }
    Ok(())
}

fn is_volatile(function: &Function) -> bool {
    const NAMES: [&str; 9] = [
        "random",
        "random_normal",
        "gen_random_uuid",
        "uuid_generate_v4",
        "nextval",
        "setval",
        "clock_timestamp",
        "timeofday",
        "set_config",
    ];
    let name = function.name.0.last().map(|part| part.to_string().to_ascii_lowercase());
    name.is_some_and(|name| NAMES.contains(&name.as_str()))
}
