//! The shard's door, by example. The model test covers what follows from many steps.

#![allow(clippy::unwrap_used)] // tests

use super::*;
use crate::snapshot::part::Part;
use crate::testing::{
    EXTRA, EXTRA_MISSING, KEY, KeyBetween, Refuses, Row, VECTOR, layout, rows, wide_layout,
};
use crate::{Objects, StorageOptions};
use crate::{RowBatch, ScanRequest, SearchResult, VectorQuery};
use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::Int64Type;
use quiver_base::MemoryBudget;
use quiver_index::{Effort, Metric, VectorIndexKind};

fn env() -> Arc<StorageEnv> {
    let dir = tempfile::tempdir().unwrap();
    let objects = Objects::local(&dir.keep(), Arc::new(crate::objects::RealFs)).unwrap();
    StorageEnv::new(objects, MemoryBudget::unlimited(), StorageOptions::default())
}

fn insert(list: &[Row]) -> ShardWrite {
    ShardWrite { inserts: vec![rows(list)], deletes: Vec::new() }
}

fn keys(snapshot: &Snapshot) -> Vec<i64> {
    let request = ScanRequest { columns: vec![KEY], filter: None, batch_rows: 2 };
    let parts = snapshot.scan_parts(&layout(), &request).unwrap();
    let batches = parts.iter().flat_map(|part| snapshot.scan_part(&layout(), &request, part).unwrap());
    let mut keys: Vec<i64> = batches
        .flat_map(|scanned| scanned.batch.column(0).as_primitive::<Int64Type>().values().to_vec())
        .collect();
    keys.sort_unstable();
    assert_eq!(keys.len() as u64, snapshot.row_count());
    keys
}

fn l2(query: &[f32], k: usize) -> VectorQuery {
    let (column, metric, query) = (VECTOR, Metric::L2, query.to_vec());
    let effort = Effort::new(40, 1);
    VectorQuery { column, index: None, metric, query, sparse: None, k, effort, exact: false, filter: None }
}

fn nearest(snapshot: &Snapshot, query: &[f32], k: usize) -> Vec<(u64, Option<f64>)> {
    let hits = snapshot.search(&layout(), &l2(query, k)).unwrap().hits;
    hits.iter().map(|hit| (hit.row_id.0, hit.distance)).collect()
}

#[test]
fn snapshots_see_what_was_committed_by_their_time() {
    let shard = Shard::new(ShardId(1), env());
    for id in 1..=5u64 {
        shard.commit(Timestamp(id * 10), insert(&[Row::new(id, id as i64)]), None);
    }
    let before = shard.snapshot(Timestamp(30), None);
    let write = ShardWrite { inserts: vec![rows(&[Row::new(6, 60)])], deletes: vec![RowId(2)] };
    shard.commit(Timestamp(60), write, None);
    assert_eq!(keys(&before), [1, 2, 3]);
    assert_eq!(keys(&shard.snapshot(Timestamp(30), None)), [1, 2, 3]);
    assert_eq!(keys(&shard.snapshot(Timestamp(60), None)), [1, 3, 4, 5, 60]);
    assert_eq!(shard.are_live(&[RowId(1), RowId(2), RowId(7)]), [true, false, false]);
    assert_eq!(shard.max_row_id(), RowId(6));
}

#[test]
fn a_transaction_sees_what_it_staged_and_others_do_not() {
    let shard = Shard::new(ShardId(1), env());
    shard.commit(Timestamp(1), insert(&[Row::new(1, 1), Row::new(2, 2)]), None);
    let part = ShardWrite { inserts: vec![rows(&[Row::new(3, 3)])], deletes: vec![RowId(1)] };
    shard.stage(TxnId(9), part.clone());
    shard.stage(TxnId(8), ShardWrite { inserts: vec![rows(&[Row::new(4, 4)])], deletes: vec![] });
    assert_eq!(keys(&shard.snapshot(Timestamp(1), Some(TxnId(9)))), [2, 3]);
    assert_eq!(keys(&shard.snapshot(Timestamp(1), None)), [1, 2]);
    let own = shard.snapshot(Timestamp(1), Some(TxnId(9)));
    let overlaid = own.with_overlay(&[rows(&[Row::new(5, 5)])], Arc::new([RowId(3)].into()));
    assert_eq!(keys(&overlaid), [2, 5]);
    shard.abort(TxnId(8));
    shard.commit(Timestamp(2), insert(&[Row::new(5, 5)]), Some(TxnId(9)));
    assert_eq!(keys(&shard.snapshot(Timestamp(2), None)), [2, 3, 5]);
    assert_eq!(shard.stats().staged_bytes, 0);
}

