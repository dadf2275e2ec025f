//! SELECT … FOR UPDATE and FOR SHARE: the rows that a query will return are found, by the same query, and locked first. With SKIP
//! LOCKED the query is then run over those rows only that could be locked.

use crate::bind::{Binder, find_table, relation_name};
use crate::statement::StatementContext;
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::common::Column;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, Expr, Ident, LimitClause, LockType, NonBlock, Query, SelectItem, SetExpr,
    TableFactor, Value,
};
use futures::TryStreamExt;
use quiver_base::{Error, Result, RowId, ShardId, SqlState, SqlType};
use quiver_cluster::{LockOutcome, RowLock, RowRef, RowTry, Table};
use quiver_exec::{ROW_COLUMN, SHARD_COLUMN, from_datafusion};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows tried at once when a LIMIT says how many are wanted.
const TRY_AT_ONCE: usize = 64;
/// How often a statement is run again because rows changed under it.
const ATTEMPTS_MAX: usize = 1_000;

/// What is left to run after SKIP LOCKED: the query over the rows that are locked now, and the table whose rows it names.
pub(crate) struct Restricted {
    /// The query.
    pub query: Query,
    /// The table.
    pub table: Arc<Table>,
}

/// A query's parameters.
#[derive(Clone, Copy)]
struct Params<'a> {
    values: &'a [ScalarValue],
    types: &'a [SqlType],
}

/// Locks what the query will return, if it says FOR UPDATE or FOR SHARE.
pub(crate) async fn lock_selected(
    ctx: &mut StatementContext<'_>,
    query: &Query,
    values: &[ScalarValue],
    types: &[SqlType],
) -> Result<Option<Restricted>> {
    if query.locks.is_empty() {
        return Ok(None);
    }
    let select = lockable(query)?;
    let params = Params { values, types };
    let mut restricted = None;
    for (table, qualifier) in tables(ctx, select)? {
        let Some((lock, nonblock)) = clause_for(query, &qualifier) else { continue };
        let candidates = row_query(query, &qualifier);
        match nonblock {
            None => lock_or_wait(ctx, &table, &candidates, params, lock).await?,
            Some(NonBlock::Nowait) => lock_or_fail(ctx, &table, &candidates, params, lock).await?,
            Some(NonBlock::SkipLocked) if restricted.is_some() => {
                return Err(Error::unsupported("SKIP LOCKED of more than one table"));
            }
            Some(NonBlock::SkipLocked) => {
                let rows = lock_free(ctx, &table, query, &candidates, params, lock).await?;
                restricted = Some(Restricted { query: over_rows(query, &qualifier, &rows), table });
            }
        }
    }
    Ok(restricted)
}

/// The tables whose rows a query locks.
pub(crate) fn locked_tables(ctx: &StatementContext<'_>, query: &Query) -> Result<Vec<Arc<Table>>> {
    if query.locks.is_empty() {
        return Ok(Vec::new());
    }
    let mut tables = tables(ctx, lockable(query)?)?;
    tables.retain(|(_, qualifier)| clause_for(query, qualifier).is_some());
    Ok(tables.into_iter().map(|(table, _)| table).collect())
}

/// The SELECT of a query whose rows are rows of tables.
fn lockable(query: &Query) -> Result<&ast::Select> {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return Err(refused(query, "UNION/INTERSECT/EXCEPT"));
    };
    if select.distinct.is_some() {
        return Err(refused(query, "DISTINCT clause"));
    }
    if !matches!(&select.group_by, ast::GroupByExpr::Expressions(exprs, _) if exprs.is_empty()) {
        return Err(refused(query, "GROUP BY clause"));
    }
    if select.having.is_some() {
        return Err(refused(query, "HAVING clause"));
    }
    Ok(select)
}

fn refused(query: &Query, what: &str) -> Error {
    let strength = match query.locks.first().map(|lock| lock.lock_type) {
        Some(LockType::Share) => "SHARE",
        _ => "UPDATE",
    };
    Error::new(SqlState::FEATURE_NOT_SUPPORTED, format!("FOR {strength} is not allowed with {what}"))
}

