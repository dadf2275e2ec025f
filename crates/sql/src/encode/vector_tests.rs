//! pgvector's types and bit strings come back from their text and binary forms, and no bytes make reading panic.
#![allow(clippy::unwrap_used)] // tests

use super::{ColumnEncoder, OutputStyle};
use crate::decode::{ColumnBuilder, InputStyle};
use arrow::array::ArrayRef;
use proptest::prelude::*;
use quiver_base::SqlType;

fn types() -> Vec<SqlType> {
    vec![
        SqlType::Vector(None),
        SqlType::Vector(Some(3)),
        SqlType::Halfvec(None),
        SqlType::Halfvec(Some(3)),
        SqlType::Sparsevec(None),
        SqlType::Sparsevec(Some(3)),
        SqlType::Bit(None),
        SqlType::Bit(Some(3)),
        SqlType::Varbit(None),
        SqlType::Varbit(Some(3)),
    ]
}

fn text(ty: &SqlType, array: &ArrayRef) -> String {
    let mut out = Vec::new();
    ColumnEncoder::new(ty, array, &OutputStyle::default()).unwrap().text(0, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn binary(ty: &SqlType, array: &ArrayRef) -> Vec<u8> {
    let mut out = Vec::new();
    ColumnEncoder::new(ty, array, &OutputStyle::default()).unwrap().binary(0, &mut out).unwrap();
    out
}

fn from_text(ty: &SqlType, text: &str) -> quiver_base::Result<ArrayRef> {
    let mut builder = ColumnBuilder::new(ty, 1);
    builder.append_text(text, &InputStyle::default())?;
    Ok(builder.finish())
}

fn from_binary(ty: &SqlType, bytes: &[u8]) -> quiver_base::Result<ArrayRef> {
    let mut builder = ColumnBuilder::new(ty, 1);
    builder.append_binary(bytes)?;
    Ok(builder.finish())
}

/// Both forms of what a text stands for lead back to it.
fn comes_back(ty: &SqlType, given: &str) {
    let array = from_text(ty, given).unwrap();
    let shown = text(ty, &array);
    assert_eq!(from_text(ty, &shown).unwrap().as_ref(), array.as_ref(), "{ty} {given}");
    assert_eq!(from_binary(ty, &binary(ty, &array)).unwrap().as_ref(), array.as_ref(), "{ty} {given}");
    let items = SqlType::Array(Box::new(ty.clone()));
    let mut list = ColumnBuilder::new(&items, 1);
    list.append_text(&format!("{{\"{shown}\",NULL}}"), &InputStyle::default()).unwrap();
    let list = list.finish();
    assert_eq!(
        from_binary(&items, &binary(&items, &list)).unwrap().as_ref(),
        list.as_ref(),
        "{items} {given}"
    );
}

#[test]
fn binary_forms_are_pgvectors() {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for (ty, given, expected) in [
        (SqlType::Vector(None), "[1,-2]", "000200003f800000c0000000"),
        (SqlType::Halfvec(None), "[1,-2]", "000200003c00c000"),
        (SqlType::Sparsevec(None), "{2:1.5}/3", "000000030000000100000000000000013fc00000"),
        (SqlType::Bit(None), "101", "00000003a0"),
        (SqlType::Varbit(None), "", "00000000"),
    ] {
        let array = from_text(&ty, given).unwrap();
        assert_eq!(hex(&binary(&ty, &array)), expected, "{ty} {given}");
    }
}

proptest! {
    #[test]
    fn dense_values_come_back(values in proptest::collection::vec(-70_000.0_f32..70_000.0, 1..40)) {
        let list: Vec<String> = values.iter().map(ToString::to_string).collect();
        comes_back(&SqlType::Vector(None), &format!("[{}]", list.join(",")));
        let half: Vec<String> = values.iter().map(|value| (value / 2.0).to_string()).collect();
        comes_back(&SqlType::Halfvec(None), &format!("[{}]", half.join(",")));
    }

    #[test]
    fn sparse_values_come_back(
        elements in proptest::collection::btree_map(1_u32..1_000, any::<f32>().prop_filter("finite", |value| value.is_finite()), 0..20),
    ) {
        let list: Vec<String> = elements.iter().map(|(index, value)| format!("{index}:{value}")).collect();
        comes_back(&SqlType::Sparsevec(None), &format!("{{{}}}/1000", list.join(",")));
    }

    #[test]
    fn bits_come_back(bits in "[01]{0,100}", hex in "x[0-9a-fA-F]{0,20}") {
        for ty in [SqlType::Bit(None), SqlType::Varbit(None)] {
            comes_back(&ty, &bits);
            comes_back(&ty, &hex);
        }
    }

    #[test]
    fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        for ty in types() {
            // What can be read comes back as it was, as there is one form of every value.
            if let Ok(array) = from_binary(&ty, &bytes) {
                let again = from_binary(&ty, &binary(&ty, &array)).unwrap();
                prop_assert_eq!(again.as_ref(), array.as_ref());
                text(&ty, &array);
            }
        }
    }

    #[test]
    fn no_counts_make_reading_panic(
        words in proptest::collection::vec(prop_oneof![0_i32..5, Just(-1), Just(i32::MAX), Just(16_000), any::<i32>()], 0..12),
    ) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        for ty in types() {
            if let Ok(array) = from_binary(&ty, &bytes) {
                text(&ty, &array);
            }
        }
    }

    #[test]
    fn no_text_makes_reading_panic(given in "[\\[\\]{}:,/0-9a-fxX.+ e-]{0,24}|\\PC{0,12}") {
        for ty in types() {
            if let Ok(array) = from_text(&ty, &given) {
                text(&ty, &array);
            }
        }
    }
}
