//! ON CONFLICT: which keys, and what happens to rows that are there already.

use super::change::new_value;
use super::checks::RowChecks;
use super::insert::{batch_of, take_rows};
use super::target::{column_position, last_ident, live_columns, row_schema};
use crate::bind::{Binder, coerce_expr, folded};
use crate::statement::StatementContext;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Field, Schema};
use datafusion::common::{DFSchema, DFSchemaRef, TableReference};
use datafusion::logical_expr::Expr;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{
    AssignmentTarget, ConflictTarget, OnConflict, OnConflictAction, OnInsert,
};
use quiver_base::{Error, IndexId, Result, SqlState, SqlType};
use quiver_cluster::{ConflictMode, ConstraintKind, Prior, RowRef, Table};
use quiver_exec::from_datafusion;
use std::collections::HashSet;
use std::sync::Arc;

/// A bound ON CONFLICT clause.
#[derive(Debug)]
pub(super) struct BoundConflict {
    keys: Vec<IndexId>,
    update: Option<BoundUpdate>,
}

#[derive(Debug)]
struct BoundUpdate {
    /// (position among live columns, new value)
    assignments: Vec<(usize, Expr)>,
    condition: Option<Expr>,
    schema: DFSchemaRef,
}

/// Rows that this statement inserted or updated: none may be changed again.
#[derive(Debug, Default)]
pub(super) struct Written(HashSet<RowRef>);

/// Binds the clause.
pub(super) fn bind_conflict(
    binder: &Binder,
    on: &OnInsert,
    table: &Arc<Table>,
    alias: &str,
) -> Result<BoundConflict> {
    let OnInsert::OnConflict(OnConflict { conflict_target, action }) = on else {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"DUPLICATE\""));
    };
    let keys = match conflict_target {
        Some(target) => arbiters(table, target)?,
        None => Vec::new(),
    };
    let update = match action {
        OnConflictAction::DoNothing => None,
        OnConflictAction::DoUpdate(_) if conflict_target.is_none() => {
            return Err(Error::new(
                SqlState::SYNTAX_ERROR,
                "ON CONFLICT DO UPDATE requires inference specification or constraint name",
            )
            .with_hint("For example, ON CONFLICT (column_name)."));
        }
        OnConflictAction::DoUpdate(update) => {
            let schema = both_rows(table, alias)?;
            let mut assignments = Vec::new();
            for assignment in &update.assignments {
                let (names, values) = match &assignment.target {
                    AssignmentTarget::ColumnName(name) => (vec![name], vec![&assignment.value]),
                    AssignmentTarget::Tuple(names) => match &assignment.value {
                        datafusion::sql::sqlparser::ast::Expr::Tuple(values)
                            if values.len() == names.len() =>
                        {
                            (names.iter().collect(), values.iter().collect())
                        }
                        _ => return Err(Error::unsupported("a row assignment from a query in ON CONFLICT")),
                    },
                };
                for (name, value) in names.into_iter().zip(values) {
                    let position = column_position(table, &folded(&last_ident(name)?))?;
                    assignments.push((position, new_value(binder, table, position, value, &schema)?));
                }
            }
            let condition = match &update.selection {
                Some(condition) => {
                    let expr = binder.expression(condition.clone(), &schema)?;
                    Some(coerce_expr(expr, &schema, &binder.params, &binder.style)?)
                }
                None => None,
            };
            Some(BoundUpdate { assignments, condition, schema })
        }
    };
    Ok(BoundConflict { keys, update })
}

/// The key indexes that a conflict target means.
fn arbiters(table: &Table, target: &ConflictTarget) -> Result<Vec<IndexId>> {
    match target {
        ConflictTarget::OnConstraint(name) => {
            let name = folded(&last_ident(name)?);
            let constraint = table.constraints.iter().find(|constraint| constraint.name == name);
            match constraint.map(|constraint| &constraint.kind) {
                Some(ConstraintKind::PrimaryKey { index } | ConstraintKind::Unique { index }) => {
                    Ok(vec![*index])
                }
                Some(_) => Err(Error::new(
                    SqlState::WRONG_OBJECT_TYPE,
                    "constraint in ON CONFLICT clause has no associated index",
                )),
                None => Err(Error::new(
                    SqlState::UNDEFINED_OBJECT,
                    format!("constraint \"{name}\" for table \"{}\" does not exist", table.name),
                )),
            }
        }
        ConflictTarget::Columns(columns) => {
            let mut wanted = Vec::new();
            for column in columns {
                let position =
                    column_position(table, &folded(column)).map_err(|_| undefined(&folded(column)))?;
                wanted.push(live_columns(table)[position].id);
            }
            wanted.sort();
            wanted.dedup();
            let found: Vec<IndexId> = table
                .indexes
                .iter()
                .filter(|index| {
                    let mut columns: Vec<_> = index.columns.iter().map(|key| key.column).collect();
                    columns.sort();
                    index.unique && columns == wanted
                })
                .map(|index| index.id)
                .collect();
            if found.is_empty() {
                return Err(Error::new(
                    SqlState::INVALID_COLUMN_REFERENCE,
                    "there is no unique or exclusion constraint matching the ON CONFLICT specification",
                ));
            }
            Ok(found)
        }
    }
}

fn undefined(column: &str) -> Error {
    Error::new(SqlState::UNDEFINED_COLUMN, format!("column \"{column}\" does not exist"))
}

