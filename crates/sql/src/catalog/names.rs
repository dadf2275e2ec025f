//! Names to oids and back: what regclass, regtype and regproc casts do, and format_type.

use super::context::CatalogContext;
use super::fixed::{PG_CATALOG, fixed};
use crate::oids;
use quiver_base::{Error, Result, SqlState, SqlType};
use std::collections::HashMap;
use std::sync::OnceLock;

/// A possibly qualified name in SQL's spelling: parts folded to lower case unless quoted.
pub(super) fn split_name(text: &str) -> Result<Vec<String>> {
    let bad = || Error::new(SqlState::INVALID_NAME, format!("invalid name syntax: \"{text}\""));
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let part;
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut name = String::new();
            let mut tail = quoted;
            loop {
                let end = tail.find('"').ok_or_else(bad)?;
                name.push_str(&tail[..end]);
                tail = &tail[end + 1..];
                match tail.strip_prefix('"') {
                    Some(more) => {
                        name.push('"');
                        tail = more;
                    }
                    None => break,
                }
            }
            part = name;
            rest = tail.trim_start();
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            part = rest[..end].trim().to_lowercase();
            rest = &rest[end..];
        }
        if part.is_empty() {
            return Err(bad());
        }
        parts.push(part);
        match rest.strip_prefix('.') {
            Some(more) => rest = more.trim_start(),
            None if rest.is_empty() => return Ok(parts),
            None => return Err(bad()),
        }
    }
}

/// An identifier as SQL must spell it: quoted where needed.
pub(super) fn quote_ident(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !is_reserved(name);
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Words that cannot be a plain column or table name in PostgreSQL 16 (pg_get_keywords, catcode R, T and C).
fn is_reserved(word: &str) -> bool {
    const WORDS: &str = " all analyse analyze and any array as asc asymmetric authorization between bigint binary bit \
        boolean both case cast char character check coalesce collate collation column concurrently constraint create \
        cross current_catalog current_date current_role current_schema current_time current_timestamp current_user dec \
        decimal default deferrable desc distinct do else end except exists extract false fetch float for foreign freeze \
        from full grant greatest group grouping having ilike in initially inner inout int integer intersect interval \
        into is isnull join json_array json_arrayagg json_object json_objectagg lateral leading least left like limit \
        localtime localtimestamp national natural nchar none normalize not notnull null nullif numeric offset on only or \
        order out outer overlaps overlay placing position precision primary real references returning right row select \
        session_user setof similar smallint some substring symmetric system_user table tablesample then time timestamp \
        to trailing treat trim true union unique user using values varchar variadic verbose when where window with \
        xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable ";
    WORDS.split_ascii_whitespace().any(|it| it == word)
}

/// Fixed relations of a schema by name.
fn fixed_relations() -> &'static HashMap<(u32, String), u32> {
    static RELATIONS: OnceLock<HashMap<(u32, String), u32>> = OnceLock::new();
    RELATIONS.get_or_init(|| {
        let Some(classes) = fixed().tables.get("pg_class") else { return HashMap::new() };
        let number =
            |row: &[Option<String>], column| classes.value(row, column).and_then(|it| it.parse::<u32>().ok());
        classes
            .rows
            .iter()
            .filter_map(|row| {
                let name = classes.value(row, "relname")?.to_owned();
                Some(((number(row, "relnamespace")?, name), number(row, "oid")?))
            })
            .collect()
    })
}

/// The relation (table, index, sequence, system relation) with this name in a schema.
pub(super) fn relation_in(context: &CatalogContext, schema: u32, name: &str) -> Option<u32> {
    for table in context.tables() {
        if table.schema == schema {
            if table.name == name {
                return Some(table.id.0);
            }
            if let Some(index) = table.indexes.iter().find(|index| index.name == name) {
                return Some(index.id.0);
            }
        }
    }
    let mut sequences = context.database.sequences.values();
    if let Some(sequence) = sequences.find(|it| it.schema == schema && it.name == name) {
        return Some(sequence.id.0);
    }
    let mut views = context.database.views.values();
    if let Some(view) = views.find(|it| it.schema == schema && it.name == name) {
        return Some(view.id.0);
    }
    let key = (schema_key(context, schema), name.to_owned());
    fixed_relations().get(&key).copied()
}

