//! Schemas, extensions and comments.

use super::constraint::skipping;
use super::done;
use super::names::{cut, index, new_owner, no_relation, schema, sequence, split, table, view};
use crate::bind::folded;
use crate::outcome::Outcome;
use crate::statement::StatementContext;
use datafusion::sql::sqlparser::ast::{
    AlterSchema, AlterSchemaOperation, CommentObject, CreateExtension, DropExtension, Ident, ObjectName,
    ReferentialAction, SchemaName,
};
use quiver_base::{Error, Result, SqlState, SqlType};
use quiver_cluster::{CatalogEdit, Schema};
use std::sync::Arc;

/// pg_class.
const PG_CLASS: u32 = 1259;
/// pg_namespace.
const PG_NAMESPACE: u32 = 2615;
/// pg_database.
const PG_DATABASE: u32 = 1262;
/// pg_extension.
const PG_EXTENSION: u32 = 3079;

fn only(name: &ObjectName) -> Result<String> {
    match name.0.as_slice() {
        [part] => part.as_ident().map(|ident| cut(&folded(ident))),
        _ => None,
    }
    .ok_or_else(|| Error::new(SqlState::SYNTAX_ERROR, format!("improper name: {name}")))
}

/// CREATE SCHEMA.
pub(super) async fn create_schema(
    ctx: &mut StatementContext<'_>,
    name: &SchemaName,
    if_not_exists: bool,
) -> Result<Outcome> {
    let name = match name {
        SchemaName::Simple(name) | SchemaName::NamedAuthorization(name, _) => only(name)?,
        SchemaName::UnnamedAuthorization(role) => folded(role),
    };
    if name.starts_with("pg_") {
        return Err(Error::new(SqlState::RESERVED_NAME, format!("unacceptable schema name \"{name}\""))
            .with_detail("The prefix \"pg_\" is reserved for system schemas."));
    }
    ctx.txn.lock_name(0, &name).await?;
    if schema(&ctx.txn.database(), &name).is_ok() {
        let message = format!("schema \"{name}\" already exists");
        if if_not_exists {
            skipping(ctx, SqlState::DUPLICATE_SCHEMA, format!("{message}, skipping"));
            return done("CREATE SCHEMA");
        }
        return Err(Error::new(SqlState::DUPLICATE_SCHEMA, message));
    }
    let made = Schema { id: ctx.txn.new_oid(), name, owner: ctx.current_role() };
    ctx.txn.edit(vec![CatalogEdit::PutSchema(ctx.session.database_id, Arc::new(made))])?;
    done("CREATE SCHEMA")
}

/// ALTER SCHEMA … RENAME TO.
pub(super) async fn alter_schema(ctx: &mut StatementContext<'_>, alter: &AlterSchema) -> Result<Outcome> {
    let name = only(&alter.name)?;
    let found = schema(&ctx.txn.database(), &name)?;
    for operation in &alter.operations {
        match operation {
            AlterSchemaOperation::Rename { name: new } => {
                let new = only(new)?;
                ctx.txn.lock_name(0, &name).await?;
                ctx.txn.lock_name(0, &new).await?;
                if schema(&ctx.txn.database(), &new).is_ok() {
                    return Err(Error::new(
                        SqlState::DUPLICATE_SCHEMA,
                        format!("schema \"{new}\" already exists"),
                    ));
                }
                let changed = Schema { name: new, ..(*found).clone() };
                ctx.txn.edit(vec![CatalogEdit::PutSchema(ctx.session.database_id, Arc::new(changed))])?;
            }
            AlterSchemaOperation::OwnerTo { owner } => {
                let changed = Schema { owner: new_owner(ctx, owner)?, ..(*found).clone() };
                ctx.txn.edit(vec![CatalogEdit::PutSchema(ctx.session.database_id, Arc::new(changed))])?;
            }
            other => return Err(Error::unsupported(format!("ALTER SCHEMA {other}"))),
        }
    }
    done("ALTER SCHEMA")
}

