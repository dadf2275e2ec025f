//! The table that a statement writes to: its columns in order, and which of them the statement names.

use crate::bind::{Binder, RelationName, folded, relation_name};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::{DFSchema, DFSchemaRef, TableReference};
use datafusion::sql::sqlparser::ast::{Ident, ObjectName};
use quiver_base::{Error, Result, SqlState};
use quiver_cluster::{Column, Table};
use quiver_exec::from_datafusion;
use std::sync::Arc;

/// Columns that exist, in order: what rows of the table consist of.
pub(crate) fn live_columns(table: &Table) -> Vec<&Column> {
    table.columns.iter().filter(|column| !column.dropped).collect()
}

/// The Arrow schema of the table's rows.
pub(crate) fn row_schema(table: &Table) -> SchemaRef {
    let fields: Vec<_> =
        live_columns(table).into_iter().map(|column| column.ty.field(&column.name, true)).collect();
    Arc::new(Schema::new(fields))
}

/// The same with a qualifier, for expressions over a row.
pub(super) fn qualified(table: &Table, qualifier: &str) -> Result<DFSchemaRef> {
    let schema =
        DFSchema::try_from_qualified_schema(TableReference::bare(qualifier), row_schema(table).as_ref())
            .map_err(from_datafusion)?;
    Ok(Arc::new(schema))
}

/// The table of an INSERT, UPDATE or DELETE; system relations cannot be written.
pub(super) fn target(binder: &Binder, name: &ObjectName) -> Result<(Arc<Table>, RelationName)> {
    let name = relation_name(name, &binder.database.name)?;
    match binder.table(&name) {
        Ok(table) => Ok((table, name)),
        Err(error) => match name.schema.as_deref() {
            Some("pg_catalog" | "information_schema") => Err(Error::new(
                SqlState::INSUFFICIENT_PRIVILEGE,
                format!("permission denied for relation {}", name.name),
            )),
            _ => Err(error),
        },
    }
}

/// Positions, among live columns, of the columns that a statement names; all of them if it names none.
pub(crate) fn target_columns(table: &Table, names: &[Ident]) -> Result<Vec<usize>> {
    let live = live_columns(table);
    if names.is_empty() {
        return Ok((0..live.len()).collect());
    }
    let mut positions = Vec::with_capacity(names.len());
    for ident in names {
        let position = column_position(table, &folded(ident))?;
        if positions.contains(&position) {
            return Err(Error::new(
                SqlState::DUPLICATE_COLUMN,
                format!("column \"{}\" specified more than once", folded(ident)),
            ));
        }
        positions.push(position);
    }
    Ok(positions)
}

/// The position of a live column; 42703.
pub(super) fn column_position(table: &Table, name: &str) -> Result<usize> {
    live_columns(table).iter().position(|column| column.name == name).ok_or_else(|| {
        Error::new(
            SqlState::UNDEFINED_COLUMN,
            format!("column \"{name}\" of relation \"{}\" does not exist", table.name),
        )
    })
}

/// A column's name from `a` or `t.a`.
pub(super) fn last_ident(name: &ObjectName) -> Result<Ident> {
    name.0
        .last()
        .and_then(|part| part.as_ident())
        .cloned()
        .ok_or_else(|| Error::new(SqlState::SYNTAX_ERROR, format!("invalid column name: {name}")))
}
