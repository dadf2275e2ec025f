//! DROP and TRUNCATE.

use super::alter::drop_comments;
use super::constraint::{TableMaker, skipping};
use super::create::put;
use super::done;
use super::names::{index, no_relation, schema, sequence, split, table, view};
use crate::outcome::Outcome;
use crate::statement::StatementContext;
use datafusion::sql::sqlparser::ast::{ObjectName, ObjectType, Truncate, TruncateIdentityOption};
use quiver_base::{ColumnId, Error, Result, SqlState, TableId};
use quiver_cluster::{CatalogEdit, ConstraintKind, Table, TableLock};
use std::sync::Arc;

/// DROP of one or several objects of a kind.
pub(super) async fn drop_objects(
    ctx: &mut StatementContext<'_>,
    kind: ObjectType,
    if_exists: bool,
    names: &[ObjectName],
    cascade: bool,
) -> Result<Outcome> {
    for name in names {
        match kind {
            ObjectType::Table => drop_table(ctx, name, if_exists, cascade).await?,
            ObjectType::Index => drop_index(ctx, name, if_exists).await?,
            ObjectType::Sequence => drop_sequence(ctx, name, if_exists, cascade).await?,
            ObjectType::Schema => drop_schema(ctx, name, if_exists, cascade).await?,
            ObjectType::View => drop_view(ctx, name, if_exists, cascade).await?,
            other => return Err(Error::unsupported(format!("DROP {other}"))),
        }
    }
    done(&format!("DROP {kind}"))
}

fn missing(
    ctx: &mut StatementContext<'_>,
    if_exists: bool,
    what: &str,
    name: &str,
    state: SqlState,
) -> Result<()> {
    if if_exists {
        skipping(ctx, state, format!("{what} \"{name}\" does not exist, skipping"));
        return Ok(());
    }
    Err(Error::new(state, format!("{what} \"{name}\" does not exist")))
}

async fn drop_table(
    ctx: &mut StatementContext<'_>,
    name: &ObjectName,
    if_exists: bool,
    cascade: bool,
) -> Result<()> {
    let name = split(ctx, name)?;
    let found = match table(ctx, &name) {
        Ok(found) => found,
        Err(error) if error.state() == SqlState::UNDEFINED_TABLE => {
            return missing(ctx, if_exists, "table", &name.to_string(), SqlState::UNDEFINED_TABLE);
        }
        Err(error) => return Err(error),
    };
    ctx.txn.lock_name(found.schema, &found.name).await?;
    ctx.txn.lock_table(found.id, TableLock::Exclusive).await?;
    let found = match table(ctx, &name) {
        Ok(found) => found,
        Err(_) => return missing(ctx, if_exists, "table", &name.to_string(), SqlState::UNDEFINED_TABLE),
    };
    let mut edits = view_edits(ctx, "table", &found.name, &[found.id], cascade)?;
    edits.extend(table_edits(ctx, &found));
    ctx.txn.edit(edits)
}

async fn drop_view(
    ctx: &mut StatementContext<'_>,
    name: &ObjectName,
    if_exists: bool,
    cascade: bool,
) -> Result<()> {
    let name = split(ctx, name)?;
    let Some(found) = view(ctx, &name) else {
        if table(ctx, &name).is_ok() {
            return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{}\" is not a view", name.name))
                .with_hint("Use DROP TABLE to remove a table."));
        }
        return missing(ctx, if_exists, "view", &name.to_string(), SqlState::UNDEFINED_TABLE);
    };
    ctx.txn.lock_name(found.schema, &found.name).await?;
    let mut edits = view_edits(ctx, "view", &found.name, &[found.id], cascade)?;
    edits.extend(drop_comments(ctx, found.id.0));
    edits.push(CatalogEdit::DropView(ctx.session.database_id, found.id));
    ctx.txn.edit(edits)
}

/// Drops the views that read something which goes; refused without CASCADE.
fn view_edits(
    ctx: &StatementContext<'_>,
    kind: &str,
    name: &str,
    gone: &[TableId],
    cascade: bool,
) -> Result<Vec<CatalogEdit>> {
    let readers = super::view::readers(&ctx.txn.database(), gone);
    if let (Some(first), false) = (readers.first(), cascade) {
        let detail = format!("view {} depends on {kind} {name}", first.name);
        return Err(depends(&format!("{kind} {name}")).with_detail(detail));
    }
    let mut edits = Vec::new();
    for view in readers {
        edits.extend(drop_comments(ctx, view.id.0));
        edits.push(CatalogEdit::DropView(ctx.session.database_id, view.id));
    }
    Ok(edits)
}

