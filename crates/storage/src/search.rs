//! The k nearest rows of a snapshot: each part finds its own k, then they are merged. Rows whose vector is NULL come
//! after all others, as PostgreSQL sorts them.

mod cold;
mod memory;
mod parallel;
mod segment;
mod source;

use crate::objects::RemoteReads;
use crate::sealed::Sealed;
use crate::snapshot::part::Part;
use crate::snapshot::{Locator, Snapshot};
use crate::visibility::Alive;
use crate::{RowFilter, TableLayout};
use parallel::{Searching, side_by_side};
use quiver_base::{ColumnId, Error, IndexId, Result, RowId, SqlState};
use quiver_index::{AskedCodes, Effort, Metric, RowSet, SparseVector};
use source::Source;

pub(crate) use memory::sparse_vector;
use std::cell::{Cell, OnceCell};
use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A nearest-neighbour search.
#[derive(Clone, Debug)]
pub struct VectorQuery {
    /// The vector column; of no meaning if `index` is one over computed vectors.
    pub column: ColumnId,
    /// The index to search through; if none is named, any over the whole column. One over some rows must be named only with a
    /// filter that lets no other rows through.
    pub index: Option<IndexId>,
    /// The distance.
    pub metric: Metric,
    /// The query vector.
    pub query: Vec<f32>,
    /// The query vector, if vectors are sparse; `query` then says nothing.
    pub sparse: Option<SparseVector>,
    /// How many rows.
    pub k: usize,
    /// hnsw.ef_search and ivfflat.probes.
    pub effort: Effort,
    /// Ignore indexes.
    pub exact: bool,
    /// Rows to choose from.
    pub filter: Option<Arc<dyn RowFilter>>,
}

/// A row that a search found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// As SQL shows it. NULL vectors come last, with `None`, and only if fewer than k rows have one.
    pub distance: Option<f64>,
    /// The row.
    pub row_id: RowId,
    /// Where to fetch it.
    pub locator: Locator,
}

/// What a search did, for EXPLAIN ANALYZE.
#[derive(Clone, Debug, Default)]
pub struct SearchStats {
    /// Segments looked into.
    pub segments: u64,
    /// Segments skipped by statistics.
    pub segments_pruned: u64,
    /// Memtable rows looked at, by codes or as they are.
    pub memtable_rows: u64,
    /// Vectors compared in segments.
    pub rows_visited: u64,
    /// Rows that passed the filter, where it was counted.
    pub rows_passed: u64,
    /// What walking the graphs of segments was expected to cost where a filter left a choice, in vectors compared.
    pub walk_expected: u64,
    /// And what looking at every row that passed, in the same unit.
    pub exact_expected: u64,
    /// How each segment was searched (`quiver_index::Strategy`), joined by commas, counted: "graph: 3, exact: 1".
    pub strategy: String,
    /// Decoded-column and bitmap cache hits.
    pub cache_hits: u64,
    /// And misses.
    pub cache_misses: u64,
    /// Requests for parts of lists and vectors in a remote store.
    pub remote_reads: u64,
    /// Bytes that they brought.
    pub remote_bytes: u64,
}

/// Hits in ascending order of distance, NULLs last.
#[derive(Clone, Debug, Default)]
pub struct SearchResult {
    /// At most k; fewer only if fewer rows qualify.
    pub hits: Vec<Hit>,
    /// What it took.
    pub stats: SearchStats,
}

