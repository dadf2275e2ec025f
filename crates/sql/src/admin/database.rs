//! CREATE, ALTER and DROP DATABASE.

use super::{DatabaseOptions, actor, denied, limit, lock_role, lock_shared_name, name_of, skipping};
use crate::session::ClosedDatabase;
use crate::statement::StatementContext;
use quiver_base::{DatabaseId, Error, Result, SqlState};
use quiver_cluster::{CatalogEdit, Database};
use std::sync::Arc;

/// CREATE DATABASE.
pub(super) async fn create(
    ctx: &mut StatementContext<'_>,
    name: &str,
    options: &DatabaseOptions,
) -> Result<&'static str> {
    refuse_in_block(ctx, "CREATE DATABASE")?;
    let actor = actor(ctx);
    if !actor.create_database {
        return Err(denied("permission denied to create database"));
    }
    lock_shared_name(ctx, "database", name).await?;
    if by_name(ctx, name).is_some() || is_template(name) {
        return Err(exists(name));
    }
    let group = ctx.txn.catalog().least_used_group(ctx.cluster.data_groups());
    let mut database = Database::new(DatabaseId(ctx.txn.new_oid()), name, actor.id, group);
    apply(ctx, &mut database, options).await?;
    ctx.txn.edit(vec![CatalogEdit::PutDatabase(Arc::new(database))])?;
    Ok("CREATE DATABASE")
}

/// ALTER DATABASE name options.
pub(super) async fn alter(
    ctx: &mut StatementContext<'_>,
    name: &str,
    options: &DatabaseOptions,
) -> Result<&'static str> {
    let found = lock_database(ctx, name).await?;
    require_owner(ctx, &found)?;
    if options.allow_connections == Some(false) && found.id == ctx.session.database_id {
        let message = "cannot disallow connections for current database";
        return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
    }
    let mut changed = Database::clone(&found);
    apply(ctx, &mut changed, options).await?;
    ctx.txn.edit(vec![CatalogEdit::PutDatabase(Arc::new(changed))])?;
    Ok("ALTER DATABASE")
}

/// ALTER DATABASE … RENAME TO.
pub(super) async fn rename(ctx: &mut StatementContext<'_>, name: &str, to: &str) -> Result<&'static str> {
    let found = lock_database(ctx, name).await?;
    require_owner(ctx, &found)?;
    if !actor(ctx).create_database {
        return Err(denied("permission denied to rename database"));
    }
    lock_shared_name(ctx, "database", to).await?;
    if by_name(ctx, to).is_some() || is_template(to) {
        return Err(exists(to));
    }
    if found.id == ctx.session.database_id {
        return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, "current database cannot be renamed"));
    }
    let closed = close(ctx, &found)?;
    let changed = Database { name: to.to_owned(), ..Database::clone(&found) };
    ctx.txn.edit(vec![CatalogEdit::PutDatabase(Arc::new(changed))])?;
    ctx.txn.keep(closed);
    Ok("ALTER DATABASE")
}

/// DROP DATABASE.
pub(super) async fn drop(
    ctx: &mut StatementContext<'_>,
    name: &str,
    if_exists: bool,
    force: bool,
) -> Result<&'static str> {
    refuse_in_block(ctx, "DROP DATABASE")?;
    let found = match lock_database(ctx, name).await {
        Err(error) if if_exists && error.state() == SqlState::INVALID_CATALOG_NAME => {
            skipping(ctx, format!("database \"{name}\" does not exist, skipping"));
            return Ok("DROP DATABASE");
        }
        found => found?,
    };
    require_owner(ctx, &found)?;
    if found.is_template {
        return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, "cannot drop a template database"));
    }
    if found.id == ctx.session.database_id {
        return Err(Error::new(SqlState::OBJECT_IN_USE, "cannot drop the currently open database"));
    }
    let closed = match close(ctx, &found) {
        Err(_) if force => {
            let backends = ctx.session.backends.upgrade().ok_or_else(stopping)?;
            let (closed, _) = backends.close_database(found.id, ctx.session.pid);
            if !backends.end_others_in(found.id, ctx.session.pid).await {
                return Err(in_use(&found, 1));
            }
            closed
        }
        closed => closed?,
    };
    ctx.txn.edit(vec![CatalogEdit::DropDatabase(found.id)])?;
    // Nobody gets in until the transaction has ended.
    ctx.txn.keep(closed);
    Ok("DROP DATABASE")
}

