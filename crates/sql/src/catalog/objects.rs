//! Schemas, databases, roles, extensions, comments and settings.

use super::context::CatalogContext;
use super::fixed::fixed;
use super::rows::{Cell, Rows};
use quiver_base::Result;
use quiver_cluster::Role;

/// UTF8's number in pg_encoding.
const UTF8: i64 = 6;
/// The default tablespace's oid.
const PG_DEFAULT: i64 = 1663;
/// Oids of the two template databases, as in PostgreSQL 16.
const TEMPLATES: [(&str, i64, bool); 2] = [("template1", 1, true), ("template0", 4, false)];

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

/// pg_database, the templates that PostgreSQL has included: no one can connect to them here.
pub(super) fn pg_database(context: &CatalogContext, rows: &mut Rows<'_>) {
    let mut push = |oid: i64, name: &str, owner: u32, is_template: bool, may_connect: bool| {
        rows.push([
            ("oid", oid.into()),
            ("datname", name.into()),
            ("datdba", owner.into()),
            ("encoding", UTF8.into()),
            ("datlocprovider", "c".into()),
            ("datistemplate", is_template.into()),
            ("datallowconn", may_connect.into()),
            ("datconnlimit", (-1).into()),
            ("dattablespace", PG_DEFAULT.into()),
            ("datcollate", "C.UTF-8".into()),
            ("datctype", "C.UTF-8".into()),
        ]);
    };
    for (name, oid, _) in TEMPLATES {
        push(oid, name, 10, true, false);
    }
    for database in context.catalog.databases.values() {
        push(database.id.0.into(), &database.name, database.owner, false, true);
    }
}

/// pg_authid and its public face pg_roles; the password is shown to nobody.
pub(super) fn pg_authid(context: &CatalogContext, rows: &mut Rows<'_>) -> Result<()> {
    if let Some(table) = fixed().tables.get("pg_authid") {
        rows.push_fixed(table)?;
    }
    for role in context.catalog.roles.values() {
        rows.push([
            ("oid", role.id.into()),
            ("rolname", role.name.as_str().into()),
            ("rolsuper", role.superuser.into()),
            ("rolinherit", true.into()),
            ("rolcreaterole", role.superuser.into()),
            ("rolcreatedb", role.superuser.into()),
            ("rolcanlogin", role.login.into()),
            ("rolreplication", is_bootstrap(role).into()),
            ("rolbypassrls", is_bootstrap(role).into()),
            ("rolconnlimit", (-1).into()),
        ]);
    }
    Ok(())
}

/// pg_roles.
pub(super) fn pg_roles(context: &CatalogContext, rows: &mut Rows<'_>) {
    if let Some(table) = fixed().tables.get("pg_authid") {
        for row in &table.rows {
            let value = |column| table.value(row, column);
            rows.push([
                ("oid", value("oid").and_then(|it| it.parse::<i64>().ok()).into()),
                ("rolname", value("rolname").into()),
                ("rolinherit", true.into()),
                ("rolconnlimit", (-1).into()),
                ("rolpassword", "********".into()),
            ]);
        }
    }
    for role in context.catalog.roles.values() {
        rows.push([
            ("oid", role.id.into()),
            ("rolname", role.name.as_str().into()),
            ("rolsuper", role.superuser.into()),
            ("rolinherit", true.into()),
            ("rolcreaterole", role.superuser.into()),
            ("rolcreatedb", role.superuser.into()),
            ("rolcanlogin", role.login.into()),
            ("rolreplication", is_bootstrap(role).into()),
            ("rolbypassrls", is_bootstrap(role).into()),
            ("rolconnlimit", (-1).into()),
            ("rolpassword", "********".into()),
        ]);
    }
}

fn is_bootstrap(role: &Role) -> bool {
    role.id == 10
}

/// pg_user.
pub(super) fn pg_user(context: &CatalogContext, rows: &mut Rows<'_>) {
    for role in context.catalog.roles.values().filter(|it| it.login) {
        rows.push([
            ("usename", role.name.as_str().into()),
            ("usesysid", role.id.into()),
            ("usecreatedb", role.superuser.into()),
            ("usesuper", role.superuser.into()),
            ("userepl", is_bootstrap(role).into()),
            ("usebypassrls", is_bootstrap(role).into()),
            ("passwd", "********".into()),
        ]);
    }
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

/// pg_settings: PostgreSQL's list with this session's values, where Quiver knows the setting.
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
}

fn enum_values(text: Option<&str>) -> Cell {
    let Some(text) = text else { return Cell::Null };
    let inner = text.trim_start_matches('{').trim_end_matches('}');
    Cell::Texts(inner.split(',').map(|it| it.trim_matches('"').to_owned()).collect())
}
