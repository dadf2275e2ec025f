//! information_schema's views of functions, their parameters, privileges, checks and roles.

use super::context::CatalogContext;
use super::fixed::{PG_CATALOG, fixed};
use super::names;
use super::rows::{Cell, Rows};
use quiver_cluster::ConstraintKind;

/// information_schema.routines: PostgreSQL's own functions and the extension's.
pub(super) fn routines(context: &CatalogContext, rows: &mut Rows<'_>) {
    let database = context.database.name.as_str();
    for function in functions() {
        let (data_type, udt_schema, udt_name) = type_names(function.returns);
        rows.push([
            ("specific_catalog", database.into()),
            ("specific_schema", function.schema.into()),
            ("specific_name", function.specific_name().into()),
            ("routine_catalog", database.into()),
            ("routine_schema", function.schema.into()),
            ("routine_name", function.name.into()),
            ("routine_type", "FUNCTION".into()),
            ("data_type", data_type.into()),
            ("type_udt_catalog", database.into()),
            ("type_udt_schema", udt_schema.into()),
            ("type_udt_name", udt_name.into()),
            ("dtd_identifier", "0".into()),
            ("routine_body", if function.language == "14" { "SQL" } else { "EXTERNAL" }.into()),
            ("routine_definition", function.source.into()),
            ("external_name", (function.language == "13").then_some(function.source).into()),
            ("external_language", if function.language == "13" { "C" } else { "INTERNAL" }.into()),
            ("parameter_style", "GENERAL".into()),
            ("is_deterministic", if function.volatility == "i" { "YES" } else { "NO" }.into()),
            ("sql_data_access", "MODIFIES".into()),
            ("is_null_call", if function.strict { "YES" } else { "NO" }.into()),
            ("schema_level_routine", "YES".into()),
            ("max_dynamic_result_sets", 0.into()),
            ("security_type", "INVOKER".into()),
            ("as_locator", "NO".into()),
            ("is_udt_dependent", "NO".into()),
        ]);
    }
}

/// information_schema.parameters, of arguments that go in.
pub(super) fn parameters(context: &CatalogContext, rows: &mut Rows<'_>) {
    let database = context.database.name.as_str();
    for function in functions() {
        for (position, ty) in function.arguments.iter().enumerate() {
            let (data_type, udt_schema, udt_name) = type_names(*ty);
            let name = function.names.get(position).filter(|name| !name.is_empty() && **name != "\"\"");
            rows.push([
                ("specific_catalog", database.into()),
                ("specific_schema", function.schema.into()),
                ("specific_name", function.specific_name().into()),
                ("ordinal_position", (position + 1).into()),
                ("parameter_mode", "IN".into()),
                ("is_result", "NO".into()),
                ("as_locator", "NO".into()),
                ("parameter_name", name.copied().into()),
                ("data_type", data_type.into()),
                ("udt_catalog", database.into()),
                ("udt_schema", udt_schema.into()),
                ("udt_name", udt_name.into()),
                ("dtd_identifier", (position + 1).to_string().into()),
            ]);
        }
    }
}

struct Function {
    oid: &'static str,
    name: &'static str,
    schema: &'static str,
    returns: u32,
    arguments: Vec<u32>,
    names: Vec<&'static str>,
    language: &'static str,
    source: &'static str,
    volatility: &'static str,
    strict: bool,
}

impl Function {
    fn specific_name(&self) -> String {
        format!("{}_{}", self.name, self.oid)
    }
}

fn functions() -> impl Iterator<Item = Function> {
    let table = fixed().tables.get("pg_proc");
    table.into_iter().flat_map(|table| {
        let information_schema = names::information_schema_oid().to_string();
        table.rows.iter().filter(|row| matches!(table.value(row, "prokind"), Some("f"))).map(move |row| {
            let value = |column| table.value(row, column).unwrap_or_default();
            let schema = match value("pronamespace") {
                "11" => "pg_catalog",
                other if other == information_schema => "information_schema",
                _ => "public",
            };
            let number = |text: &str| text.parse().unwrap_or(0);
            Function {
                oid: value("oid"),
                name: value("proname"),
                schema,
                returns: number(value("prorettype")),
                arguments: value("proargtypes").split_ascii_whitespace().map(number).collect(),
                names: value("proargnames").trim_matches(['{', '}']).split(',').collect(),
                language: value("prolang"),
                source: value("prosrc"),
                volatility: value("provolatile"),
                strict: value("proisstrict") == "t",
            }
        })
    })
}