/// information_schema has another oid in the fixed rows than here: its relations are found under the fixed one.
fn schema_key(context: &CatalogContext, schema: u32) -> u32 {
    match context.schema(schema) {
        Some(found) if found.name == "information_schema" => information_schema_oid(),
        _ => schema,
    }
}

/// information_schema's oid in the fixed rows.
pub(super) fn information_schema_oid() -> u32 {
    static OID: OnceLock<u32> = OnceLock::new();
    *OID.get_or_init(|| {
        let namespaces = fixed().tables.get("pg_namespace");
        let found = namespaces.and_then(|table| {
            let row =
                table.rows.iter().find(|row| table.value(row, "nspname") == Some("information_schema"))?;
            table.value(row, "oid")?.parse().ok()
        });
        found.unwrap_or(0)
    })
}

/// `text::regclass`: an oid in digits, or a relation's name. `None` if there is none.
pub(super) fn regclass(context: &CatalogContext, text: &str) -> Result<Option<u32>> {
    if let Ok(oid) = text.trim().parse() {
        return Ok(Some(oid));
    }
    let parts = split_name(text)?;
    Ok(match parts.as_slice() {
        [name] => context.search_path().into_iter().find_map(|schema| relation_in(context, schema, name)),
        [.., schema, name] => {
            let schema = context.database.schemas.values().find(|it| it.name == *schema);
            schema.and_then(|schema| relation_in(context, schema.id, name))
        }
        [] => None,
    })
}

/// A relation's schema and name.
pub(super) fn relation(context: &CatalogContext, oid: u32) -> Option<(u32, String)> {
    for table in context.tables() {
        if table.id.0 == oid {
            return Some((table.schema, table.name.clone()));
        }
        if let Some(index) = table.indexes.iter().find(|index| index.id.0 == oid) {
            return Some((table.schema, index.name.clone()));
        }
    }
    if let Some(sequence) = context.database.sequences.values().find(|it| it.id.0 == oid) {
        return Some((sequence.schema, sequence.name.clone()));
    }
    if let Some(view) = context.database.views.values().find(|it| it.id.0 == oid) {
        return Some((view.schema, view.name.clone()));
    }
    let ((schema, name), _) = fixed_relations().iter().find(|(_, fixed)| **fixed == oid)?;
    Some((*schema, name.clone()))
}

/// How a relation's oid prints: its name, qualified unless the search path finds it; the number if it is gone.
pub(super) fn regclass_name(context: &CatalogContext, oid: u32) -> String {
    match relation(context, oid) {
        None if oid == 0 => "-".to_owned(),
        None => oid.to_string(),
        Some((schema, name)) if context.is_visible(schema, &name) => quote_ident(&name),
        Some((schema, name)) => {
            format!("{}.{}", quote_ident(&context.schema_name(schema)), quote_ident(&name))
        }
    }
}

/// What format_type and regtype need of pg_type.
#[derive(Debug)]
pub(super) struct TypeName {
    pub(super) name: String,
    pub(super) schema: u32,
    /// The element type of a true array.
    pub(super) item: Option<u32>,
}

/// pg_type's names by oid.
pub(super) fn types() -> &'static HashMap<u32, TypeName> {
    static TYPES: OnceLock<HashMap<u32, TypeName>> = OnceLock::new();
    TYPES.get_or_init(|| {
        let Some(table) = fixed().tables.get("pg_type") else { return HashMap::new() };
        let number =
            |row: &[Option<String>], column| table.value(row, column).and_then(|it| it.parse::<u32>().ok());
        let read = |row: &Vec<Option<String>>| {
            let name = table.value(row, "typname")?.to_owned();
            let is_array = table.value(row, "typcategory") == Some("A") && name.starts_with('_');
            let item = number(row, "typelem").filter(|_| is_array);
            Some((number(row, "oid")?, TypeName { name, schema: number(row, "typnamespace")?, item }))
        };
        table.rows.iter().filter_map(read).collect()
    })
}

