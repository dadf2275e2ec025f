//! What searches did, for EXPLAIN ANALYZE.

use datafusion::physical_plan::metrics::{
    BaselineMetrics, Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet,
};
use parking_lot::Mutex;
use quiver_storage::SearchStats;
use std::sync::Arc;

/// Shared by a plan node and its runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct SearchMetrics {
    set: ExecutionPlanMetricsSet,
    /// How the latest run searched: "graph: 3, exact: 1".
    strategy: Arc<Mutex<Option<String>>>,
}

/// One run's counters.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) baseline: BaselineMetrics,
    strategy: Arc<Mutex<Option<String>>>,
    segments: Count,
    segments_pruned: Count,
    memtable_rows: Count,
    rows_visited: Count,
    rows_passed: Count,
    walk_expected: Count,
    exact_expected: Count,
    cache_hits: Count,
    cache_misses: Count,
    remote_reads: Count,
    remote_bytes: Count,
}

impl SearchMetrics {
    pub(crate) fn start(&self, partition: usize) -> Counters {
        let counter = |name: &'static str| MetricBuilder::new(&self.set).counter(name, partition);
        Counters {
            baseline: BaselineMetrics::new(&self.set, partition),
            strategy: self.strategy.clone(),
            segments: counter("segments"),
            segments_pruned: counter("segments_pruned"),
            memtable_rows: counter("memtable_rows"),
            rows_visited: counter("rows_visited"),
            rows_passed: counter("rows_passed"),
            walk_expected: counter("walk_expected"),
            exact_expected: counter("exact_expected"),
            cache_hits: counter("cache_hits"),
            cache_misses: counter("cache_misses"),
            remote_reads: counter("remote_reads"),
            remote_bytes: counter("remote_bytes"),
        }
    }

    pub(crate) fn set(&self) -> MetricsSet {
        self.set.clone_inner()
    }

    /// How the latest run searched.
    pub(crate) fn strategy(&self) -> Option<String> {
        self.strategy.lock().clone()
    }
}

impl Counters {
    pub(crate) fn record(&self, stats: &SearchStats) {
        self.segments.add(stats.segments as usize);
        self.segments_pruned.add(stats.segments_pruned as usize);
        self.memtable_rows.add(stats.memtable_rows as usize);
        self.rows_visited.add(stats.rows_visited as usize);
        self.rows_passed.add(stats.rows_passed as usize);
        self.walk_expected.add(stats.walk_expected as usize);
        self.exact_expected.add(stats.exact_expected as usize);
        self.cache_hits.add(stats.cache_hits as usize);
        self.cache_misses.add(stats.cache_misses as usize);
        self.remote_reads.add(stats.remote_reads as usize);
        self.remote_bytes.add(stats.remote_bytes as usize);
        if !stats.strategy.is_empty() {
            *self.strategy.lock() = Some(stats.strategy.clone());
        }
    }
}
