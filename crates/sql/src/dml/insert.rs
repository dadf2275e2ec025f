//! INSERT: rows from VALUES or a query, defaults for what they leave out, checks, keys.

use super::checks::RowChecks;
use super::conflict::{BoundConflict, bind_conflict};
use super::defaults::{DefaultValues, Defaults};
use super::returning::Returning;
use super::target::{last_ident, live_columns, qualified, row_schema, target, target_columns};
use super::values::{Cell, Evaluation, bind_cell, has_subquery};
use crate::bind::{Binder, BoundQuery, CastContext, can_assign, cast_array, folded, without_modifier};
use crate::outcome::{Outcome, Tag};
use crate::statement::StatementContext;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use datafusion::physical_plan::PhysicalExpr;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{self, SetExpr};
use futures::StreamExt;
use quiver_base::{Error, Result, SqlState, SqlType};
use quiver_cluster::{ConflictMode, Table};
use quiver_exec::{Rows, from_datafusion};
use std::sync::Arc;

/// Rows of VALUES that are written at once.
const VALUES_BATCH_ROWS: usize = 8192;

/// A bound INSERT.
#[derive(Debug)]
pub(crate) struct BoundInsert {
    /// The table.
    pub table: Arc<Table>,
    /// RETURNING.
    pub returning: Option<Returning>,
    /// Which live column each column of the source fills.
    positions: Vec<usize>,
    source: Source,
    conflict: Option<BoundConflict>,
    defaults: Defaults,
    checks: RowChecks,
}

#[derive(Debug)]
enum Source {
    Values(Vec<Vec<Cell>>),
    Query(BoundQuery),
}

impl BoundInsert {
    /// The query that rows come from, if they come from one.
    pub(crate) fn query_plan(&self) -> Option<&datafusion::logical_expr::LogicalPlan> {
        match &self.source {
            Source::Query(query) => Some(&query.plan),
            Source::Values(_) => None,
        }
    }
}

/// Binds an INSERT.
pub(crate) fn bind_insert(binder: &Binder, insert: &ast::Insert) -> Result<BoundInsert> {
    let ast::TableObject::TableName(name) = &insert.table else {
        return Err(Error::unsupported("INSERT into a function"));
    };
    let (table, _) = target(binder, name)?;
    let names = insert.columns.iter().map(last_ident).collect::<Result<Vec<_>>>()?;
    let mut positions = target_columns(&table, &names)?;
    let mut source = match &insert.source {
        None => {
            positions.clear();
            Source::Values(vec![Vec::new()])
        }
        Some(query) => bind_source(binder, query, &table, &mut positions, !names.is_empty())?,
    };
    let bound_positions = positions;
    check_identity(&table, &bound_positions, &mut source, insert)?;
    let alias = match &insert.table_alias {
        Some(alias) => folded(&alias.alias),
        None => table.name.clone(),
    };
    let schema = qualified(&table, &alias)?;
    let returning = match &insert.returning {
        Some(items) => Some(Returning::bind(binder, items, &schema)?),
        None => None,
    };
    let conflict = match &insert.on {
        Some(on) => Some(bind_conflict(binder, on, &table, &alias)?),
        None => None,
    };
    Ok(BoundInsert {
        returning,
        positions: bound_positions,
        source,
        conflict,
        defaults: Defaults::new(binder, &table)?,
        checks: RowChecks::new(binder, &table)?,
        table,
    })
}

fn bind_source(
    binder: &Binder,
    query: &ast::Query,
    table: &Table,
    positions: &mut Vec<usize>,
    named: bool,
) -> Result<Source> {
    if let SetExpr::Values(values) = query.body.as_ref()
        && query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
    {
        let width = values.rows.first().map_or(0, |row| row.content.len());
        limit_width(positions, width, named)?;
        let live = live_columns(table);
        let mut rows = Vec::with_capacity(values.rows.len());
        for row in &values.rows {
            if row.content.len() != width {
                return Err(Error::new(SqlState::SYNTAX_ERROR, "VALUES lists must all be the same length"));
            }
            let cells = row
                .content
                .iter()
                .zip(positions.iter())
                .map(|(expr, position)| bind_cell(binder, expr, &live[*position].ty, &live[*position].name))
                .collect::<Result<Vec<_>>>()?;
            rows.push(cells);
        }
        let needs_plan =
            rows.iter().flatten().any(|cell| matches!(cell, Cell::Expression(expr) if has_subquery(expr)));
        if !needs_plan {
            return Ok(Source::Values(rows));
        }
    }
    let live = live_columns(table);
    // As PostgreSQL has it, not through DISTINCT and UNION.
    let bound = match query.body.as_ref() {
        SetExpr::Select(select) if select.distinct.is_none() => {
            let types: Vec<_> = positions.iter().map(|position| live[*position].ty.clone()).collect();
            binder.bind_as(query, &types)?
        }
        _ => binder.bind(query)?,
    };
    limit_width(positions, bound.schema.fields().len(), named)?;
    for (field, position) in bound.schema.fields().iter().zip(positions.iter()) {
        let from = SqlType::of_field(field).unwrap_or(SqlType::Text);
        let column = live[*position];
        if !can_assign(&from, &column.ty) {
            return Err(Error::new(
                SqlState::DATATYPE_MISMATCH,
                format!(
                    "column \"{}\" is of type {} but expression is of type {}",
                    column.name,
                    without_modifier(&column.ty),
                    without_modifier(&from)
                ),
            )
            .with_hint("You will need to rewrite or cast the expression."));
        }
    }
    Ok(Source::Query(bound))
}

