//! UPDATE and DELETE. The rows to change are found by a query whose columns are the target's row references, its old values,
//! whatever else is in FROM or USING, and the new values. Rows that another transaction changed meanwhile are locked and the
//! query runs again (READ COMMITTED).

use super::checks::RowChecks;
use super::insert::{batch_of, rows_outcome, take_rows};
use super::returning::Returning;
use super::target::{column_position, last_ident, live_columns, target};
use super::values::is_default;
use crate::bind::{Binder, CastContext, bare_select, coerce_expr, folded, query_of};
use crate::functions::quote_ident;
use crate::outcome::Outcome;
use crate::parser::parse_expression;
use crate::statement::StatementContext;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Int64Type, Schema};
use datafusion::common::{Column, DFSchema, DFSchemaRef};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    self, AssignmentTarget, FromTable, SelectItem, TableFactor, TableWithJoins, UpdateTableFromKind,
};
use futures::TryStreamExt;
use quiver_base::{Error, Result, RowId, ShardId, SqlState, SqlType, TableId};
use quiver_cluster::{LockOutcome, RowLock, RowRef, Table};
use quiver_exec::{ROW_COLUMN, SHARD_COLUMN, from_datafusion};
use std::collections::HashSet;
use std::sync::Arc;

/// How often a statement starts over because others keep changing its rows.
pub(super) const ATTEMPTS_MAX: usize = 10_000;

/// A bound UPDATE or DELETE.
#[derive(Debug)]
pub(crate) struct BoundChange {
    /// The table.
    pub table: Arc<Table>,
    /// RETURNING.
    pub returning: Option<Returning>,
    plan: LogicalPlan,
    /// Where the target's columns are in the plan's output: shard, row, then the live columns.
    shard: usize,
    row: usize,
    old: Vec<usize>,
    /// For UPDATE: where each live column's new value is. Columns that are not set are where they were.
    new: Option<Vec<usize>>,
    /// Columns that RETURNING sees: of the plan's output.
    visible: Vec<usize>,
    checks: Option<RowChecks>,
}

/// Binds an UPDATE.
pub(crate) fn bind_update(
    binder: &Binder,
    update: &ast::Update,
    with: Option<&ast::With>,
) -> Result<BoundChange> {
    let (name, alias) = target_factor(&update.table)?;
    let (table, _) = target(binder, &name)?;
    let binder = binder.clone().with_target(table.id);
    let mut from = vec![update.table.clone()];
    match &update.from {
        Some(UpdateTableFromKind::AfterSet(tables) | UpdateTableFromKind::BeforeSet(tables)) => {
            from.extend(tables.iter().cloned());
        }
        None => {}
    }
    let plan = source(&binder, with, from, update.selection.clone())?;
    let qualifier = alias.unwrap_or_else(|| table.name.clone());
    let mut found = Places::find(&plan, &table, &qualifier)?;
    let mut assigned: Vec<Option<Expr>> = vec![None; live_columns(&table).len()];
    for assignment in &update.assignments {
        for (column, value) in pairs(assignment)? {
            let position = column_position(&table, &folded(&column))?;
            if assigned[position].is_some() {
                return Err(Error::new(
                    SqlState::SYNTAX_ERROR,
                    format!("multiple assignments to same column \"{}\"", folded(&column)),
                ));
            }
            assigned[position] = Some(new_value(&binder, &table, position, &value, plan.schema())?);
        }
    }
    let width = plan.schema().fields().len();
    let mut exprs = all_columns(&plan);
    let mut new = found.old.clone();
    for (position, expr) in assigned.into_iter().enumerate() {
        if let Some(expr) = expr {
            new[position] = exprs.len();
            exprs.push(expr.alias(format!("\u{1}new{position}")));
        }
    }
    let plan = LogicalPlanBuilder::from(plan)
        .project(exprs)
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)?;
    found.visible.retain(|position| *position < width);
    let checks = Some(RowChecks::new(&binder, &table)?);
    finish(&binder, table, plan, found, Some(new), checks, update.returning.as_deref())
}

