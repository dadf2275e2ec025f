//! What an index over an expression, or over some rows, is over: evaluated where rows are indexed and searched, and recognised in
//! queries.

use crate::context::statement;
use crate::filter::{ExprFilter, Predicate, passes, renumber};
use crate::scan::ScanColumn;
use crate::topk::Pipeline;
use crate::vector::{dense_column, to_vector};
use crate::{CollectionTable, Engine, from_datafusion};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt32Array, new_null_array};
use arrow::compute::{concat, filter_record_batch, take};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::{collect_columns, conjunction};
use quiver_base::bits::BitsRef;
use quiver_base::sparse::SparseRef;
use quiver_base::{ColumnId, Error, Result, SqlType};
use quiver_cluster::{Index, Table};
use quiver_index::{Element, SparseVector};
use quiver_storage::{ColumnStats, ComputedVectors, Indexed, RowFilter, TableLayout, VectorIndexDef};
use std::any::Any;
use std::sync::Arc;

/// What kind of values an index holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexedType {
    /// `vector` of so many dimensions.
    Dense(u16),
    /// `halfvec` of so many dimensions.
    Half(u16),
    /// `bit` of this length, as zeros and ones.
    Bits(u16),
    /// `sparsevec` of so many dimensions.
    Sparse(u32),
}

impl IndexedType {
    /// Of a SQL type; `None` for those that no vector index holds.
    pub fn of(ty: &SqlType) -> Option<IndexedType> {
        match ty {
            SqlType::Vector(Some(dim)) => Some(IndexedType::Dense(*dim)),
            SqlType::Halfvec(Some(dim)) => Some(IndexedType::Half(*dim)),
            SqlType::Sparsevec(Some(dim)) => Some(IndexedType::Sparse(*dim)),
            SqlType::Bit(Some(length)) => u16::try_from(*length).ok().map(IndexedType::Bits),
            _ => None,
        }
    }

    pub(crate) fn dim(self) -> u32 {
        match self {
            IndexedType::Dense(dim) | IndexedType::Half(dim) | IndexedType::Bits(dim) => u32::from(dim),
            IndexedType::Sparse(dim) => dim,
        }
    }

    /// The Arrow type of [`IndexedType::vectors`].
    fn data_type(self) -> DataType {
        match self {
            IndexedType::Dense(dim) | IndexedType::Half(dim) | IndexedType::Bits(dim) => {
                SqlType::Vector(Some(dim)).arrow_type()
            }
            IndexedType::Sparse(_) => DataType::Binary,
        }
    }

    /// Values as vectors.
    fn vectors(self, values: &ArrayRef) -> Result<ArrayRef> {
        match self {
            IndexedType::Dense(dim) | IndexedType::Half(dim) => to_vector(values, Some(dim)),
            IndexedType::Sparse(_) => Ok(values.clone()),
            IndexedType::Bits(_) => {
                let strings = values.as_binary_opt::<i32>();
                let strings = strings.ok_or_else(|| Error::internal("bits that are no bytes"))?;
                dense_column(&self.data_type(), strings.len(), |row| {
                    strings.is_valid(row).then(|| zeros_and_ones(strings.value(row))).transpose()
                })
            }
        }
    }
}

/// A sparse vector from its stored bytes.
pub(crate) fn sparse_vector(stored: &[u8]) -> Result<SparseVector> {
    let read = SparseRef::read(stored)?;
    let (places, values) = read.iter().unzip();
    Ok(SparseVector { dim: read.dim(), places, values })
}

/// A bit string as a vector.
pub(crate) fn zeros_and_ones(stored: &[u8]) -> Result<Vec<f32>> {
    let bits = BitsRef::read(stored)?;
    Ok((0..bits.len()).map(|at| f32::from(u8::from(bits.bit(at)))).collect())
}

/// The rows of a partial index.
#[derive(Debug)]
pub(crate) struct IndexedRows {
    /// Over the table's columns; a row must pass all.
    pub(crate) conjuncts: Vec<Arc<dyn PhysicalExpr>>,
    filter: Arc<ExprFilter>,
}

impl RowFilter for IndexedRows {
    fn columns(&self) -> &[ColumnId] {
        self.filter.columns()
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        self.filter.evaluate(batch)
    }

