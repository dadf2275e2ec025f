//! Schemas, extensions, comments and settings.

use super::context::CatalogContext;
use super::fixed::fixed;
use super::rows::{Cell, Rows};
use crate::settings::{DEFINITIONS, Definition, Kind};
use quiver_base::Result;

/// pg_namespace.
pub(super) fn pg_namespace(context: &CatalogContext, rows: &mut Rows<'_>) {
    for schema in context.database.schemas.values() {
        rows.push([
            ("oid", schema.id.into()),
            ("nspname", schema.name.as_str().into()),
            ("nspowner", public_owner(schema.owner, &schema.name).into()),
        ]);
    }
}

/// The schema that comes with a database belongs to whoever owns the database.
fn public_owner(owner: u32, name: &str) -> u32 {
    const PG_DATABASE_OWNER: u32 = 6_171;
    if owner == 10 && name == "public" { PG_DATABASE_OWNER } else { owner }
}

/// pg_extension.
pub(super) fn pg_extension(context: &CatalogContext, rows: &mut Rows<'_>) {
    let Some(known) = fixed().tables.get("pg_extension") else { return };
    for (name, schema) in &context.database.extensions {
        let Some(row) = known.rows.iter().find(|row| known.value(row, "extname") == Some(name)) else {
            continue;
        };
        rows.push([
            ("oid", known.value(row, "oid").and_then(|it| it.parse::<i64>().ok()).into()),
            ("extname", name.as_str().into()),
            ("extowner", 10.into()),
            ("extnamespace", (*schema).into()),
            ("extversion", known.value(row, "extversion").into()),
        ]);
    }
}

/// pg_available_extensions.
pub(super) fn pg_available_extensions(context: &CatalogContext, rows: &mut Rows<'_>) {
    let Some(known) = fixed().tables.get("pg_available_extensions") else { return };
    for row in &known.rows {
        let name = known.value(row, "name").unwrap_or_default();
        let version = known.value(row, "default_version");
        rows.push([
            ("name", name.into()),
            ("default_version", version.into()),
            ("installed_version", version.filter(|_| context.database.extensions.contains_key(name)).into()),
            ("comment", known.value(row, "comment").into()),
        ]);
    }
}

/// pg_description.
pub(super) fn pg_description(context: &CatalogContext, rows: &mut Rows<'_>) -> Result<()> {
    if let Some(table) = fixed().tables.get("pg_description") {
        rows.push_fixed(table)?;
    }
    for ((class, object, column), text) in &context.database.comments {
        rows.push([
            ("objoid", (*object).into()),
            ("classoid", (*class).into()),
            ("objsubid", (*column).into()),
            ("description", text.as_str().into()),
        ]);
    }
    Ok(())
}

/// pg_settings: PostgreSQL's list with this session's values, where Quiver knows the setting, and the settings of extensions.
pub(super) fn pg_settings(context: &CatalogContext, rows: &mut Rows<'_>) {
    let Some(known) = fixed().tables.get("pg_settings") else { return };
    for row in &known.rows {
        let value = |column| known.value(row, column);
        let name = value("name").unwrap_or_default();
        let Ok(setting) = context.settings.show(name) else { continue };
        rows.push([
            ("name", name.into()),
            ("setting", setting.into()),
            ("unit", value("unit").into()),
            ("category", value("category").into()),
            ("short_desc", value("short_desc").into()),
            ("context", value("context").into()),
            ("vartype", value("vartype").into()),
            ("source", "default".into()),
            ("min_val", value("min_val").into()),
            ("max_val", value("max_val").into()),
            ("enumvals", enum_values(value("enumvals"))),
            ("boot_val", value("boot_val").into()),
            ("reset_val", value("reset_val").into()),
            ("pending_restart", false.into()),
        ]);
    }
    DEFINITIONS.iter().filter(|it| it.name.contains('.')).for_each(|it| push_own_setting(context, it, rows));
}

/// A setting of an extension, and of Quiver itself: PostgreSQL's list has none of them.
fn push_own_setting(context: &CatalogContext, definition: &Definition, rows: &mut Rows<'_>) {
    let (vartype, bounds, words) = match definition.kind {
        Kind::Bool => ("bool", None, Cell::Null),
        Kind::Int { min, max, .. } => ("integer", Some((min.to_string(), max.to_string())), Cell::Null),
        Kind::Real { min, max } => ("real", Some((min.to_string(), max.to_string())), Cell::Null),
        Kind::Enum(words) => {
            ("enum", None, Cell::Texts(words.iter().map(|word| (*word).to_owned()).collect()))
        }
        Kind::Text | Kind::Special(_) => ("string", None, Cell::Null),
    };
    let (least, most) = bounds.unzip();
    rows.push([
        ("name", definition.name.into()),
        ("setting", context.settings.show(definition.name).unwrap_or_default().into()),
        ("category", "Customized Options".into()),
        ("short_desc", definition.description.into()),
        ("context", "user".into()),
        ("vartype", vartype.into()),
        ("source", "default".into()),
        ("min_val", least.as_deref().into()),
        ("max_val", most.as_deref().into()),
        ("enumvals", words),
        ("boot_val", definition.default.into()),
        ("reset_val", definition.default.into()),
        ("pending_restart", false.into()),
    ]);
}

fn enum_values(text: Option<&str>) -> Cell {
    let Some(text) = text else { return Cell::Null };
    let inner = text.trim_start_matches('{').trim_end_matches('}');
    Cell::Texts(inner.split(',').map(|it| it.trim_matches('"').to_owned()).collect())
}
