//! Regular-expression functions in PostgreSQL's forms.

use super::{Args, Function};
use arrow::array::{Array, ArrayRef, ListBuilder, StringBuilder};
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use regex::{Regex, RegexBuilder};
use std::sync::Arc;

fn compile(pattern: &str, flags: &str) -> Result<Regex> {
    RegexBuilder::new(pattern)
        .case_insensitive(flags.contains('i'))
        .multi_line(flags.contains('n') || flags.contains('m'))
        .dot_matches_new_line(!flags.contains('n') && !flags.contains('p'))
        .ignore_whitespace(flags.contains('x'))
        .build()
        .map_err(|error| {
            Error::new(SqlState::INVALID_REGULAR_EXPRESSION, format!("invalid regular expression: {error}"))
        })
}

fn flags(args: &Args<'_>, index: usize, row: usize) -> Result<String> {
    if args.count() <= index {
        return Ok(String::new());
    }
    let flags = args.text(index)?;
    Ok(if flags.is_valid(row) { flags.value(row).to_owned() } else { String::new() })
}

/// `\1` and `\&` to the crate's `${1}` and `${0}`.
fn replacement(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => match characters.next() {
                Some(digit) if digit.is_ascii_digit() => out.push_str(&format!("${{{digit}}}")),
                Some('&') => out.push_str("${0}"),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            '$' => out.push_str("$$"),
            other => out.push(other),
        }
    }
    out
}

pub(super) fn functions() -> Vec<Function> {
    let list = || SqlType::Array(Box::new(SqlType::Text));
    vec![
        Function::new("regexp_replace", Volatility::Immutable, SqlType::Text, replace),
        Function::new("regexp_match", Volatility::Immutable, list(), first_match),
        Function::new("regexp_split_to_array", Volatility::Immutable, list(), split),
    ]
}

fn replace(args: &Args<'_>) -> Result<ArrayRef> {
    let (texts, patterns, news) = (args.text(0)?, args.text(1)?, args.text(2)?);
    let mut out = StringBuilder::new();
    let mut compiled: Option<(String, String, Regex)> = None;
    for row in 0..args.rows() {
        if texts.is_null(row) || patterns.is_null(row) || news.is_null(row) {
            out.append_null();
            continue;
        }
        let flags = flags(args, 3, row)?;
        let regex = cached(&mut compiled, patterns.value(row), &flags)?;
        let new = replacement(news.value(row));
        out.append_value(match flags.contains('g') {
            true => regex.replace_all(texts.value(row), new.as_str()),
            false => regex.replace(texts.value(row), new.as_str()),
        });
    }
    Ok(Arc::new(out.finish()))
}

fn cached<'a>(
    compiled: &'a mut Option<(String, String, Regex)>,
    pattern: &str,
    flags: &str,
) -> Result<&'a Regex> {
    let same = matches!(compiled, Some((p, f, _)) if p == pattern && f == flags);
    if !same {
        *compiled = Some((pattern.to_owned(), flags.to_owned(), compile(pattern, flags)?));
    }
    match compiled {
        Some((_, _, regex)) => Ok(regex),
        None => Err(Error::internal("no regular expression")),
    }
}

fn first_match(args: &Args<'_>) -> Result<ArrayRef> {
    let (texts, patterns) = (args.text(0)?, args.text(1)?);
    let mut out =
        ListBuilder::new(StringBuilder::new()).with_field(Arc::new(SqlType::Text.field("item", true)));
    let mut compiled = None;
    for row in 0..args.rows() {
        if texts.is_null(row) || patterns.is_null(row) {
            out.append(false);
            continue;
        }
        let regex = cached(&mut compiled, patterns.value(row), &flags(args, 2, row)?)?;
        let Some(found) = regex.captures(texts.value(row)) else {
            out.append(false);
            continue;
        };
        let groups = usize::from(found.len() > 1);
        for group in found.iter().skip(groups) {
            out.values().append_option(group.map(|group| group.as_str()));
        }
        out.append(true);
    }
    Ok(Arc::new(out.finish()))
}

fn split(args: &Args<'_>) -> Result<ArrayRef> {
    let (texts, patterns) = (args.text(0)?, args.text(1)?);
    let mut out =
        ListBuilder::new(StringBuilder::new()).with_field(Arc::new(SqlType::Text.field("item", true)));
    let mut compiled = None;
    for row in 0..args.rows() {
        let valid = texts.is_valid(row) && patterns.is_valid(row);
        if valid {
            let regex = cached(&mut compiled, patterns.value(row), &flags(args, 2, row)?)?;
            regex.split(texts.value(row)).for_each(|part| out.values().append_value(part));
        }
        out.append(valid);
    }
    Ok(Arc::new(out.finish()))
}