/// The table, the sequences that its columns own, its comments.
fn table_edits(ctx: &StatementContext<'_>, table: &Table) -> Vec<CatalogEdit> {
    let database = ctx.session.database_id;
    let mut edits = owned(ctx, table.id, None);
    edits.extend(drop_comments(ctx, table.id.0));
    edits.push(CatalogEdit::DropTable(database, table.id));
    edits
}

/// Sequences that a table, or one column of it, owns.
fn owned(ctx: &StatementContext<'_>, table: TableId, column: Option<ColumnId>) -> Vec<CatalogEdit> {
    let database = ctx.txn.database();
    database
        .sequences
        .values()
        .filter(|sequence| {
            sequence.owned_by.is_some_and(|(of, by)| of == table && column.is_none_or(|column| column == by))
        })
        .map(|sequence| CatalogEdit::DropSequence(ctx.session.database_id, sequence.id))
        .collect()
}

async fn drop_index(ctx: &mut StatementContext<'_>, name: &ObjectName, if_exists: bool) -> Result<()> {
    let name = split(ctx, name)?;
    let Some((found, _)) = index(ctx, &name) else {
        return missing(ctx, if_exists, "index", &name.name, SqlState::UNDEFINED_OBJECT);
    };
    ctx.txn.lock_table(found.id, TableLock::Exclusive).await?;
    let Some((found, position)) = index(ctx, &name) else {
        return missing(ctx, if_exists, "index", &name.name, SqlState::UNDEFINED_OBJECT);
    };
    let id = found.indexes[position].id;
    let constraint = found.constraints.iter().find(|constraint| {
        matches!(constraint.kind, ConstraintKind::PrimaryKey { index } | ConstraintKind::Unique { index } if index == id)
    });
    if let Some(constraint) = constraint {
        return Err(Error::new(
            SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
            format!(
                "cannot drop index {} because constraint {} on table {} requires it",
                name.name, constraint.name, found.name
            ),
        )
        .with_hint(format!("You can drop constraint {} on table {} instead.", constraint.name, found.name)));
    }
    let mut changed = (*found).clone();
    changed.indexes.remove(position);
    let mut edits = drop_comments(ctx, id.0);
    edits.push(put(ctx, changed));
    ctx.txn.edit(edits)
}

async fn drop_sequence(
    ctx: &mut StatementContext<'_>,
    name: &ObjectName,
    if_exists: bool,
    cascade: bool,
) -> Result<()> {
    let name = split(ctx, name)?;
    let Some(found) = sequence(ctx, &name) else {
        return missing(ctx, if_exists, "sequence", &name.name, SqlState::UNDEFINED_TABLE);
    };
    ctx.txn.lock_name(found.schema, &found.name).await?;
    let database = ctx.txn.database();
    let users = database.tables.values().flat_map(|table| {
        table.columns.iter().filter(|column| !column.dropped).map(move |column| (table, column))
    });
    let mut edits = vec![CatalogEdit::DropSequence(ctx.session.database_id, found.id)];
    for (table, column) in users {
        if column.identity.is_some_and(|identity| identity.sequence == found.id) {
            return Err(Error::new(
                SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
                format!(
                    "cannot drop sequence {} because column {} of table {} requires it",
                    found.name, column.name, table.name
                ),
            )
            .with_hint(format!("You can drop column {} of table {} instead.", column.name, table.name)));
        }
        if column.default.as_ref().is_some_and(|default| default.sequence == Some(found.id)) {
            if !cascade {
                return Err(depends(&format!("sequence {}", found.name)).with_detail(format!(
                    "default value for column {} of table {} depends on sequence {}",
                    column.name, table.name, found.name
                )));
            }
            let mut changed = (**table).clone();
            changed.columns[usize::from(column.id.0) - 1].default = None;
            edits.push(put(ctx, changed));
        }
    }
    ctx.txn.edit(edits)
}

fn depends(what: &str) -> Error {
    Error::new(
        SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
        format!("cannot drop {what} because other objects depend on it"),
    )
    .with_hint("Use DROP ... CASCADE to drop the dependent objects too.")
}

