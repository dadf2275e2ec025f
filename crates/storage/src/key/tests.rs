//! Keys: their bytes sort as their values do.

#![allow(clippy::unwrap_used)] // tests

use super::*;
use arrow::array::{
    BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array,
    Float64Array, Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, ListArray, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Int32Type as Int4, IntervalMonthDayNano};
use proptest::prelude::*;
use std::sync::Arc;

fn bytes(columns: &[ArrayRef], row: usize) -> Vec<u8> {
    encode_key(columns, row).unwrap().unwrap()
}

fn hex(columns: &[ArrayRef]) -> String {
    bytes(columns, 0).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// These bytes are on disk and decide which shard a row is in: if this test fails, the change is wrong, not the test.
#[test]
fn the_encoding_never_changes() {
    let uuid = FixedSizeBinaryArray::try_from_iter(std::iter::once([0xab_u8; 16])).unwrap();
    let list = ListArray::from_iter_primitive::<Int4, _, _>([Some([Some(1), None])]);
    let interval = IntervalMonthDayNano::new(1, 1, 1);
    let cases: Vec<(ArrayRef, &str)> = vec![
        (Arc::new(BooleanArray::from(vec![true])), "01"),
        (Arc::new(Int16Array::from(vec![-1])), "7fffffffffffffff"),
        (Arc::new(Int32Array::from(vec![1])), "8000000000000001"),
        (Arc::new(Int64Array::from(vec![i64::MIN])), "0000000000000000"),
        (Arc::new(Date32Array::from(vec![19_000])), "8000000000004a38"),
        (Arc::new(TimestampMicrosecondArray::from(vec![5]).with_timezone("+00:00")), "8000000000000005"),
        (Arc::new(Float32Array::from(vec![1.5])), "3ff8000000000000"),
        (Arc::new(Float64Array::from(vec![-0.0])), "0000000000000000"),
        (Arc::new(Float64Array::from(vec![-f64::NAN])), "7ff8000000000000"),
        (Arc::new(StringArray::from(vec!["hé"])), "0000000368c3a9"),
        (Arc::new(BinaryArray::from(vec![&b""[..]])), "00000000"),
        (Arc::new(uuid), "abababababababababababababababab"),
        (Arc::new(list), "00000002018000000000000001 00"),
        (Arc::new(IntervalMonthDayNanoArray::from(vec![interval])), "8000000000000000000983fd98910001"),
        (
            Arc::new(Decimal128Array::from(vec![-2]).with_precision_and_scale(10, 2).unwrap()),
            "7ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe",
        ),
    ];
    for (array, expected) in cases {
        let what = array.data_type().to_string();
        assert_eq!(hex(&[array]), expected.replace(' ', ""), "{what}");
    }
    assert_eq!(key_hash(b"quiver"), 9_611_633_695_918_574_603);
}

#[test]
fn a_null_anywhere_is_no_key() {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![Some(1), None])),
        Arc::new(StringArray::from(vec![None, Some("x")])),
    ];
    let encoder = KeyEncoder::new(&columns).unwrap();
    let mut out = vec![9];
    assert!(!encoder.encode(0, &mut out) && !encoder.encode(1, &mut out));
    assert_eq!(out, [9]);
    assert_eq!(encode_key(&columns, 0).unwrap(), None);
    let nulls: ArrayRef = arrow::array::new_null_array(&DataType::Null, 1);
    assert_eq!(encode_key(&[nulls], 0).unwrap_err().state(), SqlState::FEATURE_NOT_SUPPORTED);
}

#[test]
fn equal_intervals_have_equal_keys() {
    let column: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![
        IntervalMonthDayNano::new(1, 0, 0),
        IntervalMonthDayNano::new(0, 30, 0),
        IntervalMonthDayNano::new(0, 29, 86_400_000_000_000),
        IntervalMonthDayNano::new(0, 29, 0),
    ]));
    let columns = [column];
    assert_eq!(bytes(&columns, 0), bytes(&columns, 1));
    assert_eq!(bytes(&columns, 0), bytes(&columns, 2));
    assert_ne!(bytes(&columns, 0), bytes(&columns, 3));
}

proptest! {
    /// Two texts and an array side by side: no pair of different rows looks the same.
    #[test]
    fn only_equal_rows_have_equal_keys(
        rows in proptest::collection::vec(
            ("[a\0]{0,3}", "[a\0]{0,3}", proptest::collection::vec(proptest::option::of(0i32..2), 0..3)),
            1..12,
        ),
        offset in 0usize..3,
    ) {
        let first: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.0)));
        let second: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.1)));
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int4, _, _>(
            rows.iter().map(|(_, _, items)| Some(items.clone())),
        ));
        let offset = offset.min(rows.len() - 1);
        // Slices start inside shared buffers.
        let columns: Vec<ArrayRef> = [first, second, lists]
            .iter()
            .map(|column| column.slice(offset, rows.len() - offset))
            .collect();
        let keys: Vec<_> = (0..rows.len() - offset).map(|row| bytes(&columns, row)).collect();
        for (a, key_a) in keys.iter().enumerate() {
            for (b, key_b) in keys.iter().enumerate() {
                prop_assert_eq!(key_a == key_b, rows[a + offset] == rows[b + offset]);
            }
        }
    }
}
