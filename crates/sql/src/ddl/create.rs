//! CREATE TABLE, in all its forms: columns, LIKE, AS.

use super::constraint::{TableMaker, skipping};
use super::done;
use super::names::{creation_schema, is_taken, split, table};
use crate::bind::{Binder, folded};
use crate::dml::live_columns;
use crate::outcome::Outcome;
use crate::statement::StatementContext;
use datafusion::sql::sqlparser::ast::{
    self, CreateTable, CreateTableLikeKind, CreateTableOptions, SqlOption,
};
use futures::StreamExt;
use quiver_base::{Error, Result, SqlState, SqlType, TableId};
use quiver_cluster::{CatalogEdit, Column, ConflictMode, ConstraintKind, Table};
use quiver_exec::from_datafusion;
use std::sync::Arc;

/// The most shards a table may have.
const SHARDS_MAX: usize = 64;

/// CREATE TABLE.
pub(super) async fn create_table(ctx: &mut StatementContext<'_>, create: &CreateTable) -> Result<Outcome> {
    if create.temporary {
        return Err(Error::unsupported("CREATE TEMPORARY TABLE"));
    }
    if create.partition_by.is_some() || create.partition_of.is_some() {
        return Err(Error::unsupported("PARTITION BY"));
    }
    if create.inherits.is_some() {
        return Err(Error::unsupported("INHERITS"));
    }
    let name = split(ctx, &create.name)?;
    let schema = creation_schema(ctx, &name)?;
    ctx.txn.lock_name(schema.id, &name.name).await?;
    if is_taken(&ctx.txn.database(), schema.id, &name.name) {
        if create.if_not_exists {
            let message = format!("relation \"{}\" already exists, skipping", name.name);
            skipping(ctx, SqlState::DUPLICATE_TABLE, message);
            return done("CREATE TABLE");
        }
        return Err(Error::new(
            SqlState::DUPLICATE_TABLE,
            format!("relation \"{}\" already exists", name.name),
        ));
    }
    let (shards, options) = table_options(&create.table_options)?;
    let table = Table {
        id: TableId(ctx.txn.new_oid()),
        schema: schema.id,
        name: name.name.clone(),
        owner: ctx.current_role(),
        columns: Vec::new(),
        constraints: Vec::new(),
        indexes: Vec::new(),
        shards: ctx.txn.new_shards(shards),
        shard_key: Vec::new(),
        options,
        version: 0,
    };
    let mut maker = TableMaker::new(ctx, table);
    if let Some(CreateTableLikeKind::Parenthesized(like) | CreateTableLikeKind::Plain(like)) = &create.like {
        copy_columns(ctx, &mut maker, &like.name)?;
    }
    let query = match &create.query {
        Some(query) => Some(query_columns(ctx, &mut maker, query, &create.columns)?),
        None => None,
    };
    if query.is_none() {
        for column in &create.columns {
            maker.add_column(ctx, column)?;
        }
    }
    for constraint in &create.constraints {
        maker.add_constraint(ctx, constraint)?;
    }
    maker.table.shard_key = shard_key(&maker.table);
    let id = maker.table.id;
    let edits = maker.finish(ctx);
    ctx.txn.edit(edits)?;
    match query {
        Some(bound) => fill(ctx, id, bound).await,
        None => done("CREATE TABLE"),
    }
}

/// Rows go to shards by the hash of their primary key.
fn shard_key(table: &Table) -> Vec<quiver_base::ColumnId> {
    let primary = table.constraints.iter().find_map(|constraint| match constraint.kind {
        ConstraintKind::PrimaryKey { index } => Some(index),
        _ => None,
    });
    let index = table.indexes.iter().find(|index| Some(index.id) == primary);
    index.map(|index| index.columns.iter().map(|key| key.column).collect()).unwrap_or_default()
}