    fn may_match(&self, stats: &dyn ColumnStats) -> Vec<bool> {
        self.filter.may_match(stats)
    }

    fn cache_key(&self) -> Option<&str> {
        self.filter.cache_key()
    }
}

/// The vectors of an index over an expression.
#[derive(Debug)]
pub(crate) struct IndexedExpr {
    /// Over the table's columns.
    pub(crate) expr: Arc<dyn PhysicalExpr>,
    /// The rows of a partial index, over the table's columns.
    pub(crate) conjuncts: Vec<Arc<dyn PhysicalExpr>>,
    pub(crate) of: IndexedType,
    columns: Vec<ColumnId>,
    /// Of those columns.
    schema: SchemaRef,
    /// Over `schema`.
    narrow: Arc<dyn PhysicalExpr>,
    /// Over `schema`.
    predicate: Option<Arc<dyn PhysicalExpr>>,
}

impl ComputedVectors for IndexedExpr {
    fn columns(&self) -> &[ColumnId] {
        &self.columns
    }

    fn dim(&self) -> u32 {
        self.of.dim()
    }

    fn element(&self) -> Element {
        match self.of {
            IndexedType::Half(_) => Element::F16,
            IndexedType::Bits(_) => Element::Bit,
            IndexedType::Dense(_) | IndexedType::Sparse(_) => Element::F32,
        }
    }

    fn is_sparse(&self) -> bool {
        matches!(self.of, IndexedType::Sparse(_))
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let batch =
            RecordBatch::try_new_with_options(self.schema.clone(), batch.columns().to_vec(), &options)?;
        match self.all(&batch) {
            Ok(vectors) => Ok(vectors),
            // A dead row may be one that the expression fails on.
            Err(_) => self.one_by_one(&batch),
        }
    }
}

impl IndexedExpr {
    fn all(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let rows = batch.num_rows();
        let Some(predicate) = &self.predicate else { return self.vectors(batch) };
        let mask = passes(predicate, batch).map_err(from_datafusion)?;
        let chosen = filter_record_batch(batch, &mask)?;
        if chosen.num_rows() == rows {
            return self.vectors(batch);
        }
        let vectors = self.vectors(&chosen)?;
        let mut next = 0u32;
        let place = |row| {
            let passes = mask.is_valid(row) && mask.value(row);
            passes.then(|| {
                next += 1;
                next - 1
            })
        };
        let places: UInt32Array = (0..rows).map(place).collect();
        Ok(take(&vectors, &places, None)?)
    }

    fn vectors(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let rows = batch.num_rows();
        let value = self.narrow.evaluate(batch).and_then(|value| value.into_array(rows));
        self.of.vectors(&value.map_err(from_datafusion)?)
    }

    fn one_by_one(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let null = new_null_array(&self.of.data_type(), 1);
        let rows = (0..batch.num_rows()).map(|row| self.all(&batch.slice(row, 1)));
        let rows: Vec<ArrayRef> = rows.map(|row| row.unwrap_or_else(|_| null.clone())).collect();
        let rows: Vec<&dyn Array> = rows.iter().map(AsRef::as_ref).collect();
        if rows.is_empty() { Ok(null.slice(0, 0)) } else { Ok(concat(&rows)?) }
    }

    /// Fails as the expression does on a row that is to be in the index. `batch` has all columns of the table.
    fn check(&self, batch: &RecordBatch) -> Result<()> {
        let checked = match self.conjuncts.is_empty() {
            true => batch.clone(),
            false => {
                let predicate = conjunction(self.conjuncts.iter().cloned());
                filter_record_batch(batch, &passes(&predicate, batch).map_err(from_datafusion)?)?
            }
        };
        self.expr.evaluate(&checked).map(drop).map_err(from_datafusion)
    }
}

/// Refuses rows that an index over an expression cannot take.
#[derive(Clone, Debug)]
pub struct IndexChecks(Arc<TableLayout>);

impl IndexChecks {
    /// The checks of a table's indexes, as a statement sees them; `None` if there is nothing to check.
    pub fn of(state: &SessionState, table: &Arc<Table>) -> Option<IndexChecks> {
        if !table.indexes.iter().any(Index::is_vector) {
            return None;
        }
        let layout = statement(state.config())?.layout(table);
        layout.vector_indexes.iter().any(|index| computed(index).is_some()).then_some(IndexChecks(layout))
    }

