//! A damaged object is named and never served.

use super::*;
use crate::objects::ObjectRef;
use crate::{Indexed, IndexedRows, JobControl, VectorIndexDef};
use arrow::array::{BinaryArray, FixedSizeListArray, Int32Array};
use arrow::datatypes::Float32Type;
use quiver_base::{Result, SqlState};
use quiver_index::{HnswParams, IvfParams, Metric, VectorIndexKind};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use roaring::RoaringBitmap;

fn table(rows: i32) -> (TableLayout, RecordBatch) {
    let mut layout = layout(vec![column(1, "a", &SqlType::Int4), column(2, "v", &SqlType::Vector(Some(2)))]);
    layout.keys = vec![key(50, &[1])];
    let vectors = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
        (0..rows).map(|row| Some(vec![Some(row as f32), Some(1.0)])),
        2,
    );
    let batch = batch(&layout, vec![Arc::new(Int32Array::from_iter_values(0..rows)), Arc::new(vectors)]);
    (layout, batch)
}

/// A segment with every kind of object.
fn full_segment(fixture: &Fixture) -> (TableLayout, SegmentMeta) {
    let (layout, batch) = table(250);
    let mut meta = write(&fixture.env, &layout, &batch, 250);
    let segment = open(&fixture.env, &meta);
    let index = VectorIndexDef {
        id: IndexId(60),
        of: Indexed::Column { column: ColumnId(2), rows: None },
        metric: Metric::L2,
        kind: VectorIndexKind::Hnsw(HnswParams { m: 8, ef_construction: 32, ..HnswParams::default() }),
    };
    let built =
        segment.build_index(SHARD, &layout, &index, IndexedRows::default(), &JobControl::default()).unwrap();
    meta.graphs.push((index.id, built.graph));
    let index = VectorIndexDef {
        id: IndexId(61),
        of: Indexed::Computed(crate::testing::Halved::of(ColumnId(2), 2)),
        metric: Metric::L2,
        kind: VectorIndexKind::IvfFlat(IvfParams { lists: 5 }),
    };
    let built =
        segment.build_index(SHARD, &layout, &index, IndexedRows::default(), &JobControl::default()).unwrap();
    meta.graphs.push((index.id, built.graph));
    meta.index_vectors.push((index.id, built.vectors.unwrap()));
    let dead = RoaringBitmap::from_iter([3, 200]);
    meta.deletes = Some(segment.write_deletes(SHARD, Timestamp(999), &dead).unwrap());
    (layout, meta)
}

/// Reads everything that a query can.
fn read_all(segment: &Segment, layout: &TableLayout) -> Result<()> {
    segment.deletes()?;
    segment.vectors(ColumnId(2))?;
    segment.graph(IndexId(60))?;
    segment.graph(IndexId(61))?;
    segment.index_vectors(IndexId(61))?;
    segment.find_keys(layout, &layout.keys[0], &[&[1]])?;
    segment.read(layout, &[ColumnId(1), ColumnId(2)], 0..segment.rows())?;
    Ok(())
}

/// The process starts anew: nothing is mapped or known to be good.
fn restarted(fixture: &Fixture) -> Arc<StorageEnv> {
    let objects = Objects::local(fixture.dir.path(), Arc::new(RealFs)).unwrap();
    StorageEnv::new(objects, MemoryBudget::unlimited(), StorageOptions::default())
}

#[test]
fn whole_objects_are_read() {
    let fixture = fixture();
    let (layout, meta) = full_segment(&fixture);
    let segment = open(&restarted(&fixture), &meta);
    segment.verify().unwrap();
    read_all(&segment, &layout).unwrap();
    assert_eq!(segment.deletes().unwrap().unwrap().iter().collect::<Vec<_>>(), [3, 200]);
    assert_eq!(segment.graph(IndexId(60)).unwrap().unwrap().rows(), 250);
    assert_eq!(meta.live_rows(), 248);
    assert_eq!(meta.objects().count(), 7);
    let total: u64 = fixture.env.objects.list("").unwrap().iter().map(|object| object.bytes).sum();
    assert_eq!(meta.object_bytes(), total);
}

