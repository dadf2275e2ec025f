//! The shard's door, by example. The model test covers what follows from many steps.

#![allow(clippy::unwrap_used)] // tests

use super::*;
use crate::testing::{KEY, Row, VECTOR, layout, rows};
use crate::{Objects, StorageOptions};
use crate::{RowBatch, ScanRequest, VectorQuery};
use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::Int64Type;
use quiver_base::MemoryBudget;
use quiver_index::Metric;

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

fn nearest(snapshot: &Snapshot, query: &[f32], k: usize) -> Vec<(u64, Option<f64>)> {
    let query = VectorQuery {
        column: VECTOR,
        metric: Metric::L2,
        query: query.to_vec(),
        k,
        ef: 40,
        exact: false,
        filter: None,
    };
    let hits = snapshot.search(&layout(), &query).unwrap().hits;
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
    let query = VectorQuery {
        column: VECTOR,
        metric: Metric::L2,
        query: vec![1.0],
        k: 1,
        ef: 1,
        exact: true,
        filter: None,
    };
    let error = snapshot.search(&layout(), &query).unwrap_err();
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
