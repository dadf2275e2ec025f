//! VACUUM, ANALYZE, CHECKPOINT and REINDEX: asks the cluster to do now what upkeep does by itself.

use crate::bind::{find_table, relation_name};
use crate::outcome::Outcome;
use crate::parser::MaintenanceCommand;
use crate::statement::StatementContext;
use datafusion::sql::sqlparser::ast::ObjectName;
use quiver_base::{Error, Result, SqlState};
use quiver_cluster::Table;
use std::sync::Arc;

/// Runs a maintenance statement.
pub(crate) async fn execute(ctx: &mut StatementContext<'_>, command: &MaintenanceCommand) -> Result<Outcome> {
    match command {
        MaintenanceCommand::Vacuum { full, tables, .. } => {
            let database = ctx.session.database_id;
            for table in named(ctx, tables)? {
                ctx.cluster.compact(database, table.id, *full).await?;
            }
            Ok(Outcome::Done("VACUUM".to_owned()))
        }
        MaintenanceCommand::Analyze(tables) => {
            named(ctx, tables)?;
            Ok(Outcome::Done("ANALYZE".to_owned()))
        }
        MaintenanceCommand::Checkpoint => {
            ctx.cluster.checkpoint().await?;
            Ok(Outcome::Done("CHECKPOINT".to_owned()))
        }
        MaintenanceCommand::Reindex { kind, name, concurrently } => {
            if *concurrently && ctx.in_block {
                return Err(Error::new(
                    SqlState::ACTIVE_SQL_TRANSACTION,
                    "REINDEX CONCURRENTLY cannot run inside a transaction block",
                ));
            }
            let database = ctx.session.database_id;
            for table in reindexed(ctx, kind, name.as_ref())? {
                ctx.cluster.compact(database, table.id, true).await?;
                for index in &table.indexes {
                    if index.is_vector() {
                        ctx.cluster.wait_indexed(database, table.id, index.id).await?;
                    }
                }
            }
            Ok(Outcome::Done("REINDEX".to_owned()))
        }
    }
}

/// The named tables; all if none is named.
fn named(ctx: &StatementContext<'_>, names: &[ObjectName]) -> Result<Vec<Arc<Table>>> {
    let database = ctx.txn.database();
    if names.is_empty() {
        return Ok(database.tables.values().cloned().collect());
    }
    names.iter().map(|name| one(ctx, name)).collect()
}

fn one(ctx: &StatementContext<'_>, name: &ObjectName) -> Result<Arc<Table>> {
    let database = ctx.txn.database();
    let name = relation_name(name, &database.name)?;
    find_table(&database, &ctx.settings.search_path(), &name)
        .cloned()
        .ok_or_else(|| Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist")))
}

fn reindexed(ctx: &StatementContext<'_>, kind: &str, name: Option<&ObjectName>) -> Result<Vec<Arc<Table>>> {
    let database = ctx.txn.database();
    match (kind, name) {
        ("TABLE", Some(name)) => match crate::ddl::index_of(ctx, name)? {
            Some(_) => {
                let name = relation_name(name, &database.name)?.name;
                let message = format!("\"{name}\" is not a table or materialized view");
                Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message))
            }
            None => Ok(vec![one(ctx, name)?]),
        },
        ("INDEX", Some(name)) => match crate::ddl::index_of(ctx, name)? {
            Some(table) => Ok(vec![table]),
            None => {
                let table = one(ctx, name)?;
                let message = format!("\"{}\" is not an index", table.name);
                Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message))
            }
        },
        ("SCHEMA", Some(name)) => {
            let name = relation_name(name, &database.name)?;
            let schema =
                database.schemas.values().find(|schema| schema.name == name.name).ok_or_else(|| {
                    Error::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{name}\" does not exist"))
                })?;
            Ok(database.tables.values().filter(|table| table.schema == schema.id).cloned().collect())
        }
        _ => Ok(database.tables.values().cloned().collect()),
    }
}
