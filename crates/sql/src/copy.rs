//! COPY: a table or a query out to the client, rows from the client into a table, in PostgreSQL's text, CSV and binary
//! formats.

mod binary;
mod csv;
mod options;
mod sink;
mod source;
mod text;

#[cfg(test)]
mod tests;

use crate::bind::{Binder, bare_select, query_of, relation_name};
use crate::dml::{live_columns, target_columns};
use crate::outcome::{CopyFormat, Outcome};
use crate::parser::{CopySource, CopyStatement, CopyTarget};
use crate::statement::StatementContext;
use datafusion::sql::sqlparser::ast::{self, Expr, Ident, SelectItem, TableFactor, TableWithJoins};
use options::{Format, Options};
use quiver_base::{Error, Result, SqlState};

/// Starts a COPY.
pub(crate) async fn execute(ctx: &mut StatementContext<'_>, copy: &CopyStatement) -> Result<Outcome> {
    if copy.target == CopyTarget::Server {
        return Err(Error::unsupported("COPY to or from a file of the server")
            .with_hint("Use STDIN and STDOUT, as psql's \\copy does."));
    }
    match (&copy.source, copy.to) {
        (CopySource::Table(name, columns), false) => copy_in(ctx, copy, name, columns).await,
        (CopySource::Table(name, columns), true) => {
            let query = table_query(ctx, name, columns)?;
            copy_out(ctx, copy, &query).await
        }
        (CopySource::Query(statement), _) => match statement.as_ref() {
            ast::Statement::Query(query) => copy_out(ctx, copy, query).await,
            _ => Err(Error::unsupported("COPY of a statement that writes")),
        },
    }
}

async fn copy_in(
    ctx: &mut StatementContext<'_>,
    copy: &CopyStatement,
    name: &ast::ObjectName,
    columns: &[Ident],
) -> Result<Outcome> {
    let options = Options::parse(&copy.options, false)?;
    let relation = relation_name(name, &ctx.session.database)?;
    let table = loop {
        let table = Binder::new(ctx, &[]).table(&relation)?;
        if !ctx.txn.lock_for_write(&table).await? {
            break table;
        }
    };
    let binder = Binder::new(ctx, &[]);
    let positions = target_columns(&table, columns)?;
    let sink = sink::CopyIn::new(&binder, table, positions, options, copy.selection.as_deref())?;
    Ok(Outcome::CopyIn(Box::new(sink)))
}

/// `SELECT columns FROM table`.
fn table_query(ctx: &StatementContext<'_>, name: &ast::ObjectName, columns: &[Ident]) -> Result<ast::Query> {
    let binder = Binder::new(ctx, &[]);
    let relation = relation_name(name, &ctx.session.database)?;
    let mut select = bare_select();
    match binder.table(&relation) {
        Ok(table) => {
            let positions = target_columns(&table, columns)?;
            let live = live_columns(&table);
            select.projection = positions
                .iter()
                .map(|position| {
                    let ident = Ident::with_quote('"', live[*position].name.clone());
                    SelectItem::UnnamedExpr(Expr::Identifier(ident))
                })
                .collect();
        }
        // A system relation: planned like any other, named columns and all.
        Err(error) if error.state() == SqlState::UNDEFINED_TABLE && columns.is_empty() => {
            select.projection = vec![SelectItem::Wildcard(ast::WildcardAdditionalOptions::default())];
        }
        Err(error) => return Err(error),
    }
    let relation = TableFactor::Table {
        name: name.clone(),
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    };
    select.from = vec![TableWithJoins { relation, joins: Vec::new() }];
    Ok(query_of(select))
}

async fn copy_out(
    ctx: &mut StatementContext<'_>,
    copy: &CopyStatement,
    query: &ast::Query,
) -> Result<Outcome> {
    let options = Options::parse(&copy.options, true)?;
    let binder = Binder::new(ctx, &[]);
    let bound = binder.bind_alone(query)?;
    let stream = binder.start(&bound.plan).await?;
    let stream = crate::bind::conform_stream(stream, &bound.schema);
    let format =
        CopyFormat { binary: options.format == Format::Binary, columns: bound.schema.fields().len() };
    let style = binder.style.output.clone();
    let stream = source::encode(stream, bound.schema, options, style)?;
    Ok(Outcome::CopyOut { format, stream })
}
