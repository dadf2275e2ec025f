//! Changed documents: jsonb_set, jsonb_insert, jsonb_strip_nulls, `#-`, jsonb_pretty, and values at a path.

use super::json::{parse, written};
use super::{Args, Function};
use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use serde_json::Value;
use std::sync::Arc;

pub(super) fn functions() -> Vec<Function> {
    let function = |name: &str, ty: SqlType, body: fn(&Args<'_>) -> Result<ArrayRef>| {
        Function::new(name, Volatility::Immutable, ty, body)
    };
    vec![
        function("jsonb_set", SqlType::Jsonb, |args| at_path(args, true, set)),
        function("jsonb_insert", SqlType::Jsonb, |args| at_path(args, false, insert)),
        function("jsonb_strip_nulls", SqlType::Jsonb, |args| {
            documents(args, |mut document| {
                strip_nulls(&mut document);
                written(&document)
            })
        }),
        function("json_strip_nulls", SqlType::Json, |args| {
            documents(args, |mut document| {
                strip_nulls(&mut document);
                document.to_string()
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
        extract("json_extract_path", SqlType::Json),
        extract("jsonb_extract_path", SqlType::Jsonb),
    ]
}

/// `document #- path`.
pub(super) fn delete_path() -> Function {
    Function::new("jsonb_delete_path", Volatility::Immutable, SqlType::Jsonb, |args| {
        let (documents, paths) = (args.text(0)?, paths(args, 1)?);
        let mut out = StringBuilder::new();
        for (row, path) in paths.iter().enumerate() {
            match (documents.is_valid(row), path) {
                (true, Some(path)) => {
                    let mut document = parse(documents.value(row))?;
                    delete(&mut document, path);
                    out.append_value(written(&document));
                }
                _ => out.append_null(),
            }
        }
        Ok(Arc::new(out.finish()))
    })
    .operator("#-")
}

fn documents(args: &Args<'_>, change: fn(Value) -> String) -> Result<ArrayRef> {
    let texts = args.text(0)?;
    let changed = texts.iter().map(|text| text.map(|text| parse(text).map(change)).transpose());
    Ok(Arc::new(changed.collect::<Result<StringArray>>()?))
}

type Path = Vec<String>;

fn paths(args: &Args<'_>, index: usize) -> Result<Vec<Option<Path>>> {
    let lists = args.cast(index, &SqlType::Array(Box::new(SqlType::Text)))?;
    let lists = lists.as_list::<i32>();
    let path = |list: ArrayRef| list.as_string::<i32>().iter().flatten().map(str::to_owned).collect();
    Ok(lists.iter().map(|list| list.map(path)).collect())
}

/// `f(document, path, value, flag)`; `default` is the flag's value where it is left out.
fn at_path(
    args: &Args<'_>,
    default: bool,
    change: fn(&mut Value, &[String], Value, bool) -> Result<()>,
) -> Result<ArrayRef> {
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
                let mut document = parse(texts.value(row))?;
                change(&mut document, path, parse(values.value(row))?, flag)?;
                out.append_value(written(&document));
            }
            _ => out.append_null(),
        }
    }
    Ok(Arc::new(out.finish()))
}

fn position(step: &str, length: usize, at: usize) -> Result<i64> {
    let index: i64 = step.parse().map_err(|_| {
        let message = format!("path element at position {at} is not an integer: \"{step}\"");
        Error::new(SqlState::INVALID_TEXT_REPRESENTATION, message)
    })?;
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    Ok(if index < 0 { index + length } else { index })
}

fn set(document: &mut Value, path: &[String], value: Value, create: bool) -> Result<()> {
    descend(document, path, 1, &mut |container, step, at| match container {
        Value::Object(map) => {
            if create || map.contains_key(step) {
                map.insert(step.to_owned(), value.clone());
            }
            Ok(())
        }
        Value::Array(items) => {
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

fn insert(document: &mut Value, path: &[String], value: Value, after: bool) -> Result<()> {
    descend(document, path, 1, &mut |container, step, at| match container {
        Value::Object(map) if map.contains_key(step) => {
            Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, "cannot replace existing key")
                .with_hint("Try using the function jsonb_set to replace key value."))
        }
        Value::Object(map) => {
            map.insert(step.to_owned(), value.clone());
            Ok(())
        }
        Value::Array(items) => {
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
    at: &mut Value,
    path: &[String],
    depth: usize,
    change: &mut dyn FnMut(&mut Value, &str, usize) -> Result<()>,
) -> Result<()> {
    match path {
        [] => Ok(()),
        [last] => change(at, last, depth),
        [first, rest @ ..] => {
            let next = match at {
                Value::Object(map) => map.get_mut(first),
                Value::Array(items) => {
                    let index = position(first, items.len(), depth)?;
                    usize::try_from(index).ok().and_then(|index| items.get_mut(index))
                }
                _ => None,
            };
            next.map_or(Ok(()), |next| descend(next, rest, depth + 1, change))
        }
    }
}

fn delete(document: &mut Value, path: &[String]) {
    // A step that is no number in an array leads nowhere.
    let _ = descend(document, path, 1, &mut |container, step, at| {
        match container {
            Value::Object(map) => {
                map.remove(step);
            }
            Value::Array(items) => {
                let index = position(step, items.len(), at)?;
                if let Some(index) = usize::try_from(index).ok().filter(|index| *index < items.len()) {
                    items.remove(index);
                }
            }
            _ => {}
        }
        Ok(())
    });
}

fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

fn pretty(value: &Value, depth: usize, out: &mut String) {
    let indent = |depth: usize| "    ".repeat(depth);
    match value {
        Value::Array(items) if !items.is_empty() => {
            out.push_str("[\n");
            for (index, item) in items.iter().enumerate() {
                out.push_str(&indent(depth + 1));
                pretty(item, depth + 1, out);
                out.push_str(if index + 1 < items.len() { ",\n" } else { "\n" });
            }
            out.push_str(&indent(depth));
            out.push(']');
        }
        Value::Object(map) if !map.is_empty() => {
            out.push_str("{\n");
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
            for (index, key) in keys.iter().enumerate() {
                out.push_str(&indent(depth + 1));
                out.push_str(&Value::String((*key).clone()).to_string());
                out.push_str(": ");
                pretty(&map[*key], depth + 1, out);
                out.push_str(if index + 1 < keys.len() { ",\n" } else { "\n" });
            }
            out.push_str(&indent(depth));
            out.push('}');
        }
        Value::Array(_) => out.push_str("[\n]"),
        Value::Object(_) => out.push_str("{\n}"),
        other => out.push_str(&other.to_string()),
    }
}

fn extract(name: &str, ty: SqlType) -> Function {
    Function::new(name, Volatility::Immutable, ty, |args| {
        let texts = args.text(0)?;
        let steps = (1..args.count()).map(|index| args.text(index)).collect::<Result<Vec<_>>>()?;
        let mut out = StringBuilder::new();
        for row in 0..args.rows() {
            if texts.is_null(row) || steps.iter().any(|step| step.is_null(row)) {
                out.append_null();
                continue;
            }
            let document = parse(texts.value(row))?;
            let found = steps
                .iter()
                .try_fold(&document, |at, step| super::json::member(at, step.value(row), at.is_array()));
            out.append_option(found.map(written));
        }
        Ok(Arc::new(out.finish()))
    })
}
