//! SQL text of what the catalog holds: pg_get_indexdef, pg_get_constraintdef.

use super::context::CatalogContext;
use super::names::quote_ident;
use quiver_base::ColumnId;
use quiver_cluster::{Constraint, ConstraintKind, Index, IndexMethod, Table};
use quiver_index::Metric;

/// A live or dropped column's name.
pub(super) fn column_name(table: &Table, column: ColumnId) -> &str {
    table.columns.iter().find(|it| it.id == column).map_or("", |it| it.name.as_str())
}

/// The operator class that an index of this metric is made with.
pub(super) fn operator_class(metric: Metric) -> &'static str {
    match metric {
        Metric::L2 => "vector_l2_ops",
        Metric::InnerProduct => "vector_ip_ops",
        Metric::Cosine => "vector_cosine_ops",
        Metric::L1 => "vector_l1_ops",
    }
}

/// The access method's name.
pub(super) fn access_method(index: &Index) -> &'static str {
    match index.method {
        IndexMethod::BTree => "btree",
        IndexMethod::Hnsw { .. } => "hnsw",
    }
}

/// `pg_get_indexdef(oid)`: the whole statement. `pretty` leaves the schema out where the search path finds the table.
pub(super) fn index_definition(
    context: &CatalogContext,
    table: &Table,
    index: &Index,
    pretty: bool,
) -> String {
    let columns: Vec<String> = index.columns.iter().map(|key| key_column(table, index, key)).collect();
    let unique = if index.unique { "UNIQUE " } else { "" };
    let table_name = match pretty && context.is_visible(table.schema, &table.name) {
        true => quote_ident(&table.name),
        false => format!("{}.{}", quote_ident(&context.schema_name(table.schema)), quote_ident(&table.name)),
    };
    let options: Vec<String> =
        index.options.iter().map(|(name, value)| format!("{name}='{}'", value.replace('\'', "''"))).collect();
    let options = if options.is_empty() { String::new() } else { format!(" WITH ({})", options.join(", ")) };
    format!(
        "CREATE {unique}INDEX {} ON {table_name} USING {} ({}){options}",
        quote_ident(&index.name),
        access_method(index),
        columns.join(", ")
    )
}

fn key_column(table: &Table, index: &Index, key: &quiver_cluster::KeyColumn) -> String {
    let mut text = quote_ident(column_name(table, key.column));
    match index.method {
        IndexMethod::Hnsw { metric, .. } => {
            // vector_l2_ops is hnsw's only class that must always be named: pgvector has no default for hnsw.
            text.push(' ');
            text.push_str(operator_class(metric));
        }
        IndexMethod::BTree => {
            if key.descending {
                text.push_str(" DESC");
            }
            if key.nulls_first != key.descending {
                text.push_str(if key.nulls_first { " NULLS FIRST" } else { " NULLS LAST" });
            }
        }
    }
    text
}

/// `pg_get_indexdef(oid, column, pretty)`: one key column, 1-based.
pub(super) fn index_column_definition(table: &Table, index: &Index, column: usize) -> Option<String> {
    let key = index.columns.get(column.checked_sub(1)?)?;
    Some(quote_ident(column_name(table, key.column)))
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
