//! Values as JSON: to_json, json_build_object and their kin, and the aggregates that collect such values. json is written
//! as PostgreSQL writes it; jsonb is the same text in its canonical form.

use super::{Args, Function};
use crate::bind::to_text_array;
use crate::decode::{canonical_jsonb, put_string};
use arrow::array::{Array, ArrayRef, AsArray, StringArray, StringBuilder};
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

/// A column's values as JSON texts; NULL stays NULL.
fn json_texts(array: &ArrayRef, ty: &SqlType) -> Result<Vec<Option<String>>> {
    separated(array, ty, ",")
}

/// The same with something else between the items of arrays, but not of arrays in them.
fn separated(array: &ArrayRef, ty: &SqlType, separator: &str) -> Result<Vec<Option<String>>> {
    let item = match ty {
        SqlType::Array(item) => Some((**item).clone()),
        SqlType::Int2Vector => Some(SqlType::Int2),
        SqlType::OidVector => Some(SqlType::Oid),
        _ => None,
    };
    if let (Some(item), Some(list)) = (item, array.as_list_opt::<i32>()) {
        let items = json_texts(list.values(), &item)?;
        let text = |row: usize| {
            let range = list.value_offsets()[row] as usize..list.value_offsets()[row + 1] as usize;
            let items = items[range].iter().map(|item| item.as_deref().unwrap_or("null"));
            format!("[{}]", items.collect::<Vec<_>>().join(separator))
        };
        return Ok((0..list.len()).map(|row| list.is_valid(row).then(|| text(row))).collect());
    }
    let texts = to_text_array(array, ty, &crate::bind::CastStyle::utc())?;
    Ok(texts.iter().map(|text| text.map(|text| scalar(text, ty))).collect())
}

fn scalar(text: &str, ty: &SqlType) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    match ty {
        SqlType::Json | SqlType::Jsonb | SqlType::Bool => out.push_str(text),
        SqlType::Int2 | SqlType::Int4 | SqlType::Int8 | SqlType::Numeric(_) => out.push_str(text),
        // NaN and infinities are no numbers of JSON.
        SqlType::Float4 | SqlType::Float8 if !text.ends_with(['N', 'y']) => out.push_str(text),
        SqlType::Timestamp(_) => put_string(&text.replacen(' ', "T", 1), &mut out),
        SqlType::Timestamptz(_) => {
            // An offset of whole hours has its minutes too.
            let (text, era) = text.strip_suffix(" BC").map_or((text, ""), |text| (text, " BC"));
            let whole = text.rsplit(['+', '-']).next().is_some_and(|offset| offset.len() == 2);
            let minutes = if whole { ":00" } else { "" };
            put_string(&format!("{}{minutes}{era}", text.replacen(' ', "T", 1)), &mut out);
        }
        _ => put_string(text, &mut out),
    }
    out
}

fn null_key() -> Error {
    Error::new(SqlState::NULL_VALUE_NOT_ALLOWED, "null value not allowed for object key")
}

/// Texts that are as they should be for json, in canonical form for jsonb.
fn finish(texts: Vec<Option<String>>, ty: &SqlType) -> Result<ArrayRef> {
    let mut out = StringBuilder::new();
    for text in texts {
        match (text, ty) {
            (Some(text), SqlType::Jsonb) => out.append_value(canonical_jsonb(&text)?),
            (text, _) => out.append_option(text),
        }
    }
    Ok(Arc::new(out.finish()))
}

fn columns(args: &Args<'_>) -> Result<Vec<Vec<Option<String>>>> {
    (0..args.count()).map(|index| json_texts(args.array(index), args.ty(index))).collect()
}

fn or_null(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or("null")
}

fn build_object(args: &Args<'_>, ty: &SqlType) -> Result<ArrayRef> {
    if args.count() % 2 == 1 {
        return Err(Error::new(
            SqlState::INVALID_PARAMETER_VALUE,
            "argument list must have even number of elements",
        ));
    }
    let columns = columns(args)?;
    let mut out = Vec::with_capacity(args.rows());
    for row in 0..args.rows() {
        let mut pairs = Vec::with_capacity(columns.len() / 2);
        for pair in columns.chunks_exact(2) {
            let key = pair[0][row].as_deref().ok_or_else(null_key)?;
            pairs.push(format!("{} : {}", as_key(key), or_null(&pair[1][row])));
        }
        out.push(Some(format!("{{{}}}", pairs.join(", "))));
    }
    finish(out, ty)
}

