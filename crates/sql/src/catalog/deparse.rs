//! SQL text of what the catalog holds: pg_get_indexdef, pg_get_constraintdef.

use super::context::CatalogContext;
use super::index_text::expression_text;
use super::names::quote_ident;
use crate::parser::parse_expression;
use quiver_base::ColumnId;
use quiver_cluster::{Constraint, ConstraintKind, Index, IndexMethod, KeyColumn, Table};
use quiver_index::VectorIndexKind;

/// A live or dropped column's name.
pub(super) fn column_name(table: &Table, column: ColumnId) -> &str {
    table.columns.iter().find(|it| it.id == column).map_or("", |it| it.name.as_str())
}

/// The access method's name.
pub(super) fn access_method(index: &Index) -> &'static str {
    match index.method {
        IndexMethod::BTree => "btree",
        IndexMethod::Hash => "hash",
        IndexMethod::Gin => "gin",
        IndexMethod::Vector { kind: VectorIndexKind::Hnsw(_), .. } => "hnsw",
        IndexMethod::Vector { kind: VectorIndexKind::IvfFlat(_), .. } => "ivfflat",
    }
}

/// `pg_get_indexdef(oid)`: the whole statement. `pretty` leaves the schema out where the search path finds the table.
pub(super) fn index_definition(
    context: &CatalogContext,
    table: &Table,
    index: &Index,
    pretty: bool,
) -> String {
    let columns: Vec<String> =
        index.columns.iter().map(|key| key_column(table, index, key, pretty)).collect();
    let unique = if index.unique { "UNIQUE " } else { "" };
    let table_name = match pretty && context.is_visible(table.schema, &table.name) {
        true => quote_ident(&table.name),
        false => format!("{}.{}", quote_ident(&context.schema_name(table.schema)), quote_ident(&table.name)),
    };
    // A value that reads as a name stays as it is, as in PostgreSQL.
    let option = |(name, value): &(String, String)| match quote_ident(value) == *value {
        true => format!("{name}={value}"),
        false => format!("{name}='{}'", value.replace('\'', "''")),
    };
    let options: Vec<String> = index.options.iter().map(option).collect();
    let options = if options.is_empty() { String::new() } else { format!(" WITH ({})", options.join(", ")) };
    let predicate = match &index.predicate {
        Some(predicate) => format!(" WHERE {}", expression_text(table, &predicate.sql, pretty)),
        None => String::new(),
    };
    format!(
        "CREATE {unique}INDEX {} ON {table_name} USING {} ({}){options}{predicate}",
        quote_ident(&index.name),
        access_method(index),
        columns.join(", ")
    )
}

fn key_column(table: &Table, index: &Index, key: &KeyColumn, pretty: bool) -> String {
    let mut text = key_name(table, key, pretty);
    if let Some(class) = &key.class {
        text.push(' ');
        text.push_str(&quote_ident(class));
    }
    if index.method == IndexMethod::BTree {
        if key.descending {
            text.push_str(" DESC");
        }
        if key.nulls_first != key.descending {
            text.push_str(if key.nulls_first { " NULLS FIRST" } else { " NULLS LAST" });
        }
    }
    text
}

/// A column's name, or an expression: in parentheses, unless it is a call.
fn key_name(table: &Table, key: &KeyColumn, pretty: bool) -> String {
    let Some(expression) = &key.expression else { return quote_ident(column_name(table, key.column)) };
    let text = expression_text(table, &expression.sql, pretty);
    let is_call = parse_expression(&expression.sql)
        .is_ok_and(|expr| matches!(expr, datafusion::sql::sqlparser::ast::Expr::Function(_)));
    if is_call { text } else { format!("({text})") }
}

/// `pg_get_indexdef(oid, column, pretty)`: one key column, 1-based.
pub(super) fn index_column_definition(
    table: &Table,
    index: &Index,
    column: usize,
    pretty: bool,
) -> Option<String> {
    let key = index.columns.get(column.checked_sub(1)?)?;
    Some(key_name(table, key, pretty))
}

/// The expression of a key that is one, as pg_index has it.
pub(super) fn index_key_text(table: &Table, key: &KeyColumn) -> Option<String> {
    key.expression.as_ref().map(|expression| expression_text(table, &expression.sql, false))
}

/// The condition of a partial index, as pg_index has it.
pub(super) fn index_predicate_text(table: &Table, index: &Index) -> Option<String> {
    index.predicate.as_ref().map(|predicate| expression_text(table, &predicate.sql, false))
}

/// `pg_get_constraintdef(oid, pretty)`.
pub(super) fn constraint_definition(table: &Table, constraint: &Constraint, pretty: bool) -> String {
    let keys = |index| {
        let index = table.indexes.iter().find(|it| it.id == index);
        let names = index.map(|it| it.columns.iter().map(|key| quote_ident(column_name(table, key.column))));
        names.map_or_else(String::new, |names| names.collect::<Vec<_>>().join(", "))
    };
    match &constraint.kind {
        ConstraintKind::PrimaryKey { index } => format!("PRIMARY KEY ({})", keys(*index)),
        ConstraintKind::Unique { index } => format!("UNIQUE ({})", keys(*index)),
        ConstraintKind::Check { sql, .. } => {
            format!("CHECK ({})", super::checks::condition(sql, table, pretty))
        }
    }
}
