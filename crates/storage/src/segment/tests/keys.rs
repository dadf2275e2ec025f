//! Keys are found whether a file has them or not, and only equal ones.

use super::*;
use crate::encode_key;
use arrow::array::{Array, Int32Array, StringArray};
use proptest::prelude::*;

fn table(rows: &[(Option<i32>, Option<String>)]) -> (TableLayout, RecordBatch) {
    let mut layout = layout(vec![column(1, "a", &SqlType::Int4), column(2, "b", &SqlType::Text)]);
    layout.keys = vec![key(50, &[1]), key(51, &[2, 1])];
    let a = Int32Array::from_iter(rows.iter().map(|(a, _)| *a));
    let b = StringArray::from_iter(rows.iter().map(|(_, b)| b.as_deref()));
    let batch = batch(&layout, vec![Arc::new(a), Arc::new(b)]);
    (layout, batch)
}

fn columns(batch: &RecordBatch, key: &KeyDef) -> Vec<ArrayRef> {
    key.columns.iter().map(|id| batch.column(usize::from(id.0) - 1).clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn finds_what_a_scan_finds(
        rows in proptest::collection::vec((proptest::option::of(-3i32..6), proptest::option::of("[ab]{0,2}")), 0..250),
        wanted in proptest::collection::vec((proptest::option::of(-3i32..6), proptest::option::of("[ab]{0,2}")), 1..20),
    ) {
        let fixture = fixture();
        let (mut layout, batch) = table(&rows);
        let segment = open(&fixture.env, &write(&fixture.env, &layout, &batch, 77));
        // One that came later than the segment.
        layout.keys.push(key(52, &[1, 2]));
        let (_, wanted_batch) = table(&wanted);
        for key in &layout.keys {
            let (stored, wanted) = (columns(&batch, key), columns(&wanted_batch, key));
            let wanted: Vec<Vec<u8>> =
                (0..wanted[0].len()).filter_map(|row| encode_key(&wanted, row).unwrap()).collect();
            let mut expected = Vec::new();
            for (at, wanted) in wanted.iter().enumerate() {
                for row in 0..rows.len() {
                    if encode_key(&stored, row).unwrap().as_ref() == Some(wanted) {
                        expected.push((at, row as u32));
                    }
                }
            }
            let wanted: Vec<&[u8]> = wanted.iter().map(Vec::as_slice).collect();
            let found = segment.find_keys(&layout, key, &wanted).unwrap();
            let found: Vec<_> = found.iter().map(|found| (found.wanted, found.position)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}

#[test]
fn a_key_over_other_columns_is_not_taken_for_the_stored_one() {
    let fixture = fixture();
    let (layout, batch) = table(&[(Some(1), Some("x".into())), (Some(2), Some("x".into()))]);
    let segment = open(&fixture.env, &write(&fixture.env, &layout, &batch, 2));
    let other = key(50, &[2]);
    let wanted = encode_key(&columns(&batch, &other), 0).unwrap().unwrap();
    assert_eq!(segment.find_keys(&layout, &other, &[&wanted]).unwrap().len(), 2);
}

#[test]
fn an_index_made_in_memory_is_made_once_and_charged() {
    let fixture = fixture();
    let rows: Vec<_> = (0..1000).map(|row| (Some(row), None)).collect();
    let (mut layout, batch) = table(&rows);
    layout.keys.clear();
    let segment = open(&fixture.env, &write(&fixture.env, &layout, &batch, 500));
    let late = key(60, &[1]);
    let wanted = encode_key(&columns(&batch, &late), 321).unwrap().unwrap();
    assert_eq!(segment.find_keys(&layout, &late, &[&wanted]).unwrap()[0].position, 321);
    let charged = fixture.env.memory.used_bytes();
    assert!(charged >= 12_000, "{charged}");
    let newer = segment.with_meta(segment.meta().clone());
    assert_eq!(newer.find_keys(&layout, &late, &[&wanted]).unwrap().len(), 1);
    assert_eq!(fixture.env.memory.used_bytes(), charged);
}
