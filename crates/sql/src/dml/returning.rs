//! RETURNING: expressions over the rows that were written.

use crate::bind::{Binder, coerce_expr, column_name_of, of_expression, shown};
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::{Column, DFSchemaRef, TableReference};
use datafusion::logical_expr::{Expr, ExprSchemable};
use datafusion::physical_plan::PhysicalExpr;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{SelectItem, SelectItemQualifiedWildcardKind};
use quiver_base::{Error, Result, SqlType};
use quiver_exec::{ROW_COLUMN, SHARD_COLUMN, from_datafusion};
use std::sync::Arc;

/// A RETURNING clause over rows of a known schema.
#[derive(Debug)]
pub(crate) struct Returning {
    /// What the client is told.
    pub schema: SchemaRef,
    exprs: Vec<Expr>,
    input: DFSchemaRef,
}

impl Returning {
    /// Binds the clause. `target`: the qualifier of the written table, whose columns a bare `*` begins with.
    pub(crate) fn bind(binder: &Binder, items: &[SelectItem], input: &DFSchemaRef) -> Result<Returning> {
        let mut exprs = Vec::new();
        let mut names = Vec::new();
        for item in items {
            match item {
                SelectItem::Wildcard(_) => all(input, None, &mut exprs, &mut names),
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    let qualifier = name.0.last().and_then(|part| part.as_ident()).map(crate::bind::folded);
                    all(input, qualifier.as_deref(), &mut exprs, &mut names);
                }
                SelectItem::UnnamedExpr(expr) => {
                    names.push(column_name_of(expr));
                    exprs.push(binder.expression(expr.clone(), input)?);
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    names.push(crate::bind::folded(alias));
                    exprs.push(binder.expression(expr.clone(), input)?);
                }
                other => return Err(Error::unsupported(format!("RETURNING {other}"))),
            }
        }
        let exprs = exprs
            .into_iter()
            .map(|expr| coerce_expr(expr, input, &binder.params, &binder.style))
            .collect::<Result<Vec<_>>>()?;
        let fields = exprs
            .iter()
            .zip(&names)
            .map(|(expr, name)| {
                let (_, field) = expr.to_field(input.as_ref()).map_err(from_datafusion)?;
                let ty = match SqlType::of_field(&field) {
                    Some(SqlType::Unknown) | None => SqlType::Text,
                    Some(ty) => ty,
                };
                Ok(of_expression(ty.field(shown(name), true), expr))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Returning { schema: Arc::new(Schema::new(fields)), exprs, input: input.clone() })
    }

    /// Ready to evaluate, parameters filled in.
    pub(crate) fn prepare(
        &self,
        binder: &Binder,
        params: &[ScalarValue],
        types: &[SqlType],
    ) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
        self.exprs
            .iter()
            .map(|expr| {
                let expr = binder.fill_in(expr.clone(), params, types)?;
                binder.engine.bind_expr(&binder.state, expr, &self.input)
            })
            .collect()
    }

    /// Evaluates over written rows.
    pub(crate) fn evaluate(
        &self,
        exprs: &[Arc<dyn PhysicalExpr>],
        rows: &RecordBatch,
    ) -> Result<RecordBatch> {
        let columns = quiver_exec::evaluate(exprs, rows)?;
        let fields: Vec<_> = columns
            .iter()
            .enumerate()
            .map(|(index, column)| {
                arrow::datatypes::Field::new(index.to_string(), column.data_type().clone(), true)
            })
            .collect();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?;
        crate::bind::conform(&batch, &self.schema)
    }
}

fn all(input: &DFSchemaRef, only: Option<&str>, exprs: &mut Vec<Expr>, names: &mut Vec<String>) {
    for (qualifier, field) in input.iter() {
        let hidden = field.name() == SHARD_COLUMN || field.name() == ROW_COLUMN;
        let wanted = only.is_none_or(|only| qualifier.is_some_and(|q: &TableReference| q.table() == only));
        // excluded.* is in scope of ON CONFLICT only.
        if hidden || !wanted {
            continue;
        }
        exprs.push(Expr::Column(Column::new(qualifier.cloned(), field.name())));
        names.push(field.name().clone());
    }
}
