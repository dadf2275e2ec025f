//! SELECT … FOR UPDATE and FOR SHARE: the rows that a query will return are found, by the same query, and locked first.

use crate::bind::{Binder, find_table, relation_name};
use crate::statement::StatementContext;
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{self, Expr, Ident, Query, SelectItem, SetExpr, TableFactor};
use futures::TryStreamExt;
use quiver_base::{Error, Result, RowId, ShardId, SqlState, SqlType};
use quiver_cluster::{LockOutcome, RowRef, Table, TableLock};
use quiver_exec::{ROW_COLUMN, SHARD_COLUMN, from_datafusion};
use std::sync::Arc;

/// Locks what the query will return, if it says FOR UPDATE or FOR SHARE.
pub(crate) async fn lock_selected(
    ctx: &mut StatementContext<'_>,
    query: &Query,
    params: &[ScalarValue],
    types: &[SqlType],
) -> Result<()> {
    if query.locks.is_empty() {
        return Ok(());
    }
    if query.locks.iter().any(|lock| lock.nonblock.is_some()) {
        return Err(Error::unsupported("NOWAIT and SKIP LOCKED"));
    }
    let SetExpr::Select(select) = query.body.as_ref() else {
        return Err(refused("UNION/INTERSECT/EXCEPT"));
    };
    if select.distinct.is_some() {
        return Err(refused("DISTINCT clause"));
    }
    if !matches!(&select.group_by, ast::GroupByExpr::Expressions(exprs, _) if exprs.is_empty()) {
        return Err(refused("GROUP BY clause"));
    }
    let named: Vec<String> =
        query.locks.iter().filter_map(|lock| lock.of.as_ref()).map(ToString::to_string).collect();
    for (table, qualifier) in tables(ctx, select)? {
        if !named.is_empty() && !named.contains(&qualifier) {
            continue;
        }
        ctx.txn.lock_table(table.id, TableLock::Shared).await?;
        let mut query = query.clone();
        query.locks.clear();
        if let SetExpr::Select(select) = query.body.as_mut() {
            select.projection = [SHARD_COLUMN, ROW_COLUMN]
                .map(|column| {
                    let parts = vec![Ident::with_quote('"', &qualifier), Ident::with_quote('"', column)];
                    SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts))
                })
                .to_vec();
        }
        lock_rows_of(ctx, &table, &query, params, types).await?;
    }
    Ok(())
}

fn refused(what: &str) -> Error {
    Error::new(SqlState::FEATURE_NOT_SUPPORTED, format!("FOR UPDATE is not allowed with {what}"))
}

/// Tables in FROM, with the names that columns are qualified by.
fn tables(ctx: &StatementContext<'_>, select: &ast::Select) -> Result<Vec<(Arc<Table>, String)>> {
    let database = ctx.txn.database();
    let path = ctx.settings.search_path();
    let mut found = Vec::new();
    for from in &select.from {
        let factors = std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation));
        for factor in factors {
            let TableFactor::Table { name, alias, args: None, .. } = factor else { continue };
            let name = relation_name(name, &database.name)?;
            let Some(table) = find_table(&database, &path, &name) else { continue };
            let qualifier = match alias {
                Some(alias) => crate::bind::folded(&alias.name),
                None => name.name.clone(),
            };
            found.push((table.clone(), qualifier));
        }
    }
    Ok(found)
}

async fn lock_rows_of(
    ctx: &mut StatementContext<'_>,
    table: &Arc<Table>,
    query: &Query,
    params: &[ScalarValue],
    types: &[SqlType],
) -> Result<()> {
    loop {
        let declared: Vec<_> = types.iter().cloned().map(Some).collect();
        let binder = Binder::new(ctx, &declared).with_target(table.id);
        let bound = binder.bind(query)?;
        let plan = binder.fill(bound.plan, params, types)?;
        let stream = binder.start(&plan).await?;
        let batches: Vec<_> = stream.try_collect().await.map_err(from_datafusion)?;
        let mut rows = Vec::new();
        for batch in &batches {
            let shards = batch.column(0).as_primitive::<Int64Type>();
            let ids = batch.column(1).as_primitive::<Int64Type>();
            #[allow(clippy::cast_sign_loss)] // carried as bigint, made from u64
            rows.extend((0..batch.num_rows()).map(|row| RowRef {
                shard: ShardId(shards.value(row) as u64),
                row: RowId(ids.value(row) as u64),
            }));
        }
        if rows.is_empty() || ctx.txn.lock_rows(table, &rows).await? == LockOutcome::Unchanged {
            return Ok(());
        }
        ctx.txn.begin_statement().await?;
    }
}
