//! A predicate of a plan as storage's `RowFilter`: evaluated by DataFusion's expressions, pruned by DataFusion's pruning.

use crate::constraints;
use crate::resolve::Unknowns;
use crate::scan::ScanColumn;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column as ColumnName, ScalarValue, internal_err};
use datafusion::error::Result as DfResult;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use quiver_base::{ColumnId, Result};
use quiver_cluster::{Index, IndexMethod, Table};
use quiver_index::VectorIndexKind;
use quiver_storage::{Allowed, ColumnStats, Constraint, RowFilter};
use std::collections::HashSet;
use std::fmt::{self, Write};
use std::sync::{Arc, OnceLock};

/// A predicate of a plan over a table provider's columns.
#[derive(Debug)]
pub(crate) struct Predicate {
    expr: Arc<dyn PhysicalExpr>,
    narrow: Narrow,
    unknowns: Unknowns,
    /// Made once, unless it has to wait for the value of a scalar subquery or a parameter.
    prepared: Option<Arc<ExprFilter>>,
}

impl Predicate {
    pub(crate) fn new(
        expr: Arc<dyn PhysicalExpr>,
        schema: &SchemaRef,
        columns: &[ScanColumn],
    ) -> DfResult<Arc<Predicate>> {
        let narrow = Narrow::new(&expr, schema, &Self::ids(columns))?;
        let unknowns = Unknowns::of(&expr)?;
        let prepared = (!unknowns.any()).then(|| Arc::new(ExprFilter::of(narrow.clone())));
        Ok(Arc::new(Predicate { expr, narrow, unknowns, prepared }))
    }

    /// The ids of a scan's columns that storage has.
    pub(crate) fn ids(columns: &[ScanColumn]) -> Vec<Option<ColumnId>> {
        let id = |column: &ScanColumn| match column {
            ScanColumn::Stored(id) => Some(*id),
            ScanColumn::Shard | ScanColumn::Row => None,
        };
        columns.iter().map(id).collect()
    }

    pub(crate) fn expr(&self) -> &Arc<dyn PhysicalExpr> {
        &self.expr
    }

    /// The names of the table's indexes that rows may be found by; of none while a value is not known.
    pub(crate) fn indexes<'a>(&self, table: &'a Table) -> Vec<&'a str> {
        let Some(prepared) = &self.prepared else { return Vec::new() };
        let serves = |index: &&Index| {
            let Some(key) = index.columns.first() else { return false };
            let serves = |allowed: &Allowed| match (index.lookup(), &index.method, allowed) {
                (Some(kind), ..) => kind.serves(allowed),
                (
                    None,
                    IndexMethod::Vector { metric, kind: VectorIndexKind::Hnsw(_) },
                    Allowed::Near(near),
                ) => *metric == near.metric && index.predicate.is_none(),
                _ => false,
            };
            prepared.constraints().iter().any(|it| it.column == key.column && serves(&it.allowed))
        };
        table.indexes.iter().filter(serves).map(|index| index.name.as_str()).collect()
    }

    /// What storage evaluates. Scalar subqueries must have run.
    pub(crate) fn prepare(&self) -> Result<Arc<dyn RowFilter>> {
        if let Some(prepared) = &self.prepared {
            return Ok(prepared.clone());
        }
        let predicate = self.unknowns.resolve(&self.narrow.predicate, &self.narrow.schema);
        let predicate = predicate.map_err(crate::from_datafusion)?;
        Ok(Arc::new(ExprFilter::of(Narrow { predicate, ..self.narrow.clone() })))
    }
}

impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)
    }
}

/// A predicate over the columns that it reads and no others.
#[derive(Clone, Debug)]
struct Narrow {
    columns: Arc<[ColumnId]>,
    schema: SchemaRef,
    /// Over `schema`.
    predicate: Arc<dyn PhysicalExpr>,
}

impl Narrow {
    /// `predicate` is over a table whose column `i` is `ids[i]`, described by `schema`.
    fn new(predicate: &Arc<dyn PhysicalExpr>, schema: &Schema, ids: &[Option<ColumnId>]) -> DfResult<Narrow> {
        let mut used: Vec<usize> = collect_columns(predicate).iter().map(Column::index).collect();
        used.sort_unstable();
        let schema: SchemaRef = Arc::new(schema.project(&used)?);
        let Some(columns) = used.iter().map(|index| ids[*index]).collect::<Option<Arc<[ColumnId]>>>() else {
            return internal_err!("a pushed filter names a row reference");
        };
        Ok(Narrow { columns, schema, predicate: renumber(predicate.clone(), &used)? })
    }
}

/// A conjunction over a table's stored columns. What can be known of it is found out when it is asked for: a filter whose rows are
/// remembered needs no more than its name.
#[derive(Debug)]
pub(crate) struct ExprFilter {
    of: Narrow,
    volatile: bool,
    pruning: OnceLock<Option<Arc<PruningPredicate>>>,
    cache_key: OnceLock<Option<String>>,
    constraints: OnceLock<Vec<Constraint>>,
}

