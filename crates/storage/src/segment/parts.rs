//! The parts of a segment beside its rows: vectors, graphs, key indexes, delete bitmaps; how they are opened and made.

use super::data_file::DataFile;
use super::extend::{Heritage, IndexedRows};
use super::reader::Opened;
use super::vector_spill::VectorSpill;
use super::{DeletesRef, Segment, deletes, stored, unique_path};
use crate::code_cache::ColumnCodes;
use crate::key::{KeyEncoder, key_hash};
use crate::key_index::{KeyIndex, KeyIndexBuilder};
use crate::objects::ObjectRef;
use crate::search::sparse_vector;
use crate::{
    Building, ColumnDef, ComputedVectors, Indexed, JobControl, KeyDef, LookupCode, LookupDef, TableLayout,
    VectorIndexDef,
};
use arrow::array::{Array, AsArray};
use quiver_base::{ColumnId, Error, IndexId, Result, ShardId, SqlState, Timestamp};
use quiver_index::{BuildControl, HnswGraph, SparseBuilder, VectorColumn, VectorIndex, VectorIndexKind};
use roaring::RoaringBitmap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Rows whose keys are hashed at once.
const KEY_BATCH_ROWS: u32 = 16 * 1024;

/// The objects of a vector index that was just built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltIndex {
    /// The graph or the lists.
    pub graph: ObjectRef,
    /// Its own vectors, if they are computed.
    pub vectors: Option<ObjectRef>,
}

/// A row that has a wanted key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyMatch {
    /// Which of the wanted keys.
    pub wanted: usize,
    /// The row's position.
    pub position: u32,
}

impl Segment {
    pub(super) fn data(&self) -> Result<Arc<DataFile>> {
        self.parts.data.get((), || {
            let map = self.parts.env.objects.map_blocks(&self.meta.data, &self.meta.data_blocks)?;
            Ok(Arc::new(DataFile::open(map, &self.meta)?))
        })
    }

    /// A stored column as it was when it was written: for who has no layout that knows it.
    pub(crate) fn stored_column(&self, id: ColumnId) -> Result<ColumnDef> {
        let file = self.data()?;
        let place =
            file.column(id).ok_or_else(|| Error::internal(format!("the segment has no column {id}")))?;
        let field = stored::original_field(file.schema().field(place));
        Ok(ColumnDef { id, field: Arc::new(field), missing: None })
    }

    /// The flat file of a `vector(n)` column; `None` if the segment has no such column.
    pub fn vectors(&self, column: ColumnId) -> Result<Option<Arc<Opened<VectorColumn>>>> {
        let Some(object) = self.meta.vector_file(column) else { return Ok(None) };
        let opened = self.parts.vectors.get(column, || self.open_vectors(object))?;
        Ok(Some(opened))
    }

    /// The vectors of an index that computes them; `None` if it has not been built.
    pub fn index_vectors(&self, index: IndexId) -> Result<Option<Arc<Opened<VectorColumn>>>> {
        let Some(object) = self.meta.index_vector_file(index) else { return Ok(None) };
        let opened = self.parts.index_vectors.get(object.path.clone(), || self.open_vectors(object))?;
        Ok(Some(opened))
    }

    fn open_vectors(&self, object: &ObjectRef) -> Result<Arc<Opened<VectorColumn>>> {
        let map = self.parts.env.objects.map(object)?;
        let part = VectorColumn::open(map.mapped()).map_err(|e| named(object, e))?;
        self.check_rows(object, part.rows())?;
        Ok(Arc::new(Opened::new(part, map)))
    }

    /// Codes of a column's vectors, if there can be some: for a segment that waits for an index.
    pub(crate) fn codes(&self, column: ColumnId, vectors: &VectorColumn) -> Option<Arc<ColumnCodes>> {
        self.codes.get(column, || ColumnCodes::of_segment(vectors, &self.parts.env.memory))
    }

    /// The graph or the lists of a vector index; `None` if it has not been built.
    pub fn graph(&self, index: IndexId) -> Result<Option<Arc<Opened<VectorIndex>>>> {
        let Some(object) = self.meta.graph(index) else { return Ok(None) };
        let opened = self.parts.graphs.get(object.path.clone(), || {
            let map = self.parts.env.objects.map(object)?;
            let part = VectorIndex::open(map.mapped()).map_err(|e| named(object, e))?;
            self.check_rows(object, part.rows())?;
            Ok(Arc::new(Opened::new(part, map)))
        })?;
        Ok(Some(opened))
    }