    /// Fails as an expression does on a row that is to be in its index. The batch has the table's live columns, in order.
    pub fn check(&self, batch: &RecordBatch) -> Result<()> {
        self.0.vector_indexes.iter().filter_map(computed).try_for_each(|computed| computed.check(batch))
    }
}

/// The expression of an index over one.
pub(crate) fn computed(index: &VectorIndexDef) -> Option<&IndexedExpr> {
    match &index.of {
        Indexed::Computed(computed) => (computed.as_ref() as &dyn Any).downcast_ref(),
        _ => None,
    }
}

/// The rows of a partial index over a column.
pub(crate) fn partial(rows: &dyn RowFilter) -> Option<&IndexedRows> {
    (rows as &dyn Any).downcast_ref()
}

/// What an index of `table` is over that holds the first output of `plan`, a query over the table alone with the index's
/// condition as its filter. It goes through the planner as queries do, so that the same expression looks the same. `of`: what kind of
/// value the output is.
pub async fn compile_index(
    engine: &Engine,
    state: &SessionState,
    table: &CollectionTable,
    plan: &LogicalPlan,
    of: IndexedType,
) -> Result<Indexed> {
    let physical = engine.plan(state, plan).await?;
    let pipeline = Pipeline::below(&physical).map_err(from_datafusion)?;
    let pipeline =
        pipeline.ok_or_else(|| Error::unsupported("an index over this expression or condition"))?;
    let Some((expr, _)) = pipeline.outputs.first() else {
        return Err(Error::internal("an index over nothing"));
    };
    let columns = pipeline.scan.table_columns.clone();
    if let Some(column) = expr.downcast_ref::<Column>()
        && let ScanColumn::Stored(id) = columns[column.index()]
        && is_plain(&table.table, id)
    {
        let rows = match pipeline.filters.is_empty() {
            true => None,
            false => Some(indexed_rows(&pipeline, &columns)?),
        };
        return Ok(Indexed::Column { column: id, rows });
    }
    Ok(Indexed::Computed(Arc::new(indexed_expr(expr.clone(), &pipeline, &columns, of)?)))
}

/// Whether segments have a flat file of the column.
fn is_plain(table: &Table, column: ColumnId) -> bool {
    let found = table.columns.iter().find(|other| other.id == column);
    found.is_some_and(|column| matches!(column.ty, SqlType::Vector(Some(_))))
}

fn indexed_rows(pipeline: &Pipeline, columns: &[ScanColumn]) -> Result<Arc<dyn RowFilter>> {
    let conjuncts = pipeline.filters.clone();
    let predicate = conjunction(conjuncts.iter().cloned());
    let filter = ExprFilter::new(&predicate, &pipeline.scan.table_schema, &Predicate::ids(columns))
        .map_err(from_datafusion)?;
    Ok(Arc::new(IndexedRows { conjuncts, filter }))
}

fn indexed_expr(
    expr: Arc<dyn PhysicalExpr>,
    pipeline: &Pipeline,
    columns: &[ScanColumn],
    of: IndexedType,
) -> Result<IndexedExpr> {
    let conjuncts = pipeline.filters.clone();
    let mut used: Vec<usize> = std::iter::once(&expr)
        .chain(&conjuncts)
        .flat_map(|expr| collect_columns(expr).into_iter().map(|column| column.index()))
        .collect();
    used.sort_unstable();
    used.dedup();
    let ids = Predicate::ids(columns);
    let ids = used.iter().map(|index| ids[*index]).collect::<Option<Vec<ColumnId>>>();
    let narrow = |expr: &Arc<dyn PhysicalExpr>| renumber(expr.clone(), &used).map_err(from_datafusion);
    let predicate = match conjuncts.is_empty() {
        true => None,
        false => Some(narrow(&conjunction(conjuncts.iter().cloned()))?),
    };
    Ok(IndexedExpr {
        narrow: narrow(&expr)?,
        predicate,
        columns: ids.ok_or_else(|| Error::internal("an index over a row reference"))?,
        schema: Arc::new(pipeline.scan.table_schema.project(&used)?),
        expr,
        conjuncts,
        of,
    })
}
