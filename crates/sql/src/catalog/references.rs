//! What the reg types read and print: oids of relations, types, functions, operators, schemas and roles by name, and names by oid.

use super::context::CatalogContext;
use super::fixed::{FixedTable, PG_CATALOG, fixed};
use super::names::{
    format_type, quote_ident, regclass, regclass_name, regproc, regproc_name, regtype, regtype_name,
    split_name,
};
use quiver_base::{Error, Result, SqlState, SqlType};

/// `text::ty` of a reg type: an oid in digits, `-` for none, or a name; an error if there is no such object.
pub(crate) fn object_oid(context: &CatalogContext, ty: &SqlType, name: &str) -> Result<i64> {
    if name.trim() == "-" {
        return Ok(0);
    }
    if let Some(oid) = find(context, ty, name)? {
        return Ok(oid.into());
    }
    let (state, kind) = match ty {
        SqlType::Regclass => (SqlState::UNDEFINED_TABLE, "relation"),
        SqlType::Regtype => (SqlState::UNDEFINED_OBJECT, "type"),
        SqlType::Regnamespace => (SqlState::INVALID_SCHEMA_NAME, "schema"),
        SqlType::Regrole => (SqlState::UNDEFINED_OBJECT, "role"),
        SqlType::Regoper | SqlType::Regoperator => {
            let message = format!("operator does not exist: {name}");
            return Err(Error::new(SqlState::UNDEFINED_FUNCTION, message));
        }
        _ => (SqlState::UNDEFINED_FUNCTION, "function"),
    };
    Err(Error::new(state, format!("{kind} \"{name}\" does not exist")))
}

/// The object's oid, if there is one.
pub(super) fn find(context: &CatalogContext, ty: &SqlType, name: &str) -> Result<Option<u32>> {
    if let Ok(oid) = name.trim().parse() {
        return Ok(Some(oid));
    }
    match ty {
        SqlType::Regclass => regclass(context, name),
        SqlType::Regtype => regtype(name),
        SqlType::Regnamespace => {
            let parts = split_name(name)?;
            let found = context.database.schemas.values().find(|it| parts.last() == Some(&it.name));
            Ok(found.map(|schema| schema.id))
        }
        SqlType::Regrole => {
            let parts = split_name(name)?;
            if let Some(role) = context.catalog.roles.values().find(|it| parts.last() == Some(&it.name)) {
                return Ok(Some(role.id));
            }
            let Some(table) = fixed().tables.get("pg_authid") else { return Ok(None) };
            let known =
                |row: &&Vec<Option<String>>| table.value(row, "rolname") == parts.last().map(String::as_str);
            Ok(table.rows.iter().find(known).and_then(|row| number(table, row, "oid")))
        }
        SqlType::Regprocedure => function_with_arguments(name),
        SqlType::Regoper => operator_named(name),
        SqlType::Regoperator => operator_with_arguments(name),
        _ => regproc(name),
    }
}

/// How an oid prints; `None` prints as the number.
pub(crate) fn object_name(context: &CatalogContext, ty: &SqlType, oid: i64) -> Option<String> {
    let oid = u32::try_from(oid).ok()?;
    if oid == 0 {
        return Some(
            if matches!(ty, SqlType::Regoper | SqlType::Regoperator) { "0" } else { "-" }.to_owned(),
        );
    }
    match ty {
        SqlType::Regclass => Some(regclass_name(context, oid)),
        SqlType::Regtype => Some(regtype_name(oid)),
        SqlType::Regproc => Some(regproc_name(oid)),
        SqlType::Regnamespace => context.schema(oid).map(|schema| quote_ident(&schema.name)),
        SqlType::Regrole => match context.catalog.roles.get(&oid) {
            Some(role) => Some(quote_ident(&role.name)),
            None => {
                let table = fixed().tables.get("pg_authid")?;
                Some(quote_ident(table.value(row_of(table, oid)?, "rolname")?))
            }
        },
        SqlType::Regprocedure => {
            let table = fixed().tables.get("pg_proc")?;
            let row = row_of(table, oid)?;
            let types = table.value(row, "proargtypes")?.split_ascii_whitespace().map(type_name);
            let types = types.collect::<Vec<_>>().join(",");
            Some(format!("{}({types})", quote_ident(table.value(row, "proname")?)))
        }
        SqlType::Regoper | SqlType::Regoperator => {
            let table = fixed().tables.get("pg_operator")?;
            let row = row_of(table, oid)?;
            let name = table.value(row, "oprname")?;
            if *ty == SqlType::Regoper {
                return Some(name.to_owned());
            }
            let side = |column| match table.value(row, column) {
                None | Some("0") => "NONE".to_owned(),
                Some(oid) => type_name(oid),
            };
            Some(format!("{name}({},{})", side("oprleft"), side("oprright")))
        }
        _ => None,
    }
}