/// CREATE EXTENSION: `vector` is there; no other can be had.
pub(super) fn create_extension(ctx: &mut StatementContext<'_>, create: &CreateExtension) -> Result<Outcome> {
    let name = folded(&create.name);
    let database = ctx.txn.database();
    if database.extensions.contains_key(&name) {
        let message = format!("extension \"{name}\" already exists");
        // Applications create it first thing, and a database of PostgreSQL would not have it yet.
        let message = format!("{message}, skipping");
        skipping(ctx, SqlState::DUPLICATE_OBJECT, message);
        return done("CREATE EXTENSION");
    }
    if name == "vector" || name == "plpgsql" {
        let schema_id = match &create.schema {
            Some(name) => schema(&database, &folded(name))?.id,
            None => quiver_cluster::PUBLIC_SCHEMA,
        };
        ctx.txn.edit(vec![CatalogEdit::PutExtension(ctx.session.database_id, name, schema_id)])?;
        return done("CREATE EXTENSION");
    }
    Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, format!("extension \"{name}\" is not available"))
        .with_detail(
            "Quiver has the types, functions and operators of \"vector\" built in, and no other extension.",
        ))
}

/// DROP EXTENSION: refused while a column has one of its types.
pub(super) fn drop_extension(ctx: &mut StatementContext<'_>, drop: &DropExtension) -> Result<Outcome> {
    for ident in &drop.names {
        let name = folded(ident);
        let database = ctx.txn.database();
        if !database.extensions.contains_key(&name) {
            let message = format!("extension \"{name}\" does not exist");
            if !drop.if_exists {
                return Err(Error::new(SqlState::UNDEFINED_OBJECT, message));
            }
            skipping(ctx, SqlState::UNDEFINED_OBJECT, format!("{message}, skipping"));
            continue;
        }
        let user = database.tables.values().find_map(|table| {
            let column = table
                .columns
                .iter()
                .find(|column| !column.dropped && matches!(column.ty, SqlType::Vector(_)))?;
            Some(format!("column {} of table {} depends on type vector", column.name, table.name))
        });
        if let (Some(user), "vector") = (user, name.as_str()) {
            if drop.cascade_or_restrict == Some(ReferentialAction::Cascade) {
                return Err(Error::unsupported("DROP EXTENSION vector CASCADE"));
            }
            return Err(Error::new(
                SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
                format!("cannot drop extension {name} because other objects depend on it"),
            )
            .with_detail(user)
            .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
        }
        ctx.txn.edit(vec![CatalogEdit::DropExtension(ctx.session.database_id, name)])?;
    }
    done("DROP EXTENSION")
}

/// COMMENT ON.
pub(super) fn comment(
    ctx: &mut StatementContext<'_>,
    kind: CommentObject,
    name: &ObjectName,
    text: Option<String>,
) -> Result<Outcome> {
    let text = text.filter(|text| !text.is_empty());
    let database = ctx.txn.database();
    let key = match kind {
        CommentObject::Table => (PG_CLASS, table(ctx, &split(ctx, name)?)?.id.0, 0),
        CommentObject::Index => {
            let name = split(ctx, name)?;
            let (found, position) = index(ctx, &name).ok_or_else(|| no_relation(&name))?;
            (PG_CLASS, found.indexes[position].id.0, 0)
        }
        CommentObject::Sequence => {
            let name = split(ctx, name)?;
            (PG_CLASS, sequence(ctx, &name).ok_or_else(|| no_relation(&name))?.id.0, 0)
        }
        CommentObject::View => {
            let name = split(ctx, name)?;
            (PG_CLASS, view(ctx, &name).ok_or_else(|| no_relation(&name))?.id.0, 0)
        }
        CommentObject::Column => column(ctx, name)?,
        CommentObject::Schema => (PG_NAMESPACE, schema(&database, &only(name)?)?.id, 0),
        CommentObject::Database => (PG_DATABASE, database.id.0, 0),
        CommentObject::Extension => (PG_EXTENSION, 0, 0),
        other => return Err(Error::unsupported(format!("COMMENT ON {other}"))),
    };
    ctx.txn.edit(vec![CatalogEdit::PutComment(ctx.session.database_id, key, text)])?;
    done("COMMENT")
}

fn column(ctx: &StatementContext<'_>, name: &ObjectName) -> Result<(u32, u32, u32)> {
    let parts: Vec<Ident> = name.0.iter().filter_map(|part| part.as_ident()).cloned().collect();
    let Some((last, of)) = parts.split_last().filter(|(_, of)| !of.is_empty()) else {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "column name must be qualified"));
    };
    let found = table(ctx, &split(ctx, &ObjectName::from(of.to_vec()))?)?;
    let wanted = folded(last);
    let column = found.columns.iter().find(|column| !column.dropped && column.name == wanted);
    let column = column.ok_or_else(|| {
        Error::new(
            SqlState::UNDEFINED_COLUMN,
            format!("column \"{wanted}\" of relation \"{}\" does not exist", found.name),
        )
    })?;
    Ok((PG_CLASS, found.id.0, u32::from(column.id.0)))
}