#[test]
fn a_flipped_bit_is_named_and_not_served() {
    let fixture = fixture();
    let (layout, meta) = full_segment(&fixture);
    let objects: Vec<ObjectRef> = meta.objects().cloned().collect();
    for object in objects {
        let file = fixture.dir.path().join(&object.path);
        let good = std::fs::read(&file).unwrap();
        for at in (0..good.len()).step_by(good.len() / 40 + 1).chain([good.len() - 1]) {
            let mut bad = good.clone();
            bad[at] ^= 4;
            std::fs::write(&file, bad).unwrap();
            let segment = open(&restarted(&fixture), &meta);
            let error = segment.verify().unwrap_err();
            assert_eq!(error.state(), SqlState::DATA_CORRUPTED, "{error}");
            assert!(error.message().contains(&object.path), "{error}");
            let error = read_all(&segment, &layout).unwrap_err();
            assert_eq!(error.state(), SqlState::DATA_CORRUPTED, "{error}");
            assert!(error.message().contains(&object.path), "{error}");
        }
        for cut in [0, 1, good.len() / 2, good.len() - 1] {
            std::fs::write(&file, &good[..cut]).unwrap();
            let error = read_all(&open(&restarted(&fixture), &meta), &layout).unwrap_err();
            assert!(error.message().contains(&object.path), "{error}");
        }
        std::fs::remove_file(&file).unwrap();
        let error = read_all(&open(&restarted(&fixture), &meta), &layout).unwrap_err();
        assert_eq!(error.state(), SqlState::UNDEFINED_FILE);
        assert!(error.message().contains(&object.path), "{error}");
        std::fs::write(&file, &good).unwrap();
    }
    open(&restarted(&fixture), &meta).verify().unwrap();
}

/// An index over all rows of `segment`, of the definition that [`full_segment`]'s graph has, going on from that graph.
fn rebuilt(segment: &Segment, layout: &TableLayout, earlier: Option<&Segment>) -> Result<ObjectRef> {
    let index = VectorIndexDef {
        id: IndexId(60),
        of: Indexed::Column { column: ColumnId(2), rows: None },
        metric: Metric::L2,
        kind: VectorIndexKind::Hnsw(HnswParams { m: 8, ef_construction: 32, ..HnswParams::default() }),
    };
    let rows = IndexedRows { earlier, ..IndexedRows::default() };
    let built = segment.build_index(SHARD, layout, &index, rows, &JobControl::default());
    built.map(|built| built.graph)
}

/// A merge mends what it can: the rows are there, only the graph that would have gone on is not.
#[test]
fn a_graph_is_built_anew_where_the_earlier_one_is_damaged() {
    let fixture = fixture();
    let (layout, meta) = full_segment(&fixture);
    let file = fixture.dir.path().join(&meta.graphs[0].1.path);
    let good = std::fs::read(&file).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 4;
    for bytes in [bad.as_slice(), &good[..100], &good] {
        std::fs::write(&file, bytes).unwrap();
        let env = restarted(&fixture);
        let earlier = open(&env, &meta);
        assert_eq!(earlier.graph(IndexId(60)).is_err(), bytes != good);
        let bare = SegmentMeta { graphs: Vec::new(), ..meta.clone() };
        let graph = rebuilt(&open(&env, &bare), &layout, Some(&earlier)).unwrap();
        let new = SegmentMeta { graphs: vec![(IndexId(60), graph)], ..bare };
        assert_eq!(open(&env, &new).graph(IndexId(60)).unwrap().unwrap().rows(), 250);
    }
}

