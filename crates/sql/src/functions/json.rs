//! json and jsonb: operators and the functions that applications use most.

use super::lists::{as_text, elements, members};
use super::{Args, Function};
use crate::decode::Json;
use arrow::array::{Array, ArrayRef, AsArray, BooleanBuilder, StringBuilder};
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

/// How a part of a document is shown: as it is written, or as text.
type Show = fn(&str) -> Result<Option<String>>;

fn as_written(part: &str) -> Result<Option<String>> {
    Ok(Some(part.to_owned()))
}

/// The member of an object of that name.
fn member<'a>(document: &'a str, key: &str) -> Result<Option<&'a str>> {
    if !document.trim_start().starts_with('{') {
        return Ok(None);
    }
    let mut found = None;
    for (name, value) in members(document)? {
        if as_text(name)?.as_deref() == Some(key) {
            found = Some(value);
        }
    }
    Ok(found)
}

/// The item of an array at a place, from its end if that is negative.
fn item(document: &str, place: i64) -> Result<Option<&str>> {
    if !document.trim_start().starts_with('[') {
        return Ok(None);
    }
    let items = elements(document)?;
    let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let place = if place < 0 { place + count } else { place };
    Ok(usize::try_from(place).ok().and_then(|place| items.get(place).copied()))
}

