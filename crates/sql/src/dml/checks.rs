//! NOT NULL and CHECK, over the rows about to be written.

use super::target::{live_columns, qualified};
use crate::bind::{Binder, CastStyle, coerce_expr, to_text_array};
use crate::parser::parse_expression;
use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use datafusion::physical_plan::PhysicalExpr;
use quiver_base::{Error, Result, SqlState, SqlType};
use quiver_cluster::{ConstraintKind, Table};
use quiver_exec::{IndexChecks, from_datafusion};
use std::sync::Arc;

/// A table's row constraints, ready to evaluate.
#[derive(Debug)]
pub(crate) struct RowChecks {
    table: Arc<Table>,
    checks: Vec<(String, Arc<dyn PhysicalExpr>)>,
    indexes: Option<IndexChecks>,
    style: Arc<CastStyle>,
}

impl RowChecks {
    /// Compiles the table's CHECK constraints.
    pub(crate) fn new(binder: &Binder, table: &Arc<Table>) -> Result<RowChecks> {
        let mut checks = Vec::new();
        for constraint in &table.constraints {
            if let ConstraintKind::Check { sql, .. } = &constraint.kind {
                checks.push((constraint.name.clone(), row_condition(binder, table, sql)?));
            }
        }
        // PostgreSQL checks them in the order of their names.
        checks.sort_by(|a, b| a.0.cmp(&b.0));
        let indexes = IndexChecks::of(&binder.state, table);
        Ok(RowChecks { table: table.clone(), checks, indexes, style: binder.style.clone() })
    }

    /// 23502 and 23514, and what an indexed expression fails with.
    pub(crate) fn check(&self, batch: &RecordBatch) -> Result<()> {
        for (column, array) in live_columns(&self.table).into_iter().zip(batch.columns()) {
            if !column.not_null || array.null_count() == 0 {
                continue;
            }
            let row = (0..array.len()).find(|row| array.is_null(*row)).unwrap_or(0);
            return Err(Error::new(
                SqlState::NOT_NULL_VIOLATION,
                format!(
                    "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
                    column.name, self.table.name
                ),
            )
            .with_detail(self.failing_row(batch, row))
            .with_table("public", &self.table.name)
            .with_column(&column.name));
        }
        for (name, check) in &self.checks {
            let result = check.evaluate(batch).and_then(|value| value.into_array(batch.num_rows()));
            let result = result.map_err(from_datafusion)?;
            let result = result.as_boolean();
            if let Some(row) = (0..result.len()).find(|row| result.is_valid(*row) && !result.value(*row)) {
                return Err(Error::new(
                    SqlState::CHECK_VIOLATION,
                    format!(
                        "new row for relation \"{}\" violates check constraint \"{name}\"",
                        self.table.name
                    ),
                )
                .with_detail(self.failing_row(batch, row))
                .with_table("public", &self.table.name)
                .with_constraint(name));
            }
        }
        match &self.indexes {
            Some(indexes) => indexes.check(batch),
            None => Ok(()),
        }
    }

    fn failing_row(&self, batch: &RecordBatch, row: usize) -> String {
        let row = batch.slice(row, 1);
        let values: Vec<String> = live_columns(&self.table)
            .into_iter()
            .zip(row.columns())
            .map(|(column, array)| {
                let text: StringArray = match (&column.ty, to_text_array(array, &column.ty, &self.style)) {
                    (_, Ok(text)) => text,
                    (_, Err(_)) => return "?".to_owned(),
                };
                if text.is_null(0) {
                    return "null".to_owned();
                }
                let text = match (&column.ty, text.value(0)) {
                    (SqlType::Bool, "true") => "t",
                    (SqlType::Bool, "false") => "f",
                    (_, text) => text,
                };
                shortened(text)
            })
            .collect();
        format!("Failing row contains ({}).", values.join(", "))
    }
}

/// As long as PostgreSQL shows a value in an error.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(64) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

/// A condition over a row of the table, from the text that the catalog keeps.
pub(crate) fn row_condition(binder: &Binder, table: &Arc<Table>, sql: &str) -> Result<Arc<dyn PhysicalExpr>> {
    let schema = qualified(table, &table.name)?;
    let expr = binder.expression(parse_expression(sql)?, &schema)?;
    let expr = coerce_expr(expr, &schema, &binder.params, &binder.style)?;
    binder.engine.bind_expr(&binder.state, expr, &schema)
}
