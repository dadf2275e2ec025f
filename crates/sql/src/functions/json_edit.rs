//! Changed documents: jsonb_set, jsonb_insert, jsonb_strip_nulls, `#-`, jsonb_pretty, and values at a path.

use super::{Args, Function};
use crate::decode::{Json, put_string};
use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

pub(super) fn functions() -> Vec<Function> {
    let function = |name: &str, ty: SqlType, body: fn(&Args<'_>) -> Result<ArrayRef>| {
        Function::new(name, Volatility::Immutable, ty, body)
    };
    vec![
        function("jsonb_set", SqlType::Jsonb, |args| at_path(args, true, set)),
        function("jsonb_insert", SqlType::Jsonb, |args| at_path(args, false, insert)),
        function("jsonb_set_lax", SqlType::Jsonb, set_lax),
        function("jsonb_strip_nulls", SqlType::Jsonb, |args| {
            documents(args, |mut document| {
                strip_nulls(&mut document);
                document.written()
            })
        }),
        function("json_strip_nulls", SqlType::Json, |args| {
            documents(args, |mut document| {
                strip_nulls(&mut document);
                document.compact()
            })
        }),
        function("jsonb_pretty", SqlType::Text, |args| {
            documents(args, |document| {
                let mut out = String::new();
                pretty(&document, 0, &mut out);
                out
            })
        }),
        delete_path(),
    ]
}

/// `document #- path`.
pub(super) fn delete_path() -> Function {
    Function::new("jsonb_delete_path", Volatility::Immutable, SqlType::Jsonb, deleted).operator("#-")
}

