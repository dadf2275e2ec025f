//! Functions that describe objects in words or say what a client may do with them: pg_describe_object, pg_get_functiondef,
//! properties of indexes, statistics counters, names of roles.

use super::context::CatalogContext;
use super::fixed::{FixedTable, fixed};
use super::functions::{Arguments, Body, Returns, Value, int, is_visible, oid, text};
use super::names;
use super::relations::{PG_ATTRDEF, PG_CLASS, PG_CONSTRAINT};
use quiver_base::{Error, Result, SqlState};

/// The rest of the catalog's functions.
pub(super) const FUNCTIONS: &[(&str, Returns, Body)] = &[
    ("pg_describe_object", Returns::Text, describe_object),
    ("pg_get_functiondef", Returns::Text, function_definition),
    ("pg_get_function_sqlbody", Returns::Text, nothing),
    ("pg_get_function_arg_default", Returns::Text, nothing),
    ("pg_get_partition_constraintdef", Returns::Text, nothing),
    ("pg_get_statisticsobjdef", Returns::Text, nothing),
    ("pg_get_statisticsobjdef_expressions", Returns::Text, nothing),
    ("getdatabaseencoding", Returns::Name, |_, _| Ok(Value::Text("UTF8".to_owned()))),
    ("pg_client_encoding", Returns::Name, |context, _| {
        Ok(Value::Text(context.settings.show("client_encoding").unwrap_or_default()))
    }),
    ("pg_tablespace_size", Returns::Int8, |context, args| {
        let default = match (oid(args, 0), text(args, 0)) {
            (Some(oid), _) => oid == 1663,
            (None, name) => name == Some("pg_default"),
        };
        Ok(Value::Int(if default { super::functions::database_bytes(context) } else { 0 }))
    }),
    ("pg_size_bytes", Returns::Int8, size_bytes),
    ("pg_relation_filenode", Returns::Oid, |context, args| {
        let found = oid(args, 0).filter(|oid| names::relation(context, *oid).is_some());
        Ok(found.map_or(Value::Null, |oid| Value::Int(oid.into())))
    }),
    ("pg_collation_for", Returns::Text, |_, _| Ok(Value::Text("\"default\"".to_owned()))),
    ("pg_my_temp_schema", Returns::Oid, |_, _| Ok(Value::Int(0))),
    ("pg_is_other_temp_schema", Returns::Bool, |_, _| Ok(Value::Bool(false))),
    ("row_security_active", Returns::Bool, |_, _| Ok(Value::Bool(false))),
    ("pg_ts_dict_is_visible", Returns::Bool, |_, args| is_visible(args, "pg_ts_dict", "dictnamespace")),
    ("pg_ts_parser_is_visible", Returns::Bool, |_, args| is_visible(args, "pg_ts_parser", "prsnamespace")),
    ("pg_ts_template_is_visible", Returns::Bool, |_, args| {
        is_visible(args, "pg_ts_template", "tmplnamespace")
    }),
    ("has_tablespace_privilege", Returns::Bool, super::functions::always),
    ("has_language_privilege", Returns::Bool, super::functions::always),
    ("has_server_privilege", Returns::Bool, super::functions::always),
    ("has_foreign_data_wrapper_privilege", Returns::Bool, super::functions::always),
    ("has_parameter_privilege", Returns::Bool, super::functions::always),
    ("pg_stat_get_numscans", Returns::Int8, not_counted),
    ("pg_stat_get_tuples_returned", Returns::Int8, not_counted),
    ("pg_stat_get_tuples_fetched", Returns::Int8, not_counted),
    ("pg_stat_get_blocks_fetched", Returns::Int8, not_counted),
    ("pg_stat_get_blocks_hit", Returns::Int8, not_counted),
    ("pg_indexam_has_property", Returns::Bool, |_, args| {
        let (Some(method), Some(property)) = (oid(args, 0), text(args, 1)) else { return Ok(Value::Null) };
        Ok(match (method, property) {
            (403, "can_order" | "can_unique" | "can_multi_col" | "can_exclude" | "can_include") => {
                Value::Bool(true)
            }
            (_, "can_order" | "can_unique" | "can_multi_col" | "can_exclude" | "can_include") => {
                Value::Bool(false)
            }
            _ => Value::Null,
        })
    }),
];