fn limit_width(positions: &mut Vec<usize>, width: usize, named: bool) -> Result<()> {
    if width > positions.len() {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "INSERT has more expressions than target columns"));
    }
    if named && width < positions.len() {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "INSERT has more target columns than expressions"));
    }
    positions.truncate(width);
    Ok(())
}

/// GENERATED ALWAYS refuses values, unless OVERRIDING says what to do with them. The parser leaves OVERRIDING SYSTEM VALUE in
/// `overwrite` and OVERRIDING USER VALUE in `ignore`, which PostgreSQL's INSERT has no use for.
fn check_identity(
    table: &Table,
    positions: &[usize],
    source: &mut Source,
    insert: &ast::Insert,
) -> Result<()> {
    let live = live_columns(table);
    for (index, position) in positions.iter().enumerate() {
        let column = live[*position];
        let Some(identity) = column.identity else { continue };
        if insert.ignore {
            match source {
                Source::Values(rows) => rows.iter_mut().for_each(|row| row[index] = Cell::Default),
                Source::Query(_) => {
                    return Err(Error::unsupported("OVERRIDING USER VALUE with a query"));
                }
            }
            continue;
        }
        if !identity.always || insert.overwrite {
            continue;
        }
        let all_default = match source {
            Source::Values(rows) => rows.iter().all(|row| matches!(row[index], Cell::Default)),
            Source::Query(_) => false,
        };
        if !all_default {
            return Err(Error::new(
                SqlState::GENERATED_ALWAYS,
                format!("cannot insert a non-DEFAULT value into column \"{}\"", column.name),
            )
            .with_detail(format!(
                "Column \"{}\" is an identity column defined as GENERATED ALWAYS.",
                column.name
            ))
            .with_hint("Use OVERRIDING SYSTEM VALUE to override."));
        }
    }
    Ok(())
}

/// Runs a bound INSERT.
pub(crate) async fn run_insert(
    ctx: &mut StatementContext<'_>,
    insert: &BoundInsert,
    params: &[ScalarValue],
    types: &[SqlType],
) -> Result<Outcome> {
    let binder = Binder::new(ctx, &[]);
    let mut writer = Writer::new(insert, &binder, params, types)?;
    match &insert.source {
        Source::Values(rows) => {
            for rows in rows.chunks(VALUES_BATCH_ROWS) {
                let batch = writer.values(ctx, rows).await?;
                writer.write(ctx, batch).await?;
            }
        }
        Source::Query(query) => {
            let plan = binder.fill(query.plan.clone(), params, types)?;
            let mut stream = binder.start(&plan).await?;
            while let Some(batch) = stream.next().await {
                let batch = batch.map_err(from_datafusion)?;
                let batch = crate::bind::conform(&batch, &query.schema)?;
                let batch = writer.rows_of_query(ctx, &batch).await?;
                writer.write(ctx, batch).await?;
            }
        }
    }
    writer.finish()
}

/// Writes the rows of one INSERT.
struct Writer<'a> {
    insert: &'a BoundInsert,
    binder: &'a Binder,
    params: &'a [ScalarValue],
    types: &'a [SqlType],
    returning: Vec<Arc<dyn PhysicalExpr>>,
    returned: Vec<RecordBatch>,
    written: super::conflict::Written,
    rows: usize,
}