fn type_name(oid: &str) -> String {
    format_type(oid.parse().unwrap_or(0), None)
}

fn number(table: &FixedTable, row: &[Option<String>], column: &str) -> Option<u32> {
    table.value(row, column)?.parse().ok()
}

fn row_of(table: &'static FixedTable, oid: u32) -> Option<&'static [Option<String>]> {
    let oid = oid.to_string();
    let row = table.rows.iter().find(|row| table.value(row, "oid") == Some(&oid))?;
    Some(row)
}

/// A name and the types in the parentheses after it.
fn signature(text: &str, kind: &str) -> Result<(String, Vec<Option<u32>>)> {
    let bad = |message: String| Error::new(SqlState::INVALID_TEXT_REPRESENTATION, message);
    let open = text.find('(').ok_or_else(|| bad("expected a left parenthesis".to_owned()))?;
    let inner = text[open + 1..].trim_end().strip_suffix(')');
    let inner = inner.ok_or_else(|| bad("expected a right parenthesis".to_owned()))?;
    let mut types = Vec::new();
    for name in inner.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if kind == "operator" && name.eq_ignore_ascii_case("none") {
            types.push(None);
            continue;
        }
        let found = regtype(name)?;
        let missing = || Error::new(SqlState::UNDEFINED_OBJECT, format!("type \"{name}\" does not exist"));
        types.push(Some(found.ok_or_else(missing)?));
    }
    Ok((text[..open].trim().to_owned(), types))
}

fn function_with_arguments(text: &str) -> Result<Option<u32>> {
    let (name, types) = signature(text, "function")?;
    let parts = split_name(&name)?;
    let wanted = types.iter().flatten().map(u32::to_string).collect::<Vec<_>>().join(" ");
    let Some(table) = fixed().tables.get("pg_proc") else { return Ok(None) };
    let found = table.rows.iter().find(|row| {
        table.value(row, "proname") == parts.last().map(String::as_str)
            && table.value(row, "proargtypes") == Some(&wanted)
    });
    Ok(found.and_then(|row| number(table, row, "oid")))
}

/// The bare symbol of `pg_catalog.=`.
fn symbol(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, symbol)| symbol).trim()
}

fn operator_named(name: &str) -> Result<Option<u32>> {
    let Some(table) = fixed().tables.get("pg_operator") else { return Ok(None) };
    let mut found = table.rows.iter().filter(|row| table.value(row, "oprname") == Some(symbol(name)));
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => {
            let message = format!("more than one operator named {name}");
            Err(Error::new(SqlState::AMBIGUOUS_FUNCTION, message))
        }
        (one, _) => Ok(one.and_then(|row| number(table, row, "oid"))),
    }
}

fn operator_with_arguments(text: &str) -> Result<Option<u32>> {
    let (name, types) = signature(text, "operator")?;
    let [left, right] = types.as_slice() else {
        let message = if types.len() > 2 { "too many arguments" } else { "missing argument" };
        return Err(
            Error::new(SqlState::SYNTAX_ERROR, message).with_hint("Provide two argument types for operator.")
        );
    };
    let Some(table) = fixed().tables.get("pg_operator") else { return Ok(None) };
    let is = |row: &[Option<String>], column, wanted: &Option<u32>| {
        number(table, row, column).unwrap_or(0) == wanted.unwrap_or(0)
    };
    let fits = |row: &&Vec<Option<String>>| {
        table.value(row, "oprname") == Some(symbol(&name))
            && is(row, "oprleft", left)
            && is(row, "oprright", right)
    };
    let mut found: Vec<_> = table.rows.iter().filter(fits).collect();
    // PostgreSQL's own first, as pg_catalog is searched first.
    found.sort_by_key(|row| number(table, row, "oprnamespace") != Some(PG_CATALOG));
    Ok(found.first().and_then(|row| number(table, row, "oid")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_found() {
        assert_eq!(function_with_arguments("upper(text)").expect("valid"), Some(871));
        assert_eq!(operator_with_arguments("=(int4,int4)").expect("valid"), Some(96));
        assert_eq!(operator_with_arguments("pg_catalog.-(NONE,integer)").expect("valid"), Some(558));
        assert_eq!(operator_with_arguments("=(int4,vector)").expect("valid"), None);
        assert!(operator_with_arguments("=(int4)").is_err());
        assert!(operator_named("=").is_err());
        assert!(function_with_arguments("upper").is_err());
    }
}
