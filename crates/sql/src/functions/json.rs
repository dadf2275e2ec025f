//! json and jsonb: operators and the functions that applications use most.

use super::{Args, Function};
use arrow::array::{Array, ArrayRef, AsArray, BooleanBuilder, StringBuilder};
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use serde_json::Value;
use std::sync::Arc;

/// A document read; 22P02 if it is none.
pub(super) fn parse(text: &str) -> Result<Value> {
    serde_json::from_str(text)
        .map_err(|_| Error::new(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type json"))
}

/// jsonb's output form: a space after colons and commas.
pub(crate) fn write(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            // By length, then by bytes: jsonb's order of keys.
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
            for (index, key) in keys.into_iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                out.push_str(&Value::String(key.clone()).to_string());
                out.push_str(": ");
                write(&map[key], out);
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

/// A value as jsonb writes it.
pub(super) fn written(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(written(other)),
    }
}

/// The member of an object, or the item of an array.
pub(super) fn member<'a>(value: &'a Value, key: &str, by_number: bool) -> Option<&'a Value> {
    match value {
        Value::Object(map) if !by_number => map.get(key),
        Value::Array(items) => {
            let index: i64 = key.parse().ok()?;
            let count = i64::try_from(items.len()).ok()?;
            items.get(usize::try_from(if index < 0 { index + count } else { index }).ok()?)
        }
        _ => None,
    }
}

/// An operator of json or jsonb by its symbol.
pub(crate) fn json_operator(symbol: &str) -> Result<Function> {
    let kept = |types: &[SqlType]| {
        Ok(if types.first() == Some(&SqlType::Json) { SqlType::Json } else { SqlType::Jsonb })
    };
    let immutable = Volatility::Immutable;
    Ok(match symbol {
        "->" => Function::typed("json_get", immutable, kept, |args| get(args, |value| Some(written(value))))
            .operator("->"),
        "->>" => Function::new("json_get_text", immutable, SqlType::Text, |args| get(args, as_text))
            .operator("->>"),
        "#>" => {
            Function::typed("json_path", immutable, kept, |args| path(args, |value| Some(written(value))))
                .operator("#>")
        }
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

fn each(args: &Args<'_>, value: impl Fn(usize, Value) -> Result<Option<String>>) -> Result<ArrayRef> {
    let documents = args.text(0)?;
    let mut out = StringBuilder::new();
    for row in 0..args.rows() {
        match documents.is_null(row) {
            true => out.append_null(),
            false => out.append_option(value(row, parse(documents.value(row))?)?),
        }
    }
    Ok(Arc::new(out.finish()))
}

fn get(args: &Args<'_>, show: fn(&Value) -> Option<String>) -> Result<ArrayRef> {
    let keys = args.text(1)?;
    let by_number = crate::bind::is_integer(args.ty(1));
    each(args, |row, document| {
        if keys.is_null(row) || (!by_number && document.is_array()) {
            return Ok(None);
        }
        Ok(member(&document, keys.value(row), by_number).and_then(show))
    })
}

fn path(args: &Args<'_>, show: fn(&Value) -> Option<String>) -> Result<ArrayRef> {
    let paths = args.cast(1, &SqlType::Array(Box::new(SqlType::Text)))?;
    let paths = paths.as_list::<i32>();
    each(args, |row, document| {
        if paths.is_null(row) {
            return Ok(None);
        }
        let steps = paths.value(row);
        let steps = steps.as_string::<i32>();
        let mut at = Some(&document);
        for step in steps {
            at = match (at, step) {
                (Some(value), Some(step)) => member(value, step, value.is_array()),
                _ => None,
            };
        }
        Ok(at.and_then(show))
    })
}

fn test(name: &str, check: fn(&Value, &Value) -> bool) -> Function {
    Function::new(name, Volatility::Immutable, SqlType::Bool, move |args| {
        let (left, right) = (args.text(0)?, args.text(1)?);
        let mut out = BooleanBuilder::new();
        for row in 0..args.rows() {
            match left.is_null(row) || right.is_null(row) {
                true => out.append_null(),
                false => out.append_value(check(&parse(left.value(row))?, &parse(right.value(row))?)),
            }
        }
        Ok(Arc::new(out.finish()))
    })
}

fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(key, value)| whole.get(key).is_some_and(|found| contains(found, value)))
        }
        (Value::Array(whole), Value::Array(part)) => {
            part.iter().all(|value| whole.iter().any(|found| contains(found, value)))
        }
        // An array contains a primitive that is one of its items.
        (Value::Array(whole), part) if !part.is_object() => whole.contains(part),
        (whole, part) => equal(whole, part),
    }
}

fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
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
            let document = parse(documents.value(row))?;
            let has = |key: &str| match &document {
                Value::Object(map) => map.contains_key(key),
                Value::Array(items) => items.iter().any(|item| item.as_str() == Some(key)),
                Value::String(text) => text == key,
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

fn combine(name: &str, both: fn(Value, Value) -> Value) -> Function {
    Function::new(name, Volatility::Immutable, SqlType::Jsonb, move |args| {
        let right = args.text(1)?;
        each(args, |row, document| match right.is_null(row) {
            true => Ok(None),
            false => Ok(Some(written(&both(document, parse(right.value(row))?)))),
        })
    })
}

fn concat(left: Value, right: Value) -> Value {
    let list = |value: Value| match value {
        Value::Array(items) => items,
        other => vec![other],
    };
    match (left, right) {
        (Value::Object(mut left), Value::Object(right)) => {
            left.extend(right);
            Value::Object(left)
        }
        (left, right) => Value::Array(list(left).into_iter().chain(list(right)).collect()),
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
        match &mut document {
            Value::Object(map) if !by_number => {
                map.remove(key);
            }
            Value::Array(items) if by_number => {
                let index: i64 = key.parse().unwrap_or(0);
                let count = i64::try_from(items.len()).unwrap_or(0);
                let index = if index < 0 { index + count } else { index };
                if let Ok(index) = usize::try_from(index)
                    && index < items.len()
                {
                    items.remove(index);
                }
            }
            Value::Array(items) => items.retain(|item| item.as_str() != Some(key)),
            _ => {}
        }
        Ok(Some(written(&document)))
    })
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
        for key in keys.as_string::<i32>().iter().flatten() {
            match &mut document {
                Value::Object(map) => drop(map.remove(key)),
                Value::Array(items) => items.retain(|item| item.as_str() != Some(key)),
                _ => {}
            }
        }
        Ok(Some(written(&document)))
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
            let counts = each(args, |_, value| match value.as_array() {
                Some(items) => Ok(Some(items.len().to_string())),
                None => Err(Error::new(
                    SqlState::INVALID_PARAMETER_VALUE,
                    "cannot get array length of a non-array",
                )),
            })?;
            Ok(arrow::compute::cast(&counts, &SqlType::Int4.arrow_type())?)
        }));
        list.push(Function::new(&format!("{prefix}_extract_path_text"), immutable, SqlType::Text, |args| {
            let steps = (1..args.count()).map(|index| args.text(index)).collect::<Result<Vec<_>>>()?;
            each(args, |row, document| {
                let mut at = Some(&document);
                for step in &steps {
                    at = at.and_then(|value| {
                        step.is_valid(row).then(|| member(value, step.value(row), value.is_array())).flatten()
                    });
                }
                Ok(at.and_then(as_text))
            })
        }));
    }
    list
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
