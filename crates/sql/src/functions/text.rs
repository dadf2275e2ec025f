//! Strings: PostgreSQL's names and rules where DataFusion's differ.

use super::session::FunctionContext;
use super::{Args, Function};
use crate::bind::to_text_array;
use arrow::array::{Array, ArrayRef, Int32Array, ListBuilder, StringArray, StringBuilder};
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

fn rows(args: &Args<'_>, index: usize, value: impl Fn(&str) -> Result<Option<String>>) -> Result<ArrayRef> {
    let texts = args.text(index)?;
    let mut out = StringBuilder::new();
    for text in &texts {
        match text {
            Some(text) => out.append_option(value(text)?),
            None => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

fn simple(name: &str, value: fn(&str) -> String) -> Function {
    Function::new(name, Volatility::Immutable, SqlType::Text, move |args| {
        rows(args, 0, |text| Ok(Some(value(text))))
    })
}

/// An identifier, quoted if it has to be.
pub(crate) fn quote_ident(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// Each character becomes one character, as the C library maps them: what would become several stays as it is.
fn upper(text: &str) -> String {
    let one = |c: char| {
        let mut mapped = c.to_uppercase();
        match (mapped.next(), mapped.next()) {
            (Some(only), None) => only,
            _ => match c {
                // Greek letters with an iota below, whose capitals have it beside.
                '\u{1f80}'..='\u{1faf}' => char::from_u32(u32::from(c) | 8).unwrap_or(c),
                '\u{1fb3}' => '\u{1fbc}',
                '\u{1fc3}' => '\u{1fcc}',
                '\u{1ff3}' => '\u{1ffc}',
                _ => c,
            },
        }
    };
    text.chars().map(one).collect()
}

/// The same downwards; the capital dotted I loses its dot to the small one.
fn lower(text: &str) -> String {
    text.chars().map(|c| c.to_lowercase().next().unwrap_or(c)).collect()
}

pub(super) fn functions(context: &Arc<FunctionContext>) -> Vec<Function> {
    let (concat_style, ws_style, format_style) =
        (context.style.clone(), context.style.clone(), context.style.clone());
    vec![
        simple("quote_ident", quote_ident),
        simple("upper", upper),
        simple("lower", lower),
        simple("quote_literal", quote_literal),
        Function::new("quote_nullable", Volatility::Immutable, SqlType::Text, |args| {
            let texts = args.text(0)?;
            let quoted = texts.iter().map(|text| Some(text.map_or_else(|| "NULL".to_owned(), quote_literal)));
            Ok(Arc::new(quoted.collect::<StringArray>()))
        }),
        Function::new("concat", Volatility::Stable, SqlType::Text, move |args| {
            let texts = texts(args, 0, &concat_style)?;
            Ok(join(args.rows(), &texts, |_| Some("")))
        }),
        Function::new("concat_ws", Volatility::Stable, SqlType::Text, move |args| {
            let separators = args.text(0)?;
            let texts = texts(args, 1, &ws_style)?;
            Ok(join(args.rows(), &texts, |row| separators.is_valid(row).then(|| separators.value(row))))
        }),
        Function::new("format", Volatility::Stable, SqlType::Text, move |args| {
            let formats = args.text(0)?;
            let texts = texts(args, 1, &format_style)?;
            let mut out = StringBuilder::new();
            for row in 0..args.rows() {
                if formats.is_null(row) {
                    out.append_null();
                    continue;
                }
                let values: Vec<Option<&str>> =
                    texts.iter().map(|text| text.is_valid(row).then(|| text.value(row))).collect();
                out.append_value(format(formats.value(row), &values)?);
            }
            Ok(Arc::new(out.finish()))
        }),
        Function::new(
            "string_to_array",
            Volatility::Immutable,
            SqlType::Array(Box::new(SqlType::Text)),
            split,
        ),
        Function::new("overlay", Volatility::Immutable, SqlType::Text, overlay),
        Function::new("array_to_string", Volatility::Stable, SqlType::Text, array_to_string),
        Function::new("pg_size_pretty", Volatility::Immutable, SqlType::Text, |args| {
            let sizes = args.int8(0)?;
            let texts = sizes.iter().map(|size| size.map(size_pretty));
            Ok(Arc::new(texts.collect::<StringArray>()))
        }),
        length("length", |text| text.chars().count()),
        length("char_length", |text| text.chars().count()),
        length("character_length", |text| text.chars().count()),
        length("octet_length", str::len),
        length("bit_length", |text| text.len() * 8),
    ]
}

fn length(name: &str, count: fn(&str) -> usize) -> Function {
    let in_bits = name == "bit_length";
    Function::new(name, Volatility::Immutable, SqlType::Int4, move |args| {
        if *args.ty(0) == SqlType::Bytea {
            let bytes = match in_bits {
                true => arrow::compute::kernels::length::bit_length(args.array(0))?,
                false => arrow::compute::kernels::length::length(args.array(0))?,
            };
            return Ok(arrow::compute::cast(&bytes, &SqlType::Int4.arrow_type())?);
        }
        let texts = args.text(0)?;
        let counts = texts.iter().map(|text| text.map(|text| i32::try_from(count(text)).unwrap_or(i32::MAX)));
        Ok(Arc::new(counts.collect::<Int32Array>()))
    })
}

fn texts(args: &Args<'_>, from: usize, style: &crate::bind::CastStyle) -> Result<Vec<StringArray>> {
    let one = |index: usize| match args.ty(index) {
        // By the output function, where a cast to text says true and false.
        SqlType::Bool => {
            let values = args.bool(index)?;
            Ok(values.iter().map(|value| value.map(|value| if value { "t" } else { "f" })).collect())
        }
        ty => to_text_array(args.array(index), ty, style),
    };
    (from..args.count()).map(one).collect()
}

/// NULLs are left out; a NULL separator gives NULL.
fn join<'a>(rows: usize, texts: &[StringArray], separator: impl Fn(usize) -> Option<&'a str>) -> ArrayRef {
    let mut out = StringBuilder::new();
    for row in 0..rows {
        let Some(separator) = separator(row) else {
            out.append_null();
            continue;
        };
        let parts: Vec<&str> =
            texts.iter().filter(|text| text.is_valid(row)).map(|text| text.value(row)).collect();
        out.append_value(parts.join(separator));
    }
    Arc::new(out.finish())
}

/// `%s`, `%I`, `%L`, `%%`, with `n$` positions.
fn format(text: &str, values: &[Option<&str>]) -> Result<String> {
    let invalid = |message: String| Error::new(SqlState::INVALID_PARAMETER_VALUE, message);
    let mut out = String::with_capacity(text.len());
    let mut next = 0;
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if digits > 0 && rest[digits..].starts_with('$') {
            next = rest[..digits].parse::<usize>().unwrap_or(1).saturating_sub(1);
            rest = &rest[digits + 1..];
        }
        let flush_left = rest.starts_with('-');
        rest = rest.trim_start_matches('-');
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let width = rest[..digits].parse::<usize>().unwrap_or(0);
        if width > 1_000_000 {
            return Err(invalid("number is out of range".to_owned()));
        }
        rest = &rest[digits..];
        let kind =
            rest.chars().next().ok_or_else(|| invalid("unterminated format() type specifier".to_owned()))?;
        rest = &rest[kind.len_utf8()..];
        let value = values.get(next).ok_or_else(|| invalid("too few arguments for format()".to_owned()))?;
        next += 1;
        let shown =
            match kind {
                's' => value.unwrap_or_default().to_owned(),
                'I' => quote_ident(value.ok_or_else(|| {
                    invalid("null values cannot be formatted as an SQL identifier".to_owned())
                })?),
                'L' => value.map_or_else(|| "NULL".to_owned(), quote_literal),
                other => {
                    return Err(invalid(format!("unrecognized format() type specifier \"{other}\"")));
                }
            };
        out.push_str(&if flush_left { format!("{shown:<width$}") } else { format!("{shown:>width$}") });
    }
    out.push_str(rest);
    Ok(out)
}

fn split(args: &Args<'_>) -> Result<ArrayRef> {
    let (texts, separators) = (args.text(0)?, args.text(1)?);
    let nulls = if args.count() > 2 { Some(args.text(2)?) } else { None };
    let mut out =
        ListBuilder::new(StringBuilder::new()).with_field(Arc::new(SqlType::Text.field("item", true)));
    for row in 0..args.rows() {
        if texts.is_null(row) {
            out.append(false);
            continue;
        }
        let null = nulls.as_ref().filter(|nulls| nulls.is_valid(row)).map(|nulls| nulls.value(row));
        let text = texts.value(row);
        let mut push = |part: &str| match null == Some(part) {
            true => out.values().append_null(),
            false => out.values().append_value(part),
        };
        if text.is_empty() {
            // No parts, not one that is empty.
        } else if separators.is_null(row) {
            text.chars().for_each(|c| push(c.encode_utf8(&mut [0; 4])));
        } else if separators.value(row).is_empty() {
            push(text);
        } else {
            text.split(separators.value(row)).for_each(push);
        }
        out.append(true);
    }
    Ok(Arc::new(out.finish()))
}

fn array_to_string(args: &Args<'_>) -> Result<ArrayRef> {
    let item = match args.ty(0) {
        SqlType::Array(item) => (**item).clone(),
        SqlType::Int2Vector => SqlType::Int2,
        SqlType::OidVector => SqlType::Oid,
        _ => SqlType::Text,
    };
    let array = match args.ty(0) {
        SqlType::Unknown => args.cast(0, &SqlType::Array(Box::new(SqlType::Text)))?,
        _ => args.array(0).clone(),
    };
    let Some(list) = array.as_any().downcast_ref::<arrow::array::ListArray>() else {
        return Ok(arrow::array::new_null_array(&arrow::datatypes::DataType::Utf8, args.rows()));
    };
    let separators = args.text(1)?;
    let nulls = if args.count() > 2 { Some(args.text(2)?) } else { None };
    let items = to_text_array(list.values(), &item, &crate::bind::CastStyle::utc())?;
    let mut out = StringBuilder::new();
    for row in 0..args.rows() {
        if list.is_null(row) || separators.is_null(row) {
            out.append_null();
            continue;
        }
        let null = nulls.as_ref().filter(|nulls| nulls.is_valid(row)).map(|nulls| nulls.value(row));
        let range = list.value_offsets()[row]..list.value_offsets()[row + 1];
        let parts: Vec<&str> = range
            .filter_map(|index| usize::try_from(index).ok())
            .filter_map(|index| if items.is_null(index) { null } else { Some(items.value(index)) })
            .collect();
        out.append_value(parts.join(separators.value(row)));
    }
    Ok(Arc::new(out.finish()))
}

/// The characters from a place on, as many as the new text has or as is said, replaced.
fn overlay(args: &Args<'_>) -> Result<ArrayRef> {
    let (texts, news, starts) = (args.text(0)?, args.text(1)?, args.int8(2)?);
    let counts = if args.count() > 3 { Some(args.int8(3)?) } else { None };
    let replaced = (0..args.rows()).map(|row| {
        let is_null = counts.as_ref().is_some_and(|counts| counts.is_null(row));
        if texts.is_null(row) || news.is_null(row) || starts.is_null(row) || is_null {
            return Ok(None);
        }
        let (text, new, start) = (texts.value(row), news.value(row), starts.value(row));
        if start <= 0 {
            return Err(Error::new(SqlState::SUBSTRING_ERROR, "negative substring length not allowed"));
        }
        let own = || i64::try_from(new.chars().count()).unwrap_or(i64::MAX);
        let count = counts.as_ref().map_or_else(own, |counts| counts.value(row));
        let end = i32::try_from(start.saturating_add(count))
            .map_err(|_| Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "integer out of range"))?;
        let place = |at: i64| {
            let at = usize::try_from(at - 1).unwrap_or(0);
            text.char_indices().nth(at).map_or(text.len(), |(byte, _)| byte)
        };
        Ok(Some([&text[..place(start)], new, &text[place(end.into())..]].concat()))
    });
    Ok(Arc::new(replaced.collect::<Result<StringArray>>()?))
}

fn size_pretty(bytes: i64) -> String {
    let mut value = bytes;
    for (unit, next) in [("bytes", "kB"), ("kB", "MB"), ("MB", "GB"), ("GB", "TB"), ("TB", "PB")] {
        let limit = if unit == "bytes" { 10 * 1024 } else { 20 * 1024 - 1 };
        if value.abs() < limit || next == "PB" {
            let shown = if unit == "bytes" { value } else { (value + value.signum()) / 2 };
            return format!("{shown} {unit}");
        }
        // One bit more than shown is kept, to round by it.
        value = if unit == "bytes" { value >> 9 } else { value >> 10 };
    }
    format!("{value} bytes")
}