#[test]
fn keys_are_found_in_batches() {
    let shard = Shard::new(ShardId(1), env());
    for id in 1..200u64 {
        shard.commit(Timestamp(id), insert(&[Row::new(id, id as i64 * 2)]), None);
    }
    shard.commit(Timestamp(200), ShardWrite { inserts: vec![], deletes: vec![RowId(3)] }, None);
    let snapshot = shard.snapshot(Timestamp(200), None);
    let wanted: ArrayRef = Arc::new(Int64Array::from(vec![Some(4), Some(5), None, Some(6), Some(398)]));
    let layout = layout();
    let found = snapshot.lookup(&layout, &layout.keys[0], &[wanted]).unwrap();
    let ids: Vec<_> = found.iter().map(|row| row.map(|(id, _)| id.0)).collect();
    assert_eq!(ids, [Some(2), None, None, None, Some(199)]);
    let rows: Vec<_> = found.into_iter().flatten().map(|(_, at)| at).rev().collect();
    let fetched = snapshot.fetch(&layout, &rows, &[KEY]).unwrap();
    assert_eq!(fetched.column(0).as_primitive::<Int64Type>().values().to_vec(), [398, 4]);
    assert_eq!(snapshot.find(&[RowId(3), RowId(2)]).unwrap(), [None, Some(rows[1])]);
}

#[test]
fn search_puts_nulls_last_and_checks_dimensions() {
    let shard = Shard::new(ShardId(1), env());
    let list =
        [Row::new(1, 1).without_vector(), Row::new(2, 2), Row::new(3, 3).without_vector(), Row::new(4, 4)];
    shard.commit(Timestamp(1), insert(&list), None);
    let snapshot = shard.snapshot(Timestamp(1), None);
    let found = nearest(&snapshot, &list[3].vector.unwrap(), 3);
    assert_eq!(found[0], (4, Some(0.0)));
    assert_eq!((found[1].0, found[2]), (2, (1, None)));
    let error = snapshot.search(&layout(), &l2(&[1.0], 1)).unwrap_err();
    assert_eq!(error.message(), "different vector dimensions 4 and 1");
}

#[test]
fn a_long_run_of_single_rows_stays_a_short_list() {
    let shard = Shard::new(ShardId(1), env());
    let batch: Arc<RowBatch> = rows(&[Row::new(0, 0)]);
    for id in 1..5000u64 {
        let own = RowBatch { batch: batch.batch.clone(), row_ids: vec![RowId(id)] };
        shard.commit(Timestamp(id), ShardWrite { inserts: vec![Arc::new(own)], deletes: vec![] }, None);
    }
    assert!(shard.version().memtable.chunks().len() < 20);
    assert_eq!(shard.stats().memtable_rows, 4999);
}

#[test]
fn rows_younger_than_the_layout_keep_their_columns() {
    let shard = Shard::new(ShardId(1), env());
    let mut wide = Row::new(2, 2);
    wide.extra = Some(41);
    shard.commit(Timestamp(1), insert(&[Row::new(1, 1)]), None);
    shard.commit(Timestamp(2), insert(&[wide]), None);
    let job = shard.flush_job().unwrap();
    let publish = shard.run_job(&job, &layout(), Timestamp(2), &JobControl::default()).unwrap();
    assert_eq!(shard.publish(&publish), PublishOutcome::Done);
    assert_eq!(shard.publish(&publish), PublishOutcome::Stale, "rows leave memory once");
    let mut wide = Row::new(3, 3);
    wide.extra = Some(42);
    shard.commit(Timestamp(3), insert(&[wide]), None);
    for job in [shard.flush_job().unwrap(), shard.compact_job().unwrap()] {
        let job = shard.compact_job().filter(|_| job.kind == JobKind::Compact).unwrap_or(job);
        let publish = shard.run_job(&job, &layout(), Timestamp(3), &JobControl::default()).unwrap();
        assert_eq!(shard.publish(&publish), PublishOutcome::Done);
    }
    assert_eq!(shard.stats().segments, 2, "rows with and without the column stay apart");
    assert_eq!(shard.pending_work_now(&layout(), &[], Timestamp(3)), None);
    let snapshot = shard.snapshot(Timestamp(3), None);
    let at: Vec<_> = snapshot.find(&[1, 2, 3].map(RowId)).unwrap().into_iter().flatten().collect();
    let fetched = snapshot.fetch(&wide_layout(), &at, &[EXTRA]).unwrap();
    let extra = fetched.column(0).as_primitive::<Int64Type>().values().to_vec();
    assert_eq!(extra, [EXTRA_MISSING, 41, 42]);
    let job = shard.pending_work_now(&wide_layout(), &[], Timestamp(3)).unwrap();
    assert_eq!(job.kind, JobKind::Compact, "a layout that knows the column merges them");
}

