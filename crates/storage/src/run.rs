//! Doing a job: reads one version of the shard, makes objects durable, and says in a publish what they are.

use crate::job::{Job, JobControl, JobInput, JobKind};
use crate::memtable::MemChunk;
use crate::merge::{unknown_columns, write_rows};
use crate::publish::{Change, Publish, bitmap_age};
use crate::sealed::Sealed;
use crate::snapshot::part::Part;
use crate::snapshot::passing;
use crate::version::Version;
use crate::{
    BuiltIndex, Indexed, IndexedRows, LookupCode, LookupDef, SegmentMeta, StorageEnv, TableLayout,
    VectorIndexDef,
};
use quiver_base::{ColumnId, Error, IndexId, Result, SegmentId, ShardId, Timestamp, TxnId};
use quiver_index::RowSet;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A job on its way.
pub(crate) struct Run<'a> {
    pub(crate) env: &'a Arc<StorageEnv>,
    pub(crate) shard: ShardId,
    pub(crate) version: &'a Version,
    pub(crate) layout: &'a TableLayout,
    /// Deletes up to here are seen by every reader.
    pub(crate) as_of: Timestamp,
    pub(crate) control: &'a JobControl,
}

impl Run<'_> {
    /// Does the work.
    pub(crate) fn run(&self, job: &Job) -> Result<Publish> {
        let change = match (&job.kind, &job.input) {
            (JobKind::Flush, JobInput::Memtable) => self.flush()?,
            (JobKind::Spill, JobInput::Txn(txn)) => self.spill(*txn)?,
            (JobKind::Compact, JobInput::Segments(segments)) => self.compact(segments)?,
            (JobKind::BuildIndex, JobInput::Segments(segments)) => {
                self.build_indexes(self.only(segments)?)?
            }
            (JobKind::WriteDeletes, JobInput::Segments(segments)) => {
                self.write_deletes(self.only(segments)?)?
            }
            _ => return Err(Error::internal("a job whose input is of another kind")),
        };
        Ok(Publish { shard: self.shard, change })
    }

    fn flush(&self) -> Result<Change> {
        let parts = self.version.memtable.chunks().iter().cloned().map(Part::Memory).collect();
        let add = self.write(parts)?;
        let (from, to) = (self.version.flushed_ts, self.version.newest_ts);
        Ok(Change::Flush { from, to, as_of: self.as_of, add })
    }

    fn spill(&self, txn: TxnId) -> Result<Change> {
        let staged = self.version.staged.get(&txn).ok_or_else(gone)?;
        let chunks = staged.chunks.iter().cloned();
        let parts = chunks.map(|chunk| Part::Memory(MemChunk { chunk, deletes: Default::default() }));
        let add = self.write(parts.collect())?;
        let from = staged.spilled_batches;
        Ok(Change::Spill { txn, from, to: from + staged.chunks.len() as u64, add })
    }

    /// One segment for all rows; more if the layout is older than some of them, since a column that only those have may have
    /// a missing value that it does not know.
    fn write(&self, parts: Vec<Part>) -> Result<Vec<SegmentMeta>> {
        let mut groups: BTreeMap<Vec<ColumnId>, Vec<Part>> = BTreeMap::new();
        for part in parts {
            groups.entry(unknown_columns(self.layout, &part)).or_default().push(part);
        }
        let written = groups.into_values().map(|parts| self.write_group(&parts));
        written.filter_map(Result::transpose).collect()
    }

    fn write_group(&self, parts: &[Part]) -> Result<Option<SegmentMeta>> {
        write_rows(self.env, self.shard, self.layout, parts, self.as_of, self.control)
    }

    /// Merges segments. If one of them has graphs the new one gets them before it takes their place: until then exact search
    /// over all its rows would be slow.
    fn compact(&self, segments: &[SegmentId]) -> Result<Change> {
        let inputs = segments.iter().map(|id| self.segment(*id)).collect::<Result<Vec<_>>>()?;
        let mut add = self.write(inputs.iter().map(|sealed| Part::Segment((*sealed).clone())).collect())?;
        if inputs.iter().any(|sealed| !sealed.meta().graphs.is_empty()) {
            add.iter_mut().try_for_each(|meta| self.add_graphs(meta, &inputs))?;
        }
        let remove = inputs.iter().map(|sealed| (sealed.meta().id, bitmap_age(sealed))).collect();
        Ok(Change::Merge { as_of: self.as_of, remove, add })
    }

    /// Of the graphs of the inputs, the largest goes on in the new one.
    fn add_graphs(&self, meta: &mut SegmentMeta, inputs: &[&Sealed]) -> Result<()> {
        let sealed = Sealed::new(self.env, meta.clone(), Default::default());
        for index in wanted_graphs(self.env, self.layout, &sealed) {
            let indexed = inputs.iter().filter(|input| input.meta().graph(index.id).is_some());
            let largest = indexed.max_by_key(|input| input.live_rows());
            let built = self.build_index(&sealed, index, largest.copied())?;
            meta.graphs.push((index.id, built.graph));
            meta.index_vectors.extend(built.vectors.map(|vectors| (index.id, vectors)));
        }
        meta.graphs.sort_unstable_by_key(|(id, _)| *id);
        meta.index_vectors.sort_unstable_by_key(|(id, _)| *id);
        Ok(())
    }

    fn build_indexes(&self, segment: SegmentId) -> Result<Change> {
        let sealed = self.segment(segment)?;
        let (mut add, mut vectors) = (Vec::new(), Vec::new());
        for index in wanted_graphs(self.env, self.layout, sealed) {
            let built = self.build_index(sealed, index, None)?;
            add.push((index.id, built.graph));
            vectors.extend(built.vectors.map(|object| (index.id, object)));
        }
        let mut lookups = Vec::new();
        for (def, code) in wanted_lookups(self.env, self.layout, sealed) {
            let object = sealed.segment.write_lookup(self.shard, self.layout, def, code)?;
            lookups.push((def.id, def.column, code, object));
        }
        let remove = undeclared(self.layout, sealed);
        Ok(Change::Graphs { segment, add, vectors, remove, lookups })
    }

    /// `earlier` has a graph for the index, over rows some of which are the segment's.
    fn build_index(
        &self,
        sealed: &Sealed,
        index: &VectorIndexDef,
        earlier: Option<&Sealed>,
    ) -> Result<BuiltIndex> {
        let only = match &index.of {
            Indexed::Column { rows: Some(filter), .. } => {
                let part = Part::Segment(sealed.clone());
                let mut rows = RowSet::new(part.rows());
                passing(&part, self.layout, filter.as_ref(), None, |row| {
                    rows.insert(row);
                })?;
                Some(rows)
            }
            _ => None,
        };
        let earlier = earlier.map(|earlier| &*earlier.segment);
        let rows = IndexedRows { only: only.as_ref(), earlier };
        sealed.segment.build_index(self.shard, self.layout, index, rows, self.control)
    }

    fn write_deletes(&self, segment: SegmentId) -> Result<Change> {
        let sealed = self.segment(segment)?;
        let alive = sealed.survivors(self.as_of)?;
        let mut dead = RowSet::full(sealed.meta().rows);
        dead.and_not(&alive.to_set());
        let dead: RoaringBitmap = dead.iter().collect();
        let deletes = sealed.segment.write_deletes(self.shard, self.as_of, &dead)?;
        Ok(Change::Deletes { segment, previous: bitmap_age(sealed), deletes })
    }

    fn only(&self, segments: &[SegmentId]) -> Result<SegmentId> {
        segments.first().copied().ok_or_else(|| Error::internal("a job without a segment"))
    }

    fn segment(&self, id: SegmentId) -> Result<&Sealed> {
        self.version.segment(id).ok_or_else(gone)
    }
}

