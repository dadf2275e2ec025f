//! Text and binary forms against what PostgreSQL 16.14 with pgvector 0.8.5 sends for the same input (TimeZone Europe/Berlin).

#![allow(clippy::unwrap_used)] // tests

use super::{ColumnEncoder, OutputStyle};
use crate::calendar::iana_zone;
use crate::decode::{ColumnBuilder, DateOrder, InputStyle};
use quiver_base::SqlType;

/// (type, input, text form, binary form in hex)
#[rustfmt::skip] // one case a line
const REFERENCE: &[(&str, &str, &str, &str)] = &[
    ("bool", "yes", "t", "01"),
    ("bool", " F ", "f", "00"),
    ("int2", "-32768", "-32768", "8000"),
    ("int4", "0x1F", "31", "0000001f"),
    ("int4", "1_000", "1000", "000003e8"),
    ("int8", "9223372036854775807", "9223372036854775807", "7fffffffffffffff"),
    ("float4", "0.1", "0.1", "3dcccccd"),
    ("float4", "123456.7", "123456.7", "47f1205a"),
    ("float4", "1234567.8", "1.2345678e+06", "4996b43e"),
    ("float4", "1e-5", "1e-05", "3727c5ac"),
    ("float4", "16777216", "1.6777216e+07", "4b800000"),
    ("float4", "-0", "-0", "80000000"),
    ("float4", "3.4028235e38", "3.4028235e+38", "7f7fffff"),
    ("float4", "1e-45", "1e-45", "00000001"),
    ("float8", "100000000000000", "100000000000000", "42d6bcc41e900000"),
    ("float8", "1e15", "1e+15", "430c6bf526340000"),
    ("float8", "0.0001", "0.0001", "3f1a36e2eb1c432d"),
    ("float8", "0.00001", "1e-05", "3ee4f8b588e368f1"),
    ("float8", "123456789.125", "123456789.125", "419d6f3454800000"),
    ("float8", "NaN", "NaN", "7ff8000000000000"),
    ("float8", "-Infinity", "-Infinity", "fff0000000000000"),
    ("float8", "5e-324", "5e-324", "0000000000000001"),
    ("float8", "1.7976931348623157e308", "1.7976931348623157e+308", "7fefffffffffffff"),
    ("float8", "0.3", "0.3", "3fd3333333333333"),
    ("float8", "-1.5", "-1.5", "bff8000000000000"),
    ("numeric(10,2)", "12345.678", "12345.68", "0003000100000002000109291a90"),
    ("numeric(10,2)", "-0.005", "-0.01", "0001ffff400000020064"),
    ("numeric(10,2)", "0.004", "0.00", "0000000000000002"),
    ("numeric(5,0)", "99999", "99999", "00020001000000000009270f"),
    ("numeric(38,10)", "1234567890123456789.0123456789", "1234567890123456789.0123456789", "000800040000000a007b11d722c509291a85007b11d722c4"),
    ("numeric(4,4)", "0.1234", "0.1234", "0001ffff0000000404d2"),
    ("numeric(60,5)", "123456789012345678901234567890123456789012345.12345", "123456789012345678901234567890123456789012345.12345", "000e000b00000005000109291a85007b11d722c509291a85007b11d722c5092904d21388"),
    ("numeric", "10000", "10000", "00010001000000000001"),
    ("numeric", "0.0001", "0.0001", "0001ffff000000040001"),
    ("numeric", "-123456789.987654321", "-123456789.987654321", "0006000240000009000109291a852694153803e8"),
    ("numeric", "1e10", "10000000000", "00010002000000000064"),
    ("numeric", "0", "0", "0000000000000000"),
    ("text", "a\"b", "a\"b", "612262"),
    ("varchar(3)", "abc   ", "abc", "616263"),
    ("char(5)", "ab", "ab   ", "6162202020"),
    ("bytea", "\\x00ff10", "\\x00ff10", "00ff10"),
    ("bytea", "a\\\\b\\001", "\\x615c6201", "615c6201"),
    ("date", "2024-02-29", "2024-02-29", "00002279"),
    ("date", "0044-03-15 BC", "0044-03-15 BC", "fff49d7b"),
    ("date", "Jan 8, 1999", "1999-01-08", "fffffe9a"),
    ("date", "8-Jan-1999", "1999-01-08", "fffffe9a"),
    ("date", "19990108", "1999-01-08", "fffffe9a"),
    ("date", "1/8/1999", "1999-01-08", "fffffe9a"),
    ("date", "99991231", "9999-12-31", "002c95d3"),
    ("date", "2024.5.6", "2024-05-06", "000022bc"),
    ("time", "04:05:06.789", "04:05:06.789", "000000036c97ca88"),
    ("time", "04:05 PM", "16:05:00", "0000000d7b1be300"),
    ("time", "12:00 AM", "00:00:00", "0000000000000000"),
    ("time", "24:00:00", "24:00:00", "000000141dd76000"),
    ("time", "040506", "04:05:06", "000000036c8bc080"),
    ("timestamp", "2024-01-02 03:04:05.123456", "2024-01-02 03:04:05.123456", "0002b0ec8517d580"),
    ("timestamp", "2024-01-02T03:04:05Z", "2024-01-02 03:04:05", "0002b0ec8515f340"),
    ("timestamp", "20240102T030405", "2024-01-02 03:04:05", "0002b0ec8515f340"),
    ("timestamp", "1969-12-31 23:59:59.5", "1969-12-31 23:59:59.5", "fffca2fec4c07ee0"),
    ("timestamp", "epoch", "1970-01-01 00:00:00", "fffca2fec4c82000"),
    ("timestamp", "0001-01-01 BC", "0001-01-01 00:00:00 BC", "ff1fc63d1bb12000"),
    ("timestamp", "Tue Jan 02 03:04:05 2024", "2024-01-02 03:04:05", "0002b0ec8515f340"),
    ("timestamptz", "2024-07-01 12:00", "2024-07-01 12:00:00+02", "0002bf2b6dcbe800"),
    ("timestamptz", "2024-01-01 12:00+05:30", "2024-01-01 07:30:00+01", "0002b0db47a8ea00"),
    ("timestamptz", "2024-01-01 12:00 America/New_York", "2024-01-01 18:00:00+01", "0002b0e414b72400"),
    ("timestamptz", "1880-01-01 00:00", "1880-01-01 00:00:00+00:53:28", "fff28be63612ee00"),
    ("timestamptz", "2024-03-31 02:30", "2024-03-31 03:30:00+02", "0002b7e9947e7600"),
    ("timestamptz", "2024-10-27 02:30", "2024-10-27 02:30:00+01", "0002c86a0f2b3600"),
    ("timestamptz", "2024-01-01 12:00:00.5 PST", "2024-01-01 21:00:00.5+01", "0002b0e69879b120"),
    ("timestamptz", "2024-06-01", "2024-06-01 00:00:00+02", "0002bcc5dfa2f800"),
    ("interval", "1 year 2 mons -3 days 04:05:06.5", "1 year 2 mons -3 days +04:05:06.5", "000000036c9361a0fffffffd0000000e"),
    ("interval", "-1 year -2 mons +3 days -04:05:06", "-1 years -2 mons +3 days -04:05:06", "fffffffc93743f8000000003fffffff2"),
    ("interval", "0", "00:00:00", "00000000000000000000000000000000"),
    ("interval", "1 mon -1 day", "1 mon -1 days", "0000000000000000ffffffff00000001"),
    ("interval", "1.5 months", "1 mon 15 days", "00000000000000000000000f00000001"),
    ("interval", "1.5 years", "1 year 6 mons", "00000000000000000000000000000012"),
    ("interval", "P1Y2M3DT4H5M6.5S", "1 year 2 mons 3 days 04:05:06.5", "000000036c9361a0000000030000000e"),
    ("interval", "1-2", "1 year 2 mons", "0000000000000000000000000000000e"),
    ("interval", "3 4:05", "3 days 04:05:00", "000000036c3033000000000300000000"),
    ("interval", "100 hours", "100:00:00", "00000053d1ac10000000000000000000"),
    ("interval", "2 weeks ago", "-14 days", "0000000000000000fffffff200000000"),
    ("interval", "1.1 days", "1 day 02:24:00", "0000000202fbf0000000000100000000"),
    ("interval", "-0.5 s", "-00:00:00.5", "fffffffffff85ee00000000000000000"),
    ("interval", "12", "00:00:12", "0000000000b71b000000000000000000"),
    ("interval", "@ 1 minute", "00:01:00", "00000000039387000000000000000000"),
    ("interval", "1 day -00:00:01", "1 day -00:00:01", "fffffffffff0bdc00000000100000000"),
    ("interval", "-1 year 2 days", "-1 years +2 days", "000000000000000000000002fffffff4"),
    ("interval", "0.5 mon", "15 days", "00000000000000000000000f00000000"),
    ("interval", "90 seconds", "00:01:30", "00000000055d4a800000000000000000"),
    ("interval", "1h30m", "01:30:00", "0000000141dd76000000000000000000"),
    ("uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc999c0b4ef8bb6d6bb9bd380a11"),
    ("uuid", "{a0eebc999c0b4ef8bb6d6bb9bd380a11}", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc999c0b4ef8bb6d6bb9bd380a11"),
    ("json", "{\"b\":1, \"a\" : [1,2]}", "{\"b\":1, \"a\" : [1,2]}", "7b2262223a312c20226122203a205b312c325d7d"),
    ("jsonb", "{\"bb\":1,\"a\":[1,2.50,{\"x\":null}],\"a\":[1e3,-0,\"\\u00e9\\n\\/\"]}", "{\"a\": [1000, 0, \"é\\n/\"], \"bb\": 1}", "017b2261223a205b313030302c20302c2022c3a95c6e2f225d2c20226262223a20317d"),
    ("jsonb", "{}", "{}", "017b7d"),
    ("jsonb", "[ ]", "[]", "015b5d"),
    ("jsonb", "\"\\ud83d\\ude00\"", "\"😀\"", "0122f09f988022"),
    ("jsonb", "1.5e-3", "0.0015", "01302e30303135"),
    ("jsonb", "true", "true", "0174727565"),
    ("vector(3)", "[1,2.5,-3]", "[1,2.5,-3]", "000300003f80000040200000c0400000"),
    ("vector", " [ 0.1 , 1e-7 ] ", "[0.1,1e-07]", "000200003dcccccd33d6bf95"),
    ("int4[]", "{1,NULL,3}", "{1,NULL,3}", "00000001000000010000001700000003000000010000000400000001ffffffff0000000400000003"),
    ("text[]", "{a,\"b c\",NULL,\"NULL\",\"x\\\"y\\\\z\",\"\",\" \",\"é\"}", "{a,\"b c\",NULL,\"NULL\",\"x\\\"y\\\\z\",\"\",\" \",é}", "0000000100000001000000190000000800000001000000016100000003622063ffffffff000000044e554c4c000000057822795c7a00000000000000012000000002c3a9"),
    ("int4[]", "{}", "{}", "000000000000000000000017"),
    ("timestamp[]", "{\"2024-01-02 03:04:05\"}", "{\"2024-01-02 03:04:05\"}", "00000001000000000000045a0000000100000001000000080002b0ec8515f340"),
    ("bool[]", "{t,f}", "{t,f}", "000000010000000000000010000000020000000100000001010000000100"),
    ("oid", "4294967295", "4294967295", "ffffffff"),
    ("name", "abc", "abc", "616263"),
    ("\"char\"", "x", "x", "78"),
    ("int2vector", "1 2 3", "1 2 3", "0000000100000000000000150000000300000000000000020001000000020002000000020003"),
    ("oidvector", "4 5", "4 5", "00000001000000000000001a000000020000000000000004000000040000000400000005"),
];

fn type_named(name: &str) -> SqlType {
    let (base, array) = match name.strip_suffix("[]") {
        Some(base) => (base, true),
        None => (name, false),
    };
    let (word, arguments) = base.split_once('(').unwrap_or((base, ""));
    let long = match word {
        "bool" => "boolean",
        "int2" => "smallint",
        "int4" => "integer",
        "int8" => "bigint",
        "float4" => "real",
        "float8" => "double precision",
        "varchar" => "character varying",
        "char" => "character",
        "time" => "time without time zone",
        "timestamp" => "timestamp without time zone",
        "timestamptz" => "timestamp with time zone",
        other => other,
    };
    let display = if arguments.is_empty() { long.to_owned() } else { format!("{long}({arguments}") };
    let ty = SqlType::parse(&display).unwrap();
    if array { SqlType::Array(Box::new(ty)) } else { ty }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn values_print_as_postgresql_prints_them() {
    let zone = iana_zone("Europe/Berlin").unwrap();
    let input = InputStyle { time_zone: zone, now_us: 0, date_order: DateOrder::Mdy };
    let output = OutputStyle { time_zone: zone, ..OutputStyle::default() };
    let mut wrong = Vec::new();
    for (name, text, expected, expected_hex) in REFERENCE {
        let ty = type_named(name);
        let mut column = ColumnBuilder::new(&ty, 1);
        if let Err(error) = column.append_text(text, &input) {
            wrong.push(format!("{name} {text}: {error}"));
            continue;
        }
        let array = column.finish();
        assert_eq!(array.data_type(), &ty.arrow_type());
        let encoder = ColumnEncoder::new(&ty, &array, &output).unwrap();
        let (mut printed, mut binary) = (Vec::new(), Vec::new());
        encoder.text(0, &mut printed).unwrap();
        encoder.binary(0, &mut binary).unwrap();
        let printed = String::from_utf8(printed).unwrap();
        if printed != *expected || hex(&binary) != *expected_hex {
            wrong
                .push(format!("{name} {text}: {printed} {} and not {expected} {expected_hex}", hex(&binary)));
        }
        column.append_binary(&binary).unwrap();
        let again = column.finish();
        if again != array {
            wrong.push(format!("{name} {text}: the binary form reads as {again:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_numeric_without_scale_drops_zeros_at_the_end() {
    let ty = SqlType::Numeric(None);
    let mut column = ColumnBuilder::new(&ty, 1);
    column.append_text("-1.2500", &InputStyle::default()).unwrap();
    let array = column.finish();
    let mut out = Vec::new();
    ColumnEncoder::new(&ty, &array, &OutputStyle::default()).unwrap().text(0, &mut out).unwrap();
    assert_eq!(out, b"-1.25");
}