/// Binds a DELETE.
pub(crate) fn bind_delete(
    binder: &Binder,
    delete: &ast::Delete,
    with: Option<&ast::With>,
) -> Result<BoundChange> {
    let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = &delete.from;
    let [only] = tables.as_slice() else {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "DELETE takes one table; others go into USING"));
    };
    let (name, alias) = target_factor(only)?;
    let (table, _) = target(binder, &name)?;
    let binder = binder.clone().with_target(table.id);
    let mut from = vec![only.clone()];
    from.extend(delete.using.iter().flatten().cloned());
    let plan = source(&binder, with, from, delete.selection.clone())?;
    let qualifier = alias.unwrap_or_else(|| table.name.clone());
    let found = Places::find(&plan, &table, &qualifier)?;
    finish(&binder, table, plan, found, None, None, delete.returning.as_deref())
}

#[allow(clippy::too_many_arguments)] // what both statements come to
fn finish(
    binder: &Binder,
    table: Arc<Table>,
    plan: LogicalPlan,
    found: Places,
    new: Option<Vec<usize>>,
    checks: Option<RowChecks>,
    returning: Option<&[SelectItem]>,
) -> Result<BoundChange> {
    let returning = match returning {
        Some(items) => {
            let schema = pick(plan.schema(), &found.visible)?;
            Some(Returning::bind(binder, items, &schema)?)
        }
        None => None,
    };
    Ok(BoundChange {
        table,
        returning,
        plan,
        shard: found.shard,
        row: found.row,
        old: found.old,
        new,
        visible: found.visible,
        checks,
    })
}

pub(super) fn target_factor(table: &TableWithJoins) -> Result<(ast::ObjectName, Option<String>)> {
    match &table.relation {
        TableFactor::Table { name, alias, .. } => {
            Ok((name.clone(), alias.as_ref().map(|alias| folded(&alias.name))))
        }
        other => Err(Error::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{other}\""))),
    }
}

/// `SELECT * FROM … WHERE …`.
fn source(
    binder: &Binder,
    with: Option<&ast::With>,
    from: Vec<TableWithJoins>,
    selection: Option<ast::Expr>,
) -> Result<LogicalPlan> {
    let mut select = bare_select();
    select.projection = vec![SelectItem::Wildcard(ast::WildcardAdditionalOptions::default())];
    select.from = from;
    select.selection = selection;
    let mut query = query_of(select);
    query.with = with.cloned();
    Ok(binder.bind(&query)?.plan)
}

/// Where the target's columns are in a plan's output.
struct Places {
    shard: usize,
    row: usize,
    old: Vec<usize>,
    visible: Vec<usize>,
}

impl Places {
    fn find(plan: &LogicalPlan, table: &Table, qualifier: &str) -> Result<Places> {
        let find = |name: &str| {
            plan.schema()
                .iter()
                .position(|(q, field)| field.name() == name && q.is_some_and(|q| q.table() == qualifier))
                .ok_or_else(|| Error::internal(format!("column {name} is not in the plan of a change")))
        };
        let visible = plan
            .schema()
            .iter()
            .enumerate()
            .filter(|(_, (_, field))| field.name() != SHARD_COLUMN && field.name() != ROW_COLUMN)
            .map(|(position, _)| position)
            .collect();
        Ok(Places {
            shard: find(SHARD_COLUMN)?,
            row: find(ROW_COLUMN)?,
            old: live_columns(table).iter().map(|column| find(&column.name)).collect::<Result<_>>()?,
            visible,
        })
    }
}

fn all_columns(plan: &LogicalPlan) -> Vec<Expr> {
    plan.schema()
        .iter()
        .map(|(qualifier, field)| Expr::Column(Column::new(qualifier.cloned(), field.name())))
        .collect()
}

fn pick(schema: &DFSchema, positions: &[usize]) -> Result<DFSchemaRef> {
    let fields = positions
        .iter()
        .map(|position| {
            let (qualifier, field) = schema.qualified_field(*position);
            (qualifier.cloned(), field.clone())
        })
        .collect();
    let picked =
        DFSchema::new_with_metadata(fields, std::collections::HashMap::new()).map_err(from_datafusion)?;
    Ok(Arc::new(picked))
}