fn nothing(_: &CatalogContext, _: Arguments<'_>) -> Result<Value> {
    Ok(Value::Null)
}

/// Counters that are not kept stay at 0, as they do in PostgreSQL with track_counts off.
fn not_counted(_: &CatalogContext, args: Arguments<'_>) -> Result<Value> {
    Ok(oid(args, 0).map_or(Value::Null, |_| Value::Int(0)))
}

fn row_of(table: &'static FixedTable, oid: u32) -> Option<&'static [Option<String>]> {
    let oid = oid.to_string();
    let row = table.rows.iter().find(|row| table.value(row, "oid") == Some(&oid))?;
    Some(row)
}

fn number(table: &FixedTable, row: &[Option<String>], column: &str) -> Option<u32> {
    table.value(row, column)?.parse().ok()
}

fn types(list: &str) -> Vec<String> {
    let name = |oid: &str| names::format_type(oid.parse().unwrap_or(0), None);
    list.split_ascii_whitespace().map(name).collect()
}

/// An object of a fixed relation, in pg_describe_object's words.
fn describe_fixed(class: &str, object: u32) -> Option<String> {
    let table = fixed().tables.get(class)?;
    let row = row_of(table, object)?;
    let value = |column| table.value(row, column);
    let ty = |column| number(table, row, column).map(|oid| names::format_type(oid, None));
    let method = |column| {
        let methods = fixed().tables.get("pg_am")?;
        let row = row_of(methods, number(table, row, column)?)?;
        Some(methods.value(row, "amname")?.to_owned())
    };
    Some(match class {
        "pg_type" => format!("type {}", names::format_type(object, None)),
        "pg_proc" => {
            let arguments = types(value("proargtypes").unwrap_or_default()).join(",");
            format!("function {}({arguments})", names::quote_ident(value("proname")?))
        }
        "pg_operator" => {
            let none = || "NONE".to_owned();
            let left = if value("oprleft") == Some("0") { none() } else { ty("oprleft")? };
            let right = if value("oprright") == Some("0") { none() } else { ty("oprright")? };
            format!("operator {}({left},{right})", value("oprname")?)
        }
        "pg_cast" => format!("cast from {} to {}", ty("castsource")?, ty("casttarget")?),
        "pg_am" => format!("access method {}", value("amname")?),
        "pg_opclass" => {
            format!("operator class {} for access method {}", value("opcname")?, method("opcmethod")?)
        }
        "pg_opfamily" => {
            format!("operator family {} for access method {}", value("opfname")?, method("opfmethod")?)
        }
        "pg_collation" => format!("collation {}", value("collname")?),
        "pg_language" => format!("language {}", value("lanname")?),
        "pg_extension" => format!("extension {}", value("extname")?),
        "pg_authid" => format!("role {}", value("rolname")?),
        _ => return None,
    })
}

/// `pg_describe_object(class, object, subobject)`.
fn describe_object(context: &CatalogContext, args: Arguments<'_>) -> Result<Value> {
    let (Some(class), Some(object)) = (oid(args, 0), oid(args, 1)) else { return Ok(Value::Null) };
    let column = int(args, 2).unwrap_or(0);
    let described = match class {
        PG_CLASS => describe_relation(context, object, column),
        PG_CONSTRAINT => context.tables().find_map(|table| {
            let found = table.constraints.iter().find(|it| it.id == object)?;
            let (constraint, table) = (names::quote_ident(&found.name), names::quote_ident(&table.name));
            Some(format!("constraint {constraint} on table {table}"))
        }),
        PG_ATTRDEF => None,
        _ => match names::relation(context, class) {
            Some((_, name)) if name == "pg_namespace" => {
                context.schema(object).map(|schema| format!("schema {}", names::quote_ident(&schema.name)))
            }
            Some((_, name)) => describe_fixed(&name, object),
            None => {
                return Err(Error::new(
                    SqlState::INTERNAL_ERROR,
                    format!("unsupported object class {class}"),
                ));
            }
        },
    };
    Ok(described.map_or(Value::Null, Value::Text))
}

fn describe_relation(context: &CatalogContext, object: u32, column: i64) -> Option<String> {
    let name = names::regclass_name(context, object);
    let table = context.tables().find(|table| table.id.0 == object);
    if let Some(table) = table {
        let column = table.columns.iter().find(|it| i64::from(it.id.0) == column);
        return Some(match column {
            Some(column) => format!("column {} of table {name}", names::quote_ident(&column.name)),
            None => format!("table {name}"),
        });
    }
    let is_index = context.tables().any(|table| table.indexes.iter().any(|index| index.id.0 == object));
    if is_index {
        return Some(format!("index {name}"));
    }
    if context.database.sequences.values().any(|sequence| sequence.id.0 == object) {
        return Some(format!("sequence {name}"));
    }
    names::relation(context, object).map(|_| format!("table {name}"))
}

/// `pg_get_functiondef`: the statement that would make a function of C or of the server's own.
fn function_definition(_: &CatalogContext, args: Arguments<'_>) -> Result<Value> {
    let (Some(table), Some(oid)) = (fixed().tables.get("pg_proc"), oid(args, 0)) else {
        return Ok(Value::Null);
    };
    let Some(row) = row_of(table, oid) else { return Ok(Value::Null) };
    let value = |column| table.value(row, column).unwrap_or_default();
    if value("prokind") == "a" {
        let message = format!("\"{}\" is an aggregate function", value("proname"));
        return Err(Error::new(SqlState::WRONG_OBJECT_TYPE, message));
    }
    let schema = if value("pronamespace") == "11" { "pg_catalog" } else { "public" };
    let name = names::quote_ident(value("proname"));
    let returns = match super::functions::function_result(oid) {
        Some(returns) => returns,
        None => return Ok(Value::Null),
    };
    let arguments = super::functions::function_arguments(oid).unwrap_or_default();
    let language = match value("prolang") {
        "12" => "internal",
        "13" => "c",
        _ => "sql",
    };
    let traits = function_traits(table, row);
    let traits = if traits.is_empty() { String::new() } else { format!(" {traits}\n") };
    let library = match value("probin") {
        "" => String::new(),
        library => format!("'{library}', "),
    };
    Ok(Value::Text(format!(
        "CREATE OR REPLACE FUNCTION {schema}.{name}({arguments})\n RETURNS {returns}\n LANGUAGE {language}\n\
         {traits}AS {library}$function${}$function$\n",
        value("prosrc")
    )))
}

fn function_traits(table: &FixedTable, row: &[Option<String>]) -> String {
    let value = |column| table.value(row, column).unwrap_or_default();
    let mut traits = Vec::new();
    match value("provolatile") {
        "i" => traits.push("IMMUTABLE".to_owned()),
        "s" => traits.push("STABLE".to_owned()),
        _ => {}
    }
    match value("proparallel") {
        "s" => traits.push("PARALLEL SAFE".to_owned()),
        "r" => traits.push("PARALLEL RESTRICTED".to_owned()),
        _ => {}
    }
    if value("proisstrict") == "t" {
        traits.push("STRICT".to_owned());
    }
    if value("proleakproof") == "t" {
        traits.push("LEAKPROOF".to_owned());
    }
    if value("procost") != "1" {
        traits.push(format!("COST {}", value("procost")));
    }
    if value("proretset") == "t" && value("prorows") != "1000" {
        traits.push(format!("ROWS {}", value("prorows")));
    }
    traits.join(" ")
}

/// `pg_size_bytes('1 MB')`.
fn size_bytes(_: &CatalogContext, args: Arguments<'_>) -> Result<Value> {
    let Some(size) = text(args, 0) else { return Ok(Value::Null) };
    let invalid = || Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("invalid size: \"{size}\""));
    let trimmed = size.trim();
    let end = trimmed.find(|c: char| !(c.is_ascii_digit() || ".-+eE".contains(c))).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    let number: f64 = number.parse().map_err(|_| invalid())?;
    let power = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" | "bytes" => 0,
        "kb" => 1,
        "mb" => 2,
        "gb" => 3,
        "tb" => 4,
        "pb" => 5,
        _ => {
            return Err(invalid()
                .with_detail(format!("Invalid size unit: \"{}\".", unit.trim()))
                .with_hint("Valid units are \"bytes\", \"B\", \"kB\", \"MB\", \"GB\", \"TB\", and \"PB\"."));
        }
    };
    #[allow(clippy::cast_possible_truncation)] // the cast saturates
    let bytes = (number * 1024_f64.powi(power)).round() as i64;
    Ok(Value::Int(bytes))
}
