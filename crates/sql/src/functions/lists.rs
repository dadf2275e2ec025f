//! Functions that return rows, as functions that return a list: what `unnest` makes rows of.

use super::{Args, Function};
use crate::decode::canonical_jsonb;
use arrow::array::*;
use arrow::datatypes::Int64Type;
use datafusion::logical_expr::Volatility;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::sync::Arc;

fn array(item: SqlType) -> SqlType {
    SqlType::Array(Box::new(item))
}

pub(super) fn functions() -> Vec<Function> {
    let mut list = vec![
        Function::new("ordinals_list", Volatility::Immutable, array(SqlType::Int8), ordinals),
        // information_schema._pg_expandarray's columns: the items of an array, and their numbers.
        Function::typed(
            "items_list",
            Volatility::Immutable,
            |types| Ok(items_type(types)),
            |args| Ok(arrow::compute::cast(args.array(0), &items_type(args.types).arrow_type())?),
        ),
        Function::new("numbers_list", Volatility::Immutable, array(SqlType::Int4), |args| {
            Ok(arrow::compute::cast(&ordinals(args)?, &array(SqlType::Int4).arrow_type())?)
        }),
        Function::new("pg_partition_ancestors_list", Volatility::Stable, array(SqlType::Regclass), |args| {
            // No table has partitions.
            let item = Arc::new(SqlType::Regclass.field("item", true));
            let mut out = ListBuilder::new(PrimitiveBuilder::<Int64Type>::new()).with_field(item);
            (0..args.rows()).for_each(|_| out.append(true));
            Ok(Arc::new(out.finish()))
        }),
        Function::new("option_names_list", Volatility::Immutable, array(SqlType::Text), |args| {
            options(args, |option| Some(option.split_once('=').map_or(option, |(name, _)| name).to_owned()))
        }),
        Function::new("option_values_list", Volatility::Immutable, array(SqlType::Text), |args| {
            options(args, |option| option.split_once('=').map(|(_, value)| value.to_owned()))
        }),
    ];
    for (prefix, ty) in [("json", SqlType::Json), ("jsonb", SqlType::Jsonb)] {
        let mut add = |name: &str, item: SqlType, take: fn(&str) -> Result<Vec<Option<String>>>| {
            let body = move |args: &Args<'_>| documents(args, take);
            let name = format!("{prefix}_{name}_list");
            list.push(Function::new(&name, Volatility::Immutable, array(item), body));
        };
        add("array_elements", ty.clone(), |text| Ok(elements(text)?.into_iter().map(owned).collect()));
        add("array_elements_text", SqlType::Text, |text| elements(text)?.into_iter().map(as_text).collect());
        add("object_keys", SqlType::Text, |text| {
            members(text)?.into_iter().map(|(key, _)| as_text(key)).collect()
        });
        add("object_values", ty.clone(), |text| {
            Ok(members(text)?.into_iter().map(|(_, value)| owned(value)).collect())
        });
        add("object_texts", SqlType::Text, |text| {
            members(text)?.into_iter().map(|(_, value)| as_text(value)).collect()
        });
    }
    list
}

