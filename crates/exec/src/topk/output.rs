//! What comes out of a search: expressions over the winners' columns, and which columns those are.

use super::pattern::substitute;
use crate::filter::passes;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use std::sync::Arc;

/// An expression and the name of the column it makes.
pub(crate) type Output = (Arc<dyn PhysicalExpr>, String);

/// Output expressions over just the columns they read.
#[derive(Clone, Debug)]
pub(super) struct Outputs {
    /// Columns of the table, ascending.
    fetched: Vec<usize>,
    /// Over `fetched`.
    outputs: Vec<Output>,
    /// Over `fetched`: what the winners must satisfy to come out.
    within: Option<Arc<dyn PhysicalExpr>>,
}

impl Outputs {
    /// `outputs` and `within` are over all columns of the table.
    pub(super) fn new(
        outputs: Vec<Output>,
        within: Option<Arc<dyn PhysicalExpr>>,
        table: &Schema,
    ) -> Result<Outputs> {
        let exprs = outputs.iter().map(|(expr, _)| expr).chain(&within);
        let columns = exprs.flat_map(|expr| collect_columns(expr).into_iter());
        let mut fetched: Vec<usize> = columns.map(|column| column.index()).collect();
        fetched.sort_unstable();
        fetched.dedup();
        let place = |index: &usize| fetched.binary_search(index).unwrap_or_default();
        let all: Vec<usize> = (0..table.fields().len()).collect();
        let renumbered = columns_at(table, &all, place);
        Ok(Outputs {
            outputs: outputs
                .into_iter()
                .map(|(expr, name)| Ok((substitute(expr, &renumbered)?, name)))
                .collect::<Result<_>>()?,
            within: within.map(|within| substitute(within, &renumbered)).transpose()?,
            fetched,
        })
    }

    /// The columns to fetch.
    pub(super) fn fetched(&self) -> &[usize] {
        &self.fetched
    }

    pub(super) fn exprs(&self) -> impl Iterator<Item = &Arc<dyn PhysicalExpr>> {
        self.outputs.iter().map(|(expr, _)| expr)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.outputs.iter().map(|(_, name)| name.as_str())
    }

    /// The output expressions over all columns of the table again.
    pub(super) fn over_table(&self, table: &Schema) -> Result<Vec<Output>> {
        let columns = columns_at(table, &self.fetched, |index| *index);
        self.outputs
            .iter()
            .map(|(expr, name)| Ok((substitute(expr.clone(), &columns)?, name.clone())))
            .collect()
    }

    /// Computes the output for fetched rows.
    pub(super) fn evaluate(&self, rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
        let mut rows = rows.clone();
        if let Some(within) = &self.within {
            rows = filter_record_batch(&rows, &passes(within, &rows)?)?;
        }
        let count = rows.num_rows();
        let columns = self.exprs().map(|expr| expr.evaluate(&rows)?.into_array(count));
        let columns = columns.collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
    }
}

/// Column expressions for `columns` of the table, each at the place that `place` gives it.
fn columns_at(table: &Schema, columns: &[usize], place: impl Fn(&usize) -> usize) -> Vec<Output> {
    columns
        .iter()
        .map(|index| {
            let name = table.field(*index).name();
            (Arc::new(Column::new(name, place(index))) as Arc<dyn PhysicalExpr>, name.clone())
        })
        .collect()
}