impl ExprFilter {
    /// `predicate` is over a table whose column `i` is `ids[i]`, described by `schema`.
    pub(crate) fn new(
        predicate: &Arc<dyn PhysicalExpr>,
        schema: &Schema,
        ids: &[Option<ColumnId>],
    ) -> DfResult<Arc<ExprFilter>> {
        Ok(Arc::new(ExprFilter::of(Narrow::new(predicate, schema, ids)?)))
    }

    fn of(of: Narrow) -> ExprFilter {
        let volatile = datafusion::physical_expr_common::physical_expr::is_volatile(&of.predicate);
        let (pruning, cache_key, constraints) = Default::default();
        ExprFilter { of, volatile, pruning, cache_key, constraints }
    }

    fn pruning(&self) -> Option<&PruningPredicate> {
        let build = || {
            let builder = PruningPredicateBuilder::new().with_file_schema(self.of.schema.clone());
            builder.build(self.of.predicate.clone())
        };
        self.pruning.get_or_init(build).as_deref()
    }
}

/// The predicate with column `used[i]` as column `i`.
pub(crate) fn renumber(predicate: Arc<dyn PhysicalExpr>, used: &[usize]) -> DfResult<Arc<dyn PhysicalExpr>> {
    let renumbered = predicate.transform(|expr| {
        let Some(column) = expr.downcast_ref::<Column>() else { return Ok(Transformed::no(expr)) };
        let at = used.binary_search(&column.index()).unwrap_or_default();
        Ok(Transformed::yes(Arc::new(Column::new(column.name(), at)) as Arc<dyn PhysicalExpr>))
    })?;
    Ok(renumbered.data)
}

/// Text that fails to become longer than a filter's name should be.
struct Capped<'a>(&'a mut String);

/// Lists of many thousand values are not worth to be remembered.
const CACHE_KEY_BYTES_MAX: usize = 64 << 10;

impl Write for Capped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > CACHE_KEY_BYTES_MAX {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// The predicate's text after the ids of its columns: a renamed column must not share a key with its old name's successor.
/// Literals are printed with their types by `Debug`.
fn cache_key(predicate: &Arc<dyn PhysicalExpr>, columns: &[ColumnId]) -> Option<String> {
    let mut key = String::new();
    for column in columns {
        write!(key, "{column} ").ok()?;
    }
    write!(Capped(&mut key), "{predicate:?}").ok()?;
    Some(key)
}

impl RowFilter for ExprFilter {
    fn columns(&self) -> &[ColumnId] {
        &self.of.columns
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let rows = batch.num_rows();
        let options = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(rows));
        let batch =
            RecordBatch::try_new_with_options(self.of.schema.clone(), batch.columns().to_vec(), &options)?;
        passes(&self.of.predicate, &batch).map_err(crate::from_datafusion)
    }

    fn may_match(&self, stats: &dyn ColumnStats) -> Vec<bool> {
        let everything = || vec![true; stats.containers()];
        let Some(pruning) = self.pruning() else { return everything() };
        let stats = Statistics { stats, schema: &self.of.schema, columns: &self.of.columns };
        pruning.prune(&stats).unwrap_or_else(|_| everything())
    }

    fn constraints(&self) -> &[Constraint] {
        // Without constraints all rows are looked at.
        let find = || match self.volatile {
            true => Vec::new(),
            false => {
                constraints::of(&self.of.predicate, &self.of.schema, &self.of.columns).unwrap_or_default()
            }
        };
        self.constraints.get_or_init(find)
    }

    fn cache_key(&self) -> Option<&str> {
        let name = || if self.volatile { None } else { cache_key(&self.of.predicate, &self.of.columns) };
        self.cache_key.get_or_init(name).as_deref()
    }
}

/// Which rows of a batch satisfy a predicate. A bare NULL, which has no type, is none of them.
pub(crate) fn passes(predicate: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> DfResult<BooleanArray> {
    let rows = batch.num_rows();
    let evaluated = predicate.evaluate(batch)?.into_array(rows)?;
    match evaluated.as_boolean_opt() {
        Some(passes) => Ok(passes.clone()),
        None if evaluated.data_type().is_null() => Ok(BooleanArray::from(vec![false; rows])),
        None => internal_err!("a predicate of type {}", evaluated.data_type()),
    }
}

/// Storage's statistics, by name instead of by id.
struct Statistics<'a> {
    stats: &'a dyn ColumnStats,
    schema: &'a Schema,
    columns: &'a [ColumnId],
}

impl Statistics<'_> {
    fn id(&self, column: &ColumnName) -> Option<ColumnId> {
        let index = self.schema.index_of(&column.name).ok()?;
        self.columns.get(index).copied()
    }
}

impl PruningStatistics for Statistics<'_> {
    fn min_values(&self, column: &ColumnName) -> Option<ArrayRef> {
        self.stats.min(self.id(column)?)
    }

    fn max_values(&self, column: &ColumnName) -> Option<ArrayRef> {
        self.stats.max(self.id(column)?)
    }

    fn num_containers(&self) -> usize {
        self.stats.containers()
    }

    fn null_counts(&self, column: &ColumnName) -> Option<ArrayRef> {
        self.stats.null_counts(self.id(column)?)
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(self.stats.row_counts())
    }

    fn contained(&self, _column: &ColumnName, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
