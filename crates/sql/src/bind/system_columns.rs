//! `tableoid`, the one system column that clients ask system relations for: the relation's oid.

use super::names::folded;
use super::prepare::cast;
use datafusion::sql::sqlparser::ast::*;
use std::collections::HashMap;
use std::ops::ControlFlow;

const TABLEOID: &str = "tableoid";

/// Puts oids in the place of `tableoid` of the tables in a SELECT's FROM.
pub(super) fn replace(select: &mut Select) {
    if !mentioned(select) {
        return;
    }
    let tables = tables(&select.from);
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) = item
            && oid_of(expr, &tables).is_some()
        {
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::new(TABLEOID) };
        }
    }
    let _ = visit_expressions_mut(select, |expr| {
        if let Some(oid) = oid_of(expr, &tables) {
            *expr = oid;
        }
        ControlFlow::<()>::Continue(())
    });
}

fn mentioned(select: &Select) -> bool {
    let found = visit_expressions(select, |expr| match expr {
        Expr::Identifier(ident) if folded(ident) == TABLEOID => ControlFlow::Break(()),
        Expr::CompoundIdentifier(parts) if parts.last().is_some_and(|ident| folded(ident) == TABLEOID) => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// Relations by the name that their columns are qualified with.
fn tables(from: &[TableWithJoins]) -> HashMap<String, String> {
    let mut found = HashMap::new();
    let factors = from
        .iter()
        .flat_map(|item| std::iter::once(&item.relation).chain(item.joins.iter().map(|join| &join.relation)));
    for factor in factors {
        let TableFactor::Table { name, alias, args: None, .. } = factor else { continue };
        let own = name.0.last().and_then(|part| part.as_ident());
        if let Some(known) = alias.as_ref().map(|alias| &alias.name).or(own) {
            found.insert(folded(known), name.to_string());
        }
    }
    found
}

fn oid_of(expr: &Expr, tables: &HashMap<String, String>) -> Option<Expr> {
    let name = match expr {
        Expr::Identifier(ident) if folded(ident) == TABLEOID && tables.len() == 1 => {
            tables.values().next()?
        }
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [.., table, column] if folded(column) == TABLEOID => tables.get(&folded(table))?,
            _ => return None,
        },
        _ => return None,
    };
    let name = Expr::value(Value::SingleQuotedString(name.clone()));
    let oid = DataType::Custom(ObjectName::from(vec![Ident::new("oid")]), Vec::new());
    Some(cast(cast(name, DataType::Regclass), oid))
}
