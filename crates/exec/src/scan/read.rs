//! The blocking half of a scan. It runs on a blocking thread, but for a few keys: waking one costs more than looking them up.

use super::{CollectionScanExec, ScanColumn};
use crate::context::{Statement, running_statement};
use crate::engine::BATCH_ROWS;
use crate::{from_datafusion, to_datafusion};
use arrow::array::{ArrayRef, Int64Array};
use arrow::compute::filter_record_batch;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::{
    BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, RecordOutput, Time,
};
use datafusion::physical_plan::stream::{RecordBatchReceiverStreamBuilder, RecordBatchStreamAdapter};
use futures::{StreamExt, stream};
use quiver_base::{ColumnId, Error, Result, RowId, ShardId};
use quiver_storage::{RowFilter, ScanRequest, Snapshot, TableLayout};
use std::borrow::Cow;
use std::sync::Arc;
use tokio::sync::mpsc::Sender;

/// Batches that wait for the reader of a scan.
const BATCHES_QUEUED_MAX: usize = 2;

pub(super) fn start(
    scan: &CollectionScanExec,
    partition: usize,
    context: &TaskContext,
    metrics: &ExecutionPlanMetricsSet,
) -> datafusion::error::Result<SendableRecordBatchStream> {
    let query = running_statement(context)?;
    let measured = Measured {
        baseline: BaselineMetrics::new(metrics, partition),
        parts: MetricBuilder::new(metrics).counter("parts_scanned", partition),
        found: MetricBuilder::new(metrics).counter("rows_by_index", partition),
    };
    let reader = |query, out| Reader {
        left: scan.limit().unwrap_or(usize::MAX),
        scan: Cow::Owned(scan.clone()),
        partition,
        query,
        snapshots: None,
        out,
        measured: Some(measured),
    };
    if let Some(snapshots) = at_hand(scan, query.as_ref()).map_err(to_datafusion)? {
        let reader = Reader { snapshots: Some(snapshots), ..reader(query, Out::Kept(Vec::new())) };
        let found = stream::once(async move { reader.run() }).map(|batches| match batches {
            Ok(batches) => stream::iter(batches.into_iter().map(Ok).collect::<Vec<_>>()),
            Err(error) => stream::iter(vec![Err(to_datafusion(error))]),
        });
        return Ok(Box::pin(RecordBatchStreamAdapter::new(scan.schema(), found.flatten())));
    }
    let mut builder = RecordBatchReceiverStreamBuilder::new(scan.schema(), BATCHES_QUEUED_MAX);
    let reader = reader(query, Out::Sent(builder.tx()));
    builder.spawn_blocking(move || reader.run().map(drop).map_err(to_datafusion));
    Ok(builder.build())
}

/// Keys that are looked up without a thread of their own, if no read can wait for another machine.
const KEYS_AT_ONCE_MAX: usize = 16;

impl CollectionScanExec {
    /// The rows of a look-up that is over in less time than it takes to set up a stream; nobody sees how it went. `None` if it may take longer.
    pub(crate) fn look_up_at_once(&self, query: Arc<dyn Statement>) -> Result<Option<Vec<RecordBatch>>> {
        let Some(snapshots) = at_hand(self, query.as_ref())? else { return Ok(None) };
        let reader = Reader {
            left: self.limit().unwrap_or(usize::MAX),
            scan: Cow::Borrowed(self),
            partition: 0,
            query,
            snapshots: Some(snapshots),
            out: Out::Kept(Vec::new()),
            measured: None,
        };
        reader.run().map(Some)
    }
}

/// What a look-up of a few keys reads, if no read can wait for another machine.
fn at_hand(scan: &CollectionScanExec, query: &dyn Statement) -> Result<Option<Vec<Arc<Snapshot>>>> {
    if scan.lookup.as_ref().is_none_or(|lookup| lookup.rows() > KEYS_AT_ONCE_MAX) {
        return Ok(None);
    }
    let snapshots = query.snapshots(&scan.table)?;
    Ok(snapshots.iter().all(|snapshot| snapshot.is_local()).then_some(snapshots))
}

