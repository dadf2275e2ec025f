//! The text form and the casts, against pgvector's.
#![allow(clippy::unwrap_used)] // tests

use super::*;
use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, StringArray};
use arrow::datatypes::Float32Type;
use std::sync::Arc;

#[test]
fn reads_what_pgvector_reads() {
    assert_eq!(parse("[1,2,3]").unwrap(), [1.0, 2.0, 3.0]);
    assert_eq!(parse(" [ 1 , -2.5e1,\t.5 , 3. ] \n").unwrap(), [1.0, -25.0, 0.5, 3.0]);
    assert_eq!(parse("[+1e-3]").unwrap(), [0.001]);
    assert_eq!(parse("[1e-40]").unwrap(), [1e-40], "a denormal is in range");
    assert_eq!(parse("[1e-400,-1e-400]").unwrap(), [0.0, -0.0], "too small a number is zero");
    assert_eq!(parse("[0x10,-0x1.8p3,0X.8]").unwrap(), [16.0, -12.0, 0.5], "as strtof reads them");
}

#[test]
fn refuses_what_pgvector_refuses() {
    let check = |text: &str, state: &str, message: &str, detail: Option<&str>| {
        let error = parse(text).unwrap_err();
        assert_eq!(error.state().code(), state, "{text}");
        assert_eq!(error.message(), message, "{text}");
        assert_eq!(error.detail(), detail, "{text}");
    };
    let syntax = |text: &str, detail| {
        check(text, "22P02", &format!("invalid input syntax for type vector: \"{text}\""), detail);
    };
    syntax("", Some("Vector contents must start with \"[\"."));
    syntax("1,2", Some("Vector contents must start with \"[\"."));
    syntax("[1,2] x", Some("Junk after closing right brace."));
    for text in
        ["[", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[a]", "[1,2", "[1,,2]", "[.]", "[-]", "[hello,1]"]
    {
        syntax(text, None);
    }
    check("[]", "22000", "vector must have at least 1 dimension", None);
    check("[ ]", "22000", "vector must have at least 1 dimension", None);
    check("[NaN]", "22000", "NaN not allowed in vector", None);
    check("[1,Infinity]", "22000", "infinite value not allowed in vector", None);
    check("[-inf]", "22000", "infinite value not allowed in vector", None);
    check("[1e400]", "22003", "\"1e400\" is out of range for type vector", None);
    check("[-4e38,1]", "22003", "\"-4e38\" is out of range for type vector", None);
    let long = format!("[{}1]", "1,".repeat(16_000));
    check(&long, "54000", "vector cannot have more than 16000 dimensions", None);
    let error = Dense::Vector.parse("[1,2]", Some(3), &mut Vec::new()).unwrap_err();
    assert_eq!(error.message(), "expected 3 dimensions, not 2");
}

#[test]
fn prints_as_postgresql_prints_float4() {
    let cases: [(f32, &str); 14] = [
        (1.0, "1"),
        (-0.0, "-0"),
        (0.0, "0"),
        (1.5, "1.5"),
        (0.1, "0.1"),
        (100_000.0, "100000"),
        (999_999.0, "999999"),
        (1_000_000.0, "1e+06"),
        (1_234_567.0, "1.234567e+06"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (-1.5e-10, "-1.5e-10"),
        (f32::MAX, "3.4028235e+38"),
        (1e-45, "1e-45"),
    ];
    for (value, text) in cases {
        assert_eq!(format(&[value]), format!("[{text}]"));
    }
    assert_eq!(format(&[1.0, 2.25]), "[1,2.25]");
}

#[test]
fn casts_keep_nulls_and_check_dimensions() {
    let text: ArrayRef = Arc::new(StringArray::from(vec![Some("[1,2]"), None]));
    let vectors = to_vector(&text, Some(2)).unwrap();
    let fixed: &FixedSizeListArray = vectors.as_fixed_size_list();
    assert!(fixed.is_null(1));
    assert_eq!(fixed.value(0).as_primitive::<Float32Type>().values().as_ref(), [1.0, 2.0]);
    let back = to_text(&vectors).unwrap();
    assert_eq!(back, StringArray::from(vec![Some("[1,2]"), None]));
    assert_eq!(to_vector(&text, Some(3)).unwrap_err().message(), "expected 3 dimensions, not 2");
    let list =
        cast_vectors(&vectors, &SqlType::Vector(Some(2)), &SqlType::Array(Box::new(SqlType::Float4)), false)
            .unwrap();
    assert_eq!(to_vector(&list, Some(2)).unwrap().as_ref(), vectors.as_ref());
}