/// Keys are strings, whatever the value was.
fn as_key(json: &str) -> String {
    if json.starts_with('"') {
        return json.to_owned();
    }
    let mut out = String::new();
    put_string(json, &mut out);
    out
}

fn build_array(args: &Args<'_>, ty: &SqlType) -> Result<ArrayRef> {
    let columns = columns(args)?;
    let row = |row: usize| {
        let items: Vec<&str> = columns.iter().map(|column| or_null(&column[row])).collect();
        Some(format!("[{}]", items.join(", ")))
    };
    finish((0..args.rows()).map(row).collect(), ty)
}

/// `json_object('{k, v}')`, `json_object(keys, values)`.
fn object_of_arrays(args: &Args<'_>, ty: &SqlType) -> Result<ArrayRef> {
    let list = SqlType::Array(Box::new(SqlType::Text));
    let lists = (0..args.count()).map(|index| args.cast(index, &list)).collect::<Result<Vec<_>>>()?;
    let mut out = Vec::with_capacity(args.rows());
    for row in 0..args.rows() {
        if lists.iter().any(|list| list.is_null(row)) {
            out.push(None);
            continue;
        }
        let items: Vec<StringArray> =
            lists.iter().map(|list| list.as_list::<i32>().value(row).as_string::<i32>().clone()).collect();
        let texts = |items: &StringArray| items.iter().map(|it| it.map(str::to_owned)).collect::<Vec<_>>();
        let pairs: Vec<(Option<String>, Option<String>)> = match items.as_slice() {
            [all] if all.len() % 2 == 0 => {
                texts(all).chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
            }
            [keys, values] if keys.len() == values.len() => {
                texts(keys).into_iter().zip(texts(values)).collect()
            }
            [_] => {
                return Err(Error::new(
                    SqlState::ARRAY_SUBSCRIPT_ERROR,
                    "array must have even number of elements",
                ));
            }
            _ => return Err(Error::new(SqlState::ARRAY_SUBSCRIPT_ERROR, "mismatched array dimensions")),
        };
        let mut members = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            let mut member = String::new();
            put_string(&key.ok_or_else(null_key)?, &mut member);
            member.push_str(" : ");
            match value {
                Some(value) => put_string(&value, &mut member),
                None => member.push_str("null"),
            }
            members.push(member);
        }
        out.push(Some(format!("{{{}}}", members.join(", "))));
    }
    finish(out, ty)
}

/// With a true second argument, each item on a line of its own.
fn array_to_json(args: &Args<'_>, ty: &SqlType) -> Result<ArrayRef> {
    let plain = json_texts(args.array(0), args.ty(0))?;
    if args.count() == 1 {
        return finish(plain, ty);
    }
    let pretty = separated(args.array(0), args.ty(0), ",\n ")?;
    let flags = args.bool(1)?;
    let chosen = plain.into_iter().zip(pretty).enumerate();
    let chosen = chosen.map(|(row, (plain, pretty))| match flags.is_valid(row) {
        true => {
            if flags.value(row) {
                pretty
            } else {
                plain
            }
        }
        false => None,
    });
    finish(chosen.collect(), ty)
}

pub(super) fn functions() -> Vec<Function> {
    let mut list = Vec::new();
    for ty in [SqlType::Json, SqlType::Jsonb] {
        let mut add = |name: &str, body: fn(&Args<'_>, &SqlType) -> Result<ArrayRef>| {
            let result = ty.clone();
            let body = move |args: &Args<'_>| body(args, &result);
            list.push(Function::new(
                &name.replace("json", &ty.to_string()),
                Volatility::Stable,
                ty.clone(),
                body,
            ));
        };
        add("json_build_object", build_object);
        add("json_build_array", build_array);
        add("json_object", object_of_arrays);
        add("to_json", |args, ty| finish(json_texts(args.array(0), args.ty(0))?, ty));
        if ty == SqlType::Json {
            add("array_to_json", array_to_json);
        }
    }
    list
}
