//! COPY: formats and options, read and written.

#![allow(clippy::unwrap_used)] // tests

use super::*;
use crate::parser::CopyOption;

fn options(list: &[(&str, &str)]) -> Options {
    let list: Vec<CopyOption> = list
        .iter()
        .map(|(name, value)| CopyOption {
            name: (*name).to_owned(),
            values: Some(vec![(*value).to_owned()]),
            all: false,
        })
        .collect();
    Options::parse(&list, false).unwrap()
}

#[test]
fn text_comes_back_as_it_was_written() {
    let values: [&[u8]; 4] = [b"plain", b"tab\tand\nline", b"\\N", b"back\\slash\x08"];
    let mut line = Vec::new();
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            line.push(b'\t');
        }
        text::write(value, b'\t', &mut line);
    }
    line.extend_from_slice(b"\t\\N");
    let mut fields = Vec::new();
    text::split(&line, b'\t', b"\\N", &mut fields);
    let expected: Vec<Option<Vec<u8>>> =
        values.iter().map(|value| Some(value.to_vec())).chain([None]).collect();
    assert_eq!(fields, expected);
}

#[test]
fn escapes_are_those_of_postgresql() {
    let mut fields = Vec::new();
    text::split(b"\\101\\x42\\q\\\\", b'\t', b"\\N", &mut fields);
    assert_eq!(fields, [Some(b"ABq\\".to_vec())]);
    text::split(b"", b'\t', b"\\N", &mut fields);
    assert_eq!(fields, [Some(Vec::new())]);
}

#[test]
fn a_line_ends_at_an_unescaped_newline() {
    assert_eq!(text::line_end(b"ab\ncd", false), Some((2, 3)));
    assert_eq!(text::line_end(b"ab\r\ncd", false), Some((2, 4)));
    assert_eq!(text::line_end(b"a\\\nb\n", false), Some((4, 5)));
    assert_eq!(text::line_end(b"ab", false), None);
    assert_eq!(text::line_end(b"ab", true), Some((2, 2)));
}

#[test]
fn csv_fields_may_hold_line_ends_and_quotes() {
    let csv_options = options(&[("format", "csv")]);
    let read = |data: &[u8], last| csv::record(data, &csv_options, last).unwrap();
    let (fields, length) = read(b"a,\"b\nc\",\"say \"\"x\"\"\",\n", false).unwrap();
    let texts: Vec<(&[u8], bool)> =
        fields.iter().map(|(value, quoted)| (value.as_slice(), *quoted)).collect();
    assert_eq!(
        texts,
        [
            (b"a".as_slice(), false),
            (b"b\nc".as_slice(), true),
            (b"say \"x\"".as_slice(), true),
            (b"".as_slice(), false)
        ]
    );
    assert_eq!(length, 21);
    assert!(read(b"a,\"b", false).is_none());
    assert!(csv::record(b"a,\"b", &csv_options, true).is_err());
    let mut out = Vec::new();
    for value in [b"a,b".as_slice(), b"", b"x\"y", b"plain"] {
        csv::write(value, &csv_options, false, false, &mut out);
        out.push(b'|');
    }
    assert_eq!(out, b"\"a,b\"|\"\"|\"x\"\"y\"|plain|");
}

#[test]
fn options_are_checked() {
    let fails = |list: &[(&str, &str)]| {
        let list: Vec<CopyOption> = list
            .iter()
            .map(|(name, value)| CopyOption {
                name: (*name).to_owned(),
                values: Some(vec![(*value).to_owned()]),
                all: false,
            })
            .collect();
        Options::parse(&list, false).unwrap_err().message().to_owned()
    };
    assert_eq!(fails(&[("format", "xml")]), "COPY format \"xml\" not recognized");
    assert_eq!(fails(&[("delimiter", "ab")]), "COPY delimiter must be a single one-byte character");
    assert_eq!(fails(&[("quote", "'")]), "COPY quote available only in CSV mode");
    assert_eq!(fails(&[("format", "binary"), ("delimiter", ";")]), "cannot specify DELIMITER in BINARY mode");
    assert_eq!(fails(&[("bogus", "1")]), "option \"bogus\" not recognized");
}

#[test]
fn binary_tuples_are_taken_whole() {
    assert!(binary::header(b"PGCOPY\n").unwrap().is_none());
    assert!(binary::header(b"nonsense").is_err());
    assert_eq!(binary::header(&binary::HEADER).unwrap(), Some(19));
    let mut data = vec![0, 1, 0, 0, 0, 2, 7];
    assert!(matches!(binary::tuple(&data, 1).unwrap(), binary::Tuple::Partial));
    data.push(8);
    assert!(
        matches!(binary::tuple(&data, 1).unwrap(), binary::Tuple::Fields(fields, 8) if fields == [Some(6..8)])
    );
    assert!(binary::tuple(&data, 2).is_err());
    assert!(matches!(binary::tuple(&binary::TRAILER, 1).unwrap(), binary::Tuple::End(2)));
}