async fn drop_schema(
    ctx: &mut StatementContext<'_>,
    name: &ObjectName,
    if_exists: bool,
    cascade: bool,
) -> Result<()> {
    let name = split(ctx, name)?.name;
    let Ok(found) = schema(&ctx.txn.database(), &name) else {
        return missing(ctx, if_exists, "schema", &name, SqlState::INVALID_SCHEMA_NAME);
    };
    if matches!(name.as_str(), "pg_catalog" | "information_schema") {
        return Err(Error::new(
            SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
            format!("cannot drop schema {name} because it is required by the database system"),
        ));
    }
    ctx.txn.lock_name(0, &name).await?;
    let database = ctx.txn.database();
    let tables: Vec<Arc<Table>> =
        database.tables.values().filter(|table| table.schema == found.id).cloned().collect();
    let sequences: Vec<_> =
        database.sequences.values().filter(|sequence| sequence.schema == found.id).cloned().collect();
    let views: Vec<_> = database.views.values().filter(|view| view.schema == found.id).cloned().collect();
    let first = tables
        .first()
        .map(|table| format!("table {name}.{}", table.name))
        .or_else(|| sequences.first().map(|sequence| format!("sequence {name}.{}", sequence.name)))
        .or_else(|| views.first().map(|view| format!("view {name}.{}", view.name)));
    if let (Some(first), false) = (first, cascade) {
        return Err(
            depends(&format!("schema {name}")).with_detail(format!("{first} depends on schema {name}"))
        );
    }
    let gone: Vec<TableId> =
        tables.iter().map(|table| table.id).chain(views.iter().map(|view| view.id)).collect();
    let mut edits = view_edits(ctx, "schema", &name, &gone, true)?;
    for view in views {
        edits.extend(drop_comments(ctx, view.id.0));
        edits.push(CatalogEdit::DropView(ctx.session.database_id, view.id));
    }
    for table in tables {
        ctx.txn.lock_table(table.id, TableLock::Exclusive).await?;
        edits.extend(table_edits(ctx, &table));
    }
    edits.extend(
        sequences.iter().map(|sequence| CatalogEdit::DropSequence(ctx.session.database_id, sequence.id)),
    );
    edits.push(CatalogEdit::DropSchema(ctx.session.database_id, found.id));
    ctx.txn.edit(edits)
}

/// DROP COLUMN: the column, and the keys, indexes, checks and sequences that need it.
pub(super) fn drop_column_objects(
    ctx: &StatementContext<'_>,
    maker: &mut TableMaker,
    id: ColumnId,
    _cascade: bool,
) -> Result<()> {
    let table = &mut maker.table;
    let gone: Vec<_> = table.indexes.iter().filter(|index| index.reads(id)).map(|index| index.id).collect();
    table.indexes.retain(|index| !gone.contains(&index.id));
    table.constraints.retain(|constraint| match &constraint.kind {
        ConstraintKind::PrimaryKey { index } | ConstraintKind::Unique { index } => !gone.contains(index),
        ConstraintKind::Check { columns, .. } => !columns.contains(&id),
    });
    if table.shard_key.contains(&id) {
        if table.shards.len() > 1 {
            return Err(Error::unsupported("dropping a column that rows are distributed by"));
        }
        table.shard_key.clear();
    }
    let column = &mut table.columns[usize::from(id.0) - 1];
    column.dropped = true;
    column.not_null = false;
    column.default = None;
    column.identity = None;
    column.name = format!("........pg.dropped.{}........", id.0);
    let table_id = table.id;
    maker.edits.extend(owned(ctx, table_id, Some(id)));
    Ok(())
}

/// TRUNCATE: new shards; the old ones go after commit.
pub(super) async fn truncate(ctx: &mut StatementContext<'_>, truncate: &Truncate) -> Result<Outcome> {
    let mut tables = Vec::new();
    for target in &truncate.table_names {
        let name = split(ctx, &target.name)?;
        let found = table(ctx, &name)?;
        ctx.txn.lock_table(found.id, TableLock::Exclusive).await?;
        tables.push(table(ctx, &name).map_err(|_| no_relation(&name))?);
    }
    let restart = truncate.identity == Some(TruncateIdentityOption::Restart);
    let mut edits = Vec::new();
    for table in tables {
        let mut changed = (*table).clone();
        changed.shards = ctx.txn.new_shards(table.shards.len());
        for column in &mut changed.columns {
            // No row is older than any column now.
            column.missing = None;
        }
        if restart {
            let database = ctx.txn.database();
            for sequence in database.sequences.values() {
                if sequence.owned_by.is_some_and(|(of, _)| of == table.id) {
                    ctx.cluster
                        .set_value(ctx.session.database_id, sequence.id, sequence.start, false)
                        .await?;
                }
            }
        }
        edits.push(put(ctx, changed));
    }
    ctx.txn.edit(edits)?;
    done("TRUNCATE TABLE")
}