    pub(super) fn check_rows(&self, object: &ObjectRef, rows: u32) -> Result<()> {
        if rows == self.meta.rows {
            return Ok(());
        }
        Err(named(object, Error::corrupt(format!("it has {rows} rows, not {}", self.meta.rows))))
    }

    /// Positions of rows that the published bitmap says are dead.
    pub fn deletes(&self) -> Result<Option<Arc<RoaringBitmap>>> {
        let Some(deletes) = &self.meta.deletes else { return Ok(None) };
        let dead = self
            .deletes
            .get((), || Ok(Arc::new(deletes::read(&self.parts.env.objects, &self.meta, deletes)?)))?;
        Ok(Some(dead))
    }

    /// Rows, dead ones included, that have one of the wanted keys, compared by value. `wanted` are encodings by
    /// [`crate::encode_key`]. A segment that has no file for the key makes an index in memory, once.
    pub fn find_keys(&self, layout: &TableLayout, key: &KeyDef, wanted: &[&[u8]]) -> Result<Vec<KeyMatch>> {
        let index = self.key_index(layout, key)?;
        let mut found = Vec::new();
        for (wanted, bytes) in wanted.iter().enumerate() {
            found.extend(index.candidates(key_hash(bytes)).map(|position| KeyMatch { wanted, position }));
        }
        if found.is_empty() {
            return Ok(found);
        }
        let values = match found.as_slice() {
            // As it lies: it is looked at only.
            [only] => self.read_arrays(layout, &key.columns, only.position..only.position + 1)?,
            _ => {
                let positions: Vec<u32> = found.iter().map(|candidate| candidate.position).collect();
                self.take_arrays(layout, &key.columns, &positions)?
            }
        };
        let encoder = KeyEncoder::new(&values)?;
        let mut bytes = Vec::new();
        let mut row = 0;
        found.retain(|candidate| {
            bytes.clear();
            let same = encoder.encode(row, &mut bytes) && bytes == wanted[candidate.wanted];
            row += 1;
            same
        });
        Ok(found)
    }

    fn key_index(&self, layout: &TableLayout, key: &KeyDef) -> Result<Arc<KeyIndex>> {
        self.parts.keys.get((key.id, key.columns.clone()), || {
            let stored =
                self.meta.keys.iter().find(|(id, columns, _)| *id == key.id && *columns == key.columns);
            let Some((_, _, object)) = stored else {
                return Ok(Arc::new(self.build_key_index(layout, key)?));
            };
            let index = KeyIndex::open(&self.parts.env.objects.map(object)?, self.meta.rows);
            Ok(Arc::new(index.map_err(|e| named(object, e))?))
        })
    }

    /// The codes of an index's column. A segment that has no file for it makes an index in memory, once.
    pub(crate) fn lookup_index(
        &self,
        layout: &TableLayout,
        def: LookupDef,
        code: LookupCode,
    ) -> Result<Arc<KeyIndex>> {
        self.parts.lookups.get((def.id, def.column, code), || {
            let Some(object) = self.meta.lookup(def.id, def.column, code) else {
                return Ok(Arc::new(self.lookup_codes(layout, def, code)?.build(self.meta.rows)?));
            };
            let index = KeyIndex::open(&self.parts.env.objects.map(object)?, self.meta.rows);
            Ok(Arc::new(index.map_err(|e| named(object, e))?))
        })
    }

    /// Makes the file of an index's codes durable; not in the meta until a publish puts it there.
    pub(crate) fn write_lookup(
        &self,
        shard: ShardId,
        layout: &TableLayout,
        def: LookupDef,
        code: LookupCode,
    ) -> Result<ObjectRef> {
        let codes = self.lookup_codes(layout, def, code)?;
        let path = unique_path(shard, self.meta.id, &def.id.to_string(), "lookup");
        let mut object = self.parts.env.objects.create(&path)?;
        codes.write(self.meta.rows, &mut object)?;
        object.finish()
    }

    fn lookup_codes(
        &self,
        layout: &TableLayout,
        def: LookupDef,
        code: LookupCode,
    ) -> Result<KeyIndexBuilder> {
        let mut builder = KeyIndexBuilder::new(&self.parts.env.memory);
        for start in (0..self.meta.rows).step_by(KEY_BATCH_ROWS as usize) {
            let end = self.meta.rows.min(start.saturating_add(KEY_BATCH_ROWS));
            let values = self.read(layout, &[def.column], start..end)?;
            builder.add_codes(values.column(0), code, start)?;
        }
        Ok(builder)
    }