#[test]
fn objects_stay_while_a_snapshot_may_read_them() {
    let shard = Shard::new(ShardId(1), env());
    let run = |job: Job| {
        let publish = shard.run_job(&job, &layout(), Timestamp(9), &JobControl::default()).unwrap();
        assert_eq!(shard.publish(&publish), PublishOutcome::Done);
    };
    for ts in 1..4u64 {
        shard.commit(Timestamp(ts), insert(&[Row::new(ts, ts as i64)]), None);
        run(shard.flush_job().unwrap());
    }
    let before = shard.snapshot(Timestamp(3), None);
    run(shard.compact_job().unwrap());
    assert_eq!(shard.collect_garbage().unwrap(), 0);
    assert_eq!(keys(&before), [1, 2, 3]);
    drop(before);
    assert!(shard.collect_garbage().unwrap() >= 3);
    assert_eq!(keys(&shard.snapshot(Timestamp(3), None)), [1, 2, 3]);
    shard.verify().unwrap();
    shard.commit(Timestamp(4), insert(&[Row::new(4, 4)]), None);
    shard.destroy().unwrap();
    assert!(shard.env.objects.list("shards/1").unwrap().is_empty());
    let late = shard.flush_job().unwrap();
    shard.run_job(&late, &layout(), Timestamp(4), &JobControl::default()).unwrap_err();
}

fn layout_with_graph() -> TableLayout {
    let params = quiver_index::HnswParams { m: 8, ef_construction: 32, ..Default::default() };
    let index = crate::VectorIndexDef {
        id: IndexId(7),
        of: crate::Indexed::Column { column: VECTOR, rows: None },
        metric: Metric::L2,
        kind: VectorIndexKind::Hnsw(params),
    };
    TableLayout { vector_indexes: vec![index], ..layout() }
}

/// Codes are of rows in memory and of segments that wait for their graph, as far as there is memory for them, and change no answer.
#[test]
fn rows_without_their_index_are_looked_through_by_codes() {
    for memory in [MemoryBudget::unlimited(), MemoryBudget::new(4 << 10)] {
        let has_room = memory.limit_bytes() == usize::MAX;
        let dir = tempfile::tempdir().unwrap();
        let objects = Objects::local(dir.path(), Arc::new(crate::objects::RealFs)).unwrap();
        let shard =
            Shard::new(ShardId(1), StorageEnv::new(objects, memory.clone(), StorageOptions::default()));
        let layout = layout_with_graph();
        for batch in 0..8u64 {
            let list: Vec<Row> =
                (0..8).map(|row| batch * 8 + row).map(|id| Row::new(id + 1, id as i64)).collect();
            shard.commit(Timestamp(batch + 1), insert(&list), None);
            if batch == 3 {
                // Some chunks have codes when they are joined with others, and some have not.
                shard.snapshot(Timestamp(4), None).search(&layout, &l2(&[9.0; 4], 3)).unwrap();
            }
        }
        shard.commit(Timestamp(9), ShardWrite { inserts: vec![], deletes: vec![RowId(12)] }, None);
        let query = VectorQuery { index: Some(IndexId(7)), ..l2(&[11.0, 12.5, 9.0, 14.0], 5) };
        let search = |query: &VectorQuery| shard.snapshot(Timestamp(9), None).search(&layout, query).unwrap();
        let in_memory = search(&query);
        let snapshot = shard.snapshot(Timestamp(9), None);
        let has_codes = |part: &Part| match part {
            Part::Memory(rows) => rows.chunk.made_codes(VECTOR).is_some_and(|made| made.codes.len() == 64),
            Part::Segment(_) => panic!("nothing was flushed"),
        };
        assert_eq!(snapshot.parts().iter().map(has_codes).collect::<Vec<_>>(), [has_room]);
        drop(snapshot);
        let job = shard.flush_job().unwrap();
        let publish = shard.run_job(&job, &layout, Timestamp(9), &JobControl::default()).unwrap();
        assert_eq!(shard.publish(&publish), PublishOutcome::Done);
        let _others = memory.reserve_unchecked(2 << 10);
        let in_segment = search(&query);
        assert_eq!(in_segment.stats.strategy, if has_room { "exact by codes: 1" } else { "exact: 1" });
        let exact = search(&VectorQuery { exact: true, index: None, ..query.clone() });
        assert_eq!(exact.stats.strategy, "exact: 1");
        let rows = |found: &SearchResult| -> Vec<_> {
            found.hits.iter().map(|hit| (hit.row_id, hit.distance)).collect()
        };
        assert_eq!(rows(&in_memory), rows(&exact));
        assert_eq!(rows(&in_segment), rows(&exact));
        assert!(!rows(&exact).iter().any(|(row, _)| *row == RowId(12)));
    }
}

