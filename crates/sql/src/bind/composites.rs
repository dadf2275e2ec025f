//! Composite values, as far as functions that return rows of several columns make them: `(f(x)).name` is one of the columns, and a
//! column of a derived table that holds such rows becomes a column for each part. There are no other composite values.

use super::names::folded;
use super::sets::{last_name, rows_of, unnested};
use datafusion::sql::sqlparser::ast::*;

/// Between the name of a column and that of its part.
const PART: char = '\u{2}';

/// `(expression).name`, if it can be one of a composite value's parts.
pub(super) fn field(root: &Expr, access: &[AccessExpr]) -> Option<Expr> {
    let ([AccessExpr::Dot(Expr::Identifier(name))], Expr::Nested(inner)) = (access, root) else {
        return None;
    };
    let name = folded(name);
    match inner.as_ref() {
        Expr::Function(function) => {
            let mut parts = parts(function)?;
            let at = parts.iter().position(|(part, _)| *part == name)?;
            Some(parts.swap_remove(at).1)
        }
        Expr::Identifier(column) => Some(Expr::Identifier(part_of(&folded(column), &name))),
        Expr::CompoundIdentifier(path) => {
            let (column, relation) = path.split_last()?;
            let mut path = relation.to_vec();
            path.push(part_of(&folded(column), &name));
            Some(Expr::CompoundIdentifier(path))
        }
        _ => None,
    }
}

fn part_of(column: &str, part: &str) -> Ident {
    Ident::with_quote('"', format!("{column}{PART}{part}"))
}

/// The columns of a function's rows.
fn parts(function: &Function) -> Option<Vec<(&'static str, Expr)>> {
    let rows = rows_of(&last_name(&function.name)).filter(|rows| rows.lists.len() > 1)?;
    let columns = rows.names.iter().zip(rows.lists).map(|(name, list)| {
        let list = Function { name: ObjectName::from(vec![Ident::new(*list)]), ..function.clone() };
        (*name, unnested(Expr::Function(list)))
    });
    Some(columns.collect())
}

/// Columns of a derived table that hold such rows become several.
pub(super) fn split(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let items = std::mem::take(&mut select.projection);
    for item in items {
        let (expr, name) = match &item {
            SelectItem::ExprWithAlias { expr, alias } => (expr, folded(alias)),
            SelectItem::UnnamedExpr(expr) => (expr, super::names::column_name(expr)),
            _ => {
                select.projection.push(item);
                continue;
            }
        };
        let columns = match expr {
            Expr::Function(function) if function.over.is_none() => parts(function),
            _ => None,
        };
        match columns {
            Some(columns) => select.projection.extend(
                columns
                    .into_iter()
                    .map(|(part, expr)| SelectItem::ExprWithAlias { expr, alias: part_of(&name, part) }),
            ),
            None => select.projection.push(item),
        }
    }
}

/// Whether a column is a part that a statement did not ask for by name: its whole is a composite value, which cannot be shown.
pub(super) fn is_part(name: &str) -> bool {
    name.contains(PART)
}
