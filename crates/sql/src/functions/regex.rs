//! Regular-expression functions in PostgreSQL's forms.

use super::pattern::marked_expression;
use super::{Args, Function};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBuilder, Int32Builder, ListBuilder, StringBuilder,
};
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use regex::{Regex, RegexBuilder};
use std::sync::Arc;

/// Every option that PostgreSQL's regular expressions know; those that mean nothing to ours are let pass.
const OPTIONS: &str = "bcegimnpqstwx";

fn compile(pattern: &str, flags: &str) -> Result<Regex> {
    if let Some(other) = flags.chars().find(|flag| !OPTIONS.contains(*flag)) {
        let message = format!("invalid regular expression option: \"{other}\"");
        return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
    }
    let literal;
    let pattern = match flags.contains('q') {
        true => {
            literal = regex::escape(pattern);
            &literal
        }
        false => pattern,
    };
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

/// 2201B for a regular expression that is none.
pub(crate) fn check_pattern(pattern: &str) -> Result<()> {
    compile(pattern, "").map(|_| ())
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
        Function::new(
            "regexp_matches_list",
            Volatility::Immutable,
            SqlType::Array(Box::new(list())),
            all_matches,
        ),
        Function::new("regexp_like", Volatility::Immutable, SqlType::Bool, like),
        Function::new("regexp_count", Volatility::Immutable, SqlType::Int4, count),
        Function::new("regexp_instr", Volatility::Immutable, SqlType::Int4, position),
        Function::new("regexp_substr", Volatility::Immutable, SqlType::Text, substring),
        Function::new("substring_pattern", Volatility::Immutable, SqlType::Text, substring_pattern),
        Function::new("substring_similar", Volatility::Immutable, SqlType::Text, substring_similar),
    ]
}

fn replace(args: &Args<'_>) -> Result<ArrayRef> {
    let (texts, patterns, news) = (args.text(0)?, args.text(1)?, args.text(2)?);
    let mut out = StringBuilder::new();
    let mut compiled: Option<(String, String, Regex)> = None;
    for row in 0..args.rows() {
        if (0..args.count()).any(|index| args.array(index).is_null(row)) {
            out.append_null();
            continue;
        }
        // Either flags, or where to start, which match to replace (0: all), and flags.
        let by_number = args.count() > 3 && crate::bind::is_integer(args.ty(3));
        let flags = flags(args, if by_number { 5 } else { 3 }, row)?;
        let regex = cached(&mut compiled, patterns.value(row), &flags)?;
        let new = replacement(news.value(row));
        if by_number {
            let rest = from_character(texts.value(row), number(args, 3, row, 1, "start")?);
            let nth = if args.count() > 4 { number(args, 4, row, 0, "n")? } else { 1 };
            out.append_value(match rest {
                Some((rest, _)) => replace_nth(texts.value(row), rest, regex, &new, nth),
                None => texts.value(row).to_owned(),
            });
            continue;
        }
        out.append_value(match flags.contains('g') {
            true => regex.replace_all(texts.value(row), new.as_str()),
            false => regex.replace(texts.value(row), new.as_str()),
        });
    }
    Ok(Arc::new(out.finish()))
}