/// Columns and their values: one, or a row of them.
fn pairs(assignment: &ast::Assignment) -> Result<Vec<(ast::Ident, ast::Expr)>> {
    let names = match &assignment.target {
        AssignmentTarget::ColumnName(name) => return Ok(vec![(last_ident(name)?, assignment.value.clone())]),
        AssignmentTarget::Tuple(names) => names.iter().map(last_ident).collect::<Result<Vec<_>>>()?,
    };
    let mismatch = || Error::new(SqlState::SYNTAX_ERROR, "number of columns does not match number of values");
    let values: Vec<ast::Expr> = match &assignment.value {
        ast::Expr::Tuple(values) => values.clone(),
        ast::Expr::Nested(value) => vec![(**value).clone()],
        ast::Expr::Subquery(query) => {
            let ast::SetExpr::Select(select) = query.body.as_ref() else {
                return Err(Error::unsupported("a row assignment from this query"));
            };
            select
                .projection
                .iter()
                .map(|item| {
                    let mut one = (**select).clone();
                    one.projection = vec![item.clone()];
                    let mut query = (**query).clone();
                    query.body = Box::new(ast::SetExpr::Select(Box::new(one)));
                    ast::Expr::Subquery(Box::new(query))
                })
                .collect()
        }
        _ => return Err(mismatch()),
    };
    if names.len() != values.len() {
        return Err(mismatch());
    }
    Ok(names.into_iter().zip(values).collect())
}

/// What SET writes into a column: the expression, or its default; refused for a column that is always generated.
pub(super) fn new_value(
    binder: &Binder,
    table: &Table,
    position: usize,
    value: &ast::Expr,
    schema: &DFSchema,
) -> Result<Expr> {
    let column = live_columns(table)[position];
    if let (Some(identity), false) = (&column.identity, is_default(value))
        && identity.always
    {
        return Err(Error::new(
            SqlState::GENERATED_ALWAYS,
            format!("column \"{}\" can only be updated to DEFAULT", column.name),
        )
        .with_detail(format!(
            "Column \"{}\" is an identity column defined as GENERATED ALWAYS.",
            column.name
        )));
    }
    let identity = column.identity.as_ref().filter(|_| is_default(value));
    let value = match (is_default(value), &column.default) {
        (true, _) if identity.is_some() => next_of_identity(binder, identity.map(|it| it.sequence))?,
        (false, _) => value.clone(),
        (true, Some(default)) => parse_expression(&default.sql)?,
        (true, None) => ast::Expr::value(ast::Value::Null),
    };
    let expr = binder.expression(value, schema)?;
    let expr = coerce_expr(expr, schema, &binder.params, &binder.style)?;
    binder.assigned(expr, schema, &column.ty, &column.name, CastContext::Assignment)
}

/// The call that gives an identity column its next value.
fn next_of_identity(binder: &Binder, sequence: Option<TableId>) -> Result<ast::Expr> {
    let found = binder.database.sequences.values().find(|it| Some(it.id) == sequence);
    let found = found.ok_or_else(|| Error::internal("an identity column without its sequence"))?;
    let schema = binder.database.schemas.values().find(|it| it.id == found.schema);
    let schema = schema.ok_or_else(|| Error::internal("a sequence without its schema"))?;
    let name = format!("{}.{}", quote_ident(&schema.name), quote_ident(&found.name));
    parse_expression(&format!("nextval('{}'::regclass)", name.replace('\'', "''")))
}

/// Runs a bound UPDATE or DELETE.
pub(crate) async fn run_change(
    ctx: &mut StatementContext<'_>,
    change: &BoundChange,
    params: &[ScalarValue],
    types: &[SqlType],
) -> Result<Outcome> {
    let mut attempt = 0;
    let (rows, batch) = loop {
        let binder = Binder::new(ctx, &[]);
        let plan = binder.fill(change.plan.clone(), params, types)?;
        let stream = binder.start(&plan).await?;
        let schema = stream.schema();
        let batches: Vec<RecordBatch> = stream.try_collect().await.map_err(from_datafusion)?;
        let batch = arrow::compute::concat_batches(&schema, &batches)?;
        let ended = ctx.together.as_ref().map(|together| &together.ended);
        let (rows, batch) = change.distinct(&batch, ended)?;
        if rows.is_empty() {
            break (rows, batch);
        }
        match ctx.txn.lock_rows(&change.table, &rows, RowLock::Exclusive).await? {
            LockOutcome::Unchanged => break (rows, batch),
            LockOutcome::Changed => {
                attempt += 1;
                // What stands in a WITH starts over with all of its statement.
                if let Some(together) = &mut ctx.together {
                    together.is_outdated = true;
                    return Err(outrun());
                }
                if attempt > ATTEMPTS_MAX {
                    return Err(outrun());
                }
                ctx.txn.begin_statement().await?;
            }
        }
    };
    let columns = change.write(ctx, &rows, &batch).await?;
    let word = if change.new.is_some() { "UPDATE" } else { "DELETE" };
    let tag = format!("{word} {}", rows.len());
    let Some(returning) = &change.returning else { return Ok(Outcome::Done(tag)) };
    let binder = Binder::new(ctx, &[]);
    let exprs = returning.prepare(&binder, params, types)?;
    let visible = change.visible_rows(&batch, columns)?;
    Ok(rows_outcome(returning, vec![returning.evaluate(&exprs, &visible)?], tag))
}

