//! json and jsonb: operators and the functions that applications use most.

use super::{Args, Function};
use crate::bind::to_text_array;
use arrow::array::{Array, ArrayRef, AsArray, BooleanBuilder, ListBuilder, StringArray, StringBuilder};
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use serde_json::{Map, Value};
use std::sync::Arc;

fn parse(text: &str) -> Result<Value> {
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

fn written(value: &Value) -> String {
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

fn member<'a>(value: &'a Value, key: &str, by_number: bool) -> Option<&'a Value> {
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
        "-" => Function::new("jsonb_delete", immutable, SqlType::Jsonb, delete).operator("-"),
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

/// Any value as JSON: to_jsonb.
fn to_json(args: &Args<'_>, index: usize) -> Result<Vec<Value>> {
    let ty = args.ty(index);
    let array = args.array(index);
    values_of(array, ty)
}

fn values_of(array: &ArrayRef, ty: &SqlType) -> Result<Vec<Value>> {
    if let (SqlType::Array(item), Some(list)) = (ty, array.as_list_opt::<i32>()) {
        let items = values_of(list.values(), item)?;
        return Ok((0..list.len())
            .map(|row| match list.is_null(row) {
                true => Value::Null,
                false => {
                    let range = list.value_offsets()[row] as usize..list.value_offsets()[row + 1] as usize;
                    Value::Array(items[range].to_vec())
                }
            })
            .collect());
    }
    let texts = to_text_array(array, ty, &crate::bind::CastStyle::utc())?;
    texts
        .iter()
        .map(|text| {
            let Some(text) = text else { return Ok(Value::Null) };
            Ok(match ty {
                SqlType::Bool => Value::Bool(text == "true"),
                SqlType::Json | SqlType::Jsonb => parse(text)?,
                SqlType::Int2
                | SqlType::Int4
                | SqlType::Int8
                | SqlType::Float4
                | SqlType::Float8
                | SqlType::Numeric(_) => parse(text).unwrap_or_else(|_| Value::String(text.to_owned())),
                _ => Value::String(text.to_owned()),
            })
        })
        .collect()
}

fn texts_of(values: impl Iterator<Item = Value>) -> ArrayRef {
    Arc::new(values.map(|value| Some(written(&value))).collect::<StringArray>())
}

fn build_object(args: &Args<'_>) -> Result<ArrayRef> {
    let columns = (0..args.count()).map(|index| to_json(args, index)).collect::<Result<Vec<_>>>()?;
    let mut out = Vec::with_capacity(args.rows());
    for row in 0..args.rows() {
        let mut map = Map::new();
        for pair in columns.chunks(2) {
            let [keys, values] = pair else {
                return Err(Error::new(
                    SqlState::INVALID_PARAMETER_VALUE,
                    "argument list must have even number of elements",
                ));
            };
            let key = as_text(&keys[row]).ok_or_else(|| {
                Error::new(SqlState::NULL_VALUE_NOT_ALLOWED, "null value not allowed for object key")
            })?;
            map.insert(key, values[row].clone());
        }
        out.push(Value::Object(map));
    }
    Ok(texts_of(out.into_iter()))
}

fn build_array(args: &Args<'_>) -> Result<ArrayRef> {
    let columns = (0..args.count()).map(|index| to_json(args, index)).collect::<Result<Vec<_>>>()?;
    Ok(texts_of(
        (0..args.rows()).map(|row| Value::Array(columns.iter().map(|column| column[row].clone()).collect())),
    ))
}

fn lists(args: &Args<'_>, items: fn(&Value) -> Vec<String>) -> Result<ArrayRef> {
    let documents = args.text(0)?;
    let mut out = ListBuilder::new(StringBuilder::new());
    for document in &documents {
        if let Some(text) = document {
            items(&parse(text)?).iter().for_each(|item| out.values().append_value(item));
        }
        out.append(document.is_some());
    }
    Ok(Arc::new(out.finish()))
}

pub(super) fn functions() -> Vec<Function> {
    let immutable = Volatility::Immutable;
    let mut list = Vec::new();
    for (prefix, ty) in [("json", SqlType::Json), ("jsonb", SqlType::Jsonb)] {
        list.push(Function::new(
            &format!("{prefix}_build_object"),
            Volatility::Stable,
            ty.clone(),
            build_object,
        ));
        list.push(Function::new(
            &format!("{prefix}_build_array"),
            Volatility::Stable,
            ty.clone(),
            build_array,
        ));
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
        let name = if prefix == "json" { "to_json" } else { "to_jsonb" };
        list.push(Function::new(name, Volatility::Stable, ty, |args| {
            let values = to_json(args, 0)?;
            let nulls = args.array(0).nulls().cloned();
            Ok(Arc::new(
                values
                    .iter()
                    .enumerate()
                    .map(|(row, value)| match &nulls {
                        Some(nulls) if nulls.is_null(row) => None,
                        _ => Some(written(value)),
                    })
                    .collect::<StringArray>(),
            ))
        }));
    }
    let item = |ty: SqlType| SqlType::Array(Box::new(ty));
    list.push(Function::new("jsonb_array_elements_list", immutable, item(SqlType::Text), |args| {
        lists(args, |value| value.as_array().into_iter().flatten().map(written).collect())
    }));
    list.push(Function::new("jsonb_object_keys_list", immutable, item(SqlType::Text), |args| {
        lists(args, |value| value.as_object().into_iter().flat_map(Map::keys).cloned().collect())
    }));
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
