//! Segments in a store behind a network that fails, with a cache too small for one of them.

use super::*;
use crate::objects::ObjectsOptions;
use crate::objects::testing::{Fault, FaultyStore};
use arrow::array::{FixedSizeListArray, Int32Array};
use arrow::datatypes::Float32Type;
use quiver_base::SqlState;
use std::time::Duration;

#[test]
fn a_failing_network_costs_time_only() {
    let store: Arc<FaultyStore> = Arc::default();
    let open_env = |dir: &TempDir| {
        let options = ObjectsOptions {
            cache_bytes_max: 2_000,
            request_timeout: Duration::from_secs(5),
            part_bytes: 1_000,
            ..ObjectsOptions::new(dir.path())
        };
        let objects = Objects::remote(store.clone(), "prefix", options).unwrap();
        StorageEnv::new(objects, MemoryBudget::unlimited(), StorageOptions::default())
    };
    let mut layout = layout(vec![column(1, "a", &SqlType::Int4), column(2, "v", &SqlType::Vector(Some(2)))]);
    layout.keys = vec![key(50, &[1])];
    let vectors = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
        (0..500).map(|row| Some(vec![Some(row as f32), Some(1.0)])),
        2,
    );
    let batch = batch(&layout, vec![Arc::new(Int32Array::from_iter_values(0..500)), Arc::new(vectors)]);
    let (writer_dir, reader_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    store.inject(Fault::Fail, 2);
    let meta = write(&open_env(&writer_dir), &layout, &batch, 500);

    // Another node, which has none of it yet.
    let env = open_env(&reader_dir);
    let segment = open(&env, &meta);
    let wanted = crate::encode_key(&batch.columns()[..1], 321).unwrap().unwrap();
    for _ in 0..2 {
        store.inject(Fault::Fail, 2);
        assert_eq!(segment.read(&layout, &[ColumnId(1), ColumnId(2)], 0..500).unwrap(), batch);
        assert_eq!(segment.find_keys(&layout, &layout.keys[0], &[&wanted]).unwrap()[0].position, 321);
        segment.verify().unwrap();
    }
    drop(segment);

    store.clear();
    store.inject(Fault::Fail, 1_000);
    let third_dir = tempfile::tempdir().unwrap();
    let env = open_env(&third_dir);
    let segment = open(&env, &meta);
    let error = segment.vectors(ColumnId(2)).unwrap_err();
    assert_eq!(error.state(), SqlState::IO_ERROR);
    assert!(error.message().contains(&meta.vectors[0].1.path), "{error}");
    store.clear();
    assert!(segment.vectors(ColumnId(2)).unwrap().is_some(), "a failure is not kept");
}