/// Replaces the `nth` match in `rest`, the end of `text`; every one if it is 0.
fn replace_nth(text: &str, rest: &str, regex: &Regex, new: &str, nth: usize) -> String {
    let mut out = text[..text.len() - rest.len()].to_owned();
    let mut copied = 0;
    for (index, found) in regex.captures_iter(rest).enumerate() {
        let Some(whole) = found.get(0).filter(|_| nth == 0 || index + 1 == nth) else { continue };
        out.push_str(&rest[copied..whole.start()]);
        found.expand(new, &mut out);
        copied = whole.end();
    }
    out.push_str(&rest[copied..]);
    out
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
        check_not_global(args, 2, row, "regexp_match")?;
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

/// `left ~ right` and its kin, pair by pair.
pub(super) fn matches(left: &ArrayRef, right: &ArrayRef, operator: &str) -> Result<BooleanArray> {
    let (texts, patterns) = (left.as_string::<i32>(), right.as_string::<i32>());
    let (negated, flags) = (operator.starts_with('!'), if operator.ends_with('*') { "i" } else { "" });
    let mut out = BooleanBuilder::with_capacity(texts.len());
    let mut compiled = None;
    for row in 0..texts.len() {
        match texts.is_null(row) || patterns.is_null(row) {
            true => out.append_null(),
            false => {
                let regex = cached(&mut compiled, patterns.value(row), flags)?;
                out.append_value(regex.is_match(texts.value(row)) != negated);
            }
        }
    }
    Ok(out.finish())
}

/// Calls `value` with each row's text and expression; NULL for a NULL argument. `of_one` is the name of a function of one match.
fn each_row(
    args: &Args<'_>,
    flags_at: usize,
    of_one: Option<&str>,
    mut value: impl FnMut(Option<(usize, &str, &Regex)>) -> Result<()>,
) -> Result<()> {
    let (texts, patterns) = (args.text(0)?, args.text(1)?);
    let mut compiled = None;
    for row in 0..args.rows() {
        let null = (0..args.count()).any(|index| args.array(index).is_null(row));
        if null {
            value(None)?;
            continue;
        }
        if let Some(name) = of_one {
            check_not_global(args, flags_at, row, name)?;
        }
        let regex = cached(&mut compiled, patterns.value(row), &flags(args, flags_at, row)?)?;
        value(Some((row, texts.value(row), regex)))?;
    }
    Ok(())
}

/// Every match of `regexp_matches`: the groups, or the whole without groups; one match only without the flag `g`.
fn all_matches(args: &Args<'_>) -> Result<ArrayRef> {
    let inner =
        ListBuilder::new(StringBuilder::new()).with_field(Arc::new(SqlType::Text.field("item", true)));
    let item = SqlType::Array(Box::new(SqlType::Text)).field("item", true);
    let mut out = ListBuilder::new(inner).with_field(Arc::new(item));
    each_row(args, 2, None, |row| {
        if let Some((row, text, regex)) = row {
            let limit = if flags(args, 2, row)?.contains('g') { usize::MAX } else { 1 };
            for found in regex.captures_iter(text).take(limit) {
                let groups = usize::from(found.len() > 1);
                for group in found.iter().skip(groups) {
                    out.values().values().append_option(group.map(|group| group.as_str()));
                }
                out.values().append(true);
            }
        }
        out.append(true);
        Ok(())
    })?;
    Ok(Arc::new(out.finish()))
}

fn like(args: &Args<'_>) -> Result<ArrayRef> {
    let mut out = BooleanBuilder::with_capacity(args.rows());
    each_row(args, 2, Some("regexp_like"), |row| {
        out.append_option(row.map(|(_, text, regex)| regex.is_match(text)));
        Ok(())
    })?;
    Ok(Arc::new(out.finish()))
}

fn number(args: &Args<'_>, index: usize, row: usize, default: i64, name: &str) -> Result<usize> {
    let value = if args.count() > index { args.int8(index)?.value(row) } else { default };
    usize::try_from(value).ok().filter(|value| *value > 0 || default == 0).ok_or_else(|| {
        let message = format!("invalid value for parameter \"{name}\": {value}");
        Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
    })
}

/// The text from the `start`-th character on, and how many characters are before it; `None` past the end of the text.
fn from_character(text: &str, start: usize) -> Option<(&str, usize)> {
    let mut places = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    places.nth(start - 1).map(|at| (&text[at..], start - 1))
}

/// 22023 for the option that only functions of many matches know.
fn check_not_global(args: &Args<'_>, index: usize, row: usize, name: &str) -> Result<()> {
    if !flags(args, index, row)?.contains('g') {
        return Ok(());
    }
    let message = format!("{name}() does not support the \"global\" option");
    let error = Error::new(SqlState::INVALID_PARAMETER_VALUE, message);
    Err(if name == "regexp_match" {
        error.with_hint("Use the regexp_matches function instead.")
    } else {
        error
    })
}

fn count(args: &Args<'_>) -> Result<ArrayRef> {
    let mut out = Int32Builder::with_capacity(args.rows());
    each_row(args, 3, Some("regexp_count"), |row| {
        let Some((row, text, regex)) = row else {
            out.append_null();
            return Ok(());
        };
        let rest = from_character(text, number(args, 2, row, 1, "start")?);
        let count = rest.map_or(0, |(rest, _)| regex.find_iter(rest).count());
        out.append_value(i32::try_from(count).unwrap_or(i32::MAX));
        Ok(())
    })?;
    Ok(Arc::new(out.finish()))
}

/// `regexp_instr(string, pattern, start, N, endoption, flags, subexpr)`.
fn position(args: &Args<'_>) -> Result<ArrayRef> {
    let mut out = Int32Builder::with_capacity(args.rows());
    each_row(args, 5, Some("regexp_instr"), |row| {
        let Some((row, text, regex)) = row else {
            out.append_null();
            return Ok(());
        };
        let rest = from_character(text, number(args, 2, row, 1, "start")?);
        let nth = number(args, 3, row, 1, "n")?;
        let at_end = number(args, 4, row, 0, "endoption")? == 1;
        let group = number(args, 6, row, 0, "subexpr")?;
        let place = rest.and_then(|(rest, before)| {
            let found = regex.captures_iter(rest).nth(nth - 1)?.get(group)?;
            let end = if at_end { found.end() } else { found.start() };
            Some(before + rest[..end].chars().count() + 1)
        });
        let place = place.unwrap_or(0);
        out.append_value(i32::try_from(place).unwrap_or(i32::MAX));
        Ok(())
    })?;
    Ok(Arc::new(out.finish()))
}

/// `substring(string FROM pattern)`: what the first parentheses match, all that matches if there are none.
fn substring_pattern(args: &Args<'_>) -> Result<ArrayRef> {
    let mut out = StringBuilder::new();
    each_row(args, 4, None, |row| {
        let found = row.and_then(|(_, text, regex)| {
            let found = regex.captures(text)?;
            found.get(if regex.captures_len() > 1 { 1 } else { 0 })
        });
        out.append_option(found.map(|found| found.as_str()));
        Ok(())
    })?;
    Ok(Arc::new(out.finish()))
}

/// `substring(string FROM pattern FOR escape)`: what a pattern of SIMILAR TO marks by `escape"`, or all that it matches.
fn substring_similar(args: &Args<'_>) -> Result<ArrayRef> {
    let (texts, patterns, escapes) = (args.text(0)?, args.text(1)?, args.text(2)?);
    let (mut out, mut compiled) = (StringBuilder::new(), None);
    for row in 0..args.rows() {
        if texts.is_null(row) || patterns.is_null(row) || escapes.is_null(row) {
            out.append_null();
            continue;
        }
        let pattern = marked_expression(patterns.value(row), escapes.value(row))?;
        let regex = cached(&mut compiled, &pattern, "")?;
        let found = regex.captures(texts.value(row));
        let found = found.and_then(|found| found.get(if regex.captures_len() > 1 { 1 } else { 0 }));
        out.append_option(found.map(|found| found.as_str()));
    }
    Ok(Arc::new(out.finish()))
}

/// `regexp_substr(string, pattern, start, N, flags, subexpr)`.
fn substring(args: &Args<'_>) -> Result<ArrayRef> {
    let mut out = StringBuilder::new();
    each_row(args, 4, Some("regexp_substr"), |row| {
        let Some((row, text, regex)) = row else {
            out.append_null();
            return Ok(());
        };
        let rest = from_character(text, number(args, 2, row, 1, "start")?);
        let nth = number(args, 3, row, 1, "n")?;
        let group = number(args, 5, row, 0, "subexpr")?;
        let found = rest.and_then(|(rest, _)| regex.captures_iter(rest).nth(nth - 1)?.get(group));
        out.append_option(found.map(|found| found.as_str()));
        Ok(())
    })?;
    Ok(Arc::new(out.finish()))
}