fn owned(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// The list that an array is, whatever its lower bound.
fn items_type(types: &[SqlType]) -> SqlType {
    match types.first() {
        Some(SqlType::Int2Vector) => array(SqlType::Int2),
        Some(SqlType::OidVector) => array(SqlType::Oid),
        Some(ty @ SqlType::Array(_)) => ty.clone(),
        _ => array(SqlType::Text),
    }
}

/// 1 to the length of the longest list.
fn ordinals(args: &Args<'_>) -> Result<ArrayRef> {
    let lists: Vec<Option<&ListArray>> =
        (0..args.count()).map(|index| args.array(index).as_list_opt::<i32>()).collect();
    let mut out = ListBuilder::new(PrimitiveBuilder::<Int64Type>::new())
        .with_field(Arc::new(SqlType::Int8.field("item", true)));
    for row in 0..args.rows() {
        let lengths = lists.iter().flatten().filter(|list| list.is_valid(row)).map(|it| it.value_length(row));
        for number in 1..=lengths.max().unwrap_or(0) {
            out.values().append_value(i64::from(number));
        }
        out.append(true);
    }
    Ok(Arc::new(out.finish()))
}

fn texts() -> ListBuilder<StringBuilder> {
    ListBuilder::new(StringBuilder::new()).with_field(Arc::new(SqlType::Text.field("item", true)))
}

fn options(args: &Args<'_>, part: fn(&str) -> Option<String>) -> Result<ArrayRef> {
    let lists = args.cast(0, &array(SqlType::Text))?;
    let mut out = texts();
    for list in lists.as_list::<i32>().iter() {
        if let Some(list) = &list {
            list.as_string::<i32>().iter().flatten().for_each(|option| {
                out.values().append_option(part(option));
            });
        }
        out.append(list.is_some());
    }
    Ok(Arc::new(out.finish()))
}

fn documents(args: &Args<'_>, take: fn(&str) -> Result<Vec<Option<String>>>) -> Result<ArrayRef> {
    let documents = args.text(0)?;
    // A literal has no type yet: its text is not a jsonb's.
    let untyped = matches!(args.ty(0), SqlType::Unknown | SqlType::Text);
    let mut out = texts();
    for document in &documents {
        if let Some(text) = document {
            let values = match untyped {
                true => take(&canonical_jsonb(text)?)?,
                false => take(text)?,
            };
            values.into_iter().for_each(|value| out.values().append_option(value));
        }
        out.append(document.is_some());
    }
    Ok(Arc::new(out.finish()))
}

fn wrong(message: &str) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

/// The items of an array as they are written. The text is JSON: whoever made it has checked.
pub(super) fn elements(text: &str) -> Result<Vec<&str>> {
    match text.trim_start().as_bytes().first() {
        Some(b'[') => Ok(parts(text)),
        Some(b'{') => Err(wrong("cannot extract elements from an object")),
        _ => Err(wrong("cannot extract elements from a scalar")),
    }
}

/// The members of an object, keys and values as they are written.
pub(super) fn members(text: &str) -> Result<Vec<(&str, &str)>> {
    match text.trim_start().as_bytes().first() {
        Some(b'{') => {
            let parts = parts(text);
            Ok(parts.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
        }
        Some(b'[') => Err(wrong("cannot call json_object_keys on an array")),
        _ => Err(wrong("cannot call json_object_keys on a scalar")),
    }
}

/// What stands between the commas and colons of the outermost level.
fn parts(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    let (mut found, mut start) = (Vec::new(), 0);
    for (at, byte) in bytes.iter().enumerate() {
        if quoted {
            quoted = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b'[' | b'{' => {
                depth += 1;
                if depth == 1 {
                    start = at + 1;
                }
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    push_part(&mut found, &text[start..at]);
                }
            }
            b',' | b':' if depth == 1 => {
                push_part(&mut found, &text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found
}

fn push_part<'a>(found: &mut Vec<&'a str>, part: &'a str) {
    let part = part.trim();
    if !part.is_empty() {
        found.push(part);
    }
}

/// A string without its quotes, NULL for null, anything else as it is written.
pub(super) fn as_text(written: &str) -> Result<Option<String>> {
    if written == "null" {
        return Ok(None);
    }
    if !written.starts_with('"') {
        return Ok(Some(written.to_owned()));
    }
    serde_json::from_str(written)
        .map(Some)
        .map_err(|_| Error::new(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_as_written() {
        assert_eq!(elements(r#"[1, {"a": [2, 3]}, "x,\"]", null ]"#).expect("an array").len(), 4);
        assert_eq!(
            members(r#"{"a:": {"b": 1}, "c" : "d"}"#).expect("an object"),
            [("\"a:\"", "{\"b\": 1}"), ("\"c\"", "\"d\"")]
        );
        assert!(elements("[]").expect("an array").is_empty());
        assert!(elements("{}").is_err());
        assert!(members("3").is_err());
        assert_eq!(as_text(r#""a\nb""#).expect("a string").as_deref(), Some("a\nb"));
        assert_eq!(as_text("null").expect("null"), None);
    }
}