/// Where the steps of a path lead.
pub(super) fn walk<'a>(document: &'a str, path: &[Option<&str>]) -> Result<Option<&'a str>> {
    let mut at = document.trim();
    for step in path {
        let Some(step) = step else { return Ok(None) };
        let next = match at.as_bytes().first() {
            Some(b'[') => match step.trim_start().parse() {
                Ok(place) => item(at, place)?,
                Err(_) => None,
            },
            _ => member(at, step)?,
        };
        match next {
            Some(next) => at = next,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

/// An operator of json or jsonb by its symbol.
pub(crate) fn json_operator(symbol: &str) -> Result<Function> {
    let kept = |types: &[SqlType]| {
        Ok(if types.first() == Some(&SqlType::Json) { SqlType::Json } else { SqlType::Jsonb })
    };
    let immutable = Volatility::Immutable;
    Ok(match symbol {
        "->" => Function::typed("json_get", immutable, kept, |args| get(args, as_written)).operator("->"),
        "->>" => Function::new("json_get_text", immutable, SqlType::Text, |args| get(args, as_text))
            .operator("->>"),
        "#>" => Function::typed("json_path", immutable, kept, |args| path(args, as_written)).operator("#>"),
        "#>>" => Function::new("json_path_text", immutable, SqlType::Text, |args| path(args, as_text))
            .operator("#>>"),
        "@>" => test("jsonb_contains", contains).operator("@>"),
        "<@" => test("jsonb_contained", |a, b| contains(b, a)).operator("<@"),
        "?" => keys("jsonb_exists", false).operator("?"),
        "?|" => keys("jsonb_exists_any", false).operator("?|"),
        "?&" => keys("jsonb_exists_all", true).operator("?&"),
        "||" => combine("jsonb_concat", concat).operator("||"),
        "-" => Function::new("jsonb_minus", immutable, SqlType::Jsonb, delete).operator("-"),
        "#-" => super::json_edit::delete_path(),
        other => {
            return Err(Error::new(
                SqlState::UNDEFINED_FUNCTION,
                format!("operator does not exist: jsonb {other}"),
            ));
        }
    })
}

/// A text for each document; NULL stays NULL.
fn each_text(args: &Args<'_>, value: impl Fn(usize, &str) -> Result<Option<String>>) -> Result<ArrayRef> {
    let documents = args.text(0)?;
    let mut out = StringBuilder::new();
    for row in 0..args.rows() {
        match documents.is_null(row) {
            true => out.append_null(),
            false => out.append_option(value(row, documents.value(row))?),
        }
    }
    Ok(Arc::new(out.finish()))
}

fn each(args: &Args<'_>, value: impl Fn(usize, Json) -> Result<Option<String>>) -> Result<ArrayRef> {
    each_text(args, |row, document| value(row, Json::parse(document)?))
}

fn get(args: &Args<'_>, show: Show) -> Result<ArrayRef> {
    let by_number = crate::bind::is_integer(args.ty(1));
    let of_jsonb = *args.ty(0) == SqlType::Jsonb;
    let keys = args.text(1)?;
    each_text(args, |row, document| {
        if keys.is_null(row) {
            return Ok(None);
        }
        let found = match by_number {
            // A jsonb that is no container is an array of one item.
            true if of_jsonb && !document.starts_with(['[', '{']) => {
                matches!(keys.value(row), "0" | "-1").then_some(document)
            }
            true => keys.value(row).parse().map_or(Ok(None), |place| item(document, place))?,
            false => member(document, keys.value(row))?,
        };
        found.map_or(Ok(None), show)
    })
}

fn path(args: &Args<'_>, show: Show) -> Result<ArrayRef> {
    let paths = args.cast(1, &SqlType::Array(Box::new(SqlType::Text)))?;
    let paths = paths.as_list::<i32>();
    each_text(args, |row, document| {
        if paths.is_null(row) {
            return Ok(None);
        }
        let steps = paths.value(row);
        let steps: Vec<Option<&str>> = steps.as_string::<i32>().iter().collect();
        walk(document, &steps)?.map_or(Ok(None), show)
    })
}

fn test(name: &str, check: fn(&Json, &Json) -> bool) -> Function {
    Function::new(name, Volatility::Immutable, SqlType::Bool, move |args| {
        let (left, right) = (args.text(0)?, args.text(1)?);
        let mut out = BooleanBuilder::new();
        for row in 0..args.rows() {
            match left.is_null(row) || right.is_null(row) {
                true => out.append_null(),
                false => {
                    out.append_value(check(&Json::parse(left.value(row))?, &Json::parse(right.value(row))?))
                }
            }
        }
        Ok(Arc::new(out.finish()))
    })
}

fn contains(whole: &Json, part: &Json) -> bool {
    match (whole, part) {
        (Json::Object(whole), Json::Object(part)) => {
            part.iter().all(|(key, value)| whole.get(key).is_some_and(|found| contains(found, value)))
        }
        (Json::Array(whole), Json::Array(part)) => {
            part.iter().all(|value| whole.iter().any(|found| contains(found, value)))
        }
        // An array contains a primitive that is one of its items.
        (Json::Array(whole), part) if part.is_scalar() => whole.iter().any(|found| equal(found, part)),
        (whole, part) => equal(whole, part),
    }
}

fn equal(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => {
            super::json_key::number_key(a) == super::json_key::number_key(b)
        }
        _ => a == b,
    }
}

fn keys(name: &str, all: bool) -> Function {
    Function::new(name, Volatility::Immutable, SqlType::Bool, move |args| {
        let documents = args.text(0)?;
        let wanted = match args.ty(1) {
            SqlType::Array(_) => args.array(1).clone(),
            _ => args.cast(1, &SqlType::Text)?,
        };
        let mut out = BooleanBuilder::new();
        for row in 0..args.rows() {
            if documents.is_null(row) || wanted.is_null(row) {
                out.append_null();
                continue;
            }
            let document = Json::parse(documents.value(row))?;
            let has = |key: &str| match &document {
                Json::Object(map) => map.contains_key(key),
                Json::Array(items) => items.iter().any(|item| item.as_str() == Some(key)),
                Json::String(text) => text == key,
                _ => false,
            };
            out.append_value(match wanted.as_list_opt::<i32>() {
                Some(list) => {
                    let items = list.value(row);
                    let mut items = items.as_string::<i32>().iter().flatten();
                    if all { items.all(has) } else { items.any(has) }
                }
                None => has(wanted.as_string::<i32>().value(row)),
            });
        }
        Ok(Arc::new(out.finish()))
    })
}

fn combine(name: &str, both: fn(Json, Json) -> Json) -> Function {
    Function::new(name, Volatility::Immutable, SqlType::Jsonb, move |args| {
        let right = args.text(1)?;
        each(args, |row, document| match right.is_null(row) {
            true => Ok(None),
            false => Ok(Some(both(document, Json::parse(right.value(row))?).written())),
        })
    })
}

fn concat(left: Json, right: Json) -> Json {
    let list = |value: Json| match value {
        Json::Array(items) => items,
        other => vec![other],
    };
    match (left, right) {
        (Json::Object(mut left), Json::Object(right)) => {
            left.extend(right);
            Json::Object(left)
        }
        (left, right) => Json::Array(list(left).into_iter().chain(list(right)).collect()),
    }
}

fn delete(args: &Args<'_>) -> Result<ArrayRef> {
    if matches!(args.ty(1), SqlType::Array(_)) {
        return delete_each(args);
    }
    let keys = args.text(1)?;
    let by_number = crate::bind::is_integer(args.ty(1));
    each(args, |row, mut document| {
        if keys.is_null(row) {
            return Ok(None);
        }
        let key = keys.value(row);
        check_container(&document)?;
        match &mut document {
            Json::Object(map) if !by_number => {
                map.shift_remove(key);
            }
            Json::Object(_) if by_number => {
                return Err(wrong("cannot delete from object using integer index"));
            }
            Json::Array(items) if by_number => {
                let index: i64 = key.parse().unwrap_or(0);
                let count = i64::try_from(items.len()).unwrap_or(0);
                let index = if index < 0 { index + count } else { index };
                if let Ok(index) = usize::try_from(index)
                    && index < items.len()
                {
                    items.remove(index);
                }
            }
            Json::Array(items) => items.retain(|item| item.as_str() != Some(key)),
            _ => {}
        }
        Ok(Some(document.written()))
    })
}

fn wrong(message: &str) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

/// 22023 for a document that has no parts to delete.
fn check_container(document: &Json) -> Result<()> {
    if document.is_scalar() { Err(wrong("cannot delete from scalar")) } else { Ok(()) }
}

/// `document - ARRAY[keys]`.
fn delete_each(args: &Args<'_>) -> Result<ArrayRef> {
    let lists = args.cast(1, &SqlType::Array(Box::new(SqlType::Text)))?;
    let lists = lists.as_list::<i32>();
    each(args, |row, mut document| {
        if lists.is_null(row) {
            return Ok(None);
        }
        let keys = lists.value(row);
        check_container(&document)?;
        for key in keys.as_string::<i32>().iter().flatten() {
            match &mut document {
                Json::Object(map) => drop(map.shift_remove(key)),
                Json::Array(items) => items.retain(|item| item.as_str() != Some(key)),
                _ => {}
            }
        }
        Ok(Some(document.written()))
    })
}

pub(super) fn functions() -> Vec<Function> {
    let immutable = Volatility::Immutable;
    let mut list = Vec::new();
    for prefix in ["json", "jsonb"] {
        list.push(Function::new(&format!("{prefix}_typeof"), immutable, SqlType::Text, |args| {
            each(args, |_, value| Ok(Some(kind(&value).to_owned())))
        }));
        list.push(Function::new(&format!("{prefix}_array_length"), immutable, SqlType::Int4, |args| {
            let counts = each(args, |_, value| match value {
                Json::Array(items) => Ok(Some(items.len().to_string())),
                Json::Object(_) => Err(wrong("cannot get array length of a non-array")),
                _ => Err(wrong("cannot get array length of a scalar")),
            })?;
            Ok(arrow::compute::cast(&counts, &SqlType::Int4.arrow_type())?)
        }));
        let ty = if prefix == "json" { SqlType::Json } else { SqlType::Jsonb };
        list.push(extract(&format!("{prefix}_extract_path"), ty, as_written));
        list.push(extract(&format!("{prefix}_extract_path_text"), SqlType::Text, as_text));
    }
    list
}

/// The value at a path whose steps are arguments.
fn extract(name: &str, ty: SqlType, show: Show) -> Function {
    Function::new(name, Volatility::Immutable, ty, move |args| {
        let steps = (1..args.count()).map(|index| args.text(index)).collect::<Result<Vec<_>>>()?;
        each_text(args, |row, document| {
            let path: Vec<Option<&str>> =
                steps.iter().map(|step| step.is_valid(row).then(|| step.value(row))).collect();
            walk(document, &path)?.map_or(Ok(None), show)
        })
    })
}

fn kind(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}