    fn build_key_index(&self, layout: &TableLayout, key: &KeyDef) -> Result<KeyIndex> {
        let mut builder = KeyIndexBuilder::new(&self.parts.env.memory);
        let mut bytes = Vec::new();
        for start in (0..self.meta.rows).step_by(KEY_BATCH_ROWS as usize) {
            let end = self.meta.rows.min(start.saturating_add(KEY_BATCH_ROWS));
            let values = self.read(layout, &key.columns, start..end)?;
            let encoder = KeyEncoder::new(values.columns())?;
            builder.reserve(values.num_rows())?;
            for row in 0..values.num_rows() {
                bytes.clear();
                if encoder.encode(row, &mut bytes) {
                    builder.add(key_hash(&bytes), start + row as u32);
                }
            }
        }
        builder.build(self.meta.rows)
    }

    /// Builds an index over some rows and makes it durable; not in the meta until a publish
    /// puts it there.
    pub fn build_index(
        &self,
        shard: ShardId,
        layout: &TableLayout,
        index: &VectorIndexDef,
        rows: IndexedRows<'_>,
        control: &JobControl,
    ) -> Result<BuiltIndex> {
        control.total_rows.store(u64::from(self.meta.rows), Ordering::Relaxed);
        match &index.of {
            Indexed::Column { column, .. } => {
                let vectors = self
                    .vectors(*column)?
                    .ok_or_else(|| Error::internal(format!("column {column} has no vectors")))?;
                let graph = self.build_graph(shard, index, &vectors, rows, control)?;
                Ok(BuiltIndex { graph, vectors: None })
            }
            Indexed::Computed(computed) if computed.is_sparse() => {
                let graph = self.build_sparse(shard, layout, index, computed.as_ref(), control)?;
                Ok(BuiltIndex { graph, vectors: None })
            }
            Indexed::Computed(computed) => {
                let path = unique_path(shard, self.meta.id, &index.id.to_string(), "vectors");
                let object = self.compute(layout, computed.as_ref(), &path, control)?;
                let built = self
                    .open_vectors(&object)
                    .and_then(|vectors| self.build_graph(shard, index, &vectors, rows, control));
                match built {
                    Ok(graph) => Ok(BuiltIndex { graph, vectors: Some(object) }),
                    Err(error) => {
                        // What cannot be deleted now, garbage collection finds.
                        drop(self.parts.env.objects.delete(&object.path));
                        Err(error)
                    }
                }
            }
            Indexed::Unknown => Err(Error::internal("an index of which nobody says what is in it")),
        }
    }

    fn build_sparse(
        &self,
        shard: ShardId,
        layout: &TableLayout,
        index: &VectorIndexDef,
        computed: &dyn ComputedVectors,
        control: &JobControl,
    ) -> Result<ObjectRef> {
        let mut builder = SparseBuilder::new(&self.parts.env.memory);
        for start in (0..self.meta.rows).step_by(computed.batch_rows() as usize) {
            let end = self.meta.rows.min(start.saturating_add(computed.batch_rows()));
            let vectors = computed.evaluate(&self.read(layout, computed.columns(), start..end)?)?;
            let vectors = vectors.as_binary_opt::<i32>();
            let vectors = vectors.ok_or_else(|| Error::internal("sparse vectors that are no bytes"))?;
            for vector in vectors {
                match vector.map(sparse_vector).transpose()? {
                    Some(vector) => builder.push(Some((&vector.places, &vector.values)))?,
                    None => builder.push(None)?,
                }
            }
            control.advance(vectors.len())?;
        }
        let path = unique_path(shard, self.meta.id, &index.id.to_string(), "sparse");
        let mut object = self.parts.env.objects.create(&path)?;
        builder.write(&mut object).map_err(|e| e.context(format!("object \"{path}\"")))?;
        object.finish()
    }

    /// Computes the vectors of all rows into a file.
    fn compute(
        &self,
        layout: &TableLayout,
        computed: &dyn ComputedVectors,
        path: &str,
        control: &JobControl,
    ) -> Result<ObjectRef> {
        let objects = &self.parts.env.objects;
        let dim = u16::try_from(computed.dim());
        let dim = dim.map_err(|_| Error::internal("too many dimensions for a flat file"))?;
        let mut spill = VectorSpill::new(objects, dim, computed.element())?;
        for start in (0..self.meta.rows).step_by(computed.batch_rows() as usize) {
            let end = self.meta.rows.min(start.saturating_add(computed.batch_rows()));
            let batch = self.read(layout, computed.columns(), start..end)?;
            spill.append(&computed.evaluate(&batch)?)?;
            control.advance(0)?;
        }
        spill.finish(objects, path)
    }

