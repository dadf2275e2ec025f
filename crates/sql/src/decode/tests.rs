//! Malformed values give PostgreSQL's errors, and no bytes at all make a reader panic.

#![allow(clippy::unwrap_used)] // tests

use super::{ColumnBuilder, InputStyle, value_from_text};
use proptest::prelude::*;
use quiver_base::SqlType;

#[rustfmt::skip] // one case a line
const ERRORS: &[(&str, &str, &str, &str)] = &[
    ("integer", "abc", "22P02", "invalid input syntax for type integer: \"abc\""),
    ("integer", "", "22P02", "invalid input syntax for type integer: \"\""),
    ("integer", "1__0", "22P02", "invalid input syntax for type integer: \"1__0\""),
    ("integer", "99999999999", "22003", "value \"99999999999\" is out of range for type integer"),
    ("smallint", "40000", "22003", "value \"40000\" is out of range for type smallint"),
    ("bigint", "9223372036854775808", "22003", "value \"9223372036854775808\" is out of range for type bigint"),
    ("boolean", "maybe", "22P02", "invalid input syntax for type boolean: \"maybe\""),
    ("double precision", "1e400", "22003", "\"1e400\" is out of range for type double precision"),
    ("double precision", "x", "22P02", "invalid input syntax for type double precision: \"x\""),
    ("real", "1e39", "22003", "\"1e39\" is out of range for type real"),
    ("numeric", "1.2.3", "22P02", "invalid input syntax for type numeric: \"1.2.3\""),
    ("numeric(4,2)", "100", "22003", "numeric field overflow"),
    ("character varying(3)", "abcd", "22001", "value too long for type character varying(3)"),
    ("uuid", "a0eebc99", "22P02", "invalid input syntax for type uuid: \"a0eebc99\""),
    ("bytea", "\\xzz", "22023", "invalid hexadecimal digit: \"z\""),
    ("bytea", "\\x1", "22023", "invalid hexadecimal data: odd number of digits"),
    ("date", "2024-02-30", "22008", "date/time field value out of range: \"2024-02-30\""),
    ("date", "nonsense", "22007", "invalid input syntax for type date: \"nonsense\""),
    ("timestamp without time zone", "2024-01-01 25:00", "22008", "date/time field value out of range: \"2024-01-01 25:00\""),
    ("timestamp with time zone", "2024-01-01 nowhere", "22007", "invalid input syntax for type timestamp with time zone: \"2024-01-01 nowhere\""),
    ("interval", "1 foo", "22007", "invalid input syntax for type interval: \"1 foo\""),
    ("json", "{\"a\":}", "22P02", "invalid input syntax for type json"),
    ("jsonb", "nul", "22P02", "invalid input syntax for type json"),
    ("vector(2)", "[1]", "22000", "expected 2 dimensions, not 1"),
    ("vector(2)", "[nan,1]", "22000", "NaN not allowed in vector"),
    ("vector(2)", "[1,2", "22P02", "invalid input syntax for type vector: \"[1,2\""),
    ("vector(2)", "[1e400,1]", "22003", "\"1e400\" is out of range for type vector"),
    ("vector", "[]", "22000", "vector must have at least 1 dimension"),
    ("integer[]", "{1,,2}", "22P02", "malformed array literal: \"{1,,2}\""),
    ("integer[]", "1,2", "22P02", "malformed array literal: \"1,2\""),
    ("integer[]", "{1,x}", "22P02", "invalid input syntax for type integer: \"x\""),
];

const TYPES: &[&str] = &[
    "boolean",
    "smallint",
    "integer",
    "bigint",
    "real",
    "double precision",
    "numeric",
    "numeric(10,2)",
    "numeric(70,-3)",
    "text",
    "character varying(3)",
    "character(4)",
    "bytea",
    "date",
    "time without time zone",
    "timestamp without time zone",
    "timestamp with time zone",
    "interval",
    "uuid",
    "json",
    "jsonb",
    "vector",
    "vector(3)",
    "integer[]",
    "text[]",
    "vector[]",
    "integer[][]",
    "oid",
    "int2vector",
];

#[test]
fn malformed_values_are_refused_in_postgresql_s_words() {
    for (name, text, state, message) in ERRORS {
        let ty = SqlType::parse(name).unwrap();
        let error = value_from_text(&ty, text, &InputStyle::default()).unwrap_err();
        assert_eq!((error.state().code(), error.message()), (*state, *message));
    }
}

#[test]
fn a_refused_value_leaves_the_rows_before_it() {
    for (name, good, bad) in
        [("vector(2)", "[1,2]", "[1,x]"), ("vector", "[1,2]", "[1,x]"), ("integer[]", "{1,NULL}", "{2,x}")]
    {
        let mut column = ColumnBuilder::new(&SqlType::parse(name).unwrap(), 2);
        column.append_text(good, &InputStyle::default()).unwrap();
        column.append_text(bad, &InputStyle::default()).unwrap_err();
        column.append_text(good, &InputStyle::default()).unwrap();
        column.append_null();
        assert_eq!(column.len(), 3);
        let array = column.finish();
        assert_eq!(array.slice(0, 1).to_data(), array.slice(1, 1).to_data());
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_binary_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        for name in TYPES {
            let mut column = ColumnBuilder::new(&SqlType::parse(name).unwrap(), 1);
            let _ = column.append_binary(&bytes);
            column.finish();
        }
    }

    #[test]
    fn no_text_makes_the_text_reader_panic(
        text in prop_oneof![
            "\\PC{0,24}",
            "[-+0-9:./ TZeE]{0,24}",
            "[\\[\\]{}\",0-9a\\\\ ]{0,24}",
            "[-+.0-9PTYMDHSdayhsmon ]{0,24}",
        ],
    ) {
        for name in TYPES {
            let mut column = ColumnBuilder::new(&SqlType::parse(name).unwrap(), 1);
            let _ = column.append_text(&text, &InputStyle::default());
            column.finish();
        }
    }
}
