//! Which background job is the most useful now.

use crate::job::{Job, JobInput, JobKind};
use crate::merge::unknown_columns;
use crate::run::{undeclared, wanted_graphs, wanted_lookups};
use crate::sealed::Sealed;
use crate::snapshot::part::Part;
use crate::version::Version;
use crate::{StorageEnv, TableLayout};
use quiver_base::{ColumnId, SegmentId, ShardId, Timestamp};
use std::collections::BTreeMap;

/// Segments are of similar size if none is larger than this many times all smaller ones together.
const SIZE_RATIO: f64 = 4.0;
/// The same while rows trickle in: a segment is not written anew again and again for the sake of few rows, beside searches.
const TRICKLE_SIZE_RATIO: f64 = 2.5;
/// The same for one of more than `LARGE_ROWS`, which takes many seconds (of 384 dimensions, as in the other figures here).
const LARGE_SIZE_RATIO: f64 = 1.0;
const LARGE_ROWS: u64 = 65_536;
/// So many of similar size become one as soon as they are there, unless rows are loaded.
const FAN_IN_MIN: usize = 2;
/// So few rows become one segment while they trickle in, whatever the sizes, if they would fit in memory: to write them anew takes about a second.
const TINY_ROWS: u64 = 16_384;
/// While rows trickle in, merges of up to so many rows come first, and only such ones begin beside a larger one: that takes seconds, in which
/// segments of what came would become so many that searches are slow.
const SMALL_MERGE_ROWS: u64 = 32_768;
/// How many times `settle_after` a small segment waits to be merged before it gets a graph of its own.
const MERGE_PATIENCE: u32 = 10;

/// How fast rows come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Faster than they could be indexed in small pieces.
    Load,
    /// Slowly.
    Trickle,
    /// Nothing has been written for a while: what is there may be brought into its final form.
    Settled,
    /// So may what is in segments, as a statement waits for it; what came into memory since stays there, or there would be no end of it.
    Awaited,
}

/// What is to be merged.
#[derive(Clone, Copy)]
struct Wanted {
    /// Rows of each segment, at least.
    rows_min: u64,
    /// Rows of the new segment, at most.
    rows_max: u64,
    /// Up to how many times all smaller ones together is similar; `None`: as the pace has it.
    ratio: Option<f64>,
    /// At least so many segments.
    count: usize,
}

/// What the choice depends on.
pub(crate) struct Policy<'a> {
    pub(crate) env: &'a StorageEnv,
    pub(crate) shard: ShardId,
    pub(crate) version: &'a Version,
    pub(crate) layout: &'a TableLayout,
    pub(crate) running: &'a [Job],
    /// Kinds that there is no thread for.
    pub(crate) without_thread: &'a [JobKind],
    pub(crate) oldest_read_ts: Timestamp,
    pub(crate) pace: Pace,
}