/// Whoever adds rows to what is searched makes their codes, with a single row between that has none, too.
#[test]
fn rows_that_come_to_coded_ones_have_codes() {
    let shard = Shard::new(ShardId(1), env());
    let commit = |ts: u64, ids: std::ops::Range<u64>| {
        let list: Vec<Row> = ids.map(|id| Row::new(id, id as i64)).collect();
        shard.commit(Timestamp(ts), insert(&list), None);
    };
    let coded = || -> Vec<bool> {
        let snapshot = shard.snapshot(Timestamp(9), None);
        let is_coded =
            |part: &Part| matches!(part, Part::Memory(rows) if rows.chunk.made_codes(VECTOR).is_some());
        snapshot.parts().iter().map(is_coded).collect()
    };
    commit(1, 1..41);
    assert_eq!(coded(), [false], "nobody has searched");
    shard.snapshot(Timestamp(1), None).search(&layout_with_graph(), &l2(&[9.0; 4], 3)).unwrap();
    commit(2, 41..42);
    assert_eq!(coded(), [true, false]);
    commit(3, 42..50);
    assert_eq!(coded(), [true, true]);
}

#[test]
fn a_load_ends_as_one_indexed_segment() {
    let dir = tempfile::tempdir().unwrap();
    let objects = Objects::local(dir.path(), Arc::new(crate::objects::RealFs)).unwrap();
    let options = StorageOptions {
        memtable_bytes_max: 20_000,
        index_rows_min: 100,
        settle_after: std::time::Duration::from_secs(3600),
        trickle_bytes_per_second: 0,
        ..StorageOptions::default()
    };
    let shard = Shard::new(ShardId(1), StorageEnv::new(objects, MemoryBudget::unlimited(), options));
    let layout = layout_with_graph();
    let control = JobControl { threads: 1, ..JobControl::default() };
    let mut kinds = Vec::new();
    let mut drain = |ts: u64, settled: bool| loop {
        let job = if settled {
            shard.pending_work_now(&layout, &[], Timestamp(ts))
        } else {
            shard.pending_work(&layout, &[], &[], Timestamp(ts))
        };
        let Some(job) = job else { break };
        kinds.push(job.kind);
        let publish = shard.run_job(&job, &layout, Timestamp(ts), &control).unwrap();
        assert_eq!(shard.publish(&publish), PublishOutcome::Done);
        shard.collect_garbage().unwrap();
    };
    for ts in 1..=30u64 {
        let list: Vec<Row> = (0..100).map(|row| Row::new(ts * 100 + row, (ts * 100 + row) as i64)).collect();
        shard.commit(Timestamp(ts), insert(&list), None);
        drain(ts, false);
    }
    if let Some(flush) = shard.flush_job() {
        let rest = shard.run_job(&flush, &layout, Timestamp(30), &control).unwrap();
        assert_eq!(shard.publish(&rest), PublishOutcome::Done);
    }
    drain(30, true);
    let stats = shard.stats();
    assert_eq!((stats.segments, stats.live_rows, stats.memtable_rows), (1, 3000, 0), "{kinds:?}");
    assert!(shard.is_indexed(&layout, IndexId(7)));
    let built = kinds.iter().filter(|kind| **kind == JobKind::BuildIndex).count();
    assert!(built <= 2, "merging comes before indexing: {kinds:?}");
    let list: Vec<RowId> = (100..3000).map(RowId).collect();
    shard.commit(Timestamp(31), ShardWrite { inserts: vec![], deletes: list }, None);
    assert_eq!(shard.pending_work_now(&layout, &[], Timestamp(30)), None, "a reader still needs them");
    let job = shard.pending_work_now(&layout, &[], Timestamp(31)).unwrap();
    let publish = shard.run_job(&job, &layout, Timestamp(31), &control).unwrap();
    shard.publish(&publish);
    let stats = shard.stats();
    assert_eq!((job.kind, stats.live_rows, stats.tombstones), (JobKind::Compact, 100, 0));
}