fn table_options(options: &CreateTableOptions) -> Result<(usize, Vec<(String, String)>)> {
    let CreateTableOptions::With(list) = options else { return Ok((1, Vec::new())) };
    let mut shards = 1;
    let mut kept = Vec::new();
    for option in list {
        let SqlOption::KeyValue { key, value } = option else {
            return Err(Error::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{option}\"")));
        };
        let name = folded(key);
        let text = value.to_string().trim_matches('\'').to_owned();
        match name.as_str() {
            "shards" => {
                shards =
                    text.parse::<usize>().ok().filter(|n| (1..=SHARDS_MAX).contains(n)).ok_or_else(|| {
                        Error::new(
                            SqlState::INVALID_PARAMETER_VALUE,
                            format!("value {text} out of bounds for option \"shards\""),
                        )
                        .with_detail(format!("Valid values are between \"1\" and \"{SHARDS_MAX}\"."))
                    })?;
            }
            // PostgreSQL's storage parameters mean nothing here; dumps have them.
            "fillfactor" | "autovacuum_enabled" | "toast_tuple_target" | "parallel_workers" => {}
            _ => {
                return Err(Error::new(
                    SqlState::INVALID_PARAMETER_VALUE,
                    format!("unrecognized parameter \"{name}\""),
                ));
            }
        }
        kept.push((name, text));
    }
    Ok((shards, kept))
}

/// LIKE: names, types and NOT NULL.
fn copy_columns(ctx: &StatementContext<'_>, maker: &mut TableMaker, name: &ast::ObjectName) -> Result<()> {
    let source = table(ctx, &split(ctx, name)?)?;
    for column in live_columns(&source) {
        let id = quiver_base::ColumnId(u16::try_from(maker.table.columns.len() + 1).unwrap_or(u16::MAX));
        maker.table.columns.push(Column {
            id,
            default: None,
            identity: None,
            missing: None,
            dropped: false,
            ..column.clone()
        });
    }
    Ok(())
}

/// CREATE TABLE AS: the query's columns, perhaps renamed.
fn query_columns(
    ctx: &StatementContext<'_>,
    maker: &mut TableMaker,
    query: &ast::Query,
    names: &[ast::ColumnDef],
) -> Result<crate::bind::BoundQuery> {
    let bound = Binder::new(ctx, &[]).bind_alone(query)?;
    if names.len() > bound.schema.fields().len() {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "too many column names were specified"));
    }
    for (position, field) in bound.schema.fields().iter().enumerate() {
        let name = names.get(position).map_or_else(|| field.name().clone(), |column| folded(&column.name));
        if maker.column(&name).is_some() {
            return Err(Error::new(
                SqlState::DUPLICATE_COLUMN,
                format!("column \"{name}\" specified more than once"),
            ));
        }
        maker.table.columns.push(Column {
            id: quiver_base::ColumnId(u16::try_from(position + 1).unwrap_or(u16::MAX)),
            name,
            ty: SqlType::of_field(field).unwrap_or(SqlType::Text),
            not_null: false,
            default: None,
            identity: None,
            missing: None,
            dropped: false,
        });
    }
    Ok(bound)
}

async fn fill(
    ctx: &mut StatementContext<'_>,
    id: TableId,
    bound: crate::bind::BoundQuery,
) -> Result<Outcome> {
    let database = ctx.txn.database();
    let table = database
        .tables
        .get(&id)
        .cloned()
        .ok_or_else(|| Error::internal("a table that was just created is gone"))?;
    let binder = Binder::new(ctx, &[]);
    let mut stream = binder.start(&bound.plan).await?;
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        let batch = crate::bind::conform(&batch.map_err(from_datafusion)?, &bound.schema)?;
        let columns = batch.columns().to_vec();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let schema = crate::dml::row_schema(&table);
        let batch = arrow::array::RecordBatch::try_new_with_options(schema, columns, &options)?;
        rows += ctx.txn.insert(&table, &batch, ConflictMode::Error).await?.inserted.len();
    }
    Ok(Outcome::Done(format!("SELECT {rows}")))
}

/// Puts a changed table.
pub(super) fn put(ctx: &StatementContext<'_>, mut table: Table) -> CatalogEdit {
    table.version += 1;
    CatalogEdit::PutTable(ctx.session.database_id, Arc::new(table))
}