/// Whatever memory is enough to build a graph is enough where an earlier one could go on, though that takes more.
#[test]
fn going_on_from_a_graph_never_needs_more_memory_than_there_is() {
    let fixture = fixture();
    let (layout, meta) = full_segment(&fixture);
    let bare = SegmentMeta { graphs: Vec::new(), ..meta.clone() };
    let build = |limit, goes_on: bool| {
        let objects = Objects::local(fixture.dir.path(), Arc::new(RealFs)).unwrap();
        let env = StorageEnv::new(objects, MemoryBudget::new(limit), StorageOptions::default());
        let earlier = open(&env, &meta);
        rebuilt(&open(&env, &bare), &layout, goes_on.then_some(&earlier)).map_err(|error| error.state())
    };
    let (mut refused, mut built) = (0, 0);
    for limit in (0..200_000).step_by(2_000) {
        match build(limit, false) {
            Ok(_) => {
                build(limit, true).unwrap();
                built += 1;
            }
            Err(state) => {
                assert_eq!(state, SqlState::OUT_OF_MEMORY);
                refused += 1;
            }
        }
    }
    assert!(refused > 5 && built > 5, "{refused} refused, {built} built");
}

/// Of a large data object only what is read is checked; the rest neither hinders nor gets through.
#[test]
fn damage_elsewhere_does_not_hinder() {
    let fixture = fixture();
    let layout = layout(vec![column(1, "a", &SqlType::Bytea), column(2, "b", &SqlType::Int4)]);
    let mut noise = StdRng::seed_from_u64(1);
    let mut row = || -> Vec<u8> { (0..2500).map(|_| noise.random()).collect() };
    let bytes = BinaryArray::from_iter_values((0..2000).map(|_| row()));
    let batch = batch(&layout, vec![Arc::new(bytes), Arc::new(Int32Array::from_iter_values(0..2000))]);
    let meta = write(&fixture.env, &layout, &batch, 2000);
    assert!(meta.data.bytes > 4 << 20 && meta.data_blocks.len() > 4, "{}", meta.data.bytes);
    let file = fixture.dir.path().join(&meta.data.path);
    let mut bad = std::fs::read(&file).unwrap();
    bad[5 << 19] ^= 1;
    std::fs::write(&file, bad).unwrap();
    let segment = open(&restarted(&fixture), &meta);
    let (mut good, mut refused) = (0, 0);
    for position in (0..2000).step_by(50) {
        match segment.take(&layout, &[ColumnId(1)], &[position]) {
            Ok(row) => {
                assert_eq!(row.column(0), &batch.column(0).slice(position as usize, 1));
                good += 1;
            }
            Err(error) => {
                assert_eq!(error.state(), SqlState::DATA_CORRUPTED, "{error}");
                assert!(error.message().contains(&meta.data.path), "{error}");
                refused += 1;
            }
        }
    }
    assert!(good > 20 && refused > 5, "{good} {refused}");
    assert!(segment.verify().is_err());
    // A manifest without block checksums: all of it is checked at once.
    let bare = SegmentMeta { data_blocks: Vec::new(), ..meta };
    assert!(open(&restarted(&fixture), &bare).take(&layout, &[ColumnId(1)], &[0]).is_err());
}

/// Checksums agree, the content is not what it must be: a mix-up, not a bad disk.
#[test]
fn objects_of_another_segment_are_refused() {
    let fixture = fixture();
    let (layout, meta) = full_segment(&fixture);
    let (_, other) = table(100);
    let other = write(&fixture.env, &layout, &other, 100);
    let swapped = [
        SegmentMeta { data: other.data.clone(), ..meta.clone() },
        SegmentMeta { data: meta.vectors[0].1.clone(), ..meta.clone() },
        SegmentMeta { vectors: other.vectors.clone(), ..meta.clone() },
        SegmentMeta { vectors: vec![(ColumnId(2), meta.data.clone())], ..meta.clone() },
        SegmentMeta { graphs: vec![(IndexId(60), meta.data.clone())], ..meta.clone() },
        SegmentMeta {
            index_vectors: other.vectors.iter().map(|(_, o)| (IndexId(61), o.clone())).collect(),
            ..meta.clone()
        },
        SegmentMeta { keys: other.keys.clone(), ..meta.clone() },
    ];
    for meta in swapped {
        let error = read_all(&open(&fixture.env, &meta), &layout).unwrap_err();
        assert_eq!(error.state(), SqlState::DATA_CORRUPTED, "{error}");
        assert!(error.message().contains("object \"shards/7/3/"), "{error}");
    }
}