#[test]
fn rows_that_trickle_in_are_indexed_as_they_come() {
    let pending = |bytes_per_second, batches: u64, without_thread: &[JobKind]| {
        let options = StorageOptions {
            index_rows_min: 100,
            settle_after: std::time::Duration::from_secs(3600),
            trickle_bytes_per_second: bytes_per_second,
            trickle_bytes_max: 10_000,
            ..StorageOptions::default()
        };
        let env = StorageEnv::new(env().objects.clone(), MemoryBudget::unlimited(), options);
        let shard = Shard::new(ShardId(1), env);
        let index = crate::VectorIndexDef {
            id: IndexId(7),
            of: crate::Indexed::Column { column: VECTOR, rows: None },
            metric: Metric::L2,
            kind: VectorIndexKind::Hnsw(quiver_index::HnswParams::default()),
        };
        let layout = TableLayout { vector_indexes: vec![index], ..layout() };
        let mut kinds = Vec::new();
        for ts in 1..=batches {
            let rows: Vec<Row> = (0..100).map(|row| Row::new(ts * 100 + row, row as i64)).collect();
            shard.commit(Timestamp(ts), insert(&rows), None);
            if ts % 20 != 0 && ts != batches {
                continue;
            }
            while let Some(job) = shard.pending_work(&layout, &[], without_thread, Timestamp(ts)) {
                kinds.push(job.kind);
                let control = JobControl { threads: 1, ..JobControl::default() };
                let publish = shard.run_job(&job, &layout, Timestamp(ts), &control).unwrap();
                assert_eq!(shard.publish(&publish), PublishOutcome::Done);
            }
        }
        kinds
    };
    assert_eq!(pending(usize::MAX, 20, &[]), [JobKind::Flush, JobKind::BuildIndex]);
    assert_eq!(pending(usize::MAX, 1, &[]), [], "too few to be worth a segment");
    assert_eq!(pending(0, 20, &[]), [], "too fast to be indexed in small pieces");
    // A segment gets its graph before it is merged, and whether or not it can be. Few rows become one segment whatever the sizes.
    let (flushed, merged) = ([JobKind::Flush, JobKind::BuildIndex], [JobKind::Compact]);
    assert_eq!(pending(usize::MAX, 80, &[JobKind::Compact]), flushed.repeat(4));
    let kinds = [&flushed[..], &flushed, &merged, &flushed, &merged, &flushed, &merged].concat();
    assert_eq!(pending(usize::MAX, 80, &[]), kinds);
}

/// A shard into which rows trickle, with segments of so many rows.
fn trickling(segments: &[u64]) -> Arc<Shard> {
    let options = StorageOptions {
        settle_after: std::time::Duration::from_secs(3600),
        trickle_bytes_per_second: usize::MAX,
        ..StorageOptions::default()
    };
    let shard =
        Shard::new(ShardId(1), StorageEnv::new(env().objects.clone(), MemoryBudget::unlimited(), options));
    let mut next = 1;
    for len in segments {
        let list: Vec<Row> = (next..next + len).map(|id| Row::new(id, id as i64)).collect();
        next += len;
        shard.commit(Timestamp(next), insert(&list), None);
        let flush = shard.flush_job().unwrap();
        let publish = shard.run_job(&flush, &layout(), Timestamp(1), &JobControl::default()).unwrap();
        assert_eq!(shard.publish(&publish), PublishOutcome::Done);
    }
    shard
}

/// The sizes of what is to be merged next beside what runs, and the job.
fn next_merge(shard: &Shard, running: &[Job]) -> Option<(Vec<u32>, Job)> {
    let job = shard.pending_work(&layout(), running, &[JobKind::BuildIndex], Timestamp(1))?;
    let JobInput::Segments(segments) = &job.input else { panic!("{job:?}") };
    let rows = segments.iter().map(|id| shard.version().segment(*id).unwrap().live_rows()).collect();
    Some((rows, job))
}

#[test]
fn beside_a_large_merge_of_what_trickles_in_there_are_small_ones_only() {
    let shard = trickling(&[90_000, 90_000, 17_000, 17_000, 1_000, 1_000]);
    let (rows, small) = next_merge(&shard, &[]).unwrap();
    assert_eq!(rows, [1_000, 1_000], "small ones come first");
    let (rows, large) = next_merge(&shard, std::slice::from_ref(&small)).unwrap();
    assert_eq!(rows, [17_000, 17_000], "a small one keeps no large one waiting");
    let (rows, _) = next_merge(&shard, std::slice::from_ref(&large)).unwrap();
    assert_eq!(rows, [1_000, 1_000]);
    assert_eq!(next_merge(&shard, &[large, small]), None, "180,000 rows are for later");
}

#[test]
fn what_trickles_in_is_merged_with_what_is_not_much_larger() {
    let merged = |segments: &[u64]| next_merge(&trickling(segments), &[]).map(|(rows, _)| rows);
    assert_eq!(merged(&[12_000, 1_000]).unwrap(), [1_000, 12_000], "few rows, whatever the sizes");
    assert_eq!(merged(&[20_000, 7_000]), None);
    assert_eq!(merged(&[20_000, 8_000]).unwrap(), [8_000, 20_000]);
    assert_eq!(merged(&[66_000, 60_000]), None, "a large one waits until the others together are as large");
    assert_eq!(merged(&[66_000, 60_000, 24_000]).unwrap(), [24_000, 60_000, 66_000]);
    assert_eq!(merged(&[66_000, 66_001, 66_002]), None);
    let four = [66_000, 66_001, 66_002, 66_003];
    assert_eq!(merged(&four.map(u64::from)).unwrap(), four, "or there would be ever more");
}