/// How a table's rows are locked: by the strongest clause that names it or no table. One that does not wait counts for all.
fn clause_for(query: &Query, qualifier: &str) -> Option<(RowLock, Option<NonBlock>)> {
    let named = |lock: &&ast::LockClause| {
        lock.of.as_ref().is_none_or(|of| {
            let ident = of.0.last().and_then(|part| part.as_ident());
            ident.is_some_and(|ident| crate::bind::folded(ident) == qualifier)
        })
    };
    let clauses: Vec<_> = query.locks.iter().filter(named).collect();
    let exclusive = clauses.iter().any(|lock| matches!(lock.lock_type, LockType::Update));
    let nowait = clauses.iter().any(|lock| matches!(lock.nonblock, Some(NonBlock::Nowait)));
    let skips = clauses.iter().any(|lock| matches!(lock.nonblock, Some(NonBlock::SkipLocked)));
    let nonblock = match (nowait, skips) {
        (true, _) => Some(NonBlock::Nowait),
        (false, true) => Some(NonBlock::SkipLocked),
        (false, false) => None,
    };
    let lock = if exclusive { RowLock::Exclusive } else { RowLock::Shared };
    (!clauses.is_empty()).then_some((lock, nonblock))
}

fn row_columns(qualifier: &str) -> [Expr; 2] {
    [SHARD_COLUMN, ROW_COLUMN].map(|column| {
        let parts = vec![Ident::with_quote('"', qualifier), Ident::with_quote('"', column)];
        Expr::CompoundIdentifier(parts)
    })
}

/// The query, giving where its rows are.
fn row_query(query: &Query, qualifier: &str) -> Query {
    let mut query = query.clone();
    query.locks.clear();
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection = row_columns(qualifier).map(SelectItem::UnnamedExpr).to_vec();
    }
    query
}

/// The query over these rows of one of its tables only.
fn over_rows(query: &Query, qualifier: &str, rows: &[RowRef]) -> Query {
    let mut query = query.clone();
    query.locks.clear();
    let number = |value: u64| Expr::value(Value::Number(value.to_string(), false));
    let mut by_shard: BTreeMap<ShardId, Vec<Expr>> = BTreeMap::new();
    for row in rows {
        by_shard.entry(row.shard).or_default().push(number(row.row.0));
    }
    let binary = |left: Expr, op, right: Expr| Expr::BinaryOp { left: left.into(), op, right: right.into() };
    let [shard_column, row_column] = row_columns(qualifier);
    let of_shard = |(shard, list): (ShardId, Vec<Expr>)| {
        let is_listed = Expr::InList { expr: row_column.clone().into(), list, negated: false };
        let is_here = binary(shard_column.clone(), BinaryOperator::Eq, number(shard.0));
        Expr::Nested(binary(is_here, BinaryOperator::And, is_listed).into())
    };
    let any = by_shard.into_iter().map(of_shard).reduce(|one, other| binary(one, BinaryOperator::Or, other));
    let any = any.unwrap_or_else(|| Expr::value(Value::Boolean(false)));
    if let SetExpr::Select(select) = query.body.as_mut() {
        let locked = Expr::Nested(any.into());
        select.selection = Some(match select.selection.take() {
            Some(selection) => binary(Expr::Nested(selection.into()), BinaryOperator::And, locked),
            None => locked,
        });
    }
    query
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

/// A plan without the columns that say where rows are: `*` has brought them along.
pub(crate) fn without_row_columns(plan: LogicalPlan) -> Result<LogicalPlan> {
    let is_shown = |column: &Column| column.name != SHARD_COLUMN && column.name != ROW_COLUMN;
    let columns = plan.schema().columns();
    let shown: Vec<_> = columns
        .iter()
        .filter(|column| is_shown(column))
        .cloned()
        .map(datafusion::logical_expr::Expr::Column)
        .collect();
    if shown.len() == columns.len() {
        return Ok(plan);
    }
    LogicalPlanBuilder::from(plan).project(shown).and_then(LogicalPlanBuilder::build).map_err(from_datafusion)
}

/// The rows that a query of [`row_query`] finds, in its order.
async fn find_rows(
    ctx: &mut StatementContext<'_>,
    table: &Table,
    query: &Query,
    params: Params<'_>,
) -> Result<Vec<RowRef>> {
    let declared: Vec<_> = params.types.iter().cloned().map(Some).collect();
    let binder = Binder::new(ctx, &declared).with_target(table.id);
    let bound = binder.bind(query)?;
    let plan = binder.fill(bound.plan, params.values, params.types)?;
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
    Ok(rows)
}

async fn lock_or_wait(
    ctx: &mut StatementContext<'_>,
    table: &Arc<Table>,
    query: &Query,
    params: Params<'_>,
    lock: RowLock,
) -> Result<()> {
    loop {
        let rows = find_rows(ctx, table, query, params).await?;
        if rows.is_empty() || ctx.txn.lock_rows(table, &rows, lock).await? == LockOutcome::Unchanged {
            return Ok(());
        }
        ctx.txn.begin_statement().await?;
    }
}

/// NOWAIT.
async fn lock_or_fail(
    ctx: &mut StatementContext<'_>,
    table: &Arc<Table>,
    query: &Query,
    params: Params<'_>,
    lock: RowLock,
) -> Result<()> {
    for _ in 0..ATTEMPTS_MAX {
        let rows = find_rows(ctx, table, query, params).await?;
        if rows.is_empty() {
            return Ok(());
        }
        let tried = ctx.txn.try_lock_rows(table, &rows, lock).await?;
        if tried.contains(&RowTry::Busy) {
            let message = format!("could not obtain lock on row in relation \"{}\"", table.name);
            return Err(Error::new(SqlState::LOCK_NOT_AVAILABLE, message));
        }
        if !tried.contains(&RowTry::Changed) {
            return Ok(());
        }
        ctx.txn.begin_statement().await?;
    }
    Err(too_busy())
}

/// SKIP LOCKED: the rows that could be locked, in the query's order, no more than it wants.
async fn lock_free(
    ctx: &mut StatementContext<'_>,
    table: &Arc<Table>,
    query: &Query,
    candidates: &Query,
    params: Params<'_>,
    lock: RowLock,
) -> Result<Vec<RowRef>> {
    let wanted = wanted(query, params)?;
    let mut candidates = candidates.clone();
    candidates.limit_clause = None;
    candidates.fetch = None;
    'again: for _ in 0..ATTEMPTS_MAX {
        let found = find_rows(ctx, table, &candidates, params).await?;
        let mut locked = Vec::new();
        let mut left = found.as_slice();
        while locked.len() < wanted && !left.is_empty() {
            // No more than are wanted: others take what is left.
            let (now, later) = left.split_at((wanted - locked.len()).min(TRY_AT_ONCE).min(left.len()));
            left = later;
            let tried = ctx.txn.try_lock_rows(table, now, lock).await?;
            if tried.contains(&RowTry::Changed) {
                ctx.txn.begin_statement().await?;
                continue 'again;
            }
            locked.extend(now.iter().zip(tried).filter(|(_, it)| *it == RowTry::Locked).map(|(row, _)| *row));
        }
        return Ok(locked);
    }
    Err(too_busy())
}