/// The existing row under the table's name, the proposed one under `excluded`.
fn both_rows(table: &Table, alias: &str) -> Result<DFSchemaRef> {
    let mut fields = Vec::new();
    for qualifier in [alias, "excluded"] {
        for column in live_columns(table) {
            fields
                .push((Some(TableReference::bare(qualifier)), Arc::new(column.ty.field(&column.name, true))));
        }
    }
    Ok(Arc::new(
        DFSchema::new_with_metadata(fields, std::collections::HashMap::new()).map_err(from_datafusion)?,
    ))
}

impl BoundConflict {
    /// Inserts what has no conflict, updates or leaves the rest. Returns the rows written.
    #[allow(clippy::too_many_arguments)] // one statement's state
    pub(super) async fn write(
        &self,
        ctx: &mut StatementContext<'_>,
        binder: &Binder,
        table: &Arc<Table>,
        batch: &RecordBatch,
        written: &mut Written,
        checks: &RowChecks,
        params: &[ScalarValue],
        types: &[SqlType],
    ) -> Result<RecordBatch> {
        let outcome = ctx.txn.insert(table, batch, ConflictMode::Report(self.keys.clone())).await?;
        let positions: Vec<usize> = outcome.inserted.iter().map(|(position, _)| *position).collect();
        written.0.extend(outcome.inserted.iter().map(|(_, row)| *row));
        if let Some(together) = &mut ctx.together {
            // Rows that other parts of the statement wrote are of the same command.
            together.made.extend(&written.0);
            written.0.extend(&together.made);
        }
        let inserted = take_rows(batch, &positions)?;
        let Some(update) = &self.update else { return Ok(inserted) };
        if outcome.conflicts.is_empty() {
            return Ok(inserted);
        }
        let mut rows = Vec::with_capacity(outcome.conflicts.len());
        let mut proposed = Vec::with_capacity(outcome.conflicts.len());
        for (position, prior) in &outcome.conflicts {
            match prior {
                Prior::Row(row) if !written.0.contains(row) && !rows.contains(row) => {
                    rows.push(*row);
                    proposed.push(*position);
                }
                _ => return Err(twice()),
            }
        }
        let (updated, kept) = update
            .apply(ctx, binder, table, &rows, &take_rows(batch, &proposed)?, written, checks, params, types)
            .await?;
        // RETURNING gives rows in the order in which they were proposed.
        let places = positions.into_iter().chain(kept.into_iter().map(|row| proposed[row]));
        let mut order: Vec<(usize, usize)> = places.enumerate().map(|(at, place)| (place, at)).collect();
        order.sort_unstable();
        let order: Vec<usize> = order.into_iter().map(|(_, at)| at).collect();
        take_rows(&arrow::compute::concat_batches(&row_schema(table), [&inserted, &updated])?, &order)
    }
}

fn twice() -> Error {
    Error::new(
        SqlState::CARDINALITY_VIOLATION,
        "ON CONFLICT DO UPDATE command cannot affect row a second time",
    )
    .with_hint("Ensure that no rows proposed for insertion within the same command have duplicate constrained values.")
}

impl BoundUpdate {
    /// The rows as they are now, and which of `rows` they are: those that fulfil the condition.
    #[allow(clippy::too_many_arguments)] // one statement's state
    async fn apply(
        &self,
        ctx: &mut StatementContext<'_>,
        binder: &Binder,
        table: &Arc<Table>,
        rows: &[RowRef],
        proposed: &RecordBatch,
        written: &mut Written,
        checks: &RowChecks,
        params: &[ScalarValue],
        types: &[SqlType],
    ) -> Result<(RecordBatch, Vec<usize>)> {
        let existing = ctx.txn.fetch(table, rows)?;
        let mut rows = rows.to_vec();
        let mut kept_rows: Vec<usize> = (0..rows.len()).collect();
        let mut existing = batch_of(table, existing.columns().to_vec(), rows.len())?;
        let mut both = side_by_side(&existing, proposed)?;
        let compile = |expr: &Expr| {
            let expr = binder.fill_in(expr.clone(), params, types)?;
            binder.engine.bind_expr(&binder.state, expr, &self.schema)
        };
        if let Some(condition) = &self.condition {
            let kept = quiver_exec::evaluate(&[compile(condition)?], &both)?;
            let kept = kept[0].as_boolean();
            let positions: Vec<usize> =
                (0..kept.len()).filter(|row| kept.is_valid(*row) && kept.value(*row)).collect();
            rows = positions.iter().map(|position| rows[*position]).collect();
            existing = take_rows(&existing, &positions)?;
            both = take_rows(&both, &positions)?;
            kept_rows = positions;
        }
        if rows.is_empty() {
            return Ok((existing, kept_rows));
        }
        let mut columns: Vec<ArrayRef> = existing.columns().to_vec();
        for (position, expr) in &self.assignments {
            let value = quiver_exec::evaluate(&[compile(expr)?], &both)?;
            columns[*position] = arrow::compute::cast(&value[0], columns[*position].data_type())?;
        }
        let new_rows = batch_of(table, columns, rows.len())?;
        checks.check(&new_rows)?;
        let now = ctx.txn.update(table, &rows, &new_rows).await?;
        if let Some(together) = &mut ctx.together {
            together.ended.extend(&rows);
            together.made.extend(&now);
        }
        written.0.extend(now);
        Ok((new_rows, kept_rows))
    }
}

fn side_by_side(existing: &RecordBatch, proposed: &RecordBatch) -> Result<RecordBatch> {
    let fields: Vec<Arc<Field>> =
        existing.schema_ref().fields().iter().chain(proposed.schema_ref().fields()).cloned().collect();
    let columns = existing.columns().iter().chain(proposed.columns()).cloned().collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}