/// What a merge has to write counts, not what is left once old readers have gone.
#[test]
fn deleted_rows_that_somebody_may_see_count_as_rows() {
    for (sizes, dead) in [([20_000, 1_000], 1..19_001), ([30_000, 2_000], 30_001..32_001)] {
        let shard = trickling(&sizes);
        assert_eq!(next_merge(&shard, &[]), None);
        let write = ShardWrite { inserts: vec![], deletes: dead.map(RowId).collect() };
        shard.commit(Timestamp(50_000), write, None);
        assert_eq!(next_merge(&shard, &[]), None);
        // Once nobody sees them a segment is written anew, and alone if nothing is left of it.
        let job = shard.pending_work(&layout(), &[], &[JobKind::BuildIndex], Timestamp(50_000)).unwrap();
        let JobInput::Segments(segments) = job.input else { panic!("{job:?}") };
        assert_eq!(segments.len(), if sizes[1] == 1_000 { 2 } else { 1 });
    }
}

#[test]
fn searches_at_once_find_what_each_finds_alone() {
    let shard = Shard::new(ShardId(1), env());
    let mut list: Vec<Row> = (1..=600).map(|id| Row::new(id, (id * 37 % 600) as i64)).collect();
    list[77].vector = None;
    shard.commit(Timestamp(1), insert(&list), None);
    shard.commit(Timestamp(2), ShardWrite { inserts: vec![], deletes: vec![RowId(3), RowId(400)] }, None);
    let flush = shard.flush_job().unwrap();
    for is_sealed in [false, true] {
        if is_sealed {
            let publish = shard.run_job(&flush, &layout(), Timestamp(1), &JobControl::default()).unwrap();
            shard.publish(&publish);
        }
        let snapshots = [1, 2].map(|ts| shard.snapshot(Timestamp(ts), None));
        let queries: Vec<[f32; 4]> =
            (0..24).map(|at| [at as f32 / 9.0, at as f32 * 25.0, 0.5, -1.0]).collect();
        let ask = |at: usize| nearest(&snapshots[at % 2], &queries[at], at % 7 + 1);
        let alone: Vec<_> = (0..queries.len()).map(ask).collect();
        assert!(alone.iter().enumerate().all(|(at, found)| found.len() == at % 7 + 1));
        std::thread::scope(|scope| {
            for at in 0..queries.len() {
                let (ask, alone) = (&ask, &alone);
                scope.spawn(move || (0..30).for_each(|_| assert_eq!(ask(at), alone[at])));
            }
        });
    }
}

#[test]
fn an_index_of_values_that_is_younger_than_its_segment_gets_a_file() {
    let options = StorageOptions { index_rows_min: 100, ..StorageOptions::default() };
    let shard =
        Shard::new(ShardId(1), StorageEnv::new(env().objects.clone(), MemoryBudget::unlimited(), options));
    let list: Vec<Row> = (0..200).map(|row| Row::new(row + 1, row as i64)).collect();
    shard.commit(Timestamp(1), insert(&list), None);
    let none = TableLayout { lookups: Vec::new(), ..layout() };
    let control = JobControl { threads: 1, ..JobControl::default() };
    let publish = shard.run_job(&shard.flush_job().unwrap(), &none, Timestamp(1), &control).unwrap();
    shard.publish(&publish);
    let files = |shard: &Shard| match &shard.snapshot(Timestamp(1), None).parts()[0] {
        Part::Segment(sealed) => sealed.meta().lookups.len(),
        Part::Memory(_) => panic!("the rows were flushed"),
    };
    let request = ScanRequest { columns: vec![KEY], filter: Some(KeyBetween::filter(5, 7)), batch_rows: 9 };
    let named = |layout: &TableLayout| {
        let parts = shard.snapshot(Timestamp(1), None).scan_parts(layout, &request).unwrap();
        parts[0].candidates.as_ref().map(|rows| rows.to_vec())
    };
    assert_eq!((files(&shard), named(&none), named(&layout())), (0, None, Some(vec![5, 6, 7])));
    for (layout, expected) in [(layout(), 1), (none, 0)] {
        let job = shard.pending_work_now(&layout, &[], Timestamp(1)).unwrap();
        assert_eq!(job.kind, JobKind::BuildIndex);
        let publish = shard.run_job(&job, &layout, Timestamp(1), &control).unwrap();
        let publish = Publish::decode(&publish.encode()).unwrap();
        assert_eq!(shard.publish(&publish), PublishOutcome::Done);
        assert_eq!(files(&shard), expected);
        assert_eq!(named(&layout).is_some(), expected == 1);
        assert_eq!(shard.pending_work_now(&layout, &[], Timestamp(1)), None);
    }
}

