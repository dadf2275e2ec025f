//! Values of columns that a statement does not give.

use super::target::live_columns;
use crate::bind::{Binder, CastContext, coerce_expr};
use crate::parser::parse_expression;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::Schema;
use datafusion::common::DFSchema;
use datafusion::physical_plan::PhysicalExpr;
use quiver_base::{Result, SqlType, TableId};
use quiver_cluster::{Cluster, Column, Table};
use quiver_exec::from_datafusion;
use std::sync::Arc;

/// How one column gets its default.
#[derive(Clone, Debug)]
enum Source {
    Null,
    /// serial and identity.
    Sequence(TableId),
    Expression(Arc<dyn PhysicalExpr>),
}

/// How every live column of a table gets its default.
#[derive(Debug)]
pub(crate) struct Defaults {
    sources: Vec<(Source, SqlType)>,
}

impl Defaults {
    /// Compiles the table's defaults.
    pub(crate) fn new(binder: &Binder, table: &Table) -> Result<Defaults> {
        let sources = live_columns(table)
            .into_iter()
            .map(|column| Ok((source(binder, column)?, column.ty.clone())))
            .collect::<Result<Vec<_>>>()?;
        Ok(Defaults { sources })
    }
}

fn source(binder: &Binder, column: &Column) -> Result<Source> {
    if let Some(identity) = &column.identity {
        return Ok(Source::Sequence(identity.sequence));
    }
    let Some(default) = &column.default else { return Ok(Source::Null) };
    if let Some(sequence) = default.sequence {
        return Ok(Source::Sequence(sequence));
    }
    let schema = DFSchema::empty();
    let expr = binder.expression(parse_expression(&default.sql)?, &schema)?;
    let expr = coerce_expr(expr, &schema, &binder.params, &binder.style)?;
    let typed = binder.assigned(expr, &schema, &column.ty, &column.name, CastContext::Assignment)?;
    Ok(Source::Expression(binder.engine.bind_expr(&binder.state, typed, &schema)?))
}

/// Evaluates defaults for one session.
pub(crate) struct DefaultValues<'a> {
    /// The node.
    pub cluster: &'a Arc<Cluster>,
    /// Who is asking: remembers what nextval gave.
    pub session: &'a crate::session::SessionInfo,
}

impl DefaultValues<'_> {
    /// The defaults of one column for some rows.
    pub(crate) async fn column(&self, defaults: &Defaults, position: usize, rows: usize) -> Result<ArrayRef> {
        let (source, ty) = &defaults.sources[position];
        match source {
            Source::Null => Ok(new_null_array(&ty.arrow_type(), rows)),
            Source::Sequence(sequence) => {
                let mut values = Vec::with_capacity(rows);
                for _ in 0..rows {
                    let value = self.cluster.next_value(self.session.database_id, *sequence).await?;
                    self.session.set_current_value(*sequence, value);
                    values.push(value);
                }
                let values: ArrayRef = Arc::new(Int64Array::from(values));
                crate::bind::cast_array(
                    &values,
                    &SqlType::Int8,
                    ty,
                    CastContext::Assignment,
                    &crate::bind::CastStyle::utc(),
                )
            }
            Source::Expression(expr) => {
                let options = RecordBatchOptions::new().with_row_count(Some(rows));
                let nothing =
                    RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
                expr.evaluate(&nothing).and_then(|value| value.into_array(rows)).map_err(from_datafusion)
            }
        }
    }
}
