//! What PostgreSQL refuses of a clause before it looks at types, and literals that stand where a condition does.

use super::names::folded;
use super::prepare::cast;
use datafusion::sql::sqlparser::ast::*;
use quiver_base::{Error, Result, SqlState};
use std::ops::ControlFlow;

/// 42P20, 42712.
pub(super) fn check(select: &Select) -> Result<()> {
    check_names(select)?;
    let clauses = [(&select.selection, "WHERE"), (&select.having, "HAVING")];
    for (clause, name) in clauses {
        if clause.as_ref().is_some_and(calls_window) {
            let message = format!("window functions are not allowed in {name}");
            return Err(Error::new(SqlState::WINDOWING_ERROR, message));
        }
    }
    Ok(())
}

/// A string that stands for a condition is read as a boolean.
pub(super) fn read_conditions(select: &mut Select) {
    for condition in select.selection.iter_mut().chain(&mut select.having) {
        if matches!(condition, Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(_), .. })) {
            *condition = cast(condition.clone(), DataType::Boolean);
        }
    }
}

/// Whether an expression, its subqueries apart, calls a function over a window.
fn calls_window(expr: &Expr) -> bool {
    let mut finder = Finder { depth: 0 };
    expr.visit(&mut finder).is_break()
}

struct Finder {
    depth: usize,
}

impl Visitor for Finder {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) if self.depth == 0 && function.over.is_some() => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Two relations of one FROM may not have one name.
fn check_names(select: &Select) -> Result<()> {
    let mut seen = Vec::new();
    let factors = select
        .from
        .iter()
        .flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)));
    for factor in factors {
        let (alias, table) = match factor {
            TableFactor::Table { name, alias, args: None, .. } => (alias, Some(name)),
            TableFactor::Derived { alias, .. } => (alias, None),
            _ => continue,
        };
        let name = match (alias, table) {
            (Some(alias), _) => (folded(&alias.name), String::new()),
            (None, Some(table)) => match table.0.last().and_then(|part| part.as_ident()) {
                // Tables of two schemas may have one name.
                Some(ident) => (folded(ident), table.to_string()),
                None => continue,
            },
            (None, None) => continue,
        };
        let same = |other: &(String, String)| {
            other.0 == name.0 && (other.1 == name.1 || other.1.is_empty() || name.1.is_empty())
        };
        if seen.iter().any(same) {
            let message = format!("table name \"{}\" specified more than once", name.0);
            return Err(Error::new(SqlState::DUPLICATE_ALIAS, message));
        }
        seen.push(name);
    }
    Ok(())
}
