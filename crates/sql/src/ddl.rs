//! CREATE, ALTER, DROP, TRUNCATE, COMMENT: checked here, then edits of the catalog inside the session's transaction.

mod alter;
mod constraint;
mod create;
mod drop;
mod index;
mod names;
mod objects;
mod sequence;
mod view;

pub(crate) use sequence::alter_sequence;

use crate::outcome::Outcome;
use crate::statement::StatementContext;
use datafusion::sql::sqlparser::ast::Statement;
use quiver_base::{Error, Result};

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

/// A tag without a count.
fn done(tag: &str) -> Result<Outcome> {
    Ok(Outcome::Done(tag.to_owned()))
}