/// Others keep changing the rows.
pub(super) fn outrun() -> Error {
    Error::new(SqlState::SERIALIZATION_FAILURE, "could not serialize access due to concurrent update")
}

impl BoundChange {
    /// The query that finds the rows.
    pub(crate) fn plan(&self) -> &LogicalPlan {
        &self.plan
    }

    /// UPDATE, else DELETE.
    pub(crate) fn is_update(&self) -> bool {
        self.new.is_some()
    }

    /// Each target row once: a join may find it several times, and the first wins. Not those that another part of the
    /// statement has ended.
    fn distinct(
        &self,
        batch: &RecordBatch,
        ended: Option<&HashSet<RowRef>>,
    ) -> Result<(Vec<RowRef>, RecordBatch)> {
        let shards = batch.column(self.shard).as_primitive::<Int64Type>();
        let ids = batch.column(self.row).as_primitive::<Int64Type>();
        let mut seen = HashSet::new();
        let mut rows = Vec::new();
        let mut positions = Vec::new();
        for position in 0..batch.num_rows() {
            #[allow(clippy::cast_sign_loss)] // carried as bigint, made from u64
            let row = RowRef {
                shard: ShardId(shards.value(position) as u64),
                row: RowId(ids.value(position) as u64),
            };
            if ended.is_none_or(|ended| !ended.contains(&row)) && seen.insert(row) {
                rows.push(row);
                positions.push(position);
            }
        }
        let batch =
            if positions.len() == batch.num_rows() { batch.clone() } else { take_rows(batch, &positions)? };
        Ok((rows, batch))
    }

    /// Ends the old versions and writes the new ones. Returns the target's columns as RETURNING sees them.
    async fn write(
        &self,
        ctx: &mut StatementContext<'_>,
        rows: &[RowRef],
        batch: &RecordBatch,
    ) -> Result<Vec<ArrayRef>> {
        let places = self.new.as_ref().unwrap_or(&self.old);
        let live = live_columns(&self.table);
        let columns = places
            .iter()
            .zip(&live)
            .map(|(place, column)| Ok(arrow::compute::cast(batch.column(*place), &column.ty.arrow_type())?))
            .collect::<Result<Vec<_>>>()?;
        if rows.is_empty() {
            return Ok(columns);
        }
        if let Some(together) = &mut ctx.together {
            together.ended.extend(rows);
        }
        if self.new.is_none() {
            ctx.txn.delete(&self.table, rows).await?;
            return Ok(columns);
        }
        let new_rows = batch_of(&self.table, columns, rows.len())?;
        if let Some(checks) = &self.checks {
            checks.check(&new_rows)?;
        }
        let made = ctx.txn.update(&self.table, rows, &new_rows).await?;
        if let Some(together) = &mut ctx.together {
            together.made.extend(made);
        }
        Ok(new_rows.columns().to_vec())
    }

    /// What RETURNING is evaluated over: the plan's columns with the target's new values in place of the old.
    fn visible_rows(&self, batch: &RecordBatch, new: Vec<ArrayRef>) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
        for (place, column) in self.old.iter().zip(new) {
            columns[*place] = column;
        }
        let columns: Vec<ArrayRef> = self.visible.iter().map(|place| columns[*place].clone()).collect();
        let fields: Vec<_> = self
            .visible
            .iter()
            .zip(&columns)
            .map(|(place, column)| {
                batch
                    .schema_ref()
                    .field(*place)
                    .clone()
                    .with_data_type(column.data_type().clone())
                    .with_nullable(true)
            })
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
    }
}
