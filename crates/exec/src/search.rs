//! One nearest-neighbour search over all shards of a collection, and the winners' columns. Blocking: callers run it on
//! blocking threads.

use crate::SearchSettings;
use crate::context::Statement;
use crate::filter::Predicate;
use crate::indexed::IndexedType;
use crate::scan::ScanColumn;
use crate::topk::ChosenIndex;
use arrow::array::{ArrayRef, Int64Array, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use quiver_base::{ColumnId, Error, Result, ShardId, SqlState};
use quiver_cluster::Table;
use quiver_index::{Effort, Metric, SparseVector};
use quiver_storage::{Hit, RowFilter, ScanRequest, SearchStats, Snapshot, TableLayout, VectorQuery};
use std::cmp::Ordering;
use std::sync::Arc;

/// Rows asked for beyond k when equals of the k-th are wanted too; doubled until one is farther.
const TIES_GUESS: usize = 16;

/// Which rows a search chooses from and how it measures them.
#[derive(Clone, Debug)]
pub(crate) struct VectorSource {
    pub(crate) table: Arc<Table>,
    /// All columns of the table provider.
    pub(crate) table_schema: SchemaRef,
    pub(crate) table_columns: Arc<[ScanColumn]>,
    /// The vector column, by position in `table_schema`; `None` if an expression is measured.
    pub(crate) column: Option<usize>,
    /// The index to search through.
    pub(crate) index: Option<ChosenIndex>,
    pub(crate) metric: Metric,
    pub(crate) dim: usize,
    /// What is measured, as errors name it.
    pub(crate) values: Values,
}

/// Types of measured values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    Vector,
    Halfvec,
    Bit,
    Sparsevec,
}

/// What rows are compared with.
#[derive(Clone, Debug)]
pub(crate) enum QueryVector {
    Dense(Vec<f32>),
    Sparse(SparseVector),
}

impl QueryVector {
    fn dim(&self) -> usize {
        match self {
            QueryVector::Dense(values) => values.len(),
            QueryVector::Sparse(vector) => vector.dim as usize,
        }
    }
}

impl Values {
    /// By what an index holds, or by how Arrow carries them.
    pub(crate) fn of(computed: Option<IndexedType>, ty: &DataType) -> Values {
        match computed {
            Some(IndexedType::Bits(_)) => return Values::Bit,
            Some(IndexedType::Sparse(_)) => return Values::Sparsevec,
            Some(IndexedType::Dense(_) | IndexedType::Half(_)) | None => {}
        }
        match ty {
            DataType::FixedSizeList(item, _) | DataType::List(item)
                if *item.data_type() == DataType::Float16 =>
            {
                Values::Halfvec
            }
            _ => Values::Vector,
        }
    }

    fn check_same(self, a: usize, b: usize) -> Result<()> {
        let what = match self {
            _ if a == b => return Ok(()),
            Values::Vector => "vector dimensions",
            Values::Halfvec => "halfvec dimensions",
            Values::Bit => "bit lengths",
            Values::Sparsevec => "sparsevec dimensions",
        };
        Err(Error::new(SqlState::DATA_EXCEPTION, format!("different {what} {a} and {b}")))
    }
}

/// A hit and its shard's position in the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShardHit {
    pub(crate) shard: usize,
    pub(crate) hit: Hit,
}

/// A statement's snapshots of one table.
#[derive(Debug)]
pub(crate) struct TableView {
    pub(crate) shards: Vec<(ShardId, Arc<Snapshot>)>,
    pub(crate) layout: Arc<TableLayout>,
}

impl TableView {
    pub(crate) fn new(statement: &dyn Statement, table: &Arc<Table>) -> Result<TableView> {
        let snapshots = statement.snapshots(table)?;
        let shards = table.shards.iter().copied().zip(snapshots).collect();
        Ok(TableView { shards, layout: statement.layout(table) })
    }

    pub(crate) fn row_count(&self) -> u64 {
        self.shards.iter().map(|(_, snapshot)| snapshot.row_count()).sum()
    }
}