impl<'a> Writer<'a> {
    fn new(
        insert: &'a BoundInsert,
        binder: &'a Binder,
        params: &'a [ScalarValue],
        types: &'a [SqlType],
    ) -> Result<Writer<'a>> {
        let returning = match &insert.returning {
            Some(returning) => returning.prepare(binder, params, types)?,
            None => Vec::new(),
        };
        Ok(Writer {
            insert,
            binder,
            params,
            types,
            returning,
            returned: Vec::new(),
            written: super::conflict::Written::default(),
            rows: 0,
        })
    }

    async fn values(&self, ctx: &StatementContext<'_>, rows: &[Vec<Cell>]) -> Result<RecordBatch> {
        let (cluster, session) = (ctx.cluster.clone(), ctx.session.clone());
        values_batch(self, &cluster, &session, rows).await
    }

    async fn rows_of_query(&self, ctx: &StatementContext<'_>, batch: &RecordBatch) -> Result<RecordBatch> {
        let (cluster, session) = (ctx.cluster.clone(), ctx.session.clone());
        query_batch(self, &cluster, &session, batch).await
    }

    async fn write(&mut self, ctx: &mut StatementContext<'_>, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.insert.checks.check(&batch)?;
        let table = &self.insert.table;
        let written = match &self.insert.conflict {
            None => {
                let outcome = ctx.txn.insert(table, &batch, ConflictMode::Error).await?;
                self.rows += outcome.inserted.len();
                if let Some(together) = &mut ctx.together {
                    together.made.extend(outcome.inserted.iter().map(|(_, row)| *row));
                }
                batch
            }
            Some(conflict) => {
                let rows = conflict
                    .write(
                        ctx,
                        self.binder,
                        table,
                        &batch,
                        &mut self.written,
                        &self.insert.checks,
                        self.params,
                        self.types,
                    )
                    .await?;
                self.rows += rows.num_rows();
                rows
            }
        };
        if let Some(returning) = &self.insert.returning {
            self.returned.push(returning.evaluate(&self.returning, &written)?);
        }
        Ok(())
    }

    fn finish(self) -> Result<Outcome> {
        let tag = format!("INSERT 0 {}", self.rows);
        match &self.insert.returning {
            None => Ok(Outcome::Done(tag)),
            Some(returning) => Ok(rows_outcome(returning, self.returned, tag)),
        }
    }
}

/// RETURNING's rows with a command's tag.
pub(super) fn rows_outcome(returning: &Returning, batches: Vec<RecordBatch>, tag: String) -> Outcome {
    Outcome::Rows { schema: returning.schema.clone(), rows: Rows::Batches(batches), tag: Tag::Fixed(tag) }
}

async fn values_batch(
    writer: &Writer<'_>,
    cluster: &Arc<quiver_cluster::Cluster>,
    session: &Arc<crate::session::SessionInfo>,
    rows: &[Vec<Cell>],
) -> Result<RecordBatch> {
    let insert = writer.insert;
    let default_values = DefaultValues { cluster, session };
    let evaluation = Evaluation {
        binder: writer.binder,
        params: writer.params,
        types: writer.types,
        defaults: &insert.defaults,
        default_values: &default_values,
    };
    let live = live_columns(&insert.table);
    let mut columns = Vec::with_capacity(live.len());
    for (position, column) in live.iter().enumerate() {
        let given = insert.positions.iter().position(|target| *target == position);
        columns.push(match given {
            Some(index) => {
                evaluation.column(rows.iter().map(|row| &row[index]), &column.ty, position).await?
            }
            None => default_values.column(&insert.defaults, position, rows.len()).await?,
        });
    }
    batch_of(&insert.table, columns, rows.len())
}

async fn query_batch(
    writer: &Writer<'_>,
    cluster: &Arc<quiver_cluster::Cluster>,
    session: &Arc<crate::session::SessionInfo>,
    batch: &RecordBatch,
) -> Result<RecordBatch> {
    let insert = writer.insert;
    let default_values = DefaultValues { cluster, session };
    let live = live_columns(&insert.table);
    let mut columns = Vec::with_capacity(live.len());
    for (position, column) in live.iter().enumerate() {
        let given = insert.positions.iter().position(|target| *target == position);
        columns.push(match given {
            Some(index) => {
                let from = SqlType::of_field(batch.schema_ref().field(index)).unwrap_or(SqlType::Text);
                cast_array(
                    batch.column(index),
                    &from,
                    &column.ty,
                    CastContext::Assignment,
                    &writer.binder.style,
                )?
            }
            None => default_values.column(&insert.defaults, position, batch.num_rows()).await?,
        });
    }
    batch_of(&insert.table, columns, batch.num_rows())
}

/// A batch of whole rows.
pub(super) fn batch_of(table: &Table, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(row_schema(table), columns, &options)?)
}

/// Some rows of a batch.
pub(super) fn take_rows(batch: &RecordBatch, rows: &[usize]) -> Result<RecordBatch> {
    let indices: UInt32Array = rows.iter().map(|row| u32::try_from(*row).ok()).collect();
    Ok(arrow::compute::take_record_batch(batch, &indices)?)
}