/// `format_type(oid, typmod)`.
pub(super) fn format_type(oid: u32, modifier: Option<i32>) -> String {
    if oid == 0 {
        return "-".to_owned();
    }
    let Some(found) = types().get(&oid) else { return "???".to_owned() };
    if let Some(item) = found.item {
        return format!("{}[]", format_type(item, modifier));
    }
    let length = modifier.filter(|it| *it >= 0);
    let name = match found.name.as_str() {
        "bool" => "boolean",
        "int2" => "smallint",
        "int4" => "integer",
        "int8" => "bigint",
        "float4" => "real",
        "float8" => "double precision",
        "bpchar" if modifier.is_none() => "character",
        "bpchar" => {
            return length.map_or_else(|| "bpchar".to_owned(), |it| format!("character({})", it - 4));
        }
        "varchar" => return with_length("character varying", length.map(|it| it - 4)),
        "char" => "\"char\"",
        "numeric" => {
            return match length {
                Some(packed) => {
                    let packed = packed - 4;
                    format!("numeric({},{})", (packed >> 16) & 0xffff, ((packed & 0x7ff) ^ 1024) - 1024)
                }
                None => "numeric".to_owned(),
            };
        }
        // Without a length it is not what the bare word means, bit(1).
        "bit" if modifier.is_some() && length.is_none() => "\"bit\"",
        // A reserved word that is a type of its own accord.
        "interval" => match length {
            Some(packed) if packed & 0xffff <= 6 => return format!("interval({})", packed & 0xffff),
            _ => "interval",
        },
        "bit" => return with_length("bit", length),
        "varbit" => return with_length("bit varying", length),
        "time" => return format!("{} without time zone", with_length("time", length)),
        "timetz" => return format!("{} with time zone", with_length("time", length)),
        "timestamp" => return format!("{} without time zone", with_length("timestamp", length)),
        "timestamptz" => return format!("{} with time zone", with_length("timestamp", length)),
        "vector" | "halfvec" | "sparsevec" => return with_length(&found.name, length),
        name if found.schema == PG_CATALOG || oid >= 15_000 => return quote_ident(name),
        name => return format!("information_schema.{}", quote_ident(name)),
    };
    name.to_owned()
}

fn with_length(name: &str, length: Option<i32>) -> String {
    length.map_or_else(|| name.to_owned(), |length| format!("{name}({length})"))
}

/// How a type's oid prints.
pub(super) fn regtype_name(oid: u32) -> String {
    match types().contains_key(&oid) || oid == 0 {
        true => format_type(oid, None),
        false => oid.to_string(),
    }
}

/// `text::regtype`: an oid in digits, SQL's spelling of a type, or pg_type's. `None` if there is none.
pub(super) fn regtype(text: &str) -> Result<Option<u32>> {
    let text = text.trim();
    if let Ok(oid) = text.parse() {
        return Ok(Some(oid));
    }
    if let Some(item) = text.strip_suffix("[]") {
        let Some(item) = regtype(item)? else { return Ok(None) };
        return Ok(types().iter().find(|(_, it)| it.item == Some(item)).map(|(oid, _)| *oid));
    }
    let spelled = text.to_lowercase();
    let bare = spelled.split_once('(').map_or(spelled.as_str(), |(name, _)| name.trim_end());
    let alias = match bare {
        "int" => "integer",
        "decimal" | "dec" => "numeric",
        "timestamp" => "timestamp without time zone",
        "timestamptz" => "timestamp with time zone",
        "time" => "time without time zone",
        "varchar" => "character varying",
        "char" => "character",
        "float" => "double precision",
        other => other,
    };
    if let Some(ty) = SqlType::parse(alias) {
        return Ok(Some(oids::type_oid(&ty)));
    }
    let parts = split_name(text)?;
    let Some(name) = parts.last() else { return Ok(None) };
    let schema_fits = |it: &TypeName| match parts.len() {
        1 => true,
        _ => match parts[parts.len() - 2].as_str() {
            "pg_catalog" => it.schema == PG_CATALOG,
            "information_schema" => it.schema == information_schema_oid(),
            _ => it.schema != PG_CATALOG && it.schema != information_schema_oid(),
        },
    };
    Ok(types().iter().find(|(_, it)| it.name == *name && schema_fits(it)).map(|(oid, _)| *oid))
}

