//! What CREATE INDEX is over: columns and expressions, and the condition of a partial index; named, typed and found fit to be kept.

use crate::bind::{Binder, coerce_expr, column_name_of, folded, without_modifier};
use crate::dml::live_columns;
use crate::statement::StatementContext;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DFSchemaRef, TableReference};
use datafusion::logical_expr::{Expr, Volatility};
use datafusion::sql::sqlparser::ast;
use quiver_base::{ColumnId, Error, Result, SqlState, SqlType};
use quiver_cluster::{Column, IndexText, KeyColumn, Table};
use quiver_exec::from_datafusion;
use std::sync::Arc;

/// A key of an index to be.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// As the catalog keeps it; the operator class is not yet in it.
    pub(super) column: KeyColumn,
    /// What it adds to the index's name.
    pub(super) name: String,
    /// Its type.
    pub(super) ty: SqlType,
}

/// Binds one key.
pub(super) fn key(ctx: &StatementContext<'_>, table: &Table, item: &ast::IndexColumn) -> Result<Key> {
    let options = item.column.options;
    let descending = options.asc == Some(false);
    let nulls_first = options.nulls_first.unwrap_or(descending);
    if let ast::Expr::Identifier(ident) = &item.column.expr {
        let name = folded(ident);
        let column = find(table, &name).ok_or_else(|| {
            Error::new(SqlState::UNDEFINED_COLUMN, format!("column \"{name}\" does not exist"))
        })?;
        let key = KeyColumn { descending, nulls_first, ..KeyColumn::ascending(column.id) };
        return Ok(Key { column: key, name, ty: column.ty.clone() });
    }
    let expr = without_parentheses(&item.column.expr);
    let bound = Bound::of(ctx, table, expr, Place::Expression)?;
    // Only a cast says how many dimensions its result has.
    let ty = if matches!(expr, ast::Expr::Cast { .. }) { bound.ty } else { without_modifier(&bound.ty) };
    let text = IndexText { sql: expr.to_string(), ty: ty.clone(), columns: bound.columns };
    let key =
        KeyColumn { descending, nulls_first, expression: Some(text), ..KeyColumn::ascending(ColumnId(0)) };
    let name = match column_name_of(expr).as_str() {
        "?column?" => "expr".to_owned(),
        name => name.to_owned(),
    };
    Ok(Key { column: key, name, ty })
}

/// Binds the condition of a partial index.
pub(super) fn predicate(ctx: &StatementContext<'_>, table: &Table, expr: &ast::Expr) -> Result<IndexText> {
    let expr = without_parentheses(expr);
    let bound = Bound::of(ctx, table, expr, Place::Predicate)?;
    Ok(IndexText { sql: expr.to_string(), ty: bound.ty, columns: bound.columns })
}

fn find<'a>(table: &'a Table, name: &str) -> Option<&'a Column> {
    live_columns(table).into_iter().find(|column| column.name == name)
}

fn without_parentheses(mut expr: &ast::Expr) -> &ast::Expr {
    while let ast::Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}

/// Where an expression stands, which errors say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A key of an index.
    Expression,
    /// The condition of an index.
    Predicate,
    /// USING of a column's new type.
    Transform,
}

impl Place {
    fn singular(self) -> &'static str {
        match self {
            Place::Expression => "index expression",
            Place::Predicate => "index predicate",
            Place::Transform => "transform expression",
        }
    }
}

/// An expression's type and the columns it reads.
struct Bound {
    ty: SqlType,
    columns: Vec<ColumnId>,
    expr: Expr,
    schema: DFSchemaRef,
}

impl Bound {
    fn of(ctx: &StatementContext<'_>, table: &Table, expr: &ast::Expr, place: Place) -> Result<Bound> {
        let binder = Binder::new(ctx, &[]);
        let schema = row(table)?;
        let bound = binder.expression(expr.clone(), &schema).map_err(|error| {
            // An aggregate is found out while names are looked up.
            match aggregate_in(expr) {
                true => Error::new(
                    SqlState::GROUPING_ERROR,
                    format!("aggregate functions are not allowed in {}s", place.singular()),
                ),
                false => error,
            }
        })?;
        let bound = coerce_expr(bound, &schema, &binder.params, &binder.style)?;
        let mut columns = Vec::new();
        let mut problem = None;
        bound
            .apply(|expr| {
                match expr {
                    Expr::Column(column) => {
                        columns.extend(find(table, &column.name).map(|column| column.id));
                    }
                    other => problem = problem.take().or_else(|| refused(other, place)),
                }
                Ok(TreeNodeRecursion::Continue)
            })
            .map_err(from_datafusion)?;
        if let Some(problem) = problem {
            return Err(problem);
        }
        let bound = match place {
            Place::Predicate => binder.boolean(bound, &schema, "WHERE")?,
            Place::Expression | Place::Transform => bound,
        };
        columns.sort();
        columns.dedup();
        Ok(Bound { ty: binder.type_of(&bound, &schema)?, columns, expr: bound, schema })
    }
}

/// An expression over a row of the table, typed and fit for its place; and the schema of such rows.
pub(super) fn bound(
    ctx: &StatementContext<'_>,
    table: &Table,
    expr: &ast::Expr,
    place: Place,
) -> Result<(Expr, DFSchemaRef)> {
    let bound = Bound::of(ctx, table, expr, place)?;
    Ok((bound.expr, bound.schema))
}

fn refused(expr: &Expr, place: Place) -> Option<Error> {
    match expr {
        Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) => Some(Error::new(
            SqlState::FEATURE_NOT_SUPPORTED,
            format!("cannot use subquery in {}", place.singular()),
        )),
        Expr::AggregateFunction(_) => Some(Error::new(
            SqlState::GROUPING_ERROR,
            format!("aggregate functions are not allowed in {}s", place.singular()),
        )),
        Expr::ScalarFunction(call)
            if place != Place::Transform && call.func.signature().volatility != Volatility::Immutable =>
        {
            Some(Error::new(
                SqlState::INVALID_OBJECT_DEFINITION,
                format!("functions in {} must be marked IMMUTABLE", place.singular()),
            ))
        }
        _ => None,
    }
}

fn aggregate_in(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Function(call) if matches!(
        call.name.to_string().to_lowercase().as_str(),
        "count" | "sum" | "avg" | "min" | "max"
    ))
}

/// A row of the table under the table's name.
pub(crate) fn row(table: &Table) -> Result<DFSchemaRef> {
    let qualifier = TableReference::bare(table.name.as_str());
    let fields = live_columns(table)
        .into_iter()
        .map(|column| (Some(qualifier.clone()), Arc::new(column.ty.field(&column.name, true))))
        .collect();
    let schema = DFSchema::new_with_metadata(fields, std::collections::HashMap::new());
    Ok(Arc::new(schema.map_err(from_datafusion)?))
}