#[test]
fn a_filter_is_not_asked_about_rows_that_its_reader_cannot_see() {
    let shard = Shard::new(ShardId(1), env());
    shard.commit(Timestamp(1), insert(&[Row::new(1, 0), Row::new(2, 5)]), None);
    shard.commit(Timestamp(2), ShardWrite { inserts: vec![], deletes: vec![RowId(1)] }, None);
    for flushed in [false, true] {
        if flushed {
            let job = shard.flush_job().unwrap();
            let publish = shard.run_job(&job, &layout(), Timestamp(1), &JobControl::default()).unwrap();
            shard.publish(&publish);
        }
        let snapshot = shard.snapshot(Timestamp(2), None);
        let filter = Some(Refuses::filter(0));
        let request = ScanRequest { columns: vec![KEY], filter: filter.clone(), batch_rows: 9 };
        let part = &snapshot.scan_parts(&layout(), &request).unwrap()[0];
        let batches = snapshot.scan_part(&layout(), &request, part).unwrap();
        assert_eq!(batches[0].row_ids, [RowId(2)]);
        let query = VectorQuery { filter, ..l2(&[0.0; 4], 5) };
        assert_eq!(snapshot.search(&layout(), &query).unwrap().hits.len(), 1);
    }
}

#[test]
fn untyped_vectors_are_searched_exactly_and_must_agree_in_dimension() {
    use arrow::array::{Float32Array, ListArray};
    use arrow::buffer::OffsetBuffer;
    let shard = Shard::new(ShardId(1), env());
    let column = crate::testing::column(VECTOR, "v", &quiver_base::SqlType::Vector(None));
    let layout = TableLayout { columns: vec![column.clone()], ..TableLayout::default() };
    let write = |first: u64, lengths: &[usize]| {
        let arrow::datatypes::DataType::List(item) = column.field.data_type().clone() else { unreachable!() };
        let values = Float32Array::from_iter_values((0..lengths.iter().sum()).map(|at: usize| at as f32));
        let offsets = OffsetBuffer::from_lengths(lengths.iter().copied());
        let vectors: ArrayRef = Arc::new(ListArray::new(item, offsets, Arc::new(values), None));
        let schema = Arc::new(arrow::datatypes::Schema::new(vec![column.field.clone()]));
        let batch = arrow::record_batch::RecordBatch::try_new(schema, vec![vectors]).unwrap();
        let row_ids = (first..first + lengths.len() as u64).map(RowId).collect();
        ShardWrite { inserts: vec![Arc::new(RowBatch { batch, row_ids })], deletes: vec![] }
    };
    shard.commit(Timestamp(1), write(1, &[2, 2, 2]), None);
    for flushed in [false, true] {
        if flushed {
            let job = shard.flush_job().unwrap();
            let publish = shard.run_job(&job, &layout, Timestamp(1), &JobControl::default()).unwrap();
            assert_eq!(shard.publish(&publish), PublishOutcome::Done);
        }
        let hits = shard.snapshot(Timestamp(1), None).search(&layout, &l2(&[2.0, 3.0], 2)).unwrap().hits;
        let hits: Vec<_> = hits.iter().map(|hit| (hit.row_id.0, hit.distance)).collect();
        assert_eq!(hits, [(2, Some(0.0)), (1, Some(8f64.sqrt()))]);
    }
    shard.commit(Timestamp(2), write(4, &[3]), None);
    let error = shard.snapshot(Timestamp(2), None).search(&layout, &l2(&[2.0, 3.0], 2)).unwrap_err();
    assert_eq!(error.message(), "different vector dimensions 3 and 2");
    assert_eq!(error.state().code(), "22000");
}

