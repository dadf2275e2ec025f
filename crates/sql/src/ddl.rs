//! CREATE, ALTER, DROP, TRUNCATE, COMMENT: checked here, then edits of the catalog inside the session's transaction.

mod alter;
mod constraint;
mod create;
mod drop;
mod index;
mod index_class;
mod index_key;
mod names;
mod objects;
mod retype;
mod sequence;
mod view;

pub(crate) use sequence::alter_sequence;

use crate::outcome::Outcome;
use crate::statement::StatementContext;
use datafusion::sql::sqlparser::ast::{ObjectName, Statement};
use quiver_base::{Error, Result, SqlState};
use quiver_cluster::Table;
use std::sync::Arc;

/// Runs a DDL statement.
pub(crate) async fn execute(ctx: &mut StatementContext<'_>, statement: &Statement) -> Result<Outcome> {
    match statement {
        Statement::CreateTable(create) => create::create_table(ctx, create).await,
        Statement::CreateIndex(create) => index::create_index(ctx, create).await,
        Statement::CreateSchema { schema_name, if_not_exists, .. } => {
            objects::create_schema(ctx, schema_name, *if_not_exists).await
        }
        Statement::CreateSequence { if_not_exists, name, data_type, sequence_options, owned_by, .. } => {
            sequence::create_sequence(
                ctx,
                *if_not_exists,
                name,
                data_type.as_ref(),
                sequence_options,
                owned_by.as_ref(),
            )
            .await
        }
        Statement::CreateView(create) => view::create_view(ctx, create).await,
        Statement::CreateExtension(create) => objects::create_extension(ctx, create),
        Statement::DropExtension(drop) => objects::drop_extension(ctx, drop),
        Statement::AlterTable(alter) => alter::alter_table(ctx, alter).await,
        Statement::AlterIndex { name, operation } => index::alter_index(ctx, name, operation).await,
        Statement::AlterSchema(alter) => objects::alter_schema(ctx, alter).await,
        Statement::Drop { purge: true, .. } if ctx.in_block => Err(Error::new(
            SqlState::ACTIVE_SQL_TRANSACTION,
            "DROP INDEX CONCURRENTLY cannot run inside a transaction block",
        )),
        Statement::Drop { object_type, if_exists, names, cascade, .. } => {
            drop::drop_objects(ctx, *object_type, *if_exists, names, *cascade).await
        }
        Statement::Truncate(truncate) => drop::truncate(ctx, truncate).await,
        Statement::Comment { object_type, object_name, comment, .. } => {
            objects::comment(ctx, *object_type, object_name, comment.clone())
        }
        other => Err(Error::unsupported(other)),
    }
}

/// The table of the index with a name, if there is such an index.
pub(crate) fn index_of(ctx: &StatementContext<'_>, name: &ObjectName) -> Result<Option<Arc<Table>>> {
    let name = names::split(ctx, name)?;
    Ok(names::index(ctx, &name).map(|(table, _)| table))
}

/// A tag without a count.
fn done(tag: &str) -> Result<Outcome> {
    Ok(Outcome::Done(tag.to_owned()))
}