/// A thread is worth it where it reads so many numbers that another would have to read otherwise: most of a millisecond. This crate's tests
/// have few rows and go both ways.
const THREAD_WORTH: u64 = if cfg!(test) { 100 } else { 4 << 20 };
/// As how many of these numbers a node of a graph counts beside what it is compared by, and how many numbers of its code count as one.
/// Measured: 40 ns a node with codes of 384 bytes, a fifth to a third of one a number.
const NODE_NUMBERS: u64 = 80;
const CODED_NUMBERS: u64 = 8;
/// By how much less a row takes that is looked at by a code of its own (24 ns of 68, decision 15).
const ROW_CODED: u64 = 2;
/// Nanoseconds of work that are worth a thread which waits for work already.
const PIECE_NS: f64 = if cfg!(test) { 100.0 } else { 60_000.0 };
/// Vectors that the walk of a graph compares for each candidate that it keeps, or fewer.
const COMPARED_PER_CANDIDATE: u64 = 20;

impl SearchStats {
    /// What two searches did together.
    pub fn add(&mut self, other: &SearchStats) {
        self.segments += other.segments;
        self.segments_pruned += other.segments_pruned;
        self.memtable_rows += other.memtable_rows;
        self.rows_visited += other.rows_visited;
        self.rows_passed += other.rows_passed;
        self.walk_expected += other.walk_expected;
        self.exact_expected += other.exact_expected;
        self.cache_hits += other.cache_hits;
        self.cache_misses += other.cache_misses;
        self.remote_reads += other.remote_reads;
        self.remote_bytes += other.remote_bytes;
        if !self.strategy.is_empty() && !other.strategy.is_empty() {
            self.strategy.push_str("; ");
        }
        self.strategy.push_str(&other.strategy);
    }
}

/// A search under way.
pub(crate) struct Search<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) layout: &'a TableLayout,
    pub(crate) query: &'a VectorQuery,
    source: Source<'a>,
    /// Of all parts, dead ones included.
    rows: u64,
    pub(crate) stats: SearchStats,
    pub(crate) strategies: BTreeMap<String, u64>,
    hits: Vec<Hit>,
    /// Rows that qualify, by part, for a second look at NULLs.
    qualified: Vec<(usize, Alive)>,
    /// What was read of lists and vectors that stay in a remote store.
    remote: Cell<RemoteReads>,
    /// The query as codes of rows in memory are asked for it, once one has been.
    asked_codes: OnceCell<Option<AskedCodes>>,
}

impl Snapshot {
    /// The k nearest rows. Blocking.
    pub fn search(&self, layout: &TableLayout, query: &VectorQuery) -> Result<SearchResult> {
        let source = Source::of(layout, query)?;
        source.check_dimensions(layout, query)?;
        let _searching = Searching::begin();
        let rows = self.parts().iter().map(|part| u64::from(part.rows())).sum();
        let mut search = Search::new(self, layout, query, source, rows);
        if query.k > 0 {
            search.parts()?;
            search.add_nulls()?;
        }
        Ok(search.finish())
    }
}