/// Lets nobody in any more; 55006 while somebody else is in.
fn close(ctx: &StatementContext<'_>, database: &Database) -> Result<ClosedDatabase> {
    let backends = ctx.session.backends.upgrade().ok_or_else(stopping)?;
    match backends.close_database(database.id, ctx.session.pid) {
        (closed, 0) => Ok(closed),
        (_, others) => Err(in_use(database, others)),
    }
}

fn stopping() -> Error {
    Error::new(SqlState::ADMIN_SHUTDOWN, "the node is shutting down")
}

fn in_use(database: &Database, others: usize) -> Error {
    let detail = match others {
        1 => "There is 1 other session using the database.".to_owned(),
        _ => format!("There are {others} other sessions using the database."),
    };
    let message = format!("database \"{}\" is being accessed by other users", database.name);
    Error::new(SqlState::OBJECT_IN_USE, message).with_detail(detail)
}

fn by_name(ctx: &StatementContext<'_>, name: &str) -> Option<Arc<Database>> {
    ctx.txn.catalog().databases.values().find(|database| database.name == name).cloned()
}

/// The names of the two template databases, which are shown and cannot be connected to.
fn is_template(name: &str) -> bool {
    matches!(name, "template0" | "template1")
}

/// A database by name, locked; 3D000.
pub(super) async fn lock_database(ctx: &mut StatementContext<'_>, name: &str) -> Result<Arc<Database>> {
    if is_template(name) {
        return Err(Error::unsupported(format!("changing database \"{name}\"")));
    }
    lock_shared_name(ctx, "database", name).await?;
    by_name(ctx, name).ok_or_else(|| {
        Error::new(SqlState::INVALID_CATALOG_NAME, format!("database \"{name}\" does not exist"))
    })
}

/// 42501 unless the database is the acting role's.
pub(super) fn require_owner(ctx: &StatementContext<'_>, database: &Database) -> Result<()> {
    let actor = actor(ctx);
    if actor.superuser || ctx.txn.catalog().is_member(actor.id, database.owner) {
        return Ok(());
    }
    Err(denied(format!("must be owner of database {}", database.name)))
}

async fn apply(
    ctx: &mut StatementContext<'_>,
    database: &mut Database,
    options: &DatabaseOptions,
) -> Result<()> {
    if let Some(owner) = &options.owner {
        let name = name_of(ctx, owner);
        let owner = lock_role(ctx, &name).await?;
        let actor = actor(ctx);
        if !actor.superuser && !ctx.txn.catalog().can_set_role(actor.id, owner.id) {
            return Err(denied(format!("must be able to SET ROLE \"{name}\"")));
        }
        database.owner = owner.id;
    }
    if let Some(given) = options.connection_limit {
        database.connection_limit = limit(given)?;
    }
    database.allow_connections = options.allow_connections.unwrap_or(database.allow_connections);
    database.is_template = options.is_template.unwrap_or(database.is_template);
    Ok(())
}

fn refuse_in_block(ctx: &StatementContext<'_>, what: &str) -> Result<()> {
    if !ctx.in_block {
        return Ok(());
    }
    let message = format!("{what} cannot run inside a transaction block");
    Err(Error::new(SqlState::ACTIVE_SQL_TRANSACTION, message))
}

fn exists(name: &str) -> Error {
    Error::new(SqlState::DUPLICATE_DATABASE, format!("database \"{name}\" already exists"))
}