fn too_busy() -> Error {
    Error::new(SqlState::SERIALIZATION_FAILURE, "could not serialize access due to concurrent update")
}

/// How many rows LIMIT and OFFSET make a query look at.
fn wanted(query: &Query, params: Params<'_>) -> Result<usize> {
    if query.fetch.is_some() {
        return Err(Error::unsupported("FETCH FIRST with SKIP LOCKED").with_hint("Use LIMIT."));
    }
    let (limit, offset) = match &query.limit_clause {
        None => return Ok(usize::MAX),
        Some(LimitClause::LimitOffset { limit, offset, .. }) => {
            (limit.as_ref(), offset.as_ref().map(|it| &it.value))
        }
        Some(LimitClause::OffsetCommaLimit { .. }) => return Err(not_a_number()),
    };
    let number = |expr: Option<&Expr>| expr.map(|expr| number_of(expr, params)).transpose();
    let (limit, offset) = (number(limit)?.flatten(), number(offset)?.flatten());
    Ok(limit.map_or(usize::MAX, |limit| limit.saturating_add(offset.unwrap_or(0))))
}

/// A number or a parameter; NULL is none.
fn number_of(expr: &Expr, params: Params<'_>) -> Result<Option<usize>> {
    let text = match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => number.clone(),
            Value::Null => return Ok(None),
            Value::Placeholder(name) => {
                let index = name
                    .trim_start_matches('$')
                    .parse::<usize>()
                    .ok()
                    .and_then(|number| number.checked_sub(1));
                match index.and_then(|index| params.values.get(index)) {
                    Some(value) if value.is_null() => return Ok(None),
                    Some(value) => value.to_string(),
                    None => return Err(not_a_number()),
                }
            }
            _ => return Err(not_a_number()),
        },
        _ => return Err(not_a_number()),
    };
    text.parse().map(Some).map_err(|_| not_a_number())
}

fn not_a_number() -> Error {
    Error::unsupported("SKIP LOCKED with a LIMIT or OFFSET that is neither a number nor a parameter")
}