impl<'a> Search<'a> {
    fn new(
        snapshot: &'a Snapshot,
        layout: &'a TableLayout,
        query: &'a VectorQuery,
        source: Source<'a>,
        rows: u64,
    ) -> Search<'a> {
        Search {
            snapshot,
            layout,
            query,
            source,
            rows,
            stats: SearchStats::default(),
            strategies: BTreeMap::new(),
            hits: Vec::new(),
            qualified: Vec::with_capacity(snapshot.parts().len()),
            remote: Cell::default(),
            asked_codes: OnceCell::new(),
        }
    }

    /// All parts: one after the other, or side by side where that saves enough to be worth a thread.
    fn parts(&mut self) -> Result<()> {
        let parts = self.snapshot.parts();
        let costs = || parts.iter().map(|part| self.cost(part));
        let saved = costs().sum::<u64>() - costs().max().unwrap_or(0);
        if saved < THREAD_WORTH {
            return largest_first(parts).into_iter().try_for_each(|part| self.part(part));
        }
        let (snapshot, layout, query, source) = (self.snapshot, self.layout, self.query, self.source);
        let rows = self.rows;
        let searched = side_by_side(parts.len(), |part| {
            let mut search = Search::new(snapshot, layout, query, source, rows);
            search.part(part)?;
            Ok((search.hits, search.qualified, search.stats, search.strategies, search.remote.get()))
        })?;
        for (hits, qualified, stats, strategies, remote) in searched {
            self.count(remote);
            self.hits.extend(hits);
            self.qualified.extend(qualified);
            self.stats.add(&stats);
            for (strategy, count) in strategies {
                *self.strategies.entry(strategy).or_default() += count;
            }
            self.shorten();
        }
        Ok(())
    }

    /// About how many numbers a part's search reads.
    fn cost(&self, part: &Part) -> u64 {
        let row = self.query.query.len().max(1) as u64;
        match part {
            Part::Segment(sealed) if !self.query.exact && !sealed.meta().graphs.is_empty() => {
                let compared = (self.query.effort.ef as u64).saturating_mul(COMPARED_PER_CANDIDATE);
                let index = self.index_for(&sealed.segment).and_then(|index| self.layout.vector_index(index));
                let is_coded = index.is_some_and(|index| index.kind.has_codes());
                let node = NODE_NUMBERS + if is_coded { row / CODED_NUMBERS } else { row };
                compared.min(part.rows().into()).saturating_mul(node)
            }
            part if self.has_row_codes(part) => u64::from(part.rows()) * row / ROW_CODED,
            part => u64::from(part.rows()) * row,
        }
    }

    /// Whether a part's rows, which no index has, are looked at by codes of theirs, if there is memory for these.
    fn has_row_codes(&self, part: &Part) -> bool {
        let waits = match part {
            Part::Memory(_) => true,
            Part::Segment(sealed) => self.waits_for_index(&sealed.segment),
        };
        waits && matches!(self.source, Source::Column(_)) && self.asked_codes().is_some()
    }

    fn part(&mut self, part: usize) -> Result<()> {
        let container = &self.snapshot.parts()[part];
        let allowed = self.allowed(part, container)?;
        if allowed.len() > 0 {
            let hits = match container {
                Part::Memory(_) => self.in_memory(part as u32, container, &allowed)?,
                Part::Segment(sealed) => self.in_segment(part as u32, sealed, &allowed)?,
            };
            self.hits.extend(hits);
            self.shorten();
        }
        self.qualified.push((part, allowed));
        Ok(())
    }

    /// Rows of a part that are visible and pass the filter.
    fn allowed(&mut self, part: usize, container: &Part) -> Result<Alive> {
        let alive = self.snapshot.alive(part)?;
        let Some(filter) = self.query.filter.as_deref() else { return Ok(alive.clone()) };
        if alive.len() == 0 {
            return Ok(alive.clone());
        }
        let mut passes = match container {
            Part::Memory(_) => self.passing(container, filter, Some(alive))?.0,
            Part::Segment(sealed) => self.passing_cached(container, sealed, filter, alive)?,
        };
        if let Some(alive) = alive.as_filter() {
            Arc::make_mut(&mut passes).and(alive);
        }
        self.stats.rows_passed += u64::from(passes.len());
        Ok(Alive::Some(passes))
    }

    /// Looks at all rows, so that the answer serves later readers too, unless the filter fails on one: then only at those that
    /// this reader sees.
    fn passing_cached(
        &mut self,
        container: &Part,
        sealed: &Sealed,
        filter: &dyn RowFilter,
        alive: &Alive,
    ) -> Result<Arc<RowSet>> {
        // Column ids are part of it: a name may come to mean another column.
        let key = filter.cache_key().map(|key| format!("{:?} {key}", filter.columns()));
        if let Some(rows) = key.as_ref().and_then(|key| sealed.filters.get(key)) {
            self.stats.cache_hits += 1;
            return Ok(rows);
        }
        let all = self.passing(container, filter, None);
        let cached = all.is_ok();
        let (rows, pieces) = all.or_else(|_| self.passing(container, filter, Some(alive)))?;
        self.stats.segments_pruned += u64::from(pieces == 0);
        if let Some(key) = key.filter(|_| cached) {
            self.stats.cache_misses += 1;
            sealed.filters.put(&key, rows.clone());
        }
        Ok(rows)
    }

    /// Rows that pass a filter, of those alive or of all, and how many pieces were looked at.
    fn passing(
        &self,
        container: &Part,
        filter: &dyn RowFilter,
        alive: Option<&Alive>,
    ) -> Result<(Arc<RowSet>, usize)> {
        let mut rows = RowSet::new(container.rows());
        let pieces = crate::snapshot::passing(container, self.layout, filter, alive, |row| {
            rows.insert(row);
        })?;
        Ok((Arc::new(rows), pieces))
    }

    /// How far the farthest of the best k so far is, once there are k.
    fn bound(&self) -> Option<f64> {
        let distances = self.hits.iter().map(|hit| hit.distance.unwrap_or(f64::NAN));
        let farthest = |a: f64, b: f64| if a > b || a.is_nan() { a } else { b };
        (self.hits.len() >= self.query.k).then(|| distances.reduce(farthest)).flatten()
    }

    /// Keeps the best k.
    fn shorten(&mut self) {
        if self.hits.len() > self.query.k {
            self.hits.sort_unstable_by(compare_hits);
            self.hits.truncate(self.query.k);
        }
    }

    /// Fills up with rows whose vector is NULL.
    fn add_nulls(&mut self) -> Result<()> {
        self.hits.sort_unstable_by(compare_hits);
        let missing = self.query.k - self.hits.len();
        if missing == 0 {
            return Ok(());
        }
        let mut nulls: Vec<(RowId, Locator)> = Vec::new();
        for (part, allowed) in self.qualified.iter().filter(|(_, allowed)| allowed.len() > 0) {
            let container = &self.snapshot.parts()[*part];
            let rows = self.null_rows(container, allowed)?;
            let located = rows.iter().map(|row| Locator { part: *part as u32, row: *row });
            nulls.extend(container.row_ids(&rows).into_iter().zip(located));
        }
        nulls.sort_unstable_by_key(|(row, _)| *row);
        nulls.truncate(missing);
        let hits = nulls.into_iter().map(|(row_id, locator)| Hit { distance: None, row_id, locator });
        self.hits.extend(hits);
        Ok(())
    }

    fn finish(mut self) -> SearchResult {
        let counted = self.strategies.iter().map(|(name, count)| format!("{name}: {count}"));
        let RemoteReads { requests, bytes } = self.remote.get();
        (self.stats.remote_reads, self.stats.remote_bytes) = (requests, bytes);
        self.stats.strategy = counted.collect::<Vec<_>>().join(", ");
        SearchResult { hits: self.hits, stats: self.stats }
    }
}

/// Segments before rows in memory, large ones before small: what is found in one tells what is too far in the next.
fn largest_first(parts: &[Part]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|part| match &parts[*part] {
        Part::Segment(sealed) => (false, Reverse(sealed.meta().rows)),
        Part::Memory(rows) => (true, Reverse(rows.chunk.len() as u32)),
    });
    order
}

/// Ascending distance, NaN after all numbers; equal distances by row id, so that the answer does not depend on where
/// rows are stored.
fn compare_hits(a: &Hit, b: &Hit) -> Ordering {
    let distance = |hit: &Hit| hit.distance.unwrap_or(f64::NAN);
    let (x, y) = (distance(a), distance(b));
    let order = x.partial_cmp(&y).unwrap_or_else(|| x.is_nan().cmp(&y.is_nan()));
    order.then_with(|| a.row_id.cmp(&b.row_id))
}

/// pgvector's error.
fn different_dimensions(stored: usize, asked: usize) -> Error {
    Error::new(SqlState::DATA_EXCEPTION, format!("different vector dimensions {stored} and {asked}"))
}