fn deleted(args: &Args<'_>) -> Result<ArrayRef> {
    let (documents, paths) = (args.text(0)?, paths(args, 1)?);
    let mut out = StringBuilder::new();
    for (row, path) in paths.iter().enumerate() {
        match (documents.is_valid(row), path) {
            (true, Some(path)) => {
                let mut document = Json::parse(documents.value(row))?;
                check_container(&document, "delete")?;
                delete(&mut document, path)?;
                out.append_value(document.written());
            }
            _ => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

fn documents(args: &Args<'_>, change: fn(Json) -> String) -> Result<ArrayRef> {
    let texts = args.text(0)?;
    let changed = texts.iter().map(|text| text.map(|text| Json::parse(text).map(change)).transpose());
    Ok(Arc::new(changed.collect::<Result<StringArray>>()?))
}

/// What is done to a document at a path with a value and a flag.
type Change = fn(&mut Json, &[Option<String>], Json, bool) -> Result<()>;

/// Steps of which some may be NULL.
type Path = Vec<Option<String>>;

/// 22023 for a document that has no parts.
fn check_container(document: &Json, verb: &str) -> Result<()> {
    match document.is_scalar() {
        true => {
            let message = format!("cannot {verb} path in scalar");
            Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message))
        }
        false => Ok(()),
    }
}

fn paths(args: &Args<'_>, index: usize) -> Result<Vec<Option<Path>>> {
    let lists = args.cast(index, &SqlType::Array(Box::new(SqlType::Text)))?;
    let lists = lists.as_list::<i32>();
    let path = |list: ArrayRef| list.as_string::<i32>().iter().map(|step| step.map(str::to_owned)).collect();
    Ok(lists.iter().map(|list| list.map(path)).collect())
}

/// `f(document, path, value, flag)`; `default` is the flag's value where it is left out.
fn at_path(args: &Args<'_>, default: bool, change: Change) -> Result<ArrayRef> {
    let (texts, paths, values) = (args.text(0)?, paths(args, 1)?, args.text(2)?);
    let flags = if args.count() > 3 { Some(args.bool(3)?) } else { None };
    let mut out = StringBuilder::new();
    for (row, path) in paths.iter().enumerate() {
        let flag = match &flags {
            None => Some(default),
            Some(flags) => flags.is_valid(row).then(|| flags.value(row)),
        };
        match (path, flag) {
            (Some(path), Some(flag)) if texts.is_valid(row) && values.is_valid(row) => {
                let mut document = Json::parse(texts.value(row))?;
                check_container(&document, "set")?;
                change(&mut document, path, Json::parse(values.value(row))?, flag)?;
                out.append_value(document.written());
            }
            _ => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

/// `jsonb_set_lax(document, path, value, create, treatment)`: what a NULL value means is said.
fn set_lax(args: &Args<'_>) -> Result<ArrayRef> {
    let values = args.text(2)?;
    let treatments = if args.count() > 4 { Some(args.text(4)?) } else { None };
    let creates = if args.count() > 3 { Some(args.bool(3)?) } else { None };
    let written: ArrayRef =
        Arc::new(values.iter().map(|it| Some(it.unwrap_or("null"))).collect::<StringArray>());
    let with_null = |index: usize| if index == 2 { written.clone() } else { args.array(index).clone() };
    let arrays: Vec<ArrayRef> = (0..args.count().min(4)).map(with_null).collect();
    let with_null = Args { arrays: &arrays, types: args.types, rows: args.rows() };
    let mut out = StringBuilder::new();
    for row in 0..args.rows() {
        let one = |args: &Args<'_>| -> Vec<ArrayRef> {
            (0..args.count()).map(|index| args.array(index).slice(row, 1)).collect()
        };
        let is_null = args.array(0).is_null(row)
            || args.array(1).is_null(row)
            || creates.as_ref().is_some_and(|creates| creates.is_null(row));
        if is_null {
            out.append_null();
            continue;
        }
        let treatment = match &treatments {
            None => "use_json_null",
            Some(treatments) if treatments.is_valid(row) => treatments.value(row),
            Some(_) => return Err(no_treatment()),
        };
        let (own, set) = (one(args), one(&with_null));
        let arguments = |arrays| Args { arrays, types: args.types, rows: 1 };
        let changed = match treatment {
            _ if values.is_valid(row) => at_path(&arguments(&set), true, self::set)?,
            "use_json_null" => at_path(&arguments(&set), true, self::set)?,
            "raise_exception" => {
                let error = Error::new(SqlState::NULL_VALUE_NOT_ALLOWED, "JSON value must not be null");
                return Err(error);
            }
            "delete_key" => deleted(&arguments(&own))?,
            "return_target" => Arc::new(arguments(&own).text(0)?),
            _ => return Err(no_treatment()),
        };
        let changed = changed.as_string::<i32>();
        out.append_option(changed.is_valid(0).then(|| changed.value(0)));
    }
    Ok(Arc::new(out.finish()))
}

fn no_treatment() -> Error {
    let message = "null_value_treatment must be \"delete_key\", \"return_target\", \"use_json_null\", or \"raise_exception\"";
    Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

fn position(step: &str, length: usize, at: usize) -> Result<i64> {
    let index: i64 = step.parse().map_err(|_| {
        let message = format!("path element at position {at} is not an integer: \"{step}\"");
        Error::new(SqlState::INVALID_TEXT_REPRESENTATION, message)
    })?;
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    Ok(if index < 0 { index + length } else { index })
}

fn set(document: &mut Json, path: &[Option<String>], value: Json, create: bool) -> Result<()> {
    descend(document, path, 1, &mut |container, step, at| match container {
        Json::Object(map) => {
            if create || map.contains_key(step) {
                map.insert(step.to_owned(), value.clone());
            }
            Ok(())
        }
        Json::Array(items) => {
            let index = position(step, items.len(), at)?;
            match usize::try_from(index).ok() {
                Some(index) if index < items.len() => items[index] = value.clone(),
                Some(_) if create => items.push(value.clone()),
                None if create => items.insert(0, value.clone()),
                _ => {}
            }
            Ok(())
        }
        _ => Ok(()),
    })
}

fn insert(document: &mut Json, path: &[Option<String>], value: Json, after: bool) -> Result<()> {
    descend(document, path, 1, &mut |container, step, at| match container {
        Json::Object(map) if map.contains_key(step) => {
            Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, "cannot replace existing key")
                .with_hint("Try using the function jsonb_set to replace key value."))
        }
        Json::Object(map) => {
            map.insert(step.to_owned(), value.clone());
            Ok(())
        }
        Json::Array(items) => {
            let index = position(step, items.len(), at)? + i64::from(after);
            let index = usize::try_from(index.max(0)).unwrap_or(0).min(items.len());
            items.insert(index, value.clone());
            Ok(())
        }
        _ => Ok(()),
    })
}

/// Calls `change` with the container that the last step of a path names something in, if it is there.
fn descend(
    at: &mut Json,
    path: &[Option<String>],
    depth: usize,
    change: &mut dyn FnMut(&mut Json, &str, usize) -> Result<()>,
) -> Result<()> {
    match path {
        [] => Ok(()),
        [None, ..] => {
            let message = format!("path element at position {depth} is null");
            Err(Error::new(SqlState::NULL_VALUE_NOT_ALLOWED, message))
        }
        [Some(last)] => change(at, last, depth),
        [Some(first), rest @ ..] => {
            let next = match at {
                Json::Object(map) => map.get_mut(first),
                Json::Array(items) => {
                    let index = position(first, items.len(), depth)?;
                    usize::try_from(index).ok().and_then(|index| items.get_mut(index))
                }
                _ => None,
            };
            next.map_or(Ok(()), |next| descend(next, rest, depth + 1, change))
        }
    }
}

fn delete(document: &mut Json, path: &[Option<String>]) -> Result<()> {
    descend(document, path, 1, &mut |container, step, at| {
        match container {
            Json::Object(map) => {
                map.shift_remove(step);
            }
            Json::Array(items) => {
                let index = position(step, items.len(), at)?;
                if let Some(index) = usize::try_from(index).ok().filter(|index| *index < items.len()) {
                    items.remove(index);
                }
            }
            _ => {}
        }
        Ok(())
    })
}

fn strip_nulls(value: &mut Json) {
    match value {
        Json::Object(map) => {
            map.retain(|_, value| *value != Json::Null);
            map.values_mut().for_each(strip_nulls);
        }
        Json::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

fn pretty(value: &Json, depth: usize, out: &mut String) {
    let indent = |depth: usize| "    ".repeat(depth);
    match value {
        Json::Array(items) if !items.is_empty() => {
            out.push_str("[\n");
            for (index, item) in items.iter().enumerate() {
                out.push_str(&indent(depth + 1));
                pretty(item, depth + 1, out);
                out.push_str(if index + 1 < items.len() { ",\n" } else { "\n" });
            }
            out.push_str(&indent(depth));
            out.push(']');
        }
        Json::Object(map) if !map.is_empty() => {
            out.push_str("{\n");
            for (index, (key, value)) in Json::sorted(map).into_iter().enumerate() {
                out.push_str(&indent(depth + 1));
                put_string(key, out);
                out.push_str(": ");
                pretty(value, depth + 1, out);
                out.push_str(if index + 1 < map.len() { ",\n" } else { "\n" });
            }
            out.push_str(&indent(depth));
            out.push('}');
        }
        Json::Array(_) => out.push_str(&format!("[\n{}]", indent(depth))),
        Json::Object(_) => out.push_str(&format!("{{\n{}}}", indent(depth))),
        scalar => scalar.write_scalar(out),
    }
}
