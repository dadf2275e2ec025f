//! A segment as one version of a shard has it: with the deletes that its published bitmap does not hold.

use crate::filter_cache::FilterCache;
use crate::visibility::{Alive, Deletes};
use crate::{Segment, SegmentMeta, StorageEnv};
use quiver_base::{Result, RowId, Timestamp};
use std::sync::Arc;
use std::time::Instant;

/// A segment and the deletes of its rows. Clones share what is open.
#[derive(Clone, Debug)]
pub(crate) struct Sealed {
    /// The rows.
    pub(crate) segment: Arc<Segment>,
    /// Deletes newer than the published bitmap.
    pub(crate) deletes: Deletes,
    /// What filters let through. Shared by every version of the segment, so it lives as long as any reader of it.
    pub(crate) filters: Arc<FilterCache>,
    /// When this process learnt of the segment.
    pub(crate) known_since: Instant,
}

impl Sealed {
    /// A segment as its manifest entry describes it. Opens nothing.
    pub(crate) fn new(env: &Arc<StorageEnv>, meta: SegmentMeta, deletes: Deletes) -> Sealed {
        let segment = Arc::new(Segment::new(env, Arc::new(meta)));
        let filters = FilterCache::new(&env.memory);
        Sealed { segment, deletes, filters, known_since: Instant::now() }
    }

    /// The same rows under a new manifest entry.
    pub(crate) fn with_meta(&self, meta: SegmentMeta) -> Sealed {
        Sealed {
            segment: Arc::new(self.segment.with_meta(Arc::new(meta))),
            deletes: self.deletes.clone(),
            filters: self.filters.clone(),
            known_since: self.known_since,
        }
    }

    /// The manifest entry.
    pub(crate) fn meta(&self) -> &SegmentMeta {
        self.segment.meta()
    }

    /// Where a row is.
    pub(crate) fn position(&self, row: RowId) -> Option<u32> {
        self.meta().row_ids.position(row)
    }

    /// Rows not known to be dead: exact unless a row was deleted twice, which locks prevent.
    pub(crate) fn live_rows(&self) -> u32 {
        self.meta().live_rows().saturating_sub(self.deletes.len() as u32)
    }

    /// The rows that were committed by `read_ts` and not deleted by then.
    pub(crate) fn alive(&self, read_ts: Timestamp) -> Result<Alive> {
        if self.meta().newest_ts() <= read_ts {
            return self.survivors(read_ts);
        }
        let born = self.segment.commit_ts(0..self.meta().rows)?;
        let is_born = |row: u32| born.get(row as usize).is_some_and(|ts| *ts <= read_ts);
        self.deletes.alive(self.meta().rows, read_ts, is_born, false, || self.segment.deletes())
    }

    /// The rows that were not deleted by `as_of`, whenever they were committed.
    pub(crate) fn survivors(&self, as_of: Timestamp) -> Result<Alive> {
        self.deletes.alive(self.meta().rows, as_of, |_| true, true, || self.segment.deletes())
    }

    /// Whether a row was committed by `read_ts` and is not in the published bitmap.
    pub(crate) fn is_born(&self, row: u32, read_ts: Timestamp) -> Result<bool> {
        if self.meta().newest_ts() > read_ts {
            let born = self.segment.commit_ts(row..row + 1)?;
            if born.first().is_none_or(|ts| *ts > read_ts) {
                return Ok(false);
            }
        }
        Ok(!self.is_published_dead(row)?)
    }

    /// Whether the published bitmap holds a row.
    pub(crate) fn is_published_dead(&self, row: u32) -> Result<bool> {
        if self.meta().deletes.is_none() {
            return Ok(false);
        }
        Ok(self.segment.deletes()?.is_some_and(|dead| dead.contains(row)))
    }
}