impl Policy<'_> {
    /// The most useful job that there is a thread for and that does not get in the way of a running one.
    pub(crate) fn choose(&self) -> Option<Job> {
        // What trickles in is searched row by row until it has a graph; a merge of it can wait.
        let graph_first = || if self.pace == Pace::Trickle { self.build_index() } else { None };
        self.flush()
            .or_else(|| self.spill())
            .or_else(graph_first)
            .or_else(|| self.merge())
            .or_else(|| self.rewrite())
            .or_else(|| self.build_index())
            .or_else(|| self.write_deletes())
    }

    fn job(&self, kind: JobKind, input: JobInput) -> Option<Job> {
        let job = Job { kind, shard: self.shard, input };
        let has_thread = !self.without_thread.contains(&kind);
        (has_thread && !self.running.iter().any(|other| other.conflicts(&job))).then_some(job)
    }

    /// Memory is full, or what is in it should have a graph and little or no more is coming.
    fn flush(&self) -> Option<Job> {
        let (memtable, options) = (&self.version.memtable, &self.env.options);
        let full = memtable.bytes() >= options.memtable_bytes_max;
        let indexed = !self.layout.vector_indexes.is_empty() && memtable.rows() >= options.index_rows_min;
        let due = indexed
            && match self.pace {
                Pace::Load | Pace::Awaited => false,
                Pace::Trickle => memtable.bytes() >= options.trickle_bytes_max,
                Pace::Settled => true,
            };
        if full || due { self.job(JobKind::Flush, JobInput::Memtable) } else { None }
    }

    fn spill(&self) -> Option<Job> {
        let bytes_max = self.env.options.memtable_bytes_max;
        let large = self.version.staged.iter().filter(|(_, staged)| staged.bytes() >= bytes_max);
        large.filter_map(|(txn, _)| self.job(JobKind::Spill, JobInput::Txn(*txn))).next()
    }

    /// Segments of similar size become one: enough of them while rows are loaded, any two otherwise, since each is one more that a search walks
    /// through. A large one is left alone until the smaller ones together are worth making its graph anew.
    fn merge(&self) -> Option<Job> {
        let mut alike: BTreeMap<Vec<ColumnId>, Vec<&Sealed>> = BTreeMap::new();
        for sealed in self.free_segments() {
            let unknown = unknown_columns(self.layout, &Part::Segment(sealed.clone()));
            alike.entry(unknown).or_default().push(sealed);
        }
        alike.values_mut().for_each(|list| list.sort_by_key(|sealed| self.written_rows(sealed)));
        let rows_max = self.env.options.segment_rows_max as u64;
        let small =
            Wanted { rows_min: 0, rows_max: SMALL_MERGE_ROWS.min(rows_max), ratio: None, count: FAN_IN_MIN };
        let any = Wanted { rows_max, ..small };
        let fan_in = self.env.options.compaction_fan_in.max(FAN_IN_MIN);
        let many = Wanted { ratio: Some(SIZE_RATIO), count: fan_in, ..any };
        // Of which none is as large as the smaller ones together: there would be ever more of them.
        let large = Wanted { rows_min: LARGE_ROWS, ..many };
        let wanted: &[Wanted] = match self.pace {
            Pace::Trickle if self.merges_many_rows() => &[small],
            Pace::Trickle => &[small, any, large],
            Pace::Load => &[many],
            Pace::Settled | Pace::Awaited => &[any],
        };
        let run = wanted.iter().find_map(|wanted| self.longest_run(&alike, wanted))?;
        self.job(JobKind::Compact, JobInput::Segments(run))
    }

    /// The most segments that are wanted as one, of lists that ascend by size.
    fn longest_run(
        &self,
        alike: &BTreeMap<Vec<ColumnId>, Vec<&Sealed>>,
        wanted: &Wanted,
    ) -> Option<Vec<SegmentId>> {
        // Of runs that are equally long the last counts: that of the smallest segments.
        let starts = alike.values().flat_map(|list| (0..list.len()).rev().map(move |first| &list[first..]));
        let starts = starts.filter(|list| self.written_rows(list[0]) >= wanted.rows_min);
        let run = starts.map(|list| self.similar(list, wanted)).max_by_key(|run| run.len())?;
        (run.len() >= wanted.count).then_some(run)
    }

    /// As many of the first segments as are of similar size and fit one; ascending by size.
    fn similar(&self, segments: &[&Sealed], wanted: &Wanted) -> Vec<SegmentId> {
        let (mut rows, mut bytes) = (0u64, 0u64);
        let fits = segments.iter().enumerate().take_while(|(at, sealed)| {
            let own = self.written_rows(sealed);
            let similar =
                *at == 0 || own as f64 <= rows as f64 * wanted.ratio.unwrap_or(self.size_ratio(own));
            (rows, bytes) = (rows + own, bytes + sealed.meta().object_bytes());
            let is_tiny = self.pace == Pace::Trickle
                && rows <= TINY_ROWS
                && bytes <= self.env.options.memtable_bytes_max as u64;
            (similar || is_tiny) && rows <= wanted.rows_max
        });
        fits.map(|(_, sealed)| sealed.meta().id).collect()
    }

    fn size_ratio(&self, rows: u64) -> f64 {
        match self.pace {
            Pace::Trickle if rows > LARGE_ROWS => LARGE_SIZE_RATIO,
            Pace::Trickle => TRICKLE_SIZE_RATIO,
            Pace::Load | Pace::Settled | Pace::Awaited => SIZE_RATIO,
        }
    }

    /// Rows that a merge would write: those that some reader may still see.
    fn written_rows(&self, sealed: &Sealed) -> u64 {
        let settled = sealed.deletes.settled_by(self.oldest_read_ts) as u64;
        u64::from(sealed.meta().live_rows()).saturating_sub(settled)
    }

    /// Whether segments are being merged that take seconds.
    fn merges_many_rows(&self) -> bool {
        let mut merges =
            self.running.iter().filter(|job| job.kind == JobKind::Compact && job.shard == self.shard);
        merges.any(|job| match &job.input {
            JobInput::Segments(segments) => {
                let inputs = segments.iter().filter_map(|id| self.version.segment(*id));
                inputs.map(|sealed| self.written_rows(sealed)).sum::<u64>() > SMALL_MERGE_ROWS
            }
            _ => false,
        })
    }

    /// A segment with many rows that are dead for every reader is written anew.
    fn rewrite(&self) -> Option<Job> {
        let dead = |sealed: &&Sealed| {
            let meta = sealed.meta();
            let published = u64::from(meta.rows - meta.live_rows());
            let settled = sealed.deletes.settled_by(self.oldest_read_ts) as u64;
            (published + settled) as f64 > f64::from(meta.rows) * self.env.options.dead_share_max
        };
        let waits = self.pace == Pace::Trickle && self.merges_many_rows();
        let rows_max = if waits { SMALL_MERGE_ROWS } else { u64::MAX };
        let sealed =
            self.free_segments().filter(|sealed| self.written_rows(sealed) <= rows_max).find(dead)?;
        self.job(JobKind::Compact, JobInput::Segments(vec![sealed.meta().id]))
    }

    /// While rows are loaded, a small segment gets a graph only if it has not been merged for a while.
    fn build_index(&self) -> Option<Job> {
        let options = &self.env.options;
        let due = |sealed: &&Sealed| {
            self.pace != Pace::Load
                || sealed.meta().object_bytes() >= 2 * options.memtable_bytes_max as u64
                || sealed.known_since.elapsed() >= options.settle_after * MERGE_PATIENCE
        };
        let lacks = |sealed: &&Sealed| {
            !wanted_graphs(self.env, self.layout, sealed).is_empty()
                || !wanted_lookups(self.env, self.layout, sealed).is_empty()
                || !undeclared(self.layout, sealed).is_empty()
        };
        let sealed = self.free_segments().filter(due).find(lacks)?;
        self.job(JobKind::BuildIndex, JobInput::Segments(vec![sealed.meta().id]))
    }

    /// Tombstones of segments fill the memory. Those of rows in memory go with the next flush.
    fn write_deletes(&self) -> Option<Job> {
        let settled = |sealed: &Sealed| sealed.deletes.settled_by(self.oldest_read_ts);
        if self.version.segments.iter().map(settled).sum::<usize>() <= self.env.options.tombstones_max {
            return None;
        }
        let most = self.free_segments().max_by_key(|sealed| settled(sealed))?;
        if settled(most) == 0 {
            return None;
        }
        self.job(JobKind::WriteDeletes, JobInput::Segments(vec![most.meta().id]))
    }

    /// Segments that no running job works on.
    fn free_segments(&self) -> impl Iterator<Item = &Sealed> {
        self.version.segments.iter().filter(|sealed| {
            let id = sealed.meta().id;
            !self.running.iter().any(|job| match &job.input {
                JobInput::Segments(segments) => job.shard == self.shard && segments.contains(&id),
                _ => false,
            })
        })
    }
}