/// How many neighbours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) k: usize,
    /// Also all rows as far as the k-th.
    pub(crate) ties: bool,
}

impl VectorSource {
    fn column_id(&self) -> Option<ColumnId> {
        match self.table_columns[self.column?] {
            ScanColumn::Stored(id) => Some(id),
            ScanColumn::Shard | ScanColumn::Row => None,
        }
    }

    /// The nearest rows of all shards, nearest first, NULL and NaN distances last.
    pub(crate) fn nearest(
        &self,
        view: &TableView,
        settings: SearchSettings,
        query: &QueryVector,
        wanted: Wanted,
        filter: Option<Arc<dyn RowFilter>>,
    ) -> Result<(Vec<ShardHit>, SearchStats)> {
        let rows = view.row_count() as usize;
        if rows == 0 {
            return Ok((vec![], SearchStats::default()));
        }
        self.values.check_same(self.dim, query.dim())?;
        let (dense, sparse) = match query {
            QueryVector::Dense(values) => (values.clone(), None),
            QueryVector::Sparse(vector) => (Vec::new(), Some(vector.clone())),
        };
        let mut query = VectorQuery {
            column: self.column_id().unwrap_or_default(),
            index: self.index.as_ref().map(|index| index.id),
            metric: self.metric,
            query: dense,
            sparse,
            k: wanted.k.min(rows),
            effort: Effort::new(settings.ef_search.max(wanted.k.min(rows)), settings.probes),
            exact: !settings.use_index,
            filter,
        };
        if !wanted.ties {
            return search_shards(view, &query);
        }
        query.k = wanted.k.saturating_add(TIES_GUESS).min(rows);
        loop {
            query.effort.ef = settings.ef_search.max(query.k);
            let (hits, stats) = search_shards(view, &query)?;
            let complete = hits.len() < query.k || query.k == rows;
            let boundary = hits.get(wanted.k - 1);
            let passed_it = boundary
                .zip(hits.last())
                .is_some_and(|(kth, last)| compare_distances(kth.hit.distance, last.hit.distance).is_lt());
            if complete || passed_it {
                return Ok((hits, stats));
            }
            query.k = query.k.saturating_mul(2).min(rows);
        }
    }