/// data_type, udt_schema and udt_name of a type.
fn type_names(oid: u32) -> (String, &'static str, String) {
    let Some(found) = names::types().get(&oid) else { return (String::new(), "pg_catalog", String::new()) };
    let schema = if found.schema == PG_CATALOG { "pg_catalog" } else { "public" };
    let data_type = match (found.item, schema) {
        (Some(_), _) => "ARRAY".to_owned(),
        (None, "public") => "USER-DEFINED".to_owned(),
        _ => names::format_type(oid, None),
    };
    (data_type, schema, found.name.clone())
}

/// information_schema.check_constraints: checks, and the NOT NULLs that the standard takes for checks.
pub(super) fn check_constraints(context: &CatalogContext, rows: &mut Rows<'_>) {
    for table in context.tables() {
        let schema = context.schema_name(table.schema);
        let mut push = |name: String, clause: String| {
            rows.push([
                ("constraint_catalog", context.database.name.as_str().into()),
                ("constraint_schema", schema.as_str().into()),
                ("constraint_name", name.into()),
                ("check_clause", clause.into()),
            ]);
        };
        for constraint in &table.constraints {
            if let ConstraintKind::Check { sql, .. } = &constraint.kind {
                push(constraint.name.clone(), format!("({})", super::checks::condition(sql, table, false)));
            }
        }
        for column in table.columns.iter().filter(|column| column.not_null && !column.dropped) {
            let name = format!("{}_{}_{}_not_null", table.schema, table.id.0, column.id.0);
            push(name, format!("{} IS NOT NULL", names::quote_ident(&column.name)));
        }
    }
}

/// information_schema.information_schema_catalog_name.
pub(super) fn catalog_name(context: &CatalogContext, rows: &mut Rows<'_>) {
    rows.push([("catalog_name", context.database.name.as_str().into())]);
}

/// information_schema.character_sets.
pub(super) fn character_sets(context: &CatalogContext, rows: &mut Rows<'_>) {
    rows.push([
        ("character_set_name", "UTF8".into()),
        ("character_repertoire", "UCS".into()),
        ("form_of_use", "UTF8".into()),
        ("default_collate_catalog", context.database.name.as_str().into()),
        ("default_collate_schema", "pg_catalog".into()),
        ("default_collate_name", "default".into()),
    ]);
}

/// information_schema.enabled_roles: the session's role, and every role if it is a superuser.
pub(super) fn enabled_roles(context: &CatalogContext, rows: &mut Rows<'_>) {
    let own = context.catalog.roles.get(&context.session.role);
    let all = own.is_some_and(|role| role.superuser);
    for role in context.catalog.roles.values().filter(|role| all || role.id == context.session.role) {
        rows.push([("role_name", role.name.as_str().into())]);
    }
    if let (true, Some(table)) = (all, fixed().tables.get("pg_authid")) {
        for row in &table.rows {
            rows.push([("role_name", table.value(row, "rolname").into())]);
        }
    }
}

/// What an owner may do with a table.
const TABLE_PRIVILEGES: [&str; 7] =
    ["INSERT", "SELECT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"];
/// What an owner may do with a column.
const COLUMN_PRIVILEGES: [&str; 4] = ["INSERT", "SELECT", "UPDATE", "REFERENCES"];

/// information_schema.table_privileges and role_table_grants: the owner's, as nothing else is granted.
pub(super) fn table_privileges(context: &CatalogContext, rows: &mut Rows<'_>) {
    for table in context.tables() {
        let owner = context.role_name(table.owner);
        for privilege in TABLE_PRIVILEGES {
            rows.push([
                ("grantor", owner.as_str().into()),
                ("grantee", owner.as_str().into()),
                ("table_catalog", context.database.name.as_str().into()),
                ("table_schema", context.schema_name(table.schema).into()),
                ("table_name", table.name.as_str().into()),
                ("privilege_type", privilege.into()),
                ("is_grantable", "YES".into()),
                ("with_hierarchy", if privilege == "SELECT" { "YES" } else { "NO" }.into()),
            ]);
        }
    }
}

/// information_schema.column_privileges and role_column_grants.
pub(super) fn column_privileges(context: &CatalogContext, rows: &mut Rows<'_>) {
    for table in context.tables() {
        let owner = context.role_name(table.owner);
        for column in table.columns.iter().filter(|column| !column.dropped) {
            for privilege in COLUMN_PRIVILEGES {
                rows.push([
                    ("grantor", owner.as_str().into()),
                    ("grantee", owner.as_str().into()),
                    ("table_catalog", context.database.name.as_str().into()),
                    ("table_schema", context.schema_name(table.schema).into()),
                    ("table_name", table.name.as_str().into()),
                    ("column_name", column.name.as_str().into()),
                    ("privilege_type", privilege.into()),
                    ("is_grantable", Cell::from("YES")),
                ]);
            }
        }
    }
}
