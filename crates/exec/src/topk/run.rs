//! A search from query expression to rows. Blocking.

use super::metrics::Counters;
use crate::context::Statement;
use crate::filter::Predicate;
use crate::indexed::{sparse_vector, zeros_and_ones};
use crate::resolve::with_values;
use crate::search::{self, QueryVector, TableView, Values, VectorSource, Wanted};
use crate::to_datafusion;
use crate::vector::Vectors;
use arrow::array::{Array, AsArray, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::Schema;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::conjunction;
use quiver_index::Metric;
use std::sync::Arc;

/// What a hit takes in memory until its columns are fetched.
const HIT_BYTES: usize = 64;

/// What to search for.
#[derive(Clone, Debug)]
pub(super) struct Search {
    pub(super) source: VectorSource,
    /// The query vector; reads no column.
    pub(super) query: Arc<dyn PhysicalExpr>,
    pub(super) wanted: Wanted,
    /// Which rows to choose from.
    pub(super) predicate: Option<Arc<Predicate>>,
    /// Set if NULL distances come first: which of the rows those are.
    pub(super) null_predicate: Option<Arc<Predicate>>,
    /// A bound on the distance, over the table's columns. The rows within it are the nearest ones, so it can wait until they are known.
    pub(super) within: Option<Arc<dyn PhysicalExpr>>,
}

impl Search {
    /// Whether all that it reads is in memory or in files of this machine.
    pub(super) fn is_local(&self, statement: &dyn Statement) -> quiver_base::Result<bool> {
        Ok(statement.snapshots(&self.source.table)?.iter().all(|snapshot| snapshot.is_local()))
    }

    /// The same among rows that pass one more filter, over the table's columns.
    pub(super) fn among(self, filter: Arc<dyn PhysicalExpr>) -> Result<Search> {
        let own = self.predicate.iter().map(|predicate| predicate.expr().clone());
        let all = conjunction(own.chain([filter]));
        let predicate = Predicate::new(all, &self.source.table_schema, &self.source.table_columns)?;
        Ok(Search { predicate: Some(predicate), ..self })
    }

    /// Columns `fetched` of the rows found, in order.
    pub(super) fn rows(
        &self,
        statement: &dyn Statement,
        memory: &Arc<dyn MemoryPool>,
        counters: Option<&Counters>,
        fetched: &[usize],
    ) -> Result<RecordBatch> {
        statement.check_cancel().map_err(to_datafusion)?;
        let view = TableView::new(statement, &self.source.table).map_err(to_datafusion)?;
        let memory = MemoryConsumer::new("VectorTopK").register(memory);
        memory.try_grow(self.wanted.k.min(view.row_count() as usize) * HIT_BYTES)?;
        let query = query_vector(&self.query, self.source.values)?;
        let Some(query) = &query else {
            // All distances are NULL, so any rows are the nearest.
            return self.any_rows(&view, self.predicate.as_ref(), fetched);
        };
        let mut wanted = self.wanted;
        let nulls = match &self.null_predicate {
            Some(nulls) => Some(self.any_rows(&view, Some(nulls), fetched)?),
            None => None,
        };
        let null_rows = nulls.as_ref().map_or(0, RecordBatch::num_rows);
        if null_rows >= wanted.k {
            return Ok(nulls.unwrap_or_else(|| RecordBatch::new_empty(Arc::new(Schema::empty()))));
        }
        wanted.k -= null_rows;
        let filter = search::prepare(self.predicate.as_ref()).map_err(to_datafusion)?;
        let (mut hits, stats) =
            self.source.nearest(&view, statement.search(), query, wanted, filter).map_err(to_datafusion)?;
        if let Some(counters) = counters {
            counters.record(&stats);
        }
        if nulls.is_some() {
            hits.retain(|hit| hit.hit.distance.is_some());
        }
        let rows = self.source.fetch(&view, &hits, fetched).map_err(to_datafusion)?;
        let rows = self.in_exact_order(rows, query, fetched)?;
        Ok(match nulls {
            Some(nulls) => concat_batches(&rows.schema(), [&nulls, &rows])?,
            None => rows,
        })
    }

    fn any_rows(
        &self,
        view: &TableView,
        predicate: Option<&Arc<Predicate>>,
        fetched: &[usize],
    ) -> Result<RecordBatch> {
        let limit = if self.wanted.ties { usize::MAX } else { self.wanted.k };
        let filter = search::prepare(predicate).map_err(to_datafusion)?;
        self.source.any_rows(view, fetched, limit, filter).map_err(to_datafusion)
    }

    /// A cosine's search score has fewer digits than the distance function's result: rows that are shown with it are put in
    /// its order.
    fn in_exact_order(
        &self,
        rows: RecordBatch,
        query: &QueryVector,
        fetched: &[usize],
    ) -> Result<RecordBatch> {
        let QueryVector::Dense(query) = query else { return Ok(rows) };
        let vectors = self.source.column.and_then(|column| fetched.binary_search(&column).ok());
        let Some(at) = vectors.filter(|_| self.source.metric == Metric::Cosine) else { return Ok(rows) };
        let vectors = Vectors::from_array(rows.column(at)).map_err(to_datafusion)?;
        let distances: Vec<f64> = (0..rows.num_rows())
            .map_while(|row| {
                vectors.row(row).map(|vector| self.source.metric.distance_between(vector, query))
            })
            .take_while(|distance| !distance.is_nan())
            .collect();
        if distances.is_sorted() {
            return Ok(rows);
        }
        let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
        order[..distances.len()].sort_by(|a, b| distances[*a as usize].total_cmp(&distances[*b as usize]));
        Ok(take_record_batch(&rows, &UInt32Array::from(order))?)
    }
}

/// The query vector, once scalar subqueries have run.
fn query_vector(query: &Arc<dyn PhysicalExpr>, values: Values) -> Result<Option<QueryVector>> {
    let one_row = RecordBatchOptions::new().with_row_count(Some(1));
    let nothing = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &one_row)?;
    let value = with_values(query.clone())?.evaluate(&nothing)?;
    if matches!(values, Values::Bit | Values::Sparsevec) {
        let array = value.into_array(1)?;
        let Some(stored) = array.as_binary_opt::<i32>().filter(|stored| stored.is_valid(0)) else {
            return Ok(None);
        };
        let vector = match values {
            Values::Bit => zeros_and_ones(stored.value(0)).map(QueryVector::Dense),
            _ => sparse_vector(stored.value(0)).map(QueryVector::Sparse),
        };
        return vector.map(Some).map_err(to_datafusion);
    }
    let vectors = Vectors::new(&value).map_err(to_datafusion)?;
    Ok(vectors.row(0).map(|vector| QueryVector::Dense(vector.to_vec())))
}