    /// Some `limit` rows that pass: what a search with a NULL query vector finds, all distances being NULL.
    pub(crate) fn any_rows(
        &self,
        view: &TableView,
        projection: &[usize],
        limit: usize,
        filter: Option<Arc<dyn RowFilter>>,
    ) -> Result<RecordBatch> {
        let schema = Arc::new(self.table_schema.project(projection)?);
        let request = ScanRequest {
            columns: self.stored(projection),
            filter,
            batch_rows: crate::engine::BATCH_ROWS.min(limit.max(1)),
        };
        let (mut batches, mut left) = (vec![], limit);
        'all: for (shard, snapshot) in &view.shards {
            for part in snapshot.scan_parts(&view.layout, &request)? {
                for rows in snapshot.scan_part(&view.layout, &request, &part)? {
                    let taken = rows.batch.num_rows().min(left);
                    let ids = rows.row_ids[..taken].iter().map(|row| (*shard, row.0));
                    batches.push(self.assemble(&schema, projection, &rows.batch.slice(0, taken), ids)?);
                    left -= taken;
                    if left == 0 {
                        break 'all;
                    }
                }
            }
        }
        Ok(concat_batches(&schema, &batches)?)
    }

    /// Columns of hits, in the hits' order.
    pub(crate) fn fetch(
        &self,
        view: &TableView,
        hits: &[ShardHit],
        projection: &[usize],
    ) -> Result<RecordBatch> {
        let schema = Arc::new(self.table_schema.project(projection)?);
        if hits.is_empty() {
            return Ok(RecordBatch::new_empty(schema));
        }
        let stored = self.stored(projection);
        let (mut batches, mut places, mut fetched) = (vec![], vec![0; hits.len()], 0);
        for (at, (_, snapshot)) in view.shards.iter().enumerate() {
            let mut locators = vec![];
            for (place, hit) in hits.iter().enumerate().filter(|(_, hit)| hit.shard == at) {
                places[place] = fetched + locators.len() as u32;
                locators.push(hit.hit.locator);
            }
            if !locators.is_empty() && !stored.is_empty() {
                batches.push(snapshot.fetch(&view.layout, &locators, &stored)?);
            }
            fetched += locators.len() as u32;
        }
        let rows = match batches.as_slice() {
            [] => RecordBatch::new_empty(Arc::new(Schema::empty())),
            [one] => one.clone(),
            [first, ..] => {
                take_record_batch(&concat_batches(&first.schema(), &batches)?, &UInt32Array::from(places))?
            }
        };
        let ids = hits.iter().map(|hit| (view.shards[hit.shard].0, hit.hit.row_id.0));
        self.assemble(&schema, projection, &rows, ids)
    }

    fn stored(&self, projection: &[usize]) -> Vec<ColumnId> {
        let stored = |index: &usize| match self.table_columns[*index] {
            ScanColumn::Stored(id) => Some(id),
            ScanColumn::Shard | ScanColumn::Row => None,
        };
        projection.iter().filter_map(stored).collect()
    }

    /// Puts stored columns and row references into the order of `projection`.
    fn assemble(
        &self,
        schema: &SchemaRef,
        projection: &[usize],
        stored: &RecordBatch,
        rows: impl Iterator<Item = (ShardId, u64)> + Clone,
    ) -> Result<RecordBatch> {
        let mut stored = stored.columns().iter();
        let mut columns = Vec::with_capacity(projection.len());
        for index in projection {
            columns.push(match self.table_columns[*index] {
                ScanColumn::Stored(_) => stored.next().expect("a column for each asked for").clone(),
                ScanColumn::Shard => {
                    Arc::new(rows.clone().map(|(shard, _)| shard.0 as i64).collect::<Int64Array>())
                        as ArrayRef
                }
                ScanColumn::Row => Arc::new(rows.clone().map(|(_, row)| row as i64).collect::<Int64Array>()),
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.count()));
        Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
    }
}

/// The filter of a search as storage wants it.
pub(crate) fn prepare(predicate: Option<&Arc<Predicate>>) -> Result<Option<Arc<dyn RowFilter>>> {
    predicate.map(|predicate| predicate.prepare()).transpose()
}

fn search_shards(view: &TableView, query: &VectorQuery) -> Result<(Vec<ShardHit>, SearchStats)> {
    if let [(_, snapshot)] = view.shards.as_slice() {
        let found = snapshot.search(&view.layout, query)?;
        return Ok((found.hits.into_iter().map(|hit| ShardHit { shard: 0, hit }).collect(), found.stats));
    }
    let found = std::thread::scope(|scope| {
        let searches: Vec<_> = view
            .shards
            .iter()
            .map(|(_, snapshot)| scope.spawn(|| snapshot.search(&view.layout, query)))
            .collect();
        let join = |search: std::thread::ScopedJoinHandle<'_, _>| match search.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        searches.into_iter().map(join).collect::<Result<Vec<_>>>()
    })?;
    let (mut hits, mut stats) = (vec![], SearchStats::default());
    for (shard, result) in found.into_iter().enumerate() {
        hits.extend(result.hits.into_iter().map(|hit| ShardHit { shard, hit }));
        stats.add(&result.stats);
    }
    hits.sort_by(|a, b| compare_distances(a.hit.distance, b.hit.distance));
    hits.truncate(query.k);
    Ok((hits, stats))
}

/// Ascending; NaN after numbers and NULL after all, as in PostgreSQL.
fn compare_distances(a: Option<f64>, b: Option<f64>) -> Ordering {
    let rank = |distance: Option<f64>| match distance {
        Some(distance) if distance.is_nan() => 1,
        Some(_) => 0,
        None => 2,
    };
    rank(a).cmp(&rank(b)).then_with(|| a.partial_cmp(&b).unwrap_or(Ordering::Equal))
}