    fn build_graph(
        &self,
        shard: ShardId,
        index: &VectorIndexDef,
        vectors: &VectorColumn,
        IndexedRows { only, earlier }: IndexedRows<'_>,
        control: &JobControl,
    ) -> Result<ObjectRef> {
        let heritage = earlier.and_then(|earlier| {
            let heritage = Heritage::of(earlier, index, &self.meta.row_ids, vectors.dim(), &self.parts.env);
            // A merge is no worse off than without it, and perhaps is what mends it.
            heritage.unwrap_or_else(|error| {
                tracing::warn!(%error, index = %index.id, "a graph cannot go on in a merged segment");
                None
            })
        });
        let done_rows = Arc::<AtomicU64>::default();
        let total_rows = only.map_or(vectors.present(), |only| only.len().min(vectors.present())).into();
        let building =
            Building { index: index.id, kind: index.kind, done_rows: done_rows.clone(), total_rows };
        *control.building.lock() = Some(building);
        let watched = control;
        let control = BuildControl {
            cancel: control.cancel.clone(),
            done_rows,
            threads: control.threads,
            memory: self.parts.env.memory.clone(),
        };
        let extension = match index.kind {
            VectorIndexKind::Hnsw(_) => "hnsw",
            VectorIndexKind::IvfFlat(_) => "ivf",
        };
        let path = unique_path(shard, self.meta.id, &index.id.to_string(), extension);
        let mut object = self.parts.env.objects.create(&path)?;
        let extended = heritage.as_ref().and_then(Heritage::earlier);
        let extended =
            extended.map(|earlier| HnswGraph::extend(earlier, vectors, only, &control, &mut object));
        drop(heritage);
        let built = match extended {
            // It takes more memory, all of which is reserved before anything is written.
            Some(Err(error)) if error.state() == SqlState::OUT_OF_MEMORY => None,
            other => other,
        };
        let built = built.unwrap_or_else(|| {
            VectorIndex::build(index.kind, vectors, index.metric, only, &control, &mut object)
        });
        *watched.building.lock() = None;
        built.map_err(|e| {
            // A canceled or starved build says nothing of the object.
            if e.state() == SqlState::QUERY_CANCELED { e } else { e.context(format!("object \"{path}\"")) }
        })?;
        object.finish()
    }

    /// Makes a bitmap of dead positions durable; not in the meta until a publish puts it there.
    pub fn write_deletes(
        &self,
        shard: ShardId,
        as_of: Timestamp,
        dead: &RoaringBitmap,
    ) -> Result<DeletesRef> {
        let path = unique_path(shard, self.meta.id, &format!("deletes-{as_of}"), "bitmap");
        deletes::write(&self.parts.env.objects, &path, self.meta.rows, as_of, dead)
    }

    /// Reads and checks every object, where it is stored and by its own checksums; an error names the damaged one.
    pub fn verify(&self) -> Result<()> {
        for object in self.meta.objects() {
            self.parts.env.objects.verify(object)?;
        }
        self.data()?;
        self.deletes()?;
        for (column, object) in &self.meta.vectors {
            let Some(vectors) = self.vectors(*column)? else { continue };
            vectors.verify().map_err(|e| named(object, e))?;
        }
        for (index, object) in &self.meta.graphs {
            let Some(graph) = self.graph(*index)? else { continue };
            graph.verify().map_err(|e| named(object, e))?;
        }
        for (index, object) in &self.meta.index_vectors {
            let Some(vectors) = self.index_vectors(*index)? else { continue };
            vectors.verify().map_err(|e| named(object, e))?;
        }
        let lookups = self.meta.lookups.iter().map(|(.., object)| object);
        for object in self.meta.keys.iter().map(|(.., object)| object).chain(lookups) {
            KeyIndex::open(&self.parts.env.objects.map(object)?, self.meta.rows)
                .map_err(|e| named(object, e))?;
        }
        Ok(())
    }
}

/// An error with the name of the object that it is about.
pub(super) fn named(object: &ObjectRef, error: Error) -> Error {
    error.context(format!("object \"{}\"", object.path))
}