#[test]
fn of_two_jobs_on_the_same_rows_the_later_publish_is_stale() {
    let shard = Shard::new(ShardId(1), env());
    let run =
        |job: &Job, ts: u64| shard.run_job(job, &layout(), Timestamp(ts), &JobControl::default()).unwrap();
    let spill = Job { kind: JobKind::Spill, shard: ShardId(1), input: JobInput::Txn(TxnId(5)) };
    let stage = |id: u64| shard.stage(TxnId(5), insert(&[Row::new(id, id as i64)]));
    stage(1);
    let (first, second) = (run(&spill, 0), run(&spill, 0));
    (2..5).for_each(stage);
    assert_eq!(shard.publish(&first), PublishOutcome::Done);
    assert_eq!(shard.publish(&second), PublishOutcome::Stale);
    shard.commit(Timestamp(1), ShardWrite::default(), Some(TxnId(5)));
    assert_eq!(keys(&shard.snapshot(Timestamp(1), None)), [1, 2, 3, 4]);
    let late = run(&shard.flush_job().unwrap(), 1);
    shard.commit(Timestamp(2), ShardWrite { inserts: vec![], deletes: vec![RowId(1)] }, None);
    let segment = shard.version().segments[0].meta().id;
    let deletes =
        Job { kind: JobKind::WriteDeletes, shard: ShardId(1), input: JobInput::Segments(vec![segment]) };
    let older = run(&deletes, 1);
    assert_eq!(shard.publish(&run(&deletes, 2)), PublishOutcome::Done);
    assert_eq!(shard.publish(&older), PublishOutcome::Stale, "the bitmap would lose a delete");
    assert_eq!(shard.publish(&late), PublishOutcome::Done);
    assert_eq!(keys(&shard.snapshot(Timestamp(2), None)), [2, 3, 4]);
    assert_eq!(shard.stats().tombstones, 0);
    let other = Publish { shard: ShardId(2), ..older };
    assert_eq!(shard.publish(&other), PublishOutcome::Stale);
}

#[test]
fn a_table_without_columns_keeps_its_rows() {
    let shard = Shard::new(ShardId(1), env());
    let empty = || {
        let schema = Arc::new(arrow::datatypes::Schema::empty());
        crate::columns::batch_of(schema, Vec::new(), 1).unwrap()
    };
    for id in 1..4u64 {
        let rows = RowBatch { batch: empty(), row_ids: vec![RowId(id)] };
        shard.commit(Timestamp(id), ShardWrite { inserts: vec![Arc::new(rows)], deletes: vec![] }, None);
    }
    let layout = TableLayout::default();
    for flushed in [false, true] {
        if flushed {
            let job = shard.flush_job().unwrap();
            let publish = shard.run_job(&job, &layout, Timestamp(3), &JobControl::default()).unwrap();
            assert_eq!(shard.publish(&publish), PublishOutcome::Done);
        }
        let restored = Shard::restore(shard.env.clone(), &shard.encode_state()()).unwrap();
        let snapshot = restored.snapshot(Timestamp(3), None);
        let request = ScanRequest { columns: vec![], filter: None, batch_rows: 10 };
        let parts = snapshot.scan_parts(&layout, &request).unwrap();
        let scan = |part| snapshot.scan_part(&layout, &request, part).unwrap();
        let rows: usize = parts.iter().flat_map(scan).map(|scanned| scanned.batch.num_rows()).sum();
        assert_eq!((rows, snapshot.row_count()), (3, 3));
    }
}

#[test]
fn a_job_that_fails_leaves_the_shard_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let fs = Arc::new(crate::objects::testing::LossyFs::new(dir.path()));
    let objects = Objects::local(dir.path(), fs.clone()).unwrap();
    let options = StorageOptions { row_group_rows: 10, ..StorageOptions::default() };
    let shard = Shard::new(ShardId(1), StorageEnv::new(objects, MemoryBudget::unlimited(), options));
    let list: Vec<Row> = (1..100).map(|id| Row::new(id, id as i64)).collect();
    shard.commit(Timestamp(1), insert(&list), None);
    let before = shard.encode_state()();
    let job = shard.flush_job().unwrap();
    fs.fail(Some(std::io::ErrorKind::StorageFull));
    let full = shard.run_job(&job, &layout(), Timestamp(1), &JobControl::default()).unwrap_err();
    assert_eq!(full.state().code(), "53100");
    fs.fail(None);
    let stopped = JobControl::default();
    stopped.cancel.store(true, std::sync::atomic::Ordering::Relaxed);
    let error = shard.run_job(&job, &layout(), Timestamp(1), &stopped).unwrap_err();
    assert_eq!(error.state().code(), "57014");
    assert!(shard.encode_state()() == before);
    let unwanted = shard.run_job(&job, &layout(), Timestamp(1), &JobControl::default()).unwrap();
    assert_eq!(shard.collect_garbage().unwrap(), 0, "it may be in the log");
    shard.discard(&unwanted);
    shard.collect_garbage().unwrap();
    assert!(shard.env.objects.list("shards").unwrap().is_empty());
    let publish = shard.run_job(&job, &layout(), Timestamp(1), &JobControl::default()).unwrap();
    assert_eq!(shard.publish(&publish), PublishOutcome::Done);
    assert_eq!(keys(&shard.snapshot(Timestamp(1), None)).len(), 99);
}