/// Declared graphs that a segment lacks and is large enough for.
pub(crate) fn wanted_graphs<'a>(
    env: &StorageEnv,
    layout: &'a TableLayout,
    sealed: &Sealed,
) -> Vec<&'a VectorIndexDef> {
    let meta = sealed.meta();
    if (meta.rows as usize) < env.options.index_rows_min {
        return Vec::new();
    }
    let possible = |index: &VectorIndexDef| match &index.of {
        Indexed::Column { column, .. } => meta.vector_file(*column).is_some(),
        Indexed::Computed(_) => true,
        Indexed::Unknown => false,
    };
    let lacks = |index: &&VectorIndexDef| possible(index) && meta.graph(index.id).is_none();
    layout.vector_indexes.iter().filter(lacks).collect()
}

/// Files of declared indexes of values that a segment lacks and is large enough for.
pub(crate) fn wanted_lookups(
    env: &StorageEnv,
    layout: &TableLayout,
    sealed: &Sealed,
) -> Vec<(LookupDef, LookupCode)> {
    let meta = sealed.meta();
    if (meta.rows as usize) < env.options.index_rows_min {
        return Vec::new();
    }
    let codes = |def: &LookupDef| {
        let column = layout.column(def.column);
        column.map_or(&[][..], |column| LookupCode::of(def.kind, column.field.data_type()))
    };
    let all = layout.lookups.iter().flat_map(|def| codes(def).iter().map(move |code| (*def, *code)));
    all.filter(|(def, code)| meta.lookup(def.id, def.column, *code).is_none()).collect()
}

/// Indexes that a segment has and nobody declares any more.
pub(crate) fn undeclared(layout: &TableLayout, sealed: &Sealed) -> Vec<IndexId> {
    let graphs = sealed.meta().graphs.iter().map(|(id, _)| *id);
    let gone = graphs.filter(|id| layout.vector_index(*id).is_none());
    let lookups = sealed.meta().lookups.iter().map(|(id, ..)| *id);
    gone.chain(lookups.filter(|id| layout.lookups.iter().all(|def| def.id != *id))).collect()
}

/// Not an error of anybody: another job was first.
fn gone() -> Error {
    Error::internal("what the job was to work on is gone")
}