/// A function's name and schema.
#[derive(Debug)]
struct FunctionName {
    name: String,
    schema: u32,
    /// Others have the same name.
    overloaded: bool,
}

/// Functions by oid.
fn functions() -> &'static HashMap<u32, FunctionName> {
    static FUNCTIONS: OnceLock<HashMap<u32, FunctionName>> = OnceLock::new();
    FUNCTIONS.get_or_init(|| {
        let Some(table) = fixed().tables.get("pg_proc") else { return HashMap::new() };
        let mut count: HashMap<&str, usize> = HashMap::new();
        for row in &table.rows {
            *count.entry(table.value(row, "proname").unwrap_or_default()).or_default() += 1;
        }
        let read = |row: &Vec<Option<String>>| {
            let name = table.value(row, "proname")?;
            let overloaded = count.get(name).is_some_and(|count| *count > 1);
            let schema = table.value(row, "pronamespace")?.parse().ok()?;
            let oid = table.value(row, "oid")?.parse().ok()?;
            Some((oid, FunctionName { name: name.to_owned(), schema, overloaded }))
        };
        table.rows.iter().filter_map(read).collect()
    })
}

/// How a function's oid prints: qualified where its name alone would be of several.
pub(super) fn regproc_name(oid: u32) -> String {
    match functions().get(&oid) {
        None if oid == 0 => "-".to_owned(),
        None => oid.to_string(),
        Some(found) if found.overloaded => {
            let schema = match found.schema {
                PG_CATALOG => "pg_catalog",
                schema if schema == information_schema_oid() => "information_schema",
                _ => "public",
            };
            format!("{schema}.{}", quote_ident(&found.name))
        }
        Some(found) => quote_ident(&found.name),
    }
}

/// `text::regproc`: the one function with this name.
pub(super) fn regproc(text: &str) -> Result<Option<u32>> {
    if let Ok(oid) = text.trim().parse() {
        return Ok(Some(oid));
    }
    let parts = split_name(text)?;
    let Some(name) = parts.last() else { return Ok(None) };
    let mut found = functions().iter().filter(|(_, it)| it.name == *name).map(|(oid, _)| *oid);
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => {
            Err(Error::new(SqlState::AMBIGUOUS_FUNCTION, format!("more than one function named \"{text}\"")))
        }
        (one, _) => Ok(one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_print_as_postgresql_prints_them() {
        assert_eq!(format_type(1043, Some(54)), "character varying(50)");
        assert_eq!(format_type(1700, Some(655_366)), "numeric(10,2)");
        assert_eq!(format_type(1009, Some(-1)), "text[]");
        assert_eq!(format_type(15_001, Some(3)), "vector(3)");
        assert_eq!(format_type(1184, None), "timestamp with time zone");
        assert_eq!(format_type(999_999, None), "???");
        for name in ["integer", "int4", "pg_catalog.int4", "INT"] {
            assert_eq!(regtype(name).expect("valid"), Some(23), "{name}");
        }
        assert_eq!(regtype("text[]").expect("valid"), Some(1009));
        assert_eq!(regtype("public.vector").expect("valid"), Some(15_001));
        assert_eq!(regtype("nothing").expect("valid"), None);
    }

    #[test]
    fn names_split_and_quote() {
        assert_eq!(split_name("Public.\"My \"\"T\"").expect("valid"), ["public", "My \"T"]);
        assert!(split_name("a..b").is_err());
        assert_eq!(quote_ident("select"), "\"select\"");
        assert_eq!(quote_ident("ok_1"), "ok_1");
        assert_eq!(quote_ident("Ok"), "\"Ok\"");
    }
}