/// Where batches go.
enum Out {
    Sent(Sender<datafusion::error::Result<RecordBatch>>),
    Kept(Vec<RecordBatch>),
}

struct Reader<'a> {
    scan: Cow<'a, CollectionScanExec>,
    partition: usize,
    query: Arc<dyn Statement>,
    /// If they have been asked for.
    snapshots: Option<Vec<Arc<Snapshot>>>,
    out: Out,
    /// Rows that the limit still allows.
    left: usize,
    measured: Option<Measured>,
}

/// What EXPLAIN ANALYZE shows.
struct Measured {
    baseline: BaselineMetrics,
    parts: Count,
    /// Rows that indexes named.
    found: Count,
}

/// Whether anybody still wants rows.
#[derive(PartialEq)]
enum Flow {
    GoOn,
    Stop,
}

impl Reader<'_> {
    /// What was found and not sent.
    fn run(mut self) -> Result<Vec<RecordBatch>> {
        let elapsed = self.measured.as_ref().map(|measured| measured.baseline.elapsed_compute().clone());
        let timer = elapsed.as_ref().map(Time::timer);
        let snapshots = match self.snapshots.take() {
            Some(snapshots) => snapshots,
            None => self.query.snapshots(&self.scan.table)?,
        };
        let layout = self.query.layout(&self.scan.table);
        let is_all = self.scan.lookup.as_ref().is_some_and(|lookup| lookup.is_all());
        let filter = match &self.scan.predicate {
            Some(predicate) if !is_all => Some(predicate.prepare()?),
            _ => None,
        };
        let shards: Vec<(ShardId, Arc<Snapshot>)> =
            self.scan.table.shards.iter().copied().zip(snapshots).collect();
        if self.scan.lookup.is_some() {
            self.look_up(&shards, &layout, filter)?;
        } else if filter.is_none() && self.stored_columns().is_empty() && self.row_columns_unused() {
            self.count(&shards)?;
        } else {
            self.scan_parts(&shards, &layout, filter)?;
        }
        drop(timer);
        Ok(match self.out {
            Out::Kept(batches) => batches,
            Out::Sent(_) => Vec::new(),
        })
    }

    /// Rows without columns: what COUNT(*) asks for. No data is read.
    fn count(&mut self, shards: &[(ShardId, Arc<Snapshot>)]) -> Result<()> {
        if self.partition != 0 {
            return Ok(());
        }
        for (_, snapshot) in shards {
            let mut rows = snapshot.row_count() as usize;
            while rows > 0 {
                let batch_rows = rows.min(BATCH_ROWS);
                rows -= batch_rows;
                if self.send(vec![], batch_rows)? == Flow::Stop {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn scan_parts(
        &mut self,
        shards: &[(ShardId, Arc<Snapshot>)],
        layout: &TableLayout,
        filter: Option<Arc<dyn RowFilter>>,
    ) -> Result<()> {
        let batch_rows = BATCH_ROWS.min(self.left.max(1));
        let request = ScanRequest { columns: self.stored_columns(), filter, batch_rows };
        let mut turn = 0;
        for (shard, snapshot) in shards {
            for part in snapshot.scan_parts(layout, &request)? {
                turn += 1;
                if (turn - 1) % self.scan.partitions() != self.partition {
                    continue;
                }
                self.query.check_cancel()?;
                if let Some(Measured { parts, found, .. }) = &self.measured {
                    parts.add(1);
                    found.add(part.candidates.as_ref().map_or(0, |rows| rows.len()));
                }
                for rows in snapshot.scan_part(layout, &request, &part)? {
                    let columns = self.columns(&rows.batch, *shard, &rows.row_ids);
                    if self.send(columns, rows.batch.num_rows())? == Flow::Stop {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn look_up(
        &mut self,
        shards: &[(ShardId, Arc<Snapshot>)],
        layout: &TableLayout,
        filter: Option<Arc<dyn RowFilter>>,
    ) -> Result<()> {
        let lookup = self.scan.lookup.clone().filter(|_| self.partition == 0);
        let Some(lookup) = lookup else { return Ok(()) };
        let Some(values) = lookup.arrays().map_err(from_datafusion)? else { return Ok(()) };
        let key = layout.keys.iter().find(|key| key.id == lookup.index);
        let key = key.ok_or_else(|| Error::internal(format!("no key index {}", lookup.name)))?;
        let wanted = self.stored_columns();
        for (shard, snapshot) in shards {
            let mut found: Vec<_> = snapshot.lookup(layout, key, &values)?.into_iter().flatten().collect();
            if lookup.rows() > 1 {
                // Both zeros, for one, are the same key.
                found.sort_unstable_by_key(|(row, _)| *row);
                found.dedup_by_key(|(row, _)| *row);
            }
            if found.is_empty() {
                continue;
            }
            let (row_ids, locators): (Vec<RowId>, Vec<_>) = found.into_iter().unzip();
            let batch = snapshot.fetch(layout, &locators, &wanted)?;
            let columns = self.columns(&batch, *shard, &row_ids);
            let options = RecordBatchOptions::new().with_row_count(Some(row_ids.len()));
            let mut batch = RecordBatch::try_new_with_options(self.scan.schema(), columns, &options)?;
            if let Some(filter) = &filter {
                let inputs = snapshot.fetch(layout, &locators, filter.columns())?;
                batch = filter_record_batch(&batch, &filter.evaluate(&inputs)?)?;
            }
            if self.send_batch(batch) == Flow::Stop {
                break;
            }
        }
        Ok(())
    }

    /// Sends at most what the limit still allows.
    fn send(&mut self, columns: Vec<ArrayRef>, rows: usize) -> Result<Flow> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(self.send_batch(RecordBatch::try_new_with_options(self.scan.schema(), columns, &options)?))
    }

    fn send_batch(&mut self, mut batch: RecordBatch) -> Flow {
        if batch.num_rows() > self.left {
            batch = batch.slice(0, self.left);
        }
        self.left -= batch.num_rows();
        if batch.num_rows() > 0 {
            let batch = match &self.measured {
                Some(measured) => batch.record_output(&measured.baseline),
                None => batch,
            };
            match &mut self.out {
                Out::Kept(batches) => batches.push(batch),
                Out::Sent(out) if out.blocking_send(Ok(batch)).is_err() => return Flow::Stop,
                Out::Sent(_) => {}
            }
        }
        if self.left == 0 { Flow::Stop } else { Flow::GoOn }
    }

    fn outputs(&self) -> impl Iterator<Item = ScanColumn> {
        self.scan.projection.iter().map(|index| self.scan.table_columns[*index])
    }

    /// What storage is asked for, in output order.
    fn stored_columns(&self) -> Vec<ColumnId> {
        let stored = |column| match column {
            ScanColumn::Stored(id) => Some(id),
            ScanColumn::Shard | ScanColumn::Row => None,
        };
        self.outputs().filter_map(stored).collect()
    }

    fn row_columns_unused(&self) -> bool {
        self.outputs().all(|column| matches!(column, ScanColumn::Stored(_)))
    }

    /// Output columns from what storage gave and where the rows are.
    fn columns(&self, stored: &RecordBatch, shard: ShardId, row_ids: &[RowId]) -> Vec<ArrayRef> {
        let mut stored = stored.columns().iter();
        self.outputs()
            .map(|column| match column {
                ScanColumn::Stored(_) => stored.next().expect("a column for each asked for").clone(),
                ScanColumn::Shard => {
                    Arc::new(Int64Array::from(vec![shard.0 as i64; row_ids.len()])) as ArrayRef
                }
                ScanColumn::Row => Arc::new(row_ids.iter().map(|row| row.0 as i64).collect::<Int64Array>()),
            })
            .collect()
    }
}
