//! Finding what a DDL statement names, and making up the names that PostgreSQL would.

use crate::bind::{RelationName, find_table, folded, relation_name};
use crate::statement::StatementContext;
use datafusion::sql::sqlparser::ast::{ObjectName, Owner};
use quiver_base::{Error, Result, SqlState};
use quiver_cluster::{Database, Schema, Sequence, Table, View};
use std::sync::Arc;

/// Identifiers are cut to this many bytes.
pub(super) const NAME_BYTES_MAX: usize = 63;

/// Cuts an identifier as PostgreSQL does.
pub(super) fn cut(name: &str) -> String {
    let mut end = name.len().min(NAME_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].to_owned()
}

/// Takes a name apart.
pub(super) fn split(ctx: &StatementContext<'_>, name: &ObjectName) -> Result<RelationName> {
    let split = relation_name(name, &ctx.session.database)?;
    Ok(RelationName { schema: split.schema, name: cut(&split.name) })
}

/// The role that an object is given to; 42704. Who gives it must be able to act as that role.
pub(super) fn new_owner(ctx: &StatementContext<'_>, owner: &Owner) -> Result<u32> {
    let name = match owner {
        Owner::Ident(ident) => folded(ident),
        Owner::CurrentRole | Owner::CurrentUser => ctx.settings.current_user(),
        Owner::SessionUser => ctx.settings.session_user(),
    };
    let (catalog, own) = (ctx.txn.catalog(), ctx.current_role());
    let Some(role) = catalog.role(&name) else {
        return Err(Error::new(SqlState::UNDEFINED_OBJECT, format!("role \"{name}\" does not exist")));
    };
    let is_superuser = catalog.roles.get(&own).is_some_and(|role| role.superuser);
    if !is_superuser && !catalog.can_set_role(own, role.id) {
        let message = format!("must be able to SET ROLE \"{name}\"");
        return Err(Error::new(SqlState::INSUFFICIENT_PRIVILEGE, message));
    }
    Ok(role.id)
}

/// A schema by name; 3F000.
pub(super) fn schema(database: &Database, name: &str) -> Result<Arc<Schema>> {
    database
        .schemas
        .values()
        .find(|schema| schema.name == name)
        .cloned()
        .ok_or_else(|| Error::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{name}\" does not exist")))
}

/// The schema that a new object goes into.
pub(super) fn creation_schema(ctx: &StatementContext<'_>, name: &RelationName) -> Result<Arc<Schema>> {
    let database = ctx.txn.database();
    let found = match &name.schema {
        Some(name) => schema(&database, name)?,
        None => ctx.settings.search_path().iter().find_map(|name| schema(&database, name).ok()).ok_or_else(
            || Error::new(SqlState::INVALID_SCHEMA_NAME, "no schema has been selected to create in"),
        )?,
    };
    if matches!(found.name.as_str(), "pg_catalog" | "information_schema") {
        return Err(Error::new(
            SqlState::INSUFFICIENT_PRIVILEGE,
            format!("permission denied to create \"{}.{}\"", found.name, name.name),
        )
        .with_detail("System catalog modifications are currently disallowed."));
    }
    Ok(found)
}

/// A table by name; 42P01.
pub(super) fn table(ctx: &StatementContext<'_>, name: &RelationName) -> Result<Arc<Table>> {
    let database = ctx.txn.database();
    if let Some(schema_name) = &name.schema {
        schema(&database, schema_name).map_err(|_| no_relation(name))?;
    }
    match find_table(&database, &ctx.settings.search_path(), name) {
        Some(table) => Ok(table.clone()),
        None if sequence(ctx, name).is_some() => {
            Err(Error::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{}\" is not a table", name.name)))
        }
        None if view(ctx, name).is_some() => {
            Err(Error::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{}\" is not a table", name.name)))
        }
        None if index(ctx, name).is_some() => {
            Err(Error::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{}\" is not a table", name.name)))
        }
        None => Err(no_relation(name)),
    }
}

/// `relation "x" does not exist`.
pub(super) fn no_relation(name: &RelationName) -> Error {
    Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"))
}

/// Schemas that a name may be in, as oids.
fn schemas(ctx: &StatementContext<'_>, name: &RelationName) -> Vec<u32> {
    let database = ctx.txn.database();
    let path = match &name.schema {
        Some(schema) => vec![schema.clone()],
        None => ctx.settings.search_path(),
    };
    path.iter().filter_map(|name| schema(&database, name).ok()).map(|schema| schema.id).collect()
}

/// A sequence by name.
pub(super) fn sequence(ctx: &StatementContext<'_>, name: &RelationName) -> Option<Arc<Sequence>> {
    let database = ctx.txn.database();
    schemas(ctx, name).into_iter().find_map(|schema| {
        database.sequences.values().find(|found| found.schema == schema && found.name == name.name).cloned()
    })
}

/// A view by name.
pub(super) fn view(ctx: &StatementContext<'_>, name: &RelationName) -> Option<Arc<View>> {
    let database = ctx.txn.database();
    schemas(ctx, name).into_iter().find_map(|schema| {
        database.views.values().find(|found| found.schema == schema && found.name == name.name).cloned()
    })
}

/// An index by name, with its table.
pub(super) fn index(ctx: &StatementContext<'_>, name: &RelationName) -> Option<(Arc<Table>, usize)> {
    let database = ctx.txn.database();
    schemas(ctx, name).into_iter().find_map(|schema| {
        database.tables.values().filter(|table| table.schema == schema).find_map(|table| {
            let position = table.indexes.iter().position(|index| index.name == name.name)?;
            Some((table.clone(), position))
        })
    })
}

/// Whether a name of the schema is taken by a table, index, sequence or view.
pub(super) fn is_taken(database: &Database, schema: u32, name: &str) -> bool {
    database.tables.values().any(|table| {
        table.schema == schema && (table.name == name || table.indexes.iter().any(|index| index.name == name))
    }) || database.sequences.values().any(|sequence| sequence.schema == schema && sequence.name == name)
        || database.views.values().any(|view| view.schema == schema && view.name == name)
}

/// `table_column_suffix`, shortened and numbered until nobody has it.
pub(super) fn choose(first: &str, second: &str, suffix: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut number = 0;
    loop {
        let suffix = if number == 0 { suffix.to_owned() } else { format!("{suffix}{number}") };
        let name = join(first, second, &suffix);
        if !taken(&name) {
            return name;
        }
        number += 1;
    }
}

/// Shortens the longer of the two names until all fit, as makeObjectName does.
fn join(first: &str, second: &str, suffix: &str) -> String {
    let mut overhead = suffix.len() + 1;
    if !second.is_empty() {
        overhead += 1;
    }
    let available = NAME_BYTES_MAX.saturating_sub(overhead);
    let (mut a, mut b) = (first.len(), second.len());
    while a + b > available {
        if a > b { a -= 1 } else { b -= 1 }
    }
    let clip = |text: &str, mut end: usize| {
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text[..end].to_owned()
    };
    let (first, second) = (clip(first, a), clip(second, b));
    if second.is_empty() { format!("{first}_{suffix}") } else { format!("{first}_{second}_{suffix}") }
}
