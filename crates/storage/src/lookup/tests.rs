//! Codes of values sort as the values do; candidates are all rows of a filter, and more.

use super::*;
use arrow::array::{
    BinaryArray, BooleanArray, Decimal128Array, Decimal256Array, Float32Array, Float64Array, Int64Array,
    StringArray,
};
use arrow::compute::kernels::cmp::lt;
use proptest::prelude::*;

/// Codes of smaller values, by Arrow's order, are not larger; those of equal ones are equal.
fn check_order(values: ArrayRef) {
    let coder = Coder::new(&values, LookupCode::Order).unwrap().unwrap();
    for a in 0..values.len() {
        for b in 0..values.len() {
            let less = lt(&values.slice(a, 1), &values.slice(b, 1)).unwrap();
            if less.value(0) {
                assert!(coder.at(a) <= coder.at(b), "{values:?}: {a}, {b}");
            }
        }
    }
}

fn extremes() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        Just(0.0),
        Just(-0.0),
        Just(f64::NAN),
        Just(-f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY)
    ]
}

proptest! {
    #[test]
    fn codes_are_in_the_order_of_values(
        integers in proptest::collection::vec(any::<i64>(), 1..20),
        floats in proptest::collection::vec(extremes(), 1..20),
        parts in proptest::collection::vec((prop_oneof![any::<i128>(), -3i128..3, (1i128 << 52) - 2..(1 << 52) + 3], any::<u128>()), 1..20),
        texts in proptest::collection::vec("[a-c]{0,12}", 1..20),
    ) {
        check_order(Arc::new(Int64Array::from(integers)));
        check_order(Arc::new(Float32Array::from_iter_values(floats.iter().map(|float| *float as f32))));
        check_order(Arc::new(Float64Array::from(floats)));
        check_order(Arc::new(Decimal128Array::from_iter_values(parts.iter().map(|(high, _)| high / 2))));
        let wide = parts.iter().map(|(high, low)| i256::from_parts(*low, *high));
        check_order(Arc::new(Decimal256Array::from_iter_values(wide)));
        check_order(Arc::new(BinaryArray::from_iter_values(texts.iter().map(String::as_bytes))));
        check_order(Arc::new(StringArray::from(texts)));
    }
}

#[test]
fn zeros_are_one_value_and_truth_has_an_order() {
    let zeros: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0]));
    let coder = Coder::new(&zeros, LookupCode::Order).unwrap().unwrap();
    assert_eq!(coder.at(0), coder.at(1));
    check_order(Arc::new(BooleanArray::from(vec![true, false])));
    let nothing: ArrayRef = Arc::new(Int64Array::from(vec![None]));
    assert_eq!(Coder::new(&nothing, LookupCode::Order).unwrap().unwrap().at(0), None);
}
